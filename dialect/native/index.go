package native

import "net/http"

func index(_ *server, c *call) error {
	return c.answer(http.StatusOK, struct {
		Operations []operation `json:"operations"`
	}{operations()})
}
