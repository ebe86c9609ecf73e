package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/dorykube/dory/drivers"
	"github.com/dorykube/dory/drivers/libvirt"
	"github.com/dorykube/dory/internal/fail"
	"github.com/dorykube/dory/internal/progress"
)

// ownedLimit is how long a driver may take to say what it has of a cluster that no record tells of.
const ownedLimit = 3 * time.Second

// ownedMachine is a machine that a driver found by its own mark.
type ownedMachine struct {
	drivers.Machine
	driver drivers.Driver
}

// owned are the machines whose directory is dir or lies below it, by the marks of drivers that mark what they make. A
// hypervisor that was named with --kvm-qemu-uri is only asked if the environment names it.
func (m *Manager) owned(ctx context.Context, dir string) (all []ownedMachine, err error) {
	entry, err := m.parts.driver(libvirt.Name)
	if err != nil {
		return nil, nil // a computer without it
	}
	uris := []string{libvirt.DefaultURI, libvirt.SessionURI}
	if named := os.Getenv(EnvName("kvm-qemu-uri")); named != "" && !slices.Contains(uris, named) {
		uris = append(uris, named)
	}
	for _, uri := range uris {
		options := m.driverOptions(m.logger(nil))
		options.URI = uri
		driver := entry.New(options)
		owner, ok := driver.(drivers.Owner)
		if !ok {
			continue
		}
		limited, cancel := context.WithTimeout(ctx, ownedLimit)
		found, err := owner.Owned(limited, dir)
		cancel()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil { // a daemon that hangs, most likely in a home that has nothing to do with it
			progress.From(ctx).Warn(fmt.Sprintf("whether libvirt at %s has something below %s could not be found out: %v", uri, dir, err))
		}
		for _, machine := range found {
			all = append(all, ownedMachine{machine, driver})
		}
	}
	return all, nil
}

// deleteOwned deletes the machines of a cluster that no file tells of any more. It says whether there was anything.
func (m *Manager) deleteOwned(ctx context.Context, f files) (existed bool, err error) {
	found, err := m.owned(ctx, f.path(machineDir))
	failures := []error{err}
	for _, machine := range found {
		failures = append(failures, machine.driver.Delete(ctx, machine.Machine))
	}
	return len(found) > 0, errors.Join(failures...)
}

// lostNames are the clusters that have a machine and no directory. One that has a directory may be in another dory's hands.
func (m *Manager) lostNames(ctx context.Context) (names []string, err error) {
	found, err := m.owned(ctx, filepath.Join(m.Dirs.State, clustersDir))
	for _, machine := range found {
		dir := filepath.Dir(machine.Dir)
		if _, err := os.Lstat(dir); os.IsNotExist(err) {
			names = append(names, filepath.Base(dir))
		}
	}
	slices.Sort(names)
	return slices.Compact(names), err
}

// lost refuses a cluster that was ready once and whose machine is gone, disk and all: a start would put an empty one into the
// place of what a user had in it.
func (h *held) lost(record *Record, status drivers.Status) error {
	entry, err := h.parts.driver(record.Driver)
	if err != nil || !entry.Capabilities.OwnsMachines || record.Phase != Made || status.State != drivers.Absent {
		return err
	}
	return fail.New(fail.MachineGone, "the machine of cluster %q is gone", h.name)
}
