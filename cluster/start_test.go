package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dorykube/dory/drivers"
	"github.com/dorykube/dory/internal/fail"
	"github.com/dorykube/dory/internal/kubeconfig"
	"k8s.io/client-go/tools/clientcmd"
)

func TestStartMakesAClusterAndThenDoesNothing(t *testing.T) {
	w := newWorld(t)
	if err := w.start(); err != nil {
		t.Fatal(err)
	}
	record := w.record()
	if record.Phase != Made || record.HostKey == "" || record.Machine.Forwards[1].Host != 30001 || !record.has(machineResource) || !record.has(kubeconfigResource) {
		t.Errorf("the record: %+v", record)
	}
	if err := kubeconfig.Check("dory", "https://127.0.0.1:30001"); err != nil {
		t.Error(err)
	}
	before := len(w.calls)
	started, err := w.manager().Start(context.Background(), "dory", w.wanted())
	if err != nil || !started.Nothing || !started.Current {
		t.Errorf("%+v, %v", started, err)
	}
	if again := strings.Join(w.calls[before:], " "); again != "status ready wait get" {
		t.Errorf("a second start does %s", again)
	}
	w.behind, before = time.Hour, len(w.calls)
	if err := w.start(); err != nil {
		t.Error(err)
	}
	if again := strings.Join(w.calls[before:], " "); again != "status ready wait get status dial" {
		t.Errorf("with a wrong clock a second start does %s", again)
	}
	w.lent = true
	before = len(w.calls)
	if err := w.start(); err != nil {
		t.Error(err)
	}
	if again := strings.Join(w.calls[before:], " "); again != "status ready wait get" {
		t.Errorf("with the wrong clock of somebody's own machine a second start does %s", again)
	}
	w.lent = false
	w.behind, before = 0, len(w.calls)
	if err := os.Remove(os.Getenv("KUBECONFIG")); err != nil {
		t.Fatal(err)
	}
	if err := w.start(); err != nil || kubeconfig.Check("dory", "https://127.0.0.1:30001") != nil {
		t.Errorf("without a kubeconfig: %v", err)
	}
	if again := strings.Join(w.calls[before:], " "); again != "status ready wait get" {
		t.Errorf("without a kubeconfig a start does %s", again)
	}
	w.nodeless, before = true, w.count("provision")
	if err := w.start(); err != nil || w.count("provision") != before+1 {
		t.Errorf("with a Node that was deleted: %v", err)
	}
	w.nodeless = false
	w.silent, before = true, w.count("provision")
	if err := w.start(); err != nil || w.count("provision") != before+1 {
		t.Errorf("with a kubelet that is silent: %v", err)
	}
	for _, path := range w.left() {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
	}
}

// Each part in turn interrupts the start, or fails; then the next start goes on, and delete leaves nothing.
func TestInterruptedAndFailedStarts(t *testing.T) {
	for _, part := range []string{"check", "artifacts", "create", "start", "dial", "provision"} {
		t.Run(part, func(t *testing.T) {
			w := newWorld(t)
			ctx, cancel := context.WithCancel(context.Background())
			w.on[part] = func() error { cancel(); return ctx.Err() }
			_, err := w.manager().Start(ctx, "dory", w.wanted("cpus=3"))
			if !fail.Is(err, fail.Interrupted) {
				t.Errorf("interrupted: %v", err)
			}
			w.on[part] = func() error { return fail.New(fail.QEMUFailed, "broken") }
			if err := w.start(); !strings.Contains(fmt.Sprint(err), "broken") {
				t.Errorf("failed: %v", err)
			}
			machine := w.count("start") > 0
			if !machine && len(w.left()) > 0 {
				t.Errorf("nothing was made, and left behind are %v", w.left())
			}
			delete(w.on, part)
			if err := w.start(); err != nil {
				t.Fatal(err)
			}
			if record := w.record(); record.Phase != Made || machine && record.Spec.CPUs != 3 {
				t.Errorf("the record: %+v", record)
			}
			w.deleted()
		})
	}
}

func (w *world) deleted() {
	w.t.Helper()
	if _, err := w.manager().Delete(context.Background(), "dory"); err != nil {
		w.t.Error(err)
	}
	if left := w.left(); len(left) > 0 {
		w.t.Errorf("left behind: %v", left)
	}
	text, _ := os.ReadFile(os.Getenv("KUBECONFIG"))
	if strings.Contains(string(text), "dory") {
		w.t.Errorf("the kubeconfig: %s", text)
	}
}

