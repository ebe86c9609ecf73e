//go:build vm

package ssh

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/dorykube/dory/drivers"
	"github.com/dorykube/dory/internal/fail"
)

// A user who becomes root by sudo without a password is as good as root; one who has to give a password is refused.
func TestSudo(t *testing.T) {
	if testing.Short() {
		t.Skip("left to 'make test-all'")
	}
	alone(t)
	f := &fleet{t: t}
	m := drivers.Machine{Name: "one", UUID: "6d1b9f4e-5555-4000-8000-000000000000", Dir: filepath.Join(t.TempDir(), "m"), Disk: 1 << 30,
		Bundle: filepath.Join(t.TempDir(), "bundle")}
	check(t, os.WriteFile(m.Bundle, make([]byte, 1<<20), 0o600))
	f.lend(t, &m)
	s := f.servers[0]
	s.AddSudoer(t, "guest")
	m.Remote.User = "guest"
	before := listing(t, s)

	s.Run(t, "sed -i s/NOPASSWD:// /etc/sudoers")
	if err := New(Options{}).Create(t.Context(), m); !fail.Is(err, fail.RemoteSudo) {
		t.Errorf("a password is wanted: %v", err)
	}
	check(t, New(Options{}).Delete(t.Context(), m))
	s.Run(t, "sed -i 's/) *ALL$/) NOPASSWD: ALL/' /etc/sudoers")

	d := New(Options{})
	check(t, d.Create(t.Context(), m))
	if sum := s.Run(t, "stat -Lc '%U %s' /var/lib/dory/bundle.img"); sum != "root 1048576" {
		t.Errorf("the bundle is %s", sum)
	}
	if status, err := d.Start(t.Context(), m); err != nil || status.State != drivers.Running {
		t.Errorf("start: %+v, %v", status, err)
	}
	check(t, d.Stop(t.Context(), m, time.Minute))
	if status, err := d.Status(t.Context(), m); err != nil || status.State != drivers.Stopped {
		t.Errorf("status: %+v, %v", status, err)
	}
	check(t, d.Delete(t.Context(), m))
	if after := listing(t, s); after != before {
		t.Errorf("the machine was\n%s\nand is\n%s", before, after)
	}
}
