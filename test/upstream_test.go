//go:build vm

package test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// What clusters do that kubeadm makes, and dory's once did not.

// asUpstream looks at all of it in a cluster that runs Kubernetes v1.37 or newer.
func asUpstream(t *testing.T, d *dory, profile string) {
	requestsAreSigned(t, d, profile)
	discoveryIsOpen(t, d, profile)
	zonesAreKnown(t, d, profile)
	localhostServes(t, d, profile)
}

// request is what a CertificateSigningRequest asks for.
type request struct {
	signer, usage string
	template      x509.CertificateRequest
}

// requests has one of each of upstream's signers that its API still takes requests for: legacy-unknown went with v1beta1.
var requests = map[string]request{
	"user": {"kubernetes.io/kube-apiserver-client", "client auth",
		x509.CertificateRequest{Subject: pkix.Name{CommonName: "jane", Organization: []string{"developers"}}}},
	"kubelet": {"kubernetes.io/kube-apiserver-client-kubelet", "client auth",
		x509.CertificateRequest{Subject: pkix.Name{CommonName: "system:node:dory", Organization: []string{"system:nodes"}}}},
	"server": {"kubernetes.io/kubelet-serving", "server auth",
		x509.CertificateRequest{Subject: pkix.Name{CommonName: "system:node:dory", Organization: []string{"system:nodes"}},
			DNSNames: []string{"dory"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}},
}

const requestManifest = `
apiVersion: certificates.k8s.io/v1
kind: CertificateSigningRequest
metadata: {name: %s}
spec: {request: %s, signerName: %s, usages: ["digital signature", "%s"]}
`

// signed has a cluster sign a request, and returns the files of certificate and key.
func (d *dory) signed(profile, name string) (certFile, keyFile string) {
	d.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		d.t.Fatal(err)
	}
	r := requests[name]
	der, err := x509.CreateCertificateRequest(rand.Reader, &r.template, key)
	if err != nil {
		d.t.Fatal(err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
	name = fmt.Sprintf("%s-%d", name, time.Now().UnixNano())
	manifest := fmt.Sprintf(requestManifest, name, base64.StdEncoding.EncodeToString(text), r.signer, r.usage)
	if r := d.pipe(commandLimit, manifest, "-p", profile, "kubectl", "--", "create", "-f", "-"); r.code != 0 {
		d.t.Fatal(r.stderr)
	}
	d.kubectlOf(profile, "certificate", "approve", name)
	var cert []byte
	d.eventually("the request "+name+" is signed", 2*time.Minute, func() error {
		cert, err = base64.StdEncoding.DecodeString(d.kubectlOf(profile, "get", "csr", name, "-o", "jsonpath={.status.certificate}"))
		if err != nil || len(cert) == 0 {
			return errorString(d.kubectlOf(profile, "get", "csr", name, "-o", "jsonpath={.status}"))
		}
		return nil
	})
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		d.t.Fatal(err)
	}
	dir := d.t.TempDir()
	certFile, keyFile = filepath.Join(dir, "crt"), filepath.Join(dir, "key")
	for path, content := range map[string][]byte{certFile: cert, keyFile: pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER})} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			d.t.Fatal(err)
		}
	}
	return certFile, keyFile
}

// whoAmI asks a cluster's API server with nothing but a certificate.
func (d *dory) whoAmI(profile, certFile, keyFile string) result {
	d.t.Helper()
	empty := filepath.Join(d.t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		d.t.Fatal(err)
	}
	return d.run(commandLimit, "-p", profile, "kubectl", "--", "auth", "whoami", "--kubeconfig", empty, "--insecure-skip-tls-verify",
		"--server", d.serverOf(profile), "--client-certificate", certFile, "--client-key", keyFile, "-o", "jsonpath={.status.userInfo.username} {.status.userInfo.groups}")
}

func (d *dory) serverOf(profile string) string {
	d.t.Helper()
	return strings.TrimSpace(d.kubectlOf(profile, "config", "view", "--minify", "-o", "jsonpath={.clusters[0].cluster.server}"))
}

