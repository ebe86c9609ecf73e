// Package libvirt is the driver for libvirt: the system's daemon, a user's own, or one on another computer over SSH. It is
// for those who manage their VMs with it; nothing of a machine is in files of the driver's.
//
// What a machine is made of, libvirt keeps: a domain with the machine's UUID; on a system's daemon a network of its own with
// the same UUID; and volumes in dory's storage pool, those of the machine's own named by the UUID, those that machines share
// (node image, its kernel, bundle) by their digests. Domains and networks bear dory's mark (mark.go). Files get into the
// pool by upload, so that the rights on a home directory never matter to a QEMU which is another user.
//
// Every call has one conversation with the daemon (conversation.go), which ends when the call's context does, and begins
// anew when the daemon was restarted in its middle (errors.go).
package libvirt

import (
	"context"
	"encoding/hex"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	libvirt "github.com/digitalocean/go-libvirt"
	"github.com/dorykube/dory/drivers"
	"github.com/dorykube/dory/internal/fail"
)

// Name is the driver's name.
const Name = "libvirt"

// Capabilities of the driver. A domain cannot be forked: libvirt restores memory into a domain with the UUID that was saved.
func Capabilities() drivers.Capabilities {
	return drivers.Capabilities{OwnsMachines: true, LocalBundle: true}
}

// Options are what the driver is told of its surroundings.
type Options struct {
	// URI is the libvirt that Check and Find ask; machines name their own. Empty: DefaultURI.
	URI string
	// Cache is the directory for kernels taken out of node images and answers about accelerators.
	Cache string
	// SessionPool is the directory of the storage pool of a user's own daemon. Empty: among the user's data.
	SessionPool string
	Log         *slog.Logger
}

// Driver makes machines with libvirt. It keeps nothing between calls.
type Driver struct{ options Options }

// New returns the driver.
func New(o Options) *Driver {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Driver{options: o}
}

// learnedHosts is the file for host keys of other computers that nobody knew before. Where it cannot be written, no unknown key is
// accepted: it would be accepted for ever.
func (d *Driver) learnedHosts() string {
	dir := filepath.Join(d.options.Cache, Name)
	os.MkdirAll(dir, 0o700)
	return filepath.Join(dir, "known_hosts")
}

// Limits. They are for a daemon that has much to do, on a computer that has.
const (
	commandLimit = 30 * time.Second
	uploadLimit  = 10 * time.Minute // hundreds of megabytes, perhaps over SSH
	startLimit   = 10 * time.Minute // media that have changed are uploaded, memory that was saved is read
	statusLimit  = 1500 * time.Millisecond
	pollEvery    = 50 * time.Millisecond
)

// Create makes what there is of a machine while it is off: its definition, its disk, and the media that it shares.
func (d *Driver) Create(ctx context.Context, m drivers.Machine) error {
	if err := check(m); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	from, err := d.findMedia(ctx, m)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(m.Dir, 0o700); err != nil {
		return hostError(err, "create machine "+m.Name)
	}
	return d.do(ctx, m.URI, "create machine "+m.Name, uploadLimit, func(c *conversation) error {
		pool, err := d.pool(c)
		if err != nil {
			return err
		}
		// The domain first: by it the rest is found, and nobody removes shared media that a domain needs.
		_, _, err = find(c, m)
		if notFound(err) {
			_, err = d.define(c, m, from, markOf(m), "")
		}
		if err != nil {
			return err
		}
		if err := makeDisk(c, pool, m); err != nil {
			return err
		}
		return from.put(c, pool)
	})
}

// check refuses what could only go wrong later.
func check(m drivers.Machine) error {
	const mib = 1 << 20
	raw, err := hex.DecodeString(strings.ReplaceAll(m.UUID, "-", ""))
	switch {
	case !filepath.IsAbs(m.Dir):
		return fmt.Errorf("machine %s: its directory %q is not absolute", m.Name, m.Dir)
	case m.Name == "" || strings.ContainsAny(m.Name, " \t\n/"):
		return fmt.Errorf("machine %q needs a name", m.Name)
	case err != nil || len(raw) != 16:
		return fmt.Errorf("machine %s: %q is not a UUID", m.Name, m.UUID)
	case m.CPUs < 1 || m.Memory < mib || m.Memory%mib != 0 || m.Disk < mib || m.Disk%mib != 0:
		return fail.New(fail.BadValue, "machine %s: %d CPUs, %d bytes of memory and %d of disk are not possible",
			m.Name, m.CPUs, m.Memory, m.Disk)
	}
	return nil
}

// uuidOf is the machine's UUID as libvirt's protocol has it.
func uuidOf(m drivers.Machine) (u libvirt.UUID) {
	raw, _ := hex.DecodeString(strings.ReplaceAll(m.UUID, "-", ""))
	copy(u[:], raw)
	return u
}

// find returns the machine's domain and its mark; the error is one of notFound if there is none.
func find(c *conversation, m drivers.Machine) (libvirt.Domain, mark, error) {
	dom, err := c.DomainLookupByUUID(uuidOf(m))
	if err != nil {
		return dom, mark{}, err
	}
	is, ok, err := markOn(c, dom)
	if err != nil {
		return dom, is, err
	}
	if !ok || is.UUID != m.UUID {
		return dom, is, fail.New(fail.LibvirtTaken, "libvirt has a domain %q with the UUID of machine %s that dory did not make", dom.Name, m.Name)
	}
	return dom, is, nil
}

// findActive returns the machine's domain, and whether there is one that runs.
func findActive(c *conversation, m drivers.Machine) (dom libvirt.Domain, active bool, err error) {
	dom, _, err = find(c, m)
	if err != nil {
		return dom, false, ignore(err)
	}
	is, err := c.DomainIsActive(dom)
	return dom, is != 0, err
}

// define writes the machine's definition. ip is what the guest is told of its network.
func (d *Driver) define(c *conversation, m drivers.Machine, from source, is mark, ip string) (libvirt.Domain, error) {
	definition, err := d.definition(c.at, m, from, is, ip)
	if err != nil {
		return libvirt.Domain{}, err
	}
	dom, err := c.DomainDefineXMLFlags(definition, 0)
	if is := is.Object(); err != nil && strings.Contains(err.Error(), "already exists with uuid") {
		return dom, fail.New(fail.LibvirtTaken, "libvirt has a domain %q that dory did not make", is).WithEvidence("libvirt says: " + err.Error())
	}
	return dom, err
}

// Pause halts the machine's processors.
func (d *Driver) Pause(ctx context.Context, m drivers.Machine) error {
	return d.command(ctx, m, "pause", func(c *conversation, dom libvirt.Domain) error { return c.DomainSuspend(dom) })
}

// Unpause lets the machine's processors go on.
func (d *Driver) Unpause(ctx context.Context, m drivers.Machine) error {
	return d.command(ctx, m, "unpause", func(c *conversation, dom libvirt.Domain) error { return c.DomainResume(dom) })
}

// command does something with a domain that must run.
func (d *Driver) command(ctx context.Context, m drivers.Machine, verb string, f func(*conversation, libvirt.Domain) error) error {
	doing := verb + " machine " + m.Name
	return d.do(ctx, m.URI, doing, commandLimit, func(c *conversation) error {
		dom, active, err := findActive(c, m)
		if err != nil {
			return err
		}
		if !active {
			return fail.New(fail.ClusterNotUp, "%s: it does not run", doing)
		}
		if err := f(c, dom); err != nil && !is(err, libvirt.ErrOperationInvalid) { // it is so already
			return err
		}
		return nil
	})
}
