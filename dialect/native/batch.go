package native

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/dialect/native/wire"
)

// maxLines bounds the invocations in one batch.
const maxLines = 10_000

// batch accepts all lines or none.
func batch(s *server, c *call) error {
	f, err := c.ref()
	if err != nil {
		return err
	}
	if c.r.ContentLength > s.MaxBatch {
		return tooLarge(s.MaxBatch)
	}
	payloads, err := readLines(&bounded{r: c.r.Body, left: s.MaxBatch, limit: s.MaxBatch}, s.MaxPayload)
	if err != nil {
		return err
	}
	ins := make([]rouse.Invocation, len(payloads))
	for i, p := range payloads {
		ins[i] = rouse.Invocation{Function: f, Qualifier: c.query.Get("qualifier"), Event: rouse.Event{Data: p}}
	}
	ids, err := s.Acceptor.Accept(c.r.Context(), ins)
	if err != nil {
		return err
	}
	return c.answer(http.StatusAccepted, wire.AcceptedBatch{Activations: ids})
}

// readLines reads NDJSON: one JSON value a line, empty lines left out. Errors
// name the line.
func readLines(r io.Reader, limit int64) ([][]byte, error) {
	var payloads [][]byte
	in := bufio.NewReaderSize(r, 64<<10)
	for n := 1; ; n++ {
		line, err := in.ReadBytes('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, broken(err)
		}
		last := err != nil
		line = bytes.TrimSpace(line)
		switch {
		case int64(len(line)) > limit:
			return nil, rouse.Errorf(rouse.TooLarge, "read batch", "", "line %d is larger than %d bytes, the most one payload may have", n, limit)
		case len(line) > 0 && !json.Valid(line):
			return nil, invalid("line %d is not JSON: %s", n, validate(line))
		case len(line) > 0 && len(payloads) == maxLines:
			return nil, rouse.Errorf(rouse.TooLarge, "read batch", "", "a batch has at most %d lines; send the rest in another", maxLines)
		case len(line) > 0:
			payloads = append(payloads, line)
		}
		if last {
			break
		}
	}
	if len(payloads) == 0 {
		return nil, invalid("the batch is empty; send one JSON value a line")
	}
	return payloads, nil
}

// bounded fails with TooLarge once more than limit bytes come.
type bounded struct {
	r           io.Reader
	left, limit int64
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left < 0 {
		return 0, tooLarge(b.limit)
	}
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.r.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return n + int(b.left), tooLarge(b.limit)
	}
	return n, err
}
