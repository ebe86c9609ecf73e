package libvirt

import (
	"context"

	libvirt "github.com/digitalocean/go-libvirt"
	"github.com/dorykube/dory/drivers"
)

// Grow makes the disk of a running machine larger; the guest is told.
func (d *Driver) Grow(ctx context.Context, m drivers.Machine) error {
	const disk = "vda" // the target of the data disk in domain.xml
	return d.do(ctx, m.URI, "grow the disk of machine "+m.Name, commandLimit, func(c *conversation) error {
		dom, _, err := find(c, m)
		if err != nil {
			return err
		}
		_, capacity, _, err := c.DomainGetBlockInfo(dom, disk, 0)
		if err != nil || capacity >= uint64(m.Disk) { // a resize would cut it off
			return err
		}
		return c.DomainBlockResize(dom, disk, uint64(m.Disk), libvirt.DomainBlockResizeBytes)
	})
}
