package bundle

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"

	"github.com/dorykube/dory/internal/fail"
	"github.com/dorykube/dory/internal/verified"
)

// Bundle is an open, verified bundle. It holds no resources.
type Bundle struct {
	Path     string
	Digest   string // SHA-256, in hex
	Manifest Manifest
}

// Open checks that the file at path is a bundle, whole and for this computer's architecture, and reads its manifest. Its
// failures are fail.ArtifactMissing, fail.ArtifactCorrupt, fail.ArtifactArch and fail.HostPermission.
//
// The first time it reads the whole file; later it believes a file that has not been touched since.
func Open(ctx context.Context, path string) (*Bundle, error) { return open(ctx, path, runtime.GOARCH) }

func open(ctx context.Context, path, arch string) (*Bundle, error) {
	f, err := os.Open(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, fail.New(fail.ArtifactMissing, "there is no bundle %s", path)
	case err != nil:
		return nil, fail.Wrap(fail.HostPermission, err, "open bundle")
	}
	defer f.Close()
	b, size, err := read(f)
	if err != nil {
		return nil, corrupt(path, err)
	}
	b.Path = path
	if err := verified.Prefix(ctx, path, size-digestSize, b.Digest); err != nil {
		return nil, corrupt(path, err)
	}
	if b.Manifest.Arch != arch {
		return nil, fail.New(fail.ArtifactArch, "bundle %s is for %s, this computer is %s", filepath.Base(path), b.Manifest.Arch, arch).
			WithEvidence("manifest of " + path + ": arch " + b.Manifest.Arch)
	}
	return b, nil
}

func corrupt(path string, err error) error {
	return fail.New(fail.ArtifactCorrupt, "bundle %s is damaged or no bundle", path).
		WithEvidence(err.Error()).
		WithAdvice("delete %s and build it anew with 'make artifacts'", path)
}

// read reads footer and manifest, and believes them.
func read(f *os.File) (b *Bundle, size int64, err error) {
	info, err := f.Stat()
	if err != nil {
		return nil, 0, err
	}
	size = info.Size()
	if size < footerSize || size%sectorSize != 0 {
		return nil, 0, errNotABundle
	}
	sector := make([]byte, footerSize)
	if _, err := f.ReadAt(sector, size-footerSize); err != nil {
		return nil, 0, err
	}
	end, err := decodeFooter(sector, size)
	if err != nil {
		return nil, 0, err
	}
	b = &Bundle{Digest: end.hex()}
	decoder := json.NewDecoder(io.NewSectionReader(f, end.manifestOffset, end.manifestSize))
	if err := decoder.Decode(&b.Manifest); err != nil {
		return nil, 0, errors.Join(errors.New("its manifest cannot be read"), err)
	}
	return b, size, nil
}
