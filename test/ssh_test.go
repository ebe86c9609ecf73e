//go:build vm

package test

import (
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/dorykube/dory/drivers/drivertest/server"
)

// inventory is everything about the server that must be the same when a cluster has come and gone, in sections: files with
// owner, mode and content; units; mounts; network links and netfilter rules; kernel variables; processes. What a program of
// the machine's own notes of its work (journal, systemd, /run/mount of mount) is left out.
func inventory(t *testing.T, s *server.Server) map[string]string {
	t.Helper()
	const script = `
echo "== files"
find / -xdev \( -path /tmp -o -path /var/log/journal -o -path /var/lib/systemd -o -path /root/.cache \) -prune -o -printf '%p %U:%G %m %l\n' | sort
find /var -xdev \( -path /var/log/journal -o -path /var/lib/systemd -o -path /var/tmp \) -prune -o -printf '%p %U:%G %m %l\n' | sort
find /run -xdev \( -path /run/systemd -o -path /run/log -o -path /run/mount \) -prune -o -printf '%p\n' | sort
find /etc /usr/local /root /opt -xdev -type f -exec sha256sum {} + | sort
echo "== units"
(systemctl list-unit-files --plain --no-legend; systemctl list-units --plain --no-legend --type service,target,slice) | sed 's/  */ /g' | grep -v ^session | sort
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
	for section := range strings.SplitSeq(s.Run(t, script), "== ") {
		name, text, _ := strings.Cut(section, "\n")
		sections[name] = text
	}
	return sections
}

// TestServer is the life of a cluster on a machine that exists already.
func TestServer(t *testing.T) {
	port := server.FreePort(t)
	s := server.New(t, 4<<30, 20<<30, port)
	before := inventory(t, s)
	d := newDory(t)
	if err := os.WriteFile(d.kubeconfig(), []byte(foreign), 0o600); err != nil {
		t.Fatal(err)
	}
	d.env = append(d.env, "HOME="+t.TempDir(), "SSH_AUTH_SOCK=", "DORY_DRIVER=ssh", "DORY_SSH_IP_ADDRESS=127.0.0.1", "DORY_SSH_PORT="+strconv.Itoa(s.Port()),
		"DORY_SSH_KEY="+s.KeyFile, "DORY_APISERVER_PORT="+strconv.Itoa(port))
	t.Log(d.expect(0, startLimit, "start").stderr)

	part, more := d.parts(t)
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
	more("exec, logs, port-forward", streams)
	part("stop and start", func(t *testing.T, d *dory) {
		d.must(startLimit, "stop")
		d.statusSays(7, "host: Stopped")
		if left := s.Run(t, "ps -e -o comm= | grep -E 'kube|etcd|containerd|httpd|coredns' || true"); left != "" {
			t.Errorf("after stop there are the processes %q", left)
		}
		t.Log(d.expect(0, startLimit, "start").stderr)
		d.everythingIsBack()
	})
	more("reboot", func(t *testing.T, d *dory) {
		if err := s.Driver.Stop(t.Context(), s.Machine, startLimit); err != nil {
			t.Fatal(err)
		}
		r := d.run(commandLimit, "status")
		if r.code == 0 || !strings.Contains(r.stdout, "host: Unknown") {
			t.Errorf("status of a machine that is off: exit %d\n%s", r.code, r.stdout)
		}
		s.Boot()
		d.must(startLimit, "start")
		d.everythingIsBack()
	})
	part("delete", deleteLeavesNothing)
	for name, text := range inventory(t, s) {
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
