//go:build vm

package test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// TestForks is the life of two clusters from one template, which is a year old, in order: what tells them apart, and what
// they survive.
func TestForks(t *testing.T) {
	d := newForker(t)
	t.Log(d.expect(0, startLimit, "start", "-p", "one").stderr)
	part, more := d.parts(t)
	more("forks are interrupted", interruptedForks)
	began := time.Now()
	lock := filepath.Join(t.TempDir(), "lock")
	locked := d.of(t)
	locked.under = []string{"flock", lock}
	r := locked.expect(0, startLimit, "start", "-p", "two")
	if out, err := exec.Command("flock", "--nonblock", lock, "true").CombinedOutput(); err != nil {
		t.Errorf("the machine holds what the caller of its start had open: %v %s", err, out)
	}
	t.Logf("the second start took %v\n%s", time.Since(began), r.stderr)
	if !strings.Contains(r.stderr, "Forking the template") || strings.Contains(r.stderr, "Freezing") {
		t.Errorf("the second start did not just fork: %s", r.stderr)
	}
	for _, profile := range []string{"one", "two"} {
		d.eventually("status says that "+profile+" runs", startLimit, func() error { // two guests that have just been forked are busy
			if r := d.run(commandLimit, "-p", profile, "status"); r.code != 0 {
				return fmt.Errorf("exit %d\n%s%s", r.code, r.stdout, r.stderr)
			}
			return nil
		})
	}
	part("everything of an identity differs", identitiesDiffer)
	part("credentials of a sister are refused", sistersAreStrangers)
	part("nor does what a sister has issued count", sistersShareNothing)
	part("the template is old", templateIsOld)
	part("the clocks are right", clocksAreRight)
	d.only("one")
	part("pods are made and answer", func(t *testing.T, d *dory) { podsWork(t, d, "one") })
	part("it does what upstream's clusters do", func(t *testing.T, d *dory) { asUpstream(t, d, "one") })
	part("time goes on", timeGoesOn)
	part("sessions outlive the renewal", sessionsOutliveRenewal)
	part("tokens in the template's pods are renewed", systemPodsStay)
	d.only("two")
	part("so they are in the other", func(t *testing.T, d *dory) { podsWork(t, d, "two") })
	part("stop saves, start resumes", savedAndResumed)
	part("a saved machine that is damaged boots", damagedSave)
	part("a damaged template is made anew", templateDamaged)
	part("a cluster lives without its sister and its template", sisterDeleted)
}

// only lets one cluster go on and pauses the other: two guests at once make a small computer several times as slow.
func (d *dory) only(profile string) {
	d.t.Helper()
	for _, each := range []string{"one", "two"} {
		if each == profile {
			d.must(commandLimit, "unpause", "-p", each)
		} else {
			d.must(commandLimit, "pause", "-p", each)
		}
	}
}

// in runs a command in a cluster's node.
func (d *dory) in(profile, command string) string {
	d.t.Helper()
	return strings.TrimSpace(d.must(commandLimit, "-p", profile, "ssh", "--", command))
}

func (d *dory) kubectlOf(profile string, args ...string) string {
	d.t.Helper()
	return d.must(commandLimit, append([]string{"-p", profile, "kubectl", "--"}, args...)...)
}

func identitiesDiffer(t *testing.T, d *dory) {
	commands := map[string]string{
		"random numbers":      "head -c 32 /dev/urandom | base64",
		"random UUIDs":        "cat /proc/sys/kernel/random/uuid",
		"host keys":           "cat /etc/ssh/ssh_host_ed25519_key.pub",
		"machine-ids":         "cat /etc/machine-id",
		"host names":          "hostname",
		"cluster CAs":         "cat /etc/kubernetes/pki/ca.crt",
		"front-proxy CAs":     "cat /etc/kubernetes/pki/front-proxy-ca.crt",
		"account keys":        "cat /etc/kubernetes/pki/service-account.pub",
		"kubelet's keys":      "cat /etc/kubernetes/pki/kubelet-client.key",
		"login keys":          "cat /run/dory/authorized_keys",
		"CAs that pods trust": "kubectl get configmap kube-root-ca.crt -o jsonpath={.data}",
	}
	one, two := d.answers("one", commands), d.answers("two", commands)
	for what := range commands {
		if one[what] == two[what] || one[what] == "" {
			t.Errorf("%s are the same: %s", what, one[what])
		}
	}
	if got := d.in("one", "getent hosts host.minikube.internal one | tr -s ' '"); got != "10.0.2.2 host.dory.internal host.minikube.internal\n127.0.1.1 one" {
		t.Errorf("the node's names: %q", got)
	}
}

