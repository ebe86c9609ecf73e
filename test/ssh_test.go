//go:build vm

package test

import (
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"crypto/ed25519"
	"crypto/rand"

	"github.com/dorykube/dory/drivers"
	"github.com/dorykube/dory/drivers/drivertest"
	"github.com/dorykube/dory/drivers/qemu"
	"golang.org/x/crypto/ssh"
)

// server is a machine that is somebody's own: a VM that dory knows nothing of.
type server struct {
	t       *testing.T
	driver  *qemu.Driver
	machine drivers.Machine
	status  drivers.Status
	signer  ssh.Signer
	keyFile string
	apiPort int
}

func newServer(t *testing.T) *server {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	dir, image := t.TempDir(), drivertest.DefaultImage(t)
	s := &server{t: t, signer: signer, keyFile: filepath.Join(dir, "key"), apiPort: freePort(t),
		driver: qemu.New(qemu.Options{Cache: t.TempDir(), Image: image})}
	if err := os.WriteFile(s.keyFile, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
	s.machine = drivers.Machine{
		Name: "server", UUID: fmt.Sprintf("6d1b9f4e-4444-4000-8000-%012d", s.apiPort), Dir: filepath.Join(dir, "machine"),
		CPUs: 2, Memory: 4 << 30, Disk: 20 << 30, Image: image, Accel: "auto",
		AuthorizedKey: strings.TrimSpace(string(ssh.MarshalAuthorizedKey(signer.PublicKey()))),
		Forwards:      []drivers.Forward{{Name: "ssh", Guest: 22}, {Name: "apiserver", Guest: s.apiPort, Host: s.apiPort}},
	}
	if err := s.driver.Create(t.Context(), s.machine); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.driver.Delete(t.Context(), s.machine) })
	s.boot()
	return s
}

func (s *server) boot() {
	s.t.Helper()
	var err error
	if s.status, err = s.driver.Start(s.t.Context(), s.machine); err != nil {
		s.t.Fatal(err)
	}
	for i := range s.machine.Forwards { // the same at the next boot
		s.machine.Forwards[i].Host = s.status.Forwards[i].Host
	}
	s.sh("true")
}

// sh runs a command on the server, not by way of dory.
func (s *server) sh(command string) string {
	s.t.Helper()
	config := &ssh.ClientConfig{User: "root", Auth: []ssh.AuthMethod{ssh.PublicKeys(s.signer)}, Timeout: 10 * time.Second,
		HostKeyCallback: ssh.InsecureIgnoreHostKey()} // a VM of this test, on this computer
	var client *ssh.Client
	for began := time.Now(); ; time.Sleep(200 * time.Millisecond) {
		var err error
		if client, err = ssh.Dial("tcp", s.status.SSH, config); err == nil {
			break
		}
		if time.Since(began) > commandLimit {
			s.t.Fatal(err)
		}
	}
	defer client.Close()
	session, err := client.NewSession()
	if err != nil {
		s.t.Fatal(err)
	}
	out, err := session.CombinedOutput(command)
	if err != nil {
		s.t.Fatalf("%s: %v: %s", command, err, out)
	}
	return string(out)
}

// inventory is everything about the server that must be the same when a cluster has come and gone, in sections: files with
// owner, mode and content; units; mounts; network links and netfilter rules; kernel variables; processes.
func (s *server) inventory() map[string]string {
	s.t.Helper()
	const script = `
echo "== files"
find / -xdev \( -path /tmp -o -path /var/log/journal -o -path /var/lib/systemd -o -path /root/.cache \) -prune -o -printf '%p %U:%G %m %l\n' | sort
find /var -xdev \( -path /var/log/journal -o -path /var/lib/systemd -o -path /var/tmp \) -prune -o -printf '%p %U:%G %m %l\n' | sort
find /run -xdev \( -path /run/systemd -o -path /run/log \) -prune -o -printf '%p\n' | sort
find /etc /usr/local /root /opt -xdev -type f -exec sha256sum {} + | sort
echo "== units"
systemctl list-unit-files --plain --no-legend; systemctl list-units --plain --no-legend --type service,target,slice | sed 's/  */ /g' | grep -v ^session | sort
echo "== mounts"
cut -d' ' -f 1-3 /proc/mounts | sort
echo "== network"
ip -br link | sed 's/@.*//; s/ .*//'; ip route; nft list ruleset | sed 's/counter packets [0-9]* bytes [0-9]*//'
echo "== variables"
sysctl -a 2>/dev/null | grep -E '^(net.ipv4.ip_forward|net.bridge|fs.inotify|vm.overcommit_memory|kernel.panic|net.ipv4.conf.(all|default))'
echo "== processes"
ps -e -o comm= | grep -v -E '^(kworker|sshd|ps|sh|sort|grep|sleep)' | sort -u
`
	sections := map[string]string{}
	for section := range strings.SplitSeq(s.sh(script), "== ") {
		name, text, _ := strings.Cut(section, "\n")
		sections[name] = text
	}
	return sections
}

