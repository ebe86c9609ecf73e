package libvirt

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	libvirt "github.com/digitalocean/go-libvirt"
	"github.com/dorykube/dory/internal/fail"
)

func TestExplain(t *testing.T) {
	dial := func(errno syscall.Errno) error {
		return &net.OpError{Op: "dial", Net: "unix", Err: os.NewSyscallError("connect", errno)}
	}
	answer := func(code libvirt.ErrorNumber, text string) error {
		return fmt.Errorf("make volume x: %w", libvirt.Error{Code: uint32(code), Message: text})
	}
	for name, c := range map[string]struct {
		err  error
		kind fail.Kind
	}{
		"no permission":  {dial(syscall.EACCES), fail.LibvirtDenied},
		"polkit":         {answer(libvirt.ErrAuthUnavailable, "authentication unavailable: no polkit agent"), fail.LibvirtDenied},
		"nobody there":   {dial(syscall.ENOENT), fail.LibvirtMissing},
		"nobody listens": {dial(syscall.ECONNREFUSED), fail.LibvirtMissing},
		"full":           {answer(libvirt.ErrSystemError, "cannot write: No space left on device"), fail.DiskTooMuch},
		"quota":          {answer(libvirt.ErrSystemError, "cannot extend file: Disk quota exceeded"), fail.DiskTooMuch},
		"anything else":  {answer(libvirt.ErrInternalError, "internal error: something"), fail.LibvirtFailed},
		"known already":  {fail.New(fail.PortTaken, "port"), fail.PortTaken},
	} {
		err := explain(c.err, "start machine x", place{uri: "qemu:///system"})
		if !fail.Is(err, c.kind) || fail.As(err).Remedy() == "" {
			t.Errorf("%s: %v, want %s", name, err, c.kind.ID)
		}
	}
}

// TestBusy has libvirt's words for a pool that needs only a moment, and for what no waiting mends.
func TestBusy(t *testing.T) {
	for text, want := range map[string]bool{
		"internal error: pool 'dory' has asynchronous jobs running.":                               true,
		"Requested operation is not valid: volume 'dory-image-14e7970e' is still being allocated.": true,
		"Requested operation is not valid: volume 'dory-image-14e7970e' is still in use.":          true,
		"Requested operation is not valid: domain is still in use.":                                false,
		"cannot write: No space left on device":                                                    false,
	} {
		err := fmt.Errorf("fill volume: %w", libvirt.Error{Code: uint32(libvirt.ErrOperationInvalid), Message: text})
		if busy(err) != want {
			t.Errorf("%q: busy is %v", text, !want)
		}
	}
	if busy(nil) {
		t.Error("no error is busy")
	}
}

// deaf listens, and answers nothing.
func deaf(t *testing.T) (uri string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	return "qemu+unix:///system?socket=" + filepath.ToSlash(path)
}

func TestDaemonThatDoesNotAnswer(t *testing.T) {
	uri, d := deaf(t), New(Options{})
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	began := time.Now()
	err := d.do(ctx, uri, "look", time.Minute, func(*conversation) error { return nil })
	if took := time.Since(began); !errors.Is(err, context.Canceled) || took > time.Second {
		t.Errorf("cancelled, after %v: %v", took, err)
	}
	err = d.do(t.Context(), uri, "look", 100*time.Millisecond, func(*conversation) error { return nil })
	if !fail.Is(err, fail.LibvirtTimeout) {
		t.Errorf("with a limit: %v", err)
	}
	absent := "qemu+unix:///system?socket=" + filepath.ToSlash(filepath.Join(t.TempDir(), "none"))
	if err := d.do(t.Context(), absent, "look", time.Minute, func(*conversation) error { return nil }); !fail.Is(err, fail.LibvirtMissing) {
		t.Errorf("where nobody listens: %v", err)
	}
}
