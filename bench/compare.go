package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

const (
	// agreement is how far the medians of two runs may be apart, as a part of the smaller one.
	agreement = 0.15
	// noticeable is what nobody notices and no timer of a busy kernel promises, in seconds: less is no difference.
	noticeable = 0.05
)

// difference is a figure of two runs.
type difference struct {
	scenario, row, unit string
	a, b                float64 // medians
}

// apart is how far the medians are apart, as a part of the smaller one.
func (d difference) apart() float64 { return max(d.a, d.b)/min(d.a, d.b) - 1 }

func (d difference) matters() bool {
	return d.apart() > agreement && !(d.unit == "s" && max(d.a, d.b)-min(d.a, d.b) < noticeable)
}

// compareResults returns the figures that both have, and the names of those that only one has. Steps and their parts are left out: they
// run side by side, and what one is slower another is faster.
func compareResults(a, b *results) (both []difference, single []string) {
	for _, s := range a.Sections {
		for _, row := range s.Rows {
			other, err := b.find(s.Scenario, row.Name)
			switch {
			case row.isPart():
			case err != nil:
				single = append(single, s.Scenario+": "+row.Name)
			default:
				both = append(both, difference{s.Scenario, row.Name, row.Unit, row.median(), other.median()})
			}
		}
	}
	for _, s := range b.Sections {
		for _, row := range s.Rows {
			if _, err := a.find(s.Scenario, row.Name); err != nil && !row.isPart() {
				single = append(single, s.Scenario+": "+row.Name)
			}
		}
	}
	return both, single
}

// isPart reports whether the row is only a part of what another one has.
func (r row) isPart() bool {
	return strings.HasPrefix(r.Name, "step ") || strings.HasPrefix(r.Name, "part ")
}

// compareFiles says where two runs differ by more than agreement. That is an error, so that a script sees it.
func compareFiles(w io.Writer, fileA, fileB string) error {
	a, err := readResults(fileA)
	if err != nil {
		return err
	}
	b, err := readResults(fileB)
	if err != nil {
		return err
	}
	if !a.Host.same(b.Host) {
		fmt.Fprintf(w, "two computers:\n  %s\n  %s\n", a.Host, b.Host)
	}
	both, single := compareResults(a, b)
	differ := slices.DeleteFunc(slices.Clone(both), func(d difference) bool { return !d.matters() })
	slices.SortStableFunc(differ, func(x, y difference) int {
		if x.apart() > y.apart() {
			return -1
		}
		return 1
	})
	for _, d := range differ {
		fmt.Fprintf(w, "%4.0f %%  %-62s %9.2f %9.2f %s%s\n", 100*d.apart(), d.scenario+": "+d.row, d.a, d.b, d.unit, marks(d.scenario, a, b))
	}
	for _, name := range single {
		fmt.Fprintf(w, "in one only: %s\n", name)
	}
	fmt.Fprintf(w, "%d of %d figures agree within %.0f %%\n", len(both)-len(differ), len(both), 100*agreement)
	if len(differ) > 0 {
		return fmt.Errorf("%s and %s differ", fileA, fileB)
	}
	return nil
}

// marks says which run's figures were taken on a computer that had something else to do.
func marks(scenario string, runs ...*results) (text string) {
	for i, r := range runs {
		if s := r.section(scenario); s != nil && s.loaded() {
			text += fmt.Sprintf("  (run %c was marked)", 'A'+i)
		}
	}
	return text
}
