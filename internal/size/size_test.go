package size

import "testing"

func TestParse(t *testing.T) {
	for text, want := range map[string]Size{
		"2048": 2 * GiB, "4g": 4 * GiB, "4GiB": 4 * GiB, "4096mb": 4 * GiB, "4096 MB": 4 * GiB, "1.5g": 1536 * MiB,
		"1t": TiB, "0": 0, "1048576k": GiB, "4G": 4 * GiB, "4Gi": 4 * GiB,
	} {
		if got, err := Parse(text); err != nil || got != want {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "g", "-1", "4x", "4gg", "1e3", "0x10", "NaN", "inf", "+4g", "99999999999t", "4 4"} {
		if got, err := Parse(text); err == nil {
			t.Errorf("%q is taken for %v", text, got)
		}
	}
}

func TestTextRoundTrip(t *testing.T) {
	for _, s := range []Size{0, MiB, 1536 * MiB, 20 * GiB, TiB} {
		var again Size
		if text, _ := s.MarshalText(); again.UnmarshalText(text) != nil || again != s {
			t.Errorf("%s becomes %s", s, again)
		}
	}
	if got := Size(25119670272).Round(); got != "23.4GiB" {
		t.Error(got)
	}
}
