package cmd

import (
	"fmt"
	"os"
	"strings"

	"github.com/dorykube/dory/cluster"
	"github.com/dorykube/dory/drivers"
	"github.com/dorykube/dory/internal/fail"
	"github.com/spf13/cobra"
)

func (a *app) doctorCommand() *cobra.Command {
	return &cobra.Command{
		Use: "doctor", Short: "Check this computer, driver by driver", Args: noArgs,
		Long: "Checks everything that a start depends on, and says how to mend what is wrong. Exit code 0 if a start would work.",
		RunE: func(c *cobra.Command, _ []string) error {
			wanted, _, err := cluster.Layer(a.dirs, cluster.Given{Env: os.Getenv})
			if err != nil {
				return err
			}
			found := a.manager.Doctor(c.Context(), wanted.Spec.LibvirtURI)
			if c.Context().Err() != nil {
				return c.Context().Err()
			}
			if a.json() {
				if err := writeJSON(a.Out, found); err != nil {
					return err
				}
			} else {
				a.printDiagnosis(found)
			}
			if found.Err != nil {
				return exitCode(fail.As(found.Err).Kind.Exit) // everything was said
			}
			return nil
		},
	}
}

func (a *app) printDiagnosis(d cluster.Diagnosis) {
	fmt.Fprintln(a.Out, "This computer")
	a.printFindings(d.Computer)
	for _, driver := range d.Drivers {
		verdict := "works"
		if !driver.Usable {
			verdict = "does not work"
		}
		fmt.Fprintf(a.Out, "\nDriver %s %s: %s\n", driver.Name, verdict, driver.Summary)
		a.printFindings(driver.Findings)
	}
	fmt.Fprintln(a.Out)
	if d.Err != nil {
		fmt.Fprintf(a.Out, "A start would not work: %v\n", d.Err)
		return
	}
	fmt.Fprintf(a.Out, "A start would work, with the driver %s.\n", d.Driver)
}

// printFindings prints a line for each, and what to do below those that are not well.
func (a *app) printFindings(findings []drivers.Finding) {
	for _, f := range findings {
		mark := "✓"
		if !f.OK {
			mark = "✗"
		}
		lines := strings.Split(strings.TrimSpace(f.Evidence), "\n")
		if f.Remedy != "" && !f.OK {
			lines = append(lines, "→ "+f.Remedy)
		}
		fmt.Fprintf(a.Out, "  %s %-24s %s\n", mark, f.Name, strings.Join(lines, "\n"+strings.Repeat(" ", 29)))
	}
}
