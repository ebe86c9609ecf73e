package progress

import (
	"crypto/rand"
	"encoding/json"
	"io"
	"math"
	"strconv"
	"sync"
	"time"
)

// Events writes progress for scripts: one CloudEvents 1.0 object per line. Its types are dev.dory.step, .info, .warning,
// .error and .download.progress.
//
// A step has two lines, its beginning and its end, which has its duration in seconds. currentstep numbers the lines of
// all steps, of which totalsteps are expected: it is never the same twice and only grows, though steps overlap.
//
// A transfer has a line when it begins and when it ends, and between these one each half second at most. Its currentstep is
// that of its step's beginning.
type Events struct {
	mu     sync.Mutex
	out    io.Writer
	line   int
	total  int
	active map[string]*eventStep // by name
}

// eventStep is a step at work.
type eventStep struct {
	line    int
	at      Transfer
	written time.Time // when the last line of the transfer was
	pending bool      // it has come further since
}

// source is the CloudEvents attribute: who says it.
const source = "https://dory.dev/"

// NewEvents returns a reporter for a command of which so many steps are expected.
func NewEvents(out io.Writer, steps int) *Events {
	return &Events{out: out, total: 2 * steps, active: map[string]*eventStep{}}
}

// movedEvery is how often a transfer has a line.
const movedEvery = 500 * time.Millisecond

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

// transferData has the fields of minikube's io.k8s.sigs.minikube.download.progress, and the bytes.
type transferData struct {
	CurrentStep int    `json:"currentstep"`
	TotalSteps  int    `json:"totalsteps"`
	Name        string `json:"name"` // of the step
	Artifact    string `json:"artifact"`
	Message     string `json:"message"`
	Progress    string `json:"progress,omitempty"` // from "0" to "1"; only where the total is known
	Bytes       int64  `json:"bytes"`
	Total       int64  `json:"total,omitempty"`
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
func (e *Events) StepStarted(s Step) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.step(stepData{Name: s.Name, Message: s.Title})
	e.active[s.Name] = &eventStep{line: e.line}
}

// StepDone writes its end.
func (e *Events) StepDone(s Step, took time.Duration, result string, err error) {
	data := stepData{Name: s.Name, Message: s.Title, Duration: max(took, time.Microsecond).Seconds(), Result: result}
	if err != nil {
		data.Error = err.Error()
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if step := e.active[s.Name]; step != nil && step.pending {
		e.transfer(s, step)
	}
	delete(e.active, s.Name)
	e.step(data)
}

func (e *Events) step(data stepData) {
	e.line++
	e.total = max(e.total, e.line)
	data.CurrentStep, data.TotalSteps = e.line, e.total
	e.write("step", data)
}

// PartDone is for traces.
func (e *Events) PartDone(string, time.Duration) {}

// Moved writes how far a transfer has come, unless that was done a moment ago.
func (e *Events) Moved(s Step, t Transfer) {
	e.mu.Lock()
	defer e.mu.Unlock()
	step := e.active[s.Name]
	if step == nil {
		return
	}
	begins := t.Name != step.at.Name || t.Done < step.at.Done
	if begins && step.pending { // how far the one before came
		e.transfer(s, step)
	}
	if !begins && t == step.at {
		return
	}
	step.at, step.pending = t, true
	if begins || t.Ended() || time.Since(step.written) >= movedEvery {
		e.transfer(s, step)
	}
}

func (e *Events) transfer(s Step, step *eventStep) {
	t := step.at
	data := transferData{CurrentStep: step.line, TotalSteps: e.total, Name: s.Name, Artifact: t.Name, Message: t.Title, Bytes: t.Done, Total: t.Total}
	if share, known := t.Share(); known {
		data.Progress = strconv.FormatFloat(math.Floor(share*1000)/1000, 'f', -1, 64) // 1 only when it is
	}
	e.write("download.progress", data)
	step.written, step.pending = time.Now(), false
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
