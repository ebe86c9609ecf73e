package qemu

import (
	"context"
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/dorykube/dory/drivers"
)

// What a driver shares with this one whose QEMU is somebody else's to start.

// Accelerators are chosen here for a QEMU that this driver does not start itself.
type Accelerators struct {
	// Own is that of the computer's operating system; Missing is why it is not offered there, empty if it is.
	Own, Missing string
	// Hypervisor is what runs the guest, for people.
	Hypervisor string
	// Canary boots a guest on an accelerator and a processor model. An error says that it did not come up, with evidence: see
	// Listen and AwaitKernel.
	Canary func(ctx context.Context, accel, model string) error
	// Cache is the directory for the canary's answers, and Key what they are good for, beside one boot of this computer.
	Cache, Key string
}

// Choice is what runs a machine: an accelerator and a processor model, and why it is these, as a sentence.
type Choice struct{ Accel, Model, Reason string }

// Choose returns the choice for what a machine asks for. Only auto ever falls back.
func (a Accelerators) Choose(ctx context.Context, m drivers.Machine) (Choice, error) {
	c := chooser{
		host:       a.Own,
		hypervisor: a.Hypervisor,
		binary:     &binary{Accels: []string{a.Own, tcg}},
		precheck:   func() (string, string) { return a.Missing, "" }, // other rights count than this user's, or another computer
		canary:     func(ctx context.Context, c choice) error { return a.Canary(ctx, c.Accel, c.Model) },
		memory:     &canaryMemory{dir: a.Cache, key: bootID() + "\n" + a.Key},
	}
	chosen, err := c.choose(ctx, wishOf(m))
	return Choice(chosen), err
}

// ModelOf is the processor model of a choice that was written down, perhaps by an older dory, which wrote none.
func ModelOf(accel, model string) string { return choice{Accel: accel, Model: model}.model() }

// CanaryCmdline is the kernel's command line of a canary: a machine's, but for what is the node image's interface, with every
// message from the first on. A kernel that finds no disks would wait for them; the canary has ended by then.
func CanaryCmdline(image, accel string) string {
	return strings.TrimSpace(image) + " console=ttyS0" + emulationWords(accel) + " earlyprintk=ttyS0 ignore_loglevel panic=-1"
}

// UserNetwork is what a machine in QEMU's user-mode network is told of it, as the node image's dory.ip. It is fixed: there
// is no DHCP to wait for.
const UserNetwork = "10.0.2.15/24,10.0.2.2,10.0.2.3"

// KernelCmdline is the kernel's command line of a machine. image are the image's own words; what follows them is the node
// image's interface. network is its dory.ip.
func KernelCmdline(image, accel string, m drivers.Machine, network string) (string, error) {
	line := strings.TrimSpace(image) + " console=ttyS0" + emulationWords(accel) +
		" dory.hostname=" + m.Name +
		" dory.key=" + base64.StdEncoding.EncodeToString([]byte(m.AuthorizedKey)) +
		" dory.ip=" + network
	if len(line) > longestCmdline {
		return line, fmt.Errorf("its SSH key makes the kernel's command line too long (%d)", len(line))
	}
	return line, nil
}

// emulationWords are the kernel's, of a machine whose processors are emulated.
func emulationWords(accel string) string {
	if accel != tcg {
		return ""
	}
	words := ""
	// Emulated processors share one TSC, but the kernel does not believe it and takes the ACPI timer: 1.5 us for
	// each look at the clock instead of 0.2 us, 3.3 us with a HPET. Go programs look often.
	words += " tsc=reliable"
	// On a busy host the emulated timer may not tick ten times while the kernel waits for that: it then distrusts
	// its interrupt controller, and in the end panics. Under KVM the kernel leaves the check out by itself.
	words += " no_timer_check"
	// An emulated processor does not speculate, but pays for every retpoline.
	words += " mitigations=off"
	// Nor does it switch quickly between threads: it forgets its translations of addresses each time. Go wakes a thread
	// for each processor that it may use; what runs on the node uses one, and idles at 0.86 of the cost.
	words += " systemd.setenv=GOMAXPROCS=1"
	return words
}

// HostForwards are the options of a user-mode network for the forwards; HostPorts reads QEMU's answer to "info usernet"
// into the forwards with the ports that are in use, and RefusedPort what it wrote about a port it could not bind: 0: nothing.
func HostForwards(forwards []drivers.Forward) string { return hostForwards(forwards) }

// HostPorts: see HostForwards.
func HostPorts(forwards []drivers.Forward, usernet string) []drivers.Forward {
	return bound(forwards, parseUsernet(usernet))
}

// RefusedPort: see HostForwards.
func RefusedPort(stderr string) int { return refusedPort(stderr) }

// MAC derives the address of a machine's network card from its UUID.
func MAC(uuid string) string { return macAddress(uuid) }
