package main

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestLdflags(t *testing.T) {
	c := component{stamp: []string{"a.version={version}", "a.major={major}", "a.minor={minor}", "a.date={date}"}}
	want := "-s -w -X=a.version=v1.37.2 -X=a.major=1 -X=a.minor=37 -X=a.date=2026-10-27T12:01:04Z"
	if got := c.ldflags("v1.37.2", "2026-10-27T12:01:04Z"); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// Every directory of components/ is in the table or a tool of the recipe, and pins what the table says.
func TestComponentsArePinned(t *testing.T) {
	names := []string{"images"}
	for _, c := range components {
		names = append(names, c.name)
		text, err := os.ReadFile(filepath.Join("../components", c.name, "go.mod"))
		if err != nil {
			t.Error(err)
		}
		if line := toolchainOf(t, "../../go.mod"); !strings.Contains(string(text), "\n"+line+"\n") {
			t.Errorf("%s: go.mod does not say %q, as dory's own does", c.name, line)
		}
		if c.module != "" && !strings.Contains(string(text), c.module+" v") {
			t.Errorf("%s: go.mod does not require %s", c.name, c.module)
		}
	}
	entries, err := os.ReadDir("../components")
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if !slices.Contains(names, entry.Name()) {
			t.Errorf("components/%s is not built", entry.Name())
		}
	}
}

func TestUnknownKubernetesVersion(t *testing.T) {
	b := &build{version: "v1.2.3", source: ".."}
	_, err := b.moduleFlags(context.Background(), components[0])
	if err == nil || !strings.Contains(err.Error(), "v1.37.2") || !strings.Contains(err.Error(), "v1.36.3") {
		t.Fatalf("the versions there are must be named: %v", err)
	}
}

func TestImagesHaveTags(t *testing.T) {
	for _, image := range images {
		if (image.tag == "") == (image.component == "") {
			t.Errorf("%s: a tag, or the component whose version it is", image.name)
		}
	}
}

func TestInputs(t *testing.T) {
	digest := func(b build) string {
		b.source = ".."
		inputs, err := b.inputs(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		return inputs
	}
	first := digest(build{version: "v1.37.2"})
	if digest(build{version: "v1.37.2"}) != first {
		t.Error("the same inputs differ")
	}
	if digest(build{version: "v1.36.3"}) == first || digest(build{version: "v1.37.2", arch: "arm64"}) == first {
		t.Error("other variables, and no other inputs")
	}
	out := filepath.Join(t.TempDir(), "bundle.img")
	for _, name := range []string{out, out + ".inputs"} {
		if unchanged(out, first) {
			t.Error("unchanged without", name)
		}
		if err := os.WriteFile(name, []byte(first+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if !unchanged(out, first) || unchanged(out, "other") {
		t.Error("not told by the inputs")
	}
}

func TestLicensesAreJoined(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"LICENSE", "NOTICE.txt", "main.go"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("text of "+name+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	owners := map[string][]string{}
	for _, module := range []string{"b@v1", "a@v1"} {
		if err := readLicenses(owners, module, dir); err != nil {
			t.Fatal(err)
		}
	}
	got := string(joinLicenses(owners))
	if strings.Count(got, "text of LICENSE") != 1 || !strings.Contains(got, "a@v1\nb@v1\n") || !strings.Contains(got, "NOTICE") || strings.Contains(got, "main.go") {
		t.Error(got)
	}
}

// toolchainOf is the line of a go.mod that names the Go toolchain.
func toolchainOf(t *testing.T, modfile string) string {
	t.Helper()
	text, err := os.ReadFile(modfile)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "toolchain go") {
			return strings.TrimSpace(line)
		}
	}
	t.Fatalf("%s names no toolchain", modfile)
	return ""
}
