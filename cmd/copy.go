package cmd

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/dorykube/dory/internal/fail"
	"github.com/dorykube/dory/internal/progress"
	"github.com/pkg/sftp"
)

// tree is a file system that files are copied from and to.
type tree interface {
	Stat(path string) (fs.FileInfo, error)      // of what a link leads to
	ReadDir(path string) ([]fs.FileInfo, error) // of links themselves
	ReadLink(path string) (string, error)
	Open(path string) (io.ReadCloser, error)
	// Put writes a file, and replaces one that is there.
	Put(ctx context.Context, path string, mode fs.FileMode, content io.Reader) error
	Mkdir(path string, mode fs.FileMode) error // it may be there
	Symlink(target, path string) error
	Join(parts ...string) string
	Dir(path string) string
	Base(path string) string
}

// copyPath copies a file, or with recursive a directory.
func copyPath(ctx context.Context, from tree, source string, to tree, target string, recursive bool) error {
	info, err := from.Stat(source)
	if err != nil {
		return copyError(err, "read the source %s", source)
	}
	if info.IsDir() && !recursive {
		return fail.New(fail.Usage, "%s is a directory", source).WithAdvice("copy it and all that is in it with -r")
	}
	target, err = inside(to, target, from.Base(source))
	if err != nil {
		return err
	}
	if info.IsDir() {
		return copyDir(ctx, from, source, to, target, info)
	}
	return copyFile(ctx, from, source, to, target, info)
}

// inside is where a copy goes: into the target if that is a directory, or else to it, if it has a directory to be in.
func inside(to tree, target, name string) (string, error) {
	if info, err := to.Stat(target); err == nil && info.IsDir() {
		return to.Join(target, name), nil
	}
	dir := to.Dir(target)
	if strings.HasSuffix(target, "/") {
		dir = target
	}
	info, err := to.Stat(dir)
	if err != nil {
		return "", copyError(err, "write the copy into %s", dir)
	}
	if !info.IsDir() {
		return "", fail.New(fail.Usage, "write the copy: %s is no directory", dir)
	}
	return target, nil
}

