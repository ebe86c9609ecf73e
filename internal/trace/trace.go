// Package trace writes what took how long as a file that chrome://tracing and ui.perfetto.dev show: the Trace Event
// Format, in its JSON object form.
package trace

import (
	"cmp"
	"encoding/json"
	"io"
	"slices"
	"time"
)

// Span is something that took a while, or happened at once if it took nothing.
type Span struct {
	Process string // whose it is: "dory", "node"
	Name    string
	Begin   time.Time
	Took    time.Duration
	Result  string // what came of it
}

// event is a "complete event" of the format; times are in microseconds.
type event struct {
	Name     string            `json:"name"`
	Phase    string            `json:"ph"`
	Process  int               `json:"pid"`
	Thread   int               `json:"tid"`
	Begin    int64             `json:"ts"`
	Duration int64             `json:"dur,omitempty"`
	Args     map[string]string `json:"args,omitempty"`
}

// Read reads the spans of a file that Write has written.
func Read(r io.Reader) (spans []Span, err error) {
	var file struct {
		TraceEvents []event `json:"traceEvents"`
	}
	if err := json.NewDecoder(r).Decode(&file); err != nil {
		return nil, err
	}
	processes := map[int]string{}
	for _, e := range file.TraceEvents {
		switch e.Phase {
		case "M":
			processes[e.Process] = e.Args["name"]
		case "X":
			spans = append(spans, Span{processes[e.Process], e.Name, time.UnixMicro(e.Begin), time.Duration(e.Duration) * time.Microsecond, e.Args["result"]})
		}
	}
	return spans, nil
}

// Write writes the spans. Those of one process that overlap get rows of their own, since the format wants what is in one
// row to be nested.
func Write(w io.Writer, spans []Span) error {
	spans = slices.SortedFunc(slices.Values(spans), func(a, b Span) int {
		return cmp.Or(cmp.Compare(a.Process, b.Process), a.Begin.Compare(b.Begin))
	})
	var events []event
	var processes []string
	var rows []time.Time // of the process at hand: when each is free again
	for _, s := range spans {
		if len(processes) == 0 || processes[len(processes)-1] != s.Process {
			processes, rows = append(processes, s.Process), nil
			events = append(events, event{Name: "process_name", Phase: "M", Process: len(processes), Args: map[string]string{"name": s.Process}})
		}
		row := slices.IndexFunc(rows, func(free time.Time) bool { return !free.After(s.Begin) })
		if row < 0 {
			row, rows = len(rows), append(rows, time.Time{})
		}
		rows[row] = s.Begin.Add(s.Took)
		e := event{Name: s.Name, Phase: "X", Process: len(processes), Thread: row + 1, Begin: s.Begin.UnixMicro(), Duration: max(1, s.Took.Microseconds())}
		if s.Result != "" {
			e.Args = map[string]string{"result": s.Result}
		}
		events = append(events, e)
	}
	return json.NewEncoder(w).Encode(map[string]any{"traceEvents": events, "displayTimeUnit": "ms"})
}
