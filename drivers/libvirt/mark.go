package libvirt

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"strings"

	libvirt "github.com/digitalocean/go-libvirt"
	"github.com/dorykube/dory/drivers"
	"github.com/dorykube/dory/drivers/qemu"
)

// namespace is that of the mark in the definitions of domains and networks.
const namespace = "https://dory.dev/libvirt/1"

// mark says in an object's metadata that it is dory's, and whose: what does not bear it, dory does not touch. On a domain it
// also keeps what the driver must know of it later.
type mark struct {
	XMLName xml.Name `xml:"https://dory.dev/libvirt/1 machine"`
	Name    string   `xml:"name,attr"`
	UUID    string   `xml:"uuid,attr"`
	Dir     string   `xml:"dir,attr"` // by which a machine is found again that no record knows of
	// Accel, Model and Reason are accelerator and processor model of the last boot, and why they were chosen. See model.
	Accel  string `xml:"accel,attr,omitempty"`
	Model  string `xml:"model,attr,omitempty"`
	Reason string `xml:"reason,attr,omitempty"`
	// Hardware names everything of the machine that a saved state depends on.
	Hardware string `xml:"hardware,attr,omitempty"`
	// Runs: it was started, and nobody has told it to stop.
	Runs bool `xml:"runs,attr,omitempty"`
}

func markOf(m drivers.Machine) mark { return mark{Name: m.Name, UUID: m.UUID, Dir: m.Dir} }

// model is the processor model of the last boot; an older dory noted none.
func (m mark) model() string { return qemu.ModelOf(m.Accel, m.Model) }

// Object is what the machine's domain and its network are called: for people, who see them beside others.
func (m mark) Object() string { return "dory-" + m.Name + "-" + m.UUID[:8] }

// Element is the mark as XML, in a definition.
func (m mark) Element() string {
	return `<dory:machine xmlns:dory="` + namespace + `"` + m.attributes() + "/>"
}

// bare is the mark as libvirt wants it by itself: it adds the namespace.
func (m mark) bare() string { return "<machine" + m.attributes() + "/>" }

func (m mark) attributes() string {
	var b strings.Builder
	for _, a := range [][2]string{{"name", m.Name}, {"uuid", m.UUID}, {"dir", m.Dir}, {"accel", m.Accel}, {"model", m.Model}, {"reason", m.Reason}, {"hardware", m.Hardware}} {
		if a[1] != "" {
			value, _ := escape(a[1]) // a builder does not fail
			fmt.Fprintf(&b, ` %s="%s"`, a[0], value)
		}
	}
	if m.Runs {
		b.WriteString(` runs="true"`)
	}
	return b.String()
}

// readMark finds the mark in a definition.
func readMark(definition string) (mark, bool) {
	var d struct {
		Metadata struct {
			Mark *mark `xml:"https://dory.dev/libvirt/1 machine"`
		} `xml:"metadata"`
	}
	if xml.Unmarshal([]byte(definition), &d) != nil || d.Metadata.Mark == nil {
		return mark{}, false
	}
	return *d.Metadata.Mark, true
}

// readBare reads the mark as libvirt tells it by itself: it takes the namespace away.
func readBare(element string) (mark, bool) {
	return readMark(`<domain><metadata xmlns="` + namespace + `">` + element + `</metadata></domain>`)
}

// markOn reads a domain's mark, and nothing else of the domain: newer libvirts tell no definition while the domain's QEMU hangs.
func markOn(c *conversation, dom libvirt.Domain) (found mark, ok bool, err error) {
	element, err := c.DomainGetMetadata(dom, int32(libvirt.DomainMetadataElement), libvirt.OptString{namespace}, libvirt.DomainAffectConfig)
	switch {
	case err == nil:
		found, ok = readBare(element)
		return found, ok, nil
	case is(err, libvirt.ErrNoDomainMetadata, libvirt.ErrOperationInvalid): // the latter of a domain that is not kept
		return found, false, nil
	default:
		return found, false, err
	}
}

// hardware names what a saved state depends on.
func hardware(m drivers.Machine, media media) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%d %d %v", m.CPUs, m.Memory, media))
	return hex.EncodeToString(sum[:8])
}