func copyDir(ctx context.Context, from tree, source string, to tree, target string, info fs.FileInfo) error {
	entries, err := from.ReadDir(source)
	if err != nil {
		return copyError(err, "read the directory %s", source)
	}
	// It must be written into until all is there; a copy of a directory that its owner may not write has that mode of a copy only.
	if err := to.Mkdir(target, info.Mode().Perm()|0o700); err != nil {
		return copyError(err, "make the directory %s", target)
	}
	for _, entry := range entries {
		if err := ctx.Err(); err != nil {
			return err
		}
		inner, outer := from.Join(source, entry.Name()), to.Join(target, entry.Name())
		switch mode := entry.Mode(); {
		case mode.IsDir():
			err = copyDir(ctx, from, inner, to, outer, entry)
		case mode&fs.ModeSymlink != 0:
			err = copyLink(from, inner, to, outer)
		case mode.IsRegular():
			err = copyFile(ctx, from, inner, to, outer, entry)
		default:
			progress.From(ctx).Warn(inner + " is no file, and is left out")
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func copyLink(from tree, source string, to tree, target string) error {
	leads, err := from.ReadLink(source)
	if err != nil {
		return copyError(err, "read the link %s", source)
	}
	if err := to.Symlink(leads, target); err != nil {
		return copyError(err, "make the link %s", target)
	}
	return nil
}

func copyFile(ctx context.Context, from tree, source string, to tree, target string, info fs.FileInfo) error {
	in, err := from.Open(source)
	if err != nil {
		return copyError(err, "read the source %s", source)
	}
	defer in.Close()
	what := progress.Transfer{Name: from.Base(source), Title: "Copying file"}
	mode := fs.FileMode(0o644) // of what was read from a pipe
	if info.Mode().IsRegular() {
		mode, what.Total = info.Mode().Perm(), info.Size()
	}
	if err := to.Put(ctx, target, mode, progress.Reader(ctx, in, what)); err != nil {
		return copyError(err, "write the copy %s", target)
	}
	return nil
}

// putInput copies the standard input into a file, which must be named.
func putInput(ctx context.Context, in io.Reader, to tree, target string) error {
	if info, err := to.Stat(target); err == nil && info.IsDir() || strings.HasSuffix(target, "/") {
		return fail.New(fail.Usage, "%s is a directory, and the standard input has no name", target).WithAdvice("name the file")
	}
	target, err := inside(to, target, "")
	if err != nil {
		return err
	}
	what := progress.Transfer{Name: "stdin", Title: "Copying the standard input"}
	if err := to.Put(ctx, target, 0o644, progress.Reader(ctx, in, what)); err != nil {
		return copyError(err, "write the copy %s", target)
	}
	return nil
}

// copyError says what is wrong with a path in words that lead on.
func copyError(err error, doing string, args ...any) error {
	var known *fail.Error
	switch {
	case errors.As(err, &known) || errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, fs.ErrNotExist):
		return fail.Wrap(fail.NoFile, err, doing, args...)
	case errors.Is(err, fs.ErrPermission):
		return fail.Wrap(fail.HostPermission, err, doing, args...)
	default:
		return fail.Wrap(fail.CopyFailed, err, doing, args...)
	}
}

// hostTree is this computer's.
type hostTree struct{}

func (hostTree) Stat(path string) (fs.FileInfo, error)     { return os.Stat(path) }
func (hostTree) ReadLink(path string) (string, error)      { return os.Readlink(path) }
func (hostTree) Open(path string) (io.ReadCloser, error)   { return os.Open(path) }
func (hostTree) Join(parts ...string) string               { return filepath.Join(parts...) }
func (hostTree) Dir(path string) string                    { return filepath.Dir(path) }
func (hostTree) Base(path string) string                   { return base(filepath.Base, path) }
func (hostTree) Mkdir(path string, mode fs.FileMode) error { return ifNew(os.Mkdir(path, mode)) }

func (hostTree) ReadDir(path string) (infos []fs.FileInfo, err error) {
	entries, err := os.ReadDir(path)
	for _, entry := range entries {
		info, err := entry.Info()
		if err != nil {
			return nil, err
		}
		infos = append(infos, info)
	}
	return infos, err
}

func (hostTree) Symlink(target, path string) error {
	if info, err := os.Lstat(path); err == nil && info.Mode()&fs.ModeSymlink != 0 {
		os.Remove(path)
	}
	return os.Symlink(target, path)
}

func (hostTree) Put(_ context.Context, path string, mode fs.FileMode, content io.Reader) error {
	out, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, content)
	return errors.Join(err, out.Close())
}

// nodeTree is a node's.
type nodeTree struct {
	client *sftp.Client
	put    func(ctx context.Context, path string, mode fs.FileMode, content io.Reader) error
}

func (t nodeTree) Stat(path string) (fs.FileInfo, error)      { return t.client.Stat(path) }
func (t nodeTree) ReadDir(path string) ([]fs.FileInfo, error) { return t.client.ReadDir(path) }
func (t nodeTree) ReadLink(path string) (string, error)       { return t.client.ReadLink(path) }
func (t nodeTree) Open(path string) (io.ReadCloser, error)    { return t.client.Open(path) }
func (nodeTree) Join(parts ...string) string                  { return path.Join(parts...) }
func (nodeTree) Dir(p string) string                          { return path.Dir(p) }
func (nodeTree) Base(p string) string                         { return base(path.Base, p) }

func (t nodeTree) Put(ctx context.Context, path string, mode fs.FileMode, content io.Reader) error {
	return t.put(ctx, path, mode, content)
}

func (t nodeTree) Mkdir(path string, mode fs.FileMode) error {
	if info, err := t.client.Stat(path); err == nil && info.IsDir() {
		return nil
	}
	if err := t.client.Mkdir(path); err != nil {
		return err
	}
	return t.client.Chmod(path, mode)
}

func (t nodeTree) Symlink(target, path string) error {
	if info, err := t.client.Lstat(path); err == nil && info.Mode()&fs.ModeSymlink != 0 {
		t.client.Remove(path)
	}
	return t.client.Symlink(target, path)
}

// base is the name of the copy of a path, which "." and ".." and "/" do not have.
func base(of func(string) string, path string) string {
	if name := of(path); strings.Trim(name, `./\`) != "" {
		return name
	}
	return ""
}

func ifNew(err error) error {
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}
