package provision

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/dorykube/dory/internal/fail"
	"github.com/dorykube/dory/internal/kube"
	"github.com/dorykube/dory/internal/progress"
	"github.com/dorykube/dory/provision/pki"
	"golang.org/x/sync/errgroup"
)

// Target is the machine that becomes a node.
type Target struct {
	Runner
	API string // host:port where the node's API server can be reached from this computer
}

// node is one run of the steps.
type node struct {
	Target
	settings  Settings
	authority *pki.Authority
	wait      []string
	timeout   time.Duration
	api       *kube.Cluster
	same      bool // the node had all of its files already: its components may have run for long
	changed   bool // the node had files already, and has others now; from the end of the step "files" on
}

// step is one row of the table below. It begins when the steps that it needs have ended.
type step struct {
	name, title string
	needs       []string
	do          func(*node, context.Context) (result string, err error)
}

// steps make a machine a node. Each looks first and does nothing where nothing is to be done. Almost everything is bound by
// the processor, so nothing starts before it can get on: who talks to the API server needs one whose RBAC rules are there.
// The kubelet has work of its own before, and the API server leaves it a processor until it listens.
var steps = []step{
	{"files", "Putting files and keys onto the node", nil, (*node).putFiles},
	{"etcd", "Starting etcd", []string{"files"}, startUnits("etcd")},
	{"runtime", "Starting containerd", []string{"files"}, startUnits("containerd")},
	{"apiserver", "Starting the API server", []string{"etcd"}, startUnits("kube-apiserver")},
	{"kubelet", "Starting the kubelet", []string{"runtime"}, startUnits("kubelet")},
	{"readyz", "Waiting for the API server", []string{"apiserver"}, (*node).awaitAPIServer},
	{"controllers", "Starting controllers, scheduler and proxy", []string{"readyz"},
		startUnits("kube-controller-manager", "kube-scheduler", "kube-proxy")},
	{"manifests", "Installing DNS and storage", []string{"readyz"}, (*node).apply},
	{"node", "Waiting for the node to register", []string{"kubelet", "readyz"}, (*node).labelNode},
	{"ready", "Waiting until everything is ready", []string{"manifests", "controllers", "node"}, (*node).awaitConditions},
}

// Node makes the machine a node with these settings, trusted by this authority, and waits until the named conditions
// hold (see kube.ParseWait), for timeout at the longest. On a node that is as it should be, it only waits.
func Node(ctx context.Context, t Target, s Settings, a *pki.Authority, wait []string, timeout time.Duration) error {
	ca, cert, key, err := a.AdminKubeconfigAuth()
	if err != nil {
		return err
	}
	api, err := kube.Client(ca, cert, key, "https://"+t.API)
	if err != nil {
		return err
	}
	n := &node{Target: t, settings: s, authority: a, wait: wait, timeout: timeout, api: api}
	return n.run(ctx)
}

// run runs the table: a goroutine for each step, started by the end of those it needs.
func (n *node) run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	done := map[string]chan struct{}{}
	for _, s := range steps {
		done[s.name] = make(chan struct{})
	}
	group, ctx := errgroup.WithContext(ctx)
	go n.guard(ctx, done["files"], cancel)
	for _, s := range steps {
		group.Go(func() error {
			for _, need := range s.needs {
				select {
				case <-done[need]:
				case <-ctx.Done():
					return ctx.Err()
				}
			}
			err := progress.Do(ctx, progress.Step{Name: s.name, Title: s.title}, func(ctx context.Context) (string, error) {
				return s.do(n, ctx)
			})
			if err == nil {
				close(done[s.name])
			}
			return err
		})
	}
	err := group.Wait()
	// A component that guard has seen failing is the reason, whatever else was cut short by it.
	if reason := (*fail.Error)(nil); errors.As(context.Cause(ctx), &reason) {
		return reason
	}
	return err
}

