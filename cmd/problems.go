package cmd

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/dorykube/dory/cluster"
	"github.com/dorykube/dory/internal/fail"
	"github.com/dorykube/dory/internal/problems"
)

// problemLines is how many lines of the journal are searched, and how many of the kernel's.
const problemLines = 20000

// problems shows what trouble the logs tell of.
func (a *app) problems(ctx context.Context, name string, f *logsFlags) error {
	var logs []problems.Log
	var lacking []string
	add := func(source, text string, err error) {
		logs = append(logs, problems.Log{Source: source, Text: text})
		if err != nil {
			lacking = append(lacking, fmt.Sprintf("%s: %s", source, fail.As(err).Error()))
		}
	}
	text, err := a.manager.Log(name)
	add("dory", text, err)
	text, err = a.manager.Console(ctx, name)
	add("console", text, err)
	var kernel, services strings.Builder
	if err = a.journal(ctx, &kernel, name, f.node, fmt.Sprintf("-k -n %d", problemLines)); err == nil {
		err = a.journal(ctx, &services, name, f.node, fmt.Sprintf("-n %d %s", problemLines, units))
	}
	logs = append(logs, problems.Log{Source: "kernel", Text: kernel.String()})
	add("journal", services.String(), err)
	known, others := problems.Find(logs)
	if a.json() {
		return writeJSON(a.Out, map[string]any{"problems": append([]problems.Found{}, known...), "others": append([]problems.Other{}, others...), "lacking": lacking})
	}
	for _, line := range lacking {
		fmt.Fprintf(a.Out, "(not there: %s)\n", line)
	}
	printProblems(a.Out, known, others, f.lines)
	return nil
}

// printProblems prints known problems with what to do, and then the last lines of each log that tell of others.
func printProblems(out io.Writer, known []problems.Found, others []problems.Other, lines int) {
	for _, p := range known {
		fmt.Fprintf(out, "==> %s, %d times <==\n%s\n  | %s: %s\n  what to do: %s\n\n", p.Name, p.Times, p.Means, p.Source, strings.TrimSpace(p.Line), p.Remedy)
	}
	if len(known) == 0 {
		fmt.Fprintln(out, "The logs tell of no problem that is known.")
	}
	for _, other := range others {
		fmt.Fprintf(out, "==> %s: other lines that tell of trouble <==\n", other.Source)
		for _, line := range other.Lines[max(0, len(other.Lines)-lines):] {
			fmt.Fprintln(out, line)
		}
		fmt.Fprintln(out)
	}
}

// problemsIn is what printProblems says of a bug report's logs. The whole journal has the units' lines again.
func problemsIn(pieces []cluster.Piece, lines int) string {
	var logs []problems.Log
	for _, p := range pieces {
		if strings.HasSuffix(p.Name, ".log") && p.Name != "node/journal.log" {
			logs = append(logs, problems.Log{Source: p.Name, Text: p.Text})
		}
	}
	events := slices.IndexFunc(pieces, func(p cluster.Piece) bool { return p.Name == "kubernetes/events.txt" })
	if events >= 0 {
		logs = append(logs, problems.Log{Source: pieces[events].Name, Text: pieces[events].Text})
	}
	known, others := problems.Find(logs)
	var out strings.Builder
	printProblems(&out, known, others, lines)
	return out.String()
}
