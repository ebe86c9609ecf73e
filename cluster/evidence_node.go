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
	"sync"

	"github.com/dorykube/dory/provision"
)

// Units are what the node runs for Kubernetes, as journalctl(1) knows it.
var Units = []string{"containerd", "etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "dory-bundle"}

// systemScript shows how the node is.
const systemScript = `for c in "date -u" uptime "uname -a" "free -m" "df -h" "systemctl --no-pager list-units --state=failed" "ip address" "ip route" "ps -eo pid,ppid,stat,etime,time,rss,comm --sort=-rss"; do
    printf '\n==> %s <==\n' "$c"
    $c 2>&1
done
true`

// podScript shows the ends of the logs of dory's own pods, as the kubelet keeps them: so they can be had without an API server,
// and what a container said that has ended is among them. Pods of users are their own affair.
const podScript = `for f in /var/log/pods/kube-system_*/*/*.log /var/log/pods/local-path-storage_*/*/*.log; do
    [ -e "$f" ] || continue
    printf '\n==> %%s <==\n' "$f"
    tail -n %d "$f"
done
true`

// onNode are the pieces that a node has which runs. Its journal is read once and taken apart here: reading it for each unit
// takes an emulated node, or one in trouble, longer than anybody waits.
func (g *gatherer) onNode() []source {
	read := g.run(fmt.Sprintf("journalctl --no-pager -o short-iso -n %d", g.lines*len(Units)))
	var once sync.Once
	var journal string
	var failure error
	part := func(take func(journal string) string) func(context.Context) (string, error) {
		return func(ctx context.Context) (string, error) {
			once.Do(func() { journal, failure = read(ctx) })
			return take(journal), failure
		}
	}
	sources := []source{
		{"node/system.txt", g.run(systemScript)},
		{"node/units.txt", g.run("systemctl --no-pager --full --lines=0 status " + strings.Join(Units, " ") + "; true")},
		{"node/pods.log", g.run(fmt.Sprintf(podScript, g.lines))},
		{"node/journal.log", part(func(journal string) string { return journal })},
	}
	for _, unit := range append([]string{"kernel"}, Units...) {
		sources = append(sources, source{"node/" + unit + ".log", part(func(journal string) string { return ofUnit(journal, unit, g.lines) })})
	}
	return sources
}

// ofUnit returns the last lines of a unit in a journal as short-iso has it, which is "TIME HOST NAME[PID]: MESSAGE", with
// what systemd says of the unit. Further lines of a message are indented.
func ofUnit(journal, unit string, lines int) string {
	var out []string
	ours := false
	for line := range strings.Lines(journal) {
		if !strings.HasPrefix(line, " ") {
			fields := strings.SplitN(line, " ", 4)
			name := ""
			if len(fields) > 2 {
				name, _, _ = strings.Cut(strings.TrimSuffix(fields[2], ":"), "[")
			}
			ours = name == unit || name == "systemd" && strings.Contains(fields[len(fields)-1], unit+".service")
		}
		if ours {
			out = append(out, line)
		}
	}
	return strings.Join(out[max(0, len(out)-lines):], "")
}

// run returns what runs a command on the node.
func (g *gatherer) run(command string) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		node, err := g.login()
		if err != nil {
			return "", err
		}
		limited, cancel := context.WithTimeout(ctx, pieceLimit)
		defer cancel()
		var out bytes.Buffer
		err = node.Run(limited, provision.Cmd{Shell: command, Stdout: &out})
		return out.String(), err
	}
}

// kubectl is the cluster's kubectl and the kubeconfig that leads it there.
type kubectl struct{ program, config string }

// reachable returns a kubectl if the API server answers it: if not, nothing else need be tried.
func (g *gatherer) reachable(ctx context.Context) (k kubectl, err error) {
	if _, _, err := g.runningMachine(ctx, g.name, g.node); err != nil {
		return k, err
	}
	if k.program, k.config, err = g.Kubectl(ctx, g.name); err != nil {
		return k, err
	}
	_, err = k.run(ctx, "version")
	return k, err
}

func (k kubectl) run(ctx context.Context, args ...string) (string, error) {
	limited, cancel := context.WithTimeout(ctx, pieceLimit)
	defer cancel()
	cmd := exec.CommandContext(limited, k.program, args...)
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "KUBECONFIG=") }), "KUBECONFIG="+k.config)
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	err := cmd.Run()
	switch {
	case err == nil && out.Len() == 0: // "No resources found"
		return complaint.String(), nil
	case err == nil:
		return out.String(), nil
	case limited.Err() != nil:
		err = fmt.Errorf("no answer within %v", pieceLimit)
	case complaint.Len() > 0:
		err = errors.New(lastLines(complaint.String(), 1))
	}
	return out.String(), fmt.Errorf("kubectl %s: %w", strings.Join(args, " "), err)
}

// inKubernetes are the pieces that an API server has which answers. Secrets are not among them.
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
	}
}