func TestStoppedAndKilledMachinesAreBootedAgain(t *testing.T) {
	w := newWorld(t)
	if err := w.start(); err != nil {
		t.Fatal(err)
	}
	uuid := w.record().Machine.UUID
	if stopped, err := w.manager().Stop(context.Background(), "dory", StopOptions{}); err != nil || !stopped {
		t.Fatal(stopped, err)
	}
	if stopped, err := w.manager().Stop(context.Background(), "dory", StopOptions{}); err != nil || stopped {
		t.Error("stopped twice", err)
	}
	if err := w.start("cpus=4", "memory=6g"); err != nil {
		t.Fatal(err)
	}
	record := w.record()
	if record.Machine.UUID != uuid || record.Machine.CPUs != 4 || record.Spec.Memory.String() != "6GiB" {
		t.Errorf("%+v", record)
	}
}

func TestDamagedFilesAreSaidBeforeTheMachineStarts(t *testing.T) {
	for file, kind := range map[string]fail.Kind{"authority": fail.RecordCorrupt, "kubeconfig": fail.KubeconfigBad} {
		t.Run(file, func(t *testing.T) {
			w := newWorld(t)
			if err := w.start(); err != nil {
				t.Fatal(err)
			}
			if _, err := w.manager().Stop(context.Background(), "dory", StopOptions{}); err != nil {
				t.Fatal(err)
			}
			paths := map[string]string{
				"authority":  filepath.Join(w.manager().files("dory").path(pkiDir), "front-proxy-ca.key"),
				"kubeconfig": os.Getenv("KUBECONFIG"),
			}
			if err := os.WriteFile(paths[file], []byte("\x00"), 0o600); err != nil {
				t.Fatal(err)
			}
			before := w.count("start")
			if err := w.start(); !fail.Is(err, kind) || w.count("start") != before {
				t.Errorf("%v; the machine was started %d times more", err, w.count("start")-before)
			}
			w.deleted()
		})
	}
}

// TestLostMachineIsNotMadeAnew takes the machine of a cluster away that may hold a user's data.
func TestLostMachineIsNotMadeAnew(t *testing.T) {
	w := newWorld(t)
	if err := w.start(); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(w.manager().files("dory").path(machineDir)); err != nil {
		t.Fatal(err)
	}
	if err := w.start(); !fail.Is(err, fail.MachineGone) || w.count("create") != 1 {
		t.Errorf("%v; %d machines were made", err, w.count("create"))
	}
	if _, err := w.manager().Delete(context.Background(), "dory"); err != nil {
		t.Fatal(err)
	}
	if err := w.start(); err != nil {
		t.Error(err)
	}
}

func TestWhatCannotBeChangedIsRefusedBeforeAnythingIs(t *testing.T) {
	w := newWorld(t)
	if err := w.start("dns-domain=one.test"); err != nil {
		t.Fatal(err)
	}
	before := len(w.calls)
	for flag, words := range map[string]string{
		"disk-size=10g": "--disk-size is 20GiB, not 10GiB", "dns-domain=two.test": "one.test, not two.test",
		"kubernetes-version=v1.36": "v1.36.3", "service-cluster-ip-range=10.97.0.0/16": "10.97.0.0/16",
	} {
		err := w.start(flag)
		if !fail.Is(err, fail.SpecConflict) || !strings.Contains(err.Error(), words) {
			t.Errorf("%s: %v", flag, err)
		}
	}
	for _, call := range w.calls[before:] {
		if call != "status" {
			t.Errorf("%s was called", call)
		}
	}
	for _, same := range []string{"driver=auto", "driver=fake", "disk-size=20480", "kubernetes-version=stable", "dns-domain=one.test"} {
		if err := w.start(same); err != nil {
			t.Errorf("%s: %v", same, err)
		}
	}
}

func TestAddonsAndFlagsOfComponentsAreProvisionedAgain(t *testing.T) {
	w := newWorld(t)
	if err := w.start(); err != nil {
		t.Fatal(err)
	}
	if err := w.start("addons=metrics-server"); err != nil || w.count("provision") != 2 {
		t.Fatal(err, w.calls)
	}
	w.on["provision"] = func() error { return fail.New(fail.ControlPlaneFailed, "wrong flag") }
	if err := w.start("extra-config=apiserver.x=1"); !fail.Is(err, fail.ControlPlaneFailed) {
		t.Error(err)
	}
	if n := w.count("provision"); n != 4 {
		t.Errorf("the previous settings were not put back: %d", n)
	}
	if record := w.record(); len(record.Spec.ExtraConfig) > 0 || len(record.Spec.Addons) != 1 {
		t.Errorf("%+v", record.Spec)
	}
}

