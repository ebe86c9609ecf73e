package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/dorykube/dory/internal/atomicfile"
)

// results is what was measured on one computer: the file that documentation is made of.
type results struct {
	Host     host       `json:"host"`
	Sections []*section `json:"sections"` // in the order of the scenarios
}

// section is what one scenario measured.
type section struct {
	Scenario string    `json:"scenario"`
	Began    time.Time `json:"began"`
	Dory     string    `json:"dory"` // version of dory
	Runs     int       `json:"runs"`
	// Others is the most that other programs used the processors right before a repetition, in processors.
	Others float64 `json:"others"`
	Rows   []*row  `json:"rows"` // in the order of the first mention
}

// row is one figure with the value of each repetition; of scenarios that look at many machines at once, of each machine.
type row struct {
	Name   string    `json:"name"`
	Unit   string    `json:"unit"` // "s", "MB" (10^6 bytes), "MiB", "%" of one processor
	Values []float64 `json:"values"`
}

// othersAtMost is how much other programs may use the processors before figures are marked, in processors: 15 % of one,
// which is more than an idle system does and less than anybody's work.
const othersAtMost = 0.15

// loaded says whether the figures are marked, because the computer had something else to do.
func (s *section) loaded() bool { return s.Others > othersAtMost }

func (s *section) add(name, unit string, value float64) {
	r := s.row(name)
	if r == nil {
		r = &row{Name: name, Unit: unit}
		s.Rows = append(s.Rows, r)
	}
	r.Values = append(r.Values, value)
}

// since adds the seconds that have passed.
func (s *section) since(name string, began time.Time) { s.add(name, "s", time.Since(began).Seconds()) }

// row returns the named row, or nil.
func (s *section) row(name string) *row {
	for _, r := range s.Rows {
		if r.Name == name {
			return r
		}
	}
	return nil
}

// minimum, median and maximum of the values; there is at least one.
func (r *row) minimum() float64 { return slices.Min(r.Values) }
func (r *row) maximum() float64 { return slices.Max(r.Values) }
func (r *row) median() float64 {
	v := slices.Sorted(slices.Values(r.Values))
	if n := len(v); n%2 == 0 {
		return (v[n/2-1] + v[n/2]) / 2
	}
	return v[len(v)/2]
}

// section returns the scenario's section, or nil.
func (r *results) section(scenario string) *section {
	for _, s := range r.Sections {
		if s.Scenario == scenario {
			return s
		}
	}
	return nil
}

// replace puts the section in place of its scenario's old one.
func (r *results) replace(s *section) {
	r.Sections = slices.DeleteFunc(r.Sections, func(old *section) bool { return old.Scenario == s.Scenario })
	r.Sections = append(r.Sections, s)
	slices.SortStableFunc(r.Sections, func(a, b *section) int { return scenarioIndex(a.Scenario) - scenarioIndex(b.Scenario) })
}

// find returns a figure by its place.
func (r *results) find(scenario, name string) (*row, error) {
	if s := r.section(scenario); s != nil {
		if found := s.row(name); found != nil {
			return found, nil
		}
	}
	return nil, fmt.Errorf("the figures have no %q of scenario %s", name, scenario)
}

func readResults(path string) (*results, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	r := &results{}
	if err := json.Unmarshal(text, r); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	for _, s := range r.Sections {
		for _, row := range s.Rows {
			if len(row.Values) == 0 {
				return nil, fmt.Errorf("%s: %q of scenario %s has no values", path, row.Name, s.Scenario)
			}
		}
	}
	return r, nil
}

// openResults reads the file that a run adds to, if there is one. Figures of two computers are never mixed.
func openResults(path string, h host) (*results, error) {
	r, err := readResults(path)
	if path == "" || errors.Is(err, fs.ErrNotExist) {
		return &results{Host: h}, nil
	}
	if err != nil {
		return nil, err
	}
	if !r.Host.same(h) {
		return nil, fmt.Errorf("%s has the figures of another computer (%s); name another file", path, r.Host)
	}
	r.Host = h
	return r, nil
}

func (r *results) write(path string) error {
	if path == "" {
		return nil
	}
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return atomicfile.Write(path, append(text, '\n'), 0o644)
}

// print writes tables for a terminal, and the ratios for which both sides are there.
func (r *results) print(w io.Writer) {
	fmt.Fprintf(w, "%s\n", r.Host)
	for _, s := range r.Sections {
		fmt.Fprintf(w, "\n%-52s %9s %9s %9s\n", s.heading(), "min", "median", "max")
		for _, row := range s.Rows {
			fmt.Fprintf(w, "  %-50s %9.2f %9.2f %9.2f %s\n", row.Name, row.minimum(), row.median(), row.maximum(), row.Unit)
		}
	}
	fmt.Fprintln(w)
	for _, ratio := range ratios {
		if value, err := ratio.of(r); err == nil {
			fmt.Fprintf(w, "%-72s %9.1f\n", ratio.name, value)
		}
	}
}

func (s *section) heading() string {
	text := fmt.Sprintf("%s (%d)", s.Scenario, s.Runs)
	if s.loaded() {
		text += fmt.Sprintf(" MARKED: others used %.2f processors", s.Others)
	}
	return text
}
