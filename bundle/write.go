package bundle

import (
	"bufio"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
)

// Write makes the bundle at path from a file system image, a kubectl for platform, and the manifest, whose Kubectl it
// fills in. The bundle appears whole or not at all.
func Write(path, filesystem, kubectl, platform string, m Manifest) (err error) {
	temp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	defer os.Remove(temp.Name())
	defer temp.Close()
	w := &writer{buffer: bufio.NewWriterSize(temp, 1<<20), hash: sha256.New()}
	if err := w.all(filesystem, kubectl, platform, m); err != nil {
		return err
	}
	if err := errors.Join(w.buffer.Flush(), temp.Chmod(0o644), temp.Sync(), temp.Close()); err != nil {
		return err
	}
	return os.Rename(temp.Name(), path)
}

// writer counts and hashes what is written.
type writer struct {
	buffer *bufio.Writer
	hash   hash.Hash
	size   int64
}

func (w *writer) Write(p []byte) (int, error) {
	n, err := w.buffer.Write(p)
	w.hash.Write(p[:n])
	w.size += int64(n)
	return n, err
}

func (w *writer) pad(unit int64) error {
	_, err := w.Write(make([]byte, (unit-w.size%unit)%unit))
	return err
}

func (w *writer) all(filesystem, kubectl, platform string, m Manifest) error {
	if err := w.copyFile(filesystem); err != nil {
		return err
	}
	if err := w.pad(pageSize); err != nil {
		return err
	}
	var err error
	if m.Kubectl, err = w.kubectl(kubectl); err != nil {
		return fmt.Errorf("kubectl: %w", err)
	}
	m.Kubectl.Platform = platform
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	f := footer{manifestOffset: w.size, manifestSize: int64(len(text))}
	if _, err := w.Write(text); err != nil {
		return err
	}
	if err := w.pad(sectorSize); err != nil {
		return err
	}
	if _, err := w.Write(f.encode()[:footerSize-digestSize]); err != nil {
		return err
	}
	_, err = w.Write(w.hash.Sum(nil))
	return err
}

func (w *writer) copyFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(w, f)
	return err
}

func (w *writer) kubectl(path string) (k Kubectl, err error) {
	f, err := os.Open(path)
	if err != nil {
		return k, err
	}
	defer f.Close()
	k.Offset = w.size
	compressed, err := gzip.NewWriterLevel(w, gzip.BestCompression)
	if err != nil {
		return k, err
	}
	sum := sha256.New()
	if k.Unpacked, err = io.Copy(io.MultiWriter(compressed, sum), f); err != nil {
		return k, err
	}
	if err := compressed.Close(); err != nil {
		return k, err
	}
	k.Size, k.SHA256 = w.size-k.Offset, hex.EncodeToString(sum.Sum(nil))
	return k, nil
}
