// Package problems finds known trouble in logs, and says what it means and what to do.
package problems

import (
	"regexp"
	"slices"
	"strings"
)

// Problem is a kind of trouble, known by what logs say of it.
type Problem struct {
	Name    string // stable identifier for scripts: "out-of-memory"
	Means   string
	Remedy  string
	pattern *regexp.Regexp
}

// Found is a problem that logs tell of.
type Found struct {
	Name   string `json:"name"`
	Means  string `json:"means"`
	Remedy string `json:"remedy"`
	Source string `json:"source"` // the log that said so last
	Line   string `json:"line"`   // what it said
	Times  int    `json:"times"`  // lines that say so, in all logs
}

// Log is a text in which to look.
type Log struct{ Source, Text string }

// Other are lines that tell of trouble of no known kind.
type Other struct {
	Source string   `json:"source"`
	Lines  []string `json:"lines"`
}

// trouble is what a line says that tells of any: levels of klog, logrus and slog, and the kernel's words.
var trouble = regexp.MustCompile(`(?i)(?:^|\s)[EF]\d{4} \d\d:|\b(level=(error|fatal)|"level":"(error|warn|fatal)"|panic:|fatal|failed|error|segfault)\b`)

// Find looks for known problems, which come in the order of the table, and for other lines that tell of
// trouble. A line is of one kind only: the first that fits.
func Find(logs []Log) (known []Found, others []Other) {
	found := make([]Found, len(table))
	for _, log := range logs {
		var rest []string
		for line := range strings.Lines(log.Text) {
			line = strings.TrimRight(line, "\r\n")
			i := slices.IndexFunc(table, func(p Problem) bool { return p.pattern.MatchString(line) })
			if i >= 0 {
				f := &found[i]
				f.Source, f.Line = log.Source, line
				f.Times++
			} else if trouble.MatchString(line) && !strings.Contains(line, "ommand line: ") { // the kernel's names its levels
				rest = append(rest, line)
			}
		}
		if len(rest) > 0 {
			others = append(others, Other{log.Source, rest})
		}
	}
	for i, f := range found {
		if f.Times > 0 {
			f.Name, f.Means, f.Remedy = table[i].Name, table[i].Means, table[i].Remedy
			known = append(known, f)
		}
	}
	return known, others
}
