package nearest

import "testing"

func TestTo(t *testing.T) {
	verbs := []string{"start", "stop", "status", "delete"}
	for word, want := range map[string]string{
		"strat": "start", "staus": "status", "stpo": "stop", "remove": "", "": "", "delte": "delete", "start": "start",
	} {
		if got := To(word, verbs); got != want {
			t.Errorf("%q: %q", word, got)
		}
	}
}
