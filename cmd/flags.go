package cmd

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// once is a flag with one value. Given twice, both must be the same: which of two is meant cannot be known.
type once struct {
	value *string
	kind  string
	set   bool
}

func (o *once) String() string { return *o.value }
func (o *once) Type() string   { return o.kind }

func (o *once) Set(text string) error {
	if o.set && *o.value != text {
		return fmt.Errorf("it is given twice, as %q and as %q", *o.value, text)
	}
	*o.value, o.set = text, true
	return nil
}

// stringFlag is a flag with one value, which may not be given twice differently.
func stringFlag(flags *pflag.FlagSet, p *string, name, short, value, usage string) *pflag.Flag {
	*p = value
	return flags.VarPF(&once{value: p, kind: "string"}, name, short, usage)
}

// many is a flag that may be given several times; unless whole, each value is a list separated by commas.
type many struct {
	values *[]string
	whole  bool
}

func (m *many) String() string { return strings.Join(*m.values, ",") }
func (m *many) Type() string   { return "strings" }

func (m *many) Set(text string) error {
	if m.whole {
		*m.values = append(*m.values, text)
	} else {
		*m.values = append(*m.values, strings.Split(text, ",")...)
	}
	return nil
}

// level is -v, -vv, -v=3 and --alsologtostderr.
type level struct{ value *int }

func (l level) String() string { return strconv.Itoa(*l.value) }
func (l level) Type() string   { return "level" }

func (l level) Set(text string) error {
	if text == "more" {
		*l.value++
		return nil
	}
	if on, err := strconv.ParseBool(text); err == nil && text != "1" && text != "0" {
		if on {
			*l.value++
		}
		return nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		return fmt.Errorf("%q is not a number", text)
	}
	*l.value = n
	return nil
}

func (a *app) globalFlags(root *cobra.Command) {
	flags := root.PersistentFlags()
	a.named = func() bool { return flags.Changed("profile") }
	stringFlag(flags, &a.profile, "profile", "p", "", "the cluster `NAME` (default dory)")
	stringFlag(flags, &a.output, "output", "o", "text", "`FORMAT` of the answer: text or json")
	flags.VarPF(level{&a.verbose}, "verbose", "v", "say more, on stderr").NoOptDefVal = "more"
	for _, name := range []string{"v", "alsologtostderr", "logtostderr"} { // as minikube and klog spell it
		f := flags.VarPF(level{&a.verbose}, name, "", "say more, on stderr")
		f.NoOptDefVal, f.Hidden = "true", true
	}
	for _, name := range klogFlags {
		f := flags.VarPF(discard{}, name, "", "")
		f.Hidden = true
		if slices.Contains(klogSwitches, name) {
			f.NoOptDefVal = "true"
		}
	}
}

// klogFlags are those of minikube's and kubectl's logging, which scripts pass on: there is one log for each cluster, and -v.
var (
	klogSwitches = []string{"add_dir_header", "one_output", "skip_headers", "skip_log_headers"}
	klogFlags    = append([]string{"stderrthreshold", "log_dir", "log_file", "log_file_max_size", "log_backtrace_at", "vmodule"}, klogSwitches...)
)

// discard takes any value.
type discard struct{}

func (discard) Set(string) error { return nil }
func (discard) String() string   { return "" }
func (discard) Type() string     { return "string" }

// attachedLevel is -v5, as klog reads it. pflag takes the 5 for another flag, since -v may come without a number.
var attachedLevel = regexp.MustCompile(`^-v[0-9]+$`)

// spellOut writes such a word as -v=5, up to what other programs are given.
func spellOut(args []string) []string {
	args = slices.Clone(args)
	for i, arg := range args {
		if arg == "--" {
			break
		}
		if attachedLevel.MatchString(arg) {
			args[i] = "-v=" + arg[2:]
		}
	}
	return args
}

// flagNames are the flags that a command takes and shows.
func flagNames(c *cobra.Command) (names []string) {
	c.Flags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			names = append(names, f.Name)
		}
	})
	return names
}