func requestsAreSigned(t *testing.T, d *dory, profile string) {
	for name, want := range map[string]string{"user": `jane ["developers",`, "kubelet": `system:node:dory ["system:nodes",`} {
		cert, key := d.signed(profile, name)
		if r := d.whoAmI(profile, cert, key); r.code != 0 || !strings.HasPrefix(r.stdout, want) {
			t.Errorf("%s: the certificate of %s makes its holder %q, exit %d: %s", profile, name, r.stdout, r.code, r.stderr)
		}
	}
	// What pods are told to trust verifies a server's.
	cert, _ := d.signed(profile, "server")
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(d.kubectlOf(profile, "get", "configmap", "kube-root-ca.crt", "-o", `jsonpath={.data.ca\.crt}`)))
	text, _ := os.ReadFile(cert)
	block, _ := pem.Decode(text)
	parsed, err := x509.ParseCertificate(block.Bytes)
	if err == nil {
		_, err = parsed.Verify(x509.VerifyOptions{Roots: roots, DNSName: "127.0.0.1"})
	}
	if err != nil {
		t.Errorf("%s: the kubelet's certificate: %v", profile, err)
	}
}

// stranger shows no credentials.
var stranger = &http.Client{Timeout: time.Minute, Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}

func ask(t *testing.T, address string) (code int, body string) {
	t.Helper()
	response, err := stranger.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(text)
}

// discoveryIsOpen: RBAC says what strangers may do, and keys are found where the question was asked.
func discoveryIsOpen(t *testing.T, d *dory, profile string) {
	const binding = "strangers-discover"
	server := d.serverOf(profile)
	configuration := server + "/.well-known/openid-configuration"
	if code, body := ask(t, configuration); code != http.StatusForbidden {
		t.Errorf("%s: before anybody has allowed it, discovery answers %d: %s", profile, code, body)
	}
	d.kubectlOf(profile, "create", "clusterrolebinding", binding, "--clusterrole=system:service-account-issuer-discovery", "--group=system:unauthenticated")
	var found struct {
		Issuer string
		Keys   string `json:"jwks_uri"`
	}
	d.eventually("discovery is open", time.Minute, func() error {
		code, body := ask(t, configuration)
		if code != http.StatusOK {
			return errorString(body)
		}
		return json.Unmarshal([]byte(body), &found)
	})
	if found.Issuer != "https://kubernetes.default.svc.cluster.local" || found.Keys != server+"/openid/v1/jwks" {
		t.Errorf("%s: found %+v at %s", profile, found, server)
	}
	if code, body := ask(t, found.Keys); code != http.StatusOK || !strings.Contains(body, `"kty":"EC"`) {
		t.Errorf("%s: the keys: %d: %s", profile, code, body)
	}
	d.kubectlOf(profile, "delete", "clusterrolebinding", binding)
}

const zoneManifest = `
apiVersion: batch/v1
kind: CronJob
metadata: {name: %s}
spec:
  schedule: "* * * * *"
  timeZone: %s
  suspend: %t
  jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: main, image: "%s", imagePullPolicy: Never, command: ["true"]}]}}}}
`

func zonesAreKnown(t *testing.T, d *dory, profile string) {
	image := d.image(profile)
	create := func(name, zone string, suspend bool) result {
		return d.pipe(commandLimit, fmt.Sprintf(zoneManifest, name, zone, suspend, image), "-p", profile, "kubectl", "--", "create", "-f", "-")
	}
	if r := create("nowhere", "Nowhere/Atall", true); r.code == 0 || !strings.Contains(r.stderr, "unknown time zone") {
		t.Errorf("%s: a time zone that is none: exit %d: %s", profile, r.code, r.stderr)
	}
	for name, zone := range map[string]string{"utc": "Etc/UTC", "zurich": "Europe/Zurich"} {
		if r := create(name, zone, name == "utc"); r.code != 0 {
			t.Errorf("%s: the time zone %s: %s", profile, zone, r.stderr)
		}
	}
	d.eventually("a CronJob with a time zone runs", 5*time.Minute, func() error {
		if d.kubectlOf(profile, "get", "cronjob", "zurich", "-o", "jsonpath={.status.lastScheduleTime}") == "" {
			return errorString("it has not run")
		}
		return nil
	})
	d.kubectlOf(profile, "delete", "cronjob", "utc", "zurich")
}

