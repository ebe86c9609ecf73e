package cluster

import "testing"

func TestAtRest(t *testing.T) {
	for _, c := range []struct {
		name  string
		looks []float64
		want  bool
	}{
		{"not looked at long enough", []float64{0, 0, 0}, false},
		{"quiet", []float64{0.9, 0.1, 0.2, 0.1, 0.2}, true},
		{"busy, and nothing to compare with", []float64{0.5, 0.5, 0.5, 0.5}, false},
		{"falling", []float64{1, 1, 0.9, 0.9, 0.7, 0.6, 0.5, 0.5}, false},
		{"bursts, but no less than before", []float64{1, 0.2, 0.5, 0.3, 0.3, 0.6, 0.2, 0.4, 0.2}, true},
	} {
		if got := atRest(c.looks); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}
