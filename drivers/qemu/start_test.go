//go:build linux

package qemu

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dorykube/dory/drivers"
	"github.com/dorykube/dory/internal/fail"
)

// pretender is a driver whose QEMU is the test binary, ending at once with these words.
func pretender(t *testing.T, words string) (*Driver, drivers.Machine) {
	t.Helper()
	t.Setenv(playVariable, words)
	root := t.TempDir()
	image := filepath.Join(root, "image")
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	d := New(Options{Program: os.Args[0], Cache: filepath.Join(root, "cache"), Boot: func(_, dir string) (Boot, error) {
		boot := Boot{filepath.Join(dir, "vmlinuz"), filepath.Join(dir, "initrd.img"), "quiet"}
		return boot, errors.Join(os.MkdirAll(dir, 0o700), os.WriteFile(boot.Kernel, nil, 0o600), os.WriteFile(boot.Initrd, nil, 0o600))
	}})
	d.options.canary = func(context.Context, *binary, string, choice) error { return nil }
	m := exampleMachine()
	m.Dir, m.Image, m.Bundle, m.Accel, m.Disk = filepath.Join(root, "a", "machine"), image, "", tcg, 1<<30
	return d, m
}

func TestStartTellsWhyQEMUEnded(t *testing.T) {
	const forward = `qemu: -netdev user,id=net: Could not set up host forwarding rule 'tcp:127.0.0.1:8443-:6443'`
	for words, kind := range map[string]fail.Kind{
		"qemu: something odd": fail.QEMUFailed,
		forward:               fail.PortTaken,
		"qemu: cannot set up guest memory 'mem': Cannot allocate memory":                        fail.MemoryTooMuch,
		`qemu: Failed to get "write" lock` + "\nIs another process using the image [data.img]?": fail.QEMUFailed,
		"qemu: Could not write data.img: No space left on device":                               fail.DiskTooMuch,
	} {
		t.Run(words, func(t *testing.T) {
			d, m := pretender(t, words)
			if err := d.Create(t.Context(), m); err != nil {
				t.Fatal(err)
			}
			_, err := d.Start(t.Context(), m)
			if !fail.Is(err, kind) || fail.As(err).Evidence != words {
				t.Errorf("Start: %v, evidence %q; want kind %s", err, fail.As(err).Evidence, kind.ID)
			}
			if kind.ID == fail.PortTaken.ID && !strings.Contains(err.Error(), "8443") {
				t.Errorf("the error does not name the port: %v", err)
			}
			if status, err := d.Status(t.Context(), m); err != nil || status.State != drivers.Stopped || status.Reason != "" {
				t.Errorf("afterwards: %+v, %v", status, err)
			}
			if err := d.Delete(t.Context(), m); err != nil || exists(m.Dir) {
				t.Errorf("Delete: %v, directory there: %v", err, exists(m.Dir))
			}
		})
	}
}

