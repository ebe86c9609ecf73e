package provision

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"io/fs"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dorykube/dory/internal/fail"
	"github.com/dorykube/dory/provision/pki"
	"sigs.k8s.io/yaml"
)

func settings() Settings {
	return Settings{
		NodeName: "dory", NodeIP: "10.0.2.15", HostIP: "10.0.2.2", KubernetesVersion: "v1.37.2",
		Images: map[string]string{"coredns": "registry.k8s.io/coredns/coredns:v1.15.0", "pause": "registry.k8s.io/pause:3.10.1",
			"busybox": "docker.io/library/busybox:1", "local-path-provisioner": "docker.io/rancher/local-path-provisioner:v0.0.30",
			"metrics-server": "registry.k8s.io/metrics-server/metrics-server:v0.9.0"},
		APIServerPort: 6443, PodCIDR: "10.244.0.0/16", ServiceCIDR: "10.96.0.0/12", DNSDomain: "cluster.local",
	}
}

func find(t *testing.T, files []file, path string) file {
	t.Helper()
	i := slices.IndexFunc(files, func(f file) bool { return f.path == path })
	if i < 0 {
		t.Fatalf("there is no %s", path)
	}
	return files[i]
}

// A user's flag comes last: of two with the same name, that one counts.
func TestExtraFlagsReachTheirUnitOnly(t *testing.T) {
	s := settings()
	s.ExtraConfig = []string{"apiserver.event-ttl=2h", `kubelet.node-labels=a=b c$d%e"f`}
	files, err := staticFiles(s)
	if err != nil {
		t.Fatal(err)
	}
	api := string(find(t, files, "/etc/systemd/system/kube-apiserver.service").content)
	kubelet := string(find(t, files, "/etc/systemd/system/kubelet.service").content)
	if !strings.Contains(api, "--v=0 \\\n    \"--event-ttl=2h\"\nRestart=") || strings.Contains(kubelet, "event-ttl") {
		t.Errorf("event-ttl is not where it belongs:\n%s\n%s", api, kubelet)
	}
	if want := `"--node-labels=a=b c$$d%%e\"f"`; !strings.Contains(kubelet, want) {
		t.Errorf("no %s in\n%s", want, kubelet)
	}
}

