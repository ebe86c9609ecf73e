package qemu

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/dorykube/dory/internal/fail"
)

// Accelerators.
const (
	kvm  = "kvm"
	hvf  = "hvf"
	whpx = "whpx"
	tcg  = "tcg"

	automatic = "auto"
)

// choice is an accelerator, and why it is this one, as a sentence without a full stop.
type choice struct {
	Accel  string `json:"accel"`
	Reason string `json:"reason"`
}

// chooser decides which accelerator runs a machine. Whether one does can only be found out by running a guest on it:
// /dev/kvm may open, and KVM_CREATE_VM work, on a computer where no guest ever boots.
type chooser struct {
	host     string // the accelerator of the operating system
	binary   *binary
	precheck func() (obstacle, remedy string)
	// canary boots a guest on the accelerator. An error says that it did not come up, with evidence.
	canary func(ctx context.Context, accel string) error
	memory *canaryMemory
}

// choose returns the accelerator for a wish. Only auto ever falls back.
func (c *chooser) choose(ctx context.Context, wish string) (choice, error) {
	switch {
	case wish == tcg:
		return choice{tcg, "TCG (emulation), as asked for"}, nil
	case wish == "" || wish == automatic:
		return c.automatic(ctx)
	case !slices.Contains([]string{kvm, hvf, whpx}, wish):
		return choice{}, fail.New(fail.BadValue, "there is no accelerator %q", wish).
			WithAdvice("use --accel auto, %s or %s", c.host, tcg)
	}
	// What is asked for by name is tried anew after a bad answer: the user may have mended what was wrong.
	if err := c.try(ctx, wish, true); err != nil {
		return choice{}, unusable(wish, err)
	}
	return choice{wish, title(wish) + ", as asked for"}, nil
}

func (c *chooser) automatic(ctx context.Context) (choice, error) {
	err := c.try(ctx, c.host, false)
	if err == nil {
		return choice{c.host, title(c.host)}, nil
	}
	if ctx.Err() != nil {
		return choice{}, ctx.Err()
	}
	return choice{tcg, "TCG (emulation): " + err.Error()}, nil
}

// obstacle is why an accelerator does not work.
type obstacle struct{ Reason, Remedy, Evidence string }

func (o *obstacle) Error() string { return o.Reason }

// try reports why the accelerator does not run a guest here, or nil. again ignores a bad answer given before.
func (c *chooser) try(ctx context.Context, accel string, again bool) error {
	if accel != c.host {
		return &obstacle{Reason: title(accel) + " is another operating system's"}
	}
	if !slices.Contains(c.binary.Accels, accel) {
		return &obstacle{Reason: "this QEMU was built without " + title(accel)}
	}
	reason, remedy := c.precheck()
	if reason != "" && !again {
		return &obstacle{Reason: reason, Remedy: remedy}
	}
	known, ok := c.memory.recall(accel)
	if !ok || !known.Works && again {
		err := c.canary(ctx, accel)
		if ctx.Err() != nil {
			return ctx.Err() // no answer, so nothing to remember
		}
		known = verdict{Works: err == nil}
		if err != nil {
			known.Evidence = err.Error()
		}
		c.memory.store(accel, known)
	}
	if known.Works {
		return nil
	}
	if reason == "" {
		reason = "no guest boots on " + title(accel) + " here"
	}
	return &obstacle{Reason: reason, Remedy: remedy, Evidence: known.Evidence}
}

func unusable(accel string, err error) error {
	var o *obstacle
	if !errors.As(err, &o) {
		return err
	}
	e := fail.Wrap(fail.KVMUnusable, err, "use the accelerator %s", title(accel)).WithEvidence(o.Evidence)
	if o.Remedy != "" {
		e.WithAdvice("%s; or leave --accel out, and dory takes what works", o.Remedy)
	}
	return e
}

func title(accel string) string {
	switch accel {
	case kvm:
		return "KVM"
	case hvf:
		return "HVF"
	case whpx:
		return "WHPX"
	default:
		return "TCG (emulation)"
	}
}

// canaryMemory remembers canaries' answers: in a file, since a canary that fails takes seconds. An answer is good for
// one boot of this computer, one QEMU and one kernel. A memory without a directory forgets.
type canaryMemory struct{ dir, key string }

type verdict struct {
	Works    bool   `json:"works"`
	Evidence string `json:"evidence,omitempty"`
}

func newCanaryMemory(dir string, b *binary, image string) (*canaryMemory, error) {
	info, err := os.Stat(image)
	if err != nil {
		return nil, fail.Wrap(fail.ArtifactMissing, err, "open the node image")
	}
	key := fmt.Sprintf("%s\n%s\n%s %d %d", bootID(), b.identity(), image, info.Size(), info.ModTime().UnixNano())
	return &canaryMemory{dir: dir, key: key}, nil
}

// remembered is the form of a memory's file. There is one per accelerator, so old answers do not pile up.
type remembered struct {
	Key string `json:"key"`
	verdict
}

func (c *canaryMemory) file(accel string) string { return "canary-" + accel + ".json" }

func (c *canaryMemory) recall(accel string) (verdict, bool) {
	var r remembered
	if c.dir == "" || machineDir(c.dir).readJSON(c.file(accel), &r) != nil || r.Key != c.key {
		return verdict{}, false
	}
	return r.verdict, true
}

// store forgets rather than fails: the answer is found again when it is needed.
func (c *canaryMemory) store(accel string, v verdict) {
	if c.dir == "" || os.MkdirAll(c.dir, 0o700) != nil {
		return
	}
	machineDir(c.dir).writeJSON(c.file(accel), remembered{c.key, v})
}

// chooserFor is the chooser for machines that boot the node image.
func (d *Driver) chooserFor(b *binary, image string) (*chooser, error) {
	memory, err := newCanaryMemory(d.options.cache(), b, image)
	if err != nil {
		return nil, err
	}
	return &chooser{
		host:     hostAccel,
		binary:   b,
		precheck: precheck,
		memory:   memory,
		canary: func(ctx context.Context, accel string) error {
			return d.canary(ctx, b, image, accel, canaryLimit)
		},
	}, nil
}

// canary boots the node image's kernel on the accelerator.
func (d *Driver) canary(ctx context.Context, b *binary, image, accel string, limit time.Duration) error {
	boot, err := d.takeOutKernel(image)
	if err != nil {
		return err
	}
	return bootCanary(ctx, b.Path, accel, boot.Kernel, boot.Initrd, limit)
}
