package qemu

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/dorykube/dory/drivers"
)

const (
	// statusLimit keeps Status below the two seconds that it promises.
	statusLimit = 1500 * time.Millisecond
	// commandLimit is for a command that QEMU executes at once, on a busy host.
	commandLimit = 10 * time.Second
)

// loadingReason is why the state of a machine is unknown whose QEMU waits for a snapshot to load.
const loadingReason = "QEMU is loading the machine's memory, or that was interrupted"

// haltedByDisk is QEMU's state of a machine whose disk could not be written.
const haltedByDisk = "io-error"

// guestSSH is the port of the machine's SSH server.
const guestSSH = 22

// Status asks the machine's QEMU, if there is one.
func (d *Driver) Status(ctx context.Context, m drivers.Machine) (drivers.Status, error) {
	limited, cancel := context.WithTimeout(ctx, statusLimit)
	defer cancel()
	dir := machineDir(m.Dir)
	id, err := findProcess(m)
	if err != nil {
		q := orphan(limited, m)
		if q == nil {
			return dir.off(), ctx.Err()
		}
		q.close()
	}
	if id.PID != 0 && isHalted(id.PID) {
		return drivers.Status{State: drivers.Unknown, PID: id.PID, Reason: fmt.Sprintf(
			"QEMU (process %d) was stopped by a signal or a debugger; 'kill -CONT %d' lets it go on", id.PID, id.PID)}, nil
	}
	status, err := d.ask(limited, m)
	status.PID = id.PID
	if err == nil {
		return status, nil
	}
	if ctx.Err() != nil {
		return drivers.Status{}, ctx.Err()
	}
	if _, gone := findProcess(m); gone != nil && id.PID != 0 {
		return dir.off(), nil // it ended while it was asked
	}
	return drivers.Status{State: drivers.Unknown, PID: id.PID, Reason: fmt.Sprintf(
		"QEMU (process %d) does not answer: %v", id.PID, err)}, nil
}

// ask finds out from QEMU what the machine does.
func (d *Driver) ask(ctx context.Context, m drivers.Machine) (drivers.Status, error) {
	q, err := dialMonitor(ctx, machineDir(m.Dir))
	if err != nil {
		return drivers.Status{}, err
	}
	defer q.close()
	run, err := q.runState(ctx)
	if err != nil {
		return drivers.Status{}, err
	}
	status := drivers.Status{State: drivers.Running}
	switch run {
	case "running":
	case "paused":
		status.State = drivers.Paused
	case "finish-migrate", "postmigrate":
		status.State, status.Reason = drivers.Paused, "it is being saved, or that was interrupted; then unpause it"
	case "inmigrate":
		return drivers.Status{State: drivers.Unknown, Reason: loadingReason}, nil
	case haltedByDisk:
		// A guest whose write failed for want of space is halted instead of being told of a broken disk.
		status.State, status.NoSpace = drivers.Paused, true
		status.Reason = "a disk could not be written, most likely because the host's is full; free some space, then unpause"
	default:
		return drivers.Status{State: drivers.Unknown, Reason: "QEMU says that the machine is in state " + run}, nil
	}
	ports, err := q.ports(ctx)
	if err != nil {
		return drivers.Status{}, err
	}
	status.IP = loopback
	status.Forwards = bound(m.Forwards, ports)
	if port, ok := ports[guestSSH]; ok {
		status.SSH = net.JoinHostPort(loopback, strconv.Itoa(port))
	}
	var boot bootRecord
	if machineDir(m.Dir).readJSON(bootFile, &boot) == nil {
		status.Accel, status.AccelReason = boot.Accel, boot.Reason
		status.Hypervisor = fmt.Sprintf("QEMU %s, %s, processor model %s", boot.QEMU, title(boot.Accel), boot.model())
	}
	return status, nil
}

// orphan is a conversation with a QEMU of the machine that answers on its control socket although no such process can be
// found: in another PID namespace, or on a system that does not tell processes' arguments. Otherwise nil.
func orphan(ctx context.Context, m drivers.Machine) *monitor {
	q, err := dialMonitor(ctx, machineDir(m.Dir))
	if err != nil {
		return nil
	}
	if uuid, err := q.uuid(ctx); err != nil || !strings.EqualFold(uuid, m.UUID) {
		q.close()
		return nil
	}
	return q
}

// off is the status of a machine that has no QEMU.
func (dir machineDir) off() drivers.Status {
	if !exists(dir.path(diskFile)) && !exists(dir.path(overlayFile)) {
		return drivers.Status{State: drivers.Absent}
	}
	return drivers.Status{State: drivers.Stopped, Reason: dir.death()}
}

// death is what a machine died of; empty if it was stopped.
func (dir machineDir) death() string {
	var boot bootRecord
	if err := dir.readJSON(bootFile, &boot); errors.Is(err, fs.ErrNotExist) {
		return ""
	}
	var was identity
	known := dir.readJSON(processFile, &was) == nil
	said := complaints(dir.stderr())
	switch {
	case known && was.Boot != bootID():
		return "the computer was restarted while the machine ran"
	case said != "":
		return "QEMU ended: " + tail(said)
	case dir.poweredOff():
		return "the machine powered itself off"
	default:
		return "QEMU is gone and left no message: something killed it, for example the host for want of memory"
	}
}
