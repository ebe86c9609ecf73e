package libvirt

import (
	"context"
	"fmt"
	"slices"

	"github.com/dorykube/dory/drivers"
	"github.com/dorykube/dory/internal/fail"
)

// Check looks whether libvirt answers, and has what a machine needs. It boots nothing: the first start does.
func (d *Driver) Check(ctx context.Context) drivers.Report {
	var report drivers.Report
	at, err := parse(d.options.URI)
	if err == nil {
		report, err = ask(ctx, d, d.options.URI, "look at libvirt", commandLimit, func(c *conversation) (drivers.Report, error) {
			report := drivers.Report{Usable: true}
			err := d.look(c, &report)
			return report, err
		})
	}
	if err != nil {
		f := fail.As(err)
		evidence := f.Error()
		if f.Evidence != "" {
			evidence += "\n" + f.Evidence
		}
		report.Usable, report.Err, report.Summary = false, err, f.Error()
		report.Findings = append(report.Findings, drivers.Finding{Name: "libvirt " + at.uri, Evidence: evidence, Remedy: f.Remedy()})
	}
	return report
}

// look fills in what there is to know of a libvirt that answers.
func (d *Driver) look(c *conversation, report *drivers.Report) error {
	number, err := c.ConnectGetLibVersion()
	if err != nil {
		return err
	}
	version := fmt.Sprintf("%d.%d.%d", number/1e6, number/1e3%1e3, number%1e3)
	report.Findings = append(report.Findings, drivers.Finding{Name: "libvirt " + c.at.uri, OK: true, Evidence: "version " + version}, triedFinding(version))
	accels, _, err := offers(c)
	if err != nil {
		return err
	}
	kvm := drivers.Finding{Name: "domains of type kvm", OK: true, Evidence: "libvirt offers them; the first start tries one"}
	accel := "KVM if a guest boots on it"
	if !slices.Contains(accels, "kvm") {
		accel = "TCG (emulation): libvirt offers no KVM"
		kvm = drivers.Finding{Name: kvm.Name, Evidence: "libvirt offers none",
			Remedy: "if /dev/kvm is there and QEMU's user may not open it (in a session that is you): 'sudo usermod -aG kvm $USER', and log in again; otherwise switch on virtualisation in the firmware, or in the settings of the machine that this one runs in, then restart libvirt's daemon"}
	}
	pool := drivers.Finding{Name: "storage pool " + poolName, OK: true, Evidence: "at " + d.poolPath(c.at)}
	if _, err := d.findPool(c); notFound(err) {
		pool.Evidence = "none yet; the first start makes it at " + d.poolPath(c.at)
	} else if err != nil {
		return err
	}
	report.Findings = append(report.Findings, kvm, pool)
	report.Summary = fmt.Sprintf("libvirt %s at %s, %s", version, c.at.uri, accel)
	return nil
}
