// Package drivertest is the contract of drivers as a test suite. Every driver passes it against the real thing: machines
// that boot the real node image.
package drivertest

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/dorykube/dory/drivers"
	"github.com/dorykube/dory/internal/home"
	"golang.org/x/crypto/ssh"
)

// Suite is a driver under test. Run it with Run.
type Suite struct {
	// New makes a driver as a fresh dory process has it.
	New func(t *testing.T) drivers.Driver
	// Image is the node image to boot.
	Image string
	// Accel is the accelerator to ask for.
	Accel string
	// URI is the hypervisor that machines name; see drivers.Machine.
	URI string
	// Routed says that machines have addresses of their own, which this computer reaches, in place of forwards.
	Routed bool
	// Damage damages what was saved of a machine. nil: that is in files called "state" in the machine's directory.
	Damage func(t *testing.T, m drivers.Machine)
	// Kill, Halt and Resume do to the machine's hypervisor what a driver does not expect: kill -9, SIGSTOP, SIGCONT. A
	// driver whose hypervisor cannot be got at leaves them nil, and what needs them is left out.
	Kill, Halt, Resume func(t *testing.T, s drivers.Status)
	// Lend names a machine that exists already in the description, and returns the key of its root. nil: the driver makes
	// machines. What only a machine of the driver's own can be asked for is then left out.
	Lend func(t *testing.T, m *drivers.Machine) ssh.Signer
}

// Limits, generous: the machines may be emulated on a computer that has other things to do.
const (
	bootLimit = 4 * time.Minute
	stopLimit = 2 * time.Minute
)

// DefaultImage is the node image that tests boot: DORY_TEST_ISO, or the one that 'make artifacts' made. It ends the test if
// there is none.
func DefaultImage(t *testing.T) string {
	t.Helper()
	path := os.Getenv("DORY_TEST_ISO")
	if path == "" {
		path = home.Find().Artifact("node-" + runtime.GOARCH + ".iso")
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("no node image to boot: %v; 'make artifacts' builds it, or set DORY_TEST_ISO", err)
	}
	return path
}

// rig is one machine under test, and the key to log in to it.
type rig struct {
	*Suite
	driver  drivers.Driver
	machine drivers.Machine
	signer  ssh.Signer
	t       *testing.T
}

// rig makes a machine's description; nothing of it exists yet. When the test ends, the machine is deleted, and if the
// test failed, the end of its console is shown.
func (s *Suite) rig(t *testing.T, name string) *rig {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{Suite: s, driver: s.New(t), signer: signer, t: t, machine: drivers.Machine{
		Name: name, UUID: NewUUID(), Dir: filepath.Join(t.TempDir(), strings.Repeat("deep-", 24), name),
		CPUs: 2, Memory: 512 << 20, Disk: 2 << 30,
		Image: s.Image, Accel: s.Accel, URI: s.URI,
		AuthorizedKey: strings.TrimSpace(string(ssh.MarshalAuthorizedKey(signer.PublicKey()))),
		Forwards:      []drivers.Forward{{Name: "ssh", Guest: 22}, {Name: "apiserver", Guest: 6443}},
	}}
	if s.Lend != nil {
		r.signer = s.Lend(t, &r.machine)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the end of %s's console:\n%s", name, r.console(40))
		}
		if err := r.driver.Delete(context.Background(), r.machine); err != nil { // the test's own context has ended
			t.Errorf("delete %s: %v", name, err)
		}
	})
	return r
}

func NewUUID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80 // version 4, variant of RFC 9562
	h := hex.EncodeToString(b[:])
	return strings.Join([]string{h[:8], h[8:12], h[12:16], h[16:20], h[20:]}, "-")
}

