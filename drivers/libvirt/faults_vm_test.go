//go:build vm

package libvirt

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
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

// rig is a driver and a daemon, and machines that need not get as far as SSH.
type rig struct {
	*testing.T
	daemon *libvirttest.Daemon
	driver *Driver
}

func newRig(t *testing.T, daemon *libvirttest.Daemon) *rig {
	return &rig{t, daemon, New(Options{URI: daemon.URI, Cache: t.TempDir(), SessionPool: daemon.Pool})}
}

// machine describes one; nothing of it exists yet.
func (r *rig) machine(n int) drivers.Machine {
	r.Helper()
	m := drivers.Machine{Name: fmt.Sprintf("m%d", n), UUID: fmt.Sprintf("6d1b9f4e-4444-4000-8000-%012d", n), Dir: filepath.Join(r.TempDir(), "m"),
		CPUs: 2, Memory: 512 << 20, Disk: 1 << 30, Image: drivertest.DefaultImage(r.T), Accel: "tcg", URI: r.daemon.URI, AuthorizedKey: "ssh-ed25519 AAAA x",
		Forwards: []drivers.Forward{{Name: "ssh", Guest: 22}}}
	m.UUID = fmt.Sprintf("%08d%s", n, m.UUID[8:]) // the first part is in its objects' names
	r.Cleanup(func() { r.driver.Delete(context.Background(), m) })
	return m
}

func (r *rig) must(doing string, err error) {
	r.Helper()
	if err != nil {
		r.Fatalf("%s: %v\n%s", doing, err, fail.As(err).Evidence)
	}
}

func (r *rig) running(n int) drivers.Machine {
	r.Helper()
	m := r.machine(n)
	r.must("create", r.driver.Create(r.Context(), m))
	_, err := r.driver.Start(r.Context(), m)
	r.must("start", err)
	return m
}

func (r *rig) is(m drivers.Machine, want drivers.State) drivers.Status {
	r.Helper()
	status, err := r.driver.Status(r.Context(), m)
	r.must("status", err)
	if status.State != want {
		r.Fatalf("the machine is %s (%s), want %s", status.State, status.Reason, want)
	}
	return status
}

// fails checks that an error is of the kind, and says something to go by.
func (r *rig) fails(what string, err error, kind fail.Kind, words string) {
	r.Helper()
	if err == nil {
		r.Errorf("%s succeeds, want %s", what, kind.ID)
		return
	}
	r.Logf("%s: %v\n\t%s\n\t%s", what, err, fail.As(err).Evidence, fail.As(err).Remedy())
	if !fail.Is(err, kind) || !strings.Contains(err.Error()+fail.As(err).Evidence, words) {
		r.Errorf("%s: %v, want %s with %q", what, err, kind.ID, words)
	}
}

func (r *rig) shell(command string) {
	r.Helper()
	if out, err := exec.Command("sh", "-c", command).CombinedOutput(); err != nil {
		r.Fatalf("%s: %v: %s", command, err, out)
	}
}

// define gives libvirt something that is not dory's.
func (r *rig) define(verb, text string) {
	r.Helper()
	path := filepath.Join(r.TempDir(), "x.xml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		r.Fatal(err)
	}
	r.daemon.Virsh(verb, path)
}

func TestFaults(t *testing.T) {
	if !libvirttest.Inside(t) {
		return
	}
	daemon := libvirttest.System(t, libvirttest.Monolithic)
	for _, c := range []struct {
		name string
		f    func(*rig)
	}{
		{"the canary boots, and one that cannot is told from it", canaryBoots},
		{"the pool's name is taken", poolTaken},
		{"the domain's name is taken", domainTaken},
		{"a domain of its UUID is not dory's", uuidTaken},
		{"the network's name is taken", networkTaken},
		{"no free subnet", noSubnet},
		{"dnsmasq fails", dnsmasqFails},
		{"no space in the pool", noSpaceInPool},
		{"undefined behind our back", undefined},
		{"found by its mark", foundByMark},
		{"reached over SSH", overSSH},
		{"the daemon is restarted", restarted},
		{"the daemon is killed in the middle", killedInTheMiddle},
		{"the daemon hangs", hangs},
		{"the daemon is gone", isGone},
	} {
		t.Run(c.name, func(t *testing.T) { c.f(newRig(t, daemon)) })
	}
}

