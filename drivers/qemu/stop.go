package qemu

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/dorykube/dory/drivers"
	"github.com/dorykube/dory/internal/fail"
)

const (
	// pressEvery is how often the power button is pressed: a guest that is still booting does not hear it.
	pressEvery = 3 * time.Second
	// quitLimit is how long QEMU may take to write out its caches and end.
	quitLimit = 2 * time.Second
	// killLimit is how long the kernel may take to end a process that was killed: it frees gigabytes of memory, and ends what
	// is on its way to the disk. On a computer with twenty processes for two processors, ten seconds were not enough.
	killLimit = time.Minute
)

// Stop presses the machine's power button and waits for its end, which comes by itself; after the grace QEMU is told to
// quit, and if that does not help it is killed. What was saved of the machine is removed.
func (d *Driver) Stop(ctx context.Context, m drivers.Machine, grace time.Duration) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	dir := machineDir(m.Dir)
	if err := dir.saved().remove(); err != nil {
		return hostError(err, "stop machine "+m.Name)
	}
	id, err := findProcess(m)
	if err != nil {
		if err := quitOrphan(ctx, m); err != nil {
			return err
		}
		return errors.Join(ctx.Err(), dir.forgetProcess())
	}
	gone := false
	if grace > 0 && !isHalted(id.PID) {
		gone = powerOff(ctx, dir, id, grace)
	}
	if !gone && ctx.Err() == nil && !isHalted(id.PID) {
		gone = quit(ctx, dir, id)
	}
	if ctx.Err() != nil {
		return fmt.Errorf("stop machine %s: %w", m.Name, ctx.Err())
	}
	if !gone {
		d.options.Log.Debug("killing QEMU", "machine", m.Name, "pid", id.PID)
		if err := kill(ctx, m, id); err != nil {
			return err
		}
	}
	return dir.forgetProcess()
}

// powerOff presses the power button until the process has ended or the grace is over.
func powerOff(ctx context.Context, dir machineDir, id identity, grace time.Duration) (gone bool) {
	ctx, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	for first := true; ctx.Err() == nil && exists(dir.path(socketFile)); first = false { // without the socket, nobody can press
		// Failing, it is pressed again, but for a guest that cannot write: it went on, and was halted again at once.
		if noSpace, _ := press(ctx, dir); noSpace && !first {
			return false
		}
		round, done := context.WithTimeout(ctx, pressEvery)
		err := waitProcess(round, id)
		done()
		if err == nil {
			return true
		}
	}
	return false
}

// press presses the power button. A paused machine must go on, to be able to notice; noSpace says that it was halted for
// want of space.
func press(ctx context.Context, dir machineDir) (noSpace bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, pressEvery)
	defer cancel()
	q, err := dialMonitor(ctx, dir)
	if err != nil {
		return false, err
	}
	defer q.close()
	run, err := q.runState(ctx)
	if err == nil && run != "running" {
		q.run(ctx, "cont", nil, nil)
	}
	return run == haltedByDisk, q.run(ctx, "system_powerdown", nil, nil)
}

// quit has QEMU end itself.
func quit(ctx context.Context, dir machineDir, id identity) (gone bool) {
	ctx, cancel := context.WithTimeout(ctx, quitLimit)
	defer cancel()
	q, err := dialMonitor(ctx, dir)
	if err != nil {
		return false
	}
	defer q.close()
	q.quit(ctx) // it may end before it answers
	return waitProcess(ctx, id) == nil
}

// quitOrphan has a QEMU end itself that can only be reached over its control socket.
func quitOrphan(ctx context.Context, m drivers.Machine) error {
	ctx, cancel := context.WithTimeout(ctx, quitLimit)
	defer cancel()
	q := orphan(ctx, m)
	if q == nil {
		return nil
	}
	defer q.close()
	if err := q.quit(ctx); err != nil {
		return fail.Wrap(fail.QEMUFailed, err, "end the QEMU of machine %s", m.Name)
	}
	for exists(m.Dir) && ctx.Err() == nil { // until nobody listens on its socket any more
		other, err := dialSocket(ctx, machineDir(m.Dir), socketFile)
		if err != nil {
			break
		}
		other.Close()
		time.Sleep(pollEvery)
	}
	return nil
}

// kill ends the process and waits until it is gone.
func kill(ctx context.Context, m drivers.Machine, id identity) error {
	limited, cancel := context.WithTimeout(ctx, killLimit)
	defer cancel()
	if err := killProcess(limited, id, m.UUID); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fail.Wrap(fail.QEMUFailed, err, "end QEMU (process %d) of machine %s", id.PID, m.Name)
	}
	return nil
}

// Delete kills the machine's QEMU and removes the driver's files. What others put into the directory stays, and so does
// the directory then.
func (d *Driver) Delete(ctx context.Context, m drivers.Machine) error {
	if m.UUID == "" || m.Dir == "" {
		return fmt.Errorf("delete machine %q: it has no UUID or no directory", m.Name)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	for {
		id, err := findProcess(m)
		if err != nil {
			break
		}
		// While it runs, its files are what it can be found by.
		if err := kill(ctx, m, id); err != nil {
			return err
		}
	}
	if err := quitOrphan(ctx, m); err != nil {
		return fmt.Errorf("delete machine %s: %w", m.Name, err)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	dir := machineDir(m.Dir)
	var failures []error
	for _, name := range allFiles {
		failures = append(failures, removeFile(dir.path(name)), removeFile(dir.path(name+tempSuffix)))
	}
	if err := errors.Join(failures...); err != nil {
		return fail.Wrap(fail.HostPermission, err, "delete machine %s", m.Name)
	}
	if err := os.Remove(m.Dir); err != nil && exists(m.Dir) {
		d.options.Log.Debug("the machine's directory stays: others have files in it", "machine", m.Name, "dir", m.Dir)
	}
	return nil
}
