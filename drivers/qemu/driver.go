// Package qemu is the driver for QEMU without root and without a daemon: one QEMU process per machine, which outlives
// dory. Everything that is known of a machine is in its directory (files.go) or asked of its QEMU (qmp.go); the process
// is told by more than its number (process.go).
package qemu

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"

	"github.com/dorykube/dory/drivers"
	"github.com/dorykube/dory/internal/fail"
)

// Name is the driver's name.
const Name = "qemu"

// Capabilities of the driver. To fork, QEMU must be given open files, which Windows' sockets cannot carry.
func Capabilities() drivers.Capabilities {
	return drivers.Capabilities{OwnsMachines: true, LocalBundle: true, Fork: runtime.GOOS != "windows"}
}

// Options are what the driver is told of its surroundings.
type Options struct {
	// Program is the QEMU to use: a path, or a name to be found in PATH. Empty: DORY_QEMU from the environment, or else
	// qemu-system-x86_64.
	Program string
	// Cache is the directory for kernels taken out of node images and answers about this computer. It may be deleted at
	// any time.
	Cache string
	// Image is the node image that Check boots to try an accelerator. Empty, or not there: Check does not try.
	Image string
	Log   *slog.Logger
	// Boot takes kernel and initrd out of a node image and puts them below a directory, unless they are there. Nil: as
	// package iso does; tests give others.
	Boot func(image, dir string) (Boot, error)

	// canary boots a guest of a node image. Nil: a real one; tests give others.
	canary func(ctx context.Context, b *binary, image string, c choice) error
}

// Driver makes machines with QEMU. It is safe for concurrent use, also on one machine by several processes as far as its
// disk is concerned, which QEMU locks; but callers are expected to lock their clusters.
type Driver struct {
	options Options

	mu     sync.Mutex
	binary *binary // once found
}

// New returns the driver. It looks for nothing yet.
func New(o Options) *Driver {
	if o.Program == "" {
		o.Program = os.Getenv("DORY_QEMU")
	}
	if o.Boot == nil {
		o.Boot = bootNodeImage
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Driver{options: o}
}

// cache is the directory for what is remembered of this computer and its QEMU.
func (o Options) cache() string { return filepath.Join(o.Cache, "qemu") }

// qemu finds the installed QEMU, once.
func (d *Driver) qemu(ctx context.Context) (*binary, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.binary == nil {
		b, err := findBinary(ctx, d.options.Program, d.options.cache())
		if err != nil {
			return nil, err
		}
		d.options.Log.Debug("found QEMU", "path", b.Path, "version", b.Version, "accelerators", b.Accels)
		d.binary = b
	}
	return d.binary, nil
}

// Create makes the machine's directory and its data disk, or grows a disk that is smaller than wished.
func (d *Driver) Create(ctx context.Context, m drivers.Machine) (err error) {
	if err := check(m); err != nil {
		return err
	}
	b, err := d.qemu(ctx)
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	dir := machineDir(m.Dir)
	made := !exists(m.Dir)
	defer func() {
		if err != nil && made {
			os.Remove(dir.path(hardwareFile))
			os.Remove(m.Dir) // only if empty
		}
	}()
	if err := os.MkdirAll(m.Dir, 0o700); err != nil {
		return hostError(err, "create machine "+m.Name)
	}
	if err := os.Chmod(m.Dir, 0o700); err != nil {
		return hostError(err, "create machine "+m.Name)
	}
	// The record first: a disk without one would be a machine whose QEMU may change.
	if err := dir.writeJSON(hardwareFile, hardwareOf(m, b)); err != nil {
		return hostError(err, "create machine "+m.Name)
	}
	if exists(dir.path(overlayFile)) {
		return hostError(growOverlay(dir.path(overlayFile), m.Disk), "make the disk larger")
	}
	return makeDisk(dir.path(diskFile), m.Disk)
}

// check refuses what could only go wrong later.
func check(m drivers.Machine) error {
	const mib = 1 << 20
	switch {
	case !filepath.IsAbs(m.Dir):
		return fmt.Errorf("machine %s: its directory %q is not absolute", m.Name, m.Dir)
	case m.UUID == "" || m.Name == "" || strings.ContainsAny(m.Name, " \t\n"):
		return fmt.Errorf("machine %q needs a name and a UUID", m.Name)
	case m.CPUs < 1 || m.Memory < mib || m.Memory%mib != 0 || m.Disk < mib || m.Disk%mib != 0:
		return fail.New(fail.BadValue, "machine %s: %d CPUs, %d bytes of memory and %d of disk are not possible",
			m.Name, m.CPUs, m.Memory, m.Disk)
	}
	return nil
}

// Console opens the log of the machine's serial console.
func (d *Driver) Console(_ context.Context, m drivers.Machine) (io.ReadCloser, error) {
	return os.Open(machineDir(m.Dir).path(consoleFile))
}

// Pause halts the machine's processors.
func (d *Driver) Pause(ctx context.Context, m drivers.Machine) error {
	return d.command(ctx, m, "pause", func(ctx context.Context, q *monitor) error { return q.run(ctx, "stop", nil, nil) })
}

// Unpause lets the machine's processors go on, also if an interrupted Save halted them.
func (d *Driver) Unpause(ctx context.Context, m drivers.Machine) error {
	if err := machineDir(m.Dir).saved().remove(); err != nil { // it would not fit the disk any more
		return hostError(err, "unpause machine "+m.Name)
	}
	return d.command(ctx, m, "unpause", func(ctx context.Context, q *monitor) error { return q.goOn(ctx) })
}

// command converses with a running machine's QEMU.
func (d *Driver) command(ctx context.Context, m drivers.Machine, verb string, do func(context.Context, *monitor) error) error {
	if _, err := findProcess(m); err != nil {
		return fail.New(fail.ClusterNotUp, "%s machine %s: it does not run", verb, m.Name)
	}
	ctx, cancel := context.WithTimeout(ctx, commandLimit)
	defer cancel()
	q, err := dialMonitor(ctx, machineDir(m.Dir))
	if err == nil {
		defer q.close()
		err = do(ctx, q)
	}
	if err != nil {
		return fail.Wrap(fail.QEMUFailed, err, "%s machine %s", verb, m.Name)
	}
	return nil
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// removeFile removes a file; one that is not there is success.
func removeFile(path string) error {
	err := os.Remove(path)
	if os.IsNotExist(err) {
		return nil
	}
	return err
}
