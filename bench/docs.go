package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"text/template"

	"github.com/dorykube/dory/internal/atomicfile"
)

// Files of the documentation. What is written by hand is in the template, and stays.
const (
	docsTemplate = "docs/benchmarks.tmpl.md"
	docsPage     = "docs/benchmarks.md"
	readme       = "README.md"
)

// What README's table stands between.
const (
	readmeBegin = "<!-- made by 'make bench-docs' -->\n"
	readmeEnd   = "<!-- end of what 'make bench-docs' makes -->\n"
)

// writeDocs makes the page, its plots and README's table out of the figures in the file.
func writeDocs(file string) error {
	all, err := readResults(file)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w; 'make bench' makes it", err)
	}
	if err != nil {
		return err
	}
	text, err := os.ReadFile(docsTemplate)
	if err != nil {
		return err
	}
	page, err := renderPage(string(text), all)
	if err != nil {
		return err
	}
	if err := atomicfile.Write(docsPage, page, 0o644); err != nil {
		return err
	}
	for _, p := range plots {
		svg, ok, err := p.svg(all)
		if err != nil {
			return fmt.Errorf("%s: %w", p.file, err)
		}
		if !ok {
			continue
		}
		if err := atomicfile.Write(filepath.Join(filepath.Dir(docsPage), p.file), svg, 0o644); err != nil {
			return err
		}
	}
	old, err := os.ReadFile(readme)
	if err != nil {
		return err
	}
	made, err := between(string(old), readmeBegin, readmeEnd, summary(all))
	if err != nil {
		return fmt.Errorf("%s: %w", readme, err)
	}
	return atomicfile.Write(readme, []byte(made), 0o644)
}

// between replaces what stands between two marks.
func between(text, begin, end, content string) (string, error) {
	head, rest, ok := strings.Cut(text, begin)
	_, tail, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		return "", errors.New("it lacks the marks " + strings.TrimSpace(begin) + " and " + strings.TrimSpace(end))
	}
	return head + begin + content + end + tail, nil
}

const notMeasured = "not measured"

// renderPage fills the template, whose functions are the tables below. A figure that was not measured is said to be so; one
// that cannot be is an error.
func renderPage(text string, all *results) ([]byte, error) {
	functions := template.FuncMap{
		"section":   func(scenario string) (string, error) { return sectionTable(all, scenario) },
		"ratios":    func() string { return ratioTable(all) },
		"summary":   func() string { return summary(all) },
		"published": publishedTable,
		"handMade":  handMadeTable,
		"marked":    func() string { return markedSentence(all) },
		"median": func(scenario, name string) (string, error) {
			if scenarioIndex(scenario) < 0 {
				return "", fmt.Errorf("there is no scenario %q", scenario)
			}
			return medianText(all, span{{scenario, name}}), nil
		},
	}
	t, err := template.New("page").Funcs(functions).Parse(text)
	if err != nil {
		return nil, err
	}
	out := bytes.NewBufferString("<!-- Made by 'make bench-docs' from docs/bench.json and " + docsTemplate + ": edit those. -->\n\n")
	err = t.Execute(out, all)
	return out.Bytes(), err
}

func medianText(all *results, of span) string {
	found, err := all.sum(of)
	if err != nil {
		return notMeasured
	}
	return figure(found.median(), found.Unit)
}

// tableRow is a row's minimum, median and maximum, in Markdown.
func tableRow(name string, r *row) string {
	return fmt.Sprintf("| %s | %s | %s | %s |\n", name, figure(r.minimum(), r.Unit), figure(r.median(), r.Unit), figure(r.maximum(), r.Unit))
}

const tableHead = "| min | median | max |\n|---|---|---|---|\n"

// sectionTable is what one scenario measured, and how.
func sectionTable(all *results, scenario string) (string, error) {
	i := scenarioIndex(scenario)
	if i < 0 {
		return "", fmt.Errorf("there is no scenario %q", scenario)
	}
	var out strings.Builder
	s := all.section(scenario)
	if s == nil {
		return notMeasured + "\n", nil
	}
	times := "once"
	if s.Runs > 1 {
		times = fmt.Sprintf("%d times", s.Runs)
	}
	fmt.Fprintf(&out, "`%s`: %s; measured %s, %s, dory %s.", scenario, scenarios[i].about, times, s.Began.Format("2006-01-02"), s.Dory)
	if s.loaded() {
		fmt.Fprintf(&out, " **Marked: other programs used up to %.1f processors.**", s.Others)
	}
	fmt.Fprintf(&out, "\n\n| %s %s", scenario, tableHead)
	for _, r := range s.Rows {
		out.WriteString(tableRow(r.Name, r))
	}
	return out.String(), nil
}

