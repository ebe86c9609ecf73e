package qemu

import (
	"github.com/dorykube/dory/drivers"
	"github.com/dorykube/dory/internal/tried"
)

// Tried are the versions of QEMU that 'make test-qemu' runs machines and clusters with.
var Tried = []tried.Version{
	{Number: "7.2", Debian: "bookworm"},
	{Number: "10.0", Debian: "trixie"},
	{Number: "11.1", Debian: "trixie-backports"},
}

// triedFinding says whether this version, or one on each side of it, has been run.
func triedFinding(b *binary) drivers.Finding {
	evidence, remedy := tried.Judge("QEMU", b.Version, Tried)
	return drivers.Finding{Name: "qemu version", OK: remedy == "", Evidence: evidence, Remedy: remedy}
}