// console is the last lines of the machine's console.
func (r *rig) console(lines int) string {
	c, ok := r.driver.(drivers.Console)
	if !ok {
		return "(this driver keeps none)"
	}
	reader, err := c.Console(context.Background(), r.machine)
	if errors.Is(err, fs.ErrNotExist) {
		return "(it never booted)"
	}
	if err != nil {
		return err.Error()
	}
	defer reader.Close()
	content, _ := io.ReadAll(reader)
	all := bytes.Split(bytes.TrimSpace(content), []byte("\n"))
	return string(bytes.Join(all[max(0, len(all)-lines):], []byte("\n")))
}

// forwards: machines are reached through ports of this computer.
func (s *Suite) forwards() bool { return s.Lend == nil && !s.Routed }

func (r *rig) must(doing string, err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatalf("%s: %v", doing, err)
	}
}

func (r *rig) create() {
	r.t.Helper()
	r.must("create", r.driver.Create(r.t.Context(), r.machine))
}

func (r *rig) start() drivers.Status {
	r.t.Helper()
	status, err := r.driver.Start(r.t.Context(), r.machine)
	r.must("start", err)
	r.runs(status)
	return status
}

// runs checks a running machine's status.
func (r *rig) runs(s drivers.Status) {
	r.t.Helper()
	if s.State != drivers.Running || s.SSH == "" || s.IP == "" || s.Reason != "" {
		r.t.Fatalf("a running machine's status is %+v", s)
	}
	for _, f := range r.machine.Forwards {
		if r.forwards() && s.HostPort(f.Name) == 0 {
			r.t.Fatalf("forward %s has no port: %+v", f.Name, s)
		}
	}
}

// is checks that the machine's state is want, which a fresh driver must find too, and returns its status.
func (r *rig) is(want drivers.State) drivers.Status {
	r.t.Helper()
	var status drivers.Status
	for _, d := range []drivers.Driver{r.driver, r.New(r.t)} {
		began := time.Now()
		var err error
		status, err = d.Status(r.t.Context(), r.machine)
		r.must("status", err)
		if took := time.Since(began); took > 2*time.Second {
			r.t.Errorf("status took %v", took)
		}
		if status.State != want {
			r.t.Fatalf("the machine is %s (%s), want %s", status.State, status.Reason, want)
		}
	}
	if want != drivers.Running && want != drivers.Paused && (status.SSH != "" || status.Forwards != nil) {
		r.t.Errorf("a machine that does not run has addresses: %+v", status)
	}
	return status
}

// becomes waits until the machine's state is want.
func (r *rig) becomes(want drivers.State, limit time.Duration) drivers.Status {
	r.t.Helper()
	for deadline := time.Now().Add(limit); ; time.Sleep(50 * time.Millisecond) {
		status, err := r.driver.Status(r.t.Context(), r.machine)
		r.must("status", err)
		if status.State == want {
			return status
		}
		if time.Now().After(deadline) {
			r.t.Fatalf("after %v the machine is %s (%s), want %s", limit, status.State, status.Reason, want)
		}
	}
}

// sh runs a command in the machine, waiting for its SSH server if need be, and returns its output.
func (r *rig) sh(status drivers.Status, command string) string {
	r.t.Helper()
	client, err := r.login(status.SSH)
	r.must("log in", err)
	defer client.Close()
	session, err := client.NewSession()
	r.must("open a session", err)
	output, err := session.CombinedOutput(command)
	if err != nil {
		r.t.Fatalf("%s: %v: %s", command, err, output)
	}
	return strings.TrimSpace(string(output))
}

// login tries until the server's banner has come and the key is taken.
func (r *rig) login(addr string) (*ssh.Client, error) {
	config := &ssh.ClientConfig{
		User: "root", Auth: []ssh.AuthMethod{ssh.PublicKeys(r.signer)},
		HostKeyCallback: ssh.InsecureIgnoreHostKey(), // a machine of a second ago, on this computer
		Timeout:         10 * time.Second,
	}
	deadline := time.Now().Add(bootLimit)
	for {
		client, err := ssh.Dial("tcp", addr, config)
		if err == nil {
			return client, nil
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("no login at %s within %v: %w", addr, bootLimit, err)
		}
		time.Sleep(200 * time.Millisecond)
	}
}
