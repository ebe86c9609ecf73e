package qemu

import (
	"context"
	"errors"
	"fmt"
	"runtime"

	"github.com/dorykube/dory/drivers"
	"github.com/dorykube/dory/internal/fail"
)

// Check looks for QEMU and for an accelerator. Without one the driver works all the same, by emulation.
func (d *Driver) Check(ctx context.Context) drivers.Report {
	b, err := d.qemu(ctx)
	if err != nil {
		f := fail.As(err)
		return drivers.Report{Summary: "QEMU cannot be used", Err: err, Findings: []drivers.Finding{
			{Name: "qemu binary", Evidence: joinLines(f.Error(), f.Evidence), Remedy: f.Remedy()},
		}}
	}
	report := drivers.Report{Usable: true, Findings: []drivers.Finding{
		{Name: "qemu binary", OK: true, Evidence: fmt.Sprintf("%s, version %s", b.Path, b.Version)},
		triedFinding(b),
		{Name: "machine type", OK: true, Evidence: b.newestMachineType()},
		sandboxFinding(b),
		forkFinding(),
	}}
	findings, chosen, err := d.checkAccel(ctx, b)
	report.Findings = append(report.Findings, findings...)
	if err != nil {
		report.Usable, report.Err, report.Summary = false, err, err.Error()
		return report
	}
	report.Summary = fmt.Sprintf("QEMU %s, %s", b.Version, chosen.Reason)
	return report
}

func sandboxFinding(b *binary) drivers.Finding {
	f := drivers.Finding{Name: "sandbox", OK: b.Sandbox, Evidence: "QEMU confines itself with seccomp"}
	if !b.Sandbox {
		f.Evidence, f.Remedy = "this QEMU was built without seccomp", "a guest that breaks out of it has your rights; use your distribution's QEMU"
	}
	return f
}

func forkFinding() drivers.Finding {
	f := drivers.Finding{Name: "templates and forks", OK: Capabilities().Fork, Evidence: "memory can be kept in a file and mapped by forks"}
	if !f.OK {
		f.Evidence, f.Remedy = "not on "+runtime.GOOS, "none; every cluster is booted and provisioned"
	}
	return f
}

// checkAccel tries the operating system's accelerator, and emulation if that does not work, with the node image if that is
// there. The error is that no guest boots here.
func (d *Driver) checkAccel(ctx context.Context, b *binary) ([]drivers.Finding, choice, error) {
	finding := drivers.Finding{Name: "accelerator " + hostAccel}
	c, err := d.chooserFor(b, d.options.Image)
	if err != nil {
		// Nothing to boot: what shows without booting has to do.
		reason, remedy := precheck()
		if reason == "" {
			finding.OK, finding.Evidence = true, "looks usable; no guest was booted on it, as there is no node image yet"
			return []drivers.Finding{finding}, choice{Accel: hostAccel, Reason: title(hostAccel) + ", untried"}, nil
		}
		finding.Evidence, finding.Remedy = reason, remedy
		return []drivers.Finding{finding}, choice{Accel: tcg, Reason: title(tcg) + ": " + reason}, nil
	}
	model, err := c.try(ctx, hostAccel, "", false)
	if err == nil {
		finding.OK, finding.Evidence = true, "a guest boots on it, processor model "+model
		return []drivers.Finding{finding}, choice{hostAccel, model, title(hostAccel) + named(hostAccel, "", model)}, nil
	}
	finding.Evidence = err.Error()
	if o := (*obstacle)(nil); errors.As(err, &o) {
		finding.Evidence, finding.Remedy = joinLines(o.Reason, o.Evidence), o.Remedy
	}
	emulation := drivers.Finding{Name: "accelerator " + tcg}
	chosen, err := c.emulate(ctx, "", title(tcg)+": "+err.Error(), err)
	switch {
	case fail.Is(err, fail.GuestSilent):
		emulation.Evidence, emulation.Remedy = joinLines(err.Error(), fail.As(err).Evidence), fail.As(err).Remedy()
	case err != nil: // there was no time for it, and a start takes what it needs
		emulation.Evidence, err = "untried: "+err.Error(), nil
		chosen = choice{Accel: tcg, Reason: title(tcg) + ", untried"}
	default:
		emulation.OK, emulation.Evidence = true, "a guest boots on it, processor model "+chosen.Model
	}
	return []drivers.Finding{finding, emulation}, chosen, err
}

func joinLines(first, rest string) string {
	if rest == "" {
		return first
	}
	return first + "\n" + rest
}
