package libvirt

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/xml"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/dorykube/dory/internal/fail"
)

// subnet is a machine's network: 256 addresses, of which the host has the first and the machine the second.
type subnet struct{ netip.Prefix }

func (s subnet) Host() string  { return s.Addr().Next().String() }
func (s subnet) Guest() string { return s.Addr().Next().Next().String() }

// DNS of a machine is the network's dnsmasq.
func (s subnet) ip() string { return s.Guest() + "/24," + s.Host() + "," + s.Host() }

// subnets are all that a machine may get, out of the ranges for private use: neither those where pods and Services are by
// default, nor those that home routers and Docker like best.
func subnets() (all []subnet) {
	for i := 39; i < 255; i++ {
		all = append(all, subnet{netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 168, byte(i), 0}), 24)})
	}
	for i := range 256 {
		all = append(all, subnet{netip.PrefixFrom(netip.AddrFrom4([4]byte{172, 30, byte(i), 0}), 24)})
	}
	return all
}

// freeSubnets are those that collide with nothing, beginning at one that depends on the machine: machines that are made at
// the same time rarely want the same one.
func freeSubnets(uuid string, taken []netip.Prefix) ([]subnet, error) {
	all := subnets()
	sum := sha256.Sum256([]byte(uuid))
	first := int(binary.BigEndian.Uint32(sum[:])) % len(all)
	free := slices.DeleteFunc(slices.Concat(all[first:], all[:first]), func(s subnet) bool {
		return slices.ContainsFunc(taken, s.Overlaps)
	})
	if len(free) == 0 {
		return nil, fail.New(fail.NoSubnet, "no range of addresses is free for the machine's network").WithEvidence(fmt.Sprintf("in use: %v", taken))
	}
	return free, nil
}

// hostPrefixes are where this computer leads packets to: its addresses and its routes, but for the default one.
func hostPrefixes() []netip.Prefix {
	taken := hostRoutes()
	addresses, _ := net.InterfaceAddrs() // failing, libvirt still refuses what collides
	for _, a := range addresses {
		if prefix, err := netip.ParsePrefix(a.String()); err == nil && prefix.Addr().Is4() {
			taken = append(taken, prefix.Masked())
		}
	}
	return taken
}

// definedNetwork is what a network's definition says that matters here.
type definedNetwork struct {
	IPs []struct {
		Address string `xml:"address,attr"`
		Prefix  string `xml:"prefix,attr"`
		Netmask string `xml:"netmask,attr"`
	} `xml:"ip"`
}

// networkPrefixes are the ranges of a network's definition.
func networkPrefixes(definition string) (found []netip.Prefix) {
	var n definedNetwork
	if xml.Unmarshal([]byte(definition), &n) != nil {
		return nil
	}
	for _, ip := range n.IPs {
		length := ip.Prefix
		if mask := net.ParseIP(ip.Netmask).To4(); mask != nil {
			ones, _ := net.IPMask(mask).Size()
			length = fmt.Sprint(ones)
		}
		if prefix, err := netip.ParsePrefix(ip.Address + "/" + length); err == nil && prefix.Addr().Is4() {
			found = append(found, prefix.Masked())
		}
	}
	return found
}
