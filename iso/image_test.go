package iso

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dorykube/dory/internal/fail"
	"github.com/dorykube/dory/iso/isotest"
)

// fakeISO is an image for an architecture.
func fakeISO(arch string) []byte {
	return isotest.Image(`{"arch": "` + arch + `", "date": "2026-11-29", "kernel": "6.12"}`)
}

func writeImage(t *testing.T, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "node.iso")
	sum := sha256.Sum256(content)
	put(t, path, content)
	put(t, path+digestSuffix, []byte(hex.EncodeToString(sum[:])+"  node.iso\n"))
	return path
}

func put(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestOpenAndBoot(t *testing.T) {
	img, err := Open(t.Context(), writeImage(t, fakeISO(runtime.GOARCH)))
	if err != nil {
		t.Fatal(err)
	}
	if img.Kernel != "6.12" || img.Date != "2026-11-29" {
		t.Errorf("kernel %q of %q", img.Kernel, img.Date)
	}
	dir := filepath.Join(t.TempDir(), "cache")
	lastMonths, now := filepath.Join(dir, "boot-last-months"), filepath.Join(dir, "boot-of-today")
	for path, at := range map[string]time.Time{lastMonths: time.Now().AddDate(0, -1, 0), now: time.Now()} {
		if err := errors.Join(os.MkdirAll(path, 0o700), os.Chtimes(path, at, at)); err != nil {
			t.Fatal(err)
		}
	}
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			boot, err := img.Boot(dir)
			if err != nil {
				t.Error(err)
				return
			}
			kernel, _ := os.ReadFile(boot.Kernel)
			initrd, _ := os.ReadFile(boot.Initrd)
			if string(kernel) != "kernel" || len(initrd) != 6000 || boot.Cmdline != "quiet" {
				t.Errorf("kernel %q, initrd %d bytes, command line %q", kernel, len(initrd), boot.Cmdline)
			}
		})
	}
	group.Wait()
	if entries, _ := os.ReadDir(dir); len(entries) != 2 {
		t.Errorf("%d entries are left: %v", len(entries), entries)
	}
	if _, err := os.Stat(now); err != nil {
		t.Error("what another image of today has there is gone")
	}
}

func TestOpenSeesAChange(t *testing.T) {
	path := writeImage(t, fakeISO(runtime.GOARCH))
	for range 2 {
		if _, err := Open(t.Context(), path); err != nil {
			t.Fatal(err)
		}
	}
	content, _ := os.ReadFile(path)
	content[len(content)-1]++
	put(t, path, content)
	if _, err := Open(t.Context(), path); !fail.Is(err, fail.ArtifactCorrupt) {
		t.Errorf("a file that changed after it was found right: %v", err)
	}
}

func TestOpenRefuses(t *testing.T) {
	good := fakeISO(runtime.GOARCH)
	for name, c := range map[string]struct {
		spoil func(t *testing.T, path string)
		kind  fail.Kind
	}{
		"no file":      {func(t *testing.T, path string) { os.Remove(path) }, fail.ArtifactMissing},
		"no digest":    {func(t *testing.T, path string) { os.Remove(path + digestSuffix) }, fail.ArtifactMissing},
		"empty digest": {func(t *testing.T, path string) { put(t, path+digestSuffix, nil) }, fail.ArtifactCorrupt},
		"cut short":    {func(t *testing.T, path string) { put(t, path, good[:len(good)/2]) }, fail.ArtifactCorrupt},
		"empty":        {func(t *testing.T, path string) { put(t, path, nil) }, fail.ArtifactCorrupt},
	} {
		t.Run(name, func(t *testing.T) {
			path := writeImage(t, good)
			c.spoil(t, path)
			_, err := Open(t.Context(), path)
			if !fail.Is(err, c.kind) {
				t.Fatalf("got %v, want %s", err, c.kind.ID)
			}
			if !strings.Contains(err.Error(), path) || fail.As(err).Remedy() == "" {
				t.Errorf("%q does not name the file, or has no remedy", err)
			}
		})
	}
}

func TestOpenRefusesContent(t *testing.T) {
	if _, err := Open(t.Context(), writeImage(t, fakeISO("pdp11"))); !fail.Is(err, fail.ArtifactArch) {
		t.Errorf("an image for another architecture: %v", err)
	}
	if _, err := Open(t.Context(), writeImage(t, []byte("not an ISO"))); !fail.Is(err, fail.ArtifactCorrupt) {
		t.Errorf("something else with a right digest: %v", err)
	}
}

// FuzzReadISO: whatever the bytes are, reading them ends with an error or a file.
func FuzzReadISO(f *testing.F) {
	f.Add(fakeISO("amd64"))
	f.Fuzz(func(t *testing.T, content []byte) {
		_, _ = readISO(strings.NewReader(string(content)), kernelFile)
	})
}
