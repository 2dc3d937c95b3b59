package node

import "github.com/rouse-run/rouse/event"

// sources are the kinds of triggers there are.
func (n *Node) sources() []event.Source { return nil }
