package drivers

import (
	"fmt"
	"strings"
	"time"
)

// headerEnd ends the line that drivers write into a console's log before the machine does something.
const headerEnd = " ===\n"

// ConsoleHeader is the line for what a machine does ("boots") and why it runs as it does.
func ConsoleHeader(m Machine, does, reason string, now time.Time) string {
	return fmt.Sprintf("\n=== %s %s at %s: %s%s", m.Name, does, now.UTC().Format(time.RFC3339), reason, headerEnd)
}

// SinceHeader is what the machine itself has written to its console since the last header.
func SinceHeader(log string) string {
	if at := strings.LastIndex(log, headerEnd); at >= 0 {
		return log[at+len(headerEnd):]
	}
	return log
}

// FirstWord is how long a guest may take from its start until it writes to its console for the first time, which the node image does
// as soon as its init runs: a fraction of a second on a real accelerator, four seconds under emulation, on an idle computer.
func FirstWord(accel string) time.Duration {
	if accel == "tcg" {
		return 2 * time.Minute
	}
	return 30 * time.Second
}
