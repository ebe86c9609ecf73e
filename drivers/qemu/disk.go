package qemu

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/dorykube/dory/drivers"
	"github.com/dorykube/dory/internal/fail"
	"github.com/dorykube/dory/internal/hostinfo"
)

// The data disk is a sparse raw file, not qcow2. It needs no tool to be made or grown (qemu-img is a package of its own
// in Debian), the guest's discards punch holes straight into it, there is no metadata to be torn by a power cut, and it
// can be the backing file of any number of overlays, which is all that a fork asks of it.

// leastFree is the space that must be free on the host for a disk to be made: less than the guest's first boot writes.
const leastFree = 256 << 20

// makeDisk makes the data disk, or grows it to size. It never shrinks or empties one.
func makeDisk(path string, size int64) (err error) {
	info, err := os.Stat(path)
	if err == nil && info.Size() >= size {
		return nil
	}
	isNew := errors.Is(err, fs.ErrNotExist)
	if err != nil && !isNew {
		return err
	}
	if isNew {
		if err := requireSpace(path); err != nil {
			return err
		}
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return hostError(err, "make the disk "+path)
	}
	err = file.Truncate(size)
	if closeErr := file.Close(); err == nil {
		err = closeErr
	}
	if err != nil && isNew {
		os.Remove(path)
	}
	return hostError(err, "make the disk "+path)
}

func requireSpace(path string) error {
	free, err := hostinfo.FreeSpace(filepath.Dir(path))
	if err == nil && free < leastFree {
		return fail.New(fail.DiskTooMuch, "make the disk %s: only %d MiB are free there, a machine needs %d", path, free>>20, leastFree>>20)
	}
	return nil // a file system that does not tell is no reason to refuse
}

// hostError makes a failure of the host's file system the kind that it is: full, too small for such a file, or closed to
// this user.
func hostError(err error, doing string) error {
	switch {
	case err == nil:
		return nil
	case isNoSpace(err):
		return fail.Wrap(fail.DiskTooMuch, err, "%s", doing)
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return fail.Wrap(fail.HostPermission, err, "%s", doing)
	default:
		return fmt.Errorf("%s: %w", doing, err)
	}
}

// hardware is what of a machine must outlive an upgrade of QEMU, because its guest or its saved state depends on it.
type hardware struct {
	// MachineType is versioned ("pc-q35-7.2"), so that a newer QEMU goes on showing the guest the same computer.
	MachineType string `json:"machineType"`
}

// keepHardware writes the record, unless it is there.
func (dir machineDir) keepHardware(h hardware) error {
	var recorded hardware
	if dir.readJSON(hardwareFile, &recorded) == nil && recorded == h {
		return nil
	}
	return dir.writeJSON(hardwareFile, h)
}

// hardwareOf returns the machine's recorded hardware; if there is none, or this QEMU does not have it any more, the
// newest that this QEMU has.
func hardwareOf(m drivers.Machine, b *binary) hardware {
	var h hardware
	if machineDir(m.Dir).readJSON(hardwareFile, &h) == nil && b.hasMachineType(h.MachineType) {
		return h
	}
	return hardware{MachineType: b.newestMachineType()}
}
