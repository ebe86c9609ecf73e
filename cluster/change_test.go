package cluster

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/dorykube/dory/drivers"
	"github.com/dorykube/dory/internal/fail"
	"github.com/dorykube/dory/internal/progress"
)

// told is a reporter that keeps what it is told.
type told struct {
	progress.Reporter
	lines []string
}

func (r *told) Info(message string) { r.lines = append(r.lines, message) }

// startTold starts and returns what was said.
func (w *world) startTold(flags ...string) (string, error) {
	r := &told{Reporter: progress.From(context.Background())}
	_, err := w.manager().Start(progress.With(context.Background(), r), "dory", w.wanted(flags...))
	return strings.Join(r.lines, "\n"), err
}

func TestRunningMachineGetsProcessorsAndMemoryAtItsNextBoot(t *testing.T) {
	w := newWorld(t)
	if err := w.start(); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time nothing is to be done, and it is said again
		said, err := w.startTold("cpus=4", "memory=6g")
		if err != nil || !strings.Contains(said, "when the machine boots next, it gets --cpus 4 (now 2), --memory 6GiB (now 4GiB)") {
			t.Errorf("%v: %s", err, said)
		}
	}
	if r := w.record(); r.Machine.CPUs != 2 || r.Spec.CPUs != 4 || w.count("stop") > 0 {
		t.Errorf("%+v", r)
	}
	if _, err := w.manager().Stop(context.Background(), "dory", StopOptions{}); err != nil {
		t.Fatal(err)
	}
	said, err := w.startTold()
	if r := w.record(); err != nil || r.Machine.CPUs != 4 || r.Machine.Memory != 6<<30 || said != "" {
		t.Errorf("%v: %q %+v", err, said, r.Machine)
	}
}

func TestDiskOfARunningMachineGrows(t *testing.T) {
	w := newWorld(t)
	if err := w.start(); err != nil {
		t.Fatal(err)
	}
	w.on["grow"] = func() error { return errors.New("no") }
	if w.start("disk-size=30g") == nil || w.record().Machine.Disk != 20<<30 || w.record().Spec.DiskSize.String() != "20GiB" {
		t.Errorf("%+v", w.record())
	}
	delete(w.on, "grow")
	said, err := w.startTold("disk-size=30g")
	if r := w.record(); err != nil || r.Machine.Disk != 30<<30 || r.Spec.DiskSize.String() != "30GiB" || w.count("grow") != 2 {
		t.Errorf("%v: %+v", err, r)
	}
	if said != "change --disk-size: 20GiB becomes 30GiB, and the file system with it" {
		t.Errorf("%q", said)
	}
	if err := w.start("disk-size=20g"); !fail.Is(err, fail.SpecConflict) {
		t.Error(err)
	}
}

func TestUpgradeBootsTheMachineWithTheNewBundle(t *testing.T) {
	w := newWorld(t)
	if err := w.start("kubernetes-version=v1.36"); err != nil {
		t.Fatal(err)
	}
	before := len(w.calls)
	if err := w.start("kubernetes-version=v1.37"); err != nil {
		t.Fatal(err)
	}
	if r := w.record(); r.Spec.KubernetesVersion != "v1.37.2" || r.Settings.KubernetesVersion != "v1.37.2" || r.Machine.Bundle != "bundle v1.37.2" || r.Upgrading != "" {
		t.Errorf("%+v", r)
	}
	calls := strings.Join(slices.DeleteFunc(w.calls[before:], func(c string) bool { return c == "status" }), " ")
	if calls != "check artifacts stop create start dial provision" && calls != "artifacts stop create start dial provision" {
		t.Error(calls)
	}
	if err := w.start("kubernetes-version=v1.36"); !fail.Is(err, fail.SpecConflict) {
		t.Error(err)
	}
}

