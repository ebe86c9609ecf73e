//go:build vm

package test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"
)

// outcome is a row of the report. Durations are in nanoseconds, as Go writes them.
type outcome struct {
	Kind     string        `json:"kind"`
	Name     string        `json:"name"`
	OK       bool          `json:"ok"`
	InARow   int           `json:"inARow,omitzero"` // the last so many runs of it were as wanted
	Ended    time.Duration `json:"ended,omitzero"`  // the longest from a signal to the end; 0: nothing was interrupted
	Status   time.Duration `json:"status,omitzero"` // the longest status
	Start    time.Duration `json:"start,omitzero"`  // the start that came after it
	Code     int           `json:"code,omitzero"`   // its exit code
	Note     string        `json:"note,omitempty"`  // what came of a row without a start
	Dory     string        `json:"dory"`            // the version that it was seen with
	Day      string        `json:"day"`             // 2006-01-02, UTC
	Computer string        `json:"computer"`
}

// outcomes are all rows of this run of the tests, and after load those of earlier runs that chose other trials.
type outcomes struct {
	mu   sync.Mutex
	rows []outcome
}

var report outcomes

// add takes a row in, in the place of what an earlier run had in it, and keeps it if the trials were chosen: they take hours,
// so a run that is cut short has lost none.
func (r *outcomes) add(row outcome) {
	r.mu.Lock()
	defer r.mu.Unlock()
	row.Dory, row.Day, row.Computer = doryVersion(), time.Now().UTC().Format(time.DateOnly), computer()
	i := r.index(row.Kind, row.Name)
	if i < 0 {
		i, r.rows = len(r.rows), append(r.rows, outcome{})
	}
	if row.OK {
		row.InARow = r.rows[i].InARow + 1
	}
	r.rows[i] = row
	if os.Getenv(torture) == "" {
		return
	}
	if err := r.write(); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
}

func (r *outcomes) index(kind, name string) int {
	return slices.IndexFunc(r.rows, func(o outcome) bool { return o.Kind == kind && o.Name == name })
}

// inARow is how many of a trial's last runs were as wanted.
func (r *outcomes) inARow(kind, name string) int {
	if i := r.index(kind, name); i >= 0 {
		return r.rows[i].InARow
	}
	return 0
}

// load takes in what earlier runs found, but for trials that there are no more.
func (r *outcomes) load() error {
	if os.Getenv(torture) == "" {
		return nil
	}
	text, err := os.ReadFile(reliabilityRows)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	err = json.Unmarshal(text, &r.rows)
	names, kinds := map[[2]string]bool{}, map[string]bool{}
	for _, t := range allTrials() {
		names[[2]string{t.kind, t.name}], kinds[t.kind] = true, true
	}
	r.rows = slices.DeleteFunc(r.rows, func(o outcome) bool { return kinds[o.Kind] && !names[[2]string{o.Kind, o.Name}] })
	return err
}

// summary is a table of the kinds.
func (r *outcomes) summary() string {
	var kinds []string
	for _, row := range r.rows {
		if !slices.Contains(kinds, row.Kind) {
			kinds = append(kinds, row.Kind)
		}
	}
	var table strings.Builder
	fmt.Fprintln(&table, "| what goes wrong | cases | as wanted | runs in a row | longest end after Ctrl-C | longest status | longest start |\n|---|---|---|---|---|---|---|")
	for _, kind := range append(kinds, "all") {
		cases, good, inARow, most := 0, 0, math.MaxInt, outcome{}
		for _, row := range r.rows {
			if row.Kind != kind && kind != "all" {
				continue
			}
			cases++
			if row.OK {
				good++
			}
			inARow = min(inARow, row.InARow)
			most.Ended, most.Status, most.Start = max(most.Ended, row.Ended), max(most.Status, row.Status), max(most.Start, row.Start)
		}
		fmt.Fprintf(&table, "| %s | %d | %d | %d | %s | %s | %s |\n", kind, cases, good, inARow, seconds(most.Ended), seconds(most.Status), seconds(most.Start))
	}
	return table.String()
}

func seconds(d time.Duration) string {
	if d == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}

// What 'make torture' keeps: a row of each trial that was run, and the tables made of them.
const (
	reliabilityRows = "../docs/reliability.json"
	reliabilityPage = "../docs/reliability.md"
)

