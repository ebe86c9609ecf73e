package provision

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/dorykube/dory/internal/fail"
	"github.com/dorykube/dory/internal/kube"
	"github.com/dorykube/dory/internal/progress"
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
// everything that hangs on the authority. Its components read their files again while they run. line leads to what Hold left
// waiting in the node, and api is where the API server is reached (host:port). When Renew returns, the API server knows the new
// identity only, and so does the SSH server for whoever comes next, and the named conditions hold (see kube.ParseWait); for timeout
// at the longest. A fork that says nothing is ErrSilent. Closing the line lets the rest of the node go on.
//
// The node must have been provisioned with settings that differ in nothing but the API server's further names and
// addresses.
func Renew(ctx context.Context, line io.ReadWriteCloser, api string, s Settings, a *pki.Authority, id Identity, wait []string, timeout time.Duration) error {
	defer context.AfterFunc(ctx, func() { line.Close() })() // which ends what waits for it
	ca, cert, key, err := a.AdminKubeconfigAuth()
	if err != nil {
		return err
	}
	client, err := kube.Client(ca, cert, key, "https://"+api)
	if err != nil {
		return err
	}
	content, err := renewal(s, a, id)
	if err != nil {
		return err
	}
	go line.Write(content) // a fork that does not take it says nothing, either
	// Asked from the beginning, in vain at first: its first handshake takes an emulated API server half a second, and it has that
	// while the node renews. Nothing is told to it before it shows a certificate of our authority.
	patient, giveUp := context.WithCancel(ctx)
	defer giveUp()
	ready := make(chan error, 1)
	go func() { ready <- awaitRenewed(patient, client, wait) }()
	answers := listen(line)
	renewed := progress.Part(ctx, "node renews")
	if err := answers.await(ctx, "renewed", timeout); err != nil {
		return err
	}
	renewed()
	err = patiently(ctx, timeout, client.Pulse, func(ctx context.Context) error {
		defer context.AfterFunc(ctx, giveUp)()
		return <-ready
	})
	if err != nil {
		return err
	}
	return answers.await(ctx, "synced", timeout)
}

// awaitRenewed returns when the API server has its new identity, and the conditions hold.
func awaitRenewed(ctx context.Context, client *kube.Cluster, wait []string) error {
	renewed := progress.Part(ctx, "API server renews")
	if err := client.WaitTrusted(ctx); err != nil {
		return err
	}
	renewed()
	defer progress.Part(ctx, "conditions hold")()
	return client.Holds(ctx, wait)
}

// Hold halts what a fork does not need until it has been renewed, and ends what it never needs. Only Renew lets it go on.
func Hold(ctx context.Context, r Runner) error {
	return command(ctx, r, "make the node ready to be frozen",
		`pkill -x guard; sync
modprobe virtio_console && systemctl start dory-hold || { journalctl -u dory-hold -n 5 --no-pager -o cat >&2; exit 1; }
# Whoever connects to a fork starts a server that reads the fork's own host key; this session outlives its server.
if systemctl --quiet is-active ssh.socket; then systemctl stop ssh.service 2>/dev/null; fi`)
}

// renewal is what 'dory-node hold' reads; see its renew.go for the entries and their order.
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
	files := slices.Concat([]file{
		{"entropy", 0o600, entropy},
		{"clock", 0o600, nil}, // set when everything else is ready
	}, secret, []file{
		{"/run/dory/authorized_keys", 0o600, []byte(id.AuthorizedKey + "\n")},
		// There is no server until somebody connects: see Hold.
		{"/etc/ssh/ssh_host_ed25519_key", 0o600, id.HostKey},
		{"/etc/ssh/ssh_host_ed25519_key.pub", 0o644, []byte(id.HostKeyPublic + "\n")},
		{"hostname", 0o600, []byte(id.Hostname)},
		{"machine-id", 0o600, []byte(hex.EncodeToString(machineID))},
		{stampFile, 0o644, []byte(stamp + "\n")},
	})
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

// ErrSilent is a fork that does not answer: it hangs, or its line is closed.
var ErrSilent = errors.New("the fork does not answer")

// answers are the lines that a fork says.
type answers <-chan string

func listen(line io.Reader) answers {
	said := make(chan string, 2) // all that there are
	go func() {
		defer close(said)
		for lines := bufio.NewScanner(line); lines.Scan(); {
			said <- lines.Text()
		}
	}()
	return said
}

// await waits for the word, which is what the fork says next unless it fails.
func (a answers) await(ctx context.Context, word string, timeout time.Duration) error {
	select {
	case said, open := <-a:
		switch {
		case said == word:
			return nil
		case open:
			return fail.New(fail.GuestCommand, "give the fork an identity of its own").WithEvidence(said)
		case ctx.Err() != nil: // which has closed the line
			return ctx.Err()
		}
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(timeout):
	}
	return ErrSilent
}

// SetClock steps a node's clock to this computer's. On a busy computer the time is late when it arrives, and is sent again.
func SetClock(ctx context.Context, r Runner) (err error) {
	const attempts, late = 3, 500 * time.Millisecond
	for range attempts {
		began := time.Now()
		err = command(ctx, r, "set the node's clock", fmt.Sprintf("/opt/dory/bundle/bin/dory-node set-clock %d", began.UnixNano()))
		if err != nil || time.Since(began) < late {
			break
		}
	}
	if err != nil {
		return guestError(fail.GuestCommand, err, "set the node's clock")
	}
	return nil
}
