// Command images writes container images as an OCI layout. It is given a directory with one directory per image, each
// holding image.json (what the image is called and how it runs) and rootfs/ (what is in it).
//
// Each image is a single, uncompressed layer: it goes from here into a file system that compresses, and never over a
// network. Files belong to root and have the image's time, whoever builds it and when.
package main

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// recipe is image.json.
type recipe struct {
	Reference string    `json:"reference"` // "registry.k8s.io/pause:3.10.2"
	Arch      string    `json:"arch"`
	Created   time.Time `json:"created"`
	// Base adds what upstream's images have from distroless/static: certificates, users, /tmp.
	Base   bool      `json:"base"`
	Config v1.Config `json:"config"` // as in an OCI image: User, Entrypoint, Cmd, Env, ...
}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: images IMAGES-DIR LAYOUT-DIR")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "images:", err)
		os.Exit(1)
	}
}

func run(from, to string) error {
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	path, err := layout.Write(to, empty.Index)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if err := add(path, filepath.Join(from, entry.Name())); err != nil {
			return fmt.Errorf("%s: %w", entry.Name(), err)
		}
	}
	return nil
}

func add(path layout.Path, dir string) error {
	text, err := os.ReadFile(filepath.Join(dir, "image.json"))
	if err != nil {
		return err
	}
	var r recipe
	if err := json.Unmarshal(text, &r); err != nil {
		return err
	}
	rootfs := filepath.Join(dir, "rootfs")
	if r.Base {
		if err := addBase(rootfs); err != nil {
			return err
		}
	}
	layer, err := pack(rootfs, r.Created)
	if err != nil {
		return err
	}
	image, err := assemble(r, layer)
	if err != nil {
		return err
	}
	return path.AppendImage(image, layout.WithAnnotations(map[string]string{
		"org.opencontainers.image.ref.name": r.Reference,
		"io.containerd.image.name":          r.Reference,
	}))
}

func assemble(r recipe, layer v1.Layer) (v1.Image, error) {
	image := mutate.MediaType(empty.Image, types.OCIManifestSchema1)
	image = mutate.ConfigMediaType(image, types.OCIConfigJSON)
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	config.OS, config.Architecture = "linux", r.Arch
	config.Created = v1.Time{Time: r.Created}
	config.Config = r.Config
	if image, err = mutate.ConfigFile(image, config); err != nil {
		return nil, err
	}
	return mutate.Append(image, mutate.Addendum{
		Layer:   layer,
		History: v1.History{Created: v1.Time{Time: r.Created}, CreatedBy: "dory"},
	})
}

// pack returns the directory as a layer. Directory order, which tar keeps, is alphabetical.
func pack(rootfs string, created time.Time) (v1.Layer, error) {
	var buffer bytes.Buffer
	archive := tar.NewWriter(&buffer)
	err := filepath.WalkDir(rootfs, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || path == rootfs {
			return err
		}
		header, err := tarHeader(path, entry)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(rootfs, path)
		if err != nil {
			return err
		}
		header.Name, header.ModTime = name, created
		if entry.IsDir() {
			header.Name += "/"
		}
		if err := archive.WriteHeader(header); err != nil || !entry.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		_, err = archive.Write(content)
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := archive.Close(); err != nil {
		return nil, err
	}
	return static.NewLayer(buffer.Bytes(), types.OCIUncompressedLayer), nil
}

func tarHeader(path string, entry fs.DirEntry) (*tar.Header, error) {
	info, err := entry.Info()
	if err != nil {
		return nil, err
	}
	target := ""
	if entry.Type()&fs.ModeSymlink != 0 {
		if target, err = os.Readlink(path); err != nil {
			return nil, err
		}
	}
	header, err := tar.FileInfoHeader(info, target)
	if err != nil {
		return nil, err
	}
	header.Uid, header.Gid, header.Uname, header.Gname = 0, 0, "", ""
	header.Format = tar.FormatPAX
	header.AccessTime, header.ChangeTime = time.Time{}, time.Time{}
	return header, nil
}
