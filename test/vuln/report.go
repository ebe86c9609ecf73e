package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// exception is a line of exceptions.txt: a vulnerability of a module that stays although a newer version fixes it.
type exception struct {
	id, module, reason string
	since              time.Time
	line               int
	used               bool
}

// parseExceptions reads lines "ID MODULE DATE REASON"; empty ones and those that begin with # say nothing.
func parseExceptions(text string) (all []*exception, err error) {
	number := 0
	for line := range strings.Lines(text) {
		number++
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		fields := strings.Fields(line)
		if len(fields) < 4 {
			return nil, fmt.Errorf("%s:%d: want ID MODULE DATE REASON", exceptionsFile, number)
		}
		since, err := time.Parse(time.DateOnly, fields[2])
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", exceptionsFile, number, err)
		}
		all = append(all, &exception{id: fields[0], module: fields[1], since: since, reason: strings.Join(fields[3:], " "), line: number})
	}
	return all, nil
}

// report prints what is found and counts what has to be done.
type report struct {
	out        io.Writer
	exceptions []*exception
	bad        int
}

// add judges the findings of one program.
func (r *report) add(program string, found []finding) {
	var bad, excepted, unfixed int
	var lines []string
	slices.SortFunc(found, func(a, b finding) int { return strings.Compare(a.id+a.module, b.id+b.module) })
	for _, f := range found {
		what := fmt.Sprintf("%s %s %s, fixed in %s: %s", f.id, f.module, f.version, f.fixed, f.summary)
		switch e := r.exception(f); {
		case e != nil:
			e.used = true
			excepted++
		case f.fixed == "":
			unfixed++
		default:
			bad++
			lines = append(lines, what)
		}
	}
	r.bad += bad
	fmt.Fprintf(r.out, "%-60s %d to fix, %d excepted, %d without a fix\n", program, bad, excepted, unfixed)
	for _, line := range lines {
		fmt.Fprintln(r.out, "   ", line)
	}
}

func (r *report) exception(f finding) *exception {
	for _, e := range r.exceptions {
		if e.id == f.id && e.module == f.module {
			return e
		}
	}
	return nil
}

// verdict is the error, if there is anything to do.
func (r *report) verdict() error {
	for _, e := range r.exceptions {
		if e.used {
			fmt.Fprintf(r.out, "excepted since %s: %s of %s: %s\n", e.since.Format(time.DateOnly), e.id, e.module, e.reason)
		} else {
			r.bad++
			fmt.Fprintf(r.out, "%s:%d: %s of %s is found no more: remove the line\n", exceptionsFile, e.line, e.id, e.module)
		}
	}
	if r.bad > 0 {
		return fmt.Errorf("%d to do: raise the modules (bundle/README.md says how), or write into %s why not", r.bad, exceptionsFile)
	}
	return nil
}
