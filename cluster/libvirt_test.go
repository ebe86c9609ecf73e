package cluster

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/dorykube/dory/drivers"
	"github.com/dorykube/dory/drivers/registry"
	"github.com/dorykube/dory/internal/fail"
	"github.com/dorykube/dory/internal/hostinfo"
	"github.com/dorykube/dory/internal/size"
)

func TestLibvirtSettings(t *testing.T) {
	host := hostinfo.Host{CPUs: 4, Memory: 8 * size.GiB}
	for _, c := range []struct {
		driver, uri, cpus string
		from              SourceKind
		want              int    // exit code
		machine           string // the machine's URI
	}{
		{"libvirt", "", "2", FromFlag, 0, "qemu:///system"},
		{"kvm2", "qemu:///session", "2", FromFlag, 0, "qemu:///session"},
		{"kvm", "qemu+ssh://me@server/system", "64", FromFlag, 0, "qemu+ssh://me@server/system"}, // as many as the server may have
		{"libvirt", "qemu:///session", "64", FromFlag, 29, ""},
		{"libvirt", "xen:///system", "2", FromFlag, 14, ""},
		{"auto", "qemu:///session", "2", FromFlag, 0, ""},
		{"qemu", "qemu:///session", "2", FromFlag, 14, ""},
		{"qemu", "", "2", FromFlag, 0, ""},
		{"qemu", "qemu:///session", "2", FromEnvironment, 0, ""},
		{"qemu", "nonsense", "2", FromUserConfig, 0, ""},
	} {
		w := Wanted{}
		w.Spec, w.Options = Defaults()
		var err error
		for key, value := range map[string]string{"driver": c.driver, "kvm-qemu-uri": c.uri, "cpus": c.cpus} {
			s, found := FindSetting(key)
			if found != nil {
				t.Fatal(found)
			}
			if value != "" && err == nil {
				err = s.Set(&w, []string{value}, Source{Kind: c.from, Where: "--" + key})
			}
		}
		if err == nil {
			err = w.Validate(host)
		}
		got := 0
		if err != nil {
			got = fail.As(err).Kind.Exit
		}
		if got != c.want {
			t.Errorf("%+v: exit %d, %v", c, got, err)
		}
		if m := machineFor(w.Spec, "x", newUUID(), "/x"); err == nil && m.URI != c.machine {
			t.Errorf("%+v: the machine's URI is %q", c, m.URI)
		}
	}
}

// ownerDriver has machines that no record tells of; or cannot say.
type ownerDriver struct {
	fakeDriver
	uri   string
	owned func(uri, dir string) ([]drivers.Machine, error)
}

func (o ownerDriver) Owned(_ context.Context, dir string) ([]drivers.Machine, error) {
	return o.owned(o.uri, dir)
}

// Without a directory, delete and delete --all remove what drivers find by its mark; one that cannot say keeps them from
// nothing.
func TestDeleteOfWhatNoRecordTellsOf(t *testing.T) {
	w := newWorld(t)
	m := w.manager()
	dir := m.files("lost").path(machineDir)
	m.parts.driver = func(string) (registry.Entry, error) {
		return registry.Entry{Name: "libvirt", New: func(o registry.Options) drivers.Driver {
			return ownerDriver{fakeDriver{w}, o.URI, func(uri, asked string) ([]drivers.Machine, error) {
				if uri != "qemu:///system" {
					return nil, errors.New("it hangs")
				}
				if !strings.HasPrefix(dir, asked) {
					return nil, nil
				}
				return []drivers.Machine{{Name: "lost", UUID: newUUID(), Dir: dir}}, nil
			}}
		}}, nil
	}
	if err := os.MkdirAll(m.files("lost").dir, 0o700); err != nil {
		t.Fatal(err)
	}
	h, err := m.hold(t.Context(), "lost", "start")
	if err != nil {
		t.Fatal(err)
	}
	if deleted, err := m.DeleteAll(t.Context()); err == nil || len(deleted) != 0 || w.count("delete") != 0 {
		t.Errorf("delete --all of what another dory works on: %v, %v", deleted, err)
	}
	h.release()
	if err := os.RemoveAll(m.files("lost").dir); err != nil {
		t.Fatal(err)
	}
	deleted, err := m.DeleteAll(t.Context())
	if err != nil || len(deleted) != 1 || deleted[0] != "lost" || w.count("delete") != 1 {
		t.Errorf("delete --all: %v, %v", deleted, err)
	}
	for name, want := range map[string]bool{"lost": true, "never": false} {
		before := w.count("delete")
		existed, err := m.Delete(t.Context(), name)
		if err != nil || existed != want || (w.count("delete") > before) != want {
			t.Errorf("delete %s: %v, %v", name, existed, err)
		}
	}
}
