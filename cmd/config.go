package cmd

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/dorykube/dory/cluster"
	"github.com/dorykube/dory/internal/fail"
	"github.com/spf13/cobra"
)

func (a *app) configCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "config", Short: "Keep defaults for new clusters",
		Long: "Keeps defaults for new clusters. The keys are the flags of 'dory start', and profile, the cluster that is meant when\nnone is named.",
		Args: unknownVerb,
		Run:  func(c *cobra.Command, _ []string) { c.Help() },
	}
	c.AddCommand(
		&cobra.Command{Use: "set KEY VALUE", Short: "Keep a default", Args: exactArgs(2),
			RunE: func(_ *cobra.Command, args []string) error { return a.setConfig(args[0], args[1]) }},
		&cobra.Command{Use: "get KEY", Short: "Print a default that is kept", Args: oneArg("key"),
			RunE: func(_ *cobra.Command, args []string) error { return a.getConfig(args[0]) }},
		&cobra.Command{Use: "unset KEY", Short: "Forget a default", Args: oneArg("key"),
			RunE: func(_ *cobra.Command, args []string) error { return a.unsetConfig(args[0]) }},
		&cobra.Command{Use: "view", Short: "Print what a new cluster would be, and where each value comes from", Args: noArgs,
			RunE: func(*cobra.Command, []string) error { return a.viewConfig() }},
		&cobra.Command{Use: "schema", Short: "Print the JSON Schema of the file that --config names, for editors", Args: noArgs,
			RunE: func(*cobra.Command, []string) error {
				schema, err := cluster.Schema()
				if err == nil {
					_, err = fmt.Fprintf(a.Out, "%s\n", schema)
				}
				return err
			}},
	)
	return c
}

// checkKey refuses keys that mean nothing.
func checkKey(key string) error {
	if key == cluster.ProfileKey || slices.Contains(cluster.WithoutEffect, key) {
		return nil
	}
	for _, f := range compat { // by name, with what to do
		if f.name == key && f.alias == "" {
			return f.refuse("")
		}
	}
	_, err := cluster.FindSetting(key)
	if err != nil { // the command line's fault, not a file's
		f := fail.As(err)
		return fail.New(fail.BadValue, "%s", f.Message).WithAdvice("%s", f.Remedy())
	}
	return nil
}

// settingOf is the setting that a key of minikube's is another name for, or the key itself.
func settingOf(key string) string {
	for _, f := range compat {
		if f.name == key && f.alias != "" {
			return f.alias
		}
	}
	if key == "EmbedCerts" {
		return "embed-certs"
	}
	return key
}

func (a *app) setConfig(key, value string) error {
	key = settingOf(key)
	if err := checkKey(key); err != nil {
		return err
	}
	config, err := cluster.LoadUserConfig(a.dirs)
	if err != nil {
		return err
	}
	if key == cluster.ProfileKey {
		if err := cluster.CheckName(value); err != nil {
			return err
		}
	}
	config[key] = value
	// What could not be used later is refused now.
	wanted := cluster.Wanted{}
	wanted.Spec, wanted.Options = cluster.Defaults()
	if slices.Contains(cluster.WithoutEffect, key) {
		for _, f := range compat {
			if f.name == key && !f.accepts(value) {
				return f.refuse(value)
			}
		}
		fmt.Fprintf(a.Err, "%s is kept, and has no effect: it is minikube's\n", key)
	} else if key != cluster.ProfileKey {
		setting, err := cluster.FindSetting(key)
		if err != nil {
			return err
		}
		if err := setting.Set(&wanted, setting.Split(value), cluster.Source{Where: key}); err != nil {
			return err
		}
		if err := wanted.Validate(a.manager.Host); err != nil {
			return err
		}
	}
	return cluster.SaveUserConfig(a.dirs, config)
}

func (a *app) getConfig(key string) error {
	key = settingOf(key)
	if err := checkKey(key); err != nil {
		return err
	}
	config, err := cluster.LoadUserConfig(a.dirs)
	if err != nil {
		return err
	}
	value, ok := config[key]
	if !ok {
		return fail.New(fail.BadValue, "specified key could not be found in config: %s", key).WithAdvice("'dory config set %s VALUE' keeps one", key)
	}
	fmt.Fprintln(a.Out, value)
	return nil
}

func (a *app) unsetConfig(key string) error {
	key = settingOf(key)
	if err := checkKey(key); err != nil {
		return err
	}
	config, err := cluster.LoadUserConfig(a.dirs)
	if err != nil {
		return err
	}
	if _, ok := config[key]; !ok {
		return nil
	}
	delete(config, key)
	return cluster.SaveUserConfig(a.dirs, config)
}

func (a *app) viewConfig() error {
	wanted, _, err := cluster.Layer(a.dirs, cluster.Given{Config: os.Getenv("DORY_CONFIG"), Env: os.Getenv})
	if err != nil {
		return err
	}
	name, err := a.name()
	if err != nil {
		return err
	}
	if a.json() {
		sources := map[string]string{}
		for key, source := range wanted.Sources {
			sources[key] = source.Where
		}
		return writeJSON(a.Out, map[string]any{"profile": name, "spec": wanted.Spec, "sources": sources})
	}
	fmt.Fprintf(a.Out, "  profile %s\n", strings.TrimSpace(name))
	return printSpec(a.Out, wanted.Spec, wanted.Sources)
}
