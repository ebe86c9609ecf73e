package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dorykube/dory/drivers"
	"github.com/dorykube/dory/drivers/qemu"
	"github.com/dorykube/dory/drivers/registry"
	"github.com/dorykube/dory/internal/home"
	"github.com/dorykube/dory/internal/hostinfo"
	"github.com/dorykube/dory/internal/kube"
	"github.com/dorykube/dory/internal/size"
	"github.com/dorykube/dory/internal/sshrun"
	"github.com/dorykube/dory/provision"
	"github.com/dorykube/dory/provision/pki"
)

// world is a computer without hypervisors: machines are files in their directories, so that they outlive a manager. A
// call of one of its parts can be made to fail, or to interrupt the caller.
type world struct {
	t        *testing.T
	dirs     home.Dirs
	mu       sync.Mutex
	calls    []string
	homeless []drivers.Machine // what driver qemu finds without a directory
	nodeless bool              // somebody has deleted the Node
	lent     bool              // the machine is somebody's own
	behind   time.Duration     // the machines' clock
	silent   bool              // the kubelets have not been heard of for a while
	mute     bool              // nothing is written to consoles, and no SSH server answers
	// certificate is what API servers show, PEM; nil: a new one.
	certificate []byte
	on          map[string]func() error // by the call's name: runs in place of what would be done
}

func newWorld(t *testing.T) *world {
	t.Helper()
	root := t.TempDir()
	t.Setenv("KUBECONFIG", filepath.Join(root, "kubeconfig"))
	return &world{t: t, on: map[string]func() error{}, dirs: home.Dirs{
		Config: filepath.Join(root, "config"), State: filepath.Join(root, "state"), Cache: filepath.Join(root, "cache")}}
}

func (w *world) call(name string) error {
	w.mu.Lock()
	w.calls = append(w.calls, name)
	instead := w.on[name]
	w.mu.Unlock()
	if instead != nil {
		return instead()
	}
	return nil
}

func (w *world) count(name string) (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.calls {
		if c == name {
			n++
		}
	}
	return n
}

func (w *world) entry() registry.Entry {
	return registry.Entry{Name: "fake", Automatic: true, Capabilities: drivers.Capabilities{OwnsMachines: !w.lent}, New: func(registry.Options) drivers.Driver { return fakeDriver{w} }}
}

// asking asks the one driver that there is.
func asking(entry registry.Entry) func(context.Context, registry.Options, registry.Patience) []registry.Answer {
	return func(ctx context.Context, o registry.Options, _ registry.Patience) []registry.Answer {
		return answering(ctx, entry, o)
	}
}

func answering(ctx context.Context, entry registry.Entry, o registry.Options) []registry.Answer {
	driver := entry.New(o)
	return []registry.Answer{{Entry: entry, Driver: driver, Report: driver.Check(ctx)}}
}

// manager is a new process of dory.
func (w *world) manager() *Manager {
	return &Manager{Dirs: w.dirs, Host: hostinfo.Host{CPUs: 8, Memory: 32 * size.GiB}, parts: parts{
		driver: func(name string) (registry.Entry, error) {
			if name == qemu.Name && w.homeless != nil {
				return registry.Entry{Name: name, New: func(registry.Options) drivers.Driver {
					return ownerDriver{fakeDriver{w}, "", func(string, string) ([]drivers.Machine, error) { return w.homeless, nil }}
				}}, nil
			}
			if name != w.entry().Name {
				return registry.Entry{}, errors.New("no driver " + name)
			}
			return w.entry(), nil
		},
		ask: func(ctx context.Context, o registry.Options, _ time.Duration) []registry.Answer {
			return answering(ctx, w.entry(), o)
		},
		askFirst: asking(w.entry()),
		artifacts: func(_ context.Context, _ home.Dirs, version string) (artifacts, error) {
			return artifacts{image: "image", bundle: "bundle " + version, images: map[string]string{
				"coredns": "coredns:1", "pause": "pause:1", "busybox": "busybox:1", "local-path-provisioner": "lpp:1", "metrics-server": "ms:1"}}, w.call("artifacts")
		},
		dial: func(ctx context.Context, _ sshrun.Config) (Node, error) {
			if w.mute { // until its machine is ended
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return fakeNode{}, w.call("dial")
		},
		provision: func(ctx context.Context, _ provision.Target, _ provision.Settings, _ *pki.Authority, _ []string, _ time.Duration) error {
			return errors.Join(w.call("provision"), ctx.Err())
		},
		api:       func(_, _, _ []byte, _ string) (api, error) { return fakeAPI{w}, nil },
		firstWord: func(string) time.Duration { return 100 * time.Millisecond },
	}}
}

func (w *world) wanted(flags ...string) Wanted {
	w.t.Helper()
	given := Given{Env: func(string) string { return "" }, Flags: map[string][]string{}}
	for _, flag := range flags {
		key, value, _ := strings.Cut(flag, "=")
		given.Flags[key] = append(given.Flags[key], value)
	}
	wanted, _, err := Layer(w.dirs, given)
	if err != nil {
		w.t.Fatal(err)
	}
	return wanted
}

func (w *world) start(flags ...string) error {
	_, err := w.manager().Start(context.Background(), "dory", w.wanted(flags...))
	return err
}

func (w *world) record() *Record {
	w.t.Helper()
	record, err := w.manager().files("dory").load("dory")
	if err != nil {
		w.t.Fatal(err)
	}
	return record
}

// left are the files of the state directory.
func (w *world) left() (files []string) {
	filepath.WalkDir(w.dirs.State, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			files = append(files, path)
		}
		return nil
	})
	return files
}

