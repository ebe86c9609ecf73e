//go:build vm

package qemu

import (
	"strings"
	"testing"

	"github.com/dorykube/dory/drivers"
	"github.com/dorykube/dory/drivers/drivertest"
	"github.com/dorykube/dory/drivers/drivertest/debian"
)

// TestVersions is the contract with each QEMU that dory is said to be tried with, each out of its Debian, and what becomes of machines
// when one takes the place of another.
func TestVersions(t *testing.T) {
	if testing.Short() {
		t.Skip("left to 'make test-qemu'")
	}
	options, cache := map[string]Options{}, t.TempDir() // as users have one
	for _, v := range Tried {
		options[v.Number] = Options{Program: debian.QEMU(t, v.Debian), Cache: cache, Image: drivertest.DefaultImage(t)}
		t.Run(v.Number, func(t *testing.T) {
			b, err := New(options[v.Number]).qemu(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("QEMU %s of Debian's %s: %s", b.Version, v.Debian, b.newestMachineType())
			if !strings.HasPrefix(b.Version, v.Number+".") {
				t.Errorf("Debian's %s has QEMU %s: put it into the table", v.Debian, b.Version)
			}
			contract(t, options[v.Number])
		})
	}
	for _, v := range [][2]string{{"7.2", "10.0"}, {"10.0", "11.1"}, {"10.0", "7.2"}} {
		t.Run("from "+v[0]+" to "+v[1], func(t *testing.T) {
			drivertest.Upgraded(t, suite(options[v[0]]), func(*testing.T) drivers.Driver { return New(options[v[1]]) })
		})
	}
}
