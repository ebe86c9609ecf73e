//go:build vm

package ssh

import (
	"crypto/rand"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dorykube/dory/drivers"
	"github.com/dorykube/dory/drivers/drivertest"
	"github.com/dorykube/dory/drivers/drivertest/server"
	"github.com/dorykube/dory/internal/fail"
	"golang.org/x/crypto/ssh"
)

// lentServer is a server, and whether somebody has it.
type lentServer struct {
	*server.Server
	lent bool
}

// fleet are the servers of a test.
type fleet struct {
	mu      sync.Mutex
	t       *testing.T
	servers []*lentServer
}

// lend names a server that nobody has, in m.
func (f *fleet) lend(t *testing.T, m *drivers.Machine) ssh.Signer {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.free()
	s.lent = true
	t.Cleanup(func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		s.lent = false
	})
	m.Remote = &drivers.Remote{Address: "127.0.0.1", Port: s.Port(), User: "root", KeyFile: s.KeyFile}
	return s.Signer
}

func (f *fleet) free() *lentServer {
	for _, s := range f.servers {
		if !s.lent {
			return s
		}
	}
	s := &lentServer{Server: newServer(f.t)}
	f.servers = append(f.servers, s)
	return s
}

func newServer(t *testing.T) *server.Server { return server.New(t, 1900<<20, 8<<30) }

// alone takes the user's own keys and known hosts away.
func alone(t *testing.T) {
	t.Setenv("DORY_TEST_ISO", drivertest.DefaultImage(t)) // which is below the real home
	t.Setenv("HOME", t.TempDir())
	t.Setenv("SSH_AUTH_SOCK", "")
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err, fail.As(err).Evidence)
	}
}

func TestContract(t *testing.T) {
	alone(t)
	f := &fleet{t: t}
	find := func(status drivers.Status) *lentServer {
		for _, s := range f.servers {
			if s.Status.SSH == status.SSH {
				return s
			}
		}
		t.Fatalf("no server at %s", status.SSH)
		return nil
	}
	drivertest.Run(t, drivertest.Suite{
		New:   func(*testing.T) drivers.Driver { return New(Options{}) },
		Image: drivertest.DefaultImage(t),
		Lend:  f.lend,
		Halt: func(t *testing.T, status drivers.Status) {
			s := find(status)
			check(t, s.Driver.Pause(t.Context(), s.Machine))
		},
		Resume: func(t *testing.T, status drivers.Status) {
			s := find(status)
			check(t, s.Driver.Unpause(t.Context(), s.Machine))
		},
	})
}

// TestRefused: everything that keeps a machine from becoming a node is told before the machine is touched.
func TestRefused(t *testing.T) {
	alone(t)
	f := &fleet{t: t}
	wanted := drivers.Machine{Name: "one", UUID: "6d1b9f4e-1111-4000-8000-000000000000", Dir: filepath.Join(t.TempDir(), "m"), Disk: 1 << 30,
		Forwards: []drivers.Forward{{Name: "apiserver", Guest: 6443}}}
	f.lend(t, &wanted)
	s := f.servers[0]
	other := newServer(t)
	before := listing(t, s)
	for _, c := range []struct {
		name, provoke, undo string
		change              func(*drivers.Machine)
		kind                fail.Kind
		words               string
	}{
		{"another Kubernetes", "mkdir -p /etc/kubernetes/manifests", "rm -r /etc/kubernetes", nil, fail.RemoteTaken, "/etc/kubernetes"},
		{"another container runtime", "printf '[Service]\\nExecStart=/bin/true\\n' >/etc/systemd/system/docker.service; systemctl daemon-reload",
			"rm /etc/systemd/system/docker.service; systemctl daemon-reload", nil, fail.RemoteTaken, "docker"},
		{"another cluster", "mkdir /var/lib/dory; echo 11111111-2222-4333-8444-555555555555 theirs >/var/lib/dory/machine", "rm -r /var/lib/dory", nil, fail.RemoteTaken, "theirs"},
		{"a port in use", "nohup busybox nc -l -p 6443 >/dev/null 2>&1 & echo $! >/run/nc; sleep 1", "kill $(cat /run/nc); rm /run/nc", nil, fail.PortTaken, "6443"},
		{"a small disk", "true", "true", func(m *drivers.Machine) { m.Disk = 1 << 50 }, fail.DiskTooMuch, "are needed"},
		{"nobody there", "true", "true", func(m *drivers.Machine) { m.Remote.Port = server.FreePort(t) }, fail.RemoteUnreachable, "refused"},
		{"another key", "true", "true", func(m *drivers.Machine) { m.Remote.KeyFile = other.KeyFile }, fail.RemoteUnreachable, "log in"},
		{"no sudo", "echo guest:x:4321:4321::/tmp:/bin/sh >>/etc/passwd; mkdir -p /tmp/.ssh; cp /run/dory/authorized_keys /tmp/.ssh/; chown -R 4321 /tmp/.ssh; chmod 700 /tmp/.ssh",
			"sed -i /^guest:/d /etc/passwd; rm -r /tmp/.ssh", func(m *drivers.Machine) { m.Remote.User = "guest" }, fail.RemoteSudo, "sudo"},
		{"no machine", "true", "true", func(m *drivers.Machine) { m.Remote = nil }, fail.RemoteMissing, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s.Run(t, c.provoke)
			m, remote := wanted, *wanted.Remote
			m.Remote = &remote
			if c.change != nil {
				c.change(&m)
			}
			d := New(Options{})
			began := time.Now()
			err := d.Create(t.Context(), m)
			took := time.Since(began)
			if failure := fail.As(err); !fail.Is(err, c.kind) || !strings.Contains(failure.Error()+failure.Evidence, c.words) || failure.Remedy() == "" {
				t.Errorf("%v (evidence %q)", err, fail.As(err).Evidence)
			}
			if took > loginLimit+5*time.Second {
				t.Errorf("it took %v", took)
			}
			s.Run(t, c.undo)
			if err := d.Delete(t.Context(), m); err != nil {
				t.Errorf("delete: %v", err)
			}
			if after := listing(t, s); after != before {
				t.Errorf("the machine was touched:\n%s\nbefore:\n%s", after, before)
			}
		})
	}
}

