package qemu

import (
	"context"
	"errors"
	"os"
	"path/filepath"
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

func TestChooseAccelerator(t *testing.T) {
	silent := errors.New("no guest came up within 5s\nthe guest's console said last: nothing")
	cases := map[string]struct {
		wish, obstacle string
		builtIn        []string
		canary         error
		want           string // accelerator
		reason         string // part of it
		boots          int    // of the canary
		kind           fail.Kind
	}{
		"auto, works":              {wish: "auto", builtIn: []string{hostAccel, tcg}, want: hostAccel, reason: title(hostAccel), boots: 1},
		"no wish is auto":          {wish: "", builtIn: []string{hostAccel}, want: hostAccel, boots: 1},
		"auto, not built in":       {wish: "auto", builtIn: []string{tcg}, want: tcg, reason: "built without"},
		"auto, no device":          {wish: "auto", builtIn: []string{hostAccel}, obstacle: "there is no device", want: tcg, reason: "there is no device"},
		"auto, no guest boots":     {wish: "auto", builtIn: []string{hostAccel}, canary: silent, want: tcg, reason: "no guest boots on", boots: 1},
		"tcg":                      {wish: "tcg", builtIn: []string{hostAccel}, want: tcg, reason: "asked for"},
		"named, works":             {wish: hostAccel, builtIn: []string{hostAccel}, want: hostAccel, reason: "asked for", boots: 1},
		"named, no guest boots":    {wish: hostAccel, builtIn: []string{hostAccel}, canary: silent, boots: 1, kind: fail.KVMUnusable},
		"named, not built in":      {wish: hostAccel, builtIn: []string{tcg}, kind: fail.KVMUnusable},
		"named, obstacle but runs": {wish: hostAccel, builtIn: []string{hostAccel}, obstacle: "no flag", want: hostAccel, boots: 1},
		"other system's":           {wish: foreign(), builtIn: []string{hostAccel}, kind: fail.KVMUnusable},
		"unknown":                  {wish: "warp", kind: fail.BadValue},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			boots := 0
			chooser := &chooser{host: hostAccel,
				binary:   &binary{Accels: c.builtIn},
				precheck: func() (string, string) { return c.obstacle, "" },
				canary:   func(context.Context, string) error { boots++; return c.canary },
				memory:   &canaryMemory{dir: t.TempDir(), key: "k"},
			}
			got, err := chooser.choose(t.Context(), c.wish)
			if c.kind.ID != "" {
				if !fail.Is(err, c.kind) {
					t.Errorf("error %v, want kind %s", err, c.kind.ID)
				}
				if c.canary != nil && fail.As(err).Evidence != c.canary.Error() {
					t.Errorf("evidence %q", fail.As(err).Evidence)
				}
			} else if err != nil || got.Accel != c.want || !strings.Contains(got.Reason, c.reason) || strings.Contains(got.Reason, "\n") {
				t.Errorf("choice %+v, %v; want %s because %q", got, err, c.want, c.reason)
			}
			if boots != c.boots {
				t.Errorf("the canary booted %d times, want %d", boots, c.boots)
			}
		})
	}
}

func TestCanaryIsRemembered(t *testing.T) {
	dir, boots, answer := filepath.Join(t.TempDir(), "not", "there", "yet"), 0, errors.New("dark")
	with := func(key string) *chooser {
		return &chooser{host: hostAccel,
			binary:   &binary{Accels: []string{hostAccel}},
			precheck: func() (string, string) { return "", "" },
			canary:   func(context.Context, string) error { boots++; return answer },
			memory:   &canaryMemory{dir: dir, key: key},
		}
	}
	expect := func(step string, c *chooser, wish string, accel string, want int) {
		t.Helper()
		got, err := c.choose(t.Context(), wish)
		if got.Accel != accel || boots != want {
			t.Errorf("%s: %+v, %v after %d boots; want %q after %d", step, got, err, boots, accel, want)
		}
	}
	expect("first", with("a"), "auto", tcg, 1)
	expect("again", with("a"), "auto", tcg, 1)
	expect("asked for by name: anew", with("a"), hostAccel, "", 2)
	answer = nil
	expect("mended, asked for by name", with("a"), hostAccel, hostAccel, 3)
	expect("mended, auto", with("a"), "auto", hostAccel, 3)
	expect("another kernel, QEMU or boot", with("b"), "auto", hostAccel, 4)
	if err := os.WriteFile(filepath.Join(dir, "canary-"+hostAccel+".json"), []byte("{garbled"), 0o600); err != nil {
		t.Fatal(err)
	}
	expect("garbled memory", with("b"), "auto", hostAccel, 5)
}

func TestCanaryInterruptedIsNotRemembered(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	dir := t.TempDir()
	c := &chooser{host: hostAccel,
		binary:   &binary{Accels: []string{hostAccel}},
		precheck: func() (string, string) { return "", "" },
		canary:   func(context.Context, string) error { cancel(); return errors.New("killed") },
		memory:   &canaryMemory{dir: dir, key: "k"},
	}
	if got, err := c.choose(ctx, "auto"); !errors.Is(err, context.Canceled) {
		t.Errorf("choose = %+v, %v", got, err)
	}
	if _, ok := c.memory.recall(hostAccel); ok {
		t.Error("an interrupted canary's answer is remembered")
	}
}

// What is not QEMU's ends at once, and says so.
func TestCanaryOfAProgramThatEnds(t *testing.T) {
	err := bootCanary(t.Context(), "/bin/false", tcg, "kernel", "initrd", canaryLimit)
	if err == nil || !strings.Contains(err.Error(), "QEMU ended before") {
		t.Errorf("canary: %v", err)
	}
}
