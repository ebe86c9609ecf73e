package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// patch is a change to a module that components are built from: one text, which must be there exactly once.
type patch struct {
	components   []string
	module, file string
	from, to     string
}

// inPods are the components that run in pods and talk to the API server.
var inPods = []string{"coredns", "metrics-server", "local-path-provisioner"}

// inTouch are the components that a fork of a cluster finds running, and that must read an authority's file again.
var inTouch = append([]string{"kubernetes"}, inPods...)

// selfSigning are the components that serve with a certificate that they made themselves.
var selfSigning = []string{"kubernetes", "metrics-server"}

// patches are what upstream has no setting for.
var patches = []patch{
	// client-go reads a kubeconfig's authority file again, but no more often than every five minutes, while the period of
	// its client certificates is a variable. A component of a forked cluster, whose certificates all change at once, could
	// not reach the API server, nor metrics-server the kubelet, in between. See bundle/components/kubernetes/renewal.go.
	{inTouch, "k8s.io/client-go", "transport/ca_rotation.go", "caRefreshDuration:    5 * time.Minute,", "caRefreshDuration:    time.Second,"},
	// And it does so in RoundTrip only. 'kubectl exec' unwraps the transport and dials by itself, so the API server went on
	// asking for the kubelet of the template, until somebody happened to ask for logs.
	{[]string{"kubernetes"}, "k8s.io/client-go", "transport/ca_rotation.go",
		"\th.mu.RLock()\n\tdefer h.mu.RUnlock()\n\n\treturn h.transport\n", "\treturn h.getTransport(context.Background())\n"},
	// The transport that client-go makes for a new authority shares the connections of the old one: what is asked next goes out with
	// the certificate of the template, is refused, and is tried again later, a pod's binding after more than a second. With
	// connections of its own, watches go on over the old ones, and everything new over a new one.
	{inTouch, "k8s.io/client-go", "transport/ca_rotation.go", "newTransport := h.transport.Clone()\n",
		"newTransport := h.transport.Clone()\n\tnewTransport.TLSNextProto = nil\n\tutilnet.SetTransportDefaults(newTransport)\n"},
	// A client certificate that is found changed during a handshake closed all connections, the one of that handshake too:
	// whoever came first after a fork failed. The handshake takes it, and the period closes what is old.
	{[]string{"kubernetes"}, "k8s.io/client-go", "transport/cert_rotation.go", "return c.loadClientCert()", "return c.reload(nil)"},
	// The controllers' tokens are the template's until they are an hour old. Each controller's first request, once the
	// template's key was forgotten, was refused and tried again later: users saw "ReplicaSetCreateError ... Unauthorized" with
	// their first Deployment. A token that is refused is replaced already; the request now goes out once more with the new one.
	{[]string{"kubernetes"}, "k8s.io/client-go", "transport/token_source.go", "\t\ttst.src.ResetTokenOlderThan(start)\n", `		tst.src.ResetTokenOlderThan(start)
		if req.Body == nil || req.GetBody != nil {
			again := req.Clone(req.Context())
			if req.GetBody != nil {
				if again.Body, err = req.GetBody(); err != nil {
					return resp, nil
				}
			}
			resp.Body.Close()
			return tst.ort.RoundTrip(again)
		}
`},
	// A pod reads its token's file again when a minute, less ten seconds, has passed. In a fork that was after the template's key had been
	// forgotten: a volume that was asked for in between was refused, and made a minute or two later.
	{inPods, "k8s.io/client-go", "transport/token_source.go", "\t\t\tperiod: time.Minute,\n", "\t\t\tperiod: 15 * time.Second,\n"},
	// A component that starts makes a certificate for its port, or for its connections to itself, that lasts as long as its process:
	// two RSA keys of 2048 bits, an authority's and its own. They took 44 % of kube-controller-manager's processor time while it
	// starts and 58 % of kube-scheduler's (sampled, not emulated); ECDSA keys take none worth mentioning.
	{selfSigning, "k8s.io/client-go", "util/cert/cert.go", "\t\"crypto/rsa\"\n", "\t\"crypto/ecdsa\"\n\t\"crypto/elliptic\"\n"},
	{selfSigning, "k8s.io/client-go", "util/cert/cert.go",
		"caKey, err := rsa.GenerateKey(cryptorand.Reader, 2048)", "caKey, err := ecdsa.GenerateKey(elliptic.P256(), cryptorand.Reader)"},
	{selfSigning, "k8s.io/client-go", "util/cert/cert.go",
		"priv, err := rsa.GenerateKey(cryptorand.Reader, 2048)", "priv, err := ecdsa.GenerateKey(elliptic.P256(), cryptorand.Reader)"},
	{selfSigning, "k8s.io/client-go", "util/cert/cert.go",
		"keyBuffer := bytes.Buffer{}\n\tif err := pem.Encode(&keyBuffer, &pem.Block{Type: keyutil.RSAPrivateKeyBlockType, Bytes: x509.MarshalPKCS1PrivateKey(priv)})",
		"keyDER, err := x509.MarshalECPrivateKey(priv)\n\tif err != nil {\n\t\treturn nil, nil, err\n\t}\n\tkeyBuffer := bytes.Buffer{}\n\t" +
			"if err := pem.Encode(&keyBuffer, &pem.Block{Type: keyutil.ECPrivateKeyBlockType, Bytes: keyDER})"},
	// Each work queue has a timer of 500 ms, for the metric of what is not finished: 116 of the 278 times a second that an idle
	// kube-controller-manager woke up, 64 of the API server's 340, 10 of the kubelet's 60. Nobody looks at it more often than each 10 s.
	{[]string{"kubernetes"}, "k8s.io/client-go", "util/workqueue/queue.go",
		"const defaultUnfinishedWorkUpdatePeriod = 500 * time.Millisecond", "const defaultUnfinishedWorkUpdatePeriod = 10 * time.Second"},
	// A new cluster's API server is not ready before RBAC's 140 objects are there. It asked for each before it created it, one after the
	// other, from a second on: 14 of the 70 seconds of a cold start. Where there are none, they are now created four at a time;
	// what fails is left to the code that was there.
	{[]string{"kubernetes"}, "k8s.io/kubernetes", rbacStorage, "\t\"context\"\n", "\t\"context\"\n\t\"golang.org/x/sync/errgroup\"\n"},
	{[]string{"kubernetes"}, "k8s.io/kubernetes", rbacStorage,
		"err := wait.Poll(1*time.Second, 30*time.Second,", "err := wait.PollImmediate(1*time.Second, 30*time.Second,"},
	{[]string{"kubernetes"}, "k8s.io/kubernetes", rbacStorage,
		"\tif _, err := client.RbacV1().ClusterRoles().List(context.TODO(), metav1.ListOptions{}); err != nil {",
		"\texisting, err := client.RbacV1().ClusterRoles().List(context.TODO(), metav1.ListOptions{})\n" +
			"\tif err == nil && len(existing.Items) == 0 && createRBACPolicy(p, client) == nil {\n\t\treturn true, nil\n\t}\n\tif err != nil {"},
	{[]string{"kubernetes"}, "k8s.io/kubernetes", rbacStorage,
		"func ensureRBACPolicy(", createRBACPolicy + "func ensureRBACPolicy("},
	// All the while the API server asked itself whether it is ready, ten times a second, before it writes down its own address.
	{[]string{"kubernetes"}, "k8s.io/kubernetes", "pkg/controlplane/controller/kubernetesservice/controller.go",
		"wait.PollUntilContextCancel(ctx, 100*time.Millisecond, true,", "wait.PollUntilContextCancel(ctx, 500*time.Millisecond, true,"},
	// Each of the controllers' accounts was asked for, its namespace too, and created, before the next controller was even made: 120
	// requests one after the other, some 3 seconds of a cold start. Whoever needs a token makes sure of the account anyway.
	{[]string{"kubernetes"}, "k8s.io/controller-manager", "pkg/clientbuilder/client_builder_dynamic.go",
		"\t_, err := getOrCreateServiceAccount(t.CoreClient, t.Namespace, saName)\n\tif err != nil {\n\t\treturn nil, err\n\t}\n",
		"\tgo getOrCreateServiceAccount(t.CoreClient, t.Namespace, saName)\n"},
	// The kubelet keeps pods' tokens until they are old. In a fork they are of the template's key, so it had to be started anew, which
	// cut every exec, log and forwarded port half a minute after each fork. See bundle/components/kubernetes/renewal.go.
	{[]string{"kubernetes"}, "k8s.io/kubernetes", tokenManager, "\t\"sync\"\n\t\"time\"\n", "\t\"sync\"\n\t\"sync/atomic\"\n\t\"time\"\n"},
	{[]string{"kubernetes"}, "k8s.io/kubernetes", tokenManager, "// NewManager returns a new token manager.\n", tokenGenerations + "// NewManager returns a new token manager.\n"},
	{[]string{"kubernetes"}, "k8s.io/kubernetes", tokenManager,
		"fmt.Sprintf(\"%q/%q/%#v/%#v/%#v/%q\", name,", "fmt.Sprintf(\"%d/%q/%q/%#v/%#v/%#v/%q\", generation.Load(), name,"},
	{[]string{"kubernetes"}, "k8s.io/kubernetes", "pkg/kubelet/kubelet.go", "\tpodUIDs := kl.workQueue.GetWork()\n",
		"\tpodUIDs := kl.workQueue.GetWork()\n\tif token.Renewed() {\n\t\treturn allPods\n\t}\n"},
	// And it tells of the machine-id that it has read once.
	{[]string{"kubernetes"}, "k8s.io/kubernetes", nodeSetters, "\t\"net\"\n\tgoruntime", "\t\"net\"\n\t\"os\"\n\tgoruntime"},
	{[]string{"kubernetes"}, "k8s.io/kubernetes", nodeSetters, "\t\t\tnode.Status.NodeInfo.MachineID = info.MachineID\n",
		"\t\t\tnode.Status.NodeInfo.MachineID = info.MachineID\n\t\t\tif id, err := os.ReadFile(\"/etc/machine-id\"); err == nil {\n" +
			"\t\t\t\tnode.Status.NodeInfo.MachineID = strings.TrimSpace(string(id))\n\t\t\t}\n"},
	// The keys of TLS tickets are in a template's memory, and so in that of all its forks: who has one of these could make a ticket that
	// another resumes, with any client's certificate in it, whose key he need not have. No client of Kubernetes asks for tickets.
	{selfSigning, "k8s.io/apiserver", "pkg/server/secure_serving.go", "\ttlsConfig := &tls.Config{\n\t\t// Can't use SSLv3",
		"\ttlsConfig := &tls.Config{\n\t\tSessionTicketsDisabled: true,\n\t\t// Can't use SSLv3"},
	{[]string{"kubernetes"}, "k8s.io/kubernetes", "pkg/kubelet/kubelet.go", "kubeDeps.TLSConfig = &tls.Config{}",
		"kubeDeps.TLSConfig = &tls.Config{SessionTicketsDisabled: true}"},
	// Issuer discovery named the machine's own address (jwks_uri), which nobody outside reaches; and a pod reaches the API server elsewhere
	// than this computer does. It now names the address that was asked. A user's own --service-account-jwks-uri is left alone.
	{[]string{"kubernetes"}, "k8s.io/kubernetes", discovery, "import (\n\t\"fmt\"\n\t\"net/http\"\n", "import (\n\t\"bytes\"\n\t\"fmt\"\n\t\"net/http\"\n\t\"slices\"\n"},
	{[]string{"kubernetes"}, "k8s.io/kubernetes", discovery, "\tconfigJSON, maxAge := s.provider.GetConfigJSON()\n",
		"\tconfigJSON, maxAge := s.provider.GetConfigJSON()\n\tconfigJSON = asAsked(configJSON, req.Host)\n"},
	{[]string{"kubernetes"}, "k8s.io/kubernetes", discovery, "func (s *OpenIDMetadataServer) serveConfiguration(", asAsked + "func (s *OpenIDMetadataServer) serveConfiguration("},
}

