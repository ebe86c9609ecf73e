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
