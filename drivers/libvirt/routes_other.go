//go:build !linux

package libvirt

import "net/netip"

// hostRoutes: libvirt runs networks on Linux only.
func hostRoutes() []netip.Prefix { return nil }