func TestQEMUMissing(t *testing.T) {
	d, m := pretender(t, "")
	d.options.Program = filepath.Join(t.TempDir(), "qemu")
	if err := d.Create(t.Context(), m); !fail.Is(err, fail.QEMUMissing) || exists(m.Dir) {
		t.Errorf("Create: %v, directory there: %v", err, exists(m.Dir))
	}
	if report := d.Check(t.Context()); report.Usable || report.Findings[0].Remedy == "" {
		t.Errorf("Check: %+v", report)
	}
	if err := os.WriteFile(d.options.Program, []byte("#!/bin/sh\nexit 3\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := d.Create(t.Context(), m); !fail.Is(err, fail.QEMUFailed) {
		t.Errorf("Create with a QEMU that does not work: %v", err)
	}
}

func TestProbe(t *testing.T) {
	d, _ := pretender(t, "x")
	b, err := d.qemu(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(b.Version, b.MachineTypes, b.Sandbox); got != "9.1.2[pc-q35-2.12 pc-q35-9.1 pc-q35-10.0] false" {
		t.Errorf("probe found %s", got)
	}
}

// What QEMU answers is remembered by a start, and by nothing else, until QEMU is another file.
func TestQEMUIsAskedOnce(t *testing.T) {
	d, m := pretender(t, "x")
	program := filepath.Join(t.TempDir(), "qemu")
	counter := program + ".asked"
	script := fmt.Sprintf("#!/bin/sh\necho >> %s\nexec %s \"$@\"\n", counter, os.Args[0])
	if err := os.WriteFile(program, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	d.options.Program = program
	asked := func(do func(*Driver)) int {
		t.Helper()
		os.Remove(counter)
		do(New(d.options))
		lines, _ := os.ReadFile(counter)
		return len(lines)
	}
	create := func(d *Driver) {
		if err := d.Create(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	if n := asked(func(d *Driver) { d.Check(t.Context()) }); n != 1 || exists(d.options.Cache) {
		t.Errorf("a check ran it %d times; it left something: %v", n, exists(d.options.Cache))
	}
	if n := asked(create); n != 1 {
		t.Errorf("after a check it was run %d times", n)
	}
	if n := asked(func(d *Driver) { d.Start(t.Context(), m) }); n != 2 {
		t.Errorf("a start ran it %d times", n)
	}
	if n := asked(create); n != 0 {
		t.Errorf("after a start it was run %d times", n)
	}
	if err := os.WriteFile(program, []byte(script+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	if n := asked(create); n != 1 {
		t.Errorf("changed, it was run %d times", n)
	}
}

func TestHardwareOutlivesAnUpgrade(t *testing.T) {
	m := drivers.Machine{Dir: t.TempDir()}
	dir := machineDir(m.Dir)
	b := &binary{MachineTypes: []string{"pc-q35-7.2", "pc-q35-9.1"}}
	for record, want := range map[string]string{
		`{"machineType":"pc-q35-7.2"}`: "pc-q35-7.2",
		`{"machineType":"pc-q35-2.4"}`: "pc-q35-9.1", // no longer offered
		`{garbled`:                     "pc-q35-9.1",
		``:                             "pc-q35-9.1",
	} {
		if err := os.WriteFile(dir.path(hardwareFile), []byte(record), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := hardwareOf(m, b).MachineType; got != want {
			t.Errorf("recorded %s: machine type %s, want %s", record, got, want)
		}
	}
}

func TestCreateKeepsAndGrowsTheDisk(t *testing.T) {
	d, m := pretender(t, "x")
	disk := machineDir(m.Dir).path(diskFile)
	size := func() int64 {
		info, err := os.Stat(disk)
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	for _, step := range []struct{ wish, want int64 }{{1 << 30, 1 << 30}, {1 << 30, 1 << 30}, {2 << 30, 2 << 30}, {1 << 30, 2 << 30}} {
		m.Disk = step.wish
		if err := d.Create(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		if size() != step.want {
			t.Fatalf("wished %d, got %d", step.wish, size())
		}
	}
	if info, _ := os.Stat(m.Dir); info.Mode().Perm() != 0o700 {
		t.Errorf("the directory's mode is %v", info.Mode())
	}
	if info, _ := os.Stat(disk); info.Mode().Perm() != 0o600 {
		t.Errorf("the disk's mode is %v", info.Mode())
	}
	m.Disk = 1 << 62 // more than any file system's largest file
	if err := d.Create(t.Context(), m); !fail.Is(err, fail.DiskTooMuch) || size() != 2<<30 {
		t.Errorf("Create with an impossible disk: %v, size %d", err, size())
	}
	m.Dir = filepath.Join(t.TempDir(), "new")
	if err := d.Create(t.Context(), m); !fail.Is(err, fail.DiskTooMuch) || exists(m.Dir) {
		t.Errorf("Create with an impossible disk: %v, half-made: %v", err, exists(m.Dir))
	}
}

func TestDeleteOfWrecks(t *testing.T) {
	d, m := pretender(t, "x")
	wrecks := map[string]func(dir machineDir) error{
		"nothing": func(dir machineDir) error { return os.RemoveAll(string(dir)) },
		"empty directory": func(dir machineDir) error {
			return errors.Join(os.RemoveAll(string(dir)), os.MkdirAll(string(dir), 0o700))
		},
		"garbled records": func(dir machineDir) error {
			var errs []error
			for _, name := range []string{processFile, bootFile, hardwareFile} {
				errs = append(errs, os.WriteFile(dir.path(name), []byte(`{"pid": `), 0o600))
			}
			return errors.Join(errs...)
		},
		"a record of init": func(dir machineDir) error {
			return dir.writeJSON(processFile, identity{PID: 1, Started: "0", Boot: bootID()})
		},
		"a stale socket":          func(dir machineDir) error { return staleSocket(dir) },
		"an unfinished file":      func(dir machineDir) error { return os.WriteFile(dir.path(bootFile+tempSuffix), nil, 0o600) },
		"a machine that died":     func(dir machineDir) error { return dir.writeJSON(bootFile, bootRecord{}) },
		"a socket that is a file": func(dir machineDir) error { return os.WriteFile(dir.path(socketFile), nil, 0o600) },
	}
	for name, wreck := range wrecks {
		t.Run(name, func(t *testing.T) {
			if err := d.Create(t.Context(), m); err != nil {
				t.Fatal(err)
			}
			if err := wreck(machineDir(m.Dir)); err != nil {
				t.Fatal(err)
			}
			if status, err := d.Status(t.Context(), m); err != nil || status.State != drivers.Stopped && status.State != drivers.Absent {
				t.Errorf("Status: %+v, %v", status, err)
			}
			if err := d.Stop(t.Context(), m, 0); err != nil {
				t.Errorf("Stop: %v", err)
			}
			for range 2 {
				if err := d.Delete(t.Context(), m); err != nil || exists(m.Dir) {
					t.Errorf("Delete: %v, directory there: %v", err, exists(m.Dir))
				}
			}
		})
	}
}

func staleSocket(dir machineDir) error {
	listener, err := listenSocket(dir)
	if err != nil {
		return err
	}
	return listener.Close()
}

// A socket that somebody else listens on, in silence, must neither hang a call nor be taken for the machine.
func TestForeignListener(t *testing.T) {
	d, m := pretender(t, "x")
	if err := d.Create(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	t.Chdir(m.Dir) // the whole path may be too long for a socket
	listener, err := net.Listen("unix", socketFile)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	if status, err := d.Status(t.Context(), m); err != nil || status.State != drivers.Stopped {
		t.Errorf("Status: %+v, %v", status, err)
	}
	if err := d.Delete(t.Context(), m); err != nil {
		t.Errorf("Delete: %v", err)
	}
}

func TestDeleteLeavesForeignFiles(t *testing.T) {
	d, m := pretender(t, "x")
	if err := d.Create(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	theirs := filepath.Join(m.Dir, "notes.txt")
	if err := os.WriteFile(theirs, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := d.Delete(t.Context(), m); err != nil {
		t.Error(err)
	}
	left, _ := os.ReadDir(m.Dir)
	if len(left) != 1 || left[0].Name() != "notes.txt" {
		t.Errorf("left: %v", left)
	}
}

// A QEMU whose dory was killed before it could write down the process.
func TestDeleteFindsAnOrphan(t *testing.T) {
	d, m := pretender(t, "x")
	if err := d.Create(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	orphan, decoy := play(t, m.UUID, m.Dir), play(t, m.UUID, t.TempDir())
	if status, err := d.Status(t.Context(), m); err != nil || status.State != drivers.Unknown || status.PID != orphan.Process.Pid {
		t.Errorf("Status: %+v, %v", status, err)
	}
	if _, err := d.Start(t.Context(), m); err == nil {
		t.Error("a second process was started beside one that does not answer")
	}
	if err := d.Delete(t.Context(), m); err != nil {
		t.Error(err)
	}
	if runs(orphan.Process.Pid) || !runs(decoy.Process.Pid) {
		t.Errorf("orphan runs: %v, decoy runs: %v", runs(orphan.Process.Pid), runs(decoy.Process.Pid))
	}
}

func TestCancelledCalls(t *testing.T) {
	d, m := pretender(t, "sleep") // a QEMU that never answers
	d.binary = &binary{Path: os.Args[0], MachineTypes: []string{"pc-q35-7.2"}}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := d.Create(ctx, m); !errors.Is(err, context.Canceled) || exists(m.Dir) {
		t.Errorf("Create: %v, directory there: %v", err, exists(m.Dir))
	}
	if err := d.Create(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	// In the middle of a start, while QEMU does not answer yet.
	ctx, cancel = context.WithCancel(t.Context())
	go func() {
		for !exists(machineDir(m.Dir).path(processFile)) {
			if ctx.Err() != nil {
				return
			}
		}
		cancel()
	}()
	if _, err := d.Start(ctx, m); !errors.Is(err, context.Canceled) {
		t.Errorf("Start: %v", err)
	}
	if id, err := findProcess(m); err == nil {
		t.Errorf("an interrupted start left process %d", id.PID)
	}
	if status, err := d.Status(t.Context(), m); err != nil || status.State != drivers.Stopped || status.Reason != "" {
		t.Errorf("Status: %+v, %v", status, err)
	}
}
