package native

import "slices"

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
	routePath   = "/fn/{name}/{path...}"
	otherPath   = "/{path...}"
	ns          = "namespace" // a value of nearly all queries
)

// operations is a function because an operation among them shows them all.
func operations() []operation {
	return slices.Concat(functionOperations(), streamOperations(), queueOperations(), tableOperations(), bucketOperations(), eventOperations(), routeOperations(), subjectOperations(), nodeOperations())
}

func functionOperations() []operation {
	return []operation{
		{"GET", "/v1", "these operations", nil, true, index},
		{"POST", "/v1/check", "say what would come of {\"changes\": [{\"kind\", \"name\", \"set\"}, ...]}, each as if the others had been made, and make none; set is what a PUT takes, without it the thing is to be removed; the answer has of each \"set\" as GET would show it, or \"error\"", []string{ns}, false, check},
		{"POST", "/v1/turn", "wait for the turn to change many things of a namespace together; answers with NDJSON, of which the line {\"mine\": true} says that it has come; it lasts until the client goes, and others who ask for it wait", []string{ns}, false, takeTurn},
		{"GET", "/v1/node", "what this node is and how it does", nil, false, getNode},

		{"GET", "/v1/functions", "list functions by name", []string{ns, "after", "limit"}, false, listFunctions},
		{"PUT", "/v1/functions/{name}", "deploy: multipart/form-data with the parts \"options\" (JSON) and \"code\" (zip), in this order; answers with the function, or to who accepts application/x-ndjson with a line for each step and one with the function or the error", []string{ns}, false, deploy},
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
		{"GET", "/v1/activations/{id}/explain", "what led to an activation, and what it led to", []string{ns}, false, explain},
	}
}

func streamOperations() []operation {
	return []operation{
		{"GET", "/v1/streams", "list streams by name", []string{ns, "after", "limit"}, false, listStreams},
		{"PUT", "/v1/streams/{name}", "make a stream or change it: {\"shards\", \"keep\"}", []string{ns}, false, setStream},
		{"GET", "/v1/streams/{name}", "one stream", []string{ns}, false, getStream},
		{"DELETE", "/v1/streams/{name}", "remove a stream with its records", []string{ns}, false, removeStream},
		{"GET", "/v1/streams/{name}/shards", "the shards of a stream, parents before their children", []string{ns}, false, listShards},
		{"POST", "/v1/streams/{name}/records", "append {\"records\": [{\"key\", \"data\"}, ...]}, all or none; data is any JSON, a string stands for its text, and \"dataBase64\" in its place is for other bytes", []string{ns}, false, appendRecords},
		{"GET", "/v1/streams/{name}/records", "read a shard, or all of them; from oldest, or newest, or since a time, or after a number of a shard; wait=30s waits for a first record of a shard; follow=true goes on with new ones as NDJSON", []string{ns, "shard", "after", "since", "from", "limit", "wait", "follow"}, false, readRecords},
		{"POST", "/v1/streams/{name}/scale", "divide a stream into so many shards of one size: {\"shards\"}", []string{ns}, false, scaleStream},
		{"POST", "/v1/streams/{name}/split", "divide a shard in two, \"at\" a hash key or in its middle: {\"shard\", \"at\"}", []string{ns}, false, splitShard},
		{"POST", "/v1/streams/{name}/merge", "join two shards that adjoin: {\"shards\": [a, b]}", []string{ns}, false, mergeShards},
	}
}

