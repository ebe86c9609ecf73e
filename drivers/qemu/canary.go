package qemu

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"time"

	"github.com/dorykube/dory/drivers"
)

// canaryMarker is what the kernel says when it has brought up processor, memory, timer and interrupts, unpacked the
// initrd, and hands over to it.
const canaryMarker = "Run /init as init process"

// CanaryLimits are how long a canary's guest may say nothing, and how long it may take to come up. A real accelerator takes well
// under a second; emulation three, on an idle computer, with a message at least every second.
func CanaryLimits(accel string) (silence, all time.Duration) {
	if accel == tcg {
		return 30 * time.Second, 3 * time.Minute
	}
	return 5 * time.Second, 5 * time.Second
}

// The causes that end a canary.
var (
	errSilent  = errors.New("the guest has said nothing for too long")
	errTooLong = errors.New("the guest has not come up in time")
)

// Listen returns a context that ends when the canary's guest has said nothing, or has not come up, for too long. heard is to be
// called with every word.
func Listen(ctx context.Context, accel string) (limited context.Context, heard, stop func()) {
	silence, all := CanaryLimits(accel)
	limited, cancel := context.WithCancelCause(ctx)
	quiet := time.AfterFunc(silence, func() { cancel(fmt.Errorf("%w (%v)", errSilent, silence)) })
	late := time.AfterFunc(all, func() { cancel(fmt.Errorf("%w (%v)", errTooLong, all)) })
	return limited, func() { quiet.Reset(silence) }, func() { quiet.Stop(); late.Stop(); cancel(nil) }
}

// AwaitKernel reads a canary's console until its kernel has come up. heard is called with each line; last is the last one.
func AwaitKernel(console io.Reader, heard func()) (came bool, last string) {
	lines := bufio.NewScanner(console)
	for !came && lines.Scan() {
		heard()
		if line := strings.TrimSpace(lines.Text()); line != "" {
			last = line
		}
		came = strings.Contains(last, canaryMarker)
	}
	return came, last
}

// CanaryError is why a canary's guest did not come up. cause is that of the context of Listen, or nil; last is what the console
// said last.
func CanaryError(ctx context.Context, last, otherwise string) error {
	cause := context.Cause(ctx)
	if cause != nil && !errors.Is(cause, errSilent) && !errors.Is(cause, errTooLong) {
		return cause
	}
	if cause == nil {
		cause = errors.New(otherwise)
	}
	if last == "" {
		last = "nothing"
	}
	return fmt.Errorf("%w; its console said last: %s", cause, last)
}

// canary boots the node image's kernel as a machine of this driver does, until the kernel has come up, and throws the guest
// away. The error says what was seen instead.
func (d *Driver) canary(ctx context.Context, b *binary, image string, c choice) error {
	boot, err := d.takeOutKernel(image)
	if err != nil {
		return err
	}
	return bootCanary(ctx, b.Path, canarySetup(b, boot, c))
}

func bootCanary(ctx context.Context, program string, s setup) error {
	ctx, heard, stop := Listen(ctx, s.Accel)
	defer stop()
	cmd := exec.CommandContext(ctx, program, canaryArguments(s)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	console, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	came, last := AwaitKernel(console, heard)
	var failure error
	if !came { // asked before stop: after it, the cause would be nobody's
		failure = CanaryError(ctx, last, "QEMU ended before the guest came up")
	}
	stop()
	cmd.Wait()
	if said := tail(stderr.String()); failure != nil && said != "" {
		failure = fmt.Errorf("%w\nQEMU said: %s", failure, said)
	}
	return failure
}

// canarySetup is the smallest machine that has all that a guest needs to come up as in a real one: several processors among it.
func canarySetup(b *binary, boot Boot, c choice) setup {
	return setup{Machine: drivers.Machine{CPUs: 2, Memory: 512 << 20}, MachineType: b.newestMachineType(), choice: c, Sandbox: b.Sandbox, Boot: boot}
}

// canaryArguments are a machine's without disks, network and control socket.
func canaryArguments(s setup) []string {
	args := []string{"-no-user-config", "-nodefaults", "-display", "none"}
	args = append(args, board(s)...)
	return append(args,
		"-serial", "stdio", "-no-reboot",
		"-kernel", s.Boot.Kernel, "-initrd", s.Boot.Initrd, "-append", CanaryCmdline(s.Boot.Cmdline, s.Accel))
}
