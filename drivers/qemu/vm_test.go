//go:build vm

package qemu

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dorykube/dory/drivers"
	"github.com/dorykube/dory/drivers/drivertest"
	"github.com/dorykube/dory/internal/fail"
)

func realOptions(t *testing.T) Options {
	t.Helper()
	return Options{Cache: t.TempDir(), Image: drivertest.DefaultImage(t)}
}

func realDriver(t *testing.T) *Driver {
	t.Helper()
	return New(realOptions(t))
}

func TestContract(t *testing.T) { contract(t, realOptions(t)) }

// contract runs the suite with a QEMU.
func contract(t *testing.T, o Options) {
	drivertest.Run(t, suite(o))
}

// suite is what the contract is told of a driver with a QEMU.
func suite(o Options) drivertest.Suite {
	send := func(signal syscall.Signal) func(*testing.T, drivers.Status) {
		return func(t *testing.T, s drivers.Status) {
			t.Helper()
			if s.PID <= 1 {
				t.Fatalf("no process: %+v", s)
			}
			if err := syscall.Kill(s.PID, signal); err != nil {
				t.Fatal(err)
			}
		}
	}
	return drivertest.Suite{
		New:    func(t *testing.T) drivers.Driver { return New(o) },
		Image:  o.Image,
		Accel:  automatic,
		Kill:   send(syscall.SIGKILL),
		Halt:   send(syscall.SIGSTOP),
		Resume: send(syscall.SIGCONT),
	}
}