// answers runs commands in a cluster's node, in one session: each takes seconds while two guests share a small computer.
func (d *dory) answers(profile string, commands map[string]string) map[string]string {
	d.t.Helper()
	var script strings.Builder
	for what, command := range commands {
		fmt.Fprintf(&script, "echo %q; %s; echo\n", "== "+what, command)
	}
	answers := map[string]string{}
	for section := range strings.SplitSeq(d.in(profile, script.String()), "== ") {
		what, text, _ := strings.Cut(section, "\n")
		answers[what] = strings.TrimSpace(text)
	}
	return answers
}

// sistersAreStrangers tries everything that leads into one cluster on the other.
func sistersAreStrangers(t *testing.T, d *dory) {
	server := strings.TrimSpace(d.kubectlOf("two", "config", "view", "--minify", "-o", "jsonpath={.clusters[0].cluster.server}"))
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	state := filepath.Join(d.home, "state", "clusters", "one")
	own := []string{"get", "pods", "--kubeconfig", write("empty", ""), "--insecure-skip-tls-verify", "--server", server}
	for what, flags := range map[string][]string{
		"client certificate": {"--client-certificate", filepath.Join(state, "client.crt"), "--client-key", filepath.Join(state, "client.key")},
		"node's certificate": {
			"--client-certificate", write("node.crt", d.in("one", "cat /etc/kubernetes/pki/kubelet-client.crt")),
			"--client-key", write("node.key", d.in("one", "cat /etc/kubernetes/pki/kubelet-client.key"))},
		"service account's token": {"--token", strings.TrimSpace(d.kubectlOf("one", "create", "token", "default"))},
	} {
		r := d.run(commandLimit, append(append([]string{"-p", "two", "kubectl", "--"}, own...), flags...)...)
		if r.code == 0 || !strings.Contains(r.stderr, "Unauthorized") && !strings.Contains(r.stderr, "must be logged in") {
			t.Errorf("the %s of one on two: exit %d: %s %s", what, r.code, r.stdout, r.stderr)
		}
	}
	if keys, _ := filepath.Glob(filepath.Join(d.home, "cache", "templates", "*", "ssh.key")); len(keys) != 0 {
		t.Errorf("a template keeps its login key: %v", keys)
	}
	for _, profile := range []string{"one", "two"} {
		line := d.in(profile, "grep -o 'dory.key=[^ ]*' /proc/cmdline | cut -d= -f2- | base64 -d") // what the template was booted with
		if keys := strings.TrimSpace(d.in(profile, "cat /run/dory/authorized_keys")); strings.TrimSpace(line) == "" || strings.Contains(keys, strings.TrimSpace(line)) || strings.Contains(keys, "\n") {
			t.Errorf("besides its own key, %s has others, or the template's, %q:\n%s", profile, line, keys)
		}
	}
	if err := d.logIn("two", filepath.Join(state, "ssh.key")); err == nil || !strings.Contains(err.Error(), "unable to authenticate") {
		t.Errorf("the key of one lets in to two: %v", err)
	}
	if err := d.logIn("one", filepath.Join(state, "ssh.key")); err != nil {
		t.Errorf("its own key does not let in to one: %v", err)
	}
}

func (d *dory) logIn(profile, keyFile string) error {
	text, err := os.ReadFile(keyFile)
	if err != nil {
		return err
	}
	signer, err := ssh.ParsePrivateKey(text)
	if err != nil {
		return err
	}
	// "[127.0.0.1]:PORT ssh-ed25519 AAAA", as known_hosts has it
	host, _, _ := strings.Cut(d.must(commandLimit, "-p", profile, "ssh-host"), " ")
	host, port, _ := strings.Cut(strings.Trim(host, "["), "]:")
	client, err := ssh.Dial("tcp", net.JoinHostPort(host, port), &ssh.ClientConfig{User: "root", Timeout: time.Minute,
		Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)}, HostKeyCallback: ssh.InsecureIgnoreHostKey()})
	if err == nil {
		client.Close()
	}
	return err
}

