package drivers

import (
	"strings"
	"testing"
	"time"
)

func TestSinceHeader(t *testing.T) {
	m := Machine{Name: "one"}
	header := ConsoleHeader(m, "boots", "TCG (emulation)", time.Unix(0, 0))
	if want := "\n=== one boots at 1970-01-01T00:00:00Z: TCG (emulation) ===\n"; header != want {
		t.Errorf("header %q, want %q", header, want)
	}
	for log, want := range map[string]string{
		"":                                    "",
		header:                                "",
		header + "[ 3.1] dory\n":              "[ 3.1] dory\n",
		header + "bye\n" + header:             "",
		header + "bye\n" + header + "again\n": "again\n",
		"the log was cut\n":                   "the log was cut\n",
	} {
		if got := SinceHeader(log); got != want {
			t.Errorf("after %q: %q, want %q", strings.ReplaceAll(log, header, "HEADER "), got, want)
		}
	}
}
