package verified

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

func file(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "image")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestFile(t *testing.T) {
	path := file(t, "kernel")
	for range 2 { // the second time from memory
		if err := File(t.Context(), path, digest("kernel")); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(path + ".verified"); err != nil {
		t.Fatal("not remembered:", err)
	}
	if err := File(t.Context(), path, digest("colonel")); !errors.Is(err, ErrMismatch) {
		t.Fatal("another digest:", err)
	}
	if err := File(t.Context(), path+"x", digest("kernel")); !errors.Is(err, os.ErrNotExist) {
		t.Fatal("no file:", err)
	}
	if err := File(t.Context(), filepath.Dir(path), digest("kernel")); err == nil {
		t.Fatal("a directory passed")
	}
}

func TestPrefix(t *testing.T) {
	path := file(t, "kernel and digest")
	if err := Prefix(t.Context(), path, 6, digest("kernel")); err != nil {
		t.Fatal(err)
	}
	if err := File(t.Context(), path, digest("kernel")); !errors.Is(err, ErrMismatch) {
		t.Fatal("what was remembered of the prefix counted for the whole:", err)
	}
}

func TestChangeIsSeen(t *testing.T) {
	path := file(t, "kernel")
	if err := File(t.Context(), path, digest("kernel")); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("KERNEL"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := File(t.Context(), path, digest("kernel")); !errors.Is(err, ErrMismatch) {
		t.Fatal("new content, new time:", err)
	}
	if ctime, _ := system(info); ctime == 0 {
		return
	}
	if err := os.Chtimes(path, time.Time{}, info.ModTime()); err != nil {
		t.Fatal(err)
	}
	if err := File(t.Context(), path, digest("kernel")); !errors.Is(err, ErrMismatch) {
		t.Fatal("new content, old time:", err)
	}
}

func TestGarbledRecord(t *testing.T) {
	path := file(t, "kernel")
	for _, record := range []string{"", "{", `{"size":6}`, "[]"} {
		if err := os.WriteFile(path+".verified", []byte(record), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := File(t.Context(), path, digest("kernel")); err != nil {
			t.Fatalf("record %q: %v", record, err)
		}
	}
}

func TestUnwritableDirectory(t *testing.T) {
	path := file(t, "kernel")
	if err := os.Mkdir(path+".verified", 0o700); err != nil { // root writes anywhere: this stops even root
		t.Fatal(err)
	}
	if err := File(t.Context(), path, digest("kernel")); err != nil {
		t.Fatal(err)
	}
}
