package cluster

import (
	"context"
	"os"
	"time"

	"github.com/dorykube/dory/bundle"
	"github.com/dorykube/dory/iso"
)

// Components is what new clusters are made of: the bundle of the default version and the node image.
type Components struct {
	Kubernetes string             `json:"kubernetes"`
	BundleDate string             `json:"bundleDate"` // of the newest release in it; without one, of the file
	Go         string             `json:"go"`         // toolchain of the bundle; empty: the bundle does not say it
	Components []bundle.Component `json:"components"`
	ImageDate  string             `json:"imageDate"` // of Debian's archive that it was made from; without one, of the file
	Debian     string             `json:"debian"`
	Kernel     string             `json:"kernel"`
	Packages   map[string]string  `json:"packages"` // Debian package to version
}

// Components opens node image and bundle; its failures are iso.Open's and bundle.Open's.
func (m *Manager) Components(ctx context.Context) (Components, error) {
	b, err := bundle.Open(ctx, m.Dirs.Artifact(bundleName(Versions[0])))
	if err != nil {
		return Components{}, err
	}
	image, err := iso.Open(ctx, m.Dirs.Artifact(imageName()))
	if err != nil {
		return Components{}, err
	}
	return Components{
		Kubernetes: b.Manifest.Kubernetes, BundleDate: artifactDate(b.Manifest.Date, b.Path).Format(time.DateOnly),
		Go: b.Manifest.Go, Components: b.Manifest.Components,
		ImageDate: artifactDate(image.Date, image.Path).Format(time.DateOnly),
		Debian:    image.Debian, Kernel: image.Kernel, Packages: image.Packages,
	}, nil
}

// artifactDate is the date that an artifact says of itself. Those of earlier recipes say none: they are not younger than
// their files.
func artifactDate(says, path string) time.Time {
	if date, err := time.Parse(time.DateOnly, says); err == nil {
		return date
	}
	info, err := os.Stat(path)
	if err != nil {
		return time.Time{}
	}
	return info.ModTime()
}
