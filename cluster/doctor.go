package cluster

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/dorykube/dory/drivers"
	"github.com/dorykube/dory/drivers/registry"
	"github.com/dorykube/dory/internal/hostinfo"
	"github.com/dorykube/dory/internal/kubeconfig"
	"github.com/dorykube/dory/internal/size"
)

// Diagnosis is what 'dory doctor' found on this computer.
type Diagnosis struct {
	Ready    bool              `json:"ready"`  // a start would work
	Driver   string            `json:"driver"` // which it would take; empty: none works
	Computer []drivers.Finding `json:"computer"`
	Drivers  []DriverDiagnosis `json:"drivers"` // in the order in which auto prefers them
	Err      error             `json:"-"`       // why a start would not work
}

// DriverDiagnosis is what there is to know of one driver here.
type DriverDiagnosis struct {
	Name     string            `json:"name"`
	Usable   bool              `json:"usable"`
	Summary  string            `json:"summary"`
	Findings []drivers.Finding `json:"findings"`
}

// doctorLimit is how long drivers have here: longer than at a start, as an accelerator may be tried with a guest.
const doctorLimit = 15 * time.Second

// leastFree is the free disk space below which a start is likely to fail: a template or a cluster of the default size.
const leastFree = 3 * size.GiB

// Doctor looks at everything that a start depends on, which would be told of libvirt at uri. It changes nothing.
func (m *Manager) Doctor(ctx context.Context, uri string) Diagnosis {
	options := m.driverOptions(nil)
	options.URI = uri
	options.Image = m.Dirs.Artifact(imageName())
	answers := m.parts.ask(ctx, options, doctorLimit)
	var d Diagnosis
	for _, a := range answers {
		d.Drivers = append(d.Drivers, DriverDiagnosis{a.Name, a.Report.Usable, a.Report.Summary, a.Report.Findings})
	}
	chosen, err := registry.Pick(answers)
	d.Driver, d.Err = chosen.Name, err
	d.Computer = []drivers.Finding{m.resourcesFinding(), loopbackFinding(), m.spaceFinding("space for clusters", m.Dirs.State),
		m.spaceFinding("space for templates", m.Dirs.Cache), kubeconfigFinding(), m.leftoversFinding()}
	artifacts, err := m.artifactsFindings(ctx, time.Now())
	d.Computer = append(d.Computer, artifacts...)
	if d.Err == nil {
		d.Err = err
	}
	d.Ready = d.Err == nil
	return d
}

func (m *Manager) resourcesFinding() drivers.Finding {
	f := drivers.Finding{Name: "CPUs and memory", Evidence: fmt.Sprintf("%d CPUs, %s of memory, %s/%s",
		m.Host.CPUs, m.Host.Memory.Round(), runtime.GOOS, runtime.GOARCH)}
	f.OK = m.Host.CPUs >= leastCPUs && (m.Host.Memory == 0 || m.Host.Memory >= leastMemory)
	if !f.OK {
		f.Remedy = fmt.Sprintf("a cluster needs %d CPUs and %s", leastCPUs, leastMemory)
	}
	return f
}

// loopbackFinding looks whether a port of 127.0.0.1 can be listened at, as a driver's forwards do.
func loopbackFinding() drivers.Finding {
	f := drivers.Finding{Name: "ports of 127.0.0.1"}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		f.Evidence, f.Remedy = err.Error(), "something on this computer forbids it: a security profile, or no loopback interface"
		return f
	}
	f.OK, f.Evidence = true, "can be listened at"
	listener.Close()
	return f
}

func (m *Manager) spaceFinding(name, dir string) drivers.Finding {
	free, err := hostinfo.FreeSpace(dir)
	f := drivers.Finding{Name: name, OK: err == nil && free >= leastFree, Evidence: fmt.Sprintf("%s free at %s", free.Round(), dir)}
	if err != nil {
		f.Evidence = err.Error()
	}
	if !f.OK {
		f.Remedy = fmt.Sprintf("a start may need %s: free some, or set DORY_HOME to a place that has it", leastFree)
	}
	return f
}