func canaryBoots(r *rig) {
	m := r.machine(1)
	r.must("create", r.driver.Create(r.Context(), m))
	from, err := r.driver.findMedia(r.Context(), m)
	r.must("find the media", err)
	try := func(from source) error {
		return r.driver.do(r.Context(), m.URI, "try", time.Minute, func(c *conversation) error {
			return r.driver.canary(r.Context(), c, m, from, "tcg", "max,erms=off,fsrm=off,la57=off")
		})
	}
	r.must("canary", try(from))
	from.Kernel = from.Image // boots nothing
	if err := try(from); err == nil {
		r.Error("what is no kernel boots")
	} else {
		r.Logf("%v", err)
	}
	if list := r.daemon.Virsh("list", "--all", "--name"); strings.Contains(list, "canary") {
		r.Errorf("left: %s", list)
	}
}

func poolTaken(r *rig) {
	r.define("pool-define", `<pool type="dir"><name>dory</name><target><path>/var/lib/libvirt/images</path></target></pool>`)
	defer r.daemon.Virsh("pool-undefine", "dory")
	m := r.machine(2)
	r.fails("create", r.driver.Create(r.Context(), m), fail.LibvirtTaken, "/var/lib/libvirt/images")
	if report := r.driver.Check(r.Context()); report.Usable || !fail.Is(report.Err, fail.LibvirtTaken) {
		r.Errorf("check: %+v", report)
	}
}

const foreignDomain = `<domain type="qemu"><name>%s</name>%s<memory>65536</memory><os><type arch="x86_64">hvm</type></os></domain>`

func domainTaken(r *rig) {
	m := r.machine(3)
	name := markOf(m).Object()
	r.define("define", fmt.Sprintf(foreignDomain, name, ""))
	defer r.daemon.Virsh("undefine", name)
	r.fails("create", r.driver.Create(r.Context(), m), fail.LibvirtTaken, name)
	r.must("delete", r.driver.Delete(r.Context(), m))
	if !strings.Contains(r.daemon.Virsh("list", "--all"), name) {
		r.Error("somebody else's domain is gone")
	}
}

func uuidTaken(r *rig) {
	m := r.machine(4)
	r.define("define", fmt.Sprintf(foreignDomain, "theirs", "<uuid>"+m.UUID+"</uuid>"))
	defer r.daemon.Virsh("undefine", "theirs")
	r.fails("create", r.driver.Create(r.Context(), m), fail.LibvirtTaken, "theirs")
	r.fails("delete", r.driver.Delete(r.Context(), m), fail.LibvirtTaken, "theirs")
	r.fails("stop", r.driver.Stop(r.Context(), m, 0), fail.LibvirtTaken, "theirs")
}

func networkTaken(r *rig) {
	m := r.machine(5)
	name := markOf(m).Object()
	r.define("net-define", `<network><name>`+name+`</name></network>`)
	defer r.daemon.Virsh("net-undefine", name)
	r.must("create", r.driver.Create(r.Context(), m))
	_, err := r.driver.Start(r.Context(), m)
	r.fails("start", err, fail.LibvirtTaken, name)
	r.must("delete", r.driver.Delete(r.Context(), m))
	if !strings.Contains(r.daemon.Virsh("net-list", "--all"), name) {
		r.Error("somebody else's network is gone")
	}
}

func noSubnet(r *rig) {
	for _, route := range []string{"192.168.0.0/16", "172.16.0.0/12"} {
		r.shell("ip route add " + route + " dev lo")
		defer r.shell("ip route del " + route + " dev lo")
	}
	m := r.machine(6)
	r.must("create", r.driver.Create(r.Context(), m))
	_, err := r.driver.Start(r.Context(), m)
	r.fails("start", err, fail.NoSubnet, "192.168.0.0/16")
}

