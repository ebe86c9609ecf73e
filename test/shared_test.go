//go:build vm

package test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"testing"
)

// keptHome names a home whose template is used, and made if it has none, and which stays: whoever runs a few trials again and
// again saves two minutes each time.
const keptHome = "DORY_TEST_TEMPLATE"

// shared is the home of the one template that all tests of forks have copies of, made by the first that wants one.
var shared template

type template struct {
	once sync.Once
	home string
	err  error
}

// qemu is the setting with which machines are forked from the template.
func (s *template) qemu() string { return "DORY_QEMU=" + filepath.Join(s.home, "qemu-aged") }

func TestMain(m *testing.M) {
	if err := report.load(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if signal.Ignored(os.Interrupt) { // as in a shell's background job; every dory would inherit that, until it listens
		signal.Notify(make(chan os.Signal, 1), os.Interrupt)
	}
	code := m.Run()
	if os.Getenv(keptHome) == "" && shared.home != "" {
		os.RemoveAll(shared.home)
	}
	os.Exit(code)
}

// newForker returns the program with a home that has nothing but the template of a start without flags, which is a year old.
func newForker(t *testing.T) *dory {
	t.Helper()
	d := newDory(t)
	shared.once.Do(func() { shared.err = shared.make(d) })
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	d.env = append(d.env, shared.qemu())
	d.linkTemplate()
	return d
}

// linkTemplate puts the template into the home, made of links: removing or replacing its files harms no other home.
func (d *dory) linkTemplate() {
	d.t.Helper()
	d.linkTree(filepath.Join(shared.home, "cache", "templates"), filepath.Join(d.home, "cache", "templates"))
}

func (s *template) make(d *dory) (err error) {
	if s.home = os.Getenv(keptHome); s.home == "" {
		if s.home, err = os.MkdirTemp("", "dory-template-"); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(filepath.Join(s.home, "cache"), 0o700); err != nil {
		return err
	}
	if artifacts, err := os.Readlink(filepath.Join(d.home, "cache", "artifacts")); err == nil { // see newDory
		if err := os.Symlink(artifacts, filepath.Join(s.home, "cache", "artifacts")); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	if err := agedQEMU(filepath.Join(s.home, "qemu-aged")); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	for _, args := range [][]string{{"start", "-p", "first", "--wait-timeout", makingLimit}, {"delete", "-p", "first"}} {
		cmd := d.command(ctx, args...)
		cmd.Env = append(cmd.Env, "DORY_HOME="+s.home, s.qemu())
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("make the template: dory %s: %w\n%s", args[0], err, out)
		}
	}
	return nil
}
