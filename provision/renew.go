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
	out := newSignals("renewed", "synced")
	rest, goOn := io.Pipe() // the node's other components go on when it is closed
	defer goOn.Close()
	ended := make(chan error, 1)
	go func() {
		cmd := Cmd{Shell: "exec /opt/dory/bundle/bin/dory-node renew", Stdin: io.MultiReader(bytes.NewReader(content), rest), Stdout: out}
		ended <- cmp.Or(t.Run(ctx, cmd), errors.New("it did not say that it has"))
	}()
	if err := out.await("renewed", ended); err != nil {
		return err
	}
	if err := limited(ctx, timeout, api.WaitTrusted); err != nil {
		return err
	}
	if err := limited(ctx, timeout, func(ctx context.Context) error { return api.Holds(ctx, wait) }); err != nil {
		return err
	}
	return out.await("synced", ended)
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

// Hold halts what a fork does not need until it has been renewed, and ends what it never needs. Only Renew lets it go on.
func Hold(ctx context.Context, r Runner) error {
	return command(ctx, r, "make the node ready to be frozen", "pkill -x guard; sync; exec /opt/dory/bundle/bin/dory-node hold")
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

// signals are words that a command writes, each of which somebody waits for.
type signals struct {
	text bytes.Buffer
	seen map[string]chan struct{}
}

func newSignals(words ...string) *signals {
	s := &signals{seen: map[string]chan struct{}{}}
	for _, word := range words {
		s.seen[word] = make(chan struct{})
	}
	return s
}

func (s *signals) Write(p []byte) (int, error) {
	before := s.text.String()
	s.text.Write(p)
	for word, seen := range s.seen {
		if !strings.Contains(before, word) && strings.Contains(s.text.String(), word) {
			close(seen)
		}
	}
	return len(p), nil
}

// await waits for the word, or for the command's end without it.
func (s *signals) await(word string, ended <-chan error) error {
	select {
	case <-s.seen[word]:
		return nil
	case err := <-ended:
		return guestError(fail.GuestCommand, err, "give the fork an identity of its own")
	}
}

// SetClock steps a node's clock to this computer's. On a busy computer the time is late when it arrives, and is sent again.
func SetClock(ctx context.Context, r Runner) (err error) {
	const attempts, late = 3, 500 * time.Millisecond
	for range attempts {
		began := time.Now()
		err = r.Run(ctx, Cmd{Shell: fmt.Sprintf("/opt/dory/bundle/bin/dory-node set-clock %d", began.UnixNano())})
		if err != nil || time.Since(began) < late {
			break
		}
	}
	if err != nil {
		return guestError(fail.GuestCommand, err, "set the node's clock")
	}
	return nil
}