// A host key that has changed is told, and nothing is sent to whoever has it.
func TestChangedHostKey(t *testing.T) {
	alone(t)
	f := &fleet{t: t}
	m := drivers.Machine{Name: "one", UUID: "6d1b9f4e-2222-4000-8000-000000000000", Dir: filepath.Join(t.TempDir(), "m"), Disk: 1 << 30}
	f.lend(t, &m)
	check(t, New(Options{}).Create(t.Context(), m))
	f.servers[0].Run(t, `rm /etc/ssh/ssh_host_ed25519_key; ssh-keygen -q -t ed25519 -N "" -f /etc/ssh/ssh_host_ed25519_key; systemctl restart ssh`)
	for began := time.Now(); ; time.Sleep(100 * time.Millisecond) { // the server starts anew
		status, err := New(Options{}).Status(t.Context(), m)
		if err == nil && status.State == drivers.Unknown && strings.Contains(status.Reason, "host key") {
			break
		}
		if time.Since(began) > time.Minute {
			t.Fatalf("status: %+v, %v", status, err)
		}
	}
	if _, err := New(Options{}).Start(t.Context(), m); !fail.Is(err, fail.RemoteHostKey) {
		t.Errorf("start: %v", err)
	}
}

// An upload that is cut goes on where it was cut, and through another machine it comes to the same.
func TestUpload(t *testing.T) {
	if testing.Short() {
		t.Skip("left to 'make test-all'")
	}
	alone(t)
	f := &fleet{t: t}
	m := drivers.Machine{Name: "one", UUID: "6d1b9f4e-3333-4000-8000-000000000000", Dir: filepath.Join(t.TempDir(), "m"), Disk: 1 << 30,
		Bundle: filepath.Join(t.TempDir(), "bundle")}
	content := make([]byte, 24<<20)
	rand.Read(content)
	check(t, os.WriteFile(m.Bundle, content, 0o600))
	f.lend(t, &m)
	s := f.servers[0]
	direct := m.Remote.Port
	proxy := newProxy(t, s.Status.SSH)
	m.Remote.Port = proxy.port
	proxy.cutAfter.Store(int64(len(content)) * 2 / 3)
	if err := New(Options{}).Create(t.Context(), m); !fail.Is(err, fail.RemoteUnreachable) {
		t.Fatalf("an upload that is cut: %v", err)
	}
	proxy.cutAfter.Store(1 << 40)
	sent := proxy.sent.Load()
	check(t, New(Options{}).Create(t.Context(), m))
	if again := proxy.sent.Load() - sent; again > int64(len(content))/2 {
		t.Errorf("of %d bytes, %d were sent once more", len(content), again)
	}
	sum := s.Run(t, "sha256sum </var/lib/dory/bundle.img")
	check(t, New(Options{}).Delete(t.Context(), m))

	var way drivers.Machine
	f.lend(t, &way)
	m.Remote.Port, m.Remote.Address = direct, "10.0.2.2" // this computer, as the machine on the way sees it
	m.Remote.Jump = "root@" + net.JoinHostPort(way.Remote.Address, strconv.Itoa(way.Remote.Port))
	f.servers[1].Run(t, "cp /run/dory/authorized_keys /run/k; echo '"+s.Machine.AuthorizedKey+"' >>/run/dory/authorized_keys")
	check(t, New(Options{}).Create(t.Context(), m))
	if jumped := s.Run(t, "sha256sum </var/lib/dory/bundle.img"); jumped != sum {
		t.Errorf("by way of another machine %s arrives, not %s", jumped, sum)
	}
	check(t, New(Options{}).Delete(t.Context(), m))
	if left := s.Run(t, "ls -d /var/lib/dory /etc/systemd/system/dory* 2>/dev/null; true"); left != "" {
		t.Errorf("left behind: %s", left)
	}
}

// listing is what there is on a server: files, units, processes' names.
func listing(t *testing.T, s *lentServer) string {
	return s.Run(t, `find /etc /opt /usr/local /root /var/lib -xdev ! -path '/var/lib/systemd/*' | sort; systemctl list-units --all --plain --no-legend 'dory*'`)
}

// proxy passes connections on, and cuts them when so many bytes have been sent.
type proxy struct {
	port           int
	sent, cutAfter atomic.Int64
}

func newProxy(t *testing.T, to string) *proxy {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	t.Cleanup(func() { listener.Close() })
	p := &proxy{port: listener.Addr().(*net.TCPAddr).Port}
	p.cutAfter.Store(1 << 40)
	go func() {
		for {
			in, err := listener.Accept()
			if err != nil {
				return
			}
			go p.pass(in, to)
		}
	}()
	return p
}

var errCut = errors.New("cut")

func (p *proxy) pass(in net.Conn, to string) {
	defer in.Close()
	out, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer out.Close()
	go io.Copy(in, out)
	io.Copy(writerFunc(func(b []byte) (int, error) {
		if p.sent.Add(int64(len(b))) > p.cutAfter.Load() {
			return 0, errCut
		}
		return out.Write(b)
	}), in)
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }
