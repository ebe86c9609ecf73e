// Package libvirttest runs real libvirt daemons for tests, in namespaces of the test's own: network, mounts and processes.
// Nothing of them can be seen outside, and nothing outlives the test: the kernel ends what is left in a namespace of
// processes when its first one ends. It needs Linux, and root or sudo.
package libvirttest

import (
	"os"
	"os/exec"
	"testing"
	"time"
)

const insideEnv = "DORY_LIBVIRTTEST"

// Inside reports whether the test runs in namespaces of its own. If not, it runs the test again there, as a child process,
// and the test has nothing more to do.
func Inside(t *testing.T) bool {
	t.Helper()
	if os.Getenv(insideEnv) != "" {
		return true
	}
	// The shell is the first process: it also buries what the daemons leave behind, without which a daemon would wait for
	// a QEMU that has long ended.
	// Directories for libvirt are made in file systems of the namespace's own: one that is removed here where another test has
	// something mounted would be gone there, too.
	script := `ip link set lo up && for d in /run /var/lib /var/cache /var/log; do mount -t tmpfs -o mode=755 own $d || exit; done
mkdir -m 1777 /run/lock && "$@"; exit $?`
	args := []string{"--net", "--mount", "--pid", "--fork", "--kill-child=KILL", "--mount-proc", "bash", "-c", script, "bash",
		os.Args[0], "-test.run", "^" + t.Name() + "$", "-test.v", "-test.count=1"}
	if deadline, ok := t.Deadline(); ok {
		args = append(args, "-test.timeout", time.Until(deadline).String())
	}
	args = append([]string{"unshare"}, args...)
	if os.Getuid() != 0 {
		args = append([]string{"sudo", "--non-interactive", "--preserve-env"}, args...)
	}
	cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
	cmd.Env = append(os.Environ(), insideEnv+"=1")
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Errorf("in its own namespaces: %v", err)
	}
	return false
}
