package qemu

import (
	"regexp"
	"strings"
)

// remark is a line in which QEMU warns or tells of something, and goes on: each newer QEMU has more of them.
var remark = regexp.MustCompile(`^\S+: (\S.*: )?(warning|info): `)

// complaints are the lines of what QEMU wrote that are no remarks.
func complaints(stderr string) string {
	var kept []string
	for line := range strings.Lines(stderr) {
		if !remark.MatchString(line) {
			kept = append(kept, line)
		}
	}
	return strings.TrimSpace(strings.Join(kept, ""))
}
