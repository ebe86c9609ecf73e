// Package size reads and writes amounts of memory and disk as people type them.
package size

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Size is a number of bytes. In text it is a number with a unit; without one it counts MiB, as in minikube.
type Size int64

// Units are binary throughout, also when written as "GB": hypervisors know no others, and so minikube's users expect it.
const (
	KiB Size = 1 << 10
	MiB Size = 1 << 20
	GiB Size = 1 << 30
	TiB Size = 1 << 40
)

var units = map[string]Size{
	"": MiB, "b": 1,
	"k": KiB, "kb": KiB, "ki": KiB, "kib": KiB,
	"m": MiB, "mb": MiB, "mi": MiB, "mib": MiB,
	"g": GiB, "gb": GiB, "gi": GiB, "gib": GiB,
	"t": TiB, "tb": TiB, "ti": TiB, "tib": TiB,
}

// Parse reads "2048", "4g", "4GiB", "4096mb" or "1.5g". The result is a whole number of MiB.
func Parse(text string) (Size, error) {
	trimmed := strings.ToLower(strings.TrimSpace(text))
	digits := strings.TrimRight(trimmed, "abcdefghijklmnopqrstuvwxyz ")
	unit, ok := units[strings.TrimSpace(trimmed[len(digits):])]
	number, err := strconv.ParseFloat(digits, 64)
	if !ok || err != nil || strings.ContainsAny(digits, "+-ex_") || number*float64(unit) >= math.MaxInt64 {
		return 0, fmt.Errorf("%q is not a size; write for example 4g, 4GiB, 4096mb or 4096", text)
	}
	return Size(number*float64(unit)) / MiB * MiB, nil
}

// String writes the size in the largest unit that divides it.
func (s Size) String() string {
	for _, unit := range []struct {
		size Size
		name string
	}{{TiB, "TiB"}, {GiB, "GiB"}, {MiB, "MiB"}, {KiB, "KiB"}} {
		if s != 0 && s%unit.size == 0 {
			return strconv.FormatInt(int64(s/unit.size), 10) + unit.name
		}
	}
	return strconv.FormatInt(int64(s), 10) + "B"
}

// Round is String without what nobody wants to know: "23.4GiB".
func (s Size) Round() string {
	switch {
	case s >= GiB:
		return strings.TrimSuffix(strconv.FormatFloat(float64(s)/float64(GiB), 'f', 1, 64), ".0") + "GiB"
	case s >= MiB:
		return strconv.FormatInt(int64(s/MiB), 10) + "MiB"
	default:
		return s.String()
	}
}

// MarshalText writes what UnmarshalText reads.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText is Parse.
func (s *Size) UnmarshalText(text []byte) (err error) {
	*s, err = Parse(string(text))
	return err
}
