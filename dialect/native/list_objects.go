package native

import (
	"net/http"

	"github.com/rouse-run/rouse/data"
	"github.com/rouse-run/rouse/dialect/native/wire"
)

func listObjects(s *server, c *call) error {
	ref, err := c.ref()
	if err != nil {
		return err
	}
	limit, err := c.limit(1000, 1000)
	if err != nil {
		return err
	}
	versions, err := c.flag("versions")
	if err != nil {
		return err
	}
	q := data.ObjectList{Bucket: ref, Prefix: c.query.Get("prefix"), Delimiter: c.query.Get("delimiter"), After: c.query.Get("after"),
		Version: c.query.Get("version"), Limit: limit}
	if q.Version != "" && !versions {
		return invalid("version is for versions=true alone")
	}
	list := s.Data.Buckets.ListObjects
	if versions {
		list = s.Data.Buckets.ListVersions
	}
	l, err := list(c.r.Context(), q)
	if err != nil {
		return err
	}
	page := wire.Objects{Objects: filled(l.Objects), Prefixes: l.Prefixes}
	if l.More {
		page.Next, page.Version = l.After, l.Version
	}
	return c.answer(http.StatusOK, page)
}
