package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// databaseModule has the Go vulnerability database as files, one for each vulnerability: govulncheck reads them as they lie.
const databaseModule = "golang.org/x/vulndb"

// latestLimit is for one small request; without a network the answer is usually there at once.
const latestLimit = time.Minute

// module is what the go command says of one.
type module struct {
	Version string
	Time    time.Time
	Dir     string
}

// findDatabase returns the directory of the newest database that can be had: a pinned one would never learn of anything, and
// only without a network is it better than none.
func findDatabase(ctx context.Context) (dir string, err error) {
	limited, cancel := context.WithTimeout(ctx, latestLimit)
	defer cancel()
	// Asked from outside of any module, which could not be asked for a version that its go.sum does not have.
	m, newest := askGo(limited, os.TempDir(), "list", "-m", "-json", databaseModule+"@latest")
	if newest == nil {
		var files module
		if files, newest = askGo(ctx, os.TempDir(), "mod", "download", "-json", databaseModule+"@"+m.Version); newest == nil {
			m.Dir = files.Dir
		}
	}
	if newest != nil {
		fmt.Println("the newest database cannot be had, so it is the pinned one:", newest)
		if m, err = askGo(ctx, tools, "list", "-m", "-json", databaseModule); err != nil {
			return "", err
		}
		files, err := askGo(ctx, tools, "mod", "download", "-json", databaseModule)
		if err != nil {
			return "", err
		}
		m.Dir = files.Dir
	}
	fmt.Printf("database of %s (%s %s)\n", m.Time.Format(time.DateOnly), databaseModule, m.Version)
	return filepath.Join(m.Dir, "data", "osv"), nil
}

func askGo(ctx context.Context, dir string, args ...string) (m module, err error) {
	c := exec.CommandContext(ctx, "go", args...)
	c.Dir = dir
	c.Env = append(os.Environ(), "GOFLAGS=", "GOWORK=off")
	c.WaitDelay = time.Second
	out, err := c.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return m, fmt.Errorf("go %s: %w: %s%s", args[0], err, out, exit.Stderr)
	}
	if err != nil {
		return m, err
	}
	return m, json.Unmarshal(out, &m)
}
