package cluster

import (
	"strings"
	"testing"
	"time"

	"github.com/dorykube/dory/drivers"
	"github.com/dorykube/dory/internal/fail"
)

// A guest that hangs before its first message ends the start soon, and not with "no answer over SSH" after minutes.
func TestSilentGuest(t *testing.T) {
	w := newWorld(t)
	if err := w.start(); err != nil {
		t.Fatal(err)
	}
	machine := w.record().Machine
	if err := (fakeDriver{w}).set(machine, drivers.Stopped); err != nil {
		t.Fatal(err)
	}
	w.mute = true
	began := time.Now()
	err := w.start()
	if took := time.Since(began); took > time.Minute {
		t.Errorf("it took %v", took)
	}
	if !fail.Is(err, fail.GuestSilent) || !strings.Contains(fail.As(err).Evidence, "fake 1.0, processor model x") {
		t.Fatalf("start: %v, evidence %q", err, fail.As(err).Evidence)
	}
	for _, word := range []string{"--cpu-model", "--accel", "DORY_QEMU"} {
		if !strings.Contains(fail.As(err).Remedy(), word) {
			t.Errorf("the remedy %q lacks %s", fail.As(err).Remedy(), word)
		}
	}
	if state := (fakeDriver{w}).state(machine); state != drivers.Stopped {
		t.Errorf("the silent machine is %s", state)
	}
	w.mute = false
	if err := w.start(); err != nil {
		t.Errorf("when it speaks again: %v", err)
	}
}
