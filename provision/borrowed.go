package provision

import (
	"fmt"
	"strings"
)

// dirs are the directories that a node's files and its running make. On a borrowed machine, those that were not there
// before go with the node.
var dirs = []string{
	"/etc/cni", "/etc/containerd", "/etc/kubernetes", "/opt/cni", "/opt/dory", "/opt/local-path-provisioner",
	"/root/.kube", "/usr/local/lib/dory", "/var/lib/cni", "/var/lib/containerd", "/var/lib/etcd", "/var/lib/kubelet",
	"/var/log/containers", "/var/log/pods", "/run/containerd", "/run/etcd", "/run/kube-apiserver", "/run/netns",
	"/usr/libexec/kubernetes",
}

// listScript notes, before the first install, what of all that a node puts onto a machine is not there yet: that is what
// provision/rootfs/usr/local/lib/dory/remove may remove. A file that is there already is somebody else's.
func listScript(files []file, links []link) string {
	paths := append([]string{}, dirs...)
	for _, f := range files {
		paths = append(paths, f.path)
	}
	for _, l := range links {
		paths = append(paths, l.path)
	}
	return fmt.Sprintf(`list=/var/lib/dory/installed
if ! [ -e $list ]; then
    for path in %s; do
        [ -e $path ] || [ -L $path ] || echo $path
    done >$list.tmp
    mv $list.tmp $list
fi
`, strings.Join(paths, " "))
}