func kubeconfigFinding() drivers.Finding {
	files := strings.Join(kubeconfig.Files(), ", ")
	if err := kubeconfig.Readable(kubeconfig.Files()...); err != nil {
		return drivers.Finding{Name: "kubeconfig", Evidence: err.Error(), Remedy: "mend or move the file"}
	}
	return drivers.Finding{Name: "kubeconfig", OK: true, Evidence: files}
}

// artifactsFindings opens the node image and the bundle of the default version, which checks their digests, and looks at their age.
func (m *Manager) artifactsFindings(ctx context.Context, now time.Time) ([]drivers.Finding, error) {
	found, err := m.parts.artifacts(ctx, m.Dirs, Versions[0])
	if err != nil {
		return []drivers.Finding{{Name: "node image and bundle", Evidence: err.Error(), Remedy: "'make artifacts' in dory's source tree builds them"}}, err
	}
	return []drivers.Finding{
		{Name: "node image and bundle", OK: true, Evidence: found.image + ", " + found.bundle},
		ageFinding("age of the node image", found.imageDate, now, fmt.Sprintf(
			"delete %s and run 'make artifacts' in dory's source tree, which takes today's Debian packages; clusters that exist keep the old ones", found.image)),
		ageFinding("age of the bundle", found.bundleDate, now,
			"a newer dory has newer releases: update its source tree, run 'make artifacts', and 'dory start' upgrades each cluster"),
	}, nil
}

// oldAfter is the age at which fixes of vulnerabilities are surely missing.
const oldAfter = 90 * 24 * time.Hour

func ageFinding(name string, made, now time.Time, remedy string) drivers.Finding {
	age := now.Sub(made)
	f := drivers.Finding{Name: name, OK: age <= oldAfter, Evidence: fmt.Sprintf("of %s, %.0f days old", made.Format(time.DateOnly), age.Hours()/24)}
	if !f.OK {
		f.Remedy = remedy
	}
	return f
}

// leftoversFinding names clusters that a start or delete did not bring to its end, and templates that were not finished.
func (m *Manager) leftoversFinding() drivers.Finding {
	f := drivers.Finding{Name: "leftovers"}
	var left, remedies []string
	names, err := m.Names()
	if err != nil {
		left = append(left, err.Error())
	}
	for _, name := range names {
		record, err := m.look(name)
		if err == nil && record.Phase == Made || m.busy(name) {
			continue
		}
		state := "its record cannot be read"
		if err == nil {
			state = "its start did not end"
			if record.Phase == Deleting {
				state = "its delete did not end"
			}
		}
		left = append(left, fmt.Sprintf("cluster %s: %s", name, state))
		remedies = append(remedies, "dory delete -p "+name)
	}
	for _, name := range m.homeless(context.Background()) {
		left = append(left, fmt.Sprintf("cluster %s: its directory is gone, and its machine still runs", name))
		remedies = append(remedies, "dory delete -p "+name)
	}
	entries, _ := os.ReadDir(m.templatePath(""))
	for _, entry := range entries {
		key, suffix, _ := strings.Cut(entry.Name(), ".")
		if suffix := "." + suffix; (suffix == makingSuffix || suffix == goingSuffix) && !lockHeld(m.templatePath(key)+lockSuffix) {
			left = append(left, filepath.Join(m.templatePath(""), entry.Name()))
			remedies = append(remedies, "dory template prune")
		}
	}
	f.OK, f.Evidence, f.Remedy = len(left) == 0, "none", strings.Join(remedies, "; ")
	if !f.OK {
		f.Evidence = strings.Join(left, "; ")
	}
	return f
}

// busy reports whether a dory process is at work on the cluster.
func (m *Manager) busy(name string) bool { return lockHeld(m.files(name).lock()) }
