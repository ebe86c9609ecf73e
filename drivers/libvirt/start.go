package libvirt

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	libvirt "github.com/digitalocean/go-libvirt"
	"github.com/dorykube/dory/drivers"
	"github.com/dorykube/dory/drivers/qemu"
	"github.com/dorykube/dory/internal/fail"
)

// Start boots the machine, or lets it go on: where it was paused, or where it was saved.
func (d *Driver) Start(ctx context.Context, m drivers.Machine) (status drivers.Status, err error) {
	if err := check(m); err != nil {
		return status, err
	}
	status, err = d.Status(ctx, m)
	if err != nil {
		return status, err
	}
	switch status.State {
	case drivers.Running:
		return status, nil
	case drivers.Paused:
		if err := d.Unpause(ctx, m); err != nil {
			return drivers.Status{}, err
		}
		return d.Status(ctx, m)
	case drivers.Unknown:
		return drivers.Status{}, fail.New(fail.LibvirtFailed, "start machine %s: it runs, but does not answer", m.Name).
			WithEvidence(status.Reason).WithAdvice("'dory stop' ends it")
	case drivers.Absent:
		return drivers.Status{}, fmt.Errorf("start machine %s: it has not been created", m.Name)
	}
	from, err := d.findMedia(ctx, m)
	if err != nil {
		return drivers.Status{}, err
	}
	how, err := ask(ctx, d, m.URI, "start machine "+m.Name, startLimit, func(c *conversation) (drivers.Status, error) {
		return d.wake(c, m, from)
	})
	if err != nil {
		return drivers.Status{}, err
	}
	status, err = d.Status(ctx, m)
	status.Resumed, status.NotResumed = how.Resumed, how.NotResumed
	return status, err
}

// wake lets a saved machine go on, or boots one. Of the status, it fills in which.
func (d *Driver) wake(c *conversation, m drivers.Machine, from source) (how drivers.Status, err error) {
	dom, is, err := find(c, m)
	if err != nil {
		return how, err
	}
	if active, err := c.DomainIsActive(dom); err != nil || active != 0 { // a daemon that went away had started it
		return how, settle(c, dom, err)
	}
	pool, err := d.pool(c)
	if err != nil {
		return how, err
	}
	saved, err := c.DomainHasManagedSaveImage(dom, 0)
	if err != nil {
		return how, err
	}
	if saved != 0 {
		why, err := d.resume(c, pool, dom, is, m, from)
		if err != nil || why == "" {
			return drivers.Status{Resumed: true}, err
		}
		how.NotResumed = why
		if err := c.DomainManagedSaveRemove(dom, 0); err != nil {
			return how, err
		}
		if active, err := c.DomainIsActive(dom); err != nil || active != 0 { // libvirt booted it by itself
			return how, err
		}
	}
	return how, d.boot(c, pool, is, m, from)
}

// boot writes the definition anew and starts it.
func (d *Driver) boot(c *conversation, pool libvirt.StoragePool, is mark, m drivers.Machine, from source) (err error) {
	if err := makeDisk(c, pool, m); err != nil {
		return err
	}
	if err := from.put(c, pool); err != nil {
		return err
	}
	chosen, err := d.choose(c, m, from)
	if err != nil {
		return err
	}
	is.Accel, is.Model, is.Reason = chosen.Accel, chosen.Model, chosen.Reason
	is.Hardware, is.Runs = hardware(m, from.media), true
	ip := qemu.UserNetwork
	if !c.at.session {
		s, err := bringUp(c, m)
		if err != nil {
			return err
		}
		ip = s.ip()
	}
	m.Forwards = slices.Clone(m.Forwards)
	for {
		dom, err := d.define(c, m, from, is, ip)
		if err != nil {
			return err
		}
		if err := appendConsole(c, pool, m, drivers.ConsoleHeader(m, "boots", is.Reason, time.Now())); err != nil {
			return err
		}
		if err = create(c, dom); err == nil || !freePort(err, m.Forwards) {
			return startFailure(err, m)
		}
	}
}

// settle waits until a daemon that came back has made up its mind about a domain that it was starting when it went away: it
// ends those of which it knows too little, and then all begins anew.
func settle(c *conversation, dom libvirt.Domain, err error) error {
	for ; err == nil; time.Sleep(pollEvery) {
		var state, reason int32
		state, reason, err = c.DomainGetState(dom, 0)
		switch starting := libvirt.DomainPausedReason(reason) == libvirt.DomainPausedStartingUp; {
		case err != nil, libvirt.DomainState(state) == libvirt.DomainPaused && starting:
		case libvirt.DomainState(state) == libvirt.DomainShutoff:
			return libvirt.ErrInterrupted
		default:
			return nil
		}
	}
	return err
}

// freePort puts another in place of a preferred port that QEMU could not have, and reports whether it did.
func freePort(err error, forwards []drivers.Forward) bool {
	port := qemu.RefusedPort(err.Error())
	i := slices.IndexFunc(forwards, func(f drivers.Forward) bool { return f.Host == port && f.Prefer })
	if port == 0 || i < 0 {
		return false
	}
	forwards[i].Host = 0
	return true
}

// startFailure makes libvirt's words for a domain that did not start the failure that it is.
func startFailure(err error, m drivers.Machine) error {
	if err == nil || lost(err) {
		return err
	}
	text := err.Error()
	if port := qemu.RefusedPort(text); port != 0 {
		return fail.New(fail.PortTaken, "start machine %s: port %d of this computer is in use", m.Name, port).WithEvidence(text)
	}
	if strings.Contains(text, "annot set up guest memory") || strings.Contains(text, "annot allocate memory") {
		return fail.New(fail.MemoryTooMuch, "start machine %s: the host does not give it %d MiB of memory", m.Name, m.Memory>>20).WithEvidence(text)
	}
	return err
}
