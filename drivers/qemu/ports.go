package qemu

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/dorykube/dory/drivers"
)

// loopback is the only address that forwards are bound to.
const loopback = "127.0.0.1"

// hostForwards are the hostfwd options of the user-mode network. Port 0 lets the host's kernel choose, at the moment of
// binding: nothing can take the port in between, as it could if a free one were looked for beforehand.
func hostForwards(forwards []drivers.Forward) string {
	var b strings.Builder
	for _, f := range forwards {
		fmt.Fprintf(&b, ",hostfwd=tcp:%s:%d-:%d", loopback, f.Host, f.Guest)
	}
	return b.String()
}

// parseUsernet reads QEMU's answer to "info usernet" into guest port -> host port. There is no answer as data. A line:
//
//	TCP[HOST_FORWARD]  12       127.0.0.1 36489       10.0.2.15    22     0     0
func parseUsernet(text string) map[int]int {
	ports := map[int]int{}
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 6 || f[0] != "TCP[HOST_FORWARD]" {
			continue
		}
		host, err1 := strconv.Atoi(f[3])
		guest, err2 := strconv.Atoi(f[5])
		if err1 == nil && err2 == nil {
			ports[guest] = host
		}
	}
	return ports
}

// bound returns the forwards with the host ports that are in use; those that are not are left out.
func bound(forwards []drivers.Forward, ports map[int]int) []drivers.Forward {
	var found []drivers.Forward
	for _, f := range forwards {
		if host, ok := ports[f.Guest]; ok {
			f.Host = host
			found = append(found, f)
		}
	}
	return found
}

// QEMU's words for a port that it could not bind, since 2.12 at least.
var forwardRefused = regexp.MustCompile(`host forwarding rule 'tcp:127\.0\.0\.1:(\d+)-`)

// refusedPort is the host port that QEMU could not bind, or 0 if that is not what it complained of.
func refusedPort(stderr string) int {
	match := forwardRefused.FindStringSubmatch(stderr)
	if match == nil {
		return 0
	}
	port, _ := strconv.Atoi(match[1])
	return port
}
