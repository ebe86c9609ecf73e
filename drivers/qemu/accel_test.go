package qemu

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/dorykube/dory/internal/fail"
)

// foreign is an accelerator of another operating system than this one.
func foreign() string {
	if hostAccel == hvf {
		return kvm
	}
	return hvf
}

// errDark is what a canary tells whose guest says nothing.
var errDark = fmt.Errorf("%w (5s); its console said last: nothing", errSilent)

// fakeCanary boots no guest on what is in dark.
type fakeCanary struct {
	dark   []string // accelerators, or models after an accelerator: "tcg max,..."
	booted []string
}

func (f *fakeCanary) boot(_ context.Context, c choice) error {
	f.booted = append(f.booted, c.Accel+" "+c.Model)
	if slices.Contains(f.dark, c.Accel) || slices.Contains(f.dark, c.Accel+" "+c.Model) {
		return errDark
	}
	return nil
}

func TestChooseAccelerator(t *testing.T) {
	both := []string{hostAccel, tcg}
	best := hostAccel + " " + models(hostAccel)[0]
	cases := map[string]struct {
		wish     wish
		obstacle string
		builtIn  []string
		dark     []string // see fakeCanary
		want     string   // accelerator and model
		reason   string   // part of it
		boots    int      // of the canary
		kind     fail.Kind
	}{
		"any, works":               {builtIn: both, want: best, reason: title(hostAccel), boots: 1},
		"any, not built in":        {builtIn: []string{tcg}, want: "tcg " + emulatedModel, reason: "built without", boots: 1},
		"any, no device":           {builtIn: both, obstacle: "there is no device", want: "tcg " + emulatedModel, reason: "there is no device", boots: 1},
		"any, no guest boots":      {builtIn: both, dark: []string{hostAccel}, want: "tcg " + emulatedModel, reason: "no guest boots on", boots: 3},
		"any, a plain one boots":   {builtIn: both, dark: []string{best}, want: hostAccel + " " + plainModel, reason: "since no guest boots on " + models(hostAccel)[0], boots: 2},
		"any, nothing boots":       {builtIn: both, dark: both, boots: 4, kind: fail.GuestSilent},
		"tcg":                      {wish: wish{accel: tcg}, builtIn: both, want: "tcg " + emulatedModel, reason: "asked for", boots: 1},
		"tcg, a plain one boots":   {wish: wish{accel: tcg}, builtIn: both, dark: []string{"tcg " + emulatedModel}, want: "tcg " + plainModel, reason: "since no guest boots on max", boots: 2},
		"tcg, nothing boots":       {wish: wish{accel: tcg}, builtIn: both, dark: both, boots: 2, kind: fail.GuestSilent},
		"tcg, not built in":        {wish: wish{accel: tcg}, builtIn: []string{hostAccel}, kind: fail.GuestSilent},
		"named, works":             {wish: wish{accel: hostAccel}, builtIn: both, want: best, reason: "asked for", boots: 1},
		"named, no guest boots":    {wish: wish{accel: hostAccel}, builtIn: both, dark: both, boots: 2, kind: fail.KVMUnusable},
		"named, not built in":      {wish: wish{accel: hostAccel}, builtIn: []string{tcg}, kind: fail.KVMUnusable},
		"named, obstacle but runs": {wish: wish{accel: hostAccel}, builtIn: both, obstacle: "no flag", want: best, boots: 1},
		"model":                    {wish: wish{tcg, "qemu64"}, builtIn: both, want: "tcg qemu64", reason: "processor model qemu64", boots: 1},
		"model, does not boot":     {wish: wish{tcg, "qemu64"}, builtIn: both, dark: both, boots: 1, kind: fail.GuestSilent},
		"model for any":            {wish: wish{"", "qemu64"}, builtIn: both, dark: []string{hostAccel}, want: "tcg qemu64", boots: 2},
		"no such model":            {wish: wish{tcg, "qemu46"}, builtIn: both, kind: fail.BadValue},
		"not a model":              {wish: wish{tcg, "max, or min"}, builtIn: both, kind: fail.BadValue},
		"other system's":           {wish: wish{accel: foreign()}, builtIn: both, kind: fail.KVMUnusable},
		"unknown":                  {wish: wish{accel: "warp"}, kind: fail.BadValue},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			canary := &fakeCanary{dark: c.dark}
			chooser := &chooser{host: hostAccel, hypervisor: "QEMU 1.2.3",
				binary:   &binary{Accels: c.builtIn, Models: []string{"qemu64", "max"}},
				precheck: func() (string, string) { return c.obstacle, "" },
				canary:   canary.boot,
				memory:   &canaryMemory{dir: t.TempDir(), key: "k"},
			}
			got, err := chooser.choose(t.Context(), c.wish)
			if c.kind.ID != "" {
				if !fail.Is(err, c.kind) {
					t.Errorf("error %v, want kind %s", err, c.kind.ID)
				}
				for _, booted := range canary.booted { // each is evidence
					_, model, _ := strings.Cut(booted, " ")
					if evidence := fail.As(err).Evidence; !strings.Contains(evidence, "processor model "+model+": "+errDark.Error()) {
						t.Errorf("evidence %q lacks %s", evidence, model)
					}
				}
			} else if err != nil || got.Accel+" "+got.Model != c.want || !strings.Contains(got.Reason, c.reason) || strings.Contains(got.Reason, "\n") {
				t.Errorf("choice %+v, %v; want %s because %q", got, err, c.want, c.reason)
			}
			if len(canary.booted) != c.boots {
				t.Errorf("the canary booted %q, want %d", canary.booted, c.boots)
			}
		})
	}
}

