package libvirt

import (
	"fmt"
	"slices"
	"time"

	libvirt "github.com/digitalocean/go-libvirt"
	"github.com/dorykube/dory/drivers"
	"github.com/dorykube/dory/drivers/qemu"
)

// resume lets a saved machine go on. why says why it cannot; it must boot then.
func (d *Driver) resume(c *conversation, pool libvirt.StoragePool, dom libvirt.Domain, is mark, m drivers.Machine, from source) (why string, err error) {
	switch {
	case is.Hardware != hardware(m, from.media):
		return "the machine's hardware, its node image or its bundle has changed since", nil
	case m.Accel != "" && m.Accel != automatic && m.Accel != is.Accel:
		return fmt.Sprintf("it ran on %s, and now %s is asked for", is.Accel, m.Accel), nil
	case m.CPUModel != "" && m.CPUModel != automatic && m.CPUModel != is.model():
		return fmt.Sprintf("it ran on processor model %s, and now %s is asked for", is.model(), m.CPUModel), nil
	}
	ip := qemu.UserNetwork
	if !c.at.session {
		_, before, err := findNetwork(c, m)
		if err != nil && !notFound(err) {
			return "", err
		}
		now, err := bringUp(c, m)
		if err != nil {
			return "", err
		}
		if now != before {
			return "its range of addresses is somebody else's now", nil
		}
		ip = now.ip()
	}
	if err := appendConsole(c, pool, m, drivers.ConsoleHeader(m, "goes on", is.Reason, time.Now())); err != nil {
		return "", err
	}
	m.Forwards = slices.Clone(m.Forwards)
	for {
		if c.at.session { // the forwards may be others than at the last boot
			definition, err := d.definition(c.at, m, from, is, ip)
			if err == nil {
				err = c.DomainManagedSaveDefineXML(dom, libvirt.OptString{definition}, libvirt.DomainSaveRunning)
			}
			if err != nil {
				return unlessEnded(c, err)
			}
		}
		err = create(c, dom)
		if err == nil {
			break
		}
		if !freePort(err, m.Forwards) {
			if qemu.RefusedPort(err.Error()) != 0 {
				return "", startFailure(err, m)
			}
			return unlessEnded(c, err)
		}
	}
	if _, reason, err := c.DomainGetState(dom, 0); err != nil || reason != int32(libvirt.DomainRunningRestored) {
		return "libvirt found its saved state damaged", err
	}
	return "", nil
}

// unlessEnded makes an error the reason for which a machine cannot go on, unless the conversation has ended.
func unlessEnded(c *conversation, err error) (why string, _ error) {
	if c.ctx.Err() != nil || lost(err) {
		return "", err
	}
	return err.Error(), nil
}
