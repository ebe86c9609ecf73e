package cluster

import (
	"reflect"
	"testing"

	"github.com/dorykube/dory/drivers"
	"github.com/dorykube/dory/internal/fail"
)

// What is changed in a copy is not changed in what the disk has.
func TestRecordClone(t *testing.T) {
	w := newWorld(t)
	if err := w.start("extra-config=apiserver.v=1"); err != nil {
		t.Fatal(err)
	}
	before := w.record()
	copied, err := before.clone()
	if err != nil || !reflect.DeepEqual(before, copied) {
		t.Fatalf("%v:\n%+v\n%+v", err, before, copied)
	}
	copied.Machine.Forwards[0].Host++
	copied.Settings.ExtraConfig[0], copied.Spec.ExtraConfig[0] = "other", "other"
	copied.Resources[0].Made = !copied.Resources[0].Made
	copied.Settings.Images["pause"] = "other"
	if !reflect.DeepEqual(before, w.record()) {
		t.Errorf("the copy was changed, and with it what it was made from: %+v", before)
	}
}

// A cluster whose directory was removed by hand, and whose machine runs on, is told of everywhere, and no other begins beside it.
func TestHomelessMachine(t *testing.T) {
	w := newWorld(t)
	m := w.manager()
	dir := m.files("lost").path(machineDir)
	w.homeless = []drivers.Machine{{Name: "lost", UUID: newUUID(), Dir: dir}}
	m = w.manager()
	rows, err := m.List(t.Context(), true)
	if err != nil || len(rows) != 1 || rows[0].Name != "lost" || rows[0].Status != HostError {
		t.Errorf("list: %+v, %v", rows, err)
	}
	if s, err := m.Status(t.Context(), "lost"); err != nil || s.Host != HostError {
		t.Errorf("status: %+v, %v", s, err)
	}
	if f := m.leftoversFinding(); f.OK || f.Remedy != "dory delete -p lost" {
		t.Errorf("doctor: %+v", f)
	}
	if _, err := m.Start(t.Context(), "lost", w.wanted()); !fail.Is(err, fail.RecordCorrupt) || w.count("start") > 0 {
		t.Errorf("start: %v", err)
	}
	if deleted, err := m.DeleteAll(t.Context()); err != nil || len(deleted) != 1 || w.count("delete") != 1 {
		t.Errorf("delete --all: %v, %v", deleted, err)
	}
}
