package data

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// A Cond is a condition on an Item; one on an Item that is not there sees no
// attributes.
//
// As JSON a Cond is an object whose members must all hold. Each is a path and
// what is asked of its value: {"color": "red", "price": {"lt": 5}, "a.b[0]":
// {"begins": "x"}}. A value alone means eq. The tests are eq, ne, lt, le, gt, ge,
// begins, contains (one value), between (two), in (a list), exists (true or
// false) and type (a ValueType's word); size asks the same of the value's size:
// {"tags": {"size": {"gt": 3}}}. A value {"$path": "other"} is another
// attribute's. {"$or": [cond, …]}, {"$and": [cond, …]} and {"$not": cond} combine.
type Cond struct {
	Op   CondOp
	Args []Term  // the first is what is asked about
	Of   []*Cond // of And, Or and Not
}

// A CondOp is what a Cond asks.
type CondOp uint8

// The CondOps. Values of different types are not equal and have no order; Lt
// to Between compare Strings, Numbers and Binaries. In holds where the first Arg
// equals one of the others. Begins is for Strings and Binaries. Contains asks a
// String for a part, or a List or set for a member. HasType's second Arg is the
// word of a ValueType. Exists and Missing have one Arg, an attribute.
const (
	Eq CondOp = iota + 1
	Ne
	Lt
	Le
	Gt
	Ge
	Between
	In
	Exists
	Missing
	HasType
	Begins
	Contains
	And
	Or
	Not
)

var condOps = words{"", "eq", "ne", "lt", "le", "gt", "ge", "between", "in", "exists", "missing", "type", "begins", "contains", "and", "or", "not"}

func (o CondOp) String() string { return condOps.word(uint8(o)) }

// MarshalText writes the CondOp's word.
func (o CondOp) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// UnmarshalText reads the CondOp's word.
func (o *CondOp) UnmarshalText(b []byte) error {
	n, err := condOps.read("test", string(b))
	*o = CondOp(n)
	return err
}

// A Term is a value that is made from an Item.
//
// As JSON it is the Value, or an object of one member: {"$path": "a.b"},
// {"$size": "a.b"}, {"$plus": [term, term]}, {"$minus": [term, term]},
// {"$append": [term, term]} or {"$default": [{"$path": "a"}, term]}.
type Term struct {
	Op    TermOp
	Value Value  // of TermConst
	Path  Path   // of TermAttr and TermSize
	Of    []Term // two, of the others
}

// A TermOp is how a Term is made.
type TermOp uint8

// The TermOps. TermSize is the number of a value's bytes, or of its members.
// TermPlus and TermMinus are of Numbers. TermAppend joins two Lists.
// TermDefault is the first Term where the Item has it, and else the second.
const (
	TermConst TermOp = iota
	TermAttr
	TermSize
	TermPlus
	TermMinus
	TermAppend
	TermDefault
)

var termOps = words{"", "path", "size", "plus", "minus", "append", "default"}

// Const returns the Term of a Value.
func Const(v Value) Term { return Term{Value: v} }

// At returns the Term of what a path leads to.
func At(p Path) Term { return Term{Op: TermAttr, Path: p} }

// Edits change an Item, all of them as it was before.
//
// As JSON they are {"set": {path: term, …}, "remove": [path, …], "add": {path:
// value, …}, "delete": {path: set, …}}, each of which may be missing.
type Edits []Edit

// An Edit changes what one Path leads to.
type Edit struct {
	Op   EditOp
	Path Path
	Term Term // not of EditRemove
}

// An EditOp is what an Edit does.
type EditOp uint8

// The EditOps. EditSet stores the Term; what is after the end of a List is added
// to it. EditRemove takes the value away. EditAdd adds to a Number, that is 0
// where it is missing, or members to a set. EditDiscard takes members from a set.
const (
	EditSet EditOp = iota + 1
	EditRemove
	EditAdd
	EditDiscard
)

var editOps = words{"", "set", "remove", "add", "delete"}

// UnmarshalJSON reads the form that Cond describes.
func (c *Cond) UnmarshalJSON(b []byte) error {
	tree, err := readTree(b)
	if err != nil {
		return err
	}
	got, err := condOf(tree, 0)
	if err == nil {
		*c = *got
	}
	return err
}