func TestUnfinishedClusterIsBegunAnewWhenSomethingElseIsWished(t *testing.T) {
	w := newWorld(t)
	w.on["provision"] = func() error { return errors.New("broken") }
	if w.start("disk-size=12g") == nil {
		t.Fatal("it succeeded")
	}
	uuid := w.record().Machine.UUID
	delete(w.on, "provision")
	if err := w.start("disk-size=10g"); err != nil {
		t.Fatal(err)
	}
	if record := w.record(); record.Machine.UUID == uuid || record.Spec.DiskSize.String() != "10GiB" || w.count("delete") != 1 {
		t.Errorf("%+v", record)
	}
}

func TestDeleteOnFailure(t *testing.T) {
	w := newWorld(t)
	w.on["provision"] = func() error { return errors.New("broken") }
	if w.start("delete-on-failure=true") == nil || len(w.left()) > 0 {
		t.Errorf("left behind: %v", w.left())
	}
}

func TestUnfinishedDeleteIsEndedByStart(t *testing.T) {
	w := newWorld(t)
	if err := w.start(); err != nil {
		t.Fatal(err)
	}
	w.on["delete"] = func() error { return errors.New("busy") }
	if _, err := w.manager().Delete(context.Background(), "dory"); err == nil || w.record().Phase != Deleting {
		t.Fatal(err)
	}
	delete(w.on, "delete")
	uuid := w.record().Machine.UUID
	if err := w.start(); err != nil || w.record().Machine.UUID == uuid {
		t.Error(err)
	}
	w.deleted()
}

func TestForeignContextIsNotTaken(t *testing.T) {
	w := newWorld(t)
	text := "apiVersion: v1\nkind: Config\ncontexts: [{name: dory, context: {cluster: c, user: u}}]\n"
	os.WriteFile(os.Getenv("KUBECONFIG"), []byte(text), 0o600)
	if err := w.start(); !fail.Is(err, fail.KubeconfigTaken) || len(w.calls) > 0 || len(w.left()) > 0 {
		t.Error(err, w.calls, w.left())
	}
}

// What became somebody else's after the first start is asked about, too; not what leads to the cluster all the same.
func TestForeignContextOfAClusterThatIsThere(t *testing.T) {
	w := newWorld(t)
	if err := w.start(); err != nil {
		t.Fatal(err)
	}
	path := os.Getenv("KUBECONFIG")
	ours, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"context": "apiVersion: v1\nkind: Config\ncontexts: [{name: dory, context: {cluster: c, user: u}}]\n",
		"cluster": "apiVersion: v1\nkind: Config\nclusters: [{name: dory, cluster: {server: 'https://127.0.0.1:1'}}]\n",
		"user":    "apiVersion: v1\nkind: Config\nusers: [{name: dory, user: {token: theirs}}]\n",
	} {
		os.WriteFile(path, []byte(text), 0o600)
		if err := w.start(); !fail.Is(err, fail.KubeconfigTaken) {
			t.Errorf("%s: start: %v", name, err)
		}
		if _, err := w.manager().UpdateContext(context.Background(), "dory"); !fail.Is(err, fail.KubeconfigTaken) {
			t.Errorf("%s: update-context: %v", name, err)
		}
		if now, _ := os.ReadFile(path); string(now) != text {
			t.Errorf("%s was overwritten:\n%s", name, now)
		}
	}
	config, err := clientcmd.Load(ours)
	if err != nil {
		t.Fatal(err)
	}
	config.Contexts["dory"].Extensions, config.Clusters["dory"].Extensions, config.AuthInfos["dory"].Extensions = nil, nil, nil
	unmarked, err := clientcmd.Write(*config)
	if err != nil {
		t.Fatal(err)
	}
	os.WriteFile(path, unmarked, 0o600) // as by a tool that does not know the mark
	if err := w.start(); err != nil || bytes.Equal(ours, unmarked) {
		t.Errorf("%v\n%s", err, unmarked)
	}
}

// A kubeconfig that cannot be written is named before anything is made.
func TestKubeconfigThatIsNoFile(t *testing.T) {
	w := newWorld(t)
	t.Setenv("KUBECONFIG", os.DevNull)
	if err := w.start(); !fail.Is(err, fail.KubeconfigBad) || len(w.calls) > 0 || len(w.left()) > 0 {
		t.Error(err, w.calls, w.left())
	}
}

func TestMachineThatEndsEndsTheStart(t *testing.T) {
	for name, looks := range map[string]int{"the watch sees it": 1, "what it leads to comes first": 0} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.on["provision"] = func() error {
				before := w.count("status")
				fakeDriver{w}.set(w.record().Machine, drivers.Stopped)
				w.eventually(func() bool { return w.count("status") >= before+looks })
				return errors.New("connection lost")
			}
			if err := w.start(); !fail.Is(err, fail.MachineEnded) {
				t.Error(err)
			}
		})
	}
}
