//go:build vm

package libvirt

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/dorykube/dory/drivers"
	"github.com/dorykube/dory/internal/fail"
	"golang.org/x/crypto/ssh"
)

// overSSH: a daemon that is reached by way of an SSH server, as on another computer.
func overSSH(r *rig) {
	m := r.machine(20) // made of the node image below the user's own home
	r.Setenv("HOME", r.TempDir())
	r.Setenv("SSH_AUTH_SOCK", "")
	addr, keyFile := sshServer(r.T)
	m.URI = "qemu+ssh://me@" + addr + "/system?keyfile=" + keyFile
	r.driver.options.URI = m.URI
	if report := r.driver.Check(r.Context()); !report.Usable {
		r.Fatalf("check: %+v", report)
	}
	r.must("create", r.driver.Create(r.Context(), m))
	status, err := r.driver.Start(r.Context(), m)
	r.must("start", err)
	if status.State != drivers.Running || status.SSH == "" {
		r.Errorf("it is %+v", status)
	}
	found, err := r.driver.Owned(r.Context(), m.Dir)
	if r.must("look for it", err); len(found) != 1 {
		r.Errorf("found %+v", found)
	}
	r.must("stop", r.driver.Stop(r.Context(), m, 0))
	r.must("delete", r.driver.Delete(r.Context(), m))
	stranger := m
	stranger.URI = "qemu+ssh://me@" + addr + "/system?keyfile=" + newKeyFile(r.T)
	r.fails("a key that is not known", r.driver.Create(r.Context(), stranger), fail.RemoteUnreachable, "log in")
}

func newKeyFile(t *testing.T) string {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func readKey(t *testing.T, path string) ssh.Signer {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.ParsePrivateKey(text)
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

// sshServer lets one key in, and opens unix sockets for it as sshd does.
func sshServer(t *testing.T) (addr, keyFile string) {
	t.Helper()
	keyFile = newKeyFile(t)
	allowed := string(readKey(t, keyFile).PublicKey().Marshal())
	config := &ssh.ServerConfig{PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		if string(key.Marshal()) != allowed {
			return nil, errors.New("not this key")
		}
		return nil, nil
	}}
	config.AddHostKey(readKey(t, newKeyFile(t)))
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
			go serveSSH(conn, config)
		}
	}()
	return listener.Addr().String(), keyFile
}

func serveSSH(conn net.Conn, config *ssh.ServerConfig) {
	defer conn.Close()
	_, channels, requests, err := ssh.NewServerConn(conn, config)
	if err != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	for offered := range channels {
		var wanted struct {
			Path     string
			Reserved string
			Number   uint32
		}
		if offered.ChannelType() != "direct-streamlocal@openssh.com" || ssh.Unmarshal(offered.ExtraData(), &wanted) != nil {
			offered.Reject(ssh.UnknownChannelType, "not here")
			continue
		}
		socket, err := net.Dial("unix", wanted.Path)
		if err != nil {
			offered.Reject(ssh.ConnectionFailed, "open failed")
			continue
		}
		channel, requests, err := offered.Accept()
		if err != nil {
			continue
		}
		go ssh.DiscardRequests(requests)
		go func() { io.Copy(socket, channel); socket.Close() }()
		go func() { io.Copy(channel, socket); channel.Close() }()
	}
}
