package provision

import (
	"archive/tar"
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/dorykube/dory/internal/fail"
	"github.com/dorykube/dory/internal/kube"
	"github.com/dorykube/dory/provision/pki"
)

// Identity is what tells a machine from those that were forked from the same template, besides its authority.
type Identity struct {
	Hostname      string
	AuthorizedKey string // one line of OpenSSH authorized_keys: who may log in from now on, and nobody else
	HostKey       []byte // private key of the SSH server, as OpenSSH writes it
	HostKeyPublic string // one line
}

// Renew makes a fork of a provisioned node another node: random numbers and clock first, then its names, its SSH keys and
// everything that hangs on the authority. Its components read their files again while they run. When Renew returns, the
// API server knows the new identity only, and so does the SSH server for whoever comes next, and the named conditions hold
// (see kube.ParseWait); for timeout at the longest.
//
// The node must have been provisioned with settings that differ in nothing but the API server's further names and
// addresses.
func Renew(ctx context.Context, t Target, s Settings, a *pki.Authority, id Identity, wait []string, timeout time.Duration) error {
	ca, cert, key, err := a.AdminKubeconfigAuth()
	if err != nil {
		return err
	}
	api, err := kube.Client(ca, cert, key, "https://"+t.API)
	if err != nil {
		return err
	}
	content, err := renewal(s, a, id)
	if err != nil {
		return err
	}
	renewed := newSignal("renewed")
	rest, goOn := io.Pipe() // the node's other components go on when it is closed
	defer goOn.Close()
	done := make(chan error, 1)
	go func() {
		cmd := Cmd{Shell: "exec /opt/dory/bundle/bin/dory-node renew", Stdin: io.MultiReader(bytes.NewReader(content), rest), Stdout: renewed}
		done <- t.Run(ctx, cmd)
	}()
	select {
	case <-renewed.seen:
	case err := <-done:
		return guestError(fail.GuestCommand, cmp.Or(err, errors.New("it did not say that it has")), "give the fork an identity of its own")
	}
	if err := limited(ctx, timeout, api.WaitTrusted); err != nil {
		return fail.Wrap(fail.ControlPlaneWait, err, "the API server did not take its new identity")
	}
	goOn.Close()
	if err := <-done; err != nil {
		return guestError(fail.GuestCommand, err, "give the fork an identity of its own")
	}
	return limited(ctx, timeout, func(ctx context.Context) error { return api.Holds(ctx, wait) })
}

// limited waits for something for a limited time.
func limited(ctx context.Context, timeout time.Duration, wait func(context.Context) error) error {
	inner, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	err := wait(inner)
	if err != nil && ctx.Err() == nil {
		return fail.Wrap(fail.ControlPlaneWait, err, "the cluster was not ready within %s", timeout)
	}
	return err
}

// Hold halts what a fork does not need until it has been renewed. Only Renew lets it go on.
func Hold(ctx context.Context, r Runner) error {
	if err := r.Run(ctx, Cmd{Shell: "sync; exec /opt/dory/bundle/bin/dory-node hold"}); err != nil {
		return guestError(fail.GuestCommand, err, "make the node ready to be frozen")
	}
	return nil
}

// renewal is what 'dory-node renew' reads; see there for the entries and their order.
func renewal(s Settings, a *pki.Authority, id Identity) ([]byte, error) {
	entropy, machineID := make([]byte, 512), make([]byte, 16)
	rand.Read(entropy) // never fails
	rand.Read(machineID)
	secret, err := secretFiles(s, a)
	if err != nil {
		return nil, err
	}
	stamp, err := filesStamp(s, a)
	if err != nil {
		return nil, err
	}
	files := append([]file{
		{"entropy", 0o600, entropy},
		{"clock", 0o600, nil}, // set when everything else is ready
		{"/run/dory/authorized_keys", 0o600, []byte(id.AuthorizedKey + "\n")},
		{"/etc/ssh/ssh_host_ed25519_key", 0o600, id.HostKey},
		{"/etc/ssh/ssh_host_ed25519_key.pub", 0o644, []byte(id.HostKeyPublic + "\n")},
		{"hostname", 0o600, []byte(id.Hostname)},
		{"machine-id", 0o600, []byte(hex.EncodeToString(machineID))},
		{stampFile, 0o644, []byte(stamp + "\n")},
	}, secret...)
	files[1].content = fmt.Append(nil, time.Now().UnixNano())
	return plainArchive(files)
}

// plainArchive keeps names as they are: not every entry is a file's.
func plainArchive(files []file) ([]byte, error) {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, f := range files {
		if err := w.WriteHeader(&tar.Header{Name: f.path, Mode: int64(f.mode), Size: int64(len(f.content))}); err != nil {
			return nil, err
		}
		if _, err := w.Write(f.content); err != nil {
			return nil, err
		}
	}
	err := w.Close() // which still writes
	return out.Bytes(), err
}

// signal closes seen when a word is written to it.
type signal struct {
	word string
	text bytes.Buffer
	seen chan struct{}
}

func newSignal(word string) *signal { return &signal{word: word, seen: make(chan struct{})} }

func (s *signal) Write(p []byte) (int, error) {
	before := strings.Contains(s.text.String(), s.word)
	s.text.Write(p)
	if !before && strings.Contains(s.text.String(), s.word) {
		close(s.seen)
	}
	return len(p), nil
}

// SetClock steps a node's clock to this computer's.
func SetClock(ctx context.Context, r Runner) error {
	err := r.Run(ctx, Cmd{Shell: fmt.Sprintf("/opt/dory/bundle/bin/dory-node set-clock %d", time.Now().UnixNano())})
	if err != nil {
		return guestError(fail.GuestCommand, err, "set the node's clock")
	}
	return nil
}
