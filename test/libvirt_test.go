//go:build vm

package test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dorykube/dory/drivers/libvirt/libvirttest"
)

// TestLibvirt is the life of a cluster whose machine libvirt's system daemon makes.
func TestLibvirt(t *testing.T) {
	if !libvirttest.Inside(t) {
		return
	}
	daemon, d := libvirttest.System(t, libvirttest.Monolithic), newDory(t)
	part := libvirtCluster(t, daemon, d)
	part("volume outlives its pod", volume)
	part("dory ssh and cp", sshAndCopy)
	part("exec, logs, port-forward", streams)
	part("pause", pause)
	part("stop and start", func(t *testing.T, d *dory) {
		server := d.server()
		d.must(startLimit, "stop")
		d.statusSays(7, "host: Stopped")
		r := d.expect(0, startLimit, "start")
		if t.Logf("%v\n%s", r.took, r.stderr); !strings.Contains(r.stderr, "it goes on where it was stopped") || d.server() != server {
			t.Errorf("it did not go on at %s, but at %s", server, d.server())
		}
		d.everythingIsBack()
	})
	part("delete", deleteLeavesNothing)
	part("delete without the state directory", func(t *testing.T, d *dory) { lostClusters(t, d, daemon) })
}

// TestLibvirtSession is a cluster whose machine a user's own daemon makes, as far as that differs. Its pool is where that user
// keeps data.
func TestLibvirtSession(t *testing.T) {
	onlyInAll(t)
	if !libvirttest.Inside(t) {
		return
	}
	daemon, d := libvirttest.Session(t), newDory(t)
	d.env = append(d.env, "XDG_DATA_HOME="+filepath.Dir(daemon.Pool))
	part := libvirtCluster(t, daemon, d)
	part("delete", deleteLeavesNothing)
	if left := daemon.Left(); left != "" {
		t.Errorf("left behind:\n%s", left)
	}
}

// libvirtCluster starts a cluster and looks whether it is one.
func libvirtCluster(t *testing.T, daemon *libvirttest.Daemon, d *dory) (part runPart) {
	if err := os.WriteFile(d.kubeconfig(), []byte(foreign), 0o600); err != nil {
		t.Fatal(err)
	}
	d.env = append(d.env, "DORY_DRIVER=kvm2", "DORY_KVM_QEMU_URI="+daemon.URI)
	started := d.expect(0, startLimit, "start")
	t.Logf("%v\n%s", started.took, started.stderr)
	part, _ = d.parts(t)
	part("node and system pods", nodeIsReady)
	part("security", isClosed)
	part("second start does nothing", func(t *testing.T, d *dory) {
		if r := d.expect(0, commandLimit, "start"); strings.Contains(r.stderr, "etcd") {
			t.Errorf("it did something: %s", r.stderr)
		}
		d.statusSays(0, "host: Running", "kubelet: Running", "apiserver: Running", "kubeconfig: Configured")
		d.expect(11, commandLimit, "start", "--kvm-qemu-uri", "qemu:///session")
	})
	part("workload through DNS and from the host", workload)
	return part
}

// lostClusters deletes clusters of which only libvirt knows.
func lostClusters(t *testing.T, d *dory, daemon *libvirttest.Daemon) {
	for _, verb := range [][]string{{"delete"}, {"delete", "--all"}} {
		d.run(startLimit, "start", "--wait-timeout", "1s") // far enough for there to be a machine
		if !strings.Contains(daemon.Virsh("list", "--all"), "dory-") {
			t.Fatal("there is no machine")
		}
		if err := os.RemoveAll(filepath.Join(d.home, "state")); err != nil {
			t.Fatal(err)
		}
		d.must(commandLimit, verb...)
		if left := daemon.Left(); left != "" {
			t.Errorf("%v left behind:\n%s", verb, left)
		}
	}
}
