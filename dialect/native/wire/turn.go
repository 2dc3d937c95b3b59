package wire

// A Turn says whether it is the client's turn to change things together.
type Turn struct {
	Mine bool `json:"mine"`
}
