// Command kubernetes is the whole of Kubernetes in one binary: the name it is called by decides which component it is,
// with the processes and flags that upstream has. One copy of the code they share is on disk and in the page cache
// (145 MB for six components instead of 480 MB).
package main

import (
	"context"
	"fmt"
	"os"
	_ "time/tzdata" // for CronJobs with a time zone

	"github.com/dorykube/dory/bundle/components/kubernetes/called"
	"github.com/spf13/cobra"
	"k8s.io/component-base/cli"
	"k8s.io/component-base/logs"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	kubectl "k8s.io/kubectl/pkg/cmd"
	kubectlutil "k8s.io/kubectl/pkg/cmd/util"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"

	_ "k8s.io/client-go/plugin/pkg/client/auth"
)

// Constructors, not commands: building a command registers its flags and feature gates in process-wide tables, so only
// the one that runs may be built.
var components = map[string]func() *cobra.Command{
	"kube-apiserver":          apiserver.NewAPIServerCommand,
	"kube-controller-manager": controllermanager.NewControllerManagerCommand,
	"kube-scheduler":          func() *cobra.Command { return scheduler.NewSchedulerCommand() },
	"kube-proxy":              proxy.NewProxyCommand,
	"kubelet":                 func() *cobra.Command { return kubelet.NewKubeletCommand(context.Background()) },
}

func main() {
	name := called.Name
	if name == "kubectl" {
		runKubectl()
		return
	}
	newCommand, ok := components[name]
	if !ok {
		fmt.Fprintf(os.Stderr, "%s: not a Kubernetes component; call this binary by the name of one (kube-apiserver, kubelet, kubectl, ...)\n", name)
		os.Exit(2)
	}
	// What upstream has no flag for is set here, for the whole process, before any component is built.
	relaxCollector()
	if err := prepareRenewal(name); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		os.Exit(1)
	}
	os.Exit(cli.Run(newCommand()))
}

// runKubectl does what upstream's main does: kubectl prints its own errors, and its log level must be known before its
// commands are built.
func runKubectl() {
	logs.GlogSetter(kubectl.GetLogVerbosity(os.Args)) //nolint:errcheck // as upstream
	if err := cli.RunNoErrOutput(kubectl.NewDefaultKubectlCommand()); err != nil {
		kubectlutil.CheckErr(err)
	}
}
