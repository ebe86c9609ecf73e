package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/dorykube/dory/drivers"
	"github.com/dorykube/dory/drivers/libvirt"
	"github.com/dorykube/dory/drivers/registry"
	"github.com/dorykube/dory/internal/fail"
	"github.com/dorykube/dory/internal/progress"
)

// patience is how long drivers have to say whether they work here. A busy computer may take seconds to run QEMU for the first time.
var patience = registry.Patience{Turn: 2 * time.Second, All: 15 * time.Second}

// checkDriver asks the driver whether it can work here at all, before anything is made. A new cluster of any driver gets
// the first that can, and keeps it.
func (s *start) checkDriver(ctx context.Context) error {
	var report drivers.Report
	if s.driver == nil && s.plan.Spec.Driver == registry.Auto {
		options := s.driverOptions(s.log)
		options.URI = s.plan.Spec.LibvirtURI
		chosen, err := registry.Pick(s.parts.askFirst(ctx, options, patience))
		if err != nil || ctx.Err() != nil {
			return errors.Join(ctx.Err(), err)
		}
		progress.From(ctx).Info(fmt.Sprintf("driver %s, the first that works here: %s", chosen.Name, chosen.Report.Summary))
		s.plan.Spec.Driver, s.driver, report = chosen.Name, chosen.Driver, chosen.Report
		if chosen.Name != libvirt.Name {
			s.plan.Spec.LibvirtURI = ""
		}
	}
	if s.driver == nil {
		if err := s.open(s.plan.Spec.Driver, s.plan.Spec.LibvirtURI); err != nil {
			return err
		}
	}
	if !report.Usable {
		report = s.driver.Check(ctx)
	}
	if report.Usable || ctx.Err() != nil {
		return ctx.Err()
	}
	if report.Err != nil {
		return report.Err
	}
	return fail.New(fail.DriverUnusable, "driver %s: %s", s.plan.Spec.Driver, report.Summary)
}
