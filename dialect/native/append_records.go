package native

import (
	"fmt"
	"net/http"

	"github.com/rouse-run/rouse/data"
	"github.com/rouse-run/rouse/dialect/native/wire"
)

func appendRecords(s *server, c *call) error {
	ref, err := c.ref()
	if err != nil {
		return err
	}
	var in wire.Records
	if err := readJSONUpTo(c.r.Body, s.MaxBatch, &in); err != nil {
		return err
	}
	if len(in.Records) == 0 {
		return invalid("records is empty; give one or more")
	}
	rs := make([]data.Record, len(in.Records))
	for i, r := range in.Records {
		rs[i].Key = r.Key
		if rs[i].Data, err = wire.Bytes(fmt.Sprintf("records[%d].data", i), r.Data, r.DataBase64); err != nil {
			return err
		}
	}
	at, err := s.Data.Streams.Append(c.r.Context(), ref, rs)
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, wire.Positions{Positions: at})
}