func queueOperations() []operation {
	return []operation{
		{"GET", "/v1/queues", "list queues by name, with their counts", []string{ns, "after", "limit"}, false, listQueues},
		{"PUT", "/v1/queues/{name}", "make a queue or change it: {\"visibility\", \"delay\", \"keep\", \"maxReceives\", \"deadLetter\", \"fifo\", \"dedupByBody\"}", []string{ns}, false, setQueue},
		{"GET", "/v1/queues/{name}", "one queue, with its counts", []string{ns}, false, getQueue},
		{"DELETE", "/v1/queues/{name}", "remove a queue with its messages", []string{ns}, false, removeQueue},
		{"POST", "/v1/queues/{name}/messages", "send {\"messages\": [{\"body\", \"attributes\", \"delay\", \"ttl\", \"dedup\", \"group\"}, ...]}, all or none; body is any JSON, a string stands for its text, and \"bodyBase64\" in its place is for other bytes", []string{ns}, false, sendMessages},
		{"GET", "/v1/queues/{name}/messages", "look at visible messages without receiving them", []string{ns, "limit"}, false, peekMessages},
		{"POST", "/v1/queues/{name}/receive", "receive {\"max\", \"visibility\", \"wait\"}", []string{ns}, false, receiveMessages},
		{"POST", "/v1/queues/{name}/delete", "delete the messages of {\"receipts\"} that are still good", []string{ns}, false, deleteMessages},
		{"POST", "/v1/queues/{name}/extend", "make a received message visible after another time: {\"receipt\", \"visibility\"}", []string{ns}, false, extendMessage},
		{"POST", "/v1/queues/{name}/purge", "remove all messages", []string{ns}, false, purgeQueue},
		{"POST", "/v1/queues/{name}/redrive", "send messages to another queue, or back to where they came from: {\"to\", \"limit\"}", []string{ns}, false, redriveQueue},
	}
}

func tableOperations() []operation {
	return []operation{
		{"GET", "/v1/tables", "list tables by name", []string{ns, "after", "limit"}, false, listTables},
		{"PUT", "/v1/tables/{name}", "make a table or change it: {\"key\": {\"name\", \"type\"}, \"sort\", \"indexes\", \"ttl\", \"changes\"}", []string{ns}, false, setTable},
		{"GET", "/v1/tables/{name}", "one table", []string{ns}, false, getTable},
		{"DELETE", "/v1/tables/{name}", "remove a table with its items", []string{ns}, false, removeTable},
		{"POST", "/v1/tables/{name}/get", "the item of {\"key\"}, or those of {\"keys\"} at one moment", []string{ns}, false, getItems},
		{"POST", "/v1/tables/{name}/put", "store {\"item\", \"if\"}; \"return\" is old, new or both", []string{ns}, false, putItem},
		{"POST", "/v1/tables/{name}/update", "change the item of {\"key\"} by {\"edits\", \"if\"}; \"return\" is old, new or both", []string{ns}, false, updateItem},
		{"POST", "/v1/tables/{name}/delete", "remove the item of {\"key\", \"if\"}; \"return\" is old, new or both", []string{ns}, false, deleteItem},
		{"POST", "/v1/tables/{name}/query", "the items of one partition: {\"key\", \"sort\", \"index\", \"reverse\", \"filter\", \"attributes\", \"limit\", \"after\"}", []string{ns}, false, queryTable},
		{"POST", "/v1/tables/{name}/scan", "all items, or those of one of several segments: {\"index\", \"segment\", \"segments\", \"filter\", \"attributes\", \"limit\", \"after\"}", []string{ns}, false, scanTable},
		{"POST", "/v1/transact", "make {\"writes\": [{\"op\", \"table\", \"key\", \"item\", \"edits\", \"if\"}, ...]} of any tables, all or none; op is put, update, delete or check", []string{ns}, false, transact},
	}
}

func bucketOperations() []operation {
	const object = "/v1/buckets/{name}/objects/{key...}"
	return []operation{
		{"GET", "/v1/buckets", "list buckets by name", []string{ns, "after", "limit"}, false, listBuckets},
		{"PUT", "/v1/buckets/{name}", "make a bucket or change it: {\"versioned\", \"changes\"}", []string{ns}, false, setBucket},
		{"GET", "/v1/buckets/{name}", "one bucket", []string{ns}, false, getBucket},
		{"DELETE", "/v1/buckets/{name}", "remove an empty bucket", []string{ns}, false, removeBucket},
		{"GET", "/v1/buckets/{name}/objects", "list objects by key; versions=true lists all versions", []string{ns, "prefix", "delimiter", "after", "limit", "versions", "version"}, false, listObjects},
		{"PUT", object, "store the body under a key, whatever its size; If-Match and If-None-Match are heeded, and headers Rouse-Meta-<name> kept", []string{ns}, false, putObject},
		{"GET", object, "an object, or the part of it that Range asks for; conditions are those of HTTP", []string{ns, "version"}, false, getObject},
		{"HEAD", object, "an object without its body", []string{ns, "version"}, false, headObject},
		{"DELETE", object, "remove an object, or one version of it", []string{ns, "version"}, false, deleteObject},
		{"POST", "/v1/buckets/{name}/copy", "make an object of another's bytes: {\"from\": {\"bucket\", \"key\", \"version\"}, \"to\"}", []string{ns}, false, copyObject},
	}
}

