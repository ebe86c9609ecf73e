package debian

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/gofrs/flock"
)

// fakeBootstrap makes a program of mmdebstrap's name the only one. It notes each call in the file that is returned, and ends with what
// it has been told by the file beside.
func fakeBootstrap(t *testing.T) (calls, fails string) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("mmdebstrap is a program of Debian's")
	}
	dir := t.TempDir()
	calls, fails = filepath.Join(dir, "calls"), filepath.Join(dir, "fails")
	script := "#!/bin/sh\necho \"$@\" >> " + calls + "\nmkdir -p " + dir + "/usr && echo $$ > " + dir + "/usr/file && tar -c -C " + dir + " ./usr && test ! -e " + fails + "\n"
	if err := os.WriteFile(filepath.Join(dir, "mmdebstrap"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	t.Setenv("DORY_HOME", filepath.Join(dir, "home"))
	return calls, fails
}

func lines(t *testing.T, path string) int {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return strings.Count(string(text), "\n")
}

// A root is there as a whole or not at all, is made once, and an old one serves where no new one can be had.
func TestRoot(t *testing.T) {
	calls, fails := fakeBootstrap(t)
	r := Root{Suite: "trixie-backports", Packages: []string{"one", "two"}, Installed: true}
	dir := filepath.Join(t.TempDir(), "root")
	ensure := func(wantCalls int, wantErr bool) {
		t.Helper()
		lock := flock.New(dir + ".lock")
		defer lock.Unlock()
		if err := r.ensure(t, lock, dir); (err != nil) != wantErr {
			t.Errorf("%v", err)
		}
		_, err := os.Stat(filepath.Join(dir, "usr/file"))
		if wantErr != (err != nil) {
			t.Errorf("what is in the root: %v", err)
		}
		if left, _ := filepath.Glob(dir + ".making"); len(left) != 0 {
			t.Errorf("left: %v", left)
		}
		if n := lines(t, calls); n != wantCalls {
			t.Errorf("mmdebstrap was called %d times instead of %d", n, wantCalls)
		}
	}
	write := func(path string) {
		t.Helper()
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(fails)
	ensure(1, true)
	if err := os.Remove(fails); err != nil {
		t.Fatal(err)
	}
	ensure(2, false)
	ensure(2, false)
	old := time.Now().Add(-2 * fresh)
	age := func() {
		t.Helper()
		if err := os.Chtimes(dir, old, old); err != nil {
			t.Fatal(err)
		}
	}
	age()
	ensure(3, false)
	age()
	other := flock.New(dir + ".lock") // somebody works with it
	if err := other.RLock(); err != nil {
		t.Fatal(err)
	}
	ensure(3, false)
	if err := other.Unlock(); err != nil {
		t.Fatal(err)
	}
	write(fails)
	ensure(4, false)
}

func TestRootsDiffer(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range []Root{
		{Suite: "trixie", Packages: []string{"one"}}, {Suite: "trixie", Packages: []string{"two"}}, {Suite: "trixie-backports", Packages: []string{"one"}},
		{Suite: "trixie", Packages: []string{"one"}, Installed: true},
	} {
		if seen[r.name()] {
			t.Errorf("%+v has another one's name", r)
		}
		seen[r.name()] = true
	}
}
