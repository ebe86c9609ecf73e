//go:build vm

package iso

import (
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
)

// tools are commands that people run on a node, each with what it prints. All of them run on one machine.
var tools = []struct{ name, command, want string }{
	{"sudo", "sudo id -u", "0"},
	{"sudo with flags", "sudo -n -E -H -- id -un; sudo -nE id -u; sudo -u root -g root id -g", "root\n0\n0"},
	{"sudo with variables", "sudo A=1 'B=two words' sh -c 'echo $A $B'", "1 two words"},
	{"sudo as another user", "sudo -u nobody id -un; sudo -unobody -- sh -c 'id -u; echo $HOME $SUDO_USER'", "nobody\n65534\n/nonexistent root"},
	{"sudo -i", "cd /; sudo -i pwd; sudo -i printf '%s|' 'a b' '$HOME'", "/root\na b|$HOME|"},
	{"sudo -s", "sudo -s echo '*'", "*"},
	{"sudo keeps the exit code", "sudo sh -c 'exit 7'; echo $?", "7"},
	{"sudo passes standard input", "echo through | sudo cat", "through"},
	{"sudo refuses", "sudo --nonsense id 2>/dev/null || sudo -u nobody-at-all id 2>/dev/null || echo refused", "refused"},
	{"sudo is for root", "setpriv --reuid=nobody --clear-groups sudo id -u 2>&1; echo $?", "sudo: only root may use this node's sudo; log in as root\n1"},
	{"sudo without a command", "sudo -v && sudo -k && ! sudo 2>/dev/null && echo as it should be", "as it should be"},

	// A server of this node's own, with a certificate of its own: whoever does not check it is found out.
	{"openssl", "cd /tmp && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key.pem -out cert.pem -days 1 " +
		"-subj /CN=localhost -addext subjectAltName=DNS:localhost 2>/dev/null && openssl x509 -in cert.pem -noout -subject", "subject=CN=localhost"},
	{"openssl s_server", "cd /tmp && echo content >file && { openssl s_server -accept 127.0.0.1:4443 -cert cert.pem -key key.pem -WWW >s_server.log 2>&1 & } ; " +
		"until grep -q ACCEPT s_server.log; do sleep 0.1; done; echo up", "up"},
	{"curl", "curl -sS --cacert /tmp/cert.pem https://localhost:4443/file", "content"},
	{"curl checks certificates", "curl -s https://localhost:4443/file; echo $?", "60"},
	{"wget", "wget -q -O - --ca-certificate=/tmp/cert.pem https://localhost:4443/file", "content"},
	{"wget checks certificates", "wget -q -O - https://localhost:4443/file; echo $?", "5"},
	{"openssl s_server ends", "kill $(pidof openssl)", ""},

	{"less", "printf 'one\\ntwo\\n' | less -F | tail -n 1", "two"},
	{"vi", "echo one >/tmp/v; TERM=xterm script -qc 'vi -c %s/one/two/ -c wq /tmp/v' /dev/null </dev/null >/dev/null; cat /tmp/v", "two"},
	{"ping", "ping -n -c 1 -W 5 127.0.0.1 | grep -o '1 received'", "1 received"},
	{"tar", "cd /etc && tar cz hostname | tar tz; tar c --zstd hostname | tar t --zstd", "hostname\nhostname"},
	{"socat", "echo over | socat - EXEC:cat", "over"},
	{"nc", "nc -l -p 4444 >/tmp/nc & sleep 1; echo by nc | nc -w 2 127.0.0.1 4444; wait; cat /tmp/nc", "by nc"},
	{"busybox's others", "for p in killall nslookup telnet traceroute unzip xxd; do command -v $p >/dev/null || echo no $p; done; echo A | xxd -p", "410a"},
	{"user namespaces", "unshare --user --map-root-user sh -c 'id -u; readlink /proc/self/ns/user' | head -n 1; [ $(cat /proc/sys/user/max_user_namespaces) -gt 1000 ] && echo many", "0\nmany"},

	// The last line of an interactive login's startup is what counts: an unknown terminal is replaced, a known one is not.
	{"terminals", "for t in xterm-256color xterm-kitty alacritty foot xterm-ghostty ghostty wezterm tmux-256color screen-256color; do " +
		"TERM=$t clear >/dev/null || echo no $t; TERM=$t bash -lc 'echo $TERM'; done | sort | tr '\\n' ' '",
		"alacritty foot ghostty screen-256color tmux-256color wezterm xterm-256color xterm-ghostty xterm-kitty"},
	{"an unknown terminal", "TERM=of-tomorrow bash -lc 'clear >/dev/null; echo $TERM'", "xterm-256color"},
}

func TestVMTools(t *testing.T) {
	key, keyOption := newKey(t)
	v := direct(t, image(t), disk(t, gib), keyOption, staticNet)
	v.waitConsole("dory: the node image starts")
	v.waitSSH()
	for _, tool := range tools {
		t.Run(tool.name, func(t *testing.T) {
			v := *v
			v.t = t
			if got := v.sh(key, tool.command); got != tool.want {
				t.Errorf("%s: %q, want %q", tool.command, got, tool.want)
			}
		})
	}
	t.Run("mount.nfs", func(t *testing.T) { checkNFS(t, v, key) })
	if text := v.consoleTail(); !strings.Contains(text, "the node image starts") {
		t.Errorf("the console:\n%s", text)
	}
}

// nfsServer is the kernel's own NFS server, told by hand what mountd would tell it: that 127.0.0.1 may have the folder. It
// is of version 4 alone, which needs no port mapper.
const nfsServer = `set -e
modprobe nfsd
mkdir -p /var/lib/shared /mnt/nfs
echo shared >/var/lib/shared/file
mount -t nfsd nfsd /proc/fs/nfsd
cd /proc/fs/nfsd
echo -3 +4 >versions
echo 10 >nfsv4leasetime
echo 10 >nfsv4gracetime
cd /proc/net/rpc
echo nfsd 127.0.0.1 2147483647 dory >auth.unix.ip/channel
echo dory /var/lib/shared 2147483647 9218 65534 65534 0 >nfsd.export/channel
printf '%s\n' 'dory 1 \x00000000 2147483647 /var/lib/shared' >nfsd.fh/channel
echo 0 2147483647 0 >auth.unix.gid/channel
echo 2 >/proc/fs/nfsd/threads`

func checkNFS(t *testing.T, v *vm, key ssh.Signer) {
	machine := *v
	machine.t = t
	machine.sh(key, nfsServer)
	if got := machine.sh(key, "timeout 60 mount -t nfs 127.0.0.1:/ /mnt/nfs && cat /mnt/nfs/file && umount /mnt/nfs"); got != "shared" {
		t.Errorf("a file over NFS: %q", got)
	}
}