func clocksAreRight(t *testing.T, d *dory) {
	clockIsRight(t, d, "one")
	clockIsRight(t, d, "two")
}

func clockIsRight(t *testing.T, d *dory, profile string) {
	if err := clockError(d, profile); err != nil {
		t.Error(err)
	}
}

// clockError compares the clock of a cluster's node with this computer's.
func clockError(d *dory, profile string) error {
	before := time.Now()
	seconds, err := strconv.ParseFloat(d.in(profile, "date +%s.%N"), 64)
	after := time.Now()
	at := time.UnixMilli(int64(seconds * 1000))
	if err != nil || at.Before(before.Add(-time.Second)) || at.After(after.Add(time.Second)) {
		return fmt.Errorf("%s's clock says %v between %v and %v (%v)", profile, at, before, after, err)
	}
	return nil
}

// image is one that every node has.
func (d *dory) image(profile string) string {
	d.t.Helper()
	return d.in(profile, `kubectl -n local-path-storage get configmap local-path-config -o jsonpath='{.data.helperPod\.yaml}' | sed -n 's/.*image: //p'`)
}

// podsWork makes a pod and lets it ask the API server, which takes a valid token and a CA that fits.
func podsWork(t *testing.T, d *dory, profile string) {
	d.kubectlOf(profile, "create", "deployment", "web", "--image="+d.image(profile), "--", "busybox", "sleep", "86400")
	d.kubectlOf(profile, "rollout", "status", "deployment/web", "--timeout=5m")
	d.kubectlOf(profile, "exec", "deploy/web", "--", "nslookup", "-type=a", "kubernetes.default.svc.cluster.local")
	ca := d.kubectlOf(profile, "exec", "deploy/web", "--", "cat", "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt")
	if strings.TrimSpace(ca) != d.in(profile, "cat /etc/kubernetes/pki/ca.crt") {
		t.Errorf("%s: a new pod is told to trust another CA than the cluster's", profile)
	}
	d.kubectlOf(profile, "logs", "deploy/web")
	// Nor does a component show the certificate that it had in the template.
	if failed := d.kubectlOf(profile, "get", "events", "-A", "--field-selector", "reason=FailedScheduling"); failed != "" {
		t.Errorf("%s: %s", profile, failed)
	}
}

// sessionsOutliveRenewal has the kubelet do what it does half a minute after a fork, while somebody looks into a pod.
func sessionsOutliveRenewal(t *testing.T, d *dory) {
	const token = "/var/run/secrets/kubernetes.io/serviceaccount/token"
	process := d.in("one", "systemctl show -P MainPID kubelet")
	script := "old=$(cat " + token + "); echo $old; for i in $(seq 60); do new=$(cat " + token + "); [ \"$new\" != \"$old\" ] && break; sleep 1; done; sleep 5; echo $new"
	session := make(chan result, 1)
	go func() {
		session <- d.run(commandLimit, "-p", "one", "kubectl", "--", "exec", "deploy/web", "--", "busybox", "sh", "-c", script)
	}()
	var r result
	for ended := false; !ended; { // asked again and again, since nothing tells when the session has begun
		select {
		case r = <-session:
			ended = true
		case <-time.After(5 * time.Second):
			d.in("one", "systemctl reload kubelet")
		}
	}
	if tokens := strings.Fields(r.stdout); r.code != 0 || len(tokens) != 2 || tokens[0] == tokens[1] {
		t.Errorf("exit %d: %s; a pod's tokens before and after: %q", r.code, r.stderr, r.stdout)
	}
	if now := d.in("one", "systemctl show -P MainPID kubelet"); now != process || now == "0" {
		t.Errorf("the kubelet was process %s and is %s", process, now)
	}
	if told, is := d.kubectlOf("one", "get", "node", "dory", "-o", "jsonpath={.status.nodeInfo.machineID}"), d.in("one", "cat /etc/machine-id"); told != is {
		t.Errorf("the kubelet tells of the machine-id %s, and it is %s", told, is)
	}
}

