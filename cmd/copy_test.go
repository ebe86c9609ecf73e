package cmd

import (
	"context"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dorykube/dory/internal/fail"
	"github.com/pkg/sftp"
)

// node is a tree that is reached by SFTP, as a node's is, and the directory of this computer that it shows.
func node(t *testing.T) nodeTree {
	t.Helper()
	here, there := net.Pipe()
	server, err := sftp.NewServer(there)
	if err != nil {
		t.Fatal(err)
	}
	go server.Serve()
	client, err := sftp.NewClientPipe(here, here)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { here.Close(); there.Close() })
	return nodeTree{client, func(_ context.Context, path string, mode fs.FileMode, content io.Reader) error {
		file, err := client.Create(path)
		if err != nil {
			return err
		}
		defer file.Close()
		if _, err := io.Copy(file, content); err != nil {
			return err
		}
		return file.Chmod(mode)
	}}
}

func write(t *testing.T, path, content string, mode fs.FileMode) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
	return path
}

func has(t *testing.T, path, content string, mode fs.FileMode) {
	t.Helper()
	got, err := os.ReadFile(path)
	info, _ := os.Stat(path)
	if err != nil || string(got) != content || info.Mode().Perm() != mode {
		t.Errorf("%s has %q, %v: %v", path, got, info, err)
	}
}

// To a node and back: what is meant is the same on both sides.
func TestCopy(t *testing.T) {
	remote := node(t)
	for name, c := range map[string]struct{ from, to tree }{"to a node": {hostTree{}, remote}, "from a node": {remote, hostTree{}}, "between nodes": {remote, node(t)}} {
		t.Run(name, func(t *testing.T) {
			dir, ctx := t.TempDir(), t.Context()
			source := write(t, filepath.Join(dir, "source", "file"), "content", 0o640)
			target := filepath.Join(dir, "target")
			write(t, filepath.Join(target, "old"), "older and longer", 0o600)
			copied := func(source, target string, recursive bool) error {
				return copyPath(ctx, c.from, source, c.to, target, recursive)
			}
			for target, made := range map[string]string{target: target + "/file", target + "/new": target + "/new", target + "/": target + "/file"} {
				if err := copied(source, target, false); err != nil {
					t.Fatalf("%s: %v", target, err)
				}
				has(t, made, "content", 0o640)
			}
			if err := copied(source, filepath.Join(target, "old"), false); err != nil {
				t.Fatal(err)
			}
			if got, _ := os.ReadFile(filepath.Join(target, "old")); string(got) != "content" {
				t.Errorf("a file that was there has %q", got)
			}
			for what, err := range map[string]error{
				"a source that is not there":    copied(filepath.Join(dir, "nowhere"), target, false),
				"a directory that is not there": copied(source, filepath.Join(dir, "nowhere", "file"), false),
				"the same with a slash":         copied(source, filepath.Join(dir, "nowhere")+"/", false),
			} {
				if !fail.Is(err, fail.NoFile) || !strings.Contains(err.Error(), "nowhere") {
					t.Errorf("%s: %v", what, err)
				}
			}
			if err := copied(filepath.Dir(source), target, false); !fail.Is(err, fail.Usage) || !strings.Contains(fail.As(err).Advice, "-r") {
				t.Errorf("a directory: %v", err)
			}
			if err := copied(source, source+"/inside", false); !fail.Is(err, fail.Usage) && !fail.Is(err, fail.NoFile) {
				t.Errorf("into a file: %v", err)
			}
		})
		t.Run(name+" recursively", func(t *testing.T) {
			dir := t.TempDir()
			source, target := filepath.Join(dir, "source"), filepath.Join(dir, "target")
			write(t, filepath.Join(source, "a"), "A", 0o600)
			write(t, filepath.Join(source, "deep", "er", "b"), "B", 0o755)
			if err := os.Symlink("deep/er/b", filepath.Join(source, "link")); err != nil {
				t.Fatal(err)
			}
			for range 2 { // the second goes into the directory that the first has made
				if err := copyPath(t.Context(), c.from, source, c.to, target, true); err != nil {
					t.Fatal(err)
				}
			}
			for _, made := range []string{target, filepath.Join(target, "source")} {
				has(t, filepath.Join(made, "a"), "A", 0o600)
				has(t, filepath.Join(made, "deep", "er", "b"), "B", 0o755)
				if leads, err := os.Readlink(filepath.Join(made, "link")); leads != "deep/er/b" {
					t.Errorf("the link leads to %q: %v", leads, err)
				}
			}
		})
	}
}

func TestCopyOfTheStandardInput(t *testing.T) {
	dir := t.TempDir()
	if err := putInput(t.Context(), strings.NewReader("typed"), node(t), filepath.Join(dir, "file")); err != nil {
		t.Fatal(err)
	}
	has(t, filepath.Join(dir, "file"), "typed", 0o644)
	if err := putInput(t.Context(), strings.NewReader("typed"), node(t), dir); !fail.Is(err, fail.Usage) {
		t.Error(err)
	}
}
