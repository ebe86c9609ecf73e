package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// inputs is a digest of everything that the bundle is made from: the recipe with its go.sum files, the variables, and the
// tools and Debian files of this computer.
func (b *build) inputs(ctx context.Context) (string, error) {
	hash := sha256.New()
	fmt.Fprintln(hash, b.version, b.arch, b.hostOS, b.hostArch, os.Getenv("CC"))
	for _, tool := range [][]string{
		{"go", "version"}, {"mkfs.erofs", "--version"}, {"gcc", "--version"}, {"pkg-config", "--modversion", "libseccomp"},
	} {
		out, _ := b.output(ctx, "", nil, tool[0], tool[1:]...) // one that is missing makes the build fail, not this
		hash.Write(out)
	}
	for _, name := range []string{"build", "components", "format.go", "write.go"} {
		if err := hashTree(hash, b.source, filepath.Join(b.source, name)); err != nil {
			return "", err
		}
	}
	if err := hashFile(hash, busybox()); err != nil && !os.IsNotExist(err) {
		return "", err
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}

func hashTree(hash io.Writer, root, path string) error {
	return filepath.WalkDir(path, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || strings.HasSuffix(path, "_test.go") {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		fmt.Fprintln(hash, name)
		return hashFile(hash, path)
	})
}

func hashFile(hash io.Writer, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	content := sha256.New()
	if _, err := io.Copy(content, f); err != nil {
		return err
	}
	_, err = hash.Write(content.Sum(nil))
	return err
}

// unchanged reports whether out is there and was made from these inputs.
func unchanged(out, inputs string) bool {
	if _, err := os.Stat(out); err != nil {
		return false
	}
	text, err := os.ReadFile(out + ".inputs")
	return err == nil && strings.TrimSpace(string(text)) == inputs
}
