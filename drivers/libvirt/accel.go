package libvirt

import (
	"context"
	"encoding/xml"
	"fmt"
	"io"
	"path/filepath"
	"slices"

	libvirt "github.com/digitalocean/go-libvirt"
	"github.com/dorykube/dory/drivers"
	"github.com/dorykube/dory/drivers/qemu"
	"github.com/dorykube/dory/internal/fail"
)

const automatic = "auto"

// choose decides on accelerator and processor model as driver qemu does: by a canary. Here libvirt boots it, since another user's
// QEMU may do what this one's may not, and the other way round.
func (d *Driver) choose(c *conversation, m drivers.Machine, from source) (qemu.Choice, error) {
	offered, key, err := offers(c)
	if err != nil {
		return qemu.Choice{}, err
	}
	missing := ""
	if !slices.Contains(offered, "kvm") {
		missing = "libvirt offers no KVM"
	}
	return qemu.Accelerators{
		Own:        "kvm",
		Missing:    missing,
		Hypervisor: "libvirt at " + c.at.uri,
		Cache:      filepath.Join(d.options.Cache, Name),
		Key:        key + " " + from.Image,
		Canary: func(ctx context.Context, accel, model string) error {
			return d.canary(ctx, c, m, from, accel, model)
		},
	}.Choose(c.ctx, m)
}

// offers are the accelerators that libvirt offers, which is not to say that they work; and what of it a canary's answer is
// good for.
func offers(c *conversation) (accels []string, key string, err error) {
	text, err := c.ConnectGetCapabilities()
	if err != nil {
		return nil, "", err
	}
	var caps struct {
		Guests []struct {
			Arch struct {
				Name    string `xml:"name,attr"`
				Domains []struct {
					Type string `xml:"type,attr"`
				} `xml:"domain"`
			} `xml:"arch"`
		} `xml:"guest"`
	}
	if err := xml.Unmarshal([]byte(text), &caps); err != nil {
		return nil, "", err
	}
	for _, g := range caps.Guests {
		for _, domain := range g.Arch.Domains {
			switch {
			case g.Arch.Name != "x86_64":
			case domain.Type == "qemu":
				accels = append(accels, "tcg")
			default:
				accels = append(accels, domain.Type)
			}
		}
	}
	if len(accels) == 0 {
		return nil, "", fail.New(fail.QEMUMissing, "libvirt at %s has no QEMU for x86_64", c.at.uri)
	}
	own, err := c.ConnectGetLibVersion()
	if err != nil {
		return nil, "", err
	}
	qemu, err := c.ConnectGetVersion()
	return accels, fmt.Sprintf("%s %d %d", c.at.uri, own, qemu), err
}

// canary boots the node image's kernel in a domain that libvirt ends with this conversation.
func (d *Driver) canary(ctx context.Context, c *conversation, m drivers.Machine, from source, accel, model string) error {
	own, err := converse(ctx, c.at)
	if err != nil {
		return err
	}
	defer own.close()
	// Paused until somebody reads what it says.
	dom, err := own.DomainCreateXML(d.canaryDefinition(c.at, m, from, accel, model), libvirt.DomainStartPaused|libvirt.DomainStartAutodestroy)
	if err != nil {
		return err
	}
	defer own.DomainDestroyFlags(dom, 0)
	console, err := converse(ctx, c.at)
	if err != nil {
		return err
	}
	defer console.close()
	read, write := io.Pipe()
	go func() {
		err := console.DomainOpenConsole(dom, nil, write, 0)
		write.CloseWithError(fmt.Errorf("its console ended: %v", err)) // which says nothing of this call's own conversation
	}()
	if err := own.DomainResume(dom); err != nil {
		return err
	}
	limited, heard, stop := qemu.Listen(ctx, accel)
	defer stop()
	defer context.AfterFunc(limited, func() { read.CloseWithError(context.Cause(limited)) })()
	came, last := qemu.AwaitKernel(read, heard)
	if came {
		return nil
	}
	_, ended := read.Read(make([]byte, 1))
	return qemu.CanaryError(limited, last, fmt.Sprintf("no guest came up: %v", ended))
}

// canaryDefinition is a machine's without disks and network.
func (d *Driver) canaryDefinition(at place, m drivers.Machine, from source, accel, model string) string {
	is := markOf(m)
	is.Name = "canary-" + is.Name
	return render("canary.xml", domain{Machine: drivers.Machine{CPUs: 2, Memory: 512 << 20}, Type: domainType(accel), Mark: is, CPU: cpuOf(model),
		Paths: d.paths(at, m, from.media), Cmdline: qemu.CanaryCmdline(from.boot.Cmdline, accel)})
}
