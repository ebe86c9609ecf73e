package progress

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

const mebi = 1 << 20

// metered is a transfer that has gone on for so many seconds at so many bytes per second.
func metered(t Transfer, seconds, speed float64) (m *meter, now time.Time) {
	m, now = &meter{}, time.Unix(1000, 0)
	from := t.Done
	m.moved(t, now)
	for i := range int(seconds * 10) {
		now = now.Add(100 * time.Millisecond)
		t.Done = from + int64(float64(i+1)/10*speed)
		m.moved(t, now)
	}
	return m, now
}

func TestLineAtManyWidths(t *testing.T) {
	m, now := metered(Transfer{Name: "bundle", Title: "Uploading bundle", Total: 211 * mebi}, 3, 35*mebi)
	r := running{step: Step{Title: "Making the machine"}, began: now.Add(-3400 * time.Millisecond), moving: m}
	for width, want := range map[int]string{
		120: "⠋    3.4s  Uploading bundle  ━━━━━━━━━━━━━━────────────────   49%  105/211 MiB   35 MiB/s  4s left",
		79:  "⠋    3.4s  Uploading bundle  ━━━────   49%  105/211 MiB   35 MiB/s  4s left",
		75:  "⠋    3.4s  Uploading bundle   49%  105/211 MiB   35 MiB/s  4s left",
		60:  "⠋    3.4s  Uploading bundle   49%   35 MiB/s  4s left",
		50:  "⠋    3.4s  Uploading bundle   49%  4s left",
		40:  "⠋    3.4s  Uploading bundle   49%",
		33:  "⠋    3.4s  Uploading bundle   49%",
		30:  "⠋    3.4s  Uploading bu…   49%",
		20:  "⠋    3.4s  Uploadin…",
		1:   "…",
		0:   "",
		-1:  "",
	} {
		if got := r.line("⠋", width, now); got != want {
			t.Errorf("at %d:\n%s instead of\n%s", width, got, want)
		}
	}
}

func TestNoLineIsWiderThanTheTerminal(t *testing.T) {
	for _, transfer := range []Transfer{
		{Title: "Uploading bundle", Total: 211 * mebi},
		{Title: "Uploading bundle"},
		{Title: "Uploading bundle", Total: 5},
		{Title: strings.Repeat("a long title ", 20), Total: 1 << 60},
		{Title: "", Done: 1 << 50, Total: 1<<50 + 1},
	} {
		for _, seconds := range []float64{0, 0.5, 3, 30} {
			m, now := metered(transfer, seconds, 12345678)
			for _, later := range []time.Duration{0, time.Minute} {
				r := running{began: now.Add(-300 * time.Hour), moving: m}
				for width := 1; width <= 200; width++ {
					line := r.line("⠋", width-1, now.Add(later))
					if n := utf8.RuneCountInString(line); n > width-1 || strings.ContainsAny(line, "\n\r\x1b") {
						t.Fatalf("%d columns on a terminal of %d: %q", n, width, line)
					}
				}
			}
		}
	}
}

func TestNothingIsSaidThatIsNotKnown(t *testing.T) {
	known := Transfer{Name: "x", Title: "Reading x", Total: 100 * mebi}
	more := known
	more.Done = 101 * mebi
	for what, c := range map[string]struct {
		transfer      Transfer
		seconds, rate float64
		later         time.Duration
		has, hasNot   []string
	}{
		"at first":                  {known, 0, 0, 0, []string{"0%", "0/100 MiB", "─"}, []string{"/s", "left"}},
		"after half a second":       {known, 0.5, 10 * mebi, 0, []string{"5%", "5/100 MiB"}, []string{"/s", "left"}},
		"after two seconds":         {known, 2, 10 * mebi, 0, []string{"20%", "10 MiB/s", "8s left"}, nil},
		"nothing moves":             {known, 2, 10 * mebi, 10 * time.Second, []string{"20%", "stalled"}, []string{"/s", "left"}},
		"without a total":           {Transfer{Name: "x"}, 2, 10 * mebi, 0, []string{"20 MiB", "10 MiB/s"}, []string{"%", "left", "─", "━"}},
		"more than there should be": {more, 2, 1, 0, []string{"101 MiB"}, []string{"%", "left", "━"}},
		"almost done":               {known, 10, 10*mebi - 1, 0, []string{"99%", "99/100 MiB", "1s left"}, []string{"100%"}},
		"hours to go":               {Transfer{Name: "x", Total: 1 << 40}, 2, 100 * mebi, 0, []string{"2h54m left", "0.0/1.0 TiB"}, nil},
	} {
		m, now := metered(c.transfer, c.seconds, c.rate)
		line := m.line("", 150, now.Add(c.later))
		for _, text := range c.has {
			if !strings.Contains(line, text) {
				t.Errorf("%s: no %q in %q", what, text, line)
			}
		}
		for _, text := range c.hasNot {
			if strings.Contains(line, text) {
				t.Errorf("%s: %q in %q", what, text, line)
			}
		}
	}
}

func TestRateIsOfTheLastSecondsAndNotOfWhatWasThereBefore(t *testing.T) {
	m, now := metered(Transfer{Name: "x", Done: 500 * mebi, Total: 1000 * mebi}, 4, 10*mebi)
	if rate, known := m.rate(now); !known || rate < 9.9*mebi || rate > 10.1*mebi {
		t.Errorf("a resumed transfer of 10 MiB/s: %.1f MiB/s, %v", rate/mebi, known)
	}
	at := m.at
	for range 100 { // ten seconds at 1 MiB/s
		now = now.Add(100 * time.Millisecond)
		at.Done += mebi / 10
		m.moved(at, now)
	}
	if rate, _ := m.rate(now); rate > 1.1*mebi || len(m.samples) > 40 {
		t.Errorf("slower for ten seconds: %.1f MiB/s out of %d samples", rate/mebi, len(m.samples))
	}
	at.Done = 0 // it begins anew
	m.moved(at, now)
	if _, known := m.rate(now.Add(rateBasis / 2)); known {
		t.Error("a rate of a transfer that has just begun anew")
	}
}
