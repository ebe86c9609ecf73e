package fail

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write docs/errors.md")

// catalogue reads the table from its source, so that no kind can be left out.
func catalogue(t *testing.T) (kinds []Kind) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "catalogue.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		literal, ok := n.(*ast.CompositeLit)
		if !ok {
			return true
		}
		var fields []string
		for _, e := range literal.Elts {
			basic, ok := e.(*ast.BasicLit)
			if !ok {
				t.Fatalf("a kind is not written as a row of literals")
			}
			text := basic.Value
			if basic.Kind == token.STRING {
				text, _ = strconv.Unquote(text)
			}
			fields = append(fields, text)
		}
		if len(fields) != 4 {
			t.Fatalf("a kind has the fields %v", fields)
		}
		exit, err := strconv.Atoi(fields[1])
		if err != nil {
			t.Fatal(err)
		}
		kinds = append(kinds, Kind{fields[0], exit, fields[2], fields[3]})
		return true
	})
	return kinds
}

const page = `# Errors

Every failure says what happened, the last evidence of it, what to do, and an identifier from this table. Identifiers and
exit codes are stable: scripts may rely on them. With ` + "`-o json`" + ` the last line is a CloudEvent of type
` + "`dev.dory.error`" + ` with ` + "`id`, `message`, `advice` and `exitcode`" + `.

Exit codes are tens by origin and ones by kind. Origin: 10 the program and its command line, 20 resources, 30 this computer,
40 the network outside, 50 the driver, 60 a provider, 70 the local network, 80 the guest, 90 the container runtime, 100 the
control plane, 110 a service. Kind: 1 conflict, 2 timeout, 3 not running, 4 usage, 5 not found, 6 unsupported, 7 permission,
8 configuration, 9 unavailable. Besides, 1 is a failure without a better code and 2 an interruption, and ` + "`status`" + ` sets bits:
1 the host does not run, 2 kubelet or API server do not, 4 the kubeconfig does not lead to the cluster.

| identifier | exit | what it means | what to do |
|---|---|---|---|
`

// TestErrorsPage keeps docs/errors.md complete: 'go test ./internal/fail -update' writes it.
func TestErrorsPage(t *testing.T) {
	kinds := catalogue(t)
	slices.SortStableFunc(kinds, func(a, b Kind) int { return a.Exit - b.Exit })
	want := &strings.Builder{}
	want.WriteString(page)
	for _, k := range kinds {
		fmt.Fprintf(want, "| `%s` | %d | %s | %s |\n", k.ID, k.Exit, k.Title, k.Advice)
	}
	path := filepath.Join("..", "..", "docs", "errors.md")
	if *update {
		if err := os.WriteFile(path, []byte(want.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil || string(got) != want.String() {
		t.Errorf("docs/errors.md is not the catalogue's: run 'go test ./internal/fail -update' (%v)", err)
	}
}

func TestKindsAreWellFormed(t *testing.T) {
	seen := map[string]bool{}
	for _, k := range catalogue(t) {
		if seen[k.ID] || k.ID != strings.ToUpper(k.ID) || strings.ContainsAny(k.ID, " -|") {
			t.Errorf("identifier %q", k.ID)
		}
		seen[k.ID] = true
		if k.Exit < 1 || k.Exit > 119 || k.Title == "" || k.Advice == "" || strings.Contains(k.Title+k.Advice, "|") {
			t.Errorf("%+v", k)
		}
	}
	if len(seen) < 20 {
		t.Errorf("only %d kinds", len(seen))
	}
}
