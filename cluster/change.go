package cluster

import (
	"context"
	"fmt"
	"strings"

	"github.com/dorykube/dory/drivers"
	"github.com/dorykube/dory/internal/progress"
	"github.com/dorykube/dory/internal/size"
	"github.com/dorykube/dory/provision"
)

// announce shows what a start changes, before it does, and what of the wishes it cannot heed.
func (s *start) announce(ctx context.Context) {
	for _, d := range s.plan.Diffs {
		progress.From(ctx).Info("change " + d.Plan())
	}
	if s.plan.Spec.Driver != sshDriver {
		return
	}
	for _, key := range []string{"cpus", "memory", "disk-size", "accel", "cpu-model"} {
		if source := s.plan.Sources[key]; source.Kind > FromUserConfig {
			progress.From(ctx).Warn(source.Where + " changes nothing: driver ssh takes the machine as it is")
		}
	}
}

// remind says what of the spec the machine gets when it boots next.
func (s *start) remind(ctx context.Context) {
	have, want := s.record.Machine, machineFor(s.record.Spec, s.name, "", "")
	compared := []struct{ key, have, want string }{
		{"ephemeral", fmt.Sprint(have.Ephemeral), fmt.Sprint(want.Ephemeral)},
		{"cpus", fmt.Sprint(have.CPUs), fmt.Sprint(want.CPUs)},
		{"memory", size.Size(have.Memory).String(), size.Size(want.Memory).String()},
		{"disk-size", size.Size(have.Disk).String(), size.Size(want.Disk).String()},
		{"accel", have.Accel, want.Accel},
		{"cpu-model", have.CPUModel, want.CPUModel},
	}
	if have.Remote != nil { // the machine has what it has
		compared = compared[:1]
	}
	var waits []string
	for _, c := range compared {
		if c.have != c.want {
			waits = append(waits, fmt.Sprintf("--%s %s (now %s)", c.key, c.want, c.have))
		}
	}
	if waits != nil {
		progress.From(ctx).Info(fmt.Sprintf("when the machine boots next, it gets %s: 'dory stop -p %s', then 'dory start -p %[2]s'",
			strings.Join(waits, ", "), s.name))
	}
}

// grow makes the disk of a machine that runs as large as is wished, and the file system on it. A machine that is off gets
// that when it boots. It is written down afterwards: until then another start does it again.
func (s *start) grow(ctx context.Context, node Node) error {
	wanted := machineFor(s.record.Spec, s.name, "", "").Disk
	grower, can := s.driver.(drivers.Grower)
	if !can || s.record.Machine.Disk >= wanted {
		return nil
	}
	return progress.Do(ctx, growStep, func(ctx context.Context) (string, error) {
		larger := s.record.Machine
		larger.Disk = wanted
		if err := grower.Grow(ctx, larger); err != nil {
			return "", err
		}
		if err := provision.GrowDisk(ctx, node); err != nil {
			return "", err
		}
		s.record.Machine = larger
		return size.Size(wanted).String(), s.saveMachine()
	})
}
