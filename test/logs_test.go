//go:build vm

package test

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// bugReport makes the archive of a cluster in whose journal somebody has written a token and two private keys.
func bugReport(t *testing.T, d *dory) {
	token := strings.TrimSpace(d.kubectl("create", "token", "default"))
	login, err := os.ReadFile(strings.TrimSpace(d.must(commandLimit, "ssh-key")))
	if err != nil {
		t.Fatal(err)
	}
	const plant = "cat >/tmp/key; logger -t planted -f /tmp/key; logger -t planted -f /etc/kubernetes/pki/apiserver.key; rm /tmp/key; logger --size 8192 -t planted "
	if r := d.pipe(commandLimit, string(login), "ssh", "--", plant+token+"; journalctl -t planted"); r.code != 0 || !strings.Contains(r.stdout, token) || strings.Count(r.stdout, "-----BEGIN") < 2 {
		t.Fatalf("plant: %s %s", r.stdout, r.stderr)
	}
	server := d.must(commandLimit, "ssh", "--", "cat /etc/kubernetes/pki/apiserver.key")
	path := filepath.Join(t.TempDir(), "report.tar.gz")
	r := d.expect(0, commandLimit, "logs", "--file", path)
	t.Logf("%s%s in %v", r.stdout, r.stderr, r.took)
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	files := unpack(t, path)
	t.Log(files["about.txt"])
	for name, text := range map[string]string{
		"about.txt":               "look through it",
		"version.json":            "doryVersion",
		"cluster.json":            `"phase": "made"`,
		"dory.log":                `"step done"`,
		"console.log":             "=== dory ",
		"doctor.json":             `"drivers"`,
		"spec.json":               `"kubernetes-version"`,
		"node/kube-apiserver.log": "kube-apiserver[",
		"node/kubelet.log":        "kubelet[",
		"node/journal.log":        "planted[",
		"node/system.txt":         "==> df -h <==",
		"kubernetes/nodes.txt":    "control-plane",
		"kubernetes/all.txt":      "pod/coredns",
		"kubernetes/events.txt":   "LAST SEEN",
		"node/pods.log":           "CoreDNS",
	} {
		if !strings.Contains(files[name], text) {
			t.Errorf("%s has no %q: %s", name, text, tail(files[name], 5))
		}
	}
	for name, text := range files {
		if strings.Contains(text, "PRIVATE KEY") {
			t.Errorf("%s:\n%s", name, tail(text, 20))
		}
		for what, secret := range d.secrets(token, server) {
			if strings.Contains(text, secret) {
				t.Errorf("%s has %s", name, what)
			}
		}
	}
}

// secrets are what must be nowhere: every line of every private key, and parts of a token.
func (d *dory) secrets(token string, keys ...string) map[string]string {
	all := map[string]string{"a token": token, "a token's head": token[:60], "a token's end": token[len(token)-60:]}
	note := func(from, text string) {
		for line := range strings.Lines(text) {
			if line = strings.TrimSpace(line); len(line) >= 16 && !strings.HasPrefix(line, "-----") {
				all[from+": "+line] = line
			}
		}
	}
	for _, key := range keys {
		note("a key of the node", key)
	}
	filepath.WalkDir(filepath.Join(d.home, "state"), func(path string, entry fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".key") {
			text, _ := os.ReadFile(path)
			note(path, string(text))
		}
		return nil
	})
	return all
}

// unpack returns the files of an archive, without the directory that they are in.
func unpack(t *testing.T, path string) map[string]string {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	zipped, err := gzip.NewReader(file)
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
		if err != nil {
			t.Fatal(err)
		}
		_, name, _ := strings.Cut(header.Name, "/")
		files[name] = string(text)
	}
}
