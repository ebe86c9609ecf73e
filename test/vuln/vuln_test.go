package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// printed is what govulncheck prints, abridged: a vulnerability that is only linked, one that is called, at two places, and one
// without a fix.
const printed = `{"config": {"protocol_version": "v1.0.0"}}
{"osv": {"id": "GO-1", "summary": "a crash", "published": "2026-11-01T10:00:00Z"}}
{"osv": {"id": "GO-2", "summary": "a leak", "published": "2026-11-29T10:00:00Z"}}
{"osv": {"id": "GO-3", "summary": "a race", "published": "2025-01-01T10:00:00Z"}}
{"finding": {"osv": "GO-1", "fixed_version": "v1.2.3", "trace": [{"module": "example.com/a", "version": "v1.2.2"}]}}
{"finding": {"osv": "GO-2", "fixed_version": "v2.0.1", "trace": [{"module": "example.com/b", "version": "v2.0.0"}]}}
{"finding": {"osv": "GO-2", "fixed_version": "v2.0.1", "trace": [{"module": "example.com/b", "version": "v2.0.0", "function": "F"}, {"module": "example.com/c"}]}}
{"finding": {"osv": "GO-2", "fixed_version": "v2.0.1", "trace": [{"module": "example.com/b", "version": "v2.0.0", "function": "G"}]}}
{"finding": {"osv": "GO-3", "trace": [{"module": "example.com/a", "version": "v1.2.2"}]}}
`

func TestReadFindings(t *testing.T) {
	called, err := readFindings([]byte(printed), true)
	if err != nil {
		t.Fatal(err)
	}
	want := []finding{{id: "GO-2", module: "example.com/b", version: "v2.0.0", fixed: "v2.0.1", summary: "a leak"}}
	if !reflect.DeepEqual(called, want) {
		t.Errorf("of source, what is called, once:\ngot  %+v\nwant %+v", called, want)
	}
	linked, err := readFindings([]byte(printed), false)
	if err != nil || len(linked) != 3 || linked[0].id != "GO-1" || linked[1].id != "GO-2" || linked[2].fixed != "" {
		t.Errorf("of a program, all that is linked: %+v %v", linked, err)
	}
	if _, err := readFindings([]byte(printed[:len(printed)-20]), true); err == nil {
		t.Error("an output that was cut off is taken for whole")
	}
}

func TestReport(t *testing.T) {
	linked, err := readFindings([]byte(printed), false)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		what, exceptions string
		bad              string // in the verdict; empty: nothing is to be done
		shown            string
	}{
		{"fixes that are not taken", "", "2 to do", "GO-1 example.com/a v1.2.2, fixed in v1.2.3: a crash"},
		{"all is excepted", "GO-1 example.com/a 2026-11-30 it is\nGO-2 example.com/b 2026-11-30 so\n", "", "0 to fix, 2 excepted, 1 without"},
		{"an exception of another module", "GO-1 example.com/b 2026-11-30 it is\n", "3 to do", "exceptions.txt:1: GO-1 of example.com/b is found no more"},
	} {
		exceptions, err := parseExceptions(c.exceptions)
		if err != nil {
			t.Fatal(err)
		}
		var out strings.Builder
		r := report{out: &out, exceptions: exceptions}
		r.add("bin/program", linked)
		verdict := ""
		if err := r.verdict(); err != nil {
			verdict, _, _ = strings.Cut(err.Error(), ":")
		}
		if verdict != c.bad {
			t.Errorf("%s: %q instead of %q", c.what, verdict, c.bad)
		}
		if !strings.Contains(out.String(), c.shown) {
			t.Errorf("%s: %q is missing in\n%s", c.what, c.shown, &out)
		}
	}
}

func TestParseExceptions(t *testing.T) {
	got, err := parseExceptions("# comment\n\nGO-1 example.com/a 2026-11-30 the fix is  not served\n")
	if err != nil || len(got) != 1 || got[0].reason != "the fix is not served" || got[0].line != 3 {
		t.Errorf("%+v %v", got, err)
	}
	for _, bad := range []string{"GO-1 example.com/a 2026-11-30\n", "GO-1 example.com/a yesterday it is\n"} {
		if _, err := parseExceptions(bad); err == nil {
			t.Errorf("%q has no reason or date, and is taken", bad)
		}
	}
	text, err := os.ReadFile("exceptions.txt")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parseExceptions(string(text)); err != nil {
		t.Error(err)
	}
}

func TestWithoutCopies(t *testing.T) {
	out, err := withoutCopies([]byte(`{"name": "govulncheck-extract"}
{"goVersion": "go1.26.11", "modules": [
	{"Path": "a", "Version": "v1.0.0", "Replace": {"Path": "/work/a", "Version": ""}},
	{"Path": "b", "Version": "v0.0.0", "Replace": {"Path": "b", "Version": "v0.37.2"}},
	{"Path": "c", "Version": "v3.0.0", "Replace": null}]}
`))
	if err != nil {
		t.Fatal(err)
	}
	_, blob, _ := strings.Cut(string(out), "\n")
	var got struct {
		GoVersion string
		Modules   []struct {
			Path, Version string
			Replace       *struct{ Version string }
		}
	}
	if err := json.Unmarshal([]byte(blob), &got); err != nil {
		t.Fatal(err)
	}
	if got.GoVersion != "go1.26.11" || len(got.Modules) != 3 {
		t.Fatalf("what was extracted is lost: %s", out)
	}
	if got.Modules[0].Replace != nil || got.Modules[0].Version != "v1.0.0" {
		t.Errorf("a changed copy counts as what it was copied from: %s", out)
	}
	if got.Modules[1].Replace == nil || got.Modules[1].Replace.Version != "v0.37.2" {
		t.Errorf("another version stays: %s", out)
	}
}

func TestGoPrograms(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	program := filepath.Join(dir, "a", "program")
	if err := os.Mkdir(filepath.Dir(program), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(self, program); err != nil {
		content, err := os.ReadFile(self) // on another file system
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(program, content, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "script"), []byte("#!/bin/sh\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("a/program", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	got, err := goPrograms(dir)
	if err != nil || !reflect.DeepEqual(got, []string{program}) {
		t.Errorf("%v %v", got, err)
	}
}