// putFiles installs the files, as long as the user is willing to wait.
func (n *node) putFiles(ctx context.Context) (result string, err error) {
	err = inTime(ctx, n.timeout, fail.GuestSSH, "put files onto the node", func(ctx context.Context) error {
		result, err = n.install(ctx)
		return err
	})
	return result, err
}

// install installs everything in one stream, unless the node has it already, and mounts the bundle.
func (n *node) install(ctx context.Context) (string, error) {
	static, err := staticFiles(n.settings)
	if err != nil {
		return "", err
	}
	secrets, err := secretFiles(n.settings, n.authority)
	if err != nil {
		return "", err
	}
	stamp, err := filesStamp(n.settings, n.authority)
	if err != nil {
		return "", err
	}
	has, due, err := n.installed(ctx)
	if err != nil {
		return "", err
	}
	n.same = has == stamp && !due
	if n.same {
		return "unchanged", command(ctx, n, "mount the bundle", startScript("dory-bundle"))
	}
	files, links := append(static, secrets...), append(unitLinks(static, n.settings.Borrowed), toolLinks()...)
	tar, err := archive(files, links)
	if err != nil {
		return "", err
	}
	script := fmt.Sprintf(installScript, stampFile, stamp)
	if n.settings.Borrowed {
		script = listScript(files, links) + script
	}
	if err := n.Run(ctx, Cmd{Shell: script, Stdin: bytes.NewReader(tar)}); err != nil {
		return "", guestError(fail.GuestCommand, err, "put files onto the node")
	}
	n.changed = has != ""
	switch has {
	case "":
		return "", nil
	case stamp:
		return "certificates renewed", nil
	}
	return "changed", nil
}

// stampFile says on the node which files it has.
const stampFile = "/var/lib/dory/files.stamp"

// installed asks the node for the stamp of the files that it has, empty for none, and whether its certificates are due.
func (n *node) installed(ctx context.Context) (stamp string, due bool, err error) {
	var out bytes.Buffer
	if err := n.Run(ctx, Cmd{Shell: "cat " + stampFile + " " + pkiDir + "*.crt 2>/dev/null || true", Stdout: &out}); err != nil {
		return "", false, guestError(fail.GuestCommand, err, "look which files the node has")
	}
	first, certs, _ := strings.Cut(out.String(), "\n")
	return first, pki.Due([]byte(certs), time.Now()), nil
}

// filesStamp names what is installed, and the bundle's version that it runs with. Certificates are new each time; what they
// hang on is not.
func filesStamp(s Settings, a *pki.Authority) (string, error) {
	static, err := staticFiles(s)
	if err != nil {
		return "", err
	}
	identity := file{path: "identity", content: append(a.TrustedPEM(), a.FrontProxy.CertPEM()...)}
	names := file{path: "names", content: fmt.Append(nil, apiServerLeaf(s))}
	version := file{path: "version", content: []byte(s.KubernetesVersion)}
	return digest(append(static, identity, names, version)), nil
}

// installScript unpacks standard input. The stamp is written last, so that an install which was cut short is done again.
// Units that were never loaded need no daemon-reload, which costs a second in an emulated guest. What a fork's renewal does
// half a minute later must not come in between: a start of the kubelet cancels that its bundle is stopped.
const installScript = `set -e
mkdir -p /var/lib/dory
stamp=%s
again=; if [ -e $stamp ]; then again=yes; rm $stamp; fi
tar -x --no-same-owner -C /
if [ $again ]; then
    systemctl daemon-reload
    systemctl stop dory-renewal
    systemctl stop kubelet kube-proxy kube-scheduler kube-controller-manager kube-apiserver etcd containerd dory-bundle
fi
systemctl start dory-bundle
if [ $again ]; then systemctl start --no-block dory-renewal; fi
sync -f $(dirname $stamp)
echo %s >$stamp
`

