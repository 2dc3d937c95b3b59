package manifest

import (
	"maps"
	"slices"
)

func keys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

func sorted(names []string) []string { return slices.Sorted(slices.Values(names)) }
