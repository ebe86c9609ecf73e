// Package registry is the table of drivers, and the choice of one.
package registry

import (
	"log/slog"

	"github.com/dorykube/dory/drivers"
	"github.com/dorykube/dory/drivers/libvirt"
	"github.com/dorykube/dory/drivers/qemu"
	"github.com/dorykube/dory/drivers/ssh"
	"github.com/dorykube/dory/internal/fail"
)

// Options are what drivers are told of their surroundings. Each takes what it needs.
type Options struct {
	Cache string // where drivers keep what they can make again; may be deleted at any time
	Image string // the node image that a driver's Check may boot; empty: none yet
	URI   string // the hypervisor that a driver's Check and Owned ask, where it knows more than one; empty: the usual
	Log   *slog.Logger
}

// Entry is a driver that dory has.
type Entry struct {
	Name         string
	Capabilities drivers.Capabilities
	Automatic    bool // auto may choose it
	New          func(Options) drivers.Driver
}

// All are the drivers, in the order in which auto prefers them: qemu first, since only its clusters are forked.
func All() []Entry {
	return []Entry{
		{qemu.Name, qemu.Capabilities(), true, func(o Options) drivers.Driver {
			return qemu.New(qemu.Options{Cache: o.Cache, Image: o.Image, Log: o.Log})
		}},
		{libvirt.Name, libvirt.Capabilities(), true, func(o Options) drivers.Driver {
			return libvirt.New(libvirt.Options{URI: o.URI, Cache: o.Cache, Log: o.Log})
		}},
		{ssh.Name, ssh.Capabilities(), false, func(o Options) drivers.Driver {
			return ssh.New(ssh.Options{Log: o.Log})
		}},
	}
}

// Auto is the wish for any driver that works here: see Ask and Pick.
const Auto = "auto"

// aliases are what others call a driver: minikube and docker-machine.
var aliases = map[string]string{"kvm2": libvirt.Name, "kvm": libvirt.Name, "qemu2": qemu.Name}

// Canonical is the name of the driver that is meant by a name.
func Canonical(name string) string {
	if is, ok := aliases[name]; ok {
		return is
	}
	return name
}

// Find returns the driver of a name. An unknown name is fail.DriverUnknown with the nearest.
func Find(name string) (Entry, error) {
	all := All()
	for _, e := range all {
		if e.Name == name {
			return e, nil
		}
	}
	return Entry{}, fail.New(fail.DriverUnknown, "there is no driver %q", name).
		WithAdvice("use --driver %s", nearest(name, all))
}

// nearest is the name that takes the fewest edits; names that share nothing with any get the first driver's.
func nearest(name string, all []Entry) string {
	best, least := all[0].Name, len(name)
	for _, e := range all {
		if n := edits(name, e.Name); n < least {
			best, least = e.Name, n
		}
	}
	return best
}

// edits is the Levenshtein distance: how many letters must be put in, taken out or changed to make a out of b.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j+1]+1, row[j]+1)
		}
	}
	return row[len(b)]
}
