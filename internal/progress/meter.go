package progress

import (
	"fmt"
	"math"
	"strings"
	"time"
	"unicode/utf8"
)

// meter measures how fast a transfer is.
type meter struct {
	at      Transfer
	samples []sample  // what was done when, oldest first, over the last rateOver
	last    time.Time // when bytes last moved
}

type sample struct {
	when time.Time
	done int64
}

const (
	rateOver    = 8 * time.Second // long enough to be calm, short enough to be true
	sampleEvery = 250 * time.Millisecond
	rateBasis   = time.Second     // nothing is said of the rate before so long, nor of the time that is left
	stalledAt   = 5 * time.Second // a transfer of which so long nothing has moved
)

// moved notes how far the transfer has come. One that goes back, or that is another, begins anew.
func (m *meter) moved(t Transfer, now time.Time) {
	if len(m.samples) == 0 || t.Name != m.at.Name || t.Done < m.at.Done {
		*m = meter{samples: []sample{{now, t.Done}}, last: now}
	}
	if t.Done != m.at.Done {
		m.last = now
	}
	m.at = t
	if now.Sub(m.samples[len(m.samples)-1].when) >= sampleEvery {
		m.samples = append(m.samples, sample{now, t.Done})
	}
	m.forget(now)
}

// forget drops samples that are too old, but for the one from which the rate is measured.
func (m *meter) forget(now time.Time) {
	for len(m.samples) > 1 && now.Sub(m.samples[1].when) >= rateOver {
		m.samples = m.samples[1:]
	}
}

// rate is bytes per second over the last seconds, up to now: it sinks while nothing moves. known is false as long as too
// little was seen.
func (m *meter) rate(now time.Time) (rate float64, known bool) {
	m.forget(now)
	first := m.samples[0]
	took := now.Sub(first.when)
	if took < rateBasis {
		return 0, false
	}
	return float64(m.at.Done-first.done) / took.Seconds(), true
}

// Columns that the parts of a line take, with two of space: the same at all times, so that nothing jumps.
const (
	percentColumns = 6
	rateColumns    = 11
	leftColumns    = 13
	leastBar       = 2 + 5
	mostBar        = 2 + 30
	// headColumns is what must be left for the title if there is to be more than it.
	headColumns = 20
)

// line is the line of a step that moves bytes, at most width columns: head, which says what moves, and then as much as there
// is room for. The percentage is missed most, then the time that is left, the rate, the amount; the bar takes what remains.
func (m *meter) line(head string, width int, now time.Time) string {
	percent, amount, rate, left := m.parts(now)
	columns := utf8.RuneCountInString(head)
	if columns+percentColumns > width && width >= headColumns+percentColumns && percent != "" {
		head = cut(head, width-percentColumns)
		columns = width - percentColumns
	}
	room := width - columns
	for _, part := range []*string{&percent, &left, &rate, &amount} { // in the order in which they are missed
		if room < utf8.RuneCountInString(*part) {
			room = 0 // and nothing that is missed less
		}
		if room == 0 {
			*part = ""
		}
		room -= utf8.RuneCountInString(*part)
	}
	bar := ""
	if share, known := m.at.Share(); known && room >= leastBar {
		bar = "  " + drawBar(share, min(room, mostBar)-2)
	}
	return cut(strings.TrimRight(head+bar+percent+amount+rate+left, " "), width)
}

// parts are what there is to say of the transfer now; what is not known is left out, or spaces where it will be.
func (m *meter) parts(now time.Time) (percent, amount, rate, left string) {
	share, known := m.at.Share()
	if known {
		percent = fmt.Sprintf("  %3d%%", int(share*100)) // 100 only when it is
	}
	amount = "  " + formatAmount(m.at, known)
	rate = strings.Repeat(" ", rateColumns)
	left = strings.Repeat(" ", leftColumns)
	speed, measured := m.rate(now)
	switch {
	case now.Sub(m.last) >= stalledAt:
		rate = fmt.Sprintf("  %-9s", "stalled")
	case measured && speed >= 1:
		rate = fmt.Sprintf("  %9s", formatRate(speed))
		if known {
			seconds := math.Ceil(float64(m.at.Total-m.at.Done) / speed)
			left = fmt.Sprintf("  %-11s", formatLeft(seconds)+" left")
		}
	}
	return percent, amount, rate, left
}

func drawBar(share float64, columns int) string {
	done := int(share * float64(columns))
	return strings.Repeat("━", done) + strings.Repeat("─", columns-done)
}

var byteUnits = []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}

// unitOf is the largest unit of which there is one at least.
func unitOf(bytes float64) (size float64, name string) {
	size = 1
	for _, name = range byteUnits {
		if bytes < 1000*size { // "0.98 MiB" rather than "1001 KiB": three digits
			break
		}
		size *= 1024
	}
	return size, name
}

// digits writes a number with one digit after the point if it is small and not a whole number of bytes.
func digits(value, size, scale float64) string {
	if size > 1 && scale/size < 10 {
		return fmt.Sprintf("%.1f", math.Floor(value/size*10)/10)
	}
	return fmt.Sprintf("%.0f", math.Floor(value/size))
}

func formatAmount(t Transfer, known bool) string {
	if !known {
		size, unit := unitOf(float64(t.Done))
		return digits(float64(t.Done), size, float64(t.Done)) + " " + unit
	}
	size, unit := unitOf(float64(t.Total))
	total := digits(float64(t.Total), size, float64(t.Total))
	return fmt.Sprintf("%*s/%s %s", len(total), digits(float64(t.Done), size, float64(t.Total)), total, unit)
}

func formatRate(speed float64) string {
	size, unit := unitOf(speed)
	return digits(speed, size, speed) + " " + unit + "/s"
}

func formatLeft(seconds float64) string {
	switch s := int64(min(seconds, 100*3600)); {
	case s < 60:
		return fmt.Sprintf("%ds", s)
	case s < 3600:
		return fmt.Sprintf("%dm%02ds", s/60, s%60)
	case s < 100*3600:
		return fmt.Sprintf("%dh%02dm", s/3600, s/60%60)
	default:
		return ">99h"
	}
}
