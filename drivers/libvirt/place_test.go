package libvirt

import (
	"path/filepath"
	"testing"

	"github.com/dorykube/dory/internal/fail"
)

func TestParse(t *testing.T) {
	t.Setenv("XDG_RUNTIME_DIR", "/run/user/1000")
	t.Setenv("USER", "me")
	for uri, want := range map[string]struct{ socket, account string }{
		"":                                      {"/run/libvirt/virtqemud-sock", ""},
		"qemu:///system":                        {"/run/libvirt/virtqemud-sock", ""},
		"qemu+unix:///system?socket=/tmp/s":     {"/tmp/s", ""},
		"qemu:///session":                       {"/run/user/1000/libvirt/virtqemud-sock", ""},
		"qemu+ssh://host/system":                {"/run/libvirt/virtqemud-sock", "me@host:0"},
		"qemu+ssh://root@host:2222/system":      {"/run/libvirt/virtqemud-sock", "root@host:2222"},
		"qemu+ssh://you@host/session?socket=/s": {"/s", "you@host:0"},
		"qemu+ssh://you@host/system?keyfile=/k": {"/run/libvirt/virtqemud-sock", "you@host:0"},
	} {
		p, err := parse(uri)
		if err != nil {
			t.Errorf("%q: %v", uri, err)
			continue
		}
		if got := filepath.ToSlash(p.socketPath(domains)); got != want.socket {
			t.Errorf("%q: socket %s, want %s", uri, got, want.socket)
		}
		if account := who(p); account != want.account {
			t.Errorf("%q: account %s, want %s", uri, account, want.account)
		}
	}
	for _, uri := range []string{"qemu:///", "qemu:///other", "xen:///system", "qemu+tcp://host/system", "qemu+ssh:///system", "qemu://host/system",
		"qemu:///system?no_verify=1", "qemu:///system?socket=relative", "qemu+ssh://host/session", "system", "qemu:///system?keyfile=/k", "%"} {
		if err := Parse(uri); !fail.Is(err, fail.BadValue) {
			t.Errorf("%q: %v", uri, err)
		}
	}
}
