//go:build unix

package libvirt

import (
	"io"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/digitalocean/go-libvirt/libvirttest"
	"github.com/dorykube/dory/internal/fail"
)

// playDaemon answers as a libvirt daemon does, as far as go-libvirt's own tests need one, and returns its URI.
func playDaemon(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sock")
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			daemon, err := libvirttest.New().Dial()
			if err != nil {
				conn.Close()
				continue
			}
			go func() { io.Copy(daemon, conn); daemon.Close() }()
			go func() { io.Copy(conn, daemon); conn.Close() }()
		}
	}()
	return "qemu:///system?socket=" + path
}

// A call that does not notice that its time is over keeps nobody waiting, and writes nothing that its caller reads. (The race detector
// would see it.)
func TestAskEndsInTime(t *testing.T) {
	d, uri := New(Options{Cache: t.TempDir()}), playDaemon(t)
	got, err := ask(t.Context(), d, uri, "ask", time.Minute, func(c *conversation) (int, error) {
		_, err := c.ConnectGetLibVersion()
		return 7, err
	})
	if got != 7 || err != nil {
		t.Fatal(got, err)
	}
	deaf, ended := make(chan struct{}), make(chan struct{})
	const limit = 300 * time.Millisecond
	began := time.Now()
	got, err = ask(t.Context(), d, uri, "ask", limit, func(*conversation) (int, error) {
		defer close(ended)
		<-deaf
		return 7, nil
	})
	took := time.Since(began)
	close(deaf)
	if !fail.Is(err, fail.LibvirtTimeout) || got != 0 || took > limit+closeLimit+10*time.Second {
		t.Errorf("%d, %v after %v", got, err, took)
	}
	<-ended
	if got != 0 {
		t.Error("what came too late reached the caller")
	}
	if statusLimit+closeLimit >= 2*time.Second {
		t.Errorf("a status may take %v", statusLimit+closeLimit)
	}
}
