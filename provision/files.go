package provision

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net"
	"path"
	"slices"
	"strings"
	"text/template"

	"github.com/dorykube/dory/provision/pki"
)

// What goes onto a node: rootfs as it lies there, and what is applied to its API server. All text files are templates
// over Settings.
var (
	//go:embed all:rootfs
	rootfs embed.FS
	//go:embed manifests
	manifests embed.FS
	//go:embed addons
	addons embed.FS
	//go:embed node.yaml
	nodeManifest embed.FS
)

// file is one file for the node.
type file struct {
	path    string // absolute
	mode    fs.FileMode
	content []byte
}

// Directories in which the embedded files are programs. embed keeps no modes.
const programs = "/usr/local/lib/dory"

// staticFiles renders rootfs, and writes the kubeconfigs of the node's components, which name their certificates by file.
func staticFiles(s Settings) ([]file, error) {
	var files []file
	err := fs.WalkDir(rootfs, "rootfs", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := render(rootfs, name, s)
		f := file{path: strings.TrimPrefix(name, "rootfs"), mode: 0o644, content: content}
		if path.Dir(f.path) == programs {
			f.mode = 0o755
		}
		files = append(files, f)
		return err
	})
	for _, of := range []struct{ component, pair string }{
		{"kubelet", "kubelet-client"}, {"controller-manager", "controller-manager"}, {"scheduler", "scheduler"},
		{"kube-proxy", "kube-proxy"}, {"admin", "admin"},
	} {
		files = append(files, file{"/etc/kubernetes/" + of.component + ".conf", 0o600, nodeKubeconfig(s, of.pair)})
	}
	return files, err
}

func render(from fs.FS, name string, s Settings) ([]byte, error) {
	text, err := fs.ReadFile(from, name)
	if err != nil {
		return nil, err
	}
	t, err := template.New(name).Option("missingkey=error").Parse(string(text))
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	err = t.Execute(&out, s)
	return out.Bytes(), err
}

const pkiDir = "/etc/kubernetes/pki/"

// secretFiles issues the node's certificates, new each time. What the API server has comes first: a fork is waited for until its
// API server has read them.
func secretFiles(s Settings, a *pki.Authority) ([]file, error) {
	account, requests := a.ServiceAccountPEM(), a.Requests.Pair()
	files := []file{
		{pkiDir + "ca.crt", 0o644, a.TrustedPEM()},
		{pkiDir + "front-proxy-ca.crt", 0o644, a.FrontProxy.CertPEM()},
		{pkiDir + "service-account.pub", 0o644, account.Cert},
		{pkiDir + "service-account.key", 0o600, account.Key},
	}
	issued := []struct {
		name string // file name without suffix
		ca   *pki.CA
		leaf pki.Leaf
	}{
		{"apiserver", a.Cluster, apiServerLeaf(s)},
		{"apiserver-kubelet-client", a.Cluster, pki.Leaf{Name: "kube-apiserver-kubelet-client"}},
		{"front-proxy-client", a.FrontProxy, pki.Leaf{Name: "front-proxy-client"}},
		{"kubelet", a.Cluster, pki.Leaf{Name: "system:node:" + s.NodeName, Groups: []string{"system:nodes"},
			DNSNames: []string{s.NodeName, "localhost"}, IPs: parseIPs(s.NodeIP, "127.0.0.1")}},
		{"kubelet-client", a.Cluster, pki.Leaf{Name: "system:node:" + s.NodeName, Groups: []string{"system:nodes"}}},
		{"controller-manager", a.Cluster, pki.Leaf{Name: "system:kube-controller-manager"}},
		{"scheduler", a.Cluster, pki.Leaf{Name: "system:kube-scheduler"}},
		{"kube-proxy", a.Cluster, pki.Leaf{Name: "system:kube-proxy"}},
		{"admin", a.Cluster, pki.Leaf{Name: "kubernetes-admin", Groups: []string{"system:masters"}}},
	}
	for _, i := range issued {
		pair, err := i.ca.Issue(i.leaf)
		if err != nil {
			return nil, fmt.Errorf("issue the certificate %s: %w", i.name, err)
		}
		files = append(files,
			file{pkiDir + i.name + ".crt", 0o644, pair.Cert},
			file{pkiDir + i.name + ".key", 0o600, pair.Key})
	}
	return append(files, file{pkiDir + "requests-ca.crt", 0o644, requests.Cert}, file{pkiDir + "requests-ca.key", 0o600, requests.Key}), nil
}

