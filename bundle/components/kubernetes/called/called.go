// Package called says by which name the binary was called. It is a package of its own, since one that kubectl's packages need
// is initialized before them.
package called

import (
	"os"
	"path/filepath"
	"strings"

	"k8s.io/kubectl/pkg/util/i18n"
)

// Name is the component that this process is: "kubelet", "kubectl", ...
var Name = strings.TrimSuffix(filepath.Base(os.Args[0]), ".exe")

// Initializing kubectl's packages asks for texts, which packs and reads a file of translations. In the other components, which
// are in the same binary, that took 6 % of kube-scheduler's processor time while it starts.
func init() {
	if Name == "kubectl" {
		return
	}
	if err := i18n.SetLoadTranslationsFunc(func() error { return nil }); err != nil {
		panic(err) // too late: somebody has asked for a text before
	}
}
