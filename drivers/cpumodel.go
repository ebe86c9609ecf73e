package drivers

import (
	"regexp"

	"github.com/dorykube/dory/internal/fail"
)

// modelPattern is a processor model and its features, as QEMU's -cpu takes them: "max,la57=off", "qemu64,+ssse3".
var modelPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]*(,[-+]?[A-Za-z0-9][A-Za-z0-9_.-]*(=[A-Za-z0-9_.-]+)?)*$`)

// CheckCPUModel refuses what cannot be a Machine's CPUModel. Which models there are, only the hypervisor knows.
func CheckCPUModel(model string) error {
	if model == "" || modelPattern.MatchString(model) {
		return nil
	}
	return fail.New(fail.BadValue, "--cpu-model %q is not a processor model", model).
		WithAdvice("name one as QEMU's -cpu does: auto, qemu64, 'max,la57=off'; 'qemu-system-x86_64 -cpu help' lists them")
}
