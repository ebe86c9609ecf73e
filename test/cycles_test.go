//go:build vm

package test

import (
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"k8s.io/client-go/tools/clientcmd"
)

const (
	cycles      = 100
	cyclesShort = 5
	// Other programs of this computer come and go meanwhile. Cycles that kept back 30 MiB each would show in a hundred.
	memoryTolerance = 3 << 30
	// The logs of what is shared may grow by some lines.
	diskTolerance = 1 << 20
)

// footprint is what clusters take of a computer.
type footprint struct {
	files       []string // of the home and beside it
	disk        int64    // bytes
	processes   []string
	mounts      int // below the home
	descriptors int // of this process
	memory      int64
}

func (d *dory) footprint() (f footprint) {
	filepath.WalkDir(filepath.Dir(d.home), func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return nil
		}
		if info, err := entry.Info(); err == nil {
			f.files = append(f.files, path)
			f.disk += info.Sys().(*syscall.Stat_t).Blocks * 512
		}
		return nil
	})
	f.processes = d.processesBelow(filepath.Dir(d.home))
	mounts, _ := os.ReadFile("/proc/self/mounts")
	f.mounts = strings.Count(string(mounts), d.home)
	descriptors, _ := os.ReadDir("/proc/self/fd")
	f.descriptors = len(descriptors)
	f.memory = memInfo("MemAvailable:") << 10
	return f
}

func memInfo(field string) (kib int64) {
	text, _ := os.ReadFile("/proc/meminfo")
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, field); ok {
			fmt.Sscan(rest, &kib)
		}
	}
	return kib
}

// TestForkCycles starts and deletes forks, one after the other. In the end the computer is as it was.
func TestForkCycles(t *testing.T) {
	const kind = "forks are started and deleted"
	notIfOthersAreChosen(t, kind)
	count := cyclesShort
	if os.Getenv(torture) != "" {
		count = cycles
	}
	d := newForker(t)
	d.cycle() // makes what is kept: kernels, what is known of this computer
	before := d.footprint()
	row := outcome{Kind: kind, Name: fmt.Sprintf("%d times", count)}
	var ports []string
	for range count {
		took, port := d.cycle()
		row.Start, ports = max(row.Start, took), append(ports, port)
	}
	after := d.footprint()
	if time.Sleep(time.Second); before.descriptors < after.descriptors {
		after = d.footprint() // what this process was about to close
	}
	if !slices.Equal(before.files, after.files) {
		t.Errorf("files before: %v\nafter: %v", before.files, after.files)
	}
	if before.descriptors < after.descriptors || before.mounts != after.mounts || len(after.processes) != 0 {
		t.Errorf("before: %+v\nafter: %+v", before, after)
	}
	if grown := after.disk - before.disk; grown > diskTolerance {
		t.Errorf("%d bytes more of the disk are used", grown)
	}
	if less := before.memory - after.memory; less > memoryTolerance {
		t.Errorf("%d MiB less of memory are available", less>>20)
	}
	if taken := taken(ports); taken > 1+count/10 { // another program may have been given one of them since
		t.Errorf("%d of %d ports are still in use", taken, count)
	}
	row.OK = !t.Failed()
	row.Note = fmt.Sprintf("files %d, then %d; disk %d KiB more; memory %d MiB less; descriptors %d, then %d; processes %d; the slowest start %v",
		len(before.files), len(after.files), (after.disk-before.disk)>>10, (before.memory-after.memory)>>20, before.descriptors, after.descriptors,
		len(after.processes), row.Start.Round(time.Millisecond))
	t.Log(row.Note)
	report.add(row)
}

// cycle starts a fork and deletes it. It returns how long the start took, and the API server's port.
func (d *dory) cycle() (took time.Duration, port string) {
	d.t.Helper()
	took = d.expect(0, startLimit, "start", "-p", "cycle").took
	config, err := clientcmd.LoadFromFile(d.kubeconfig())
	if err != nil || config.Clusters["cycle"] == nil {
		d.t.Fatalf("the kubeconfig after a start: %v, %v", config, err)
	}
	server, err := url.Parse(config.Clusters["cycle"].Server)
	if err != nil {
		d.t.Fatal(err)
	}
	d.must(commandLimit, "delete", "-p", "cycle")
	return took, server.Port()
}

// taken is how many of the ports cannot be listened on.
func taken(ports []string) (count int) {
	for _, port := range ports {
		listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", port))
		if err != nil {
			count++
			continue
		}
		listener.Close()
	}
	return count
}