// systemPodsStay waits until the template's service-account key is forgotten, and then looks whether its pods got on.
func systemPodsStay(t *testing.T, d *dory) {
	d.eventually("the template's key is forgotten", 3*time.Minute, func() error {
		if r := d.run(commandLimit, "-p", "one", "ssh", "--", "test ! -e /etc/kubernetes/pki/service-account-previous.pub"); r.code != 0 {
			return errorString("it is still there")
		}
		return nil
	})
	time.Sleep(30 * time.Second) // whoever has only an old token is refused by now
	pods := d.kubectlOf("one", "get", "pods", "-A", "-o", `jsonpath={range .items[*]}{.metadata.name} {.status.containerStatuses[0].restartCount} {.status.containerStatuses[0].ready}{"\n"}{end}`)
	for line := range strings.Lines(pods) {
		if fields := strings.Fields(line); len(fields) != 3 || fields[1] != "0" || fields[2] != "true" {
			t.Errorf("pod %s", line)
		}
	}
	d.usesVolume("one") // it is made by a pod whose token the template had
	d.kubectlOf("one", "create", "deployment", "late", "--image="+d.image("one"), "--", "busybox", "sleep", "86400")
	d.kubectlOf("one", "rollout", "status", "deployment/late", "--timeout=5m")
	if refused := d.kubectlOf("one", "get", "events", "-A"); strings.Contains(refused, "Unauthorized") {
		t.Errorf("a controller went on with a token of the template: %s", refused)
	}
	d.kubectlOf("one", "exec", "deploy/web", "--", "nslookup", "-type=a", "kube-dns.kube-system.svc.cluster.local")
	d.kubectlOf("one", "wait", "node/dory", "--for=condition=Ready", "--timeout=2m")
}

// usesVolume makes a pod with a volume in a cluster, and waits for it.
func (d *dory) usesVolume(profile string) {
	d.t.Helper()
	d.pipeKubectl(profile, fmt.Sprintf(claim, "data"))
	d.must(startLimit, "-p", profile, "kubectl", "--", "wait", "pod/uses-data", "--for=condition=Ready", "--timeout=5m")
}

const claim = `apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: %[1]s}
spec:
  accessModes: [ReadWriteOnce]
  resources: {requests: {storage: 16Mi}}
---
apiVersion: v1
kind: Pod
metadata: {name: uses-%[1]s}
spec:
  containers:
    - name: main
      image: localhost/none
      command: [busybox, sh, -c, "echo kept >/data/file; sleep 86400"]
      volumeMounts: [{name: data, mountPath: /data}]
  volumes: [{name: data, persistentVolumeClaim: {claimName: %[1]s}}]
`

func (d *dory) pipeKubectl(profile, manifest string) {
	d.t.Helper()
	image := strings.TrimSpace(d.kubectlOf(profile, "get", "deployment", "web", "-o", "jsonpath={.spec.template.spec.containers[0].image}"))
	manifest = strings.ReplaceAll(manifest, "localhost/none", image)
	if r := d.pipe(commandLimit, manifest, "-p", profile, "kubectl", "--", "apply", "-f", "-"); r.code != 0 {
		d.t.Fatalf("apply: %s", r.stderr)
	}
}

const podsAndRestarts = `jsonpath={range .items[*]}{.metadata.name} {.metadata.uid} {.status.containerStatuses[0].restartCount}{"\n"}{end}`