func ratioTable(all *results) string {
	var out strings.Builder
	out.WriteString("| | ratio | target |\n|---|---|---|\n")
	for _, r := range ratios {
		text, target := notMeasured, ""
		if value, err := r.of(all); err == nil {
			text = fmt.Sprintf("%.1f", value)
			if all.loaded(r.long) || all.loaded(r.short) {
				text += " (marked)"
			}
		}
		if r.target > 0 {
			target = fmt.Sprintf("at least %g", r.target)
		}
		fmt.Fprintf(&out, "| %s | %s | %s |\n", r.name, text, target)
	}
	return out.String()
}

// headlines are README's rows.
var headlines = []bar{
	{label: "`start` of a new cluster (a fork), exec to exit", of: forkStart},
	{label: "cold start, boot to CoreDNS Ready", of: coldFromBoot},
	{label: "`kubeadm init` on the same VM, boot to CoreDNS Ready", of: kubeadmOnBoot},
	{label: "minikube's six phases on a fork, in all", of: span{{"phases", rowPhases}}},
	{label: "`start` with nothing to do", of: span{{"no-op", "start"}}},
	{label: "`status`", of: span{{"status", "status"}}},
	{label: "`stop` (saved)", of: span{{"stop", "stop"}}},
	{label: "`start` of a stopped cluster (resumed)", of: span{{"resume", "start: exec to exit, ready"}}},
	{label: "`delete`", of: span{{"delete", "delete"}}},
	{label: "four new clusters at once, until the last is ready", of: span{{"four", "until the last of four is ready"}}},
	{label: "first start of a configuration: template and fork", of: span{{"template", "start: exec to exit"}}},
	{label: "memory that each of ten forks adds", of: span{{"density", "memory that each of ten forks adds (Pss)"}}},
	{label: "processor that an idle fork takes", of: span{{"idle", "processor of one idle fork"}}},
	{label: "node image", of: span{{"sizes", "node image"}}},
	{label: "bundle", of: span{{"sizes", "bundle"}}},
}

// summary is README's table.
func summary(all *results) string {
	var out strings.Builder
	fmt.Fprintf(&out, "![Until CoreDNS is Ready](docs/bench-start.svg)\n\n%s.\n%s\n\n| %s", all.Host, markedSentence(all), tableHead)
	for _, h := range headlines {
		if found, err := all.sum(h.of); err == nil {
			out.WriteString(tableRow(h.label, found))
		}
	}
	out.WriteString("\n" + ratioTable(all))
	out.WriteString("\nOthers, as published, on GitHub's runners, with containers and no emulation: different computers, here for the order of\n" +
		"magnitude.\n\n" + publishedTable())
	out.WriteString("\n`make bench` measures all of this again, kubeadm on the same VM included. [docs/benchmarks.md](docs/benchmarks.md) has every\n" +
		"figure, how it was taken, and what others have published of theirs.\n")
	return out.String()
}

// markedSentence says which figures were taken on a computer that had something else to do.
func markedSentence(all *results) string {
	var names []string
	for _, s := range all.Sections {
		if s.loaded() {
			names = append(names, s.Scenario)
		}
	}
	if len(names) == 0 {
		return "Nothing else used the processors."
	}
	return "**Marked, because other programs used the processors too: " + strings.Join(names, ", ") + ".**"
}

func publishedTable() string {
	var out strings.Builder
	out.WriteString("| published, in seconds | command | app running | DNS answering | in all |\n|---|---|---|---|---|\n")
	for _, p := range published {
		fmt.Fprintf(&out, "| [%s](%s) | %.1f | %.1f | %.1f | %.1f |\n", p.name, p.source, p.command, p.app, p.dns, p.total)
	}
	return out.String()
}

func handMadeTable() string {
	var out strings.Builder
	out.WriteString("| by hand, on a stock Debian VM | |\n|---|---|\n")
	for _, h := range handMade {
		fmt.Fprintf(&out, "| %s | %s |\n", h.what, h.figure)
	}
	return out.String()
}
