package libvirt

import (
	"encoding/binary"
	"encoding/hex"
	"math/bits"
	"net/netip"
	"os"
	"strings"
)

// hostRoutes are where this computer's routes lead to, but for the default one.
func hostRoutes() []netip.Prefix {
	table, _ := os.ReadFile("/proc/net/route") // failing, libvirt still refuses what collides
	return parseRoutes(string(table))
}

// parseRoutes reads /proc/net/route: addresses are hexadecimal, in the host's byte order.
func parseRoutes(table string) (found []netip.Prefix) {
	number := func(text string) (uint32, bool) {
		b, err := hex.DecodeString(text)
		if err != nil || len(b) != 4 {
			return 0, false
		}
		return binary.LittleEndian.Uint32(b), true
	}
	for line := range strings.Lines(table) {
		f := strings.Fields(line)
		if len(f) < 8 {
			continue
		}
		to, ok := number(f[1])
		mask, ok2 := number(f[7])
		if !ok || !ok2 || mask == 0 {
			continue
		}
		var b [4]byte
		binary.BigEndian.PutUint32(b[:], to)
		found = append(found, netip.PrefixFrom(netip.AddrFrom4(b), bits.OnesCount32(mask)))
	}
	return found
}
