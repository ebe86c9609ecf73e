package qemu

import (
	"slices"
	"strings"

	"github.com/dorykube/dory/drivers"
	"github.com/dorykube/dory/internal/fail"
	"github.com/dorykube/dory/internal/nearest"
)

// plainModel is the processor that is tried where no guest boots on a better one: the oldest there is, with what container
// images of the large distributions are built for (x86-64-v2).
const plainModel = "qemu64,cx16=on,lahf-lm=on,popcnt=on,sse4.1=on,sse4.2=on,ssse3=on"

// emulatedModel has all that QEMU can emulate but three things. erms and fsrm let kernels, C libraries and Go copy and clear
// memory by instructions that are emulated byte by byte; newer QEMUs have fsrm, older ones take the word, and where only one of
// the two is on, Linux 6.1 hangs before its first message. la57, page tables of five levels, makes each walk a level longer, after
// each switch between processes. Without them a cold start takes 0.9 times as long.
const emulatedModel = "max,erms=off,fsrm=off,la57=off"

// models are the processor models for an accelerator, as QEMU's -cpu takes them, the best first. "host" asserts under emulation;
// under WHPX there is no "host", and "max" does not boot.
func models(accel string) []string {
	switch accel {
	case kvm, hvf:
		return []string{"host", plainModel}
	case whpx:
		return []string{"Skylake-Client-v4", plainModel} // every processor able to run WHPX and Kubernetes has that
	default:
		return []string{emulatedModel, plainModel}
	}
}

// model is the processor model of a choice. Choices that were written down by a dory that knew one model for each accelerator
// have none.
func (c choice) model() string {
	switch {
	case c.Model != "":
		return c.Model
	case c.Accel == tcg:
		return "max,erms=off,la57=off"
	default:
		return models(c.Accel)[0]
	}
}

// checkModel refuses a model that this QEMU does not have. One that did not say what it has refuses it when it is started.
func (b *binary) checkModel(model string) error {
	if err := drivers.CheckCPUModel(model); err != nil {
		return err
	}
	name, _, _ := strings.Cut(model, ",")
	if name == "" || len(b.Models) == 0 || slices.Contains(b.Models, name) {
		return nil
	}
	failure := fail.New(fail.BadValue, "QEMU %s has no processor model %q", b.Version, name)
	if near := nearest.To(name, b.Models); near != "" {
		return failure.WithAdvice("did you mean --cpu-model %s?", near)
	}
	return failure.WithAdvice("'%s -cpu help' lists them", b.Path)
}
