package libvirt

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"regexp"
	"strings"
	"sync"
	"time"

	libvirt "github.com/digitalocean/go-libvirt"
	"github.com/dorykube/dory/internal/fail"
)

// is reports whether libvirt answered with one of the codes. libvirt.IsNotFound knows domains only.
func is(err error, codes ...libvirt.ErrorNumber) bool {
	var e libvirt.Error
	if !errors.As(err, &e) {
		return false
	}
	for _, code := range codes {
		if e.Code == uint32(code) {
			return true
		}
	}
	return false
}

// notFound: there is no such object, of whatever kind.
func notFound(err error) bool {
	return is(err, libvirt.ErrNoDomain, libvirt.ErrNoNetwork, libvirt.ErrNoStoragePool, libvirt.ErrNoStorageVol, libvirt.ErrNoDomainMetadata)
}

// ignore makes success of the wanted absence of an object.
func ignore(err error) error {
	if notFound(err) {
		return nil
	}
	return err
}

// lost: the daemon is gone, and what it was asked may or may not have been done.
func lost(err error) bool {
	return errors.Is(err, libvirt.ErrInterrupted) || errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) || cut(err)
}

// busy: the pool has something to do that will end, such as looking at what was uploaded, or another upload of the same.
func busy(err error) bool {
	return err != nil && busyWords.MatchString(err.Error())
}

// busyWords are those of libvirt's storage driver; the code that comes with them has many meanings.
var busyWords = regexp.MustCompile("has asynchronous jobs running|is still being allocated|volume '.*' is still in use")

// restartLimit is how long a daemon that was there may be away.
const restartLimit = 15 * time.Second

// patience is for a socket at which nobody listens: its daemon may just be restarted.
const patience = time.Second

// mostLosses is how often it may go away in the middle of one call.
const mostLosses = 5

// do has a conversation with the machine's libvirt. If the daemon goes away in the middle, because somebody restarts it, f
// runs again when it is back; so f must bear to run twice, as everything here does. doing is a verb phrase for the error.
func (d *Driver) do(ctx context.Context, uri, doing string, limit time.Duration, f func(*conversation) error) error {
	at, err := parse(uri)
	if err != nil {
		return err
	}
	if at.session && at.local() && at.socket == "" && os.Geteuid() == 0 { // started by root, it would be the system's
		return fail.New(fail.BadValue, "%s: root has no libvirt of its own", doing).WithAdvice("use --kvm-qemu-uri %s", DefaultURI)
	}
	if !at.local() {
		at.account.Learned = d.learnedHosts()
	}
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var gone time.Time // since when the daemon has been away; zero: it is there, or never was
	for losses := 0; ; {
		err := once(limited, at, f)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return fmt.Errorf("%s: %w", doing, ctx.Err())
		case limited.Err() != nil:
			return fail.Wrap(fail.LibvirtTimeout, err, "%s: libvirt at %s has not answered within %v", doing, at.uri, limit)
		case busy(err):
			gone = time.Time{}
		case lost(err):
			gone = time.Now()
			losses++
		case refused(err) && gone.IsZero():
			gone = time.Now().Add(patience - restartLimit)
		case gone.IsZero() || !absent(err):
			return explain(err, doing, at)
		}
		switch {
		case gone.IsZero(), losses <= mostLosses && time.Since(gone) < restartLimit:
		case losses == 0:
			return explain(err, doing, at)
		default:
			return fail.Wrap(fail.LibvirtTimeout, err, "%s: libvirt's daemon went away, %d times, and did not come back to stay", doing, losses)
		}
		select {
		case <-limited.Done():
		case <-time.After(pollEvery):
		}
	}
}

// ask is do for an f that finds something out. Where its limit has passed, f may still be at work; what it makes then reaches nobody.
func ask[T any](ctx context.Context, d *Driver, uri, doing string, limit time.Duration, f func(*conversation) (T, error)) (T, error) {
	var mu sync.Mutex
	var found T
	err := d.do(ctx, uri, doing, limit, func(c *conversation) error {
		got, err := f(c)
		mu.Lock()
		defer mu.Unlock()
		found = got
		return err
	})
	mu.Lock()
	defer mu.Unlock()
	return found, err
}

// closeLimit is how long a call may take to notice that its conversation was closed. With statusLimit, it makes less than two seconds.
const closeLimit = 400 * time.Millisecond

// once has one conversation. When ctx ends, so does the conversation. f may go on for a while, and must not write what its caller
// reads: see ask.
func once(ctx context.Context, at place, f func(*conversation) error) error {
	c, err := converse(ctx, at)
	if err != nil {
		return err
	}
	defer c.close()
	done := make(chan error, 1)
	go func() { done <- f(c) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	c.close()
	select {
	case err = <-done:
	case <-time.After(closeLimit):
	}
	return errors.Join(ctx.Err(), err)
}

// explain makes an error of libvirt's, or of the way to it, the failure that it is.
func explain(err error, doing string, at place) error {
	var known *fail.Error
	text := err.Error()
	switch {
	case errors.As(err, &known):
		return err
	case errors.Is(err, fs.ErrPermission) || is(err, libvirt.ErrAuthFailed, libvirt.ErrAuthCancelled, libvirt.ErrAuthUnavailable, libvirt.ErrOperationDenied, libvirt.ErrAccessDenied):
		return fail.Wrap(fail.LibvirtDenied, err, "%s: libvirt at %s", doing, at.uri)
	case absent(err):
		failure := fail.Wrap(fail.LibvirtMissing, err, "%s: nothing answers at %s", doing, at.uri)
		if at.session {
			failure.WithAdvice("install it: 'sudo apt-get install libvirt-daemon' (Debian, Ubuntu), 'sudo dnf install libvirt-daemon-kvm' (Fedora); dory starts your own daemon by itself")
		}
		return failure
	case noSpace(text):
		return fail.Wrap(fail.DiskTooMuch, err, "%s", doing)
	default:
		return fail.Wrap(fail.LibvirtFailed, err, "%s", doing)
	}
}

// noSpace knows the words for a disk, a quota or a pool that is full; libvirt has no code for them.
func noSpace(text string) bool {
	for _, words := range []string{"No space left on device", "Disk quota exceeded", "Not enough free space in pool", "File too large"} {
		if strings.Contains(text, words) {
			return true
		}
	}
	return false
}

// hostError is a failure of this computer's file system.
func hostError(err error, doing string) error {
	if errors.Is(err, os.ErrPermission) {
		return fail.Wrap(fail.HostPermission, err, "%s", doing)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	return nil
}
