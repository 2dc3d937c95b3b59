package openwhisk

import (
	"bytes"
	"cmp"
	"encoding/json"
	"html/template"
	"net/http"
	"slices"
	"strings"
)

// An operation is one of those that the description of the API has.
type operation struct {
	Tag, Method, Path, Summary string
	Parameters                 []parameterSeen
}

type parameterSeen struct {
	Name        string `json:"name"`
	In          string `json:"in"`
	Required    bool   `json:"required"`
	Description string `json:"description"`
}

// operationsOf reads the operations of a description, in the order of their tags,
// paths and methods.
func operationsOf(swagger []byte) ([]operation, error) {
	var doc struct {
		BasePath string
		Paths    map[string]map[string]struct {
			Summary    string
			Tags       []string
			Parameters []parameterSeen
		}
	}
	if err := json.Unmarshal(swagger, &doc); err != nil {
		return nil, err
	}
	var all []operation
	for path, methods := range doc.Paths {
		for method, o := range methods {
			all = append(all, operation{strings.Join(o.Tags, ", "), strings.ToUpper(method), doc.BasePath + path, o.Summary, o.Parameters})
		}
	}
	slices.SortFunc(all, func(a, b operation) int {
		return cmp.Or(cmp.Compare(a.Tag, b.Tag), cmp.Compare(a.Path, b.Path), cmp.Compare(a.Method, b.Method))
	})
	return all, nil
}

var docsPage = template.Must(template.New("docs").Parse(`<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>OpenWhisk API</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 50rem; margin: 2rem auto; padding: 0 1rem; color-scheme: light dark }
code { font-family: ui-monospace, monospace }
dt { margin-top: 1rem }
dd { margin-left: 1.5rem }
</style>
<h1>OpenWhisk API</h1>
<p>What wsk and the client libraries ask for; as a description for programs, <a href="api-docs">api-docs</a>.
All of it wants a key, by Basic authentication.</p>
{{$tag := ""}}{{range .}}{{if ne .Tag $tag}}{{if $tag}}</dl>
{{end}}{{$tag = .Tag}}<h2>{{.Tag}}</h2>
<dl>
{{end}}<dt><code>{{.Method}} {{.Path}}</code></dt>
<dd>{{.Summary}}{{if .Parameters}}<ul>{{range .Parameters}}
<li><code>{{.Name}}</code> in the {{.In}}{{if .Required}}, required{{end}}{{with .Description}}: {{.}}{{end}}</li>{{end}}
</ul>{{end}}</dd>
{{end}}</dl>
</html>
`))

// getDocs shows the description of the API to people.
func (d *Door) getDocs(c *call) error {
	all, err := operationsOf(swagger)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	if err := docsPage.Execute(&b, all); err != nil {
		return err
	}
	h := c.w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	c.w.WriteHeader(http.StatusOK)
	if c.r.Method != http.MethodHead {
		_, _ = c.w.Write(b.Bytes()) // an error is the connection's
	}
	return nil
}