// The canary tells an accelerator that runs a guest from one that does not, within its limit, whatever else speaks for
// the accelerator.
func TestCanary(t *testing.T) {
	d := realDriver(t)
	b, err := d.qemu(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, model := range models(tcg) {
		began := time.Now()
		if err := d.canary(t.Context(), b, d.options.Image, choice{Accel: tcg, Model: model}); err != nil {
			t.Errorf("no guest boots under emulation on %s: %v", model, err)
		}
		t.Logf("the canary on %s took %v", model, time.Since(began))
	}
	began := time.Now()
	err = d.canary(t.Context(), b, d.options.Image, choice{Accel: hostAccel, Model: models(hostAccel)[0]})
	took := time.Since(began)
	t.Logf("the canary on %s took %v: %v", hostAccel, took, err)
	if _, limit := CanaryLimits(hostAccel); took > limit+2*time.Second {
		t.Errorf("the canary took %v, its limit is %v", took, limit)
	}
	if obstacle, _ := precheck(); obstacle != "" && err == nil {
		t.Errorf("a guest boots although %s", obstacle)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := d.canary(ctx, b, d.options.Image, choice{Accel: tcg, Model: emulatedModel}); err == nil {
		t.Error("an interrupted canary gives a good answer")
	}
}

// On a computer where the accelerator does not work, asking for it by name is an error with evidence; auto falls back.
func TestAcceleratorThatDoesNotRun(t *testing.T) {
	d := realDriver(t)
	c, err := d.chooserFor(must(d.qemu(t.Context())), d.options.Image)
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.choose(t.Context(), wish{})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("auto: %+v", got)
	byName, err := c.choose(t.Context(), wish{accel: hostAccel})
	if got.Accel != tcg { // it works here, and so it must when it is asked for
		if err != nil || byName.Accel != hostAccel {
			t.Errorf("%s by name: %+v, %v", hostAccel, byName, err)
		}
		return
	}
	if !fail.Is(err, fail.KVMUnusable) || fail.As(err).Evidence == "" {
		t.Errorf("%s by name: %v", hostAccel, err)
	}
	t.Logf("%s: %v\n%s\n%s", hostAccel, err, fail.As(err).Evidence, fail.As(err).Remedy())
}

// QEMU's own words for what goes wrong are understood.
func TestRealQEMUThatDoesNotStart(t *testing.T) {
	d := realDriver(t)
	m := exampleMachine()
	m.Dir, m.Image, m.Bundle, m.Accel, m.Disk = filepath.Join(t.TempDir(), "m"), d.options.Image, "", tcg, 1<<30
	m.Forwards = nil
	t.Cleanup(func() { d.Delete(context.Background(), m) })
	if err := d.Create(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	greedy := m
	greedy.Memory = 512 << 30
	if _, err := d.Start(t.Context(), greedy); !fail.Is(err, fail.MemoryTooMuch) {
		t.Errorf("512 GiB of memory: %v\n%s", err, fail.As(err).Evidence)
	}
	if _, err := d.Start(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	// dory was killed before it wrote the process down: it is found all the same.
	before := must(findProcess(m))
	started := must(d.Status(t.Context(), m))
	dir := machineDir(m.Dir)
	if err := errors.Join(removeFile(dir.path(processFile)), removeFile(dir.path(bootFile))); err != nil {
		t.Fatal(err)
	}
	if now, err := d.Start(t.Context(), m); err != nil || now.State != drivers.Running || now.PID != started.PID {
		t.Errorf("start beside an orphan: %+v, %v", now, err)
	}
	// Another machine that claims the same disk.
	twin := m
	twin.UUID = someUUID
	b := must(d.qemu(t.Context()))
	s, err := d.prepare(t.Context(), b, twin)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.boot(t.Context(), b, s); err == nil || !strings.Contains(err.Error(), "another process uses its disk") {
		t.Errorf("two machines on one disk: %v", err)
	}
	if now, err := findProcess(m); err != nil || now != before {
		t.Errorf("the first machine is gone: %v", err)
	}
	// A deaf machine, still booting and then halted by a signal, ends when the grace is over.
	if err := syscall.Kill(before.PID, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := d.Stop(t.Context(), m, time.Second); err != nil || time.Since(began) > 5*time.Second {
		t.Errorf("stop of a halted machine: %v after %v", err, time.Since(began))
	}
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

// A dory that is killed while it saves or resumes leaves a QEMU that waits: the next start mends it.
func TestKilledDory(t *testing.T) {
	d := realDriver(t)
	m := exampleMachine()
	m.Dir, m.Image, m.Bundle, m.Accel, m.Disk, m.Memory = filepath.Join(t.TempDir(), "m"), d.options.Image, "", tcg, 1<<30, 256<<20
	m.Forwards = nil
	t.Cleanup(func() { d.Delete(context.Background(), m) })
	if err := d.Create(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	must(d.Start(t.Context(), m))
	// Not killed, but without room on the host's disk, in the middle or at the end: the machine goes on.
	full := func(int64, []byte) error { return syscall.ENOSPC }
	for range 2 {
		if err := d.writeOut(t.Context(), m, full, func([]byte) error { return syscall.ENOSPC }); !isNoSpace(err) {
			t.Errorf("save on a full disk: %v", err)
		}
		if status := must(d.Status(t.Context(), m)); status.State != drivers.Running {
			t.Errorf("a machine that could not be saved is %+v", status)
		}
		full = func(int64, []byte) error { return nil }
	}
	// While it saves: everything is written, and QEMU has not been told to end.
	saved := machineDir(m.Dir).saved()
	var s snapshot
	if err := d.writeMemory(t.Context(), m, saved, &s); err != nil {
		t.Fatal(err)
	}
	if status := must(d.Status(t.Context(), m)); status.State != drivers.Paused || status.Reason == "" {
		t.Errorf("a machine that was saved halfway is %+v", status)
	}
	if status := must(d.Start(t.Context(), m)); status.State != drivers.Running || status.Resumed || saved.exist() {
		t.Errorf("a machine that was saved halfway starts as %+v, files left: %v", status, saved.exist())
	}
	// After QEMU has ended, and before the description was written.
	if err := d.Save(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	if err := removeFile(saved.dir.path(saved.meta)); err != nil {
		t.Fatal(err)
	}
	if status := must(d.Start(t.Context(), m)); status.Resumed || !strings.Contains(status.NotResumed, "interrupted") || saved.exist() {
		t.Errorf("a machine without a description starts as %+v, files left: %v", status, saved.exist())
	}
	killedWhileItResumes(t, d, m)
}

// QEMU waits for what to load.
func killedWhileItResumes(t *testing.T, d *Driver, m drivers.Machine) {
	saved := machineDir(m.Dir).saved()
	if err := d.Save(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	b := must(d.qemu(t.Context()))
	waiting := must(d.setup(b, m, choice{Accel: tcg}))
	waiting.Load, waiting.Memory = &snapshot{}, savedMemory
	cmd, done, err := machineDir(m.Dir).spawn(b, waiting)
	if err != nil {
		t.Fatal(err)
	}
	if status := must(d.Status(t.Context(), m)); status.State != drivers.Unknown || status.Reason != loadingReason {
		t.Errorf("a machine that waits is %+v", status)
	}
	if status := must(d.Start(t.Context(), m)); !status.Resumed || status.PID == cmd.Process.Pid || saved.exist() {
		t.Errorf("a machine that was resumed halfway starts as %+v, files left: %v", status, saved.exist())
	}
	<-done
}
