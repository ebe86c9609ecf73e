package debian

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// QEMU returns the path of a program that is the QEMU of Debian's suite. It needs no chroot: dory, its QEMU and all their files are
// where they would be with this computer's own. DORY_QEMU can name it.
func QEMU(t *testing.T, suite string) string {
	t.Helper()
	return filepath.Join(Root{Suite: suite, Packages: []string{"qemu-system-x86"}}.Make(t), launcher)
}

// launcher is in each root that is not installed.
const launcher = "qemu-system-x86_64"

// launch executes the root's QEMU by the root's own loader: its programs need another C library than this computer's. Until Debian 12
// the C library is in /lib.
const launch = `
libraries=$root/usr/lib/x86_64-linux-gnu:$root/lib/x86_64-linux-gnu
for loader in "$root"/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2 "$root"/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2; do
    [ ! -e "$loader" ] || break
done
QEMU_MODULE_DIR=$root/usr/lib/x86_64-linux-gnu/qemu exec "$loader" --library-path "$libraries" --argv0 qemu-system-x86_64 \
    "$root/usr/bin/qemu-system-x86_64" -L "$root/usr/share/qemu" -L "$root/usr/share/seabios" "$@"
`

// Where Debian's QEMU looks for modules besides QEMU_MODULE_DIR, and where it finds none. Those of another QEMU, which this computer
// may have there, it refuses, and then aborts.
const modules, noModules = "/usr/lib/x86_64-linux-gnu/qemu\x00", "/usr/lib/x86_64-linux-gnu/none\x00"

// writeLauncher writes the launcher of a root that will be at dir and is elsewhere yet. It is never written again, since a QEMU is
// known by its size and time.
func writeLauncher(made, dir string) error {
	program := filepath.Join(made, "usr/bin/qemu-system-x86_64")
	content, err := os.ReadFile(program)
	if err != nil {
		return err
	}
	content = bytes.ReplaceAll(content, []byte(modules), []byte(noModules))
	script := fmt.Sprintf("#!/bin/sh\nroot='%s'%s", dir, launch)
	return errors.Join(
		os.WriteFile(program, content, 0o755),
		os.WriteFile(filepath.Join(made, launcher), []byte(script), 0o755))
}
