//go:build vm

package test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// foreign is somebody else's kubeconfig: it must be there, unchanged, after everything.
const foreign = `apiVersion: v1
kind: Config
current-context: work
preferences: {}
contexts:
- context:
    cluster: work
    user: me
  name: work
clusters:
- cluster:
    server: https://127.0.0.1:1
  name: work
users:
- name: me
  user:
    token: secret
`

// TestCluster is the whole life of one cluster, in order: every part relies on what came before, since a VM costs half a
// minute under emulation. The start from nothing is the one that made the template.
func TestCluster(t *testing.T) {
	d := newForker(t)
	kubeconfig := d.kubeconfig()
	if err := os.WriteFile(kubeconfig, []byte(foreign), 0o600); err != nil {
		t.Fatal(err)
	}
	d.expect(7, commandLimit, "status")
	t.Log(d.expect(0, startLimit, "start").stderr)

	part, more := d.parts(t)
	part("node and system pods", nodeIsReady)
	part("security", isClosed)
	part("second start does nothing", secondStart)
	part("workload through DNS and from the host", workload)
	part("a pod's own users", ownUsers)
	part("volume outlives its pod", volume)
	part("exec, logs, port-forward", streams)
	more("metrics-server", metrics)
	part("dory ssh and cp", sshAndCopy)
	part("logs for a bug report", bugReport)
	part("pause", pause)
	part("clock", clock)
	part("a Node that was deleted", deletedNode)
	part("stop and start", stopAndStart)
	more("killed machine", killedMachine)
	part("hung machine", hungMachine)
	part("delete", deleteLeavesNothing)
}

func (d *dory) kubeconfig() string {
	for _, entry := range slices.Backward(d.env) { // the last counts
		if path, ok := strings.CutPrefix(entry, "KUBECONFIG="); ok {
			return path
		}
	}
	d.t.Fatal("no KUBECONFIG")
	return ""
}

func nodeIsReady(t *testing.T, d *dory) {
	node := d.kubectl("get", "node", "-o", `jsonpath={range .items[*]}{.metadata.name} {.status.conditions[?(@.type=="Ready")].status} {.status.nodeInfo.kubeletVersion} {.status.nodeInfo.containerRuntimeVersion}{end}`)
	if !strings.HasPrefix(node, "dory True v1.37.2 containerd://2.4.") {
		t.Errorf("the node says %q", node)
	}
	if role := d.kubectl("get", "node", "dory", "-o", "jsonpath={.metadata.labels}"); !strings.Contains(role, "node-role.kubernetes.io/control-plane") {
		t.Errorf("labels: %s", role)
	}
	for _, deployment := range []string{"kube-system/coredns", "local-path-storage/local-path-provisioner"} {
		namespace, name, _ := strings.Cut(deployment, "/")
		d.kubectl("-n", namespace, "rollout", "status", "deployment/"+name, "--timeout=5m")
	}
	if ip := d.kubectl("-n", "kube-system", "get", "service", "kube-dns", "-o", "jsonpath={.spec.clusterIP}"); ip != "10.96.0.10" {
		t.Errorf("kube-dns has %s", ip)
	}
	if class := d.kubectl("get", "storageclass"); !strings.Contains(class, "(default)") {
		t.Errorf("no default storage class: %s", class)
	}
	version := d.kubectl("version")
	if strings.Count(version, "v1.37.2") != 2 {
		t.Errorf("versions: %s", version)
	}
}

// isClosed looks at what a stranger gets: nothing but the API server's health and version.
func isClosed(t *testing.T, d *dory) {
	for path, want := range map[string]int{"/readyz": 200, "/version": 200, "/api/v1/nodes": 403, "/openid/v1/jwks": 403} {
		if code, body := ask(t, d.server()+path); code != want {
			t.Errorf("%s answers a stranger with %d: %s", path, code, body)
		}
	}
	d.expect(0, commandLimit, "ssh", "--", "test $(stat -c %a /etc/kubernetes/pki/apiserver.key) = 600 && test ! -e /etc/kubernetes/pki/ca.key")
	filepath.WalkDir(filepath.Join(d.home, "state"), func(path string, entry os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return nil
		}
		if entry.IsDir() && info.Mode().Perm() != 0o700 {
			t.Errorf("the directory %s has mode %v", path, info.Mode())
		}
		if strings.HasSuffix(path, ".key") && info.Mode().Perm() != 0o600 {
			t.Errorf("the key %s has mode %v", path, info.Mode())
		}
		return nil
	})
}

