//go:build vm

package libvirt

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dorykube/dory/drivers"
	"github.com/dorykube/dory/drivers/drivertest"
	"github.com/dorykube/dory/drivers/libvirt/libvirttest"
	"github.com/dorykube/dory/internal/fail"
)

func contract(t *testing.T, daemon *libvirttest.Daemon) {
	cache := t.TempDir()
	send := func(signal syscall.Signal) func(*testing.T, drivers.Status) {
		return func(t *testing.T, s drivers.Status) {
			t.Helper()
			pid := daemon.QEMU("dory-") // the suite has one machine at a time when it does this
			if pid == 0 {
				t.Fatal("no QEMU")
			}
			if err := syscall.Kill(pid, signal); err != nil {
				t.Fatal(err)
			}
		}
	}
	drivertest.Run(t, drivertest.Suite{
		New: func(t *testing.T) drivers.Driver {
			return New(Options{URI: daemon.URI, Cache: cache, SessionPool: daemon.Pool})
		},
		URI:    daemon.URI,
		Routed: daemon.Pool == "",
		Image:  drivertest.DefaultImage(t),
		Accel:  automatic,
		Kill:   send(syscall.SIGKILL),
		Halt:   send(syscall.SIGSTOP),
		Resume: send(syscall.SIGCONT),
		Damage: damageSaved,
	})
	if left := daemon.Left(); left != "" {
		t.Errorf("left behind:\n%s", left)
	}
}

func TestSystem(t *testing.T) {
	if libvirttest.Inside(t) {
		contract(t, libvirttest.System(t, libvirttest.Monolithic))
	}
}

func TestSession(t *testing.T) {
	if libvirttest.Inside(t) {
		contract(t, libvirttest.Session(t))
	}
}

// Whether KVM runs a guest is found out by running one, once; asking for it by name where it does not is an error.
func TestAccelerator(t *testing.T) {
	if !libvirttest.Inside(t) {
		return
	}
	r := newRig(t, libvirttest.SystemWithKVM(t, libvirttest.Monolithic))
	m := r.machine(1)
	m.Accel = automatic
	r.must("create", r.driver.Create(t.Context(), m))
	for range 2 {
		began := time.Now()
		status, err := r.driver.Start(t.Context(), m)
		r.must("start", err)
		t.Logf("%v: %s: %s", time.Since(began), status.Accel, status.AccelReason)
		if status.Accel != "kvm" && !strings.HasPrefix(status.AccelReason, "TCG (emulation): ") {
			t.Errorf("it runs as %+v", status)
		}
		r.must("stop", r.driver.Stop(t.Context(), m, 0))
		if status.Accel == "kvm" {
			return
		}
	}
	m.Accel = "kvm"
	_, err := r.driver.Start(t.Context(), m)
	r.fails("kvm by name", err, fail.KVMUnusable, "")
}

// damageSaved cuts off the end of what libvirt saved of a machine.
func damageSaved(t *testing.T, m drivers.Machine) {
	t.Helper()
	files, _ := filepath.Glob("/var/lib/libvirt/qemu/save/*.save")
	session, _ := filepath.Glob("/var/lib/libvirt/session/libvirt/qemu/save/*.save")
	files = append(files, session...)
	if len(files) == 0 {
		t.Fatal("nothing was saved")
	}
	for _, file := range files {
		info, err := os.Stat(file)
		if err == nil {
			err = os.Truncate(file, info.Size()/2)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}