// startScript starts systemd units. One that does not come up is a failure with its journal as evidence.
func startScript(units ...string) string {
	return fmt.Sprintf("systemctl start %s || { code=$?; for u in %[1]s; do systemctl is-active -q $u || journalctl -u $u -n 30 --no-pager -o cat >&2; done; exit $code; }", strings.Join(units, " "))
}

// startUnits starts systemd units, as long as the user is willing to wait: systemd itself is patient.
func startUnits(units ...string) func(*node, context.Context) (string, error) {
	return func(n *node, ctx context.Context) (string, error) {
		err := inTime(ctx, n.timeout, fail.ControlPlaneWait, "start "+strings.Join(units, ", "), func(ctx context.Context) error {
			return n.Run(ctx, Cmd{Shell: startScript(units...)})
		})
		switch {
		case err == nil:
			return "", nil
		case fail.Is(err, fail.ControlPlaneWait):
			return "", fail.As(err).WithEvidence(n.journal(ctx, units))
		}
		return "", guestError(fail.ControlPlaneFailed, err, "start %s on the node", strings.Join(units, ", "))
	}
}

// journalLimit is how long the evidence may take of a machine that may hang altogether.
const journalLimit = 10 * time.Second

// journal is the end of what units wrote, or empty.
func (n *node) journal(ctx context.Context, units []string) string {
	ctx, cancel := context.WithTimeout(ctx, journalLimit)
	defer cancel()
	var text bytes.Buffer
	if err := n.Run(ctx, Cmd{Shell: "journalctl -n 30 --no-pager -o cat -u " + strings.Join(units, " -u "), Stdout: &text}); err != nil {
		return ""
	}
	return strings.TrimSpace(text.String())
}

// An API server that is not ready after so long is looked at, and hangs if it does not even show its certificate in time: it
// has told systemd that it listens, and under emulation on a busy computer that takes seconds.
const (
	hangsAfter       = time.Minute
	certificateLimit = 30 * time.Second
)

// awaitAPIServer waits for the health that comes long after listening: every API is there, and so are RBAC's own rules.
func (n *node) awaitAPIServer(ctx context.Context) (string, error) {
	return n.settings.KubernetesVersion, n.within(ctx, func(ctx context.Context) error {
		soon, cancel := context.WithTimeout(ctx, hangsAfter)
		defer cancel()
		if err := n.api.WaitReady(soon); err == nil || ctx.Err() != nil {
			return err
		}
		if err := n.endHungAPIServer(ctx); err != nil {
			return err
		}
		return n.api.WaitReady(ctx)
	})
}

// endHungAPIServer ends an API server that answers nothing, and starts another. (The kubelet has systemd's watchdog.) What has
// waited for it meanwhile stops too, and is started by the steps that follow: all at once kept an emulated one from getting up.
func (n *node) endHungAPIServer(ctx context.Context) error {
	soon, cancel := context.WithTimeout(ctx, certificateLimit)
	defer cancel()
	if _, err := n.api.Certificate(soon); err == nil || soon.Err() == nil || ctx.Err() != nil {
		return ctx.Err()
	}
	progress.From(ctx).Warn("the API server listens and answers nothing: it is ended, and starts again")
	return command(ctx, n, "end the API server", "systemctl stop kube-controller-manager kube-scheduler kube-proxy; systemctl kill -s KILL kube-apiserver; systemctl restart kube-apiserver")
}

func (n *node) apply(ctx context.Context) (string, error) {
	docs, err := manifestTexts(n.settings)
	if err != nil {
		return "", err
	}
	const doing = "install what runs in the cluster"
	err = inTime(ctx, n.timeout, fail.ControlPlaneWait, doing, func(ctx context.Context) error {
		group, ctx := errgroup.WithContext(ctx)
		for _, doc := range docs {
			group.Go(func() error { return n.api.Apply(ctx, doc) })
		}
		return group.Wait()
	})
	if err != nil && !fail.Is(err, fail.ControlPlaneWait) {
		err = fail.Wrap(fail.ControlPlaneFailed, err, doing)
	}
	return strings.Join(n.settings.Addons, ", "), err
}