func savedAndResumed(t *testing.T, d *dory) {
	d.usesVolume("two")
	before := d.kubectlOf("two", "get", "pods", "-A", "-o", podsAndRestarts)
	d.in("two", "echo kept >/run/only-in-memory")
	d.kubectlOf("two", "config", "set-context", "--current", "--namespace=kube-system")
	r := d.expect(0, startLimit, "stop", "-p", "two")
	t.Logf("stop took %v", r.took)
	if d.run(commandLimit, "-p", "two", "status").code != 7 {
		t.Error("a saved cluster is not called stopped")
	}
	r = d.expect(0, startLimit, "start", "-p", "two")
	t.Logf("start took %v\n%s", r.took, r.stderr)
	if d.in("two", "cat /run/only-in-memory") != "kept" {
		t.Error("it did not go on, but boot")
	}
	if namespace := d.kubectlOf("two", "config", "view", "--minify", "-o", "jsonpath={..namespace}"); namespace != "kube-system" {
		t.Errorf("the namespace that was chosen in dory's own kubeconfig is now %q", namespace)
	}
	d.kubectlOf("two", "config", "set-context", "--current", "--namespace=default")
	requestsAreSigned(t, d, "two")
	if after := d.kubectlOf("two", "get", "pods", "-A", "-o", podsAndRestarts); after != before {
		t.Errorf("pods before:\n%safter:\n%s", before, after)
	}
	clockIsRight(t, d, "two")
	d.kubectlOf("two", "exec", "uses-data", "--", "cat", "/data/file")
}

func damagedSave(t *testing.T, d *dory) {
	d.in("two", "echo kept >/root/on-disk")
	d.expect(0, startLimit, "stop", "-p", "two")
	saved, _ := filepath.Glob(filepath.Join(d.home, "state", "clusters", "two", "machine", "*"))
	var largest string
	var most int64
	for _, path := range saved {
		if info, err := os.Stat(path); err == nil && info.Size() > most && !strings.HasSuffix(path, ".img") && !strings.HasSuffix(path, ".qcow2") {
			largest, most = path, info.Size()
		}
	}
	if err := os.Truncate(largest, most/2); err != nil {
		t.Fatal(err)
	}
	r := d.expect(0, startLimit, "start", "-p", "two")
	t.Logf("damaged %s\n%s", filepath.Base(largest), r.stderr)
	if !strings.Contains(r.stderr, "boots from its disk") {
		t.Errorf("it does not say that it booted: %s", r.stderr)
	}
	if d.in("two", "cat /root/on-disk") != "kept" {
		t.Error("what was on the disk is gone")
	}
	if got := d.in("two", "hostname"); got != "two" {
		t.Errorf("after a boot it is called %s", got)
	}
}

func sisterDeleted(t *testing.T, d *dory) {
	d.must(commandLimit, "delete", "-p", "one")
	if list := d.must(commandLimit, "template", "list", "-o", "json"); strings.TrimSpace(list) != "[]" {
		t.Errorf("templates: %s", list)
	}
	d.kubectlOf("two", "wait", "node/dory", "--for=condition=Ready", "--timeout=3m")
	d.expect(0, startLimit, "stop", "-p", "two")
	d.expect(0, startLimit, "start", "-p", "two")
	d.kubectlOf("two", "wait", "node/dory", "--for=condition=Ready", "--timeout=3m")
	d.must(commandLimit, "delete", "-p", "two")
	if pids := d.processes(); len(pids) != 0 {
		t.Errorf("machines: %v", pids)
	}
}

// templateDamaged spoils the template: the next start says so and begins to make it anew, and its forks run on. What a start
// makes of each of its files when it is damaged is for the driver's own suite.
func templateDamaged(t *testing.T, d *dory) {
	frozen, _ := filepath.Glob(filepath.Join(d.home, "cache", "templates", "*", "frozen", "state*"))
	if len(frozen) != 1 {
		t.Fatalf("device states: %v", frozen)
	}
	whole, err := os.ReadFile(frozen[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(frozen[0]); err != nil { // a link to what other tests fork
		t.Fatal(err)
	}
	if err := os.WriteFile(frozen[0], whole[:1000], 0o600); err != nil {
		t.Fatal(err)
	}
	// A second boot costs minutes beside two clusters: that it begins is enough.
	step, code := d.interrupted(syscall.SIGINT, []string{"artifacts", "fork", "machine"}, "-p", "three")
	if step != "boot" || code != 2 {
		t.Errorf("with a damaged template came step %q; exit %d", step, code)
	}
	d.must(commandLimit, "delete", "-p", "three")
	if pids := d.processes(); len(pids) != 2 {
		t.Errorf("machines: %v", pids)
	}
	if left, _ := filepath.Glob(filepath.Join(d.home, "cache", "templates", "*")); len(left) != 0 {
		t.Errorf("left of the damaged template and of its making: %v", left)
	}
}
