package sshrun

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dorykube/dory/internal/fail"
	"github.com/dorykube/dory/provision"
	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
)

// server is a real SSH and SFTP server in this process: it runs commands with /bin/sh and serves the file system.
type server struct {
	addr    string
	hostKey string
	login   []byte // the one private key that is let in
}

func newServer(t *testing.T) *server {
	t.Helper()
	return listen(t, serve)
}

func listen(t *testing.T, serve func(net.Conn, *ssh.ServerConfig)) *server {
	t.Helper()
	hostPEM, hostLine, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	login, allowed, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	host, err := ssh.ParsePrivateKey(hostPEM)
	if err != nil {
		t.Fatal(err)
	}
	config := &ssh.ServerConfig{PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		if strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key))) != allowed {
			return nil, errors.New("not this key")
		}
		return nil, nil
	}}
	config.AddHostKey(host)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
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
			go serve(conn, config)
		}
	}()
	return &server{addr: listener.Addr().String(), hostKey: hostLine, login: login}
}

func serve(conn net.Conn, config *ssh.ServerConfig) {
	_, channels, requests, err := ssh.NewServerConn(conn, config)
	if err != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	for incoming := range channels {
		channel, requests, err := incoming.Accept()
		if err != nil {
			return
		}
		go serveSession(channel, requests)
	}
}

func serveSession(channel ssh.Channel, requests <-chan *ssh.Request) {
	for request := range requests {
		request.Reply(true, nil)
		switch request.Type {
		case "exec":
			var payload struct{ Command string }
			ssh.Unmarshal(request.Payload, &payload)
			go execute(channel, payload.Command)
		case "subsystem":
			go func() {
				if s, err := sftp.NewServer(channel); err == nil {
					s.Serve()
				}
				channel.Close()
			}()
		}
	}
}

func execute(channel ssh.Channel, command string) {
	cmd := exec.Command("/bin/sh", "-c", command)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = channel, channel, channel.Stderr()
	cmd.WaitDelay = 100 * time.Millisecond
	err := cmd.Run()
	code := uint32(0)
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		code = uint32(exit.ExitCode())
	}
	channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Code uint32 }{code}))
	channel.Close()
}

func dial(t *testing.T, s *server) *Client {
	t.Helper()
	client, err := Dial(t.Context(), Config{Addr: s.addr, User: "root", Key: s.login})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client
}

func TestRunPassesStreamsAndExitCode(t *testing.T) {
	client := dial(t, newServer(t))
	var out bytes.Buffer
	err := client.Run(t.Context(), provision.Cmd{Shell: "tr a-z A-Z; echo why >&2; exit 7", Stdin: strings.NewReader("hello"), Stdout: &out})
	exit := (*provision.ExitError)(nil)
	if !errors.As(err, &exit) || exit.Code != 7 || exit.Stderr != "why\n" || out.String() != "HELLO" {
		t.Errorf("got %v and %q", err, out.String())
	}
}

func TestRunEndsWithTheContext(t *testing.T) {
	client := dial(t, newServer(t))
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	began := time.Now()
	err := client.Run(ctx, provision.Cmd{Shell: "sleep 60"})
	if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > 10*time.Second {
		t.Errorf("got %v after %v", err, time.Since(began))
	}
}

// A machine that hangs keeps its connections, and confirms nothing.
func TestAMachineThatHangs(t *testing.T) {
	client := dial(t, listen(t, func(conn net.Conn, config *ssh.ServerConfig) { ssh.NewServerConn(conn, config) }))
	for what, do := range map[string]func(context.Context) error{
		"run": func(ctx context.Context) error { return client.Run(ctx, provision.Cmd{Shell: "true"}) },
		"put": func(ctx context.Context) error { return client.Put(ctx, "/tmp/none", 0o600, strings.NewReader("")) },
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		began := time.Now()
		err := do(ctx)
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > 10*time.Second {
			t.Errorf("%s: got %v after %v", what, err, time.Since(began))
		}
	}
}

