package libvirt

import (
	"github.com/dorykube/dory/drivers"
	"github.com/dorykube/dory/internal/tried"
)

// Tried are the versions of libvirt that 'make test-qemu' runs machines with.
var Tried = []tried.Version{
	{Number: "9.0", Debian: "bookworm"},
	{Number: "11.3", Debian: "trixie"},
	{Number: "12.9", Debian: "trixie-backports"},
}

// triedFinding says whether this version, or one on each side of it, has been run.
func triedFinding(version string) drivers.Finding {
	evidence, remedy := tried.Judge("libvirt", version, Tried)
	return drivers.Finding{Name: "libvirt version", OK: remedy == "", Evidence: evidence, Remedy: remedy}
}
