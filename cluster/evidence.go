package cluster

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/dorykube/dory/internal/fail"
	"github.com/dorykube/dory/internal/redact"
	"golang.org/x/sync/errgroup"
)

// Piece is a text about a cluster, for a bug report, or why there is none.
type Piece struct {
	Name string // as a path: "node/kubelet.log"
	Text string
	Err  error // why it is not there, or not all of it
}

// Limits of gathering: a machine that hangs takes its pieces with it, not the report. Before any other piece of it somebody has
// logged in, or has had an answer from the API server, and only the first waits for one that hangs.
const (
	pieceLimit  = 40 * time.Second
	piecesAtOne = 4 // more would only wait for each other on the node
	// largestPiece is how much of the end of a log is kept.
	largestPiece = 8 << 20
)

// gatherer gathers the pieces about one cluster.
type gatherer struct {
	*Manager
	name, node string
	lines      int
	login      func() (Node, error)
	kubectl    func() (kubectl, error)
}

// source is a piece and how to come by it.
type source struct {
	name string
	get  func(ctx context.Context) (string, error)
}

// Evidence gathers everything that helps to understand what became of a cluster, its newest lines of each log, without the
// secrets that are in it. What cannot be had of a cluster that is stopped or broken, says why.
func (m *Manager) Evidence(ctx context.Context, name, node string, lines int) ([]Piece, error) {
	if _, err := m.SSHKey(name, node); err != nil && !fail.Is(err, fail.RecordCorrupt) && !fail.Is(err, fail.RecordNewer) {
		return nil, err // there is no such cluster, or node
	}
	g := &gatherer{Manager: m, name: name, node: node, lines: lines}
	g.login = sync.OnceValues(func() (Node, error) { return m.Login(ctx, name, node) })
	g.kubectl = sync.OnceValues(func() (kubectl, error) { return g.reachable(ctx) })
	sources := append(append(g.here(), g.onNode()...), g.inKubernetes()...)
	pieces := make([]Piece, len(sources))
	var work errgroup.Group
	work.SetLimit(piecesAtOne)
	for i, s := range sources {
		work.Go(func() error {
			text, err := s.get(ctx)
			pieces[i] = Piece{s.name, text, err}
			return nil
		})
	}
	work.Wait()
	if node, err := g.login(); err == nil {
		node.Close()
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	g.redact(pieces)
	return pieces, nil
}

// redact takes the secrets out: the cluster's own keys, wherever they are, and what looks like one.
func (g *gatherer) redact(pieces []Piece) {
	r := redact.New(g.files(g.name).privateKeys()...)
	for i, p := range pieces {
		pieces[i].Text = r.Text(p.Text[max(0, len(p.Text)-largestPiece):])
		if p.Err != nil {
			failure := fail.As(p.Err)
			pieces[i].Err = fmt.Errorf("%s", r.Text(join(failure.Error(), failure.Evidence)))
		}
	}
}

// privateKeys are all private keys in the cluster's directory, as they are and in base64, as a kubeconfig has them.
func (f files) privateKeys() (keys []string) {
	filepath.WalkDir(f.dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() || filepath.Ext(path) != ".key" {
			return nil
		}
		text, err := os.ReadFile(path)
		if block, _ := pem.Decode(text); err == nil && block != nil {
			keys = append(keys, string(text), base64.StdEncoding.EncodeToString(text))
		}
		return nil
	})
	return keys
}

// here are the pieces that this computer has.
func (g *gatherer) here() []source {
	f := g.files(g.name)
	return []source{
		{"dory.log", func(context.Context) (string, error) {
			text, err := g.Log(g.name)
			return lastLines(text, g.lines), err
		}},
		{"console.log", g.console},
		{"cluster.json", func(context.Context) (string, error) { return readText(f.path(recordFile)) }},
		{"spec.json", func(context.Context) (string, error) { return g.effectiveSpec() }},
		{"doctor.json", func(ctx context.Context) (string, error) {
			wanted, _, _ := Layer(g.Dirs, Given{Env: os.Getenv})
			return asJSON(g.Doctor(ctx, wanted.Spec.LibvirtURI))
		}},
		{"host.txt", func(context.Context) (string, error) { return g.host(), nil }},
		{"files.txt", func(context.Context) (string, error) { return f.list() }},
	}
}

// console finds the machine also if the record cannot be read.
func (g *gatherer) console(ctx context.Context) (string, error) {
	intent, found := g.files(g.name).findMachine(g.name)
	if !found {
		return "", fail.New(fail.RecordCorrupt, "no file tells which machine cluster %q has", g.name)
	}
	driver, err := g.openDriver(intent.Driver, g.logger(nil))
	if err != nil {
		return "", err
	}
	text, err := console(ctx, driver, intent.Machine)
	return lastLines(text, g.lines), err
}

// effectiveSpec is what a start without flags would wish for here, and where each wish comes from.
func (g *gatherer) effectiveSpec() (string, error) {
	wanted, _, err := Layer(g.Dirs, Given{Env: os.Getenv})
	if err != nil {
		return "", err
	}
	return asJSON(map[string]any{"spec": wanted.Spec, "options": wanted.Options, "sources": wanted.Sources})
}

// host tells what computer this is, as far as it says so in files.
func (g *gatherer) host() string {
	var out strings.Builder
	fmt.Fprintln(&out, g.resourcesFinding().Evidence)
	for _, path := range []string{"/proc/version", "/etc/os-release", "/proc/uptime", "/proc/loadavg", "/proc/meminfo"} {
		if text, err := os.ReadFile(path); err == nil {
			fmt.Fprintf(&out, "\n==> %s <==\n%s", path, text)
		}
	}
	fmt.Fprintln(&out, "\n==> environment <==")
	for _, entry := range os.Environ() {
		if name, _, _ := strings.Cut(entry, "="); strings.HasPrefix(name, "DORY_") || strings.HasPrefix(name, "XDG_") ||
			name == "KUBECONFIG" || strings.HasSuffix(strings.ToUpper(name), "_PROXY") {
			fmt.Fprintln(&out, entry)
		}
	}
	return out.String()
}

// list lists the cluster's directory.
func (f files) list() (string, error) {
	var out bytes.Buffer
	err := filepath.WalkDir(f.dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if info, err := entry.Info(); err == nil {
			fmt.Fprintf(&out, "%s %12d %s %s\n", info.Mode(), info.Size(), info.ModTime().UTC().Format(time.RFC3339), path)
		}
		return nil
	})
	return out.String(), err
}

func readText(path string) (string, error) {
	text, err := os.ReadFile(path)
	return string(text), err
}

func asJSON(value any) (string, error) {
	text, err := json.MarshalIndent(value, "", "  ")
	return string(text) + "\n", err
}
