//go:build vm

package test

import (
	"bytes"
	"context"
	endian "encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// point is a moment of a verb: what dory has just done to one of the files that cluster/files.go, drivers/qemu/files.go and
// package kubeconfig name. Files are written beside their place and renamed: they come.
type point struct {
	file string // of the cluster's directory, or one of those below
	does string // "is made", "comes", "is written to", "goes"
}

// Files that are not in the cluster's directory.
const (
	theKubeconfig = "the kubeconfig"
	theLock       = "the lock"
	theDirectory  = "the directory"
)

var doings = map[string]uint32{
	"is made": unix.IN_CREATE, "comes": unix.IN_MOVED_TO, "is written to": unix.IN_MODIFY, "goes": unix.IN_DELETE,
}

// points end dory at each point of the verbs that have no steps, or long ones.
func points() (all []trial) {
	add := func(verb string, ready func(*victim), points ...point) {
		for _, p := range points {
			for _, signal := range signals {
				all = append(all, trial{kind: "dory is ended: " + verb + ", at a file", name: fmt.Sprintf("%v when %s %s", signal, p.file, p.does), ready: ready,
					long:   strings.Contains(verb, "power-off"), // boots its guest again, which takes a minute
					strike: func(c *victim) { c.struckAt(p, signal, strings.Fields(verb)...) }})
			}
		}
	}
	paused := func(c *victim) { running(c); c.must(commandLimit, "-p", c.name, "pause") }
	begins := []point{{theLock, "is made"}, {"dory.log", "is written to"}}
	add("stop", running, append(begins, point{"machine/saved.memory", "is made"}, point{"machine/saved.state", "is made"},
		point{"machine/saved.json", "comes"}, point{"machine/process.json", "goes"}, point{theKubeconfig, "comes"})...)
	add("stop --power-off", running, point{"machine/process.json", "goes"}, point{"machine/boot.json", "goes"})
	add("pause", running, begins...)
	add("unpause", paused, begins...)
	add("start", saved, point{"dory.log", "is written to"}, point{"machine/boot.json", "comes"}, point{"machine/process.json", "comes"},
		point{"machine/saved.json", "goes"}, point{"machine/saved.memory", "goes"}, point{"client.crt", "comes"},
		point{"kubeconfig", "comes"}, point{theKubeconfig, "comes"})
	add("delete", running, point{theLock, "is made"}, point{"cluster.json", "comes"}, point{"machine/data.qcow2", "goes"},
		point{"machine", "goes"}, point{theKubeconfig, "comes"}, point{"ssh.key", "goes"}, point{"cluster.json", "goes"},
		point{theDirectory, "goes"}, point{theLock, "goes"})
	return all
}

func (c *victim) path(file string) string {
	dir := filepath.Join(c.home, "state", "clusters", c.name)
	switch file {
	case theKubeconfig:
		return c.kubeconfig()
	case theLock:
		return dir + ".lock"
	case theDirectory:
		return dir
	}
	return filepath.Join(dir, file)
}

// struckAt runs a verb on the cluster and sends it the signal when the point is reached.
func (c *victim) struckAt(p point, signal syscall.Signal, args ...string) {
	c.t.Helper()
	os.Remove(c.path(theLock)) // an earlier verb's, which nobody holds: it is to be made
	events := c.watch(p)
	defer events.Close()
	cmd := c.command(context.Background(), append([]string{"-p", c.name}, args...)...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	limit := time.AfterFunc(startLimit, func() { cmd.Process.Kill() })
	defer limit.Stop()
	struck := make(chan time.Time, 1)
	go func() {
		defer close(struck)
		if seen(events, filepath.Base(c.path(p.file)), doings[p.does]) {
			cmd.Process.Signal(signal)
			struck <- time.Now()
		}
	}()
	err := cmd.Wait()
	ended := time.Now()
	time.AfterFunc(time.Second, func() { events.Close() }) // what has not been seen by then did not happen
	sent, ok := <-struck
	if !ok {
		c.t.Errorf("%s ended before %s %s: %v\n%s", args[0], p.file, p.does, err, out.String())
		return
	}
	c.ended(signal, fmt.Sprintf("when %s %s", p.file, p.does), max(ended.Sub(sent), time.Microsecond))
	// After its last point a verb may have ended well before it heard of the signal.
	exit := (*exec.ExitError)(nil)
	if signal != syscall.SIGKILL && errors.As(err, &exit) && exit.ExitCode() != 2 && !unheard(exit, signal, out.String()) {
		c.t.Errorf("%s, %v when %s %s: %v\n%s", args[0], signal, p.file, p.does, err, out.String())
	}
}

// watch begins to collect what is done in the directory that the point's file is in.
func (c *victim) watch(p point) *os.File {
	c.t.Helper()
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK) // so that Close ends a Read
	if err != nil {
		c.t.Fatal(err)
	}
	if _, err := unix.InotifyAddWatch(fd, filepath.Dir(c.path(p.file)), doings[p.does]); err != nil {
		unix.Close(fd)
		c.t.Fatalf("watch the directory of %s: %v", p.file, err)
	}
	return os.NewFile(uintptr(fd), "inotify")
}

// seen waits until something is done to the file of that name: inotify(7).
func seen(events *os.File, name string, does uint32) bool {
	buffer := make([]byte, 64<<10)
	for {
		n, err := events.Read(buffer)
		if err != nil {
			return false
		}
		for rest := buffer[:n]; len(rest) >= unix.SizeofInotifyEvent; {
			mask, length := endian.NativeEndian.Uint32(rest[4:]), endian.NativeEndian.Uint32(rest[12:])
			text := rest[unix.SizeofInotifyEvent : unix.SizeofInotifyEvent+length]
			if mask&does != 0 && string(bytes.TrimRight(text, "\x00")) == name {
				return true
			}
			rest = rest[unix.SizeofInotifyEvent+length:]
		}
	}
}
