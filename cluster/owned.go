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
	"github.com/dorykube/dory/internal/progress"
)

// ownedLimit is how long a driver may take to say what it has of a cluster that no record tells of.
const ownedLimit = 3 * time.Second

// deleteOwned deletes the machines with a directory in dir, or there itself, that no file tells of any more: drivers that mark
// what they make find them. It names the clusters that they were. A hypervisor that was named with --kvm-qemu-uri is only
// asked if the environment names it.
func (m *Manager) deleteOwned(ctx context.Context, dir string) (clusters []string, err error) {
	entry, err := m.parts.driver(libvirt.Name)
	if err != nil {
		return nil, nil // a computer without it
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
		found, err := owner.Owned(limited, dir)
		cancel()
		if ctx.Err() != nil {
			return clusters, ctx.Err()
		}
		if err != nil { // a daemon that hangs, most likely in a home that has nothing to do with it
			progress.From(ctx).Warn(fmt.Sprintf("whether libvirt at %s has something of it could not be found out: %v", uri, err))
		}
		for _, machine := range found {
			clusters = append(clusters, filepath.Base(filepath.Dir(machine.Dir)))
			failures = append(failures, driver.Delete(ctx, machine))
		}
	}
	return clusters, errors.Join(failures...)
}
