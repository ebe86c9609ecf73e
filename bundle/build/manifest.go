package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/dorykube/dory/bundle"
)

// writeManifest lists every file of the tree and puts the manifest beside them.
func (b *build) writeManifest(context.Context) error {
	root := b.tree("")
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		file, err := describeFile(path)
		if err != nil {
			return err
		}
		file.Path = filepath.ToSlash(name)
		b.manifest.Files = append(b.manifest.Files, file)
		return nil
	})
	if err != nil {
		return err
	}
	text, err := json.MarshalIndent(b.manifest, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(b.tree("manifest.json"), append(text, '\n'), 0o644)
}

func describeFile(path string) (file bundle.File, err error) {
	f, err := os.Open(path)
	if err != nil {
		return file, err
	}
	defer f.Close()
	hash := sha256.New()
	if file.Size, err = io.Copy(hash, f); err != nil {
		return file, err
	}
	file.SHA256 = hex.EncodeToString(hash.Sum(nil))
	return file, nil
}
