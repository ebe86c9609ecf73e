package cluster

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dorykube/dory/internal/home"
)

func TestAgeFindings(t *testing.T) {
	now := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	m := &Manager{parts: parts{artifacts: func(context.Context, home.Dirs, string) (artifacts, error) {
		return artifacts{image: "/cache/node.iso", bundle: "/cache/bundle.img",
			imageDate:  time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC), // 90 days, to the hour
			bundleDate: time.Date(2026, 9, 1, 11, 0, 0, 0, time.UTC)}, nil
	}}}
	found, err := m.artifactsFindings(t.Context(), now)
	if err != nil || len(found) != 3 {
		t.Fatalf("%v %v", found, err)
	}
	if image := found[1]; !image.OK || image.Remedy != "" || image.Evidence != "of 2026-09-01, 90 days old" {
		t.Errorf("an image of 90 days is well: %+v", image)
	}
	if bundle := found[2]; bundle.OK || !strings.Contains(bundle.Remedy, "update its source tree") {
		t.Errorf("a bundle of more than 90 days is not, and building it again would not help: %+v", bundle)
	}
	found, _ = m.artifactsFindings(t.Context(), now.Add(time.Hour))
	if image := found[1]; image.OK || !strings.Contains(image.Remedy, "delete /cache/node.iso and run 'make artifacts'") {
		t.Errorf("as long as the file is there, 'make artifacts' has nothing to do: %+v", image)
	}
}

func TestAgeOfMissingArtifacts(t *testing.T) {
	m := &Manager{parts: parts{artifacts: func(context.Context, home.Dirs, string) (artifacts, error) {
		return artifacts{}, errors.New("not there")
	}}}
	if found, err := m.artifactsFindings(t.Context(), time.Now()); err == nil || len(found) != 1 || found[0].OK {
		t.Errorf("what is not there has no age: %v %v", found, err)
	}
}

func TestArtifactDate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bundle.img")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	made := time.Date(2026, 5, 4, 3, 2, 1, 0, time.Local)
	if err := os.Chtimes(path, made, made); err != nil {
		t.Fatal(err)
	}
	if got := artifactDate("2026-10-27", path); !got.Equal(time.Date(2026, 10, 27, 0, 0, 0, 0, time.UTC)) {
		t.Errorf("what it says of itself: %v", got)
	}
	if got := artifactDate("", path); !got.Equal(made) {
		t.Errorf("an artifact of an earlier recipe is as old as its file: %v", got)
	}
}
