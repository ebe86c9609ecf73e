package server

import (
	"bytes"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// AddSudoer makes a user with root's key who becomes root by sudo, without a password. The node image, which servers are
// made from, has a sudo for root only: this computer's is put in its place, with the libraries that are not there already.
func (s *Server) AddSudoer(t *testing.T, name string) {
	t.Helper()
	files := []string{"/usr/bin/sudo"}
	for _, pattern := range []string{"/usr/libexec/sudo/*.so*", "/usr/lib/*/security/pam_permit.so"} {
		found, err := filepath.Glob(pattern)
		must(t, err)
		files = append(files, found...)
	}
	libraries, err := exec.Command("ldd", "/usr/bin/sudo", "/usr/libexec/sudo/sudoers.so").Output()
	if err != nil {
		t.Fatalf("%v; 'make packages' installs sudo", err)
	}
	for word := range strings.FieldsSeq(string(libraries)) {
		if strings.HasPrefix(word, "/") && strings.Contains(word, ".so") && !strings.HasSuffix(word, ":") {
			files = append(files, word)
		}
	}
	archive, err := exec.Command("tar", append([]string{"-C", "/", "-ch", "--hard-dereference"}, fromRoot(files)...)...).Output()
	must(t, err)
	s.pipe(t, bytes.NewReader(archive), "rm -f /usr/bin/sudo && tar -C / -xp --skip-old-files")
	s.Run(t, strings.ReplaceAll(`set -e
for kind in auth account session; do echo $kind sufficient pam_permit.so; done >/etc/pam.d/sudo
echo 'NAME ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers
chmod 440 /etc/sudoers
echo NAME:x:4321:4321::/home/NAME:/bin/sh >>/etc/passwd
mkdir -p /home/NAME/.ssh
cp /run/dory/authorized_keys /home/NAME/.ssh/
chown -R 4321:4321 /home/NAME
chmod -R go= /home/NAME
setpriv --reuid 4321 --regid 4321 --clear-groups sudo -n true`, "NAME", name))
}

// fromRoot are absolute paths as tar -C / wants them.
func fromRoot(paths []string) (names []string) {
	for _, path := range paths {
		names = append(names, strings.TrimPrefix(path, "/"))
	}
	return names
}
