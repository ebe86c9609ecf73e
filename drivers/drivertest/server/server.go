// Package server makes machines that exist already, for tests of what works with such: VMs that somebody else than the
// driver under test made.
package server

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/dorykube/dory/drivers"
	"github.com/dorykube/dory/drivers/drivertest"
	"github.com/dorykube/dory/drivers/qemu"
	"golang.org/x/crypto/ssh"
)

// Server is a machine that runs. It ends with the test.
type Server struct {
	Driver  *qemu.Driver // what made it
	Machine drivers.Machine
	Status  drivers.Status
	Signer  ssh.Signer // root's key
	KeyFile string     // the same, for a program
	t       *testing.T
}

// bootLimit is generous: the machine may be emulated on a computer that has other things to do.
const bootLimit = 4 * time.Minute

// New boots a server with the memory and disk, in bytes. Its SSH server, and the other ports, can be reached at ports of
// 127.0.0.1: the same numbers for the others, and any for SSH.
func New(t *testing.T, memory, disk int64, ports ...int) *Server {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	signer, err := ssh.NewSignerFromKey(private)
	must(t, err)
	block, err := ssh.MarshalPrivateKey(private, "")
	must(t, err)
	dir, image := t.TempDir(), drivertest.DefaultImage(t)
	s := &Server{Signer: signer, KeyFile: filepath.Join(dir, "key"), t: t,
		Driver: qemu.New(qemu.Options{Cache: t.TempDir(), Image: image})}
	must(t, os.WriteFile(s.KeyFile, pem.EncodeToMemory(block), 0o600))
	s.Machine = drivers.Machine{
		Name: "server", UUID: drivertest.NewUUID(), Dir: filepath.Join(dir, "machine"),
		CPUs: 2, Memory: memory, Disk: disk, Image: image, Accel: "auto",
		AuthorizedKey: strings.TrimSpace(string(ssh.MarshalAuthorizedKey(signer.PublicKey()))),
		Forwards:      []drivers.Forward{{Name: "ssh", Guest: 22}},
	}
	for _, port := range ports {
		s.Machine.Forwards = append(s.Machine.Forwards, drivers.Forward{Name: strconv.Itoa(port), Guest: port, Host: port})
	}
	must(t, s.Driver.Create(t.Context(), s.Machine))
	t.Cleanup(func() { // the test's own context has ended
		if err := s.Driver.Delete(context.Background(), s.Machine); err != nil {
			t.Errorf("delete the server: %v", err)
		}
	})
	s.Boot()
	return s
}

// Boot starts the server, at the same ports each time, and waits for its SSH server.
func (s *Server) Boot() {
	s.t.Helper()
	var err error
	s.Status, err = s.Driver.Start(s.t.Context(), s.Machine)
	must(s.t, err)
	for i := range s.Machine.Forwards {
		s.Machine.Forwards[i].Host = s.Status.Forwards[i].Host
	}
	s.Run(s.t, "true")
}

// Port is the port of 127.0.0.1 where its SSH server is.
func (s *Server) Port() int { return s.Status.HostPort("ssh") }

// Run runs a command as root, not by way of the driver under test, and returns what it printed.
func (s *Server) Run(t *testing.T, command string) string {
	t.Helper()
	return s.pipe(t, nil, command)
}

func (s *Server) pipe(t *testing.T, stdin io.Reader, command string) string {
	t.Helper()
	config := &ssh.ClientConfig{User: "root", Auth: []ssh.AuthMethod{ssh.PublicKeys(s.Signer)}, Timeout: 10 * time.Second,
		HostKeyCallback: ssh.InsecureIgnoreHostKey()} // a VM of this test, on this computer
	var client *ssh.Client
	for began := time.Now(); ; time.Sleep(200 * time.Millisecond) {
		var err error
		if client, err = ssh.Dial("tcp", s.Status.SSH, config); err == nil {
			break
		}
		if time.Since(began) > bootLimit {
			t.Fatal(err)
		}
	}
	defer client.Close()
	session, err := client.NewSession()
	must(t, err)
	session.Stdin = stdin
	out, err := session.CombinedOutput(command)
	if err != nil {
		t.Fatalf("%s: %v: %s", command, err, out)
	}
	return strings.TrimSpace(string(out))
}

// FreePort is a port of 127.0.0.1 that nobody listens at.
func FreePort(t *testing.T) int {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