func dnsmasqFails(r *rig) {
	r.shell("mount --bind /bin/false /usr/sbin/dnsmasq")
	defer r.shell("umount /usr/sbin/dnsmasq")
	m := r.machine(7)
	r.must("create", r.driver.Create(r.Context(), m))
	_, err := r.driver.Start(r.Context(), m)
	r.fails("start", err, fail.NetworkFailed, "dnsmasq")
}

func noSpaceInPool(r *rig) {
	r.shell("mkdir -p " + systemPool + " && mount -t tmpfs -o size=16m tmpfs " + systemPool)
	m := r.machine(8)
	r.fails("create", r.driver.Create(r.Context(), m), fail.DiskTooMuch, "space")
	r.must("delete", r.driver.Delete(r.Context(), m))
	r.shell("umount " + systemPool)
	r.must("create, with space", r.driver.Create(r.Context(), m))
}

func undefined(r *rig) {
	m := r.running(9)
	r.daemon.Virsh("destroy", markOf(m).Object())
	if status := r.is(m, drivers.Stopped); status.Reason == "" {
		r.Error("it ended for no reason")
	}
	r.daemon.Virsh("undefine", markOf(m).Object())
	r.is(m, drivers.Absent)
	r.daemon.Virsh("pool-destroy", poolName) // as after a restart of the computer
	r.daemon.Virsh("net-destroy", markOf(m).Object())
	if _, err := r.driver.Start(r.Context(), m); err == nil {
		r.Error("what is not there starts")
	}
	console, err := r.driver.Console(r.Context(), m)
	if r.must("console", err); console.Close() != nil {
		r.Error("the console cannot be closed")
	}
	r.daemon.Virsh("pool-destroy", poolName)
	r.must("create again", r.driver.Create(r.Context(), m)) // its disk is still there
	_, err = r.driver.Start(r.Context(), m)
	r.must("start again", err)
	r.is(m, drivers.Running)
	r.daemon.Virsh("net-destroy", markOf(m).Object())
	r.daemon.Virsh("net-undefine", markOf(m).Object())
	if status := r.is(m, drivers.Unknown); !strings.Contains(status.Reason, "network") {
		r.Errorf("a machine without a network: %+v", status)
	}
	r.must("delete", r.driver.Delete(r.Context(), m))
}

func foundByMark(r *rig) {
	m := r.running(10)
	found, err := r.driver.Owned(r.Context(), m.Dir)
	r.must("look for it", err)
	if len(found) != 1 || found[0].UUID != m.UUID || found[0].Name != m.Name {
		r.Fatalf("found %+v", found)
	}
	if below, err := r.driver.Owned(r.Context(), filepath.Dir(m.Dir)); err != nil || len(below) != 1 {
		r.Errorf("found %+v, %v below", below, err)
	}
	if others, err := r.driver.Owned(r.Context(), m.Dir+"2"); err != nil || len(others) != 0 {
		r.Errorf("found %+v, %v", others, err)
	}
	r.must("delete", r.driver.Delete(r.Context(), found[0]))
	if left := r.daemon.Left(); left != "" {
		r.Errorf("left behind:\n%s", left)
	}
}

func restarted(r *rig) {
	m := r.running(11)
	r.daemon.Stop(syscall.SIGTERM)
	r.daemon.Start()
	r.is(m, drivers.Running)
	r.must("pause", r.driver.Pause(r.Context(), m))
	r.is(m, drivers.Paused)
	r.must("save", r.driver.Unpause(r.Context(), m))
	r.must("save", r.driver.Save(r.Context(), m))
	r.daemon.Stop(syscall.SIGTERM)
	r.daemon.Start()
	if status := r.is(m, drivers.Stopped); status.Reason != "" {
		r.Errorf("a saved machine died of %q", status.Reason)
	}
	status, err := r.driver.Start(r.Context(), m)
	if r.must("start", err); !status.Resumed {
		r.Errorf("it was not resumed: %+v", status)
	}
	r.must("stop", r.driver.Stop(r.Context(), m, 0))
	r.must("delete", r.driver.Delete(r.Context(), m))
}

