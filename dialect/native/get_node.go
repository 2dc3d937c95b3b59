package native

import "net/http"

func getNode(s *server, c *call) error { return c.answer(http.StatusOK, s.Node()) }
