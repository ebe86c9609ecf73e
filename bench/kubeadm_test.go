package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/dorykube/dory/bundle"
)

// TestNodeArchive: what the baseline's node is given is there, rendered, and runs.
func TestNodeArchive(t *testing.T) {
	t.Chdir("..") // as the program is run
	software := &bundle.Bundle{Manifest: bundle.Manifest{
		Kubernetes: "v1.2.3", Images: []bundle.Image{{Name: "pause", Reference: "registry.k8s.io/pause:9"}},
	}}
	text, err := nodeArchive(nodeSettings(software))
	if err != nil {
		t.Fatal(err)
	}
	headers, contents := map[string]*tar.Header{}, map[string]string{}
	for archive := tar.NewReader(bytes.NewReader(text)); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(archive)
		if err != nil {
			t.Fatal(err)
		}
		headers[header.Name], contents[header.Name] = header, string(content)
	}
	for name, want := range map[string]string{
		"etc/kubernetes/kubeadm.yaml":                                "kubernetesVersion: v1.2.3\n",
		"etc/cni/net.d/10-dory.conflist":                             `"subnet": "10.244.0.0/24"`,
		"etc/containerd/config.toml":                                 `sandbox = "registry.k8s.io/pause:9"`,
		"etc/systemd/system/kubelet.service.d/10-kubeadm.conf":       "$KUBELET_KUBEADM_ARGS",
		"usr/local/lib/dory/mount-bundle":                            "mount -r",
		"etc/systemd/system/containerd.service":                      "ExecStart=/opt/dory/bundle/bin/containerd",
		"etc/systemd/system/kubelet.service":                         "ExecStart=/usr/bin/kubelet",
		"etc/systemd/system/multi-user.target.wants/kubelet.service": "",
	} {
		if headers[name] == nil || !strings.Contains(contents[name], want) {
			t.Errorf("%s: %q lacks %q", name, contents[name], want)
		}
	}
	if mode := headers["usr/local/lib/dory/mount-bundle"].Mode; mode != 0o755 {
		t.Errorf("mount-bundle has mode %o", mode)
	}
	if link := headers["usr/bin/kubeadm"]; link == nil || link.Linkname != "/opt/dory/bundle/bin/kubeadm" {
		t.Errorf("kubeadm is %+v", link)
	}
}

func TestEarliest(t *testing.T) {
	at, err := earliest("2026-11-25T10:00:09Z\n2026-11-25T10:00:07Z\n")
	if want := time.Date(2026, 11, 25, 10, 0, 7, 0, time.UTC); err != nil || !at.Equal(want) {
		t.Errorf("%v, %v", at, err)
	}
	for _, bad := range []string{"", "\n", "soon"} {
		if _, err := earliest(bad); err == nil {
			t.Errorf("%q has an earliest time", bad)
		}
	}
}

func TestParseStep(t *testing.T) {
	now := time.Now()
	end, ok := parseStep([]byte(`{"type":"dev.dory.step","data":{"name":"boot","duration":5.25}}`), now)
	if !ok || end != (stepEnd{"boot", now, 5250 * time.Millisecond}) {
		t.Errorf("%+v, %v", end, ok)
	}
	for _, line := range []string{"", `{"type":"dev.dory.step","data":{"name":"boot"}}`, `{"type":"dev.dory.info","data":{"duration":1}}`} {
		if _, ok := parseStep([]byte(line), now); ok {
			t.Errorf("%s is the end of a step", line)
		}
	}
}

func TestMemoryOf(t *testing.T) {
	path := t.TempDir() + "/status"
	if err := os.WriteFile(path, []byte("Name:\tqemu\nVmRSS:\t  1048576 kB\nThreads:\t4\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if size, err := memoryOf(path, "VmRSS"); err != nil || size != 1024 {
		t.Errorf("%v MiB, %v", size, err)
	}
	for _, name := range []string{"Threads", "Pss"} {
		if size, err := memoryOf(path, name); err == nil {
			t.Errorf("%s is %v MiB", name, size)
		}
	}
}
