package tried

import (
	"strings"
	"testing"
)

func TestJudge(t *testing.T) {
	versions := []Version{{Number: "7.2"}, {Number: "10.0"}, {Number: "11.1"}}
	for version, want := range map[string]struct {
		said, remedy string
	}{
		"7.2.22 (Debian 1:7.2+dfsg-7)": {"QEMU 7.2.22 is of a version that dory was tried with (7.2, 10.0, 11.1)", ""},
		"10.0.13":                      {"is of a version", ""},
		"11.1.0":                       {"is of a version", ""},
		"8.2.2":                        {"QEMU 8.2.2 is between versions that dory was tried with (7.2, 10.0, 11.1)", ""},
		"10.1.0":                       {"is between", ""},
		"7.20.1":                       {"is between", ""},
		"11.2.0":                       {"is newer than any", ""},
		"12":                           {"is newer than any", ""},
		"7.1.9":                        {"is older than any", "install QEMU 7.2 or newer"},
		"6.2.0":                        {"QEMU 6.2.0 is older than any that dory was tried with (7.2, 10.0, 11.1)", "install QEMU 7.2 or newer"},
	} {
		said, remedy := Judge("QEMU", version, versions)
		if !strings.Contains(said, want.said) || remedy != want.remedy {
			t.Errorf("%s: %q, %q", version, said, remedy)
		}
	}
}
