package libvirt

import (
	"context"
	"time"

	libvirt "github.com/digitalocean/go-libvirt"
	"github.com/dorykube/dory/drivers"
	"github.com/dorykube/dory/internal/fail"
)

// saveLimit is for gigabytes of memory, on a slow disk.
const saveLimit = 10 * time.Minute

// Save has libvirt write the machine's memory to disk and end it.
func (d *Driver) Save(ctx context.Context, m drivers.Machine) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	doing := "save machine " + m.Name
	return d.do(ctx, m.URI, doing, saveLimit, func(c *conversation) error {
		dom, active, err := findActive(c, m)
		if err != nil {
			return err
		}
		if active {
			return save(c, dom)
		}
		if saved, err := c.DomainHasManagedSaveImage(dom, 0); err == nil && saved != 0 {
			return nil // before the daemon went away
		}
		return fail.New(fail.ClusterNotUp, "%s: it does not run", doing)
	})
}

// save saves a domain. libvirt goes on with it when nobody waits any more: so when the call's context ends first, it is told
// to abort, and the machine goes on.
func save(c *conversation, dom libvirt.Domain) error {
	other, err := converse(context.WithoutCancel(c.ctx), c.at)
	if err != nil {
		return err
	}
	defer other.close()
	done := make(chan error, 1)
	go func() { done <- other.DomainManagedSave(dom, uint32(libvirt.DomainSaveRunning)) }()
	select {
	case err := <-done:
		return err
	case <-c.ctx.Done():
	}
	end := time.After(undoLimit)
	for {
		other.DomainAbortJob(dom) // there may be no job yet
		select {
		case err := <-done:
			if err == nil { // too late
				return nil
			}
			return c.ctx.Err()
		case <-end:
			return c.ctx.Err()
		case <-time.After(5 * time.Millisecond):
		}
	}
}
