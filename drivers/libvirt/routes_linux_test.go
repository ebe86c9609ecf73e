package libvirt

import (
	"slices"
	"testing"
)

func TestParseRoutes(t *testing.T) {
	const table = `Iface	Destination	Gateway 	Flags	RefCnt	Use	Metric	Mask		MTU	Window	IRTT
eth0	00000000	0101A8C0	0003	0	0	0	00000000	0	0	0
eth0	0001A8C0	00000000	0001	0	0	0	00FFFFFF	0	0	0
vpn0	0000000A	00000000	0001	0	0	0	000000FF	0	0	0
`
	if got, want := parseRoutes(table), prefixes("192.168.1.0/24", "10.0.0.0/8"); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
