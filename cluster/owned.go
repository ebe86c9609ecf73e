package cluster

import (
	"context"
	"errors"
	"os"
	"slices"
	"time"

	"github.com/dorykube/dory/drivers"
	"github.com/dorykube/dory/drivers/libvirt"
)

// ownedLimit is how long a driver may take to say what it has of a cluster that no record tells of.
const ownedLimit = 5 * time.Second

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
		failures = append(failures, err)
		for _, machine := range found {
			existed = true
			failures = append(failures, driver.Delete(ctx, machine))
		}
	}
	return existed, errors.Join(failures...)
}
