package libvirt

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync/atomic"
	"time"

	libvirt "github.com/digitalocean/go-libvirt"
	"github.com/dorykube/dory/drivers"
	"github.com/dorykube/dory/drivers/qemu"
	"github.com/dorykube/dory/internal/fail"
)

const (
	loopback = "127.0.0.1"
	guestSSH = 22
)

// Status asks libvirt, and through it the machine's QEMU whether it answers.
func (d *Driver) Status(ctx context.Context, m drivers.Machine) (drivers.Status, error) {
	var asked atomic.Bool // its QEMU was
	status, err := ask(ctx, d, m.URI, "look at machine "+m.Name, statusLimit, func(c *conversation) (status drivers.Status, err error) {
		asked.Store(false)
		dom, is, err := find(c, m)
		if notFound(err) {
			return drivers.Status{State: drivers.Absent}, nil
		}
		if err != nil {
			return status, err
		}
		if status, err = state(c, dom, is); err != nil || status.State != drivers.Running && status.State != drivers.Paused {
			return status, err
		}
		asked.Store(true)
		err = reach(c, dom, m, is, &status)
		return status, err
	})
	if asked.Load() && fail.Is(err, fail.LibvirtTimeout) {
		return drivers.Status{State: drivers.Unknown, Reason: fmt.Sprintf("its QEMU has not answered for %v", statusLimit)}, nil
	}
	if err != nil {
		return drivers.Status{}, err
	}
	return status, nil
}

// state is what libvirt knows of a domain without asking its QEMU.
func state(c *conversation, dom libvirt.Domain, is mark) (status drivers.Status, err error) {
	state, reason, err := c.DomainGetState(dom, 0)
	if err != nil {
		if notFound(err) {
			return drivers.Status{State: drivers.Absent}, nil
		}
		return status, err
	}
	status = drivers.Status{State: drivers.Running, Accel: is.Accel, AccelReason: is.Reason,
		Hypervisor: fmt.Sprintf("libvirt at %s, accelerator %s, processor model %s", c.at.uri, is.Accel, is.model())}
	switch libvirt.DomainState(state) {
	case libvirt.DomainRunning, libvirt.DomainBlocked, libvirt.DomainShutdown:
	case libvirt.DomainPaused:
		status.State = drivers.Paused
		switch libvirt.DomainPausedReason(reason) {
		case libvirt.DomainPausedIoerror:
			// A guest whose write failed for want of space is halted instead of being told of a broken disk.
			status.NoSpace = true
			status.Reason = "a disk could not be written, most likely because the host's is full; free some space, then unpause"
		case libvirt.DomainPausedSave, libvirt.DomainPausedStartingUp:
			return drivers.Status{State: drivers.Unknown, Reason: "it is being saved or started"}, nil
		}
	case libvirt.DomainPmsuspended:
		return drivers.Status{State: drivers.Unknown, Reason: "the guest has put itself to sleep"}, nil
	default:
		return off(c, dom, is, libvirt.DomainShutoffReason(reason))
	}
	return status, nil
}

// off is the status of a machine that does not run.
func off(c *conversation, dom libvirt.Domain, is mark, reason libvirt.DomainShutoffReason) (drivers.Status, error) {
	status := drivers.Status{State: drivers.Stopped}
	if !is.Runs {
		return status, nil
	}
	saved, err := c.DomainHasManagedSaveImage(dom, 0)
	if err != nil || saved != 0 {
		return status, err
	}
	switch reason {
	case libvirt.DomainShutoffShutdown:
		status.Reason = "the machine powered itself off"
	case libvirt.DomainShutoffDestroyed:
		status.Reason = "somebody ended it by way of libvirt"
	case libvirt.DomainShutoffCrashed:
		status.Reason = "its QEMU is gone: something killed it, for example the host for want of memory"
	case libvirt.DomainShutoffFailed:
		status.Reason = "libvirt could not start it"
	default:
		status.Reason = "it ended while libvirt's daemon did not run, or with the computer"
	}
	return status, nil
}

// reach fills in how a machine is reached that runs, and finds out whether its QEMU answers.
func reach(c *conversation, dom libvirt.Domain, m drivers.Machine, is mark, status *drivers.Status) error {
	control, _, since, err := c.DomainGetControlInfo(dom, 0)
	if err != nil {
		return gone(c, dom, is, err, status)
	}
	if control == uint32(libvirt.DomainControlOccupied) && since > 1000 || control == uint32(libvirt.DomainControlError) {
		*status = drivers.Status{State: drivers.Unknown, Reason: "its QEMU does not answer libvirt"}
		return nil
	}
	if c.at.session {
		usernet, err := c.QEMUDomainMonitorCommand(dom, "info usernet", monitorHMP)
		if err != nil {
			return gone(c, dom, is, err, status)
		}
		status.IP, status.Forwards = loopback, qemu.HostPorts(m.Forwards, usernet)
		for _, f := range status.Forwards {
			if f.Guest == guestSSH {
				status.SSH = net.JoinHostPort(loopback, strconv.Itoa(f.Host))
			}
		}
		return nil
	}
	// Of everything that needs an answer of QEMU's, this asks the least.
	if _, _, _, err := c.DomainGetBlockInfo(dom, "vda", 0); err != nil {
		return gone(c, dom, is, err, status)
	}
	_, s, err := findNetwork(c, m)
	if notFound(err) || err == nil && !s.IsValid() {
		*status = drivers.Status{State: drivers.Unknown, Reason: "its network is gone; 'dory stop', then 'dory start' makes it anew"}
		return nil
	}
	if err != nil {
		return err
	}
	status.IP, status.NodeIP, status.HostIP = s.Guest(), s.Guest(), s.Host()
	status.SSH = net.JoinHostPort(s.Guest(), strconv.Itoa(guestSSH))
	return nil
}

// monitorHMP says that a command for QEMU's monitor is for people; there is no other that tells the forwards.
const monitorHMP = 1

// gone is the status of a machine that libvirt had an error for when it was asked: one that ended just then is asked for its state
// again, until libvirt knows why.
func gone(c *conversation, dom libvirt.Domain, has mark, err error, status *drivers.Status) error {
	var e libvirt.Error
	if !errors.As(err, &e) {
		return err
	}
	if !is(err, libvirt.ErrOperationInvalid, libvirt.ErrNoDomain) {
		*status = drivers.Status{State: drivers.Unknown, Reason: "libvirt says: " + e.Message}
		return nil
	}
	for tries := 0; ; tries++ {
		if *status, err = state(c, dom, has); err != nil || status.State != drivers.Running && status.State != drivers.Paused {
			return err
		}
		if tries == endTries {
			*status = drivers.Status{State: drivers.Unknown, Reason: "it is ending"}
			return nil
		}
		select {
		case <-c.ctx.Done():
			return c.ctx.Err()
		case <-time.After(endPause):
		}
	}
}

// libvirt says that a domain does not run when its QEMU is gone, and half a second at the latest after that, how it ended.
const (
	endTries = 10
	endPause = 50 * time.Millisecond
)
