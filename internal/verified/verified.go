// Package verified checks large files against their SHA-256 and remembers what it found, so that the next process need
// not read them again.
//
// What it remembers lies beside the file, in FILE.verified: the digest and the file's identity (size, times, inode). It
// counts for as long as that identity is the same. A directory that cannot be written to costs only the time.
package verified

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/dorykube/dory/internal/progress"
)

// ErrMismatch is what a file with the wrong digest fails with (errors.Is).
var ErrMismatch = errors.New("wrong SHA-256")

// identity is what changes when somebody writes to a file or puts another in its place.
type identity struct {
	Size    int64  `json:"size"`
	Mtime   int64  `json:"mtime"`             // ns since 1970
	Ctime   int64  `json:"ctime,omitempty"`   // ns since 1970; 0 where the system has none
	Inode   uint64 `json:"inode,omitempty"`   // 0 where the system has none
	Hashed  int64  `json:"hashed"`            // how many bytes from the start
	SHA256  string `json:"sha256"`            // of those bytes
	Version int    `json:"version,omitempty"` // of this record
}

// File returns nil if the SHA-256 of the file is want (in hex), an error that wraps ErrMismatch if it is another, and
// os's error if the file cannot be read.
func File(ctx context.Context, path, want string) error { return Prefix(ctx, path, -1, want) }

// Prefix is File for the first n bytes of a file that carries its own digest at its end; a negative n means all.
func Prefix(ctx context.Context, path string, n int64, want string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	before, err := identify(f)
	if err != nil {
		return err
	}
	if n < 0 || n > before.Size {
		n = before.Size
	}
	before.Hashed, before.SHA256 = n, want
	if recall(path) == before {
		return nil
	}
	hash := sha256.New()
	what := progress.Transfer{Name: filepath.Base(path), Title: "Reading " + filepath.Base(path), Total: n}
	if _, err := io.Copy(hash, progress.Reader(ctx, io.LimitReader(f, n), what)); err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	if got := hex.EncodeToString(hash.Sum(nil)); got != want {
		return fmt.Errorf("%s: %w: is %s, must be %s", path, ErrMismatch, got, want)
	}
	// Written to while it was read: true now, but nothing to remember.
	if after, err := identify(f); err == nil && after.Size == before.Size && after.Mtime == before.Mtime && after.Ctime == before.Ctime {
		remember(path, before)
	}
	return nil
}

func identify(f *os.File) (identity, error) {
	info, err := f.Stat()
	if err != nil {
		return identity{}, err
	}
	if !info.Mode().IsRegular() {
		return identity{}, fmt.Errorf("%s: not a regular file", f.Name())
	}
	id := identity{Version: 1, Size: info.Size(), Mtime: info.ModTime().UnixNano()}
	id.Ctime, id.Inode = system(info)
	return id, nil
}

func recordFile(path string) string { return path + ".verified" }

func recall(path string) (id identity) {
	text, err := os.ReadFile(recordFile(path))
	if err != nil || json.Unmarshal(text, &id) != nil {
		return identity{}
	}
	return id
}

// remember is best effort: a read-only cache, as in continuous integration, is no failure.
func remember(path string, id identity) {
	text, err := json.Marshal(id)
	if err != nil {
		return
	}
	temp, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".verified-*")
	if err != nil {
		return
	}
	defer os.Remove(temp.Name())
	_, err = temp.Write(append(text, '\n'))
	if errors.Join(err, temp.Close()) == nil {
		os.Rename(temp.Name(), recordFile(path)) //nolint:errcheck // best effort
	}
}
