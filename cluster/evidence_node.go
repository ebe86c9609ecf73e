package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"

	"github.com/dorykube/dory/internal/fail"
	"github.com/dorykube/dory/provision"
)

// Units are what the node runs for Kubernetes, as journalctl(1) knows it.
var Units = []string{"containerd", "etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "dory-bundle"}

// systemScript shows how the node is.
const systemScript = `for c in "date -u" "uptime" "uname -a" "free -m" "df -h" "df -i" "systemctl --no-pager --failed" "ip address" "ip route" "cat /proc/pressure/cpu /proc/pressure/memory /proc/pressure/io" "ps -eo pid,ppid,stat,etime,time,rss,comm --sort=-rss"; do
    printf '\n==> %s <==\n' "$c"
    $c 2>&1
done
true`

// onNode are the pieces that a node has which runs.
func (g *gatherer) onNode() []source {
	journal := fmt.Sprintf("journalctl --no-pager -o short-iso -n %d ", g.lines)
	sources := []source{
		{"node/system.txt", g.run(systemScript)},
		{"node/units.txt", g.run("systemctl --no-pager --full status " + strings.Join(Units, " ") + " | grep -v '^ *├\\|^ *└'; true")},
		{"node/kernel.log", g.run(journal + "-k")},
		{"node/journal.log", g.run(journal)},
	}
	for _, unit := range Units {
		sources = append(sources, source{"node/" + unit + ".log", g.run(journal + "-u " + unit)})
	}
	return sources
}

// run returns what runs a command on the node.
func (g *gatherer) run(command string) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		node, err := g.login()
		if err != nil {
			return "", err
		}
		var out bytes.Buffer
		err = node.Run(ctx, provision.Cmd{Shell: command, Stdout: &out})
		return out.String(), err
	}
}

// kubectl is the cluster's kubectl and the kubeconfig that leads it there.
type kubectl struct{ program, config string }

// apiPatience is how long the API server may take for an answer.
const apiPatience = "--request-timeout=8s"

// reachable returns a kubectl if the API server answers it: if not, nothing else need be tried.
func (g *gatherer) reachable(ctx context.Context) (k kubectl, err error) {
	limited, cancel := context.WithTimeout(ctx, pieceLimit)
	defer cancel()
	if _, _, err := g.runningMachine(limited, g.name, g.node); err != nil {
		return k, err
	}
	if k.program, k.config, err = g.Kubectl(limited, g.name); err != nil {
		return k, err
	}
	_, err = k.run(limited, "version")
	return k, err
}

func (k kubectl) run(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, k.program, append([]string{apiPatience}, args...)...)
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "KUBECONFIG=") }), "KUBECONFIG="+k.config)
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err := cmd.Run(); err != nil {
		return out.String(), fail.Wrap(fail.General, err, "kubectl %s", strings.Join(args, " ")).WithEvidence(strings.TrimSpace(complaint.String()))
	}
	return out.String(), nil
}

// inKubernetes are the pieces that an API server has which answers. Secrets are not among them, nor are the pods of users
// asked for their logs.
func (g *gatherer) inKubernetes() []source {
	ask := func(args ...string) func(context.Context) (string, error) {
		return func(ctx context.Context) (string, error) {
			k, err := g.kubectl()
			if err != nil {
				return "", err
			}
			return k.run(ctx, args...)
		}
	}
	return []source{
		{"kubernetes/nodes.txt", ask("get", "nodes", "-o", "wide")},
		{"kubernetes/describe-nodes.txt", ask("describe", "nodes")},
		{"kubernetes/all.txt", ask("get", "all", "--all-namespaces", "-o", "wide")},
		{"kubernetes/storage.txt", ask("get", "storageclasses,persistentvolumes,persistentvolumeclaims", "--all-namespaces", "-o", "wide")},
		{"kubernetes/events.txt", ask("get", "events", "--all-namespaces", "-o", "wide", "--sort-by=.lastTimestamp")},
		{"kubernetes/healthz.txt", ask("get", "--raw", "/readyz?verbose")},
		{"kubernetes/system-pods.log", g.podLogs},
	}
}

// podLogs are the logs of dory's own pods, one after another.
func (g *gatherer) podLogs(ctx context.Context) (string, error) {
	k, err := g.kubectl()
	if err != nil {
		return "", err
	}
	var out strings.Builder
	var failures []error
	for _, namespace := range []string{"kube-system", "local-path-storage"} {
		pods, err := k.run(ctx, "get", "pods", "-n", namespace, "-o", "name")
		failures = append(failures, err)
		for _, pod := range strings.Fields(pods) {
			text, err := k.run(ctx, "logs", "-n", namespace, pod, "--all-containers", "--timestamps", fmt.Sprintf("--tail=%d", g.lines))
			fmt.Fprintf(&out, "==> %s/%s <==\n%s\n", namespace, pod, text)
			failures = append(failures, err)
		}
	}
	return out.String(), errors.Join(failures...)
}
