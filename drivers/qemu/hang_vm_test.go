//go:build vm

package qemu

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/dorykube/dory/drivers/drivertest"
	"github.com/dorykube/dory/drivers/drivertest/debian"
	"github.com/dorykube/dory/internal/fail"
)

// hangs is a processor model that Linux for x86-64 does not run on: it says so before it knows of a serial console, and halts.
const hangs = "max,lm=off"

// A real guest that hangs is found in seconds, told what to do about, and got around where dory may choose.
func TestModelOnWhichGuestsHang(t *testing.T) {
	d := New(Options{Program: debian.QEMU(t, "trixie"), Cache: t.TempDir(), Image: drivertest.DefaultImage(t)})
	b := must(d.qemu(t.Context()))
	c, err := d.chooserFor(b, d.options.Image)
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.choose(t.Context(), wish{tcg, hangs})
	if !fail.Is(err, fail.GuestSilent) {
		t.Fatalf("on %s: %v", hangs, err)
	}
	f := fail.As(err)
	for _, word := range []string{b.Version, "processor model " + hangs, "has said nothing for too long", "--cpu-model", "--accel", "DORY_QEMU"} {
		if all := err.Error() + "\n" + f.Evidence + "\n" + f.Remedy(); !strings.Contains(all, word) {
			t.Errorf("the failure does not say %q:\n%s", word, all)
		}
	}
	t.Logf("%v\n%s\n%s", err, f.Evidence, f.Remedy())

	// The next such model, which nobody has heard of yet: dory takes the plain one. What the best one does was seen above.
	canary := c.canary
	c.canary = func(ctx context.Context, what choice) error {
		if what.Model == emulatedModel {
			return errors.New(f.Evidence)
		}
		return canary(ctx, what)
	}
	got, err := c.choose(t.Context(), wish{accel: tcg})
	if err != nil || got.Model != plainModel || !strings.Contains(got.Reason, "since no guest boots on "+emulatedModel) {
		t.Errorf("where the best model hangs: %+v, %v", got, err)
	}
}
