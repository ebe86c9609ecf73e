//go:build vm

package libvirt

import (
	"testing"

	"github.com/dorykube/dory/drivers"
	"github.com/dorykube/dory/drivers/drivertest"
	"github.com/dorykube/dory/drivers/libvirt/libvirttest"
	"github.com/dorykube/dory/internal/fail"
	"time"
)

func probe(t *testing.T, daemon *libvirttest.Daemon) {
	d := New(Options{URI: daemon.URI, Cache: t.TempDir(), SessionPool: daemon.Pool})
	t.Logf("%+v", d.Check(t.Context()))
	m := drivers.Machine{Name: "probe", UUID: "0c4d2b0e-8c1c-4c54-9d1c-27a0a6c2a4d1", Dir: t.TempDir() + "/m", CPUs: 2, Memory: 512 << 20, Disk: 2 << 30, Image: drivertest.DefaultImage(t), Accel: "tcg", URI: daemon.URI,
		AuthorizedKey: "ssh-ed25519 AAAA x", Forwards: []drivers.Forward{{Name: "ssh", Guest: 22}, {Name: "apiserver", Guest: 6443}}}
	step := func(name string, f func() error) {
		b := time.Now()
		err := f()
		t.Logf("%s %v: %v", name, time.Since(b), err)
		if err != nil {
			t.Error(name, err, fail.As(err).Evidence)
		}
	}
	step("create", func() error { return d.Create(t.Context(), m) })
	step("create", func() error { return d.Create(t.Context(), m) })
	var s drivers.Status
	step("start", func() (err error) { s, err = d.Start(t.Context(), m); return })
	t.Logf("%+v", s)
	t.Log(daemon.Virsh("list", "--all"))
	step("status", func() (err error) { s, err = d.Status(t.Context(), m); return })
	time.Sleep(2 * time.Second)
	step("save", func() (err error) { return d.Save(t.Context(), m) })
	step("start", func() (err error) { s, err = d.Start(t.Context(), m); return })
	t.Logf("%+v", s)
	step("console", func() (err error) { _, err = d.Console(t.Context(), m); return })
	step("stop", func() (err error) { return d.Stop(t.Context(), m, 0) })
	step("status", func() (err error) { s, err = d.Status(t.Context(), m); return })
	t.Logf("%+v", s)
	step("delete", func() (err error) { return d.Delete(t.Context(), m) })
	t.Log("left:", daemon.Left())
}
func TestProbeSystem(t *testing.T) {
	if libvirttest.Inside(t) {
		probe(t, libvirttest.System(t))
	}
}
func TestProbeSession(t *testing.T) {
	if libvirttest.Inside(t) {
		probe(t, libvirttest.Session(t))
	}
}