func (d *dory) server() string {
	return d.kubectl("config", "view", "--minify", "-o", "jsonpath={.clusters[0].cluster.server}")
}

func secondStart(t *testing.T, d *dory) {
	before := d.processes()
	d.expect(0, commandLimit, "start")
	if after := d.processes(); fmt.Sprint(before) != fmt.Sprint(after) || len(after) != 1 {
		t.Errorf("processes before %v, after %v", before, after)
	}
	status := d.must(commandLimit, "status")
	for _, line := range []string{"type: Control Plane", "host: Running", "kubelet: Running", "apiserver: Running", "kubeconfig: Configured"} {
		if !strings.Contains(status, line) {
			t.Errorf("status lacks %q:\n%s", line, status)
		}
	}
	var fields struct{ Name, Host, Kubelet, APIServer, Kubeconfig string }
	if err := json.Unmarshal([]byte(d.must(commandLimit, "status", "-o", "json")), &fields); err != nil || fields.Host != "Running" || fields.APIServer != "Running" {
		t.Errorf("status in JSON: %+v, %v", fields, err)
	}
}

const workloadManifest = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
        - name: web
          image: dory.test/busybox:1
          imagePullPolicy: Never
          command: [sh, -c, "mkdir -p /tmp/www && echo hello from $HOSTNAME >/tmp/www/index.html && echo serving && exec httpd -f -p 8080 -h /tmp/www"]
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  type: NodePort
  selector: {app: web}
  ports: [{port: 80, targetPort: 8080, nodePort: 30080}]
---
apiVersion: v1
kind: Pod
metadata: {name: client}
spec:
  containers:
    - {name: client, image: "dory.test/busybox:1", imagePullPolicy: Never, command: [sleep, "1000000"]}
`

func workload(t *testing.T, d *dory) {
	d.importImage()
	d.apply(workloadManifest)
	d.kubectl("rollout", "status", "deployment/web", "--timeout=5m")
	d.kubectl("wait", "pod/client", "--for=condition=Ready", "--timeout=5m")
	d.eventually("the Service answers by its name", 2*time.Minute, d.webAnswers)
	node, host := d.addresses()
	if out := d.kubectl("exec", "client", "--", "nslookup", "-type=a", "host.dory.internal"); !strings.Contains(out, host+"\n") {
		t.Errorf("host.dory.internal: %s", out)
	}
	d.eventually("the Service answers at its node port", time.Minute, func() error {
		if out := d.must(commandLimit, "ssh", "--", "busybox wget -q -O- http://"+node+":30080/"); !strings.HasPrefix(out, "hello from web-") {
			return errors.New(out)
		}
		return nil
	})
}

// addresses are the node's, and this computer's as the node sees it: QEMU's user-mode network has them fixed, libvirt's has this
// computer at the first.
func (d *dory) addresses() (node, host string) {
	d.t.Helper()
	node = d.kubectl("get", "node", "dory", "-o", `jsonpath={.status.addresses[?(@.type=="InternalIP")].address}`)
	if node == "10.0.2.15" {
		return node, "10.0.2.2"
	}
	return node, node[:strings.LastIndexByte(node, '.')+1] + "1"
}

// webAnswers looks the Service up by its name and reads from the address that it got. Not with wget: Debian's static busybox
// crashes wherever its glibc wants the name service, which is not in the image.
func (d *dory) webAnswers() error {
	const script = `address=$(nslookup -type=a web.default.svc.cluster.local | sed -n '/^Name/,$ s/^Address: *//p') && printf 'GET / HTTP/1.0\r\n\r\n' | nc -w 5 $address 80`
	r := d.run(commandLimit, "kubectl", "--", "exec", "client", "--", "sh", "-c", script)
	if r.code != 0 || !strings.Contains(r.stdout, "hello from web-") {
		return fmt.Errorf("%q %s", r.stdout, r.stderr)
	}
	return nil
}

const volumeManifest = `
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data}
spec:
  accessModes: [ReadWriteOnce]
  resources: {requests: {storage: 64Mi}}