// killedInTheMiddle: while something is done, at several moments, the daemon is killed and started again.
func killedInTheMiddle(r *rig) {
	m := r.machine(12)
	for i, after := range []time.Duration{0, 20, 60, 150, 400} {
		again := make(chan struct{})
		go func() {
			defer close(again)
			time.Sleep(after * time.Millisecond)
			r.daemon.Stop(syscall.SIGKILL)
			r.daemon.Start()
		}()
		err := r.driver.Create(r.Context(), m)
		if err == nil {
			_, err = r.driver.Start(r.Context(), m)
		}
		<-again
		if err == nil {
			r.is(m, drivers.Running)
			err = r.driver.Stop(r.Context(), m, 0)
		}
		r.must(fmt.Sprintf("round %d", i), err)
		r.is(m, drivers.Stopped)
		r.must("delete", r.driver.Delete(r.Context(), m))
		r.is(m, drivers.Absent)
	}
}

// hangs: every call ends within a second of its context, and Status within its limit.
func hangs(r *rig) {
	m, off := r.running(13), r.machine(14)
	r.must("create", r.driver.Create(r.Context(), off))
	r.daemon.Signal(syscall.SIGSTOP)
	resumed := false
	resume := func() {
		if !resumed {
			r.daemon.Signal(syscall.SIGCONT)
			resumed = true
		}
	}
	defer resume()
	for name, call := range map[string]func(context.Context) error{
		"create":  func(ctx context.Context) error { return r.driver.Create(ctx, m) },
		"stop":    func(ctx context.Context) error { return r.driver.Stop(ctx, m, time.Minute) },
		"pause":   func(ctx context.Context) error { return r.driver.Pause(ctx, m) },
		"save":    func(ctx context.Context) error { return r.driver.Save(ctx, m) },
		"delete":  func(ctx context.Context) error { return r.driver.Delete(ctx, m) },
		"console": func(ctx context.Context) error { _, err := r.driver.Console(ctx, m); return err },
		"owned":   func(ctx context.Context) error { _, err := r.driver.Owned(ctx, m.Dir); return err },
		"check":   func(ctx context.Context) error { return r.driver.Check(ctx).Err },
	} {
		ctx, cancel := context.WithCancel(r.Context())
		time.AfterFunc(300*time.Millisecond, cancel)
		began := time.Now()
		err := call(ctx)
		if took := time.Since(began); took > 1300*time.Millisecond || !errors.Is(err, context.Canceled) {
			r.Errorf("%s ended %v after it was cancelled: %v", name, took-300*time.Millisecond, err)
		}
	}
	began := time.Now()
	_, err := r.driver.Status(r.Context(), m)
	if took := time.Since(began); took > 2*time.Second {
		r.Errorf("status took %v", took)
	}
	r.fails("status", err, fail.LibvirtTimeout, "has not answered")
	resume()
	r.is(m, drivers.Running)
	r.is(off, drivers.Stopped)
	r.must("delete", r.driver.Delete(r.Context(), m))
	r.must("delete", r.driver.Delete(r.Context(), off))
}

func isGone(r *rig) {
	r.daemon.Stop(syscall.SIGTERM)
	defer r.daemon.Start()
	m := r.machine(15)
	r.fails("create", r.driver.Create(r.Context(), m), fail.LibvirtMissing, r.daemon.Socket)
	if report := r.driver.Check(r.Context()); report.Usable || !fail.Is(report.Err, fail.LibvirtMissing) {
		r.Errorf("check: %+v", report)
	}
	if found, err := r.driver.Owned(r.Context(), m.Dir); err != nil || len(found) != 0 {
		r.Errorf("owned: %v, %v", found, err)
	}
}
