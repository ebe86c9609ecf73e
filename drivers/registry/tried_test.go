package registry

import (
	"os"
	"strings"
	"testing"

	"github.com/dorykube/dory/drivers/libvirt"
	"github.com/dorykube/dory/drivers/qemu"
	"github.com/dorykube/dory/internal/tried"
)

// What users read in docs/platforms.md, and are told by 'dory doctor', is what 'make test-qemu' runs.
func TestTriedIsDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/platforms.md")
	if err != nil {
		t.Fatal(err)
	}
	for name, versions := range map[string][]tried.Version{"QEMU": qemu.Tried, "libvirt": libvirt.Tried} {
		if len(versions) < 3 {
			t.Errorf("%s was tried with %v only", name, versions)
		}
		for _, v := range versions {
			if row := "| " + name + " " + v.Number + " | " + v.Debian + " |"; !strings.Contains(string(text), row) {
				t.Errorf("docs/platforms.md lacks %q", row)
			}
		}
	}
}
