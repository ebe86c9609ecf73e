package qemu

import (
	"context"

	"github.com/dorykube/dory/iso"
)

// Boot is what of a node image a hypervisor needs to boot it directly.
type Boot struct {
	Kernel, Initrd string // paths
	Cmdline        string // the image's own part of the kernel's command line
}

// takeOutKernel puts the image's kernel and initrd into the cache, where all machines find them. QEMU reads them at its
// start only: the cache may be deleted under a running machine, and a guest that reboots gets what QEMU has read.
func (d *Driver) takeOutKernel(image string) (Boot, error) {
	return d.options.Boot(image, d.options.cache())
}

// bootNodeImage is Options.Boot for real node images.
func bootNodeImage(image, dir string) (Boot, error) {
	img, err := iso.Open(context.Background(), image)
	if err != nil {
		return Boot{}, err
	}
	boot, err := img.Boot(dir)
	return Boot{boot.Kernel, boot.Initrd, boot.Cmdline}, err
}
