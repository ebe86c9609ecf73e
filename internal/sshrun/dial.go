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
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

// Config says which machine and who logs in.
type Config struct {
	Addr string // host:port
	User string
	Key  []byte           // private key, PEM
	Auth []ssh.AuthMethod // in place of Key; see Account
	// Via is a machine through which the way leads; nil: none.
	Via *Config
	// Sudo has every command run as root, by way of sudo.
	Sudo bool
	// Once says that the machine is up or it is not: it is asked once.
	Once bool
	// Up says that the server listens already: it is asked with patience, since every attempt costs it a process.
	Up bool
	// HostKey is the machine's public host key as in known_hosts ("ssh-ed25519 AAAA..."). Empty: any is accepted, and
	// Client.HostKey tells it, to be remembered.
	HostKey string
	// CheckHostKey decides about the host key if HostKey is empty; nil: any is accepted.
	CheckHostKey ssh.HostKeyCallback
	// HostKeyAlgorithms are those to ask for; empty: those that dory's own machines have, and their like.
	HostKeyAlgorithms []string
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
	auth := cfg.Auth
	if auth == nil {
		signer, err := ssh.ParsePrivateKey(cfg.Key)
		if err != nil {
			return nil, fmt.Errorf("read the SSH key: %w", err)
		}
		auth = []ssh.AuthMethod{ssh.PublicKeys(signer)}
	}
	client := &Client{sudo: cfg.Sudo}
	connect := new(net.Dialer).DialContext
	if cfg.Via != nil {
		via, err := Dial(ctx, *cfg.Via)
		if err != nil {
			return nil, fmt.Errorf("by way of %s: %w", cfg.Via.Addr, err)
		}
		client.via, connect = via, via.DialContext
	}
	err := client.open(ctx, cfg, auth, connect)
	if err != nil {
		client.Close()
		return nil, err
	}
	return client, nil
}

// connector opens a connection, as net.Dialer does.
type connector func(ctx context.Context, network, addr string) (net.Conn, error)

func (c *Client) open(ctx context.Context, cfg Config, auth []ssh.AuthMethod, connect connector) error {
	conn, err := await(ctx, connect, cfg)
	if err != nil {
		return err
	}
	handshake := &ssh.ClientConfig{
		User:            cfg.User,
		Auth:            auth,
		HostKeyCallback: c.checkHostKey(cfg),
		// Ed25519 first: the one kind of key that dory's machines have, so that nothing is negotiated.
		HostKeyAlgorithms: cfg.HostKeyAlgorithms,
		Config:            ssh.Config{KeyExchanges: []string{ssh.KeyExchangeCurve25519, ssh.KeyExchangeECDHP256}},
	}
	if handshake.HostKeyAlgorithms == nil {
		handshake.HostKeyAlgorithms = []string{ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256}
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	sshConn, channels, requests, err := ssh.NewClientConn(conn, cfg.Addr, handshake)
	if !stop() && ctx.Err() != nil {
		conn.Close()
		return ctx.Err()
	}
	if err != nil {
		conn.Close()
		return fmt.Errorf("log in to %s as %s: %w", cfg.Addr, cfg.User, err)
	}
	c.ssh = ssh.NewClient(sshConn, channels, requests)
	return nil
}

func (c *Client) checkHostKey(cfg Config) ssh.HostKeyCallback {
	return func(host string, remote net.Addr, key ssh.PublicKey) error {
		c.hostKey = strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key)))
		switch {
		case cfg.HostKey != "" && c.hostKey != cfg.HostKey:
			return ErrHostKey
		case cfg.HostKey == "" && cfg.CheckHostKey != nil:
			return cfg.CheckHostKey(host, remote, key)
		}
		return nil
	}
}

// await returns a connection on which an SSH server has begun to speak.
func await(ctx context.Context, connect connector, cfg Config) (net.Conn, error) {
	if cfg.Once {
		return banner(ctx, connect, cfg.Addr, patientLimit)
	}
	return waitBanner(ctx, connect, cfg.Addr, cfg.Up)
}

// waitBanner tries until an SSH server has begun to speak; up says that it listens already.
func waitBanner(ctx context.Context, connect connector, addr string, up bool) (net.Conn, error) {
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
		conn, err := banner(ctx, connect, addr, mine)
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

func banner(ctx context.Context, connect connector, addr string, limit time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	conn, err := connect(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() }) // deadlines are not for all: one through SSH has none
	reader := bufio.NewReader(conn)
	line, err := reader.ReadString('\n')
	switch {
	case !stop():
		err = fmt.Errorf("no SSH banner yet: %w", os.ErrDeadlineExceeded)
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