func TestPutReplacesWholeFilesOnly(t *testing.T) {
	client := dial(t, newServer(t))
	name := filepath.Join(t.TempDir(), "secret")
	if err := client.Put(t.Context(), name, 0o600, strings.NewReader("one")); err != nil {
		t.Fatal(err)
	}
	err := client.Put(t.Context(), name, 0o600, io.MultiReader(strings.NewReader("tw"), brokenReader{}))
	if err == nil {
		t.Error("a broken source went unnoticed")
	}
	content, _ := os.ReadFile(name)
	info, err := os.Stat(name)
	if err != nil || string(content) != "one" || info.Mode().Perm() != 0o600 {
		t.Errorf("the file holds %q with mode %v, %v", content, info.Mode(), err)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(name), ".dory*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, errors.New("cut") }

func TestDialChecksTheHostKey(t *testing.T) {
	s := newServer(t)
	_, other, _ := NewKey()
	_, err := Dial(t.Context(), Config{Addr: s.addr, User: "root", Key: s.login, HostKey: strings.TrimSuffix(other, " dory")})
	if !errors.Is(err, ErrHostKey) {
		t.Errorf("another host key: %v", err)
	}
	client := dial(t, s)
	again, err := Dial(t.Context(), Config{Addr: s.addr, User: "root", Key: s.login, HostKey: client.HostKey()})
	if err != nil {
		t.Fatalf("the host key that was reported is refused: %v", err)
	}
	again.Close()
}

// A host key that nobody knows is accepted once, and noted; where it cannot be noted, it would be accepted for ever.
func TestUnknownHostKeyMustBeNoted(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	s := newServer(t)
	for name, c := range map[string]struct {
		learned string
		noted   bool
	}{"noted": {filepath.Join(t.TempDir(), "known_hosts"), true}, "not noted": {filepath.Join(t.TempDir(), "missing", "known_hosts"), false}} {
		for range 2 {
			cfg := Config{Addr: s.addr, User: "root", Key: s.login}
			if err := (Account{Learned: c.learned}).trust(&cfg); err != nil {
				t.Fatal(err)
			}
			client, err := Dial(t.Context(), cfg)
			if err == nil {
				client.Close()
			}
			if (err == nil) != c.noted || err != nil && !fail.Is(err, fail.HostPermission) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

func TestDialIsRefusedWithAnotherKey(t *testing.T) {
	s := newServer(t)
	stranger, _, _ := NewKey()
	if _, err := Dial(t.Context(), Config{Addr: s.addr, User: "root", Key: stranger}); err == nil {
		t.Error("a stranger was let in")
	}
}

// A user-mode network accepts connections long before the guest listens, and then drops them.
func TestWaitBannerOutlastsAMuteListener(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		for n := 0; ; n++ {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			switch {
			case n < 3:
				conn.Close() // nothing listens in the guest
			case n < 6: // the guest's network is not up: silence
			default:
				fmt.Fprint(conn, "SSH-2.0-test\r\n")
			}
		}
	}()
	conn, err := waitBanner(t.Context(), new(net.Dialer).DialContext, listener.Addr().String(), false)
	if err != nil {
		t.Fatal(err)
	}
	line := make([]byte, 14)
	if _, err := io.ReadFull(conn, line); err != nil || string(line) != "SSH-2.0-test\r\n" {
		t.Errorf("the banner is not there to be read again: %q, %v", line, err)
	}
	conn.Close()
}

func TestWaitBannerTellsTheLastReason(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := listener.Addr().String()
	listener.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err = waitBanner(ctx, new(net.Dialer).DialContext, addr, false)
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "refused") {
		t.Errorf("got %v", err)
	}
}

// A server in a guest that has too much to do takes longer than an attempt at first does: attempts grow.
func TestBannerOfASlowServer(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			time.AfterFunc(attemptLimit+time.Second, func() { io.WriteString(conn, "SSH-2.0-slow\r\n") })
		}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	conn, err := waitBanner(ctx, new(net.Dialer).DialContext, listener.Addr().String(), false)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}
