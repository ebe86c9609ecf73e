package bundle

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/dorykube/dory/internal/fail"
)

const script = "#!/bin/sh\necho kubectl of the bundle\n"

// tiny writes a bundle whose file system is a few bytes and whose kubectl is a script.
func tiny(t *testing.T, arch, platform string) string {
	t.Helper()
	dir := t.TempDir()
	filesystem, kubectl, path := filepath.Join(dir, "fs"), filepath.Join(dir, "kubectl"), filepath.Join(dir, "bundle.img")
	for name, content := range map[string]string{filesystem: "a file system", kubectl: script} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	m := Manifest{Kubernetes: "v1.37.2", Arch: arch, Images: []Image{{Name: "pause", Reference: "registry.k8s.io/pause:1"}}}
	if err := Write(path, filesystem, kubectl, platform, m); err != nil {
		t.Fatal(err)
	}
	return path
}

func native(t *testing.T) string { return tiny(t, runtime.GOARCH, runtime.GOOS+"/"+runtime.GOARCH) }

func TestOpen(t *testing.T) {
	path := native(t)
	b, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if b.Path != path || len(b.Digest) != 64 || b.Manifest.Kubernetes != "v1.37.2" {
		t.Fatalf("%+v", b)
	}
	if got := b.Manifest.ImageReferences()["pause"]; got != "registry.k8s.io/pause:1" {
		t.Fatal(got)
	}
	info, err := os.Stat(path)
	if err != nil || info.Size()%sectorSize != 0 {
		t.Fatal("not whole sectors:", info.Size(), err)
	}
}

func TestSameInputsSameBytes(t *testing.T) {
	a, errA := os.ReadFile(native(t))
	b, errB := os.ReadFile(native(t))
	if errA != nil || errB != nil || string(a) != string(b) {
		t.Fatal("they differ", errA, errB)
	}
}

func TestOpenRefuses(t *testing.T) {
	whole, err := os.ReadFile(native(t))
	if err != nil {
		t.Fatal(err)
	}
	flip := func(at int) []byte {
		garbled := append([]byte(nil), whole...)
		garbled[at] ^= 1
		return garbled
	}
	for name, content := range map[string][]byte{
		"empty":                nil,
		"zeros":                make([]byte, 8192),
		"truncated":            whole[:len(whole)-1],
		"truncated by a page":  whole[:len(whole)-pageSize],
		"first byte":           flip(0),
		"kubectl":              flip(pageSize + 40),
		"manifest":             flip(len(whole) - footerSize - 200),
		"magic":                flip(len(whole) - footerSize),
		"offset of manifest":   flip(len(whole) - footerSize + manifestAt),
		"offset far outside":   flip(len(whole) - footerSize + manifestAt + 7),
		"size of the manifest": flip(len(whole) - footerSize + manifestAt + 8),
		"digest":               flip(len(whole) - 1),
		"more at the end":      append(append([]byte(nil), whole...), make([]byte, sectorSize)...),
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "garbled.img")
			if err := os.WriteFile(path, content, 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := Open(t.Context(), path)
			if !fail.Is(err, fail.ArtifactCorrupt) {
				t.Fatal(err)
			}
			f := fail.As(err)
			if !strings.Contains(f.Message, path) || f.Evidence == "" || !strings.Contains(f.Remedy(), path) {
				t.Fatalf("message %q, evidence %q, remedy %q", f.Message, f.Evidence, f.Remedy())
			}
		})
	}
}

func TestOpenMissing(t *testing.T) {
	_, err := Open(t.Context(), filepath.Join(t.TempDir(), "none.img"))
	if !fail.Is(err, fail.ArtifactMissing) {
		t.Fatal(err)
	}
}

func TestOpenOtherArchitecture(t *testing.T) {
	_, err := Open(t.Context(), tiny(t, "riscv64", "linux/riscv64"))
	if !fail.Is(err, fail.ArtifactArch) || !strings.Contains(err.Error(), "riscv64") {
		t.Fatal(err)
	}
}

func TestExtractKubectl(t *testing.T) {
	b, err := Open(t.Context(), native(t))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	paths := make([]string, 8)
	var all sync.WaitGroup
	for i := range paths {
		all.Go(func() { paths[i], _ = b.ExtractKubectl(context.Background(), dir) })
	}
	all.Wait()
	for _, path := range paths {
		if path == "" || path != paths[0] {
			t.Fatal(paths)
		}
	}
	if text, err := os.ReadFile(paths[0]); err != nil || string(text) != script {
		t.Fatal(string(text), err)
	}
	left, err := filepath.Glob(filepath.Join(filepath.Dir(paths[0]), ".*"))
	if err != nil || len(left) > 0 {
		t.Fatal("left behind:", left, err)
	}
	if runtime.GOOS == "windows" {
		return
	}
	if out, err := exec.Command(paths[0]).Output(); err != nil || string(out) != "kubectl of the bundle\n" {
		t.Fatal(string(out), err)
	}
}

func TestExtractKubectlMendsADamagedOne(t *testing.T) {
	b, err := Open(t.Context(), native(t))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	path, err := b.ExtractKubectl(context.Background(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("half"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := b.ExtractKubectl(context.Background(), dir); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != script {
		t.Fatal(string(text), err)
	}
}

func TestExtractKubectlRefuses(t *testing.T) {
	b, err := Open(t.Context(), tiny(t, runtime.GOARCH, "plan9/mips"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.ExtractKubectl(context.Background(), t.TempDir()); !fail.Is(err, fail.ArtifactArch) {
		t.Fatal(err)
	}
	if b, err = Open(t.Context(), native(t)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := b.ExtractKubectl(ctx, t.TempDir()); err == nil {
		t.Fatal("a cancelled one succeeded")
	}
}
