package libvirt

import (
	"errors"
	"net/netip"
	"strings"

	libvirt "github.com/digitalocean/go-libvirt"
	"github.com/dorykube/dory/drivers"
	"github.com/dorykube/dory/drivers/qemu"
	"github.com/dorykube/dory/internal/fail"
)

// Each machine of the system's daemon has a network of its own: nothing of it can collide with another's, and it goes with
// the machine. Address and MAC are chosen here, and reserved in the network before the first boot.

// network is what a network's definition is made of.
type network struct {
	Mark mark
	subnet
	MAC string
}

func networkOf(m drivers.Machine, s subnet) network {
	return network{Mark: markOf(m), subnet: s, MAC: qemu.MAC(m.UUID)}
}

// findNetwork returns the machine's network and its range; the error is one of notFound if there is none.
func findNetwork(c *conversation, m drivers.Machine) (n libvirt.Network, s subnet, err error) {
	n, err = c.nets.NetworkLookupByUUID(uuidOf(m))
	if err != nil {
		return n, s, err
	}
	definition, err := c.nets.NetworkGetXMLDesc(n, 0)
	if err != nil {
		return n, s, err
	}
	if is, ok := readMark(definition); !ok || is.UUID != m.UUID {
		return n, s, fail.New(fail.LibvirtTaken, "libvirt has a network %q with the UUID of machine %s that dory did not make", n.Name, m.Name)
	}
	if ranges := networkPrefixes(definition); len(ranges) == 1 {
		s = subnet{ranges[0]}
	}
	return n, s, nil
}

// bringUp brings the machine's network up, which is made if there is none. A range that has come to collide with something
// since is changed.
func bringUp(c *conversation, m drivers.Machine) (subnet, error) {
	n, s, err := findNetwork(c, m)
	if err != nil && !notFound(err) {
		return s, err
	}
	if err == nil {
		active, err := c.nets.NetworkIsActive(n)
		if err != nil || active != 0 {
			return s, err
		}
		if err := c.nets.NetworkCreate(n); err == nil || !collides(err) {
			return s, networkFailure(err, m)
		}
	}
	taken, err := takenPrefixes(c, m)
	if err != nil {
		return s, err
	}
	free, err := freeSubnets(m.UUID, taken)
	if err != nil {
		return s, err
	}
	for _, s = range free {
		if n, err = c.nets.NetworkDefineXML(render("network.xml", networkOf(m, s))); err != nil {
			break
		}
		if err = c.nets.NetworkCreate(n); !collides(err) {
			break
		}
	}
	return s, networkFailure(err, m)
}

// takenPrefixes are the ranges of other networks, and of this computer if the networks are on it.
func takenPrefixes(c *conversation, m drivers.Machine) (taken []netip.Prefix, err error) {
	if c.at.local() {
		taken = hostPrefixes()
	}
	all, _, err := c.nets.ConnectListAllNetworks(1, 0)
	if err != nil {
		return nil, err
	}
	for _, n := range all {
		definition, err := c.nets.NetworkGetXMLDesc(n, 0)
		if err == nil && n.UUID != uuidOf(m) {
			taken = append(taken, networkPrefixes(definition)...)
		} else if err != nil && !notFound(err) {
			return nil, err
		}
	}
	return taken, nil
}

// collides: libvirt saw a route of its host that is in the way; or a bridge that a daemon made which was killed before it could
// write that down. The network is defined anew then, and libvirt finds another number for its bridge.
func collides(err error) bool {
	return err != nil && (strings.Contains(err.Error(), "already in use by interface") || strings.Contains(err.Error(), "error creating bridge interface"))
}

func networkFailure(err error, m drivers.Machine) error {
	var known *fail.Error
	switch text := ""; {
	case err == nil, lost(err), errors.As(err, &known):
		return err
	default:
		text = err.Error()
		if is(err, libvirt.ErrOperationFailed, libvirt.ErrNetworkExist) && strings.Contains(text, "exists") {
			return fail.New(fail.LibvirtTaken, "the network %q is somebody else's", markOf(m).Object()).WithEvidence("libvirt says: " + text)
		}
		return fail.New(fail.NetworkFailed, "bring up the network of machine %s", m.Name).WithEvidence("libvirt says: " + text)
	}
}

// removeNetwork ends and removes the machine's network.
func removeNetwork(c *conversation, m drivers.Machine) error {
	n, _, err := findNetwork(c, m)
	if err != nil {
		return ignore(err)
	}
	if err := c.nets.NetworkDestroy(n); err != nil && !notFound(err) && !is(err, libvirt.ErrOperationInvalid) { // it is down
		return err
	}
	return ignore(c.nets.NetworkUndefine(n))
}
