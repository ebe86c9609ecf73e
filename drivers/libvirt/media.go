package libvirt

import (
	"context"
	"path"
	"path/filepath"

	libvirt "github.com/digitalocean/go-libvirt"
	"github.com/dorykube/dory/bundle"
	"github.com/dorykube/dory/drivers"
	"github.com/dorykube/dory/internal/fail"
	"github.com/dorykube/dory/iso"
)

// media are the volumes that a machine shares with others, by their names.
type media struct{ Image, Kernel, Initrd, Bundle string }

// source is a machine's media as they are on this computer.
type source struct {
	media
	image, bundle string // files
	boot          iso.Boot
}

// machinesArch is the only one that domain.xml describes.
const machinesArch = "amd64"

// findMedia looks at node image and bundle, and takes the kernel out.
func (d *Driver) findMedia(ctx context.Context, m drivers.Machine) (source, error) {
	if arch := drivers.ArchOf(m.Image); arch != "" && arch != machinesArch { // dory may run on another computer than libvirt
		return source{}, fail.New(fail.ArtifactArch, "driver libvirt's machines are %s, and the node image is for %s: %s", machinesArch, arch, m.Image).
			WithAdvice("'make artifacts ARCH=%s' in dory's source tree builds it", machinesArch)
	}
	image, err := iso.Open(ctx, m.Image)
	if err != nil {
		return source{}, err
	}
	boot, err := image.Boot(filepath.Join(d.options.Cache, Name))
	if err != nil {
		return source{}, err
	}
	s := source{image: image.Path, bundle: m.Bundle, boot: boot, media: media{
		Image:  sharedVolume("image", image.Digest),
		Kernel: sharedVolume("kernel", image.Digest),
		Initrd: sharedVolume("initrd", image.Digest),
	}}
	if m.Bundle == "" {
		return s, nil
	}
	b, err := bundle.Open(ctx, m.Bundle)
	if err != nil {
		return source{}, err
	}
	s.Bundle = sharedVolume("bundle", b.Digest)
	return s, nil
}

// put uploads what is not there yet.
func (s source) put(c *conversation, pool libvirt.StoragePool) error {
	for _, v := range []struct{ what, volume, file string }{
		{"kernel", s.Kernel, s.boot.Kernel}, {"initrd", s.Initrd, s.boot.Initrd},
		{"node image", s.Image, s.image}, {"bundle", s.Bundle, s.bundle},
	} {
		if v.volume == "" {
			continue
		}
		if err := upload(c, pool, v.volume, v.file, v.what); err != nil {
			return err
		}
	}
	return nil
}

// paths are where the volumes are for libvirt; the pool is a directory.
func (d *Driver) paths(at place, m drivers.Machine, media media) paths {
	dir := d.poolPath(at)
	in := func(name string) string {
		if name == "" {
			return ""
		}
		return path.Join(dir, name)
	}
	return paths{Data: in(machineVolume(m, dataRole)), Console: in(machineVolume(m, consoleRole)),
		Image: in(media.Image), Bundle: in(media.Bundle), Kernel: in(media.Kernel), Initrd: in(media.Initrd)}
}