// fakeDriver keeps a machine as a file "state" in its directory.
type fakeDriver struct{ w *world }

func (d fakeDriver) state(m drivers.Machine) drivers.State {
	text, err := os.ReadFile(filepath.Join(m.Dir, "state"))
	if err != nil {
		return drivers.Absent
	}
	return drivers.State(text)
}

func (d fakeDriver) set(m drivers.Machine, s drivers.State) error {
	return os.WriteFile(filepath.Join(m.Dir, "state"), []byte(s), 0o600)
}

func (d fakeDriver) Check(context.Context) drivers.Report {
	err := d.w.call("check")
	return drivers.Report{Usable: err == nil, Err: err}
}

func (d fakeDriver) Create(ctx context.Context, m drivers.Machine) error {
	if err := errors.Join(d.w.call("create"), ctx.Err()); err != nil {
		return err
	}
	if d.state(m) != drivers.Absent {
		return nil
	}
	return errors.Join(os.MkdirAll(m.Dir, 0o700), d.set(m, drivers.Stopped))
}

func (d fakeDriver) Start(ctx context.Context, m drivers.Machine) (drivers.Status, error) {
	if err := errors.Join(d.w.call("start"), ctx.Err()); err != nil {
		return drivers.Status{}, err
	}
	if err := d.set(m, drivers.Running); err != nil {
		return drivers.Status{}, err
	}
	return d.Status(ctx, m)
}

func (d fakeDriver) Console(_ context.Context, m drivers.Machine) (io.ReadCloser, error) {
	log := drivers.ConsoleHeader(m, "boots", "", time.Now())
	if !d.w.mute {
		log += "the node image starts\n"
	}
	return io.NopCloser(strings.NewReader(log)), nil
}

func (d fakeDriver) Grow(context.Context, drivers.Machine) error { return d.w.call("grow") }

func (d fakeDriver) Stop(_ context.Context, m drivers.Machine, _ time.Duration) error {
	return errors.Join(d.w.call("stop"), d.set(m, drivers.Stopped))
}

func (d fakeDriver) Status(_ context.Context, m drivers.Machine) (drivers.Status, error) {
	s := drivers.Status{State: d.state(m)}
	if s.State == drivers.Running {
		s.SSH, s.Hypervisor = "127.0.0.1:2222", "fake 1.0, processor model x"
		for i, f := range m.Forwards {
			if f.Host == 0 {
				f.Host = 30000 + i
			}
			s.Forwards = append(s.Forwards, f)
		}
	}
	return s, d.w.call("status")
}

func (d fakeDriver) Delete(_ context.Context, m drivers.Machine) error {
	if m.UUID == "" {
		return errors.New("no UUID")
	}
	return errors.Join(d.w.call("delete"), os.RemoveAll(m.Dir))
}

type fakeNode struct{}

func (fakeNode) Run(context.Context, provision.Cmd) error                  { return nil }
func (fakeNode) Put(context.Context, string, fs.FileMode, io.Reader) error { return nil }
func (fakeNode) HostKey() string                                           { return "ssh-ed25519 AAAA" }
func (fakeNode) Close() error                                              { return nil }

type fakeAPI struct{ w *world }

func (a fakeAPI) Ready(context.Context) error { return a.w.call("ready") }
func (a fakeAPI) Clock(context.Context) (time.Time, error) {
	return time.Now().Add(-a.w.behind), nil
}
func (a fakeAPI) Certificate(context.Context) ([]byte, error) {
	if a.w.certificate != nil {
		return a.w.certificate, nil
	}
	authority, err := pki.New()
	if err != nil {
		return nil, err
	}
	_, cert, _, err := authority.AdminKubeconfigAuth()
	return cert, err
}
func (a fakeAPI) DeleteEvents(context.Context) error    { return nil }
func (a fakeAPI) WaitReady(context.Context) error       { return nil }
func (a fakeAPI) Wait(context.Context, []string) error  { return a.w.call("wait") }
func (a fakeAPI) Holds(context.Context, []string) error { return a.w.call("wait") }
func (a fakeAPI) Get(context.Context, string) (string, error) {
	if a.w.nodeless {
		return "", fmt.Errorf("the node: %w", kube.ErrNotFound)
	}
	ready := "True"
	if a.w.silent {
		ready = "Unknown"
	}
	return fmt.Sprintf(`{"status":{"conditions":[{"type":"Ready","status":%q}]}}`, ready), a.w.call("get")
}
