package cmd

import (
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/dorykube/dory/cluster"
	"github.com/dorykube/dory/internal/fail"
	"github.com/dorykube/dory/internal/progress"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// stepsOfStart is how many steps a first start has.
const stepsOfStart = 13

// startFlags are the values of the flags of start, by the key of their setting.
type startFlags struct {
	config string
	single map[string]*string
	lists  map[string]*[]string
	compat *compatFlags
}

func (a *app) startCommand() *cobra.Command {
	f := &startFlags{single: map[string]*string{}, lists: map[string]*[]string{}}
	c := &cobra.Command{
		Use:   "start",
		Short: "Make the cluster exist, run and be as wished",
		Long: `Makes the cluster exist, run and be as wished. On a cluster that runs and is as wished it does nothing.

Every flag is also a variable of the environment (--disk-size is DORY_DISK_SIZE) and a key below spec in the file that
--config names. What a cluster that exists is not told, it keeps. What it is told anew is shown and changed: addons, flags of
components, names of the API server and a larger disk at once; memory, CPUs and accelerator when the machine boots next; a
newer Kubernetes by a boot, and back again if that does not get ready. What cannot be changed is refused before anything is.`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.start(c, f) },
	}
	f.add(c.Flags())
	return c
}

// letters are those that settings have as flags of minikube's.
var letters = map[string]string{"driver": "d", "nodes": "n"}

// add makes a flag of every setting.
func (f *startFlags) add(flags *pflag.FlagSet) {
	defaults := cluster.Wanted{}
	defaults.Spec, defaults.Options = cluster.Defaults()
	for _, s := range cluster.Settings {
		if s.IsList() {
			f.lists[s.Key] = new([]string)
			flags.Var(&many{f.lists[s.Key], s.Key == "extra-config"}, s.Key, s.Usage)
			continue
		}
		value, kind := s.Get(defaults), "string"
		f.single[s.Key] = &value
		if s.IsBool() {
			kind = "bool"
		}
		flag := flags.VarPF(&once{value: &value, kind: kind}, s.Key, letters[s.Key], s.Usage)
		if s.IsBool() {
			flag.NoOptDefVal = "true"
		}
	}
	stringFlag(flags, &f.config, "config", "", "", "`FILE` with a cluster's spec")
	f.compat = addCompat(flags)
}

// given collects what was said on the command line.
func (f *startFlags) given(c *cobra.Command) (cluster.Given, []string, error) {
	g := cluster.Given{Config: f.config, Env: os.Getenv, Flags: map[string][]string{}}
	if g.Config == "" {
		g.Config = os.Getenv("DORY_CONFIG")
	}
	for key, value := range f.single {
		if c.Flags().Changed(key) {
			g.Flags[key] = []string{*value}
		}
	}
	for key, values := range f.lists {
		if c.Flags().Changed(key) {
			g.Flags[key] = *values
		}
	}
	notes, err := f.compat.apply(c.Flags(), g.Flags)
	return g, notes, err
}

func (a *app) start(c *cobra.Command, f *startFlags) error {
	given, notes, err := f.given(c)
	if err != nil {
		return err
	}
	wanted, named, err := cluster.Layer(a.dirs, given)
	if err != nil {
		return err
	}
	if named != "" {
		if a.profile != "" && a.profile != named {
			return fail.New(fail.BadValue, "-p says %q, and %s says %q", a.profile, given.Config, named)
		}
		a.profile = named
	}
	name, err := a.name()
	if err != nil {
		return err
	}
	if wanted.Options.DryRun {
		plan, err := a.manager.Plan(name, wanted)
		if err != nil {
			return err
		}
		return a.printPlan(plan)
	}
	ctx, done := a.progressing(c.Context(), stepsOfStart)
	defer done()
	for _, note := range notes {
		progress.From(ctx).Info(note)
	}
	ctx, writeTrace := a.traced(ctx, wanted.Options.Trace)
	started, err := a.manager.Start(ctx, name, wanted)
	if traceErr := writeTrace(name, err == nil && !wanted.Options.DownloadOnly); err == nil {
		err = traceErr
	}
	done()
	if err != nil || wanted.Options.DownloadOnly {
		return err
	}
	a.summary(started)
	return nil
}

// summary is the end of a start: total, context, and what to type next.
func (a *app) summary(s *cluster.Started) {
	data := map[string]any{"name": s.Name, "kubernetesVersion": s.Kubernetes, "server": s.Server, "kubeconfig": s.Kubeconfig,
		"context": s.Name, "nothingToDo": s.Nothing, "duration": s.Took.Seconds()}
	if a.json() {
		a.say(data, "cluster %q is ready", s.Name)
		return
	}
	kubectl := "kubectl"
	if !s.Current {
		kubectl += " --context " + s.Name
	}
	profile := ""
	if s.Name != cluster.DefaultName {
		profile = " -p " + s.Name
	}
	was := "ready"
	if s.Nothing {
		was = "ready already"
	}
	fmt.Fprintf(a.Err, "\nCluster %q is %s: Kubernetes %s at %s, in %s.\n", s.Name, was, s.Kubernetes, s.Server, s.Took.Round(10*time.Millisecond))
	fmt.Fprintf(a.Err, "  context  %s in %s\n", s.Name, s.Kubeconfig)
	fmt.Fprintf(a.Err, "  try      %s get pods -A    or    dory%s kubectl -- get pods -A\n", kubectl, profile)
}

func (a *app) printPlan(p cluster.Plan) error {
	if a.json() {
		changes := map[string][2]string{}
		for _, d := range p.Diffs {
			changes[d.Setting.Key] = [2]string{d.From, d.To}
		}
		return writeJSON(a.Out, map[string]any{"cluster": p.Cluster, "action": p.Action, "changes": changes, "spec": p.Spec})
	}
	fmt.Fprintf(a.Out, "cluster %s: %s\n", p.Cluster, p.Action)
	for _, d := range p.Diffs {
		fmt.Fprintf(a.Out, "  change %s\n", d.Plan())
	}
	return printSpec(a.Out, p.Spec, p.Sources)
}

// printSpec shows every setting and where its value came from.
func printSpec(out io.Writer, spec cluster.Spec, sources map[string]cluster.Source) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, s := range cluster.Settings {
		if s.Change == cluster.PerRun {
			continue
		}
		where := sources[s.Key].Where
		if where == "" {
			where = "default"
		}
		value := s.Get(cluster.Wanted{Spec: spec})
		fmt.Fprintf(w, "  %s\t%s\t%s\n", s.Key, strings.ReplaceAll(value, "\t", " "), where)
	}
	return w.Flush()
}
