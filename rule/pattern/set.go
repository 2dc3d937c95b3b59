package pattern

import "slices"

// A Set finds which of many patterns match, without trying each: those that ask
// a field for texts are found by the text that is there. It may be used
// concurrently once all are added.
type Set[K comparable] struct {
	byText map[string]map[string][]entry[K] // by name of a field and text
	rest   []entry[K]                       // to be tried each time
}

type entry[K any] struct {
	key K
	p   *Pattern
}

// Add adds a pattern.
func (s *Set[K]) Add(key K, p *Pattern) {
	e := entry[K]{key, p}
	// By the field that tells it best from those that are there already: many
	// may ask for one @type.
	best, most := -1, 0
	for i, f := range p.fields {
		if len(f.texts) == 0 {
			continue
		}
		n := 0
		for _, t := range f.texts {
			n = max(n, len(s.byText[f.name][t]))
		}
		if best < 0 || n <= most {
			best, most = i, n
		}
	}
	if best < 0 {
		s.rest = append(s.rest, e)
		return
	}
	f := p.fields[best]
	if s.byText == nil {
		s.byText = map[string]map[string][]entry[K]{}
	}
	if s.byText[f.name] == nil {
		s.byText[f.name] = map[string][]entry[K]{}
	}
	for _, t := range f.texts {
		s.byText[f.name][t] = append(s.byText[f.name][t], e)
	}
}

// Match returns the keys of the patterns that match doc, each once.
func (s *Set[K]) Match(doc map[string]any) (keys []K) {
	try := func(es []entry[K]) {
		for _, e := range es {
			if e.p.Match(doc) {
				keys = append(keys, e.key)
			}
		}
	}
	try(s.rest)
	for name, byText := range s.byText {
		switch v := doc[name].(type) {
		case string:
			try(byText[v])
		case []any:
			first := len(keys)
			for _, e := range v {
				if t, ok := e.(string); ok {
					try(byText[t])
				}
			}
			keys = append(keys[:first], unique(keys[first:])...)
		}
	}
	return keys
}

// unique drops what came before: two values of a list may lead to one pattern.
func unique[K comparable](keys []K) []K {
	var out []K
	for _, k := range keys {
		if !slices.Contains(out, k) {
			out = append(out, k)
		}
	}
	return out
}