---
apiVersion: v1
kind: Pod
metadata: {name: keeper}
spec:
  containers:
    - name: keeper
      image: dory.test/busybox:1
      imagePullPolicy: Never
      command: [sh, -c, "test -e /data/word || echo $(cat /proc/sys/kernel/random/uuid) >/data/word; sync; exec sleep 1000000"]
      volumeMounts: [{name: data, mountPath: /data}]
  volumes:
    - name: data
      persistentVolumeClaim: {claimName: data}
`

// word is what the volume holds: written once, by the first pod.
func (d *dory) word() string {
	d.t.Helper()
	d.kubectl("wait", "pod/keeper", "--for=condition=Ready", "--timeout=5m")
	var word string
	d.eventually("the volume can be read", 2*time.Minute, func() error {
		r := d.run(commandLimit, "kubectl", "--", "exec", "keeper", "--", "cat", "/data/word")
		word = strings.TrimSpace(r.stdout)
		if r.code != 0 || len(word) != 36 {
			return fmt.Errorf("%q %s", r.stdout, r.stderr)
		}
		return nil
	})
	return word
}

func volume(t *testing.T, d *dory) {
	d.apply(volumeManifest)
	before := d.word()
	d.kubectl("delete", "pod", "keeper", "--grace-period=1")
	d.apply(volumeManifest)
	if after := d.word(); after != before {
		t.Errorf("the volume held %s and holds %s", before, after)
	}
	rememberedWord(t, d, before)
}

// rememberedWord keeps the volume's word for the later parts of the test, beside the home.
func rememberedWord(t *testing.T, d *dory, word string) {
	if err := os.WriteFile(filepath.Join(filepath.Dir(d.home), "word"), []byte(word), 0o600); err != nil {
		t.Fatal(err)
	}
}

// everythingIsBack is what must hold whenever the machine has been off.
func (d *dory) everythingIsBack() {
	d.t.Helper()
	want, err := os.ReadFile(filepath.Join(filepath.Dir(d.home), "word"))
	if err != nil {
		d.t.Fatal(err)
	}
	d.kubectl("wait", "pod/client", "--for=condition=Ready", "--timeout=5m")
	d.kubectl("rollout", "status", "deployment/web", "--timeout=5m")
	d.eventually("the Service answers by its name", 5*time.Minute, d.webAnswers)
	if word := d.word(); word != string(want) {
		d.t.Errorf("the volume held %s and holds %s", want, word)
	}
}

func streams(t *testing.T, d *dory) {
	if r := d.pipe(commandLimit, "through the wire", "kubectl", "--", "exec", "-i", "client", "--", "tr", "a-z", "A-Z"); r.stdout != "THROUGH THE WIRE" {
		t.Errorf("exec: %q %s", r.stdout, r.stderr)
	}
	if out := d.kubectl("logs", "deployment/web"); !strings.Contains(out, "serving") {
		t.Errorf("logs: %q", out)
	}
	ctx := t.Context()
	forward := d.command(ctx, "kubectl", "--", "port-forward", "service/web", "--address=127.0.0.1", ":80")
	out, err := forward.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := forward.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { forward.Process.Signal(syscall.SIGTERM); forward.Wait() }()
	var port int
	if _, err := fmt.Fscanf(out, "Forwarding from 127.0.0.1:%d", &port); err != nil {
		t.Fatalf("port-forward: %v", err)
	}
	response, err := (&http.Client{Timeout: time.Minute}).Get(fmt.Sprintf("http://127.0.0.1:%d/", port))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if body, err := io.ReadAll(response.Body); err != nil || !strings.HasPrefix(string(body), "hello from web-") {
		t.Errorf("port-forward: %q, %v", body, err)
	}
}

func metrics(t *testing.T, d *dory) {
	d.expect(0, startLimit, "start", "--addons", "metrics-server")
	d.kubectl("-n", "kube-system", "rollout", "status", "deployment/metrics-server", "--timeout=5m")
	d.eventually("kubectl top shows the node", 5*time.Minute, func() error {
		r := d.run(commandLimit, "kubectl", "--", "top", "node", "dory", "--no-headers")
		if r.code != 0 || !strings.HasPrefix(r.stdout, "dory") {
			return errors.New(r.stdout + r.stderr)
		}
		return nil
	})
}

// deletedNode: people do it. A kubelet registers only when it starts, and 'start' sees to that at once.
func deletedNode(t *testing.T, d *dory) {
	d.kubectl("delete", "node", "dory")
	if r := d.expect(0, startLimit, "start"); !strings.Contains(r.stderr, "registers it again") {
		t.Errorf("nothing was said of the Node: %s", r.stderr)
	}
	nodeIsReady(t, d)
}

func sshAndCopy(t *testing.T, d *dory) {
	if r := d.pipe(commandLimit, "in", "ssh", "--", "cat; echo err >&2; exit 3"); r.code != 3 || r.stdout != "in" || !strings.Contains(r.stderr, "err") {
		t.Errorf("ssh: exit %d, %q, %q", r.code, r.stdout, r.stderr)
	}
	source := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(source, []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	d.must(commandLimit, "cp", source, "/root/file")
	if out := d.must(commandLimit, "ssh", "--", "cat /root/file"); out != "content" {
		t.Errorf("cp: %q", out)
	}
	tree := t.TempDir()
	for _, name := range []string{"a", "deep/b"} {
		if err := errors.Join(os.MkdirAll(filepath.Dir(filepath.Join(tree, name)), 0o755), os.WriteFile(filepath.Join(tree, name), []byte(name), 0o640)); err != nil {
			t.Fatal(err)
		}
	}
	d.must(commandLimit, "cp", source, "/root")
	d.must(commandLimit, "cp", "-r", tree, "/root/tree")
	d.must(commandLimit, "cp", "-r", "dory:/root/tree", filepath.Join(tree, "back"))
	if r := d.pipe(commandLimit, "piped", "cp", "-", "/root/tree/piped"); r.code != 0 {
		t.Errorf("cp of the standard input: %s", r.stderr)
	}
	if out := d.must(commandLimit, "ssh", "--", "cd /root/tree && stat -c '%a %n' deep/b && cat a deep/b piped"); out != "640 deep/b\nadeep/bpiped" {
		t.Errorf("cp -r: %q", out)
	}
	if back, err := os.ReadFile(filepath.Join(tree, "back", "deep", "b")); string(back) != "deep/b" {
		t.Errorf("cp -r back: %q, %v", back, err)
	}
	if r := d.run(commandLimit, "cp", source, "/nowhere/file"); r.code != 15 || !strings.Contains(r.stderr, "/nowhere") {
		t.Errorf("cp into a directory that is not there: exit %d\n%s", r.code, r.stderr)
	}
	if out := d.must(commandLimit, "ssh", "--", "kubectl get node -o name"); strings.TrimSpace(out) != "node/dory" {
		t.Errorf("kubectl on the node: %q", out)
	}
	containers := d.run(commandLimit, "ssh", "--", "crictl ps")
	if running := regexp.MustCompile(`(?m) Running +coredns .* kube-system *$`); containers.code != 0 || !running.MatchString(containers.stdout) || containers.stderr != "" {
		t.Errorf("crictl, as it comes, lists what runs and warns of nothing: exit %d\n%s%s", containers.code, containers.stdout, containers.stderr)
	}
	if out := d.must(commandLimit, "logs", "-n", "5"); strings.TrimSpace(out) == "" {
		t.Error("dory logs is empty")
	}
	if ip := strings.TrimSpace(d.must(commandLimit, "ip")); ip == "" {
		t.Error("dory ip is empty")
	}
}
