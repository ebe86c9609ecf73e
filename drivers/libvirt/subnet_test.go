package libvirt

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/dorykube/dory/internal/fail"
)

func who(p place) string {
	if p.account == nil {
		return ""
	}
	return fmt.Sprintf("%s@%s:%d", p.account.User, p.account.Host, p.account.Port)
}

func prefixes(texts ...string) (all []netip.Prefix) {
	for _, text := range texts {
		all = append(all, netip.MustParsePrefix(text))
	}
	return all
}

func TestFreeSubnets(t *testing.T) {
	const uuid = "0c4d2b0e-8c1c-4c54-9d1c-27a0a6c2a4d1"
	all, err := freeSubnets(uuid, nil)
	if err != nil || len(all) != len(subnets()) {
		t.Fatalf("%d of %d are free: %v", len(all), len(subnets()), err)
	}
	taken := prefixes(all[0].String(), "192.168.128.0/17", "172.30.7.128/25")
	free, err := freeSubnets(uuid, taken)
	if err != nil || len(free) == 0 {
		t.Fatal(err)
	}
	for _, s := range free {
		if slices.ContainsFunc(taken, s.Overlaps) {
			t.Errorf("%s is taken", s)
		}
	}
	if s := (subnet{netip.MustParsePrefix("192.168.39.0/24")}); s.Host() != "192.168.39.1" || s.Guest() != "192.168.39.2" || s.ip() != "192.168.39.2/24,192.168.39.1,192.168.39.1" {
		t.Errorf("%s: %s %s %s", s, s.Host(), s.Guest(), s.ip())
	}
	_, err = freeSubnets(uuid, prefixes("192.168.0.0/16", "172.16.0.0/12"))
	if !fail.Is(err, fail.NoSubnet) || fail.As(err).Evidence == "" {
		t.Errorf("where everything is taken: %v", err)
	}
	// Neither pods nor Services are where a machine may be.
	for _, s := range subnets() {
		for _, other := range prefixes("10.96.0.0/12", "10.244.0.0/16", "10.0.2.0/24", "127.0.0.0/8") {
			if s.Overlaps(other) {
				t.Errorf("%s overlaps %s", s, other)
			}
		}
	}
}

func TestNetworkPrefixes(t *testing.T) {
	got := networkPrefixes(`<network><ip address="192.168.122.1" netmask="255.255.255.0"/><ip address="10.1.2.3" prefix="16"/><ip family="ipv6" address="fd00::1" prefix="64"/></network>`)
	if want := prefixes("192.168.122.0/24", "10.1.0.0/16"); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
