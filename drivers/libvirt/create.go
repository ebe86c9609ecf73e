package libvirt

import (
	"context"
	"time"

	libvirt "github.com/digitalocean/go-libvirt"
)

// create starts a domain. libvirt goes on starting it when nobody waits for that any more: so when the call's context ends
// first, the domain is ended again.
func create(c *conversation, dom libvirt.Domain) error {
	if err := c.ctx.Err(); err != nil {
		return err
	}
	done := make(chan error, 1)
	other, err := converse(context.WithoutCancel(c.ctx), c.at) // one that does not end with the call
	if err != nil {
		return err
	}
	go func() {
		_, err := other.DomainCreateWithFlags(dom, 0)
		done <- err
	}()
	select {
	case err := <-done:
		other.close()
		return err
	case <-c.ctx.Done():
	}
	undo(other, dom, done)
	return c.ctx.Err()
}

// undoLimit is how long ending what was begun may take; with what follows it stays below a second.
const undoLimit = 700 * time.Millisecond

// undo ends a domain that is being started. The daemon may answer at first that nothing runs yet.
func undo(c *conversation, dom libvirt.Domain, started <-chan error) {
	defer c.close()
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		for runs := false; ; {
			err := c.DomainDestroyFlags(dom, 0)
			if err != nil && lost(err) || runs && (err == nil || is(err, libvirt.ErrOperationInvalid)) {
				return
			}
			select {
			case err := <-started:
				if err != nil {
					return // it came to nothing
				}
				runs = true
			case <-time.After(5 * time.Millisecond):
			}
		}
	}()
	select {
	case <-gone:
	case <-time.After(undoLimit):
	}
}
