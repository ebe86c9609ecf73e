package libvirt

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	libvirt "github.com/digitalocean/go-libvirt"
	"github.com/dorykube/dory/drivers"
)

// pressEvery is how often the power button is pressed: a guest that is still booting does not hear it.
const pressEvery = 3 * time.Second

// Stop presses the machine's power button and waits for its end; after the grace it is ended hard. What was saved of the
// machine is removed.
func (d *Driver) Stop(ctx context.Context, m drivers.Machine, grace time.Duration) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	deadline := time.Now().Add(grace)
	return d.do(ctx, m.URI, "stop machine "+m.Name, grace+commandLimit, func(c *conversation) error {
		dom, is, err := find(c, m)
		if err != nil {
			return ignore(err)
		}
		if err := removeSaved(c, dom); err != nil {
			return err
		}
		if left := time.Until(deadline); left > 0 {
			err = powerOff(c, dom, left)
		}
		if err != nil {
			return err
		}
		if err := end(c, dom); err != nil {
			return err
		}
		return forget(c, dom, is)
	})
}

// powerOff presses the power button until the machine has ended or the grace is over.
func powerOff(c *conversation, dom libvirt.Domain, grace time.Duration) error {
	ctx, cancel := context.WithTimeout(c.ctx, grace)
	defer cancel()
	events, err := c.LifecycleEvents(ctx)
	if err != nil {
		return err
	}
	press := time.NewTicker(pressEvery)
	defer press.Stop()
	for {
		active, err := c.DomainIsActive(dom)
		if err != nil || active == 0 {
			return ignore(err)
		}
		if state, _, err := c.DomainGetState(dom, 0); err == nil && libvirt.DomainState(state) == libvirt.DomainPaused {
			c.DomainResume(dom) // to be able to notice
		}
		// Failing, it is pressed again.
		c.DomainShutdownFlags(dom, libvirt.DomainShutdownAcpiPowerBtn)
		for waiting := true; waiting; {
			select {
			case e, ok := <-events:
				if !ok {
					return libvirt.ErrInterrupted
				}
				waiting = e.Dom.UUID != dom.UUID || e.Event != int32(libvirt.DomainEventStopped)
			case <-press.C:
				waiting = false
			case <-ctx.Done():
				return c.ctx.Err()
			}
		}
	}
}

// end ends a machine hard, if it runs.
func end(c *conversation, dom libvirt.Domain) error {
	if err := c.DomainDestroyFlags(dom, 0); err != nil && !notFound(err) && !is(err, libvirt.ErrOperationInvalid) { // it does not run
		return err
	}
	return nil
}

func removeSaved(c *conversation, dom libvirt.Domain) error {
	saved, err := c.DomainHasManagedSaveImage(dom, 0)
	if err == nil && saved != 0 {
		err = c.DomainManagedSaveRemove(dom, 0)
	}
	return ignore(err)
}

// forget notes that the machine was told to stop, so that nobody asks what it died of.
func forget(c *conversation, dom libvirt.Domain, is mark) error {
	if !is.Runs {
		return nil
	}
	is.Runs = false
	return c.DomainSetMetadata(dom, int32(libvirt.DomainMetadataElement), libvirt.OptString{is.bare()}, libvirt.OptString{"dory"},
		libvirt.OptString{namespace}, libvirt.DomainAffectConfig)
}

// Delete ends the machine and removes everything that libvirt has of it. What machines share goes with the last.
func (d *Driver) Delete(ctx context.Context, m drivers.Machine) error {
	if m.UUID == "" || m.Dir == "" {
		return fmt.Errorf("delete machine %q: it has no UUID or no directory", m.Name)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	err := d.do(ctx, m.URI, "delete machine "+m.Name, commandLimit, func(c *conversation) error {
		err := removeDomain(c, m)
		if err == nil && !c.at.session {
			err = removeNetwork(c, m) // whose dnsmasq and bridge the domain used
		}
		return errors.Join(err, d.removeVolumes(c, m))
	})
	if err != nil {
		return err
	}
	if err := os.Remove(m.Dir); err != nil && !os.IsNotExist(err) {
		d.options.Log.Debug("the machine's directory stays: others have files in it", "machine", m.Name, "dir", m.Dir)
	}
	return nil
}

func removeDomain(c *conversation, m drivers.Machine) error {
	dom, _, err := find(c, m)
	if err != nil {
		return ignore(err)
	}
	if err := end(c, dom); err != nil {
		return err
	}
	return ignore(c.DomainUndefineFlags(dom, libvirt.DomainUndefineManagedSave|libvirt.DomainUndefineSnapshotsMetadata|
		libvirt.DomainUndefineCheckpointsMetadata|libvirt.DomainUndefineNvram))
}

// removeVolumes removes the machine's volumes, those that no machine uses any more, and the pool when nothing is left in it.
func (d *Driver) removeVolumes(c *conversation, m drivers.Machine) error {
	pool, err := d.wokenPool(c)
	if err != nil {
		return ignore(err)
	}
	// The console's log, when it is large, is put aside by virtlogd.
	if err := c.store.StoragePoolRefresh(pool, 0); err != nil {
		return err
	}
	volumes, _, err := c.store.StoragePoolListAllVolumes(pool, 1, 0)
	if err != nil {
		return err
	}
	unused, err := unusedBy(c)
	if err != nil {
		return err
	}
	var failures []error
	for _, v := range volumes {
		mine := strings.HasPrefix(v.Name, machinePrefix(m.UUID))
		if !mine && (!isShared(v.Name) || !unused(v.Name)) {
			continue
		}
		failures = append(failures, ignore(c.store.StorageVolDelete(v, 0)))
	}
	if err := errors.Join(failures...); err != nil {
		return err
	}
	d.dropPool(c, pool)
	return nil
}

// isShared: the volume is named by a digest.
func isShared(name string) bool {
	for _, role := range []string{"image", "kernel", "initrd", "bundle"} {
		if strings.HasPrefix(name, volumePrefix+role+"-") {
			return true
		}
	}
	return false
}
