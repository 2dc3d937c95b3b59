package node

import (
	"path/filepath"

	"github.com/rouse-run/rouse/event"
	"github.com/rouse-run/rouse/trigger/events"
	"github.com/rouse-run/rouse/trigger/files"
	"github.com/rouse-run/rouse/trigger/manual"
	"github.com/rouse-run/rouse/trigger/mqtt"
	"github.com/rouse-run/rouse/trigger/schedule"
	"github.com/rouse-run/rouse/trigger/web"
	"github.com/rouse-run/rouse/trigger/webhook"
)

// sources are the kinds of triggers there are.
func (n *Node) sources() []event.Source {
	return []event.Source{
		schedule.New(schedule.Config{Emitter: n.rules, Log: n.Log}),
		files.New(files.Config{Emitter: n.rules, Dir: filepath.Join(n.Data, "files"), Own: n.Data, Log: n.Log}),
		web.New(web.Config{Emitter: n.rules, Log: n.Log}),
		webhook.New(webhook.Config{Emitter: n.rules, Log: n.Log}),
		webhook.NewGitHub(webhook.Config{Emitter: n.rules, Log: n.Log}),
		events.New(events.Config{Emitter: n.rules, Log: n.Log}),
		manual.Source{},
		mqtt.New(mqtt.Config{Emitter: n.rules, Log: n.Log}),
	}
}

// servers returns how the kinds are found whose events come in as requests.
func servers(all []event.Source) func(kind string) event.Server {
	byKind := map[string]event.Server{}
	for _, s := range all {
		if server, ok := s.(event.Server); ok {
			byKind[s.Kind()] = server
		}
	}
	return func(kind string) event.Server { return byKind[kind] }
}
