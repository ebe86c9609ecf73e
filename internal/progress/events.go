package progress

import (
	"crypto/rand"
	"encoding/json"
	"io"
	"sync"
	"time"
)

// Events writes progress for scripts: one CloudEvents 1.0 object per line. Its types are dev.dory.step, .info, .warning,
// .error and .download.progress.
//
// A step has two lines, its beginning and its end, which has its duration in seconds. currentstep numbers the lines of
// all steps, of which totalsteps are expected: it is never the same twice and only grows, though steps overlap.
type Events struct {
	mu    sync.Mutex
	out   io.Writer
	line  int
	total int
}

// source is the CloudEvents attribute: who says it.
const source = "https://dory.dev/"

// NewEvents returns a reporter for a command of which so many steps are expected.
func NewEvents(out io.Writer, steps int) *Events { return &Events{out: out, total: 2 * steps} }

type event struct {
	SpecVersion string    `json:"specversion"`
	ID          string    `json:"id"`
	Source      string    `json:"source"`
	Type        string    `json:"type"`
	Time        time.Time `json:"time"`
	ContentType string    `json:"datacontenttype"`
	Data        any       `json:"data"`
}

type stepData struct {
	CurrentStep int     `json:"currentstep"`
	TotalSteps  int     `json:"totalsteps"`
	Name        string  `json:"name"`
	Message     string  `json:"message"`
	Duration    float64 `json:"duration,omitempty"` // seconds; only when the step has ended
	Result      string  `json:"result,omitempty"`
	Error       string  `json:"error,omitempty"`
}

type messageData struct {
	Message string `json:"message"`
}

// ErrorData is the content of a dev.dory.error.
type ErrorData struct {
	ID       string `json:"id"`
	Message  string `json:"message"`
	Evidence string `json:"evidence,omitempty"`
	Advice   string `json:"advice"`
	ExitCode int    `json:"exitcode"`
	Log      string `json:"log,omitempty"`
}

// StepStarted writes the beginning of a step.
func (e *Events) StepStarted(s Step) { e.step(stepData{Name: s.Name, Message: s.Title}) }

// StepDone writes its end.
func (e *Events) StepDone(s Step, took time.Duration, result string, err error) {
	data := stepData{Name: s.Name, Message: s.Title, Duration: max(took, time.Microsecond).Seconds(), Result: result}
	if err != nil {
		data.Error = err.Error()
	}
	e.step(data)
}

func (e *Events) step(data stepData) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.line++
	e.total = max(e.total, e.line)
	data.CurrentStep, data.TotalSteps = e.line, e.total
	e.write("step", data)
}

// Info writes a message.
func (e *Events) Info(message string) { e.locked("info", messageData{message}) }

// Warn writes a warning.
func (e *Events) Warn(message string) { e.locked("warning", messageData{message}) }

// Error writes the failure that ends the command: the last line.
func (e *Events) Error(data ErrorData) { e.locked("error", data) }

// Answer writes what the command came to.
func (e *Events) Answer(data any) { e.locked("info", data) }

func (e *Events) locked(kind string, data any) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.write(kind, data)
}

func (e *Events) write(kind string, data any) {
	text, err := json.Marshal(event{
		SpecVersion: "1.0", ID: rand.Text(), Source: source, Type: "dev.dory." + kind,
		Time: time.Now().UTC(), ContentType: "application/json", Data: data,
	})
	if err != nil {
		panic(err) // the types above always marshal
	}
	e.out.Write(append(text, '\n'))
}
