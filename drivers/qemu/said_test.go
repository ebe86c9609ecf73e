package qemu

import (
	"errors"
	"os"
	"strings"
	"testing"
)

// What QEMU only remarks is not what a machine died of.
func TestDeathAndRemarks(t *testing.T) {
	const deprecated = "qemu-system-x86_64: -mon chardev=qmp,mode=control: warning: '-mon' is deprecated, use '-object' instead\n"
	for said, want := range map[string]string{
		"":                    "powered itself off",
		deprecated:            "powered itself off",
		"qemu: info: hello\n": "powered itself off",
		"qemu-system-x86_64: warning: TCG doesn't support requested feature\n" + deprecated: "powered itself off",
		deprecated + "qemu-system-x86_64: terminating on signal 15 from pid 1\n":            "QEMU ended: qemu-system-x86_64: terminating on signal 15",
		"Assertion failed: warning: not at its place\n":                                     "QEMU ended: Assertion failed",
	} {
		dir := machineDir(t.TempDir())
		if err := errors.Join(
			dir.writeJSON(bootFile, bootRecord{}),
			dir.writeJSON(processFile, identity{PID: 1, Boot: bootID()}),
			os.WriteFile(dir.path(stderrFile), []byte(said), 0o600),
			os.WriteFile(dir.path(consoleFile), []byte("[   39.135057] reboot: Power down\n"), 0o600),
		); err != nil {
			t.Fatal(err)
		}
		if got := dir.death(); !strings.Contains(got, want) {
			t.Errorf("%q: it died of %q, want %q", said, got, want)
		}
	}
}
