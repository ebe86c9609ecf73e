package main

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

// kubectl is the program as a user has it: a process on this computer, with a kubeconfig.
type kubectl struct {
	program, kubeconfig, context string
	image                        string // one with a shell that is on the node
}

func (k kubectl) run(ctx context.Context, stdin string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, k.program, args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+k.kubeconfig)
	if k.context != "" {
		cmd.Args = append(cmd.Args[:1:1], append([]string{"--context", k.context}, args...)...)
	}
	out, err := output(cmd, stdin)
	if err != nil {
		return "", fmt.Errorf("kubectl %s: %w", strings.Join(args, " "), err)
	}
	return out, nil
}

//go:embed app.yaml
var appManifest string

// Shell commands in the app's pod.
const (
	askApp = `printf 'GET / HTTP/1.0\r\n\r\n' | busybox nc -w 5 127.0.0.1 8080`
	askDNS = `until busybox nslookup -type=a kubernetes.default.svc.cluster.local >/dev/null 2>&1; do sleep 0.2; done`
)

// phaseLimit is more than any phase takes.
const phaseLimit = 10 * time.Minute

// phases are those that time-to-k8s adds up (github.com/tstromberg/time-to-k8s, which minikube publishes figures of), after
// its first, the command that makes the cluster; took is how long that was.
func (k kubectl) phases(ctx context.Context, s *section, took time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, phaseLimit)
	defer cancel()
	s.add("phase 1: command", "s", took.Seconds())
	began := time.Now()
	for _, phase := range []struct {
		name string
		do   func() error
	}{
		{"phase 2: kubectl get po -A", k.runs(ctx, "get", "po", "-A")},
		{"phase 3: kubectl get svc kubernetes", k.runs(ctx, "get", "svc", "kubernetes")},
		{"phase 4: kubectl get svc kube-dns", k.runs(ctx, "get", "svc", "kube-dns", "-n", "kube-system")},
		{"phase 5: a deployed app answers", func() error { return k.app(ctx) }},
		{"phase 6: DNS answers in it", k.runs(ctx, "exec", "deploy/app", "--", "busybox", "sh", "-c", askDNS)},
	} {
		start := time.Now()
		if err := phase.do(); err != nil {
			return err
		}
		s.since(phase.name, start)
	}
	s.add(rowPhases, "s", (took + time.Since(began)).Seconds())
	return nil
}

func (k kubectl) runs(ctx context.Context, args ...string) func() error {
	return func() error {
		_, err := k.run(ctx, "", args...)
		return err
	}
}

// app deploys a web server, waits for its pod and asks it.
func (k kubectl) app(ctx context.Context) error {
	if _, err := k.run(ctx, strings.Replace(appManifest, "IMAGE", k.image, 1), "apply", "-f", "-"); err != nil {
		return err
	}
	if _, err := k.run(ctx, "", "rollout", "status", "deployment/app"); err != nil {
		return err
	}
	answer, err := k.run(ctx, "", "exec", "deploy/app", "--", "busybox", "sh", "-c", askApp)
	if err == nil && !strings.Contains(answer, "hello") {
		err = fmt.Errorf("the app answers %q", answer)
	}
	return err
}

// becameReady asks the API when the first of some objects became Ready. Kubernetes keeps whole seconds: it is up to one too
// early.
func (k kubectl) becameReady(ctx context.Context, query ...string) (time.Time, error) {
	out, err := k.run(ctx, "", append(query, "-o",
		`jsonpath={range .items[*]}{.status.conditions[?(@.type=="Ready")].lastTransitionTime}{"\n"}{end}`)...)
	if err != nil {
		return time.Time{}, err
	}
	return earliest(out)
}

// earliest of times in RFC 3339, one a line.
func earliest(text string) (first time.Time, err error) {
	for word := range strings.FieldsSeq(text) {
		at, err := time.Parse(time.RFC3339, word)
		if err != nil {
			return first, err
		}
		if first.IsZero() || at.Before(first) {
			first = at
		}
	}
	if first.IsZero() {
		return first, fmt.Errorf("nothing has become ready: %q", text)
	}
	return first, nil
}

// Milestones that the cold start and the baseline have in common, counted from the SSH banner on.
const (
	rowSSH     = "boot: until SSH answers"
	rowNode    = "from SSH on: node Ready (±1 s)"
	rowCoreDNS = "from SSH on: CoreDNS Ready (±1 s)"
	rowDNS     = "from SSH on: DNS answers in a new pod"
	rowPhases  = "six phases, in all"
)

// transitions adds when node and CoreDNS became Ready, counted from banner.
func (k kubectl) transitions(ctx context.Context, s *section, banner time.Time) error {
	for _, of := range []struct {
		name  string
		query []string
	}{
		{rowNode, []string{"get", "nodes"}},
		{rowCoreDNS, []string{"-n", "kube-system", "get", "pods", "-l", "k8s-app=kube-dns"}},
	} {
		at, err := k.becameReady(ctx, of.query...)
		if err != nil {
			return err
		}
		s.add(of.name, "s", at.Sub(banner).Seconds())
	}
	return nil
}
