package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/dorykube/dory/drivers"
	"github.com/dorykube/dory/drivers/libvirt"
	"github.com/dorykube/dory/drivers/qemu"
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

// owner is whom to ask for machines that no record tells of.
type owner struct {
	drivers.Owner
	driver drivers.Driver
	name   string // for people
}

// owners are the drivers that know their machines again. A hypervisor that was named with --kvm-qemu-uri is only asked if the
// environment names it.
func (m *Manager) owners() []owner {
	all := m.ownersOf(qemu.Name, "")
	uris := []string{libvirt.DefaultURI, libvirt.SessionURI}
	if named := os.Getenv(EnvName("kvm-qemu-uri")); named != "" && !slices.Contains(uris, named) {
		uris = append(uris, named)
	}
	for _, uri := range uris {
		all = append(all, m.ownersOf(libvirt.Name, uri)...)
	}
	return all
}

// ownersOf is one owner, or none where the driver is none.
func (m *Manager) ownersOf(name, uri string) []owner {
	entry, err := m.parts.driver(name)
	if err != nil {
		return nil // a computer without it
	}
	options := m.driverOptions(m.logger(nil))
	options.URI = uri
	driver := entry.New(options)
	if o, ok := driver.(drivers.Owner); ok {
		return []owner{{o, driver, strings.TrimSpace(name + " " + uri)}}
	}
	return nil
}

// owned are the machines whose directory is dir or lies below it, by the marks of drivers that mark what they make.
func (m *Manager) owned(ctx context.Context, dir string) ([]ownedMachine, error) {
	return ownedBy(ctx, m.owners(), dir), ctx.Err()
}

// ownedBy asks some of the owners. One that cannot say keeps nobody from anything.
func ownedBy(ctx context.Context, owners []owner, dir string) (all []ownedMachine) {
	for _, o := range owners {
		limited, cancel := context.WithTimeout(ctx, ownedLimit)
		found, err := o.Owned(limited, dir)
		cancel()
		if err != nil && ctx.Err() == nil { // a daemon that hangs, most likely in a home that has nothing to do with it
			progress.From(ctx).Warn(fmt.Sprintf("whether %s has something below %s could not be found out: %v", o.name, dir, err))
		}
		for _, machine := range found {
			all = append(all, ownedMachine{machine, o.driver})
		}
	}
	return all
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
	return withoutDirectory(found), err
}

// homeless are the clusters without a directory whose machines run as this user's processes. Looking for them takes a millisecond.
func (m *Manager) homeless(ctx context.Context) []string {
	return withoutDirectory(ownedBy(ctx, m.ownersOf(qemu.Name, ""), filepath.Join(m.Dirs.State, clustersDir)))
}

func withoutDirectory(found []ownedMachine) (names []string) {
	for _, machine := range found {
		dir := filepath.Dir(machine.Dir)
		if _, err := os.Lstat(dir); os.IsNotExist(err) {
			names = append(names, filepath.Base(dir))
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// stillRuns is said of them.
const stillRuns = "its directory is gone, and its machine still runs; 'dory delete -p %s' ends it"

// lost refuses a cluster that was ready once and whose machine is gone, disk and all: a start would put an empty one into the
// place of what a user had in it.
func (h *held) lost(record *Record, status drivers.Status) error {
	entry, err := h.parts.driver(record.Driver)
	if err != nil || !entry.Capabilities.OwnsMachines || record.Phase != Made || status.State != drivers.Absent {
		return err
	}
	return fail.New(fail.MachineGone, "the machine of cluster %q is gone", h.name)
}