// labelNode gives the node its role, which a kubelet may not give itself. The kubelet must have registered before: a Node
// that somebody else made is told that it is Ready ten seconds later.
func (n *node) labelNode(ctx context.Context) (string, error) {
	doc, err := render(nodeManifest, "node.yaml", n.settings)
	if err != nil {
		return "", err
	}
	return n.settings.NodeName, n.within(ctx, func(ctx context.Context) error {
		if err := n.registerAgain(ctx); err != nil {
			return err
		}
		if err := n.api.WaitNode(ctx, n.settings.NodeName); err != nil {
			return err
		}
		return n.api.Apply(ctx, doc)
	})
}

// registerAgain starts a kubelet anew whose Node somebody has deleted: it registers only when it starts.
func (n *node) registerAgain(ctx context.Context) error {
	if !n.same {
		return nil // it has just been started
	}
	there, err := n.api.HasNode(ctx, n.settings.NodeName)
	if err != nil || there {
		return err
	}
	progress.From(ctx).Info("the Node " + n.settings.NodeName + " is gone: its kubelet registers it again")
	return command(ctx, n, "start the kubelet anew", "systemctl restart kubelet")
}

func (n *node) awaitConditions(ctx context.Context) (string, error) {
	if n.changed {
		if err := command(ctx, n, "wait for the components", programs+"/steady"); err != nil {
			return "", err
		}
	}
	return "", n.within(ctx, func(ctx context.Context) error { return n.api.Wait(ctx, n.wait) })
}

// within waits for something for the user's time limit, and on as long as the cluster moves.
func (n *node) within(ctx context.Context, wait func(context.Context) error) error {
	return patiently(ctx, n.timeout, n.api.Pulse, wait)
}

// guard watches the units for as long as the steps run, and ends them all when one keeps failing: a wrong flag is then
// known after seconds, with the component's own words, and not after the time limit.
func (n *node) guard(ctx context.Context, begin <-chan struct{}, cancel context.CancelCauseFunc) {
	select {
	case <-begin:
	case <-ctx.Done():
		return
	}
	err := n.Run(ctx, Cmd{Shell: programs + "/guard"})
	if exit := (*ExitError)(nil); errors.As(err, &exit) {
		cancel(guestError(fail.ControlPlaneFailed, err, "a component keeps failing"))
	}
}

// commandLimit is far more than a script takes that waits for nothing, on an emulated node of a busy computer.
const commandLimit = 6 * time.Minute

// command runs a script on a node.
func command(ctx context.Context, r Runner, doing, script string) error {
	err := inTime(ctx, commandLimit, fail.GuestSSH, doing, func(ctx context.Context) error {
		return r.Run(ctx, Cmd{Shell: script})
	})
	if err != nil && !fail.Is(err, fail.GuestSSH) {
		err = guestError(fail.GuestCommand, err, "%s", doing)
	}
	return err
}

// inTime does something that a machine which hangs would never end. That its time is over is a failure of the given kind.
func inTime(ctx context.Context, limit time.Duration, kind fail.Kind, doing string, do func(context.Context) error) error {
	inner, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	err := do(inner)
	if err != nil && inner.Err() != nil && ctx.Err() == nil {
		return fail.Wrap(kind, err, "%s within %s", doing, limit)
	}
	return err
}

// guestError makes a failed command a failure whose evidence is what the command said.
func guestError(kind fail.Kind, err error, format string, args ...any) error {
	failure := fail.Wrap(kind, err, format, args...)
	if exit := (*ExitError)(nil); errors.As(err, &exit) {
		failure = fail.New(kind, format, args...).WithEvidence(strings.TrimSpace(exit.Stderr))
	}
	return failure
}
