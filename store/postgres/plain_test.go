package postgres

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"regexp"
	"strings"
	"testing"
)

// What others of PostgreSQL's kind may lack is in no statement.
func TestNothingSpecialIsUsed(t *testing.T) {
	special := regexp.MustCompile(`(?i)\b(listen|unlisten|notify|pg_notify|pg_(try_)?advisory\w*|trigger)\b`)
	files, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	statements := 0
	for _, file := range files {
		if name := file.Name(); !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			continue
		}
		source, err := parser.ParseFile(token.NewFileSet(), file.Name(), nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(source, func(n ast.Node) bool {
			text, ok := n.(*ast.BasicLit)
			if !ok || text.Kind != token.STRING {
				return true
			}
			if strings.Contains(strings.ToUpper(text.Value), "CREATE TABLE") {
				statements++
			}
			if found := special.FindString(text.Value); found != "" {
				t.Errorf("%s: %s is in %s", file.Name(), found, text.Value)
			}
			return true
		})
	}
	if statements == 0 {
		t.Error("no table is made: the statements are elsewhere")
	}
}