func eventOperations() []operation {
	return []operation{
		{"GET", "/v1/triggers", "list triggers by name, and how they do", []string{ns, "after", "limit"}, false, listTriggers},
		{"PUT", "/v1/triggers/{name}", "make a trigger or change it: {\"kind\", \"config\"}", []string{ns}, false, setTrigger},
		{"GET", "/v1/triggers/{name}", "one trigger, and how it does", []string{ns}, false, getTrigger},
		{"DELETE", "/v1/triggers/{name}", "remove a trigger that no rule listens to", []string{ns}, false, removeTrigger},
		{"POST", "/v1/triggers/{name}/fire", "make events as if the trigger had: {\"events\": [{\"id\", \"type\", \"source\", \"subject\", \"time\", \"contentType\", \"data\", \"attributes\"}, ...]}", []string{ns}, false, fireTrigger},

		{"GET", "/v1/rules", "list rules by name; status=true says how each does", []string{ns, "after", "limit", "status"}, false, listRules},
		{"PUT", "/v1/rules/{name}", "make a rule or change it", []string{ns}, false, setRule},
		{"GET", "/v1/rules/{name}", "one rule, and how it does", []string{ns}, false, getRule},
		{"DELETE", "/v1/rules/{name}", "remove a rule", []string{ns}, false, removeRule},
		{"POST", "/v1/rules/{name}/pause", "deliver nothing; what comes in waits: {\"why\"}", []string{ns}, false, pauseRule},
		{"POST", "/v1/rules/{name}/resume", "deliver again", []string{ns}, false, resumeRule},
		{"GET", "/v1/rules/{name}/dead", "events that were given up, where the rule has no dead letter of its own", []string{ns, "after", "limit"}, false, listDeadEvents},
		{"POST", "/v1/rules/{name}/redrive", "deliver those again: all, or the \"ids\" in the body", []string{ns}, false, redriveEvents},
		{"POST", "/v1/rules/{name}/replay", "deliver once more what came in: {\"since\", \"until\", \"function\", \"version\", \"rate\"}", []string{ns}, false, replayRule},

		{"GET", "/v1/events/{id...}", "one event, while it is kept", []string{ns}, false, getEvent},
	}
}

func subjectOperations() []operation {
	const subject = "/v1/subjects/{name}"
	return []operation{
		{"GET", "/v1/subjects", "list those who own a namespace, with their keys", nil, false, listSubjects},
		{"PUT", subject, "let somebody own the namespace of that name, or change that: {\"quota\": {\"invocations\", \"fires\", \"concurrent\"}, \"blocked\", \"rotate\"}", nil, false, setSubject},
		{"GET", subject, "one, with its key", nil, false, getSubject},
		{"DELETE", subject, "take its key away; what is in its namespace stays", nil, false, removeSubject},
	}
}

func routeOperations() []operation {
	const pattern = "/v1/routes/{pattern...}"
	return []operation{
		{"GET", "/v1/routes", "list routes by pattern", []string{ns, "after", "limit"}, false, listRoutes},
		{"PUT", pattern, "lead the requests of a pattern, such as /v1/routes/GET%20%2Fitems%2F{id}, to a function: {\"to\", \"qualifier\", \"public\"}", []string{ns}, false, setRoute},
		{"GET", pattern, "one route", []string{ns}, false, getRoute},
		{"DELETE", pattern, "remove a route", []string{ns}, false, removeRoute},
	}
}

func nodeOperations() []operation {
	return []operation{
		{"GET", "/healthz", "whether the process lives", nil, true, healthz},
		{"GET", "/readyz", "whether the node takes work", nil, true, readyz},
		{"GET", "/metrics", "counters in the Prometheus text format", nil, true, metrics},

		{anyMethod, routePath, "a function's own HTTP route, also as /fn/{name}:{qualifier}/...; a public function asks for no token", nil, true, route},
		{anyMethod, "/on/{name}/{path...}", "a trigger's address, NAMESPACE:NAME where it is not in the default one; some kinds of triggers ask for no token", nil, true, serveTrigger},
		{anyMethod, otherPath, "all other paths, which routes lead to functions", nil, true, followRoute},
	}
}
