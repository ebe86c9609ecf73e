package main

import (
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/dorykube/dory/bundle/components/kubernetes/signer"
	"k8s.io/client-go/transport"
	"k8s.io/kubernetes/pkg/kubelet/token"
)

// accountVariable names the service-account key in the environment of the components that upstream lets read it only once:
// PATH.key is the private key, PATH-previous.pub may be the public one that a forked cluster had before.
const accountVariable = "DORY_ACCOUNT_KEY"

// Client certificates need no help: upstream reads their files for every new connection, and lets go of old connections
// after five minutes, by which time nobody waits. The authorities' files are read every second, and what comes after a new one
// goes over new connections, by the changes that the bundle's build makes to client-go.

// prepareRenewal makes a component take new keys and certificates while it runs, where upstream's would not.
func prepareRenewal(component string) error {
	if component == "kubelet" {
		renewTokensWhenAsked()
		return nil
	}
	account := os.Getenv(accountVariable)
	if account == "" {
		return nil
	}
	switch component {
	case "kube-apiserver":
		// Its only client certificate in a file is the one for kubelets, whose connections carry what users look at: logs
		// and sessions that began after a fork must not be cut minutes later.
		transport.CertCallbackRefreshDuration = time.Second
		// Upstream takes the signing endpoint or keys from the command line, not both. Keys that a user adds are published
		// by the endpoint instead.
		added := takeFlags("service-account-key-file")
		s := &signer.Signer{Private: account + ".key", Previous: account + "-previous.pub", Added: added}
		endpoints := flagValues("service-account-signing-endpoint")
		if len(endpoints) == 0 {
			return fmt.Errorf("$%s is set, and --service-account-signing-endpoint=SOCKET is not", accountVariable)
		}
		// The first is the unit's own. A user's endpoint after it is somebody else's socket.
		if err := s.Serve(endpoints[0]); err != nil {
			return fmt.Errorf("serve the signing endpoint: %w", err)
		}
	case "kube-controller-manager":
		go authorities{lastFlag("root-ca-file"), account + ".key", lastFlag("kubeconfig")}.keep()
	}
	return nil
}

// renewTokensWhenAsked makes SIGUSR1 mean to the kubelet that the service-account key is a new one. It does not look by itself: who
// has just made a fork uses it, and the tokens of the template are accepted for a while.
func renewTokensWhenAsked() {
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGUSR1)
	go func() {
		for range asked {
			token.Renew()
		}
	}()
}

// flagValues are the values of --name=value on the process's command line.
func flagValues(name string) (values []string) {
	for _, arg := range os.Args[1:] {
		if value, ok := strings.CutPrefix(arg, "--"+name+"="); ok {
			values = append(values, value)
		}
	}
	return values
}

// lastFlag is the value that counts, or "": users' flags come after the unit's own.
func lastFlag(name string) string {
	values := flagValues(name)
	if len(values) == 0 {
		return ""
	}
	return values[len(values)-1]
}

// takeFlags is flagValues, and removes them.
func takeFlags(name string) []string {
	values := flagValues(name)
	os.Args = slices.DeleteFunc(os.Args, func(arg string) bool { return strings.HasPrefix(arg, "--"+name+"=") })
	return values
}
