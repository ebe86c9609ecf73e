package libvirt

import (
	"embed"
	"encoding/xml"
	"strings"
	"text/template"

	"github.com/dorykube/dory/drivers"
	"github.com/dorykube/dory/drivers/qemu"
	"github.com/dorykube/dory/internal/fail"
)

//go:embed *.xml
var templates embed.FS

// domain is what a domain's definition is made of.
type domain struct {
	Machine drivers.Machine
	Type    string // of the domain: "kvm", or "qemu" for emulation
	Mark    mark
	Paths   paths
	CPU     cpu
	Cmdline string
	Session bool // user-mode network, whose card libvirt does not know of, at an address where it puts nothing
}

// paths are where libvirt has what the machine is made of.
type paths struct{ Data, Image, Bundle, Kernel, Initrd, Console string }

// MAC is chosen before the machine is.
func (d domain) MAC() string { return qemu.MAC(d.Machine.UUID) }

// HostForwards are options of the user-mode network.
func (d domain) HostForwards() string { return qemu.HostForwards(d.Machine.Forwards) }

// definition is the machine's domain as XML. ip is what the guest is told of its network.
func (d *Driver) definition(at place, m drivers.Machine, from source, is mark, ip string) (string, error) {
	is.Name, is.Dir = m.Name, m.Dir
	cmdline, err := qemu.KernelCmdline(from.boot.Cmdline, is.Accel, m, ip)
	if err != nil {
		return "", fail.Wrap(fail.BadValue, err, "define machine %s", m.Name)
	}
	return render("domain.xml", domain{Machine: m, Type: domainType(is.Accel), Mark: is, CPU: cpuOf(is.model()),
		Paths: d.paths(at, m, from.media), Cmdline: cmdline, Session: at.session}), nil
}

// render fills in a definition.
func render(name string, data any) string {
	t := template.New(name).Funcs(template.FuncMap{"xml": escape})
	var b strings.Builder
	if err := template.Must(t.ParseFS(templates, name, "cpu.xml")).Execute(&b, data); err != nil {
		panic(err) // the template is wrong, and every test fails
	}
	return b.String()
}

func escape(text string) (string, error) {
	var b strings.Builder
	err := xml.EscapeText(&b, []byte(text))
	return b.String(), err
}

// domainType is libvirt's word for an accelerator.
func domainType(accel string) string {
	if accel == "kvm" {
		return "kvm"
	}
	return "qemu"
}
