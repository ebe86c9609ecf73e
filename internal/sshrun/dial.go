// Package sshrun runs commands and puts files on a machine over one SSH connection.
package sshrun

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

// Config says which machine and who logs in.
type Config struct {
	Addr string // host:port
	User string
	Key  []byte // private key, PEM
	// Up says that the server listens already: it is asked with patience, since every attempt costs it a process.
	Up bool
	// HostKey is the machine's public host key as in known_hosts ("ssh-ed25519 AAAA..."). Empty: any is accepted, and
	// Client.HostKey tells it, to be remembered.
	HostKey string
}

// ErrHostKey is a machine whose host key is not the one expected.
var ErrHostKey = errors.New("the machine's SSH host key is not the one on record")

const (
	// A user-mode network accepts a connection long before the guest listens, and retransmits into it ever more rarely;
	// so fresh attempts overlap, and the first banner wins. They are few: in a slow guest that does listen, each costs a
	// process, and each that is given up before it was answered costs it for nothing: so they get more and more time.
	attemptEvery  = 200 * time.Millisecond
	attemptLimit  = 3 * time.Second
	attemptGrowth = 3 / 2.0
	attempts      = 3
	// A server that listens answers the first attempt, unless its machine has too much to do: then more would not help.
	patientEvery = 10 * time.Second
	patientLimit = time.Minute
)

// Dial waits until the machine's SSH server sends its banner, and logs in. It goes on trying until ctx ends; the error
// then has the last reason.
func Dial(ctx context.Context, cfg Config) (*Client, error) {
	signer, err := ssh.ParsePrivateKey(cfg.Key)
	if err != nil {
		return nil, fmt.Errorf("read the SSH key: %w", err)
	}
	conn, err := waitBanner(ctx, cfg.Addr, cfg.Up)
	if err != nil {
		return nil, err
	}
	client := &Client{}
	handshake := &ssh.ClientConfig{
		User:            cfg.User,
		Auth:            []ssh.AuthMethod{ssh.PublicKeys(signer)},
		HostKeyCallback: client.checkHostKey(cfg.HostKey),
		// Ed25519 first and only: the one kind of key that dory's machines have, so that nothing is negotiated.
		HostKeyAlgorithms: []string{ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256},
		Config:            ssh.Config{KeyExchanges: []string{ssh.KeyExchangeCurve25519, ssh.KeyExchangeECDHP256}},
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	sshConn, channels, requests, err := ssh.NewClientConn(conn, cfg.Addr, handshake)
	if !stop() && ctx.Err() != nil {
		conn.Close()
		return nil, ctx.Err()
	}
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("log in to %s: %w", cfg.Addr, err)
	}
	client.ssh = ssh.NewClient(sshConn, channels, requests)
	return client, nil
}

func (c *Client) checkHostKey(want string) ssh.HostKeyCallback {
	return func(_ string, _ net.Addr, key ssh.PublicKey) error {
		c.hostKey = strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key)))
		if want != "" && c.hostKey != want {
			return ErrHostKey
		}
		return nil
	}
}

// waitBanner returns a connection to addr on which an SSH server has begun to speak; up says that it listens already.
func waitBanner(ctx context.Context, addr string, up bool) (net.Conn, error) {
	every, limit := attemptEvery, attemptLimit
	if up {
		every, limit = patientEvery, patientLimit
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var (
		won     = make(chan net.Conn)
		places  = make(chan struct{}, attempts)
		pending sync.WaitGroup
		mu      sync.Mutex
		last    error
	)
	attempt := func() {
		defer func() { <-places; pending.Done() }()
		mu.Lock()
		mine := limit
		mu.Unlock()
		conn, err := banner(ctx, addr, mine)
		if err != nil {
			mu.Lock()
			defer mu.Unlock()
			netErr, ok := errors.AsType[net.Error](err)
			timeout := ok && netErr.Timeout()
			if last == nil || !timeout { // running out of time says less than whatever was the matter before
				last = err
			}
			if timeout && limit == mine {
				limit = min(time.Duration(float64(mine)*attemptGrowth), patientLimit)
			}
			return
		}
		select {
		case won <- conn:
		case <-ctx.Done():
			conn.Close()
		}
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case places <- struct{}{}:
			pending.Add(1)
			go attempt()
		default:
		}
		select {
		case conn := <-won:
			return conn, nil
		case <-ctx.Done():
			pending.Wait()
			return nil, errors.Join(fmt.Errorf("wait for the SSH server at %s: %w", addr, ctx.Err()), last)
		case <-tick.C:
		}
	}
}

func banner(ctx context.Context, addr string, limit time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { conn.SetReadDeadline(time.Unix(1, 0)) })
	reader := bufio.NewReader(conn)
	line, err := reader.ReadString('\n')
	stop()
	conn.SetReadDeadline(time.Time{})
	switch {
	case err != nil:
		err = fmt.Errorf("no SSH banner yet: %w", err)
	case !strings.HasPrefix(line, "SSH-"):
		err = fmt.Errorf("not an SSH server: it says %q", line)
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	rest, _ := reader.Peek(reader.Buffered())
	read := append([]byte(line), rest...)
	return &replayed{Conn: conn, first: io.MultiReader(bytes.NewReader(read), conn)}, nil
}

// replayed is a connection whose first bytes have been read already.
type replayed struct {
	net.Conn
	first io.Reader
}

func (r *replayed) Read(p []byte) (int, error) { return r.first.Read(p) }
