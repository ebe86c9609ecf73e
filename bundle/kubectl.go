package bundle

import (
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/dorykube/dory/internal/fail"
	"github.com/dorykube/dory/internal/verified"
)

// ExtractKubectl returns the path of an executable kubectl of the bundle's version below dir, where it puts it the first
// time. Several processes may do so at once. Fails with fail.ArtifactArch if the bundle has none for this platform.
func (b *Bundle) ExtractKubectl(ctx context.Context, dir string) (string, error) {
	k := b.Manifest.Kubectl
	if platform := runtime.GOOS + "/" + runtime.GOARCH; k.Platform != platform {
		return "", fail.New(fail.ArtifactArch, "bundle %s has a kubectl for %s, this computer is %s", filepath.Base(b.Path), k.Platform, platform)
	}
	name := "kubectl"
	if strings.HasPrefix(k.Platform, "windows/") {
		name += ".exe"
	}
	// Named by its digest: another bundle's kubectl lies beside it, and one that is running is never replaced.
	path := filepath.Join(dir, b.Manifest.Kubernetes+"-"+k.SHA256[:12], name)
	if verified.File(ctx, path, k.SHA256) == nil {
		return path, nil
	}
	if err := b.extract(ctx, path); err != nil {
		// Another process may have been first, and on Windows what runs cannot be replaced.
		if verified.File(ctx, path, k.SHA256) == nil {
			return path, nil
		}
		return "", err
	}
	return path, nil
}

func (b *Bundle) extract(ctx context.Context, path string) error {
	k := b.Manifest.Kubectl
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fail.Wrap(fail.HostPermission, err, "make a directory for kubectl")
	}
	temp, err := os.CreateTemp(filepath.Dir(path), ".kubectl-*")
	if err != nil {
		return fail.Wrap(fail.HostPermission, err, "write kubectl")
	}
	defer os.Remove(temp.Name())
	defer temp.Close()
	from, err := os.Open(b.Path)
	if err != nil {
		return fail.Wrap(fail.ArtifactMissing, err, "open bundle")
	}
	defer from.Close()
	unpacked, err := gzip.NewReader(io.NewSectionReader(from, k.Offset, k.Size))
	if err != nil {
		return corrupt(b.Path, err)
	}
	hash := sha256.New()
	if err := copyUntil(ctx, io.MultiWriter(temp, hash), io.LimitReader(unpacked, k.Unpacked+1)); err != nil {
		return fail.Wrap(fail.General, err, "extract kubectl from %s", b.Path)
	}
	if err := errors.Join(temp.Chmod(0o755), temp.Close()); err != nil {
		return fail.Wrap(fail.HostPermission, err, "write kubectl")
	}
	if got := hex.EncodeToString(hash.Sum(nil)); got != k.SHA256 {
		return corrupt(b.Path, fmt.Errorf("SHA-256 of its kubectl is %s, must be %s", got, k.SHA256))
	}
	if err := os.Rename(temp.Name(), path); err != nil {
		return fail.Wrap(fail.HostPermission, err, "put kubectl in place")
	}
	return verified.File(ctx, path, k.SHA256) // so that it is remembered
}

// copyUntil is io.Copy that ends when ctx does.
func copyUntil(ctx context.Context, to io.Writer, from io.Reader) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		switch _, err := io.CopyN(to, from, 1<<20); err {
		case nil:
		case io.EOF:
			return nil
		default:
			return err
		}
	}
}