func condOf(tree any, depth int) (*Cond, error) {
	members, ok := tree.(map[string]any)
	if !ok || len(members) == 0 {
		return nil, errors.New(`a condition is an object such as {"price": {"lt": 5}}`)
	}
	if depth > maxDepth {
		return nil, fmt.Errorf("the condition is more than %d levels deep", maxDepth)
	}
	all := &Cond{Op: And}
	for _, name := range slices.Sorted(maps.Keys(members)) {
		cs, err := memberConds(name, members[name], depth)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		all.Of = append(all.Of, cs...)
	}
	if len(all.Of) == 1 {
		return all.Of[0], nil
	}
	return all, nil
}

// memberConds reads one member of a condition: a path or a combination.
func memberConds(name string, tree any, depth int) ([]*Cond, error) {
	switch name {
	case "$not":
		c, err := condOf(tree, depth+1)
		return []*Cond{{Op: Not, Of: []*Cond{c}}}, err
	case "$and", "$or":
		list, ok := tree.([]any)
		if !ok || len(list) == 0 {
			return nil, errors.New("it wants a list of conditions")
		}
		c := &Cond{Op: And}
		if name == "$or" {
			c.Op = Or
		}
		for _, t := range list {
			of, err := condOf(t, depth+1)
			if err != nil {
				return nil, err
			}
			c.Of = append(c.Of, of)
		}
		return []*Cond{c}, nil
	}
	p, err := ParsePath(name)
	if err != nil {
		return nil, err
	}
	return tests(At(p), tree, depth)
}

// tests reads what is asked of one term.
func tests(about Term, tree any, depth int) ([]*Cond, error) {
	asked, ok := tree.(map[string]any)
	if ok && len(asked) == 1 {
		for k := range asked {
			ok = !strings.HasPrefix(k, "$")
		}
	}
	if !ok {
		term, err := termOf(tree, depth+1)
		return []*Cond{{Op: Eq, Args: []Term{about, term}}}, err
	}
	var all []*Cond
	for _, word := range slices.Sorted(maps.Keys(asked)) {
		var cs []*Cond
		var err error
		if word == "size" && about.Op == TermAttr {
			cs, err = tests(Term{Op: TermSize, Path: about.Path}, asked[word], depth+1)
		} else {
			var c *Cond
			c, err = test(about, word, asked[word], depth+1)
			cs = []*Cond{c}
		}
		if err != nil {
			return nil, err
		}
		all = append(all, cs...)
	}
	if len(all) == 0 {
		return nil, errors.New("nothing is asked")
	}
	return all, nil
}

func test(about Term, word string, tree any, depth int) (*Cond, error) {
	n, err := condOps.read("test", word)
	op := CondOp(n)
	if err != nil || op >= And || op == Missing || op == 0 {
		return nil, fmt.Errorf("%q is no test: there are eq, ne, lt, le, gt, ge, between, in, exists, type, begins, contains and size", word)
	}
	c := &Cond{Op: op, Args: []Term{about}}
	trees := []any{tree}
	switch op {
	case Exists:
		yes, ok := tree.(bool)
		if !ok {
			return nil, errors.New("exists wants true or false")
		}
		if !yes {
			c.Op = Missing
		}
		return c, nil
	case Between, In:
		list, ok := tree.([]any)
		if !ok || op == Between && len(list) != 2 {
			return nil, fmt.Errorf("%s wants a list: two values for between, any number for in", word)
		}
		trees = list
	}
	for _, t := range trees {
		term, err := termOf(t, depth)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", word, err)
		}
		c.Args = append(c.Args, term)
	}
	return c, nil
}

// MarshalJSON writes the form that Cond describes. Errors: one for a first Arg
// that is not an attribute or its size, which JSON has no form for.
func (c *Cond) MarshalJSON() ([]byte, error) {
	switch c.Op {
	case And, Or:
		return json.Marshal(map[string]any{"$" + c.Op.String(): c.Of})
	case Not:
		if len(c.Of) != 1 {
			return nil, errors.New("not wants one condition")
		}
		return json.Marshal(map[string]any{"$not": c.Of[0]})
	}
	if len(c.Args) == 0 || c.Args[0].Op != TermAttr && c.Args[0].Op != TermSize {
		return nil, errors.New("only a condition on an attribute or its size can be written as JSON")
	}
	var asked any
	switch about, rest := c.Args[0], c.Args[1:]; {
	case c.Op == Exists || c.Op == Missing:
		asked = map[string]any{"exists": c.Op == Exists}
	case c.Op == Between || c.Op == In:
		asked = map[string]any{c.Op.String(): rest}
	case len(rest) == 1:
		asked = map[string]any{c.Op.String(): rest[0]}
	default:
		return nil, fmt.Errorf("%s wants one value for %s", c.Op, about.Path)
	}
	if c.Args[0].Op == TermSize {
		asked = map[string]any{"size": asked}
	}
	return json.Marshal(map[string]any{c.Args[0].Path.String(): asked})
}

