package sshrun

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/dorykube/dory/provision"
	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
)

// Client is a logged-in connection. It is safe for concurrent use.
type Client struct {
	ssh     *ssh.Client
	via     *Client // the way there, which is this client's own; nil: none
	sudo    bool
	hostKey string

	mu   sync.Mutex
	sftp *sftp.Client // made at the first use
}

// HostKey is the machine's public host key, as in known_hosts.
func (c *Client) HostKey() string { return c.hostKey }

// Close ends the connection and everything that runs over it.
func (c *Client) Close() error {
	var err error
	if c.ssh != nil {
		err = c.ssh.Close()
	}
	if c.via != nil {
		err = errors.Join(err, c.via.Close())
	}
	return err
}

// DialContext connects to an address as seen from the machine.
func (c *Client) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	return c.ssh.DialContext(ctx, network, addr)
}

// Run runs a command. When ctx ends first, its session is closed and the error is the context's.
func (c *Client) Run(ctx context.Context, cmd provision.Cmd) error {
	session, err := c.session(ctx)
	if err != nil {
		return err
	}
	var stderr strings.Builder
	session.Stdin, session.Stdout, session.Stderr = cmd.Stdin, cmd.Stdout, cmd.Stderr
	if cmd.Stderr == nil {
		session.Stderr = &stderr
	}
	if cmd.TTY != nil {
		if err := requestTTY(session, cmd.TTY); err != nil {
			session.Close()
			return err
		}
	}
	ended := make(chan error, 1)
	go func() { ended <- runSession(session, c.command(cmd.Shell)) }()
	select {
	case err = <-ended:
	case <-ctx.Done():
		// Not awaited: a machine that hangs would never acknowledge.
		go func() {
			session.Signal(ssh.SIGTERM)
			session.Close()
		}()
		return ctx.Err()
	}
	if exit := (*ssh.ExitError)(nil); errors.As(err, &exit) {
		return &provision.ExitError{Shell: cmd.Shell, Code: exit.ExitStatus(), Signal: exit.Signal(), Stderr: stderr.String()}
	}
	return err
}

// session opens a session, which a machine that hangs would never confirm.
func (c *Client) session(ctx context.Context) (*ssh.Session, error) {
	type opened struct {
		session *ssh.Session
		err     error
	}
	answer := make(chan opened, 1)
	go func() {
		session, err := c.ssh.NewSession()
		answer <- opened{session, err}
	}()
	select {
	case o := <-answer:
		if o.err != nil {
			return nil, fmt.Errorf("open an SSH session: %w", o.err)
		}
		return o.session, nil
	case <-ctx.Done():
		go func() {
			if o := <-answer; o.session != nil {
				o.session.Close()
			}
		}()
		return nil, ctx.Err()
	}
}

// command is what the machine is told to run: a user's own shell stays that user's. Programs for root are not in
// the path that everybody has, and sudo adds them only where it is told to.
func (c *Client) command(shell string) string {
	if !c.sudo || shell == "" {
		return shell
	}
	return `sudo -n -- env SSH_CONNECTION="$SSH_CONNECTION" PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin" sh -c '` + strings.ReplaceAll(shell, "'", `'\''`) + "'"
}

// runSession starts the command, or a login shell if there is none, and waits for its end.
func runSession(session *ssh.Session, command string) error {
	defer session.Close()
	start := session.Shell
	if command != "" {
		start = func() error { return session.Start(command) }
	}
	if err := start(); err != nil {
		return err
	}
	return session.Wait()
}

func requestTTY(session *ssh.Session, tty *provision.TTY) error {
	modes := ssh.TerminalModes{ssh.ECHO: 1, ssh.TTY_OP_ISPEED: 115200, ssh.TTY_OP_OSPEED: 115200}
	if err := session.RequestPty(tty.Term, tty.Height, tty.Width, modes); err != nil {
		return fmt.Errorf("request a terminal: %w", err)
	}
	if tty.Resize != nil {
		go func() {
			for size := range tty.Resize {
				session.WindowChange(size[1], size[0])
			}
		}()
	}
	return nil
}

// putGrace is how long a Put that is called off has to remove what it has written.
const putGrace = time.Second

// Put writes a file over SFTP, beside its place first, so that a cut connection leaves the old one.
func (c *Client) Put(ctx context.Context, name string, mode fs.FileMode, content io.Reader) error {
	ended := make(chan error, 1)
	go func() { ended <- c.put(ctx, name, mode, content) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-ended:
		return err
	case <-time.After(putGrace): // the machine hangs
		return ctx.Err()
	}
}

func (c *Client) put(ctx context.Context, name string, mode fs.FileMode, content io.Reader) error {
	client, err := c.SFTP()
	if err != nil {
		return err
	}
	temp := path.Join(path.Dir(name), ".dory-"+path.Base(name)+".tmp")
	file, err := client.Create(temp)
	if err != nil {
		return fmt.Errorf("create %s on the machine: %w", temp, err)
	}
	stop := context.AfterFunc(ctx, func() { file.Close() })
	err = file.Chmod(mode)
	if err == nil {
		_, err = file.ReadFrom(content)
	}
	stop()
	err = errors.Join(err, file.Close(), ctx.Err())
	if err == nil {
		err = client.PosixRename(temp, name)
	}
	if err != nil {
		client.Remove(temp)
		return fmt.Errorf("write %s on the machine: %w", name, err)
	}
	return nil
}

// SFTP returns the connection's SFTP client. It is closed with the connection.
func (c *Client) SFTP() (*sftp.Client, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sftp == nil {
		client, err := sftp.NewClient(c.ssh)
		if err != nil {
			return nil, fmt.Errorf("start SFTP: %w", err)
		}
		c.sftp = client
	}
	return c.sftp, nil
}
