package main

import (
	"path/filepath"
	"strings"
	"testing"
)

func TestCompare(t *testing.T) {
	a := &results{Sections: []*section{
		section1("cold", seconds(rowCoreDNS, 40, 41, 39), seconds("step readyz", 20, 20, 20), seconds("old", 1, 1, 1)),
		section1("fork", seconds(rowFork, 1.40, 1.45, 9)),
		section1("status", seconds("status", 0.05)),
	}}
	b := &results{Sections: []*section{
		section1("cold", seconds(rowCoreDNS, 47), seconds("step readyz", 40), seconds("new", 1)),
		section1("fork", seconds(rowFork, 1.50)),
		section1("status", seconds("status", 0.09)),
	}}
	b.Sections[0].Others = 1
	dir := t.TempDir()
	fileA, fileB := filepath.Join(dir, "a.json"), filepath.Join(dir, "b.json")
	if err := a.write(fileA); err != nil {
		t.Fatal(err)
	}
	if err := b.write(fileB); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	err := compareFiles(&out, fileA, fileB)
	if err == nil {
		t.Error("two runs that differ are no error")
	}
	for _, want := range []string{
		"  18 %  cold: from SSH on: CoreDNS Ready (±1 s)", "(run B was marked)",
		"in one only: cold: old\n", "in one only: cold: new\n", "2 of 3 figures agree within 15 %\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
	out.Reset()
	if err := compareFiles(&out, fileA, fileA); err != nil || out.String() != "4 of 4 figures agree within 15 %\n" {
		t.Errorf("a run and itself: %v\n%s", err, out.String())
	}
}

func TestMatters(t *testing.T) {
	for _, test := range []struct {
		unit string
		a, b float64
		want bool
	}{
		{"s", 100, 115, false},
		{"s", 100, 116, true},
		{"s", 116, 100, true},
		{"s", 0.06, 0.10, false}, // nobody notices
		{"s", 0.06, 0.12, true},
		{"MiB", 0.06, 0.10, true},
	} {
		if got := (difference{unit: test.unit, a: test.a, b: test.b}).matters(); got != test.want {
			t.Errorf("%v and %v %s: %v", test.a, test.b, test.unit, got)
		}
	}
}
