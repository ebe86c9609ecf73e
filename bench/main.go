// Command bench times everything that a user of dory waits for, on real VMs, and prints minimum, median and maximum.
//
//	go run ./bench [-runs 3] [-o text|json] [scenario ...]
//
// It needs bin/dory and the artifacts; 'make bench' sees to both.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	runs := flags.Int("runs", 3, "how often each scenario is repeated")
	output := flags.String("o", "text", "text or json")
	if err := flags.Parse(args); err != nil {
		return err
	}
	host, err := describeHost()
	if err != nil {
		return err
	}
	results := &table{Host: host}
	for _, s := range scenarios {
		if flags.NArg() > 0 && !slices.Contains(flags.Args(), s.name) {
			continue
		}
		for n := range *runs {
			fmt.Fprintf(os.Stderr, "%s, run %d of %d\n", s.name, n+1, *runs)
			if err := s.once(results); err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
		}
	}
	if *output == "json" {
		return json.NewEncoder(os.Stdout).Encode(results)
	}
	fmt.Print(results.text())
	return nil
}

// scenario is something that is timed: one call of once adds one value to each of its rows.
type scenario struct {
	name string
	once func(*table) error
}

// table is what was measured, in the order of the first mention.
type table struct {
	Host host   `json:"host"`
	Rows []*row `json:"rows"`
}

type row struct {
	Name   string    `json:"name"`
	Unit   string    `json:"unit"` // "s" or "MB"
	Values []float64 `json:"values"`
}

func (t *table) add(name, unit string, value float64) {
	for _, r := range t.Rows {
		if r.Name == name {
			r.Values = append(r.Values, value)
			return
		}
	}
	t.Rows = append(t.Rows, &row{name, unit, []float64{value}})
}

func (t *table) text() string {
	var out strings.Builder
	fmt.Fprintf(&out, "%s\n\n%-46s %9s %9s %9s\n", t.Host, "", "min", "median", "max")
	for _, r := range t.Rows {
		v := slices.Sorted(slices.Values(r.Values))
		fmt.Fprintf(&out, "%-46s %9.2f %9.2f %9.2f %s\n", r.Name, v[0], median(v), v[len(v)-1], r.Unit)
	}
	return out.String()
}

// median of sorted values.
func median(v []float64) float64 {
	if n := len(v); n%2 == 0 {
		return (v[n/2-1] + v[n/2]) / 2
	}
	return v[len(v)/2]
}
