package qemu

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/dorykube/dory/drivers"
)

// Fingerprint names, as text, everything of QEMU's that shapes the guest. What is the machine's alone (name, UUID, key,
// host ports, paths) is left out: forks differ in it.
func (d *Driver) Fingerprint(ctx context.Context, m drivers.Machine) (string, error) {
	b, err := d.qemu(ctx)
	if err != nil {
		return "", err
	}
	chooser, err := d.chooserFor(b, m.Image)
	if err != nil {
		return "", err
	}
	chosen, err := chooser.choose(ctx, wishOf(m))
	if err != nil {
		return "", err
	}
	return fingerprint(b, b.newestMachineType(), chosen, hostCPU(), m), nil
}

func fingerprint(b *binary, machineType string, chosen choice, hostCPU string, m drivers.Machine) string {
	general := drivers.Machine{
		Name: "machine", UUID: "00000000-0000-0000-0000-000000000000",
		CPUs: m.CPUs, Memory: m.Memory, Disk: m.Disk, Ephemeral: m.Ephemeral, Image: "image",
	}
	if m.Bundle != "" {
		general.Bundle = "bundle"
	}
	args := arguments(setup{Machine: general, MachineType: machineType, choice: chosen, Sandbox: b.Sandbox}, socketFD)
	lines := []string{
		"qemu " + b.identity(),
		"cpu " + hostCPU, // also under emulation, where the guest's TSC ticks as fast as the host's
		fmt.Sprintf("disk %d", m.Disk),
	}
	text := strings.Join(append(lines, args...), "\n") + "\n"
	// No guest sees how the control socket is asked for, nor how much translated code is kept; machines that older dorys saved
	// go on only if nothing else changed.
	return strings.NewReplacer("-qmp\nchardev:qmp\n", "-mon\nchardev=qmp,mode=control\n", translations(m.Memory, false), ",tb-size=512").Replace(text)
}

// snapshotKey is the fingerprint of a machine as it runs, in short: a snapshot is loaded only where it is the same.
func snapshotKey(b *binary, machineType string, chosen choice, m drivers.Machine) string {
	sum := sha256.Sum256([]byte(fingerprint(b, machineType, chosen, hostCPU(), m)))
	return hex.EncodeToString(sum[:])
}
