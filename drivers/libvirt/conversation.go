package libvirt

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os/exec"
	"sync"
	"time"

	libvirt "github.com/digitalocean/go-libvirt"
	"github.com/digitalocean/go-libvirt/socket/dialers"
	"github.com/dorykube/dory/internal/fail"
	"github.com/dorykube/dory/internal/sshrun"
	"golang.org/x/crypto/ssh"
)

// conversation is what a call of the driver has with libvirt's daemons: one that is for everything, or one each for domains,
// networks and storage. go-libvirt's calls know no context: they end when the conversation is closed.
type conversation struct {
	*libvirt.Libvirt // domains
	nets, store      *libvirt.Libvirt

	ctx     context.Context // the call's
	at      place
	storage role // whom store talks to
	ssh     *sshrun.Client

	mu     sync.Mutex
	conns  []net.Conn
	closed bool
}

// converse opens a conversation.
func converse(ctx context.Context, at place) (c *conversation, err error) {
	c = &conversation{ctx: ctx, at: at, storage: storage}
	defer func() {
		if err != nil {
			c.close()
		}
	}()
	if !at.local() {
		if c.ssh, err = login(ctx, at); err != nil {
			return c, err
		}
	}
	// Where there are daemons for each, the monolith's socket may lead to a proxy for them: slower.
	c.Libvirt, err = c.connect(domains)
	if err != nil && absent(err) || at.socket != "" {
		c.storage = monolith
		if c.Libvirt == nil {
			c.Libvirt, err = c.connect(monolith)
		}
		c.nets, c.store = c.Libvirt, c.Libvirt
	}
	if err != nil || c.store != nil {
		return c, err
	}
	if c.store, err = c.connect(storage); err == nil && !at.session {
		c.nets, err = c.connect(networks)
	}
	return c, err
}

func login(ctx context.Context, at place) (*sshrun.Client, error) {
	cfg, err := at.account.Config()
	if err == nil {
		cfg.Sudo = false
		var client *sshrun.Client
		if client, err = sshrun.Dial(ctx, cfg); err == nil {
			return client, nil
		}
	}
	if fail.Is(err, fail.HostPermission) {
		return nil, fail.As(err)
	}
	if errors.Is(err, sshrun.ErrHostKey) {
		return nil, fail.Wrap(fail.RemoteHostKey, err, "reach libvirt at %s", at.uri)
	}
	return nil, fail.Wrap(fail.RemoteUnreachable, err, "reach libvirt at %s", at.uri)
}

// connect opens a connection to a daemon, and starts a user's own daemon as virsh(1) does: it ends by itself when it has
// nothing to do.
func (c *conversation) connect(r role) (*libvirt.Libvirt, error) {
	conn, err := c.dial(r)
	if err != nil && absent(err) && c.at.session && c.at.local() && c.at.socket == "" {
		if spawn(c.ctx, r) == nil {
			for began := time.Now(); err != nil && time.Since(began) < spawnLimit && c.ctx.Err() == nil; time.Sleep(pollEvery) {
				conn, err = c.dial(r)
			}
		}
	}
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	closed := c.closed
	c.conns = append(c.conns, conn)
	c.mu.Unlock()
	if closed {
		conn.Close()
	}
	stop := context.AfterFunc(c.ctx, func() { conn.Close() }) // a daemon that hangs would keep us waiting here
	defer stop()
	l := libvirt.NewWithDialer(dialers.NewAlreadyConnected(conn))
	if err := l.ConnectToURI(libvirt.ConnectURI(c.at.open(r))); err != nil {
		return nil, err
	}
	return l, nil
}

func (c *conversation) dial(r role) (net.Conn, error) {
	if c.ssh != nil {
		return c.ssh.DialContext(c.ctx, "unix", c.at.socketPath(r))
	}
	return new(net.Dialer).DialContext(c.ctx, "unix", c.at.socketPath(r))
}

// spawnLimit is how long a daemon may take until it listens.
const spawnLimit = 5 * time.Second

// spawn starts the user's own daemon, which takes itself to the background.
func spawn(ctx context.Context, r role) error {
	program, err := exec.LookPath(r.program)
	if err != nil {
		if program, err = exec.LookPath("/usr/sbin/" + r.program); err != nil {
			return err
		}
	}
	return exec.CommandContext(ctx, program, "--timeout=120", "--daemon").Run()
}

// absent: nobody listens there.
func absent(err error) bool {
	channel := (*ssh.OpenChannelError)(nil) // what sshd says of either
	return errors.Is(err, fs.ErrNotExist) || refused(err) || errors.As(err, &channel) && channel.Reason == ssh.ConnectionFailed
}

// stream opens a connection of its own to the storage daemon: on one that is shared, a slow reader would stall every call.
func (c *conversation) stream() (*libvirt.Libvirt, error) { return c.connect(c.storage) }

// close ends the conversation, and every call that waits.
func (c *conversation) close() {
	c.mu.Lock()
	conns := c.conns
	c.conns, c.closed = nil, true
	c.mu.Unlock()
	for _, conn := range conns {
		conn.Close()
	}
	if c.ssh != nil {
		go c.ssh.Close() // whose other end may not answer
	}
}
