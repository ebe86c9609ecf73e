package main

import (
	"fmt"
	"os"

	"github.com/dorykube/dory/bundle/components/kubernetes/signer"
)

// accountVariable names the service-account key in the environment of the components that upstream lets read it only once:
// PATH.key is the private key, PATH-previous.pub may be the public one that a forked cluster had before.
const accountVariable = "DORY_ACCOUNT_KEY"

// Client certificates need no help: upstream reads their files for every new connection, and lets go of old connections
// after five minutes, by which time nobody waits. The authorities' files are read every second, by the change that the
// bundle's build makes to client-go.

// prepareRenewal makes a component take new keys and certificates while it runs, where upstream's would not.
func prepareRenewal(component string) error {
	account := os.Getenv(accountVariable)
	if account == "" {
		return nil
	}
	switch component {
	case "kube-apiserver":
		s := &signer.Signer{Private: account + ".key", Previous: account + "-previous.pub"}
		if err := s.Serve(flagValue("service-account-signing-endpoint")); err != nil {
			return fmt.Errorf("serve the signing endpoint: %w", err)
		}
	case "kube-controller-manager":
		go authorities{flagValue("root-ca-file"), account + ".key", flagValue("kubeconfig")}.keep()
	}
	return nil
}
