// Package conformance pins what upstream's conformance tests are built from: Kubernetes of the bundle's version. See conformance_test.go.
package conformance

import (
	_ "k8s.io/kubernetes/test/e2e"
	_ "k8s.io/kubernetes/test/images/agnhost/netexec"
	_ "k8s.io/sample-apiserver/pkg/apiserver"
)
