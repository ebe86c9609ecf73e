package qemu

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"time"
)

// canaryLimit is how long a real accelerator may take for what takes it well under a second.
const canaryLimit = 5 * time.Second

// canaryMarker is what the kernel says when it has brought up processor, memory, timer and interrupts, unpacked the
// initrd, and hands over to it.
const canaryMarker = "Run /init as init process"

// bootCanary boots kernel and initrd on the accelerator until the kernel has come up, and throws the guest away. The
// error says what was seen instead.
func bootCanary(ctx context.Context, program, accel, kernel, initrd string, limit time.Duration) error {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, errCanaryLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, canaryArguments(accel, kernel, initrd)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	console, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	came, last := AwaitKernel(console)
	// Before cancel: after it, the cause would be nobody's.
	cause := context.Cause(ctx)
	cancel()
	cmd.Wait()
	if came {
		return nil
	}
	if last == "" {
		last = "nothing"
	}
	evidence := fmt.Sprintf("the guest's console said last: %s", last)
	if said := tail(stderr.String()); said != "" {
		evidence += "\nQEMU said: " + said
	}
	switch {
	case errors.Is(cause, errCanaryLimit):
		return fmt.Errorf("no guest came up within %s\n%s", limit, evidence)
	case cause != nil:
		return cause
	default:
		return fmt.Errorf("QEMU ended before the guest came up\n%s", evidence)
	}
}

var errCanaryLimit = errors.New("limit")

// canaryArguments is the smallest machine that exercises the accelerator as a real one does.
func canaryArguments(accel, kernel, initrd string) []string {
	return []string{
		"-no-user-config", "-nodefaults", "-display", "none",
		"-machine", "q35,smm=off,vmport=off,sata=off,smbus=off,hpet=off",
		"-accel", accelOptions(accel, false), "-cpu", cpuModel(accel), "-smp", "2", "-m", "512",
		"-serial", "stdio", "-no-reboot",
		"-kernel", kernel, "-initrd", initrd,
		"-append", CanaryCmdline,
	}
}