func TestUpgradeThatFailsIsRolledBack(t *testing.T) {
	w := newWorld(t)
	if err := w.start("kubernetes-version=v1.36"); err != nil {
		t.Fatal(err)
	}
	w.on["provision"] = func() error {
		if w.count("provision") == 2 {
			return fail.New(fail.ControlPlaneWait, "not ready")
		}
		return nil
	}
	err := w.start("kubernetes-version=v1.37")
	if !fail.Is(err, fail.ControlPlaneWait) || !strings.Contains(err.Error(), "v1.36.3 is back") {
		t.Error(err)
	}
	r := w.record()
	if r.Spec.KubernetesVersion != "v1.36.3" || r.Machine.Bundle != "bundle v1.36.3" || r.Upgrading != "" || r.Phase != Made {
		t.Errorf("%+v", r)
	}
	if (fakeDriver{w}).state(r.Machine) != drivers.Running {
		t.Error("it does not run")
	}
	if err := w.start(); err != nil || w.record().Spec.KubernetesVersion != "v1.36.3" {
		t.Error(err)
	}
}

func TestInterruptedUpgradeGoesOn(t *testing.T) {
	for _, part := range []string{"stop", "create", "start", "dial", "provision"} {
		t.Run(part, func(t *testing.T) {
			w := newWorld(t)
			if err := w.start("kubernetes-version=v1.36"); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(context.Background())
			w.on[part] = func() error { cancel(); return ctx.Err() }
			if _, err := w.manager().Start(ctx, "dory", w.wanted("kubernetes-version=v1.37")); !fail.Is(err, fail.Interrupted) {
				t.Error(err)
			}
			if r := w.record(); r.Upgrading != "v1.37.2" || r.Spec.KubernetesVersion != "v1.36.3" {
				t.Errorf("%+v", r)
			}
			delete(w.on, part)
			if err := w.start(); err != nil {
				t.Fatal(err)
			}
			if r := w.record(); r.Upgrading != "" || r.Spec.KubernetesVersion != "v1.37.2" || r.Machine.Bundle != "bundle v1.37.2" {
				t.Errorf("%+v", r)
			}
			w.deleted()
		})
	}
}

// A start that ends between the last look at the node and the record must not leave the record of one version with the data of
// the other.
func TestUpgradeWhoseRecordWasNotWrittenGoesOn(t *testing.T) {
	w := newWorld(t)
	if err := w.start("kubernetes-version=v1.36"); err != nil {
		t.Fatal(err)
	}
	kubeconfig := os.Getenv("KUBECONFIG")
	whole, err := os.ReadFile(kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	w.on["provision"] = func() error { return os.WriteFile(kubeconfig, []byte("{"), 0o600) } // which is written last
	if err := w.start("kubernetes-version=v1.37"); !fail.Is(err, fail.KubeconfigBad) {
		t.Error(err)
	}
	delete(w.on, "provision")
	if r := w.record(); r.Upgrading != "v1.37.2" {
		t.Errorf("%+v", r)
	}
	os.WriteFile(kubeconfig, whole, 0o600)
	if err := w.start(); err != nil || w.record().Spec.KubernetesVersion != "v1.37.2" || w.record().Upgrading != "" {
		t.Errorf("%v: %+v", err, w.record())
	}
}

func TestCertificatesAreRenewedBeforeTheyEnd(t *testing.T) {
	w := newWorld(t)
	if err := w.start(); err != nil {
		t.Fatal(err)
	}
	w.certificate = []byte("one that nobody can read")
	if err := w.start(); err != nil || w.count("provision") != 2 {
		t.Errorf("%v, the node was provisioned %d times", err, w.count("provision"))
	}
	w.certificate = nil
	if err := w.start(); err != nil || w.count("provision") != 2 {
		t.Errorf("%v, the node was provisioned %d times", err, w.count("provision"))
	}
}

func TestRecordOfAnOlderVersionIsMigrated(t *testing.T) {
	w := newWorld(t)
	if err := w.start(); err != nil {
		t.Fatal(err)
	}
	path := w.manager().files("dory").path(recordFile)
	text, err := os.ReadFile(path)
	old := strings.Replace(string(text), `"version": 2`, `"version": 1`, 1)
	if err != nil || old == string(text) {
		t.Fatal(err, string(text))
	}
	os.WriteFile(path, []byte(old), 0o600)
	if err := w.start("addons=metrics-server"); err != nil {
		t.Fatal(err)
	}
	if r := w.record(); r.Version != recordVersion || r.Phase != Made {
		t.Errorf("%+v", r)
	}
	if text, err := os.ReadFile(path); err != nil || !strings.Contains(string(text), `"version": 2`) {
		t.Errorf("%v: %s", err, text)
	}
}
