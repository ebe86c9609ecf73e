package kubeconfig

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/dorykube/dory/internal/fail"
	"golang.org/x/sys/unix"
)

const nobody = 65534

// asNobody runs f as a user without rights: in a thread of its own, which ends with it.
func asNobody(t *testing.T, f func() error) error {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		if os.Geteuid() == 0 {
			if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, nobody, nobody, nobody); errno != 0 {
				done <- errno
				return
			}
		}
		done <- f()
	}()
	return <-done
}

// What may not be written is said before anything else happens, with what to do.
func TestReadOnlyFile(t *testing.T) {
	path := use(t, foreign)[0]
	if err := os.Chmod(filepath.Dir(filepath.Dir(path)), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, forbid := range map[string]string{"file": path, "directory": filepath.Dir(path)} {
		if err := os.Chmod(path, 0o666); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := asNobody(t, func() error { return Mergeable(entry(), true) }); err != nil {
			t.Errorf("%s: allowed: %v", name, err)
		}
		if err := os.Chmod(forbid, 0o555); err != nil {
			t.Fatal(err)
		}
		err := asNobody(t, func() error { return Mergeable(entry(), true) })
		if !fail.Is(err, fail.KubeconfigBad) || !strings.Contains(err.Error(), path) || !strings.Contains(fail.As(err).Advice, "KUBECONFIG") {
			t.Errorf("%s: %v", name, err)
		}
		os.Chmod(filepath.Dir(path), 0o777)
	}
}

// A start as root leaves a user's file to the user.
func TestOwnerStays(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root may give files away")
	}
	path := use(t, foreign)[0]
	if err := os.Chown(path, 1234, 4321); err != nil {
		t.Fatal(err)
	}
	if _, err := Merge(entry(), true); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if has := info.Sys().(*syscall.Stat_t); has.Uid != 1234 || has.Gid != 4321 || info.Mode().Perm() != 0o640 {
		t.Errorf("owner %d:%d, mode %v", has.Uid, has.Gid, info.Mode())
	}
}

// A mount point cannot be replaced: devcontainers and pods have single files mounted.
func TestMountPoint(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root may mount")
	}
	path, source := use(t, "x")[0], filepath.Join(t.TempDir(), "source")
	long := foreign + strings.Repeat("# a comment that clientcmd does not keep\n", 100)
	if err := os.WriteFile(source, []byte(long), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount(source, path, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(path, unix.MNT_DETACH)
	if _, err := Merge(entry(), true); err != nil {
		t.Fatal(err)
	}
	if text := read(t, source); !strings.Contains(text, "name: dory") || text != normal(t, text) {
		t.Errorf("it has\n%s", text)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), "*")); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
}