// Files that have several patches.
const (
	tokenManager = "pkg/kubelet/token/token_manager.go"
	nodeSetters  = "pkg/kubelet/nodestatus/setters.go"
	rbacStorage  = "pkg/registry/rbac/rest/storage_rbac.go"
	discovery    = "pkg/routes/openidmetadata.go"
)

// asAsked is a function for discovery. The name that it replaces is what the API server's unit sets.
const asAsked = `func asAsked(configJSON []byte, host string) []byte {
	before, after, found := bytes.Cut(configJSON, []byte("\"jwks_uri\":\"https://kubernetes.default.svc"))
	if _, path, ok := bytes.Cut(after, []byte("/")); found && ok {
		return slices.Concat(before, []byte("\"jwks_uri\":\"https://"+host+"/"), path)
	}
	return configJSON
}

`

// tokenGenerations are functions for tokenManager. Tokens of an earlier generation are found no more, and go when they expire.
const tokenGenerations = `var generation, seen atomic.Int64

// Renew has new tokens fetched for all pods.
func Renew() { generation.Add(1) }

// Renewed says once after each Renew that pods' volumes must be looked at.
func Renewed() bool {
	now := generation.Load()
	return seen.Swap(now) != now
}

`

// createRBACPolicy is a function for rbacStorage.
const createRBACPolicy = `func createRBACPolicy(p *PolicyData, client clientset.Interface) error {
	var group errgroup.Group
	group.SetLimit(4)
	clusterRoles := reconciliation.ClusterRoleModifier{Client: client.RbacV1().ClusterRoles()}
	for i := range p.ClusterRoles {
		group.Go(func() error {
			_, err := clusterRoles.Create(reconciliation.ClusterRoleRuleOwner{ClusterRole: &p.ClusterRoles[i]})
			return err
		})
	}
	clusterRoleBindings := reconciliation.ClusterRoleBindingClientAdapter{Client: client.RbacV1().ClusterRoleBindings()}
	for i := range p.ClusterRoleBindings {
		group.Go(func() error {
			_, err := clusterRoleBindings.Create(reconciliation.ClusterRoleBindingAdapter{ClusterRoleBinding: &p.ClusterRoleBindings[i]})
			return err
		})
	}
	roles := reconciliation.RoleModifier{Client: client.RbacV1(), NamespaceClient: client.CoreV1().Namespaces()}
	for _, own := range p.Roles {
		for i := range own {
			group.Go(func() error {
				_, err := roles.Create(reconciliation.RoleRuleOwner{Role: &own[i]})
				return err
			})
		}
	}
	roleBindings := reconciliation.RoleBindingClientAdapter{Client: client.RbacV1(), NamespaceClient: client.CoreV1().Namespaces()}
	for _, own := range p.RoleBindings {
		for i := range own {
			group.Go(func() error {
				_, err := roleBindings.Create(reconciliation.RoleBindingAdapter{RoleBinding: &own[i]})
				return err
			})
		}
	}
	return group.Wait()
}

`

