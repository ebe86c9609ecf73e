//go:build vm

package test

import (
	"bytes"
	"fmt"
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

// outcome is a row of the report.
type outcome struct {
	kind, name string
	ok         bool
	ended      time.Duration // the longest from a signal to the end; 0: nothing was interrupted
	status     time.Duration // the longest status
	start      time.Duration // the start that came after it
	code       int           // its exit code
	note       string        // what came of a row without a start
}

// outcomes are all rows of this run of the tests.
type outcomes struct {
	mu   sync.Mutex
	rows []outcome
}

var report outcomes

func (r *outcomes) add(row outcome) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rows = append(r.rows, row)
}

// summary is a table of the kinds.
func (r *outcomes) summary() string {
	var kinds []string
	for _, row := range r.rows {
		if !slices.Contains(kinds, row.kind) {
			kinds = append(kinds, row.kind)
		}
	}
	var table strings.Builder
	fmt.Fprintln(&table, "| what goes wrong | cases | as wanted | longest end after Ctrl-C | longest status | longest start |\n|---|---|---|---|---|---|")
	for _, kind := range append(kinds, "all") {
		cases, good, most := 0, 0, outcome{}
		for _, row := range r.rows {
			if row.kind != kind && kind != "all" {
				continue
			}
			cases++
			if row.ok {
				good++
			}
			most.ended, most.status, most.start = max(most.ended, row.ended), max(most.status, row.status), max(most.start, row.start)
		}
		fmt.Fprintf(&table, "| %s | %d | %d | %s | %s | %s |\n", kind, cases, good, seconds(most.ended), seconds(most.status), seconds(most.start))
	}
	return table.String()
}

func seconds(d time.Duration) string {
	if d == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}

// reliability is what the report becomes, if all was run.
const reliability = "../docs/reliability.md"

const reliabilityHead = `# Reliability

What goes wrong on purpose, and what dory makes of it: a table that ` + "`make torture`" + ` writes; do not edit it. After each case
` + "`dory status`" + ` answers within 3 s and tells the truth, ` + "`dory start`" + ` succeeds or says exactly why not, ` + "`dory delete`" + `
succeeds, and nothing of the cluster is left: no process, and so no port, no file, no mount, no entry in the kubeconfig. Ctrl-C
ends every verb within 2 s, with exit code 2. On a loaded machine the test forgives as much again; the figures are what was
measured. ` + "`make torture TORTURE=PATTERN`" + ` runs the cases that match, and ` + "`make test`" + ` some of all.

`

// write makes docs/reliability.md of a run that was whole.
func (r *outcomes) write() error {
	if os.Getenv(torture) != "all" || len(r.rows) == 0 {
		return nil
	}
	var text bytes.Buffer
	text.WriteString(reliabilityHead)
	fmt.Fprintf(&text, "Run on %s on %s.\n\n%s\n## All cases\n\n", time.Now().UTC().Format(time.DateOnly), computer(), r.summary())
	fmt.Fprintln(&text, "| what goes wrong | case | end after Ctrl-C | status | the next start | result |\n|---|---|---|---|---|---|")
	for _, row := range r.rows {
		start := row.note
		if start == "" {
			start = fmt.Sprintf("exit %d, %s", row.code, seconds(row.start))
		}
		result := "as wanted"
		if !row.ok {
			result = "**not as wanted**"
		}
		fmt.Fprintf(&text, "| %s | %s | %s | %s | %s | %s |\n", row.kind, row.name, seconds(row.ended), seconds(row.status), start, result)
	}
	return os.WriteFile(reliability, text.Bytes(), 0o644)
}

// computer says what the figures were measured on.
func computer() string {
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
}
