package openwhisk

import (
	_ "embed"
	"maps"
	"net/http"
	"slices"
	"strconv"

	"github.com/rouse-run/rouse"
)

// apiVersion is that of OpenWhisk's API.
const apiVersion = "1.0.0"

func (d *Door) getServer(c *call) error {
	memory, mb := d.spanMemory(), int64(1<<20)
	ms := func(n int64) string { return strconv.FormatInt(n, 10) }
	return c.answer(http.StatusOK, map[string]any{
		"description": "OpenWhisk",
		"support":     map[string]string{"github": "https://github.com/rouse-run/rouse/issues", "slack": ""},
		"api_paths":   []string{"/api/v1"},
		"limits": map[string]any{
			"actions_per_minute": unbounded, "triggers_per_minute": unbounded, "concurrent_actions": unbounded, "sequence_length": maxComponents,
			"default_min_action_duration": spanTimeout.least, "default_max_action_duration": spanTimeout.most,
			"min_action_duration": spanTimeout.least, "max_action_duration": spanTimeout.most,
			"default_min_action_memory": memory.least * mb, "default_max_action_memory": memory.most * mb,
			"min_action_memory": memory.least * mb, "max_action_memory": memory.most * mb,
			"default_min_action_logs": spanLogs.least * mb, "default_max_action_logs": spanLogs.most * mb,
			"min_action_logs": spanLogs.least * mb, "max_action_logs": spanLogs.most * mb,
			"max_parameter_size": ms(maxPairs),
		},
		"runtimes": d.kinds(),
	})
}

// unbounded stands for no bound where clients want a number.
const unbounded = 1<<31 - 1

func (d *Door) getAPI(c *call) error {
	return c.answer(http.StatusOK, map[string]any{
		"description": "OpenWhisk API", "api_version": apiVersion, "api_version_path": "v1", "build": d.Build, "buildno": d.Build,
		"swagger_paths": map[string]string{"ui": "/docs", "api-docs": "/api-docs"},
	})
}

//go:embed swagger.json
var swagger []byte

func (d *Door) getSwagger(c *call) error {
	c.write(http.StatusOK, swagger)
	return nil
}

func (d *Door) ping(c *call) error {
	c.w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = c.w.Write([]byte("pong")) // an error is the connection's
	return nil
}

func (d *Door) listNamespaces(c *call) error {
	return c.answer(http.StatusOK, []rouse.Namespace{c.own()})
}

func (d *Door) getLimits(c *call) error {
	ns, err := c.mine()
	if err != nil {
		return err
	}
	q, err := d.quota(c.r.Context(), ns)
	if err != nil {
		return err
	}
	or := func(n int) int {
		if n == 0 {
			return unbounded
		}
		return n
	}
	var kinds []string
	all := d.kinds()
	for _, family := range slices.Sorted(maps.Keys(all)) {
		for _, k := range all[family] {
			kinds = append(kinds, k.Kind)
		}
	}
	memory := d.spanMemory()
	return c.answer(http.StatusOK, map[string]any{
		"invocationsPerMinute": or(q.Invocations), "concurrentInvocations": or(q.Concurrent), "firesPerMinute": or(q.Fires),
		"allowedKinds": kinds, "storeActivations": true,
		"minActionMemory": memory.least, "maxActionMemory": memory.most, "minActionLogs": spanLogs.least, "maxActionLogs": spanLogs.most,
		"minActionTimeout": spanTimeout.least, "maxActionTimeout": spanTimeout.most,
		"minActionConcurrency": spanConcurrency.least, "maxActionConcurrency": spanConcurrency.most,
		"maxActionInstances": min(spanInstances.most, int64(or(q.Concurrent))), "maxParameterSize": strconv.Itoa(maxPairs) + " B",
	})
}

// getInvokers lists what runs actions: this server, which answers as long as it
// does.
func (d *Door) getInvokers(c *call) error {
	return c.answer(http.StatusOK, map[string]string{"invoker0/0": "up"})
}

func (d *Door) countInvokers(c *call) error { return c.answer(http.StatusOK, 1) }

func (d *Door) getReady(c *call) error {
	return c.answer(http.StatusOK, map[string]string{"healthy": "1/1"})
}