// A continued command line that has a comment or an empty line in it, or ends in a backslash, is cut short by systemd.
func TestUnitsAreWellFormed(t *testing.T) {
	s := settings()
	s.Ephemeral, s.FeatureGates, s.ExtraConfig = true, "A=true", []string{"etcd.quota-backend-bytes=1"}
	for _, s := range []Settings{settings(), s} {
		files, err := staticFiles(s)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			if !strings.HasSuffix(f.path, ".service") {
				continue
			}
			lines := strings.Split(string(f.content), "\n")
			for i, line := range lines {
				if strings.Contains(line, "{{") || strings.HasSuffix(line, `\`) && (lines[i+1] == "" || strings.Contains(lines[i+1], "#") || !strings.HasPrefix(lines[i+1], "    ")) {
					t.Errorf("%s line %d: %q", f.path, i+1, line)
				}
			}
		}
	}
}

func TestManifestsAreObjects(t *testing.T) {
	s := settings()
	s.Addons = []string{"metrics-server"}
	docs, err := manifestTexts(s)
	if err != nil {
		t.Fatal(err)
	}
	var kinds []string
	for _, doc := range docs {
		for part := range strings.SplitSeq(string(doc), "\n---\n") {
			var object struct {
				APIVersion, Kind string
				Metadata         struct{ Name string }
			}
			if err := yaml.Unmarshal([]byte(part), &object); err != nil || object.Kind == "" || object.APIVersion == "" || object.Metadata.Name == "" {
				t.Errorf("not an object: %v\n%s", err, part)
			}
			if err := yaml.UnmarshalStrict([]byte(part), &map[string]any{}); err != nil { // a key that is there twice
				t.Errorf("%v\n%s", err, part)
			}
			kinds = append(kinds, object.Kind+"/"+object.Metadata.Name)
		}
	}
	for _, want := range []string{"Service/kube-dns", "StorageClass/standard", "APIService/v1beta1.metrics.k8s.io"} {
		if !slices.Contains(kinds, want) {
			t.Errorf("there is no %s in %v", want, kinds)
		}
	}
	for _, kind := range kinds {
		if strings.HasPrefix(kind, "Node/") {
			t.Error("a Node that is there before the kubelet is Ready ten seconds later")
		}
	}
}

func TestSecretsAreForRootOnlyAndTheCAKeyStays(t *testing.T) {
	a, err := pki.New()
	if err != nil {
		t.Fatal(err)
	}
	files, err := secretFiles(settings(), a)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		private := bytes.Contains(f.content, []byte("PRIVATE KEY"))
		if private != (f.mode == 0o600) {
			t.Errorf("%s has mode %o", f.path, f.mode)
		}
	}
	for _, ca := range []string{"ca.key", "front-proxy-ca.key"} {
		if slices.ContainsFunc(files, func(f file) bool { return f.path == pkiDir+ca }) {
			t.Errorf("%s goes onto the node", ca)
		}
	}
	block, _ := pem.Decode(find(t, files, pkiDir+"apiserver.crt").content)
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"127.0.0.1", "localhost", "10.96.0.1", "10.0.2.15", "kubernetes.default.svc.cluster.local", "control-plane.dory.internal"} {
		if err := cert.VerifyHostname(name); err != nil {
			t.Error(err)
		}
	}
}

func TestValidate(t *testing.T) {
	for name, change := range map[string]func(*Settings){
		"no value":            func(s *Settings) { s.ExtraConfig = []string{"apiserver.v"} },
		"no component":        func(s *Settings) { s.ExtraConfig = []string{"apisever.v=1"} },
		"no flag":             func(s *Settings) { s.ExtraConfig = []string{"apiserver.=1"} },
		"line break":          func(s *Settings) { s.ExtraConfig = []string{"apiserver.v=1\nExecStart=/bin/sh"} },
		"gate without word":   func(s *Settings) { s.FeatureGates = "A" },
		"gate with a wish":    func(s *Settings) { s.FeatureGates = "A=maybe" },
		"gate with a percent": func(s *Settings) { s.FeatureGates = "A%n=true" },
		"gate with a colon":   func(s *Settings) { s.FeatureGates = "A: x=true" },
		"gate and a line":     func(s *Settings) { s.FeatureGates = "A=true\nB: false" },
		"flag and a blank":    func(s *Settings) { s.ExtraConfig = []string{"apiserver.v x=1"} },
		"flag of two words":   func(s *Settings) { s.ExtraConfig = []string{"kubelet.a.b=1"} },
		"NUL":                 func(s *Settings) { s.ExtraConfig = []string{"apiserver.v=1\x00"} },
		"unknown addon":       func(s *Settings) { s.Addons = []string{"ingress"} },
		"no CIDR":             func(s *Settings) { s.ServiceCIDR = "10.96.0.0" },
	} {
		s := settings()
		change(&s)
		if s.Validate() == nil {
			t.Errorf("%s is accepted", name)
		}
	}
	good := settings()
	if words := (Settings{ExtraConfig: []string{"proxy.v=3"}}).Extra("kube-proxy"); len(words) != 1 {
		t.Errorf("proxy is not kube-proxy: %q", words)
	}
	good.ExtraConfig, good.FeatureGates, good.Addons = []string{"etcd.a=b=c"}, "A=true,B=false", []string{"metrics-server", "storage-provisioner"}
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
}

// However gates are written, units and YAML have them as they are meant.
func TestFeatureGates(t *testing.T) {
	s := settings()
	s.FeatureGates = " B=False, A=true ,C = 1"
	if err := s.Validate(); err != nil || s.Gates() != "A=true,B=false,C=true" {
		t.Errorf("%q: %v", s.Gates(), err)
	}
	for _, component := range []string{"apiserver", "controller-manager", "scheduler"} {
		text, err := render(rootfs, "rootfs/etc/systemd/system/kube-"+component+".service", s)
		if err != nil || !strings.Contains(string(text), "    --feature-gates=A=true,B=false,C=true \\\n") {
			t.Errorf("%s: %v\n%s", component, err, text)
		}
	}
}

// Whatever a user may write for a component arrives there as one word, as it was written.
func FuzzExtraConfig(f *testing.F) {
	for _, seed := range []string{"kubelet.node-labels=a=b", "apiserver.v= %n $HOME ${HOME} \"quoted\" 'so' ; # |", "etcd.x=", "kubelet.a=ü\u2028", "scheduler.v=1\n[Service]", "kube-proxy.v=\\", "x"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, entry string) {
		s := settings()
		s.ExtraConfig = []string{entry}
		if s.Validate() != nil {
			return
		}
		component, flag, value, _ := splitExtra(entry)
		words := s.Extra(component)
		if len(words) != 1 || strings.ContainsAny(words[0], "\n\r\x00") {
			t.Fatalf("%q: %q", entry, words)
		}
		// As systemd.service(5) reads a word in double quotes: \" is a quote, %% and $$ stand for themselves.
		inner, ok := strings.CutPrefix(words[0], `"`)
		inner, ok2 := strings.CutSuffix(inner, `"`)
		got := strings.NewReplacer(`\"`, `"`, "%%", "%", "$$", "$").Replace(inner)
		if !ok || !ok2 || got != "--"+flag+"="+value {
			t.Errorf("%q arrives as %q", entry, got)
		}
		if bare := strings.NewReplacer(`\"`, "", "%%", "", "$$", "").Replace(inner); strings.ContainsAny(bare, `"%$`) {
			t.Errorf("%q: systemd would read something into %q", entry, words[0])
		}
	})
}

// NodePorts are served at localhost where kube-proxy can, unless the user has said that it shall not.
func TestNodePortsAtLocalhost(t *testing.T) {
	for _, c := range []struct {
		version, gates string
		want           bool
	}{{"v1.36.3", "", false}, {"v1.37.0", "", true}, {"v1.37.2", "Other=true", true}, {"v1.38.0", "", true}, {"v1.37.2", localhostGate + "=false", false}} {
		s := Settings{KubernetesVersion: c.version, FeatureGates: c.gates, PodCIDR: "10.244.0.0/16"}
		text, err := render(rootfs, "rootfs/etc/kubernetes/kube-proxy.yaml", s)
		if err != nil {
			t.Fatal(err)
		}
		served := strings.Contains(string(text), "nodePortAddresses: [primary, localhost]")
		if on := strings.Contains(string(text), localhostGate+": true"); served != c.want || on != c.want {
			t.Errorf("%s, %q: served %v, gate %v:\n%s", c.version, c.gates, served, on, text)
		}
	}
}

func TestAddressesOfTheServiceRange(t *testing.T) {
	s := settings()
	if s.DNSServiceIP() != "10.96.0.10" || s.KubernetesServiceIP() != "10.96.0.1" || s.NodePodCIDR() != "10.244.0.0/24" {
		t.Error(s.DNSServiceIP(), s.KubernetesServiceIP(), s.NodePodCIDR())
	}
}

func TestFilesDigestFollowsTheSettings(t *testing.T) {
	one, err := FilesDigest(settings())
	if err != nil {
		t.Fatal(err)
	}
	other := settings()
	other.DNSDomain = "example.test"
	two, err := FilesDigest(other)
	again, _ := FilesDigest(settings())
	if err != nil || one == two || one != again {
		t.Errorf("%s %s %s %v", one, two, again, err)
	}
}

// machine is a Runner that only remembers.
type machine struct {
	mu   sync.Mutex
	ran  []string
	tar  []byte
	fail map[string]*ExitError // by a part of the command
	says map[string]string     // by a part of the command
	hang string                // a part of the command that never ends
}

func (m *machine) Run(ctx context.Context, c Cmd) error {
	if strings.HasSuffix(c.Shell, "/guard") || m.hang != "" && strings.Contains(c.Shell, m.hang) {
		<-ctx.Done()
		return ctx.Err()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ran = append(m.ran, c.Shell)
	if c.Stdin != nil {
		m.tar, _ = io.ReadAll(c.Stdin)
	}
	for part, text := range m.says {
		if strings.Contains(c.Shell, part) && c.Stdout != nil {
			io.WriteString(c.Stdout, text)
		}
	}
	for part, exit := range m.fail {
		if strings.Contains(c.Shell, part) {
			return exit
		}
	}
	return nil
}

func (*machine) Put(context.Context, string, fs.FileMode, io.Reader) error { return nil }

func TestFailedUnitIsToldInItsOwnWords(t *testing.T) {
	a, err := pki.New()
	if err != nil {
		t.Fatal(err)
	}
	m := &machine{fail: map[string]*ExitError{"start etcd": {Code: 1, Stderr: "etcd: bad flag\n"}}}
	err = Node(t.Context(), Target{Runner: m, API: "127.0.0.1:1"}, settings(), a, nil, time.Minute)
	var failure *fail.Error
	if !errors.As(err, &failure) || failure.Kind.ID != fail.ControlPlaneFailed.ID || failure.Evidence != "etcd: bad flag" {
		t.Errorf("got %#v", err)
	}
	for _, shell := range m.ran {
		if strings.Contains(shell, "kube-apiserver") && strings.HasPrefix(shell, "systemctl start") {
			t.Error("the API server was started without etcd")
		}
	}
	var names []string
	r := tar.NewReader(bytes.NewReader(m.tar))
	for header, err := r.Next(); err == nil; header, err = r.Next() {
		names = append(names, header.Name)
	}
	if slices.Contains(names, "etc/systemd/system/multi-user.target.wants/dory-hold.service") {
		t.Error("the node would be held at each boot")
	}
	for _, want := range []string{"etc/kubernetes/pki/ca.crt", "usr/local/lib/dory/mount-bundle", "etc/systemd/system/multi-user.target.wants/kubelet.service"} {
		if !slices.Contains(names, want) {
			t.Errorf("%s was not sent: %v", want, names)
		}
	}
}

func TestUnitThatNeverComesUp(t *testing.T) {
	a, err := pki.New()
	if err != nil {
		t.Fatal(err)
	}
	m := &machine{hang: "systemctl start kubelet", says: map[string]string{"-u kubelet": "waiting for containerd\n"}}
	n := &node{Target: Target{Runner: m}, settings: settings(), authority: a, timeout: 100 * time.Millisecond}
	_, err = startUnits("kubelet")(n, t.Context())
	var failure *fail.Error
	if !errors.As(err, &failure) || failure.Kind.ID != fail.ControlPlaneWait.ID || failure.Evidence != "waiting for containerd" {
		t.Errorf("got %#v", err)
	}
}

// A machine that hangs while it is given its files does not say so.
func TestFilesAreNotWaitedForForEver(t *testing.T) {
	a, err := pki.New()
	if err != nil {
		t.Fatal(err)
	}
	for _, hang := range []string{"cat " + stampFile, "tar -x"} {
		err := Node(t.Context(), Target{Runner: &machine{hang: hang}, API: "127.0.0.1:1"}, settings(), a, nil, 100*time.Millisecond)
		if !fail.Is(err, fail.GuestSSH) || !strings.Contains(err.Error(), "within 100ms") {
			t.Errorf("%s: %v", hang, err)
		}
	}
}

func TestAPIServerThatNeverIsReady(t *testing.T) {
	a, err := pki.New()
	if err != nil {
		t.Fatal(err)
	}
	err = Node(t.Context(), Target{Runner: &machine{}, API: "127.0.0.1:1"}, settings(), a, nil, 200*time.Millisecond)
	if !fail.Is(err, fail.ControlPlaneWait) || !strings.Contains(err.Error(), "refused") {
		t.Errorf("got %v", err)
	}
}

func TestSettingsSurviveTheRecord(t *testing.T) {
	text, err := json.Marshal(settings())
	if err != nil {
		t.Fatal(err)
	}
	var back Settings
	if err := json.Unmarshal(text, &back); err != nil || back.Digest() != settings().Digest() {
		t.Errorf("%v: %s", err, text)
	}
}

func TestFilesAreSentOnlyIfTheyOrTheCertificatesAreOld(t *testing.T) {
	a, err := pki.New()
	if err != nil {
		t.Fatal(err)
	}
	stamp, err := filesStamp(settings(), a)
	if err != nil {
		t.Fatal(err)
	}
	certs, err := a.Cluster.Issue(pki.Leaf{Name: "somebody"})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		has, result string
		sent        bool
	}{
		{"", "", true},
		{stamp + "\n" + string(certs.Cert), "unchanged", false},
		{stamp + "\nnothing", "certificates renewed", true},
		{"another\n" + string(certs.Cert), "changed", true},
	} {
		m := &machine{says: map[string]string{stampFile: c.has}}
		n := &node{Target: Target{Runner: m}, settings: settings(), authority: a}
		result, err := n.install(t.Context())
		if err != nil || result != c.result || (len(m.tar) > 0) != c.sent || n.changed != (c.sent && c.has != "") {
			t.Errorf("%.20q: %q, %d bytes sent, %v", c.has, result, len(m.tar), err)
		}
	}
}

// What a fork says, or does not say, while it is given its identity.
func TestRenewHearsWhatTheForkSays(t *testing.T) {
	a, err := pki.New()
	if err != nil {
		t.Fatal(err)
	}
	renew := func(ctx context.Context, says func(net.Conn)) ([]string, error) {
		ours, theirs := net.Pipe()
		names := make(chan []string, 1)
		go func() {
			var got []string
			archive := tar.NewReader(theirs)
			for header, err := archive.Next(); err == nil; header, err = archive.Next() {
				got = append(got, header.Name)
			}
			names <- got
			says(theirs)
		}()
		err := Renew(ctx, ours, "127.0.0.1:1", settings(), a, Identity{Hostname: "one"}, nil, 300*time.Millisecond)
		ours.Close()
		return <-names, err
	}
	names, err := renew(t.Context(), func(fork net.Conn) { io.WriteString(fork, "the disk is full\n") })
	if failure := fail.As(err); failure == nil || failure.Kind.ID != fail.GuestCommand.ID || failure.Evidence != "the disk is full" {
		t.Errorf("a fork that fails: %v", err)
	}
	if len(names) < 3 || names[0] != "entropy" || names[1] != "clock" || !slices.Contains(names, "/etc/kubernetes/pki/ca.crt") {
		t.Errorf("it was sent %q", names)
	}
	if _, err := renew(t.Context(), func(fork net.Conn) { fork.Close() }); !errors.Is(err, ErrSilent) {
		t.Errorf("a fork that ends: %v", err)
	}
	if _, err := renew(t.Context(), func(net.Conn) {}); !errors.Is(err, ErrSilent) {
		t.Errorf("a fork that hangs: %v", err)
	}
	if _, err := renew(t.Context(), func(fork net.Conn) { io.WriteString(fork, "renewed\n") }); !fail.Is(err, fail.ControlPlaneWait) {
		t.Errorf("an API server that nobody can reach: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := renew(ctx, func(net.Conn) { cancel() }); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
}
