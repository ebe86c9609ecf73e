package registry

import (
	"strings"
	"testing"

	"github.com/dorykube/dory/internal/fail"
)

func TestFind(t *testing.T) {
	for _, e := range All() {
		if found, err := Find(e.Name); err != nil || found.Name != e.Name {
			t.Errorf("Find(%q) = %q, %v", e.Name, found.Name, err)
		}
	}
	for _, name := range []string{"qmeu", "docker", "QEMU", "../qemu"} {
		_, err := Find(name)
		if !fail.Is(err, fail.DriverUnknown) || !strings.Contains(fail.As(err).Remedy(), "--driver qemu") {
			t.Errorf("Find(%q) = %v, want DriverUnknown with the nearest name", name, err)
		}
	}
}

func TestCanonical(t *testing.T) {
	for name, want := range map[string]string{"kvm2": "libvirt", "kvm": "libvirt", "qemu2": "qemu", "qemu": "qemu", "auto": "auto", "x": "x"} {
		if got := Canonical(name); got != want {
			t.Errorf("Canonical(%q) = %q, want %q", name, got, want)
		}
	}
}

func TestEdits(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"qemu", "qemu", 0}, {"qmeu", "qemu", 2}, {"ssh", "", 3}, {"libvrt", "libvirt", 1}} {
		if got := edits(c.a, c.b); got != c.want {
			t.Errorf("edits(%q, %q) = %d, want %d", c.a, c.b, got, c.want)
		}
	}
}
