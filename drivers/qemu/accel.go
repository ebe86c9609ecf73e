package qemu

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/dorykube/dory/drivers"
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

// choice is an accelerator and a processor model, and why it is these, as a sentence without a full stop.
type choice struct {
	Accel  string `json:"accel"`
	Model  string `json:"cpuModel,omitempty"` // see model
	Reason string `json:"reason"`
}

// wish is what the user wants of it. Empty: whatever works.
type wish struct{ accel, model string }

func wishOf(m drivers.Machine) wish {
	unless := func(text string) string {
		if text == automatic {
			return ""
		}
		return text
	}
	return wish{unless(m.Accel), unless(m.CPUModel)}
}

// chooser decides which accelerator and processor model run a machine. Whether they do can only be found out by running a guest:
// /dev/kvm may open, and KVM_CREATE_VM work, on a computer where no guest ever boots, and an emulated processor may have a
// feature that hangs the kernel before its first message.
type chooser struct {
	host       string // the accelerator of the operating system
	hypervisor string // for people: "QEMU 7.2.22 at /usr/bin/qemu-system-x86_64"
	binary     *binary
	precheck   func() (obstacle, remedy string)
	// canary boots a guest. An error says that it did not come up, with evidence.
	canary func(ctx context.Context, c choice) error
	memory *canaryMemory
}

// choose returns the choice for a wish. Only a wish for any accelerator ever falls back to emulation, and only one for any
// model to a plainer one.
func (c *chooser) choose(ctx context.Context, w wish) (choice, error) {
	if err := c.binary.checkModel(w.model); err != nil {
		return choice{}, err
	}
	switch {
	case w.accel == "":
		return c.automatic(ctx, w.model)
	case w.accel == tcg:
		return c.emulate(ctx, w.model, "TCG (emulation), as asked for", nil)
	case !slices.Contains([]string{kvm, hvf, whpx}, w.accel):
		return choice{}, fail.New(fail.BadValue, "there is no accelerator %q", w.accel).
			WithAdvice("use --accel auto, %s or %s", c.host, tcg)
	}
	// What is asked for by name is tried again after a bad answer: the user may have fixed what was wrong.
	model, err := c.try(ctx, w.accel, w.model, true)
	if err != nil {
		return choice{}, unusable(w.accel, err)
	}
	return choice{w.accel, model, title(w.accel) + ", as asked for" + named(w.accel, w.model, model)}, nil
}

func (c *chooser) automatic(ctx context.Context, wished string) (choice, error) {
	model, err := c.try(ctx, c.host, wished, false)
	if err == nil {
		return choice{c.host, model, title(c.host) + named(c.host, wished, model)}, nil
	}
	if ctx.Err() != nil {
		return choice{}, ctx.Err()
	}
	return c.emulate(ctx, wished, "TCG (emulation): "+err.Error(), err)
}

// emulate is the last resort: if no guest boots here either, none does. before is why nothing else works, or nil.
func (c *chooser) emulate(ctx context.Context, wished, reason string, before error) (choice, error) {
	model, err := c.try(ctx, tcg, wished, false)
	if err == nil {
		return choice{tcg, model, reason + named(tcg, wished, model)}, nil
	}
	if ctx.Err() != nil {
		return choice{}, ctx.Err()
	}
	c.memory.forget(tcg) // a busy computer may have been to blame: the next start tries again
	return choice{}, fail.Wrap(fail.GuestSilent, err, "run %s", c.hypervisor).
		WithEvidence(strings.TrimSpace(evidenceOf(before) + "\n" + evidenceOf(err)))
}

func evidenceOf(err error) string {
	if o := (*obstacle)(nil); errors.As(err, &o) {
		return o.Evidence
	}
	return ""
}

// named is what a reason says of a processor model that is not the one for everybody.
func named(accel, wished, model string) string {
	switch {
	case wished != "":
		return ", processor model " + model
	case model != models(accel)[0]:
		return ", processor model " + model + ", since no guest boots on " + models(accel)[0]
	default:
		return ""
	}
}

// obstacle is why an accelerator does not work.
type obstacle struct{ Reason, Remedy, Evidence string }

func (o *obstacle) Error() string { return o.Reason }

// try returns the processor model with which the accelerator runs a guest here: the wished one, or else the best that does. The
// error is why there is none. again ignores a bad answer given before.
func (c *chooser) try(ctx context.Context, accel, wished string, again bool) (model string, err error) {
	if accel != c.host && accel != tcg {
		return "", &obstacle{Reason: title(accel) + " is another operating system's"}
	}
	if len(c.binary.Accels) > 0 && !slices.Contains(c.binary.Accels, accel) {
		return "", &obstacle{Reason: "this QEMU was built without " + title(accel)}
	}
	reason, remedy := "", ""
	if accel == c.host {
		if reason, remedy = c.precheck(); reason != "" && !again {
			return "", &obstacle{Reason: reason, Remedy: remedy}
		}
	}
	candidates := models(accel)
	if wished != "" {
		candidates = []string{wished}
	}
	var evidence []string
	for _, model := range candidates {
		known, err := c.ask(ctx, choice{Accel: accel, Model: model}, again)
		if err != nil {
			return "", err
		}
		if known.Works {
			return model, nil
		}
		evidence = append(evidence, "processor model "+model+": "+known.Evidence)
	}
	if reason == "" {
		reason = "no guest boots on " + title(accel) + " here"
	}
	return "", &obstacle{Reason: reason, Remedy: remedy, Evidence: strings.Join(evidence, "\n")}
}

// ask asks the memory, and then the canary. The error is that of ctx: then there is no answer.
func (c *chooser) ask(ctx context.Context, what choice, again bool) (verdict, error) {
	known, ok := c.memory.recall(what)
	if ok && (known.Works || !again) {
		return known, nil
	}
	err := c.canary(ctx, what)
	if err != nil && what.Accel == tcg && !errors.Is(err, errSilent) {
		// Emulated by QEMU up to 8.0, one of some hundred guests panics while its kernel patches itself: see netfilter-hooks.nft.
		err = c.canary(ctx, what)
	}
	if ctx.Err() != nil {
		return verdict{}, ctx.Err()
	}
	known = verdict{Works: err == nil}
	if err != nil {
		known.Evidence = err.Error()
	}
	c.memory.store(what, known)
	return known, nil
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

// chooserFor is the chooser for machines that boot the node image.
func (d *Driver) chooserFor(b *binary, image string) (*chooser, error) {
	memory, err := newCanaryMemory(d.options.cache(), b, image)
	if err != nil {
		return nil, err
	}
	canary := d.options.canary
	if canary == nil {
		canary = d.canary
	}
	return &chooser{
		host:       hostAccel,
		hypervisor: fmt.Sprintf("QEMU %s at %s", b.Version, b.Path),
		binary:     b,
		precheck:   precheck,
		memory:     memory,
		canary:     func(ctx context.Context, c choice) error { return canary(ctx, b, image, c) },
	}, nil
}
