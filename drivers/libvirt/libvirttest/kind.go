package libvirttest

import (
	_ "embed"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Kind is how the work of a system's libvirt is shared out.
type Kind bool

// One daemon does all, or each does its part and asks the others. Debian has no programs for the latter, which need
// InsideRoot: each is played by a libvirtd that has loaded its driver alone and is reached at its socket.
const (
	Monolithic Kind = false
	Modular    Kind = true
)

//go:embed testdata/part.c
var partSource string

// partEnv names what makes a part of a libvirtd, when loaded into it.
const partEnv = "DORY_LIBVIRTTEST_PART"

// compilePart compiles it, which cannot be done in a root without a compiler.
func compilePart(t *testing.T) (setting string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "part.so")
	gcc := exec.Command("gcc", "-shared", "-fPIC", "-O", "-Wall", "-Werror", "-o", path, "-x", "c", "-")
	gcc.Stdin = strings.NewReader(partSource)
	if out, err := gcc.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return partEnv + "=" + path
}

// part is a libvirtd: all of the work, or a part of it.
type part struct {
	driver    string // the only one that it has; empty: all
	socket    string
	args, env []string
}

// settings of each libvirtd.
const settings = "auth_unix_rw = \"none\"\nlog_outputs = \"2:stderr\"\n"

// drivers are those of the parts that a machine needs, and of the daemons that these ask. The first is the one for machines.
var drivers = []string{"qemu", "network", "storage", "nodedev", "secret", "nwfilter", "interface"}

// parts prepares a system's libvirt.
func (k Kind) parts(t *testing.T) (parts []part) {
	t.Helper()
	if k == Monolithic {
		write(t, "/etc/libvirt/libvirtd.conf", settings)
		return []part{{socket: "/run/libvirt/libvirt-sock"}}
	}
	found, err := filepath.Glob("/usr/lib/*/libvirt/connection-driver")
	if err != nil || len(found) != 1 {
		t.Fatalf("libvirt's drivers: %v, %v", found, err)
	}
	made, err := os.ReadFile(os.Getenv(partEnv))
	if err == nil {
		err = os.Mkdir("/run/parts", 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	write(t, "/run/parts/part.so", string(made)) // where QEMU, which inherits it, can read it, too
	for _, driver := range drivers {
		dir, socket := filepath.Join("/run/parts", driver), filepath.Join("/run/libvirt", "virt"+driver+"d-sock")
		if err := os.MkdirAll(filepath.Join(dir, "driver"), 0o755); err != nil {
			t.Fatal(err)
		}
		module, config := "libvirt_driver_"+driver+".so", filepath.Join(dir, "libvirtd.conf")
		for name, target := range map[string]string{filepath.Join(dir, "driver", module): filepath.Join(found[0], module), socket: filepath.Join(dir, "libvirt-sock")} {
			if err := os.Symlink(target, name); err != nil {
				t.Fatal(err)
			}
		}
		write(t, config, settings+"unix_sock_dir = \""+dir+"\"\n")
		parts = append(parts, part{driver: driver, socket: socket, args: []string{"--config", config, "--pid-file", filepath.Join(dir, "pid")},
			env: []string{"LIBVIRT_DRIVER_DIR=" + filepath.Join(dir, "driver"), "LD_PRELOAD=/run/parts/part.so"}})
	}
	return parts
}