func apiServerLeaf(s Settings) pki.Leaf {
	names := []string{"localhost", s.NodeName, "kubernetes", "kubernetes.default", "kubernetes.default.svc",
		"kubernetes.default.svc." + s.DNSDomain, "control-plane.dory.internal", "control-plane.minikube.internal",
		"host.dory.internal"}
	ips := append([]string{"127.0.0.1", s.NodeIP, s.KubernetesServiceIP()}, s.APIServerIPs...)
	return pki.Leaf{Name: "kube-apiserver", DNSNames: append(names, s.APIServerNames...), IPs: parseIPs(ips...)}
}

func parseIPs(texts ...string) []net.IP {
	var ips []net.IP
	for _, text := range texts {
		if ip := net.ParseIP(text); ip != nil {
			ips = append(ips, ip)
		}
	}
	return ips
}

// nodeKubeconfig names its certificate by file, which client-go reloads; embedded data it would not.
func nodeKubeconfig(s Settings, pair string) []byte {
	return fmt.Appendf(nil, `apiVersion: v1
kind: Config
current-context: dory
contexts: [{name: dory, context: {cluster: dory, user: dory}}]
clusters:
  - name: dory
    cluster: {server: "https://127.0.0.1:%d", certificate-authority: %sca.crt}
users:
  - name: dory
    user: {client-certificate: %[2]s%[3]s.crt, client-key: %[2]s%[3]s.key}
`, s.APIServerPort, pkiDir, pair)
}

// link is a symbolic link for the node.
type link struct{ path, target string }

// unitLinks enables every unit that is to be, as "systemctl enable" would, without asking systemd. On a borrowed
// machine they belong to a target of its driver's, which is enabled as long as the node shall run.
func unitLinks(files []file, borrowed bool) []link {
	const units = "/etc/systemd/system/"
	wants := "multi-user.target.wants/"
	if borrowed {
		wants = "dory-machine.target.wants/"
	}
	var links []link
	for _, f := range files {
		if name, ok := strings.CutPrefix(f.path, units); ok && bytes.Contains(f.content, []byte("\n[Install]\n")) {
			links = append(links, link{units + wants + name, "../" + name})
		}
	}
	return links
}

// toolLinks make what a person wants on a node be found without a login shell: 'dory ssh -- kubectl get pods' just works.
func toolLinks() []link {
	links := []link{{"/root/.kube/config", "/etc/kubernetes/admin.conf"}}
	for _, tool := range []string{"kubectl", "crictl", "ctr", "containerd", "runc", "kubelet"} {
		links = append(links, link{"/usr/local/bin/" + tool, "/opt/dory/bundle/bin/" + tool})
	}
	return links
}

// archive writes files and links as a tar stream for "tar -x -C /".
func archive(files []file, links []link) ([]byte, error) {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, f := range files {
		header := &tar.Header{Name: strings.TrimPrefix(f.path, "/"), Mode: int64(f.mode), Size: int64(len(f.content))}
		if err := w.WriteHeader(header); err != nil {
			return nil, err
		}
		if _, err := w.Write(f.content); err != nil {
			return nil, err
		}
	}
	for _, l := range links {
		header := &tar.Header{Typeflag: tar.TypeSymlink, Name: strings.TrimPrefix(l.path, "/"), Linkname: l.target, Mode: 0o777}
		if err := w.WriteHeader(header); err != nil {
			return nil, err
		}
	}
	err := w.Close() // which still writes
	return out.Bytes(), err
}

// digest names a set of files by their paths, modes and content.
func digest(files []file) string {
	hash := sha256.New()
	for _, f := range files {
		fmt.Fprintf(hash, "%s %o %d\n", f.path, f.mode, len(f.content))
		hash.Write(f.content)
	}
	return hex.EncodeToString(hash.Sum(nil))
}

// FilesDigest names everything that Node would install for these settings, certificates and keys aside.
func FilesDigest(s Settings) (string, error) {
	files, err := staticFiles(s)
	if err != nil {
		return "", err
	}
	docs, err := manifestTexts(s)
	for i, doc := range docs {
		files = append(files, file{path: fmt.Sprint(i), content: doc})
	}
	return digest(files), err
}

// manifestTexts renders what is applied to the API server, in order.
func manifestTexts(s Settings) ([][]byte, error) {
	names, err := fs.Glob(manifests, "manifests/*.yaml")
	if err != nil {
		return nil, err
	}
	var docs [][]byte
	for _, name := range names {
		doc, err := render(manifests, name, s)
		if err != nil {
			return nil, err
		}
		docs = append(docs, doc)
	}
	for _, addon := range Addons {
		if !slices.Contains(s.Addons, addon) {
			continue
		}
		doc, err := render(addons, "addons/"+addon+".yaml", s)
		if err != nil {
			return nil, err
		}
		docs = append(docs, doc)
	}
	return docs, nil
}
