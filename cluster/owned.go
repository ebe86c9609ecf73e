package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/dorykube/dory/drivers"
	"github.com/dorykube/dory/drivers/libvirt"
	"github.com/dorykube/dory/internal/progress"
)

// ownedLimit is how long a driver may take to say what it has of a cluster that no record tells of.
const ownedLimit = 3 * time.Second

// deleteOwned deletes the machines of a cluster that no file tells of any more: drivers that mark what they make find it. It
// says whether there was anything. A hypervisor that was named with --kvm-qemu-uri is only asked if the environment names it.
func (m *Manager) deleteOwned(ctx context.Context, f files) (existed bool, err error) {
	entry, err := m.parts.driver(libvirt.Name)
	if err != nil {
		return false, nil // a computer without it
	}
	uris := []string{libvirt.DefaultURI, libvirt.SessionURI}
	if named := os.Getenv(EnvName("kvm-qemu-uri")); named != "" && !slices.Contains(uris, named) {
		uris = append(uris, named)
	}
	var failures []error
	for _, uri := range uris {
		options := m.driverOptions(m.logger(nil))
		options.URI = uri
		driver := entry.New(options)
		owner, ok := driver.(drivers.Owner)
		if !ok {
			continue
		}
		limited, cancel := context.WithTimeout(ctx, ownedLimit)
		found, err := owner.Owned(limited, f.path(machineDir))
		cancel()
		if ctx.Err() != nil {
			return existed, ctx.Err()
		}
		if err != nil { // a daemon that hangs, most likely in a home that has nothing to do with it
			progress.From(ctx).Warn(fmt.Sprintf("whether libvirt at %s has something of the cluster could not be found out: %v", uri, err))
		}
		for _, machine := range found {
			existed = true
			failures = append(failures, driver.Delete(ctx, machine))
		}
	}
	return existed, errors.Join(failures...)
}
