// Package debian makes roots out of Debian's packages, so that tests run dory with QEMUs and libvirts that this computer does not
// have. A root is kept in the cache, below test-roots, and serves until it is a month old.
package debian

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dorykube/dory/internal/home"
	"github.com/gofrs/flock"
)

// Root describes a root.
type Root struct {
	// Suite of Debian's archive. One that ends in -backports is taken with the suite that it is for.
	Suite string
	// Packages are unpacked with all that they depend on.
	Packages []string
	// Installed: they are installed as well, with what every Debian system has, and their programs run in a chroot.
	Installed bool
}

// fresh is how long a root is good for: Debian's security updates reach those who use these packages, too.
const fresh = 30 * 24 * time.Hour

// Make returns the root's directory, and makes it if there is none. Nobody replaces the root until the test ends.
func (r Root) Make(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(home.Find().Cache, "test-roots", r.name())
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		t.Fatal(err)
	}
	lock := flock.New(dir + ".lock")
	t.Cleanup(func() { lock.Unlock() })
	if err := r.ensure(t, lock, dir); err != nil {
		t.Fatalf("make a root of Debian's %s: %v", r.Suite, err)
	}
	return dir
}

// name is another for each content.
func (r Root) name() string {
	sum := sha256.Sum256([]byte(strings.Join(r.arguments(), "\n") + launch))
	return r.Suite + "-" + hex.EncodeToString(sum[:4])
}

// ensure makes the root if it must be made, and holds a share of the lock then. An old one that cannot be replaced serves.
func (r Root) ensure(t *testing.T, lock *flock.Flock, dir string) error {
	if err := lock.RLock(); err != nil {
		return err
	}
	info, err := os.Stat(dir)
	if err == nil && time.Since(info.ModTime()) < fresh {
		return nil
	}
	old := err == nil
	if err := lock.Unlock(); err != nil {
		return err
	}
	if mine, err := r.exclusive(lock, old); err != nil || !mine {
		return errors.Join(err, lock.RLock())
	}
	// Another test may have made it meanwhile.
	if info, err := os.Stat(dir); err != nil || time.Since(info.ModTime()) >= fresh {
		err := r.build(t, dir)
		if err != nil && !old {
			return err
		}
		if err != nil {
			t.Logf("an old root serves: %v", err)
		}
	}
	return errors.Join(lock.Unlock(), lock.RLock())
}

// exclusive takes the lock for oneself; where others use an old root only if they have just ended.
func (r Root) exclusive(lock *flock.Flock, old bool) (mine bool, err error) {
	if old {
		return lock.TryLock()
	}
	return true, lock.Lock()
}

// arguments are mmdebstrap's.
func (r Root) arguments() []string {
	base, backports := strings.CutSuffix(r.Suite, "-backports")
	args := []string{"--quiet", "--format=tar", "--variant=extract", "--include=" + strings.Join(r.Packages, ",")}
	if r.Installed {
		args[2] = "--variant=essential"
	}
	if backports {
		args = append(args, fmt.Sprintf("--aptopt=APT::Default-Release %q", r.Suite),
			fmt.Sprintf(`--setup-hook=sed -n 's/ %s / %s /p' "$1/etc/apt/sources.list" > "$1/etc/apt/sources.list.d/backports.list"`, base, r.Suite))
	}
	return append(args, base, "-")
}

// build makes the root in another directory, which then becomes it.
func (r Root) build(t *testing.T, dir string) error {
	began, made := time.Now(), dir+".making"
	if err := errors.Join(os.RemoveAll(made), os.Mkdir(made, 0o755)); err != nil {
		return err
	}
	defer os.RemoveAll(made)
	// As an archive on the way, since without root only mmdebstrap itself could write files of other users, and nobody remove them.
	unpack := exec.CommandContext(t.Context(), "tar", "-x", "-p", "-C", made, "--exclude=./dev/*", "--exclude=./usr/share/doc", "--exclude=./usr/share/man", "--exclude=./usr/share/locale")
	bootstrap := exec.CommandContext(t.Context(), "mmdebstrap", r.arguments()...)
	var said strings.Builder
	pipe, err := bootstrap.StdoutPipe()
	if err != nil {
		return err
	}
	bootstrap.Stderr, unpack.Stdin = &said, pipe
	if err := bootstrap.Start(); err != nil {
		return err
	}
	out, err := unpack.CombinedOutput()
	if err := errors.Join(err, bootstrap.Wait()); err != nil {
		return fmt.Errorf("%w: %s%s", err, said.String(), out)
	}
	if !r.Installed {
		if err := writeLauncher(made, dir); err != nil {
			return err
		}
	}
	now := time.Now()
	err = os.RemoveAll(dir)
	if err == nil {
		err = os.Rename(made, dir)
	}
	if err == nil {
		err = os.Chtimes(dir, now, now)
	}
	if err != nil {
		return err
	}
	t.Logf("made a root of Debian's %s (%s) in %.0f s", r.Suite, strings.Join(r.Packages, " "), time.Since(began).Seconds())
	return nil
}