const reliabilityHead = `# Reliability

What goes wrong on purpose, and what dory makes of it: tables that ` + "`make torture`" + ` writes; do not edit them. After each case
` + "`dory status`" + ` answers within 3 s and tells the truth, ` + "`dory start`" + ` succeeds or says exactly why not, ` + "`dory delete`" + `
succeeds, and nothing of the cluster is left: no process, and so no port, no file, no mount, no entry in the kubeconfig. Ctrl-C
ends every verb within 2 s, with exit code 2. On a loaded machine the test forgives as much again; the figures are what was
measured. ` + "`make torture TORTURE=PATTERN`" + ` runs the cases that match and renews their rows; those that were as wanted the fewest
times in a row come first, so a run that is cut short is continued by the next. ` + "`make test`" + ` runs some of all.

`

// write makes the page and the rows that it is made of.
func (r *outcomes) write() error {
	var text bytes.Buffer
	text.WriteString(reliabilityHead)
	for _, run := range r.runs() {
		fmt.Fprintln(&text, "- "+run)
	}
	const alone = 2 // verbs at random, and forks one after the other: tests of their own
	fmt.Fprintf(&text, "\n%d of the %d cases that there are:\n\n%s\n## Each case\n\n", len(r.rows), len(allTrials())+alone, r.summary())
	fmt.Fprintln(&text, "| what goes wrong | case | end after Ctrl-C | status | the next start | result |\n|---|---|---|---|---|---|")
	for _, row := range r.rows {
		start := row.Note
		if start == "" {
			start = fmt.Sprintf("exit %d, %s", row.Code, seconds(row.Start))
		}
		result := "**not as wanted**"
		switch {
		case row.OK && row.InARow > 1:
			result = fmt.Sprintf("as wanted, %d times in a row", row.InARow)
		case row.OK:
			result = "as wanted"
		}
		fmt.Fprintf(&text, "| %s | %s | %s | %s | %s | %s |\n", row.Kind, row.Name, seconds(row.Ended), seconds(row.Status), start, result)
	}
	rows, err := json.MarshalIndent(r.rows, "", " ")
	if err != nil {
		return err
	}
	return errors.Join(os.WriteFile(reliabilityRows, append(rows, '\n'), 0o644), os.WriteFile(reliabilityPage, text.Bytes(), 0o644))
}

// runs says how many rows come from which version, day and computer.
func (r *outcomes) runs() (runs []string) {
	count := map[string]int{}
	for _, row := range r.rows {
		count[fmt.Sprintf("run by dory %s on %s, on %s", row.Dory, row.Day, row.Computer)]++
	}
	for _, run := range slices.Sorted(maps.Keys(count)) {
		runs = append(runs, fmt.Sprintf("%d cases %s", count[run], run))
	}
	return runs
}

// doryVersion is that of the program that is tested.
var doryVersion = sync.OnceValue(func() string {
	out, err := exec.Command("../bin/dory", "version", "--short").Output()
	if err != nil {
		return "of an unknown version"
	}
	return strings.TrimSpace(string(out))
})

// computer says what the figures were measured on.
var computer = sync.OnceValue(func() string {
	program := os.Getenv("DORY_QEMU")
	if program == "" {
		program = "qemu-system-x86_64"
	}
	version := "an unknown QEMU"
	if out, err := exec.Command(program, "--version").Output(); err == nil {
		version, _, _ = strings.Cut(string(out), "\n")
		version = strings.ReplaceAll(version, " emulator version", "")
	}
	accel := "an unknown accelerator"
	frozen, _ := filepath.Glob(filepath.Join(shared.home, "cache", "templates", "*", "frozen", "frozen.json"))
	for _, path := range frozen {
		text, _ := os.ReadFile(path)
		if found := regexp.MustCompile(`"accel":"(\w+)"`).FindSubmatch(text); found != nil {
			accel = string(found[1])
		}
	}
	memory := ""
	text, _ := os.ReadFile("/proc/meminfo")
	var kib int
	if _, err := fmt.Sscanf(string(text), "MemTotal: %d kB", &kib); err == nil {
		memory = fmt.Sprintf(", %d GiB of memory", (kib+512<<10)>>20)
	}
	return fmt.Sprintf("%s/%s with %d processors%s; %s on %s", runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), memory, version, accel)
})
