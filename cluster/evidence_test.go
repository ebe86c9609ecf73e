package cluster

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/dorykube/dory/drivers"
	"github.com/dorykube/dory/internal/fail"
	"github.com/dorykube/dory/internal/sshrun"
	"github.com/dorykube/dory/provision"
)

// journalNode answers every command with a text.
type journalNode struct {
	fakeNode
	text string
}

func (n journalNode) Run(_ context.Context, c provision.Cmd) error {
	_, err := io.WriteString(c.Stdout, n.text)
	return err
}

func pieceOf(t *testing.T, pieces []Piece, name string) Piece {
	t.Helper()
	for _, p := range pieces {
		if p.Name == name {
			return p
		}
	}
	t.Fatalf("no piece %s", name)
	return Piece{}
}

// unpack returns the files of an archive.
func unpack(t *testing.T, archive []byte) map[string]string {
	t.Helper()
	zipped, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for packed := tar.NewReader(zipped); ; {
		header, err := packed.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(packed)
		if err != nil || header.Mode != 0o600 {
			t.Fatalf("%s: %v, mode %o", header.Name, err, header.Mode)
		}
		files[header.Name] = string(text)
	}
}

func TestEvidenceHasEverythingButSecrets(t *testing.T) {
	w := newWorld(t)
	if err := w.start(); err != nil {
		t.Fatal(err)
	}
	m := w.manager()
	f := m.files("dory")
	keys := f.privateKeys()
	if len(keys) < 2*4 { // of the login, of the administrator, of the authorities
		t.Fatalf("%d keys", len(keys))
	}
	said := "2026-11-25T10:00:00+0000 dory kubelet[300]: kubelet is well\n"
	for _, key := range keys {
		said += key + "\n" + strings.ReplaceAll(key, "\n", "") + "\n"
	}
	m.parts.dial = func(context.Context, sshrun.Config) (Node, error) { return journalNode{text: said}, nil }
	log, err := os.OpenFile(f.path(logFile), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	log.WriteString(said)
	log.Close()
	pieces, err := m.Evidence(t.Context(), "dory", "", 1000)
	if err != nil {
		t.Fatal(err)
	}
	archive, err := Archive("dory-logs-dory", pieces, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	files := unpack(t, archive)
	for _, name := range []string{"dory.log", "node/kubelet.log", "node/journal.log"} {
		if !strings.Contains(files["dory-logs-dory/"+name], "kubelet is well") {
			t.Errorf("%s:\n%s", name, files["dory-logs-dory/"+name])
		}
	}
	if record := files["dory-logs-dory/cluster.json"]; !strings.Contains(record, w.record().Machine.UUID) {
		t.Errorf("the record:\n%s", record)
	}
	for name, text := range files {
		if strings.Contains(text, "PRIVATE KEY") {
			t.Errorf("%s:\n%s", name, text)
		}
		for _, key := range keys {
			for line := range strings.Lines(key) {
				if line = strings.TrimSpace(line); len(line) > 20 && !strings.HasPrefix(line, "-----") && strings.Contains(text, line) {
					t.Errorf("%s has %s", name, line)
				}
			}
		}
	}
	if nodes := pieceOf(t, pieces, "kubernetes/nodes.txt"); nodes.Err == nil { // there is no bundle that has a kubectl
		t.Errorf("%+v", nodes)
	}
	if text := files["dory-logs-dory/kubernetes/nodes.txt"]; !strings.Contains(text, "(not there: ") {
		t.Errorf("%q", text)
	}
	if about := files["dory-logs-dory/about.txt"]; !strings.Contains(about, "kubernetes/nodes.txt: not there: ") || strings.Contains(about, "dory.log:") {
		t.Errorf("%s", about)
	}
}

func TestEvidenceOfWhatIsBroken(t *testing.T) {
	w := newWorld(t)
	m := w.manager()
	if _, err := m.Evidence(t.Context(), "dory", "", 10); !fail.Is(err, fail.NoCluster) {
		t.Errorf("no cluster: %v", err)
	}
	if err := w.start(); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Evidence(t.Context(), "dory", "other", 10); !fail.Is(err, fail.GuestMissing) {
		t.Errorf("no such node: %v", err)
	}
	for what, breaks := range map[string]func(){
		"stopped":      func() { fakeDriver{w}.set(drivers.Machine{Dir: m.files("dory").path(machineDir)}, drivers.Stopped) },
		"record wreck": func() { os.WriteFile(m.files("dory").path(recordFile), []byte(`{"version": 1, "na`), 0o600) },
	} {
		breaks()
		pieces, err := m.Evidence(t.Context(), "dory", "", 10)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		for _, p := range pieces {
			remote := strings.Contains(p.Name, "/")
			if remote == (p.Err == nil) {
				t.Errorf("%s: %s: %q, %v", what, p.Name, p.Text, p.Err)
			}
		}
		if text := pieceOf(t, pieces, "dory.log").Text; strings.Count(text, "\n") > 10 || !strings.Contains(text, `"end"`) {
			t.Errorf("%s: the log's last ten lines:\n%s", what, text)
		}
	}
}

func TestJournalOfAUnit(t *testing.T) {
	const journal = `2026-11-25T10:00:00+0000 dory systemd[1]: Starting kubelet.service - kubelet...
2026-11-25T10:00:01+0000 dory kube-apiserver[250]: kubelet.service is not mine
2026-11-25T10:00:02+0000 dory kubelet[300]: first
                                            and more
2026-11-25T10:00:03+0000 dory kernel: a kubelet
2026-11-25T10:00:04+0000 dory kubelet[300]: last
`
	lines := strings.SplitAfter(journal, "\n")
	for unit, want := range map[string]string{
		"kubelet": lines[0] + lines[2] + lines[3] + lines[5], "kernel": lines[4], "etcd": "", "kube-apiserver": lines[1],
	} {
		if got := ofUnit(journal, unit, 10); got != want {
			t.Errorf("%s:\n%s", unit, got)
		}
	}
	if got := ofUnit(journal, "kubelet", 1); got != lines[5] {
		t.Errorf("the last line: %q", got)
	}
}
