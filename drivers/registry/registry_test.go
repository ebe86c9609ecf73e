package registry

import (
	"strings"
	"testing"

	"github.com/dorykube/dory/internal/fail"
)

func TestChoose(t *testing.T) {
	for _, name := range []string{"", "auto", "qemu"} {
		if e, err := Choose(name); err != nil || e.Name != "qemu" {
			t.Errorf("Choose(%q) = %q, %v", name, e.Name, err)
		}
	}
	for _, name := range []string{"qmeu", "kvm2", "docker", "QEMU", "../qemu"} {
		_, err := Choose(name)
		if !fail.Is(err, fail.DriverUnknown) || !strings.Contains(fail.As(err).Remedy(), "--driver qemu") {
			t.Errorf("Choose(%q) = %v, want DriverUnknown with the nearest name", name, err)
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