// UnmarshalJSON reads the form that Term describes.
func (t *Term) UnmarshalJSON(b []byte) error {
	tree, err := readTree(b)
	if err == nil {
		*t, err = termOf(tree, 0)
	}
	return err
}

func termOf(tree any, depth int) (Term, error) {
	if m, ok := tree.(map[string]any); ok && len(m) == 1 {
		for name, inner := range m {
			word, dollar := strings.CutPrefix(name, "$")
			if n := slices.Index(termOps, word); dollar && n > 0 {
				return combine(TermOp(n), inner, depth)
			}
		}
	}
	v, err := valueOf(tree, depth)
	return Const(v), err
}

func combine(op TermOp, inner any, depth int) (Term, error) {
	if depth > maxDepth {
		return Term{}, fmt.Errorf("it is more than %d levels deep", maxDepth)
	}
	if op == TermAttr || op == TermSize {
		s, _ := inner.(string)
		p, err := ParsePath(s)
		return Term{Op: op, Path: p}, err
	}
	list, ok := inner.([]any)
	if !ok || len(list) != 2 {
		return Term{}, fmt.Errorf("$%s wants two terms", termOps.word(uint8(op)))
	}
	t := Term{Op: op}
	for _, of := range list {
		term, err := termOf(of, depth+1)
		if err != nil {
			return Term{}, err
		}
		t.Of = append(t.Of, term)
	}
	return t, nil
}

// MarshalJSON writes the form that Term describes.
func (t Term) MarshalJSON() ([]byte, error) {
	switch t.Op {
	case TermConst:
		return json.Marshal(t.Value)
	case TermAttr, TermSize:
		return json.Marshal(map[string]string{"$" + termOps.word(uint8(t.Op)): t.Path.String()})
	}
	return json.Marshal(map[string][]Term{"$" + termOps.word(uint8(t.Op)): t.Of})
}

// UnmarshalJSON reads the form that Edits describes.
func (es *Edits) UnmarshalJSON(b []byte) error {
	var form struct {
		Set    map[string]Term
		Remove []Path
		Add    map[string]Value
		Delete map[string]Value
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields() // a word that is misspelt must not change nothing
	if err := d.Decode(&form); err != nil {
		return err
	}
	*es = nil
	add := func(op EditOp, path string, t Term) error {
		p, err := ParsePath(path)
		*es = append(*es, Edit{op, p, t})
		return err
	}
	for _, k := range slices.Sorted(maps.Keys(form.Set)) {
		if err := add(EditSet, k, form.Set[k]); err != nil {
			return err
		}
	}
	for _, p := range form.Remove {
		*es = append(*es, Edit{Op: EditRemove, Path: p})
	}
	for _, k := range slices.Sorted(maps.Keys(form.Add)) {
		if err := add(EditAdd, k, Const(form.Add[k])); err != nil {
			return err
		}
	}
	for _, k := range slices.Sorted(maps.Keys(form.Delete)) {
		if err := add(EditDiscard, k, Const(form.Delete[k])); err != nil {
			return err
		}
	}
	return nil
}

// MarshalJSON writes the form that Edits describes.
func (es Edits) MarshalJSON() ([]byte, error) {
	form := map[string]any{}
	for _, e := range es {
		word := editOps.word(uint8(e.Op))
		if e.Op == EditRemove {
			list, _ := form[word].([]Path)
			form[word] = append(list, e.Path)
			continue
		}
		terms, _ := form[word].(map[string]Term)
		if terms == nil {
			terms = map[string]Term{}
			form[word] = terms
		}
		terms[e.Path.String()] = e.Term
	}
	return json.Marshal(form)
}