const serverManifest = `
apiVersion: v1
kind: Pod
metadata: {name: local, labels: {app: local}}
spec:
  containers: [{name: main, image: "%s", imagePullPolicy: Never, command: [busybox, sh, -c, "mkdir -p /tmp/www && echo here is the pod >/tmp/www/index.html && exec busybox httpd -f -p 8080 -h /tmp/www"]}]
---
apiVersion: v1
kind: Service
metadata: {name: local}
spec:
  type: NodePort
  selector: {app: local}
  ports: [{port: 80, targetPort: 8080, nodePort: 30555}]
`

// localhostServes: on the node, a NodePort is at localhost too.
func localhostServes(t *testing.T, d *dory, profile string) {
	if r := d.pipe(commandLimit, fmt.Sprintf(serverManifest, d.image(profile)), "-p", profile, "kubectl", "--", "apply", "-f", "-"); r.code != 0 {
		t.Fatal(r.stderr)
	}
	d.kubectlOf(profile, "wait", "pod/local", "--for=condition=Ready", "--timeout=5m")
	d.eventually("a NodePort answers at the node's localhost", time.Minute, func() error {
		r := d.run(commandLimit, "-p", profile, "ssh", "--", "curl -sS -m 10 http://localhost:30555/")
		if strings.TrimSpace(r.stdout) != "here is the pod" {
			return errorString(r.stdout + r.stderr)
		}
		return nil
	})
	d.kubectlOf(profile, "delete", "pod/local", "service/local", "--now")
}

// sistersShareNothing tries at two what one has issued: a user's certificate, and sessions of TLS, whose keys were in the memory that
// both began with.
func sistersShareNothing(t *testing.T, d *dory) {
	cert, key := d.signed("one", "user")
	if r := d.whoAmI("one", cert, key); r.code != 0 {
		t.Errorf("one refuses the certificate that it has issued: %s", r.stderr)
	}
	if r := d.whoAmI("two", cert, key); r.code == 0 || !strings.Contains(r.stderr, "Unauthorized") && !strings.Contains(r.stderr, "must be logged in") {
		t.Errorf("a certificate that one has issued at two: exit %d: %s %s", r.code, r.stdout, r.stderr)
	}
	ports := map[string]string{"API server": "6443", "kubelet": "10250", "scheduler": "10259", "controller manager": "10257"}
	for component, port := range ports {
		for _, version := range []string{"-tls1_2", "-tls1_3"} {
			// A ticket of TLS 1.3 follows the handshake.
			session := d.in("one", fmt.Sprintf("(sleep 2) | openssl s_client -connect 127.0.0.1:%s %s -sess_out /run/session >/run/session.log 2>&1; grep -c '^New, ' /run/session.log; test ! -e /run/session || base64 -w0 /run/session; rm -f /run/session", port, version))
			opened, session, _ := strings.Cut(session, "\n")
			if opened == "0" {
				t.Errorf("one's %s opens no session %s", component, version)
			}
			if session == "" {
				continue // nothing that could be resumed
			}
			resumed := d.in("two", fmt.Sprintf("echo %s | base64 -d >/run/session; (sleep 1) | openssl s_client -connect 127.0.0.1:%s %s -sess_in /run/session 2>&1 | grep -E '^(New|Reused), '", session, port, version))
			if !strings.HasPrefix(resumed, "New, ") {
				t.Errorf("two's %s goes on with a session of one's: %s", component, resumed)
			}
		}
	}
}
