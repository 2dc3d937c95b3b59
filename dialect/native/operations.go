package native

// An operation is one thing the API does. Routing and the page at GET /v1 both
// come from the table of them.
type operation struct {
	Method  string   `json:"method"`
	Path    string   `json:"path"`
	Summary string   `json:"summary"`
	Query   []string `json:"query,omitempty"` // the values it understands
	Open    bool     `json:"open,omitempty"`  // no token is asked for here
	handle  func(*server, *call) error
}

const (
	anyMethod   = "*"
	routePrefix = "/fn/"
)

// operations is a function because an operation among them shows them all.
func operations() []operation {
	const ns = "namespace"
	return []operation{
		{"GET", "/v1", "these operations", nil, true, index},
		{"GET", "/v1/node", "what this node is and how it does", nil, false, getNode},

		{"GET", "/v1/functions", "list functions by name", []string{ns, "after", "limit"}, false, listFunctions},
		{"PUT", "/v1/functions/{name}", "deploy: multipart/form-data with the parts \"options\" (JSON) and \"code\" (zip), in this order", []string{ns}, false, deploy},
		{"GET", "/v1/functions/{name}", "one version of a function: the newest, or that of a number or an alias", []string{ns, "qualifier", "version"}, false, getFunction},
		{"DELETE", "/v1/functions/{name}", "remove a function with its versions and aliases", []string{ns}, false, removeFunction},
		{"GET", "/v1/functions/{name}/versions", "all versions of a function", []string{ns}, false, listVersions},

		{"GET", "/v1/functions/{name}/aliases", "all aliases of a function", []string{ns}, false, listAliases},
		{"GET", "/v1/functions/{name}/aliases/{alias}", "one alias", []string{ns}, false, getAlias},
		{"PUT", "/v1/functions/{name}/aliases/{alias}", "point an alias at a version, or at two with a weight for the other", []string{ns}, false, setAlias},
		{"DELETE", "/v1/functions/{name}/aliases/{alias}", "remove an alias", []string{ns}, false, removeAlias},

		{"POST", "/v1/functions/{name}/invoke", "run a function on the body; async=true answers at once, record=true answers with the whole activation", []string{ns, "qualifier", "async", "record"}, false, invoke},
		{"POST", "/v1/functions/{name}/batch", "run a function later on each line of the body, which is NDJSON", []string{ns, "qualifier"}, false, batch},
		{"GET", "/v1/functions/{name}/logs", "lines of log as NDJSON; follow=true goes on with new ones", []string{ns, "activation", "since", "limit", "follow"}, false, functionLogs},
		{"GET", "/v1/functions/{name}/dead", "asynchronous invocations that were given up", []string{ns, "after", "limit"}, false, listDead},
		{"POST", "/v1/functions/{name}/redrive", "run dead letters again: all, or the \"ids\" in the body", []string{ns}, false, redrive},

		{"GET", "/v1/activations", "what ran, newest first", []string{ns, "function", "status", "since", "until", "before", "limit"}, false, listActivations},
		{"GET", "/v1/activations/{id}", "one activation; wait=30s waits for its end", []string{ns, "wait"}, false, getActivation},
		{"GET", "/v1/activations/{id}/logs", "the lines an activation printed; wait=30s waits for its end", []string{ns, "wait"}, false, activationLogs},

		{"GET", "/healthz", "whether the process lives", nil, true, healthz},
		{"GET", "/readyz", "whether the node takes work", nil, true, readyz},
		{"GET", "/metrics", "counters in the Prometheus text format", nil, true, metrics},

		{anyMethod, "/fn/{name}/{path...}", "a function's own HTTP route, also as /fn/{name}:{qualifier}/...; a public function asks for no token", nil, true, route},
	}
}
