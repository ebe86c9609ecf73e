package atomicfile

import (
	"os"
	"path/filepath"
	"testing"
)

func TestWriteReplacesAndKeepsLinks(t *testing.T) {
	dir := t.TempDir()
	real, link := filepath.Join(dir, "real"), filepath.Join(dir, "link")
	if err := os.WriteFile(real, []byte("old and longer"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("real", link); err != nil {
		t.Fatal(err)
	}
	if err := Write(link, []byte("new"), 0o600); err != nil {
		t.Fatal(err)
	}
	content, _ := os.ReadFile(real)
	info, _ := os.Lstat(link)
	if string(content) != "new" || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("%q, link %v", content, info.Mode())
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 2 {
		t.Errorf("left behind: %v", entries)
	}
}

func TestWriteIntoAMissingDirectoryFails(t *testing.T) {
	if Write(filepath.Join(t.TempDir(), "no", "file"), nil, 0o600) == nil {
		t.Error("it succeeded")
	}
}

func TestSweepRemovesWhatWritesHaveLeft(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"config", ".config.123.tmp", ".other.123.tmp", "config.tmp"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	Sweep(filepath.Join(dir, "config"))
	left, _ := os.ReadDir(dir)
	if len(left) != 3 {
		t.Errorf("left: %v", left)
	}
	if _, err := os.Stat(filepath.Join(dir, ".config.123.tmp")); err == nil {
		t.Error("what a Write has left is still there")
	}
}