func TestCanaryIsRemembered(t *testing.T) {
	dir, canary := filepath.Join(t.TempDir(), "not", "there", "yet"), &fakeCanary{dark: []string{hostAccel}}
	with := func(key string) *chooser {
		return &chooser{host: hostAccel,
			binary:   &binary{Accels: []string{hostAccel, tcg}},
			precheck: func() (string, string) { return "", "" },
			canary:   canary.boot,
			memory:   &canaryMemory{dir: dir, key: key},
		}
	}
	expect := func(step string, c *chooser, w wish, accel string, want int) {
		t.Helper()
		canary.booted = nil
		got, err := c.choose(t.Context(), w)
		if got.Accel != accel || len(canary.booted) != want {
			t.Errorf("%s: %+v, %v after %q; want %q after %d", step, got, err, canary.booted, accel, want)
		}
	}
	expect("first", with("a"), wish{}, tcg, 3)
	expect("again", with("a"), wish{}, tcg, 0)
	expect("asked for by name: again", with("a"), wish{accel: hostAccel}, "", 2)
	canary.dark = nil
	expect("fixed, asked for by name", with("a"), wish{accel: hostAccel}, hostAccel, 1)
	expect("fixed, any", with("a"), wish{}, hostAccel, 0)
	expect("another model", with("a"), wish{model: "qemu64"}, hostAccel, 1)
	expect("another kernel, QEMU or boot", with("b"), wish{}, hostAccel, 1)
	if err := os.WriteFile(filepath.Join(dir, "canary-"+hostAccel+".json"), []byte("{garbled"), 0o600); err != nil {
		t.Fatal(err)
	}
	expect("garbled memory", with("b"), wish{}, hostAccel, 1)
	canary.dark = []string{tcg}
	expect("nothing boots", with("c"), wish{accel: tcg}, "", 2)
	expect("nothing boots: asked again", with("c"), wish{accel: tcg}, "", 2)
}

func TestCanaryInterruptedIsNotRemembered(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	dir := t.TempDir()
	c := &chooser{host: hostAccel,
		binary:   &binary{Accels: []string{hostAccel, tcg}},
		precheck: func() (string, string) { return "", "" },
		canary:   func(context.Context, choice) error { cancel(); return errors.New("killed") },
		memory:   &canaryMemory{dir: dir, key: "k"},
	}
	if got, err := c.choose(ctx, wish{}); !errors.Is(err, context.Canceled) {
		t.Errorf("choose = %+v, %v", got, err)
	}
	if v, ok := c.memory.recall(choice{Accel: hostAccel, Model: models(hostAccel)[0]}); ok {
		t.Errorf("an interrupted canary's answer is remembered: %+v", v)
	}
}

// What is not QEMU's ends at once, and says so.
func TestCanaryOfAProgramThatEnds(t *testing.T) {
	err := bootCanary(t.Context(), "/bin/false", canarySetup(&binary{MachineTypes: []string{"pc-q35-7.2"}}, Boot{"kernel", "initrd", "quiet"}, choice{Accel: tcg}))
	if err == nil || !strings.Contains(err.Error(), "QEMU ended before") {
		t.Errorf("canary: %v", err)
	}
}

// A machine that an older dory started has no model written down: it is the one that dory used.
func TestModelOfAnOlderDory(t *testing.T) {
	for accel, want := range map[string]string{tcg: "max,erms=off,la57=off", kvm: "host", whpx: "Skylake-Client-v4"} {
		if got := (choice{Accel: accel}).model(); got != want {
			t.Errorf("%s: %s, want %s", accel, got, want)
		}
	}
}

// A guest that panics once is not taken for one that never boots.
func TestCanaryThatPanics(t *testing.T) {
	boots, panics := 0, 1
	c := &chooser{host: hostAccel, binary: &binary{}, memory: &canaryMemory{},
		canary: func(context.Context, choice) error {
			if boots++; boots <= panics {
				return errors.New("QEMU ended before the guest came up; its console said last: Kernel panic")
			}
			return nil
		}}
	if got, err := c.choose(t.Context(), wish{accel: tcg}); err != nil || got.Model != emulatedModel || boots != 2 {
		t.Errorf("after one panic: %+v, %v, %d boots", got, err, boots)
	}
	boots, panics = 0, 9
	if _, err := c.choose(t.Context(), wish{accel: tcg}); !fail.Is(err, fail.GuestSilent) || boots != 4 {
		t.Errorf("after panics only: %v, %d boots", err, boots)
	}
}
