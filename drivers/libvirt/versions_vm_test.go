//go:build vm

package libvirt

import (
	"strings"
	"testing"

	"github.com/dorykube/dory/drivers/drivertest/debian"
	"github.com/dorykube/dory/drivers/libvirt/libvirttest"
	"github.com/dorykube/dory/internal/tried"
)

// packages are those of libvirt's daemons in a suite, and what they and the tests run.
func packages(suite string) []string {
	list := []string{"libvirt-daemon", "libvirt-daemon-driver-qemu", "libvirt-clients", "qemu-system-x86", "dnsmasq-base", "iptables", "nftables", "iproute2", "procps", "mount"}
	if suite == "bookworm" {
		return list
	}
	for _, part := range []string{"driver-network", "driver-storage", "driver-nodedev", "driver-secret", "driver-nwfilter", "driver-interface", "log"} {
		list = append(list, "libvirt-daemon-"+part) // until Debian 12 in libvirt-daemon
	}
	return list
}

// TestVersions is the contract with each libvirt that dory is said to be tried with, each in its Debian with the QEMU of that.
func TestVersions(t *testing.T) {
	if testing.Short() {
		t.Skip("left to 'make test-qemu'")
	}
	for _, v := range Tried {
		root := debian.Root{Suite: v.Debian, Packages: packages(v.Debian), Installed: true}
		for name, start := range map[string]func(*testing.T) *libvirttest.Daemon{
			"system":  func(t *testing.T) *libvirttest.Daemon { return libvirttest.System(t, libvirttest.Monolithic) },
			"modular": func(t *testing.T) *libvirttest.Daemon { return libvirttest.System(t, libvirttest.Modular) },
			"session": libvirttest.Session,
		} {
			t.Run(v.Number+" "+name, func(t *testing.T) {
				if libvirttest.InsideRoot(t, root.Make) {
					daemon := start(t)
					hasVersion(t, daemon, v)
					contract(t, daemon)
				}
			})
		}
	}
}

// hasVersion makes sure that the daemon is the one that was meant. Another one shows that Debian has gone on.
func hasVersion(t *testing.T, daemon *libvirttest.Daemon, v tried.Version) {
	t.Helper()
	said := daemon.Virsh("version", "--daemon")
	t.Logf("%s", said)
	if !strings.Contains(said, "daemon: "+v.Number+".") {
		t.Errorf("Debian's %s has another libvirt than %s: put it into the table", v.Debian, v.Number)
	}
}
