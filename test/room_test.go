//go:build vm

package test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const mib = 1 << 20

// rooms fill the disk that the clusters are on: before a start, while the guest writes, and while it is saved.
func rooms() (all []trial) {
	const full = "the disk is full"
	for _, free := range []int64{0, 64 << 10, 4 * mib, 200 * mib} {
		all = append(all, trial{kind: full, name: "at a start, " + room(free), refused: []int{26}, mend: (*victim).makeRoom,
			ready: func(c *victim) { c.stateOnDisk(1024) }, strike: func(c *victim) { c.fill(free) }})
	}
	all = append(all, trial{kind: full, name: "at a start, that of the kubeconfig", refused: []int{26, 38}, mend: (*victim).makeRoom,
		ready: (*victim).kubeconfigOnDisk, strike: func(c *victim) { c.fill(0) }})
	for _, verb := range []string{"start", "stop", "stop --power-off", "delete"} {
		all = append(all, trial{kind: full, name: "while the guest writes; then " + verb, ready: onDisk,
			strike: func(c *victim) { c.guestIsHalted(verb) }})
	}
	for _, free := range []int64{0, mib, 30 * mib, 300 * mib} {
		all = append(all, trial{kind: full, name: "at a stop, " + room(free), ready: onDisk, strike: func(c *victim) { c.cannotBeSaved(free) }})
	}
	return append(all, trial{kind: full, name: "at the start of a saved cluster", refused: []int{26}, mend: (*victim).makeRoom,
		ready:  func(c *victim) { onDisk(c); c.must(startLimit, "-p", c.name, "stop") },
		strike: func(c *victim) { c.fill(0) }})
}

func room(free int64) string {
	if free < mib {
		return fmt.Sprintf("%d KiB free", free>>10)
	}
	return fmt.Sprintf("%d MiB free", free/mib)
}

// onDisk gives the cluster a home of its own, whose state is on a small file system, and starts it.
func onDisk(c *victim) {
	c.stateOnDisk(2560)
	running(c)
}

// stateOnDisk gives the cluster a home of its own, whose state is on a file system of so many MiB.
func (c *victim) stateOnDisk(size int64) {
	c.t.Helper()
	c.dory = newForker(c.t)
	c.mount(size, filepath.Join(c.home, "state"))
}

// mount mounts an ext4 of so many MiB, which lies in a sparse file. Nothing of it is kept back for root.
func (c *victim) mount(size int64, dir string) {
	c.t.Helper()
	image := dir + ".img"
	if err := os.MkdirAll(dir, 0o700); err != nil {
		c.t.Fatal(err)
	}
	c.do("truncate", "-s", fmt.Sprint(size*mib), image)
	c.do("mkfs.ext4", "-q", "-F", "-m", "0", image)
	c.do("mount", "-o", "loop", image, dir)
	c.t.Cleanup(func() {
		c.eventually("the file system is unmounted", time.Minute, func() error { return exec.Command("umount", dir).Run() })
	})
	if err := os.Chmod(dir, 0o700); err != nil {
		c.t.Fatal(err)
	}
	c.disk = dir
}

// do runs a program of this computer.
func (d *dory) do(program string, args ...string) {
	d.t.Helper()
	if out, err := exec.Command(program, args...).CombinedOutput(); err != nil {
		d.t.Fatalf("%s %v (which takes root): %v: %s", program, args, err, out)
	}
}

// kubeconfigOnDisk has the kubeconfig on a small file system, and nothing else.
func (c *victim) kubeconfigOnDisk() {
	c.t.Helper()
	c.dory = newForker(c.t)
	c.mount(16, c.home+"-user")
	c.env = append(c.env, "KUBECONFIG="+filepath.Join(c.disk, "config"))
	withForeign(c)
}

func (c *victim) filler() string { return filepath.Join(c.disk, "filler") }

// fill leaves so many bytes free.
func (c *victim) fill(leave int64) {
	c.t.Helper()
	file, err := os.OpenFile(c.filler(), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		c.t.Fatal(err)
	}
	defer file.Close()
	var end int64
	for step := int64(256 * mib); step >= 4096; {
		var fs syscall.Statfs_t
		if err := syscall.Statfs(c.filler(), &fs); err != nil {
			c.t.Fatal(err)
		}
		free := int64(fs.Bavail)*fs.Bsize - leave
		if free < 4096 {
			break
		}
		// The file system itself takes some of what is left.
		if syscall.Fallocate(int(file.Fd()), 0, end, min(step, free)) != nil {
			step /= 2
			continue
		}
		end += min(step, free)
	}
	file.Sync()
}

func (c *victim) makeRoom() {
	c.t.Helper()
	if err := os.Remove(c.filler()); err != nil {
		c.t.Error(err)
	}
}

// guestIsHalted fills the disk while the guest writes to its own. The status says why it is halted, the verb does what it can,
// and when there is room again everything that was written is there.
func (c *victim) guestIsHalted(verb string) {
	c.t.Helper()
	c.in(c.name, "echo kept >/var/lib/kept && sync")
	c.fill(8 * mib)
	c.in(c.name, "systemd-run --quiet dd if=/dev/urandom of=/var/lib/large bs=1M count=64 conv=fsync")
	c.tells([]string{"host: Paused", "full"})
	r := c.run(startLimit, append([]string{"-p", c.name}, strings.Fields(verb)...)...)
	c.t.Logf("%s: exit %d after %v\n%s", verb, r.code, r.took, r.stderr)
	if r.code != 0 && (r.code != 26 || !strings.Contains(r.stderr, "what to do:")) || verb == "start" && r.code == 0 || r.took > 4*time.Minute {
		c.t.Errorf("%s: exit %d after %v\n%s", verb, r.code, r.took, r.stderr)
	}
	c.makeRoom()
	if verb == "delete" {
		return
	}
	c.must(startLimit, "-p", c.name, "start", "--wait-timeout", "5m")
	if got := c.in(c.name, "cat /var/lib/kept"); got != "kept" {
		c.t.Errorf("what was written is %q", got)
	}
}

// cannotBeSaved stops the cluster without enough room for its memory. It goes on as if nothing had been.
func (c *victim) cannotBeSaved(free int64) {
	c.t.Helper()
	c.in(c.name, "echo kept >/run/only-in-memory && sync")
	c.fill(free)
	r := c.run(startLimit, "-p", c.name, "stop")
	c.t.Logf("stop: exit %d after %v\n%s", r.code, r.took, r.stderr)
	if r.code != 26 || !strings.Contains(r.stderr, "RSRC_DISK") {
		c.t.Errorf("stop: exit %d after %v\n%s", r.code, r.took, r.stderr)
	}
	if left, _ := filepath.Glob(filepath.Join(c.home, "state", "clusters", c.name, "machine", "saved.*")); len(left) != 0 {
		c.t.Errorf("left of the saving: %v", left)
	}
	if free >= mib { // with less, the guest may be halted by its own writes
		c.kubectlOf(c.name, "get", "node", "dory")
	}
	c.makeRoom()
	c.must(startLimit, "-p", c.name, "start")
	if got := c.in(c.name, "cat /run/only-in-memory"); got != "kept" {
		c.t.Errorf("what was in memory is %q", got)
	}
	c.must(startLimit, "-p", c.name, "stop")
}
