package main

import (
	"os"
	"path/filepath"
	"testing"
)

func TestWorkOfKilledBuildsIsRemoved(t *testing.T) {
	dir := t.TempDir()
	killed := filepath.Join(dir, ".bundle-work-1", "tree")
	if err := os.MkdirAll(killed, 0o700); err != nil {
		t.Fatal(err)
	}
	first, removeFirst, err := makeWork(dir)
	if err != nil {
		t.Fatal(err)
	}
	second, removeSecond, err := makeWork(dir)
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]bool{killed: false, first: true, second: true} {
		if _, err := os.Stat(path); (err == nil) != want {
			t.Errorf("%s: %v", path, err)
		}
	}
	removeFirst()
	removeSecond()
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}
