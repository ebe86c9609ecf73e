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
		{Name: "machine type", OK: true, Evidence: b.newestMachineType()},
		sandboxFinding(b),
		forkFinding(),
	}}
	finding, chosen := d.checkAccel(ctx, b)
	report.Findings = append(report.Findings, finding)
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

// checkAccel tries the operating system's accelerator, with the node image if that is there.
func (d *Driver) checkAccel(ctx context.Context, b *binary) (drivers.Finding, choice) {
	finding := drivers.Finding{Name: "accelerator " + hostAccel}
	c, err := d.chooserFor(b, d.options.Image)
	if err != nil {
		// Nothing to boot: what shows without booting has to do.
		reason, remedy := precheck()
		if reason == "" {
			finding.OK, finding.Evidence = true, "looks usable; no guest was booted on it, as there is no node image yet"
			return finding, choice{hostAccel, title(hostAccel) + ", untried"}
		}
		finding.Evidence, finding.Remedy = reason, remedy
		return finding, choice{tcg, title(tcg) + ": " + reason}
	}
	err = c.try(ctx, hostAccel, false)
	if err == nil {
		finding.OK, finding.Evidence = true, "a guest boots on it"
		return finding, choice{hostAccel, title(hostAccel)}
	}
	finding.Evidence = err.Error()
	if o := (*obstacle)(nil); errors.As(err, &o) {
		finding.Evidence, finding.Remedy = joinLines(o.Reason, o.Evidence), o.Remedy
	}
	return finding, choice{tcg, title(tcg) + ": " + err.Error()}
}

func joinLines(first, rest string) string {
	if rest == "" {
		return first
	}
	return first + "\n" + rest
}
