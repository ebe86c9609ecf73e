package progress

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

// Text writes progress for people: a line for each step that has ended, with its duration. On a terminal the steps at
// work are shown below, and move; while one moves bytes, its line says how many of how many and how fast.
type Text struct {
	mu      sync.Mutex
	out     io.Writer
	width   func() int // of the terminal now; nil: not a terminal
	color   bool
	active  []running
	shown   int // lines of the animation that are on the screen
	frame   int
	stopped chan struct{}
}

type running struct {
	step   Step
	began  time.Time
	moving *meter // nil: no bytes
}

const frameEvery = 100 * time.Millisecond

var frames = []string{"⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"}

const (
	green, red, yellow, faint, plain = "\x1b[32m", "\x1b[31m", "\x1b[33m", "\x1b[2m", "\x1b[0m"
	clearBelow                       = "\x1b[J"
)

// NewText returns a reporter that writes to out. width tells the terminal's; nil if out is none. Close ends it.
func NewText(out io.Writer, width func() int, color bool) *Text {
	t := &Text{out: out, width: width, color: color, stopped: make(chan struct{})}
	if width != nil {
		go t.animate()
	}
	return t
}

// Close ends the animation and takes what moves off the screen.
func (t *Text) Close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	select {
	case <-t.stopped:
	default:
		close(t.stopped)
	}
	t.erase()
	t.active = nil
}

func (t *Text) animate() {
	tick := time.NewTicker(frameEvery)
	defer tick.Stop()
	for {
		select {
		case <-t.stopped:
			return
		case <-tick.C:
			t.mu.Lock()
			t.frame++
			t.erase()
			t.draw()
			t.mu.Unlock()
		}
	}
}

// StepStarted shows the step as being at work.
func (t *Text) StepStarted(s Step) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.active = append(t.active, running{step: s, began: time.Now()})
	t.erase()
	t.draw()
}

// PartDone is for traces.
func (t *Text) PartDone(string, time.Duration) {}

// Moved is shown with the next frame. When all bytes have moved, the step does something else, and its line says so.
func (t *Text) Moved(s Step, transfer Transfer) {
	if t.width == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	i := slices.IndexFunc(t.active, func(r running) bool { return r.step.Name == s.Name })
	switch {
	case i < 0:
	case transfer.Ended():
		t.active[i].moving = nil
	default:
		if t.active[i].moving == nil {
			t.active[i].moving = &meter{}
		}
		t.active[i].moving.moved(transfer, time.Now())
	}
}

// StepDone writes the step's line.
func (t *Text) StepDone(s Step, took time.Duration, result string, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.active = slices.DeleteFunc(t.active, func(r running) bool { return r.step.Name == s.Name })
	text, mark, color := s.Title, "✓", green
	if result != "" {
		text += ": " + result
	}
	if err != nil {
		text, mark, color = s.Title+": did not succeed", "✗", red
	}
	if errors.Is(err, context.Canceled) { // by what failed elsewhere, or by Ctrl-C
		text, mark, color = s.Title+": cut short", "-", faint
	}
	t.line(mark, color, fmt.Sprintf("%6.1fs  %s", took.Seconds(), text))
}

// Info writes a line.
func (t *Text) Info(message string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.line(" ", "", "         "+message)
}

// Warn writes a line that is noticed.
func (t *Text) Warn(message string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.line("!", yellow, "warning: "+message)
}

// line writes a line above what moves. It is not cut: what scrolls by should be whole.
func (t *Text) line(mark, color, text string) {
	t.erase()
	if t.color && color != "" {
		mark = color + mark + plain
	}
	fmt.Fprintf(t.out, "%s %s\n", mark, strings.ReplaceAll(strings.TrimRight(text, "\n"), "\n", "\n           "))
	t.draw()
}

// erase takes what moves off the screen.
func (t *Text) erase() {
	if t.shown > 0 {
		fmt.Fprintf(t.out, "\x1b[%dA\r%s", t.shown, clearBelow)
		t.shown = 0
	}
}

// draw shows the steps that are at work, each on one line of the terminal, however narrow that is.
func (t *Text) draw() {
	if t.width == nil {
		return
	}
	width := t.width()
	for _, r := range t.active {
		text := r.line(frames[t.frame%len(frames)], width-1, time.Now())
		if t.color {
			text = faint + text + plain
		}
		fmt.Fprintf(t.out, "%s\n", text)
		t.shown++
	}
}

// line is what a step at work shows, in at most width columns.
func (r running) line(frame string, width int, now time.Time) string {
	head := fmt.Sprintf("%s %6.1fs  ", frame, now.Sub(r.began).Seconds())
	if r.moving == nil {
		return cut(head+r.step.Title, width)
	}
	return r.moving.line(head+r.moving.at.Title, width, now)
}

// cut shortens a text to so many characters.
func cut(text string, width int) string {
	switch {
	case width < 1:
		return ""
	case utf8.RuneCountInString(text) <= width:
		return text
	}
	return string([]rune(text)[:width-1]) + "…"
}
