// Package libvirttest runs real libvirt daemons for tests, in namespaces of the test's own: network, mounts and processes.
// Nothing of them can be seen outside, and nothing outlives the test: the kernel ends what is left in a namespace of
// processes when its first one ends. It needs Linux, and root or sudo.
package libvirttest

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dorykube/dory/internal/home"
)

const insideEnv = "DORY_LIBVIRTTEST"

// The shell is the first process: it also buries what the daemons leave behind, without which a daemon would wait for
// a QEMU that has long ended.
// Directories for libvirt are made in file systems of the namespace's own: one that is removed here where another test has
// something mounted would be gone there, too.
const within = `ip link set lo up && for d in /run /var/lib /var/cache /var/log; do mount -t tmpfs -o mode=755 own $d || exit; done
mkdir -m 1777 /run/lock && "$@"; exit $?`

// enterRoot shows the test, in the place of this computer's root, another one that it cannot change, with those directories of this
// computer's that it works with. What is below such a directory comes with it.
const enterRoot = `root=$1 dirs=$2 within=$3; shift 3
mount -t tmpfs own /mnt && mkdir /mnt/upper /mnt/work /mnt/root || exit
mount -t overlay -o "lowerdir=$root,upperdir=/mnt/upper,workdir=/mnt/work" overlay /mnt/root || exit
for d in /dev /sys $dirs; do mkdir -p "/mnt/root$d" && mount --rbind "$d" "/mnt/root$d" || exit; done
mount -t proc proc /mnt/root/proc && work=$PWD || exit
exec chroot /mnt/root bash -c 'cd "$1" && shift && exec bash -c "$@"' bash "$work" "$within" bash "$@"`

// Inside reports whether the test runs in namespaces of its own. If not, it runs the test again there, as a child process,
// and the test has nothing more to do.
func Inside(t *testing.T) bool {
	t.Helper()
	return os.Getenv(insideEnv) != "" || again(t, nil, "bash", "-c", within, "bash")
}

// InsideRoot is Inside where the namespace's root is what root makes, and not this computer's.
func InsideRoot(t *testing.T, root func(*testing.T) string) bool {
	t.Helper()
	return os.Getenv(insideEnv) != "" || again(t, []string{compilePart(t)}, "bash", "-c", enterRoot, "bash", root(t), strings.Join(worksWith(t), " "), within)
}

// again runs the test in namespaces, under a command, with more in its environment. It returns false.
func again(t *testing.T, env []string, under ...string) bool {
	t.Helper()
	args := slices.Concat([]string{"unshare", "--net", "--mount", "--pid", "--fork", "--kill-child=KILL", "--mount-proc"}, under,
		[]string{os.Args[0], "-test.run", "^" + t.Name() + "$", "-test.v", "-test.count=1"})
	if deadline, ok := t.Deadline(); ok {
		args = append(args, "-test.timeout", time.Until(deadline).String())
	}
	if os.Getuid() != 0 {
		args = append([]string{"sudo", "--non-interactive", "--preserve-env"}, args...)
	}
	cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
	cmd.Env = slices.Concat(os.Environ(), env, []string{insideEnv + "=1"})
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Errorf("in its own namespaces: %v", err)
	}
	return false
}

// worksWith are the directories that a test needs of this computer's: for its files, its program and the sources, and the artifacts.
func worksWith(t *testing.T) (dirs []string) {
	t.Helper()
	where := home.Find()
	for _, dir := range []string{os.TempDir(), filepath.Dir(os.Args[0]), sources(t), where.Cache, where.Shared,
		filepath.Join(where.Cache, "artifacts"), filepath.Dir(os.Getenv("DORY_TEST_ISO"))} {
		if real, err := filepath.EvalSymlinks(dir); err == nil && filepath.IsAbs(real) {
			dirs = append(dirs, dir, real)
		}
	}
	slices.Sort(dirs)
	dirs = slices.Compact(dirs)
	return slices.DeleteFunc(slices.Clone(dirs), func(dir string) bool { // what another one brings with it
		return slices.ContainsFunc(dirs, func(other string) bool { return strings.HasPrefix(dir, other+"/") })
	})
}

// sources is the directory of this program's sources.
func sources(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for dir != "/" {
		if exists(filepath.Join(dir, "go.mod")) {
			return dir
		}
		dir = filepath.Dir(dir)
	}
	t.Fatal("no go.mod above the working directory")
	return ""
}