// patched returns the go command's flags for a component with patches: a go.mod that replaces the modules by changed copies.
func (b *build) patched(ctx context.Context, c component, flags []string) ([]string, error) {
	modfile := filepath.Join(b.componentDir(c), "go.mod")
	for _, flag := range flags {
		if name, ok := strings.CutPrefix(flag, "-modfile="); ok {
			modfile = filepath.Join(b.componentDir(c), name)
		}
	}
	copied := filepath.Join(b.work, "patched", c.name+".mod")
	for _, p := range patches {
		if !slices.Contains(p.components, c.name) {
			continue
		}
		dir, err := b.copyModule(ctx, c, p.module, flags)
		if err != nil {
			return nil, err
		}
		if err := p.apply(dir); err != nil {
			return nil, err
		}
		if err := copyModfile(modfile, copied); err != nil {
			return nil, err
		}
		env := []string{"GOFLAGS=", "GOWORK=off"}
		if err := b.command(ctx, b.componentDir(c), env, "go", "mod", "edit", "-replace="+p.module+"="+dir, copied); err != nil {
			return nil, err
		}
		modfile, flags = copied, []string{"-modfile=" + copied}
	}
	return flags, nil
}

// copyModule copies a module as the component's go.mod has it into the working directory, once.
func (b *build) copyModule(ctx context.Context, c component, path string, flags []string) (string, error) {
	to := filepath.Join(b.work, "patched", c.name, path)
	if _, err := os.Stat(to); err == nil {
		return to, nil
	}
	// Not go list, which says nothing of a module that is not there yet.
	out, err := b.output(ctx, b.componentDir(c), []string{"GOFLAGS=", "GOWORK=off"}, "go",
		append(append([]string{"mod", "download"}, flags...), "-json", path)...)
	if err != nil {
		return "", err
	}
	var m module
	if err := json.Unmarshal(out, &m); err != nil {
		return "", fmt.Errorf("download %s: %w", path, err)
	}
	return to, os.CopyFS(to, os.DirFS(m.Dir))
}

func copyModfile(from, to string) error {
	if from == to {
		return nil
	}
	for _, suffix := range []string{".mod", ".sum"} {
		text, err := os.ReadFile(strings.TrimSuffix(from, ".mod") + suffix)
		if err == nil {
			err = os.WriteFile(strings.TrimSuffix(to, ".mod")+suffix, text, 0o644)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// apply changes the copy of the module in dir.
func (p patch) apply(dir string) error {
	path := filepath.Join(dir, p.file)
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if n := bytes.Count(text, []byte(p.from)); n != 1 {
		return fmt.Errorf("patch %s of %s: %q is there %d times, not once", p.file, p.module, p.from, n)
	}
	if err := os.Chmod(path, 0o644); err != nil { // the module cache is read-only
		return err
	}
	return os.WriteFile(path, bytes.Replace(text, []byte(p.from), []byte(p.to), 1), 0o644)
}