func freePort(t *testing.T) int {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port
}

// TestServer is the life of a cluster on a machine that exists already.
func TestServer(t *testing.T) {
	s := newServer(t)
	before := s.inventory()
	d := newDory(t)
	if err := os.WriteFile(d.kubeconfig(), []byte(foreign), 0o600); err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(s.status.SSH)
	d.env = append(d.env, "HOME="+t.TempDir(), "SSH_AUTH_SOCK=", "DORY_DRIVER=ssh", "DORY_SSH_IP_ADDRESS=127.0.0.1", "DORY_SSH_PORT="+port,
		"DORY_SSH_KEY="+s.keyFile, "DORY_APISERVER_PORT="+strconv.Itoa(s.apiPort))
	t.Log(d.expect(0, startLimit, "start").stderr)

	part := func(name string, f func(t *testing.T, d *dory)) {
		if t.Failed() {
			return
		}
		t.Run(name, func(t *testing.T) { f(t, &dory{t: t, home: d.home, env: d.env}) })
	}
	part("node and system pods", nodeIsReady)
	part("security", isClosed)
	part("second start does nothing", func(t *testing.T, d *dory) {
		if r := d.expect(0, commandLimit, "start"); strings.Contains(r.stderr, "etcd") {
			t.Errorf("it did something: %s", r.stderr)
		}
		d.statusSays(0, "host: Running", "kubelet: Running", "apiserver: Running", "kubeconfig: Configured")
	})
	part("workload through DNS and from the host", workload)
	part("volume outlives its pod", volume)
	part("exec, logs, port-forward", streams)
	part("stop and start", func(t *testing.T, d *dory) {
		d.must(startLimit, "stop")
		d.statusSays(7, "host: Stopped")
		if left := s.sh("ps -e -o comm= | grep -E 'kube|etcd|containerd|httpd|coredns' || true"); left != "" {
			t.Errorf("after stop there are the processes %q", left)
		}
		t.Log(d.expect(0, startLimit, "start").stderr)
		d.everythingIsBack()
	})
	part("reboot", func(t *testing.T, d *dory) {
		if err := s.driver.Stop(t.Context(), s.machine, startLimit); err != nil {
			t.Fatal(err)
		}
		r := d.run(commandLimit, "status")
		if r.code == 0 || !strings.Contains(r.stdout, "host: Unknown") {
			t.Errorf("status of a machine that is off: exit %d\n%s", r.code, r.stdout)
		}
		s.boot()
		d.must(startLimit, "start")
		d.everythingIsBack()
	})
	part("delete", deleteLeavesNothing)
	for name, text := range s.inventory() {
		if text != before[name] {
			t.Errorf("the machine's %s are not as before:\n%s", name, difference(before[name], text))
		}
	}
}

// difference lists the lines that only one of two texts has.
func difference(before, after string) string {
	had, has := map[string]bool{}, map[string]bool{}
	for line := range strings.Lines(before) {
		had[line] = true
	}
	var out strings.Builder
	for line := range strings.Lines(after) {
		has[line] = true
		if !had[line] {
			out.WriteString("+ " + line)
		}
	}
	for line := range strings.Lines(before) {
		if !has[line] {
			out.WriteString("- " + line)
		}
	}
	return out.String()
}
