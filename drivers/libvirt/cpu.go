package libvirt

import "strings"

// cpu is a processor model as libvirt's definitions have it.
type cpu struct {
	Mode     string // host-passthrough, maximum or custom
	Model    string // of mode custom
	Features []feature
}

type feature struct{ Policy, Name string }

// cpuOf reads a processor model as QEMU's -cpu takes it: "max,la57=off", "qemu64,+ssse3". What a feature is set to but on or off,
// libvirt has no word for.
func cpuOf(model string) (c cpu) {
	words := strings.Split(model, ",")
	switch words[0] {
	case "host":
		c.Mode = "host-passthrough"
	case "max":
		c.Mode = "maximum"
	default:
		c.Mode, c.Model = "custom", words[0]
	}
	for _, word := range words[1:] {
		name, value, _ := strings.Cut(word, "=")
		f := feature{"require", strings.TrimLeft(name, "+-")}
		if value == "off" || strings.HasPrefix(name, "-") {
			f.Policy = "disable"
		}
		f.Name = strings.ReplaceAll(f.Name, "-", "_") // lahf-lm is lahf_lm there
		c.Features = append(c.Features, f)
	}
	return c
}
