//go:build vm

package test

import (
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// upgradeLimit is for three boots and as many provisionings.
const upgradeLimit = 3 * startLimit

// TestChangedSpecs changes a cluster that has somebody's data in it, in every way that is possible and in some that are not.
func TestChangedSpecs(t *testing.T) {
	onlyInAll(t)
	d := newDory(t)
	t.Log(d.expect(0, startLimit, "start", "--no-template", "--kubernetes-version", "v1.36.3").stderr)
	d.kubectl("create", "configmap", "kept", "--from-literal=by=upgrade")
	cert, key := d.signed("dory", "user")
	part, _ := d.parts(t)
	part("what cannot be changed is refused", refusedChanges)
	part("memory waits for the next boot", laterMemory)
	part("the disk grows", growingDisk)
	part("an upgrade that fails is rolled back", failingUpgrade)
	part("an upgrade, a name for the API server, a flag of a component", upgrade)
	part("who was let in before still is", func(t *testing.T, d *dory) {
		if r := d.whoAmI("dory", cert, key); r.code != 0 || !strings.HasPrefix(r.stdout, "jane ") {
			t.Errorf("exit %d: %s %s", r.code, r.stdout, r.stderr)
		}
	})
	part("it does what upstream's clusters do", func(t *testing.T, d *dory) { asUpstream(t, d, "dory") })
}

func refusedChanges(t *testing.T, d *dory) {
	before := d.readRecord()
	for _, change := range [][]string{{"--disk-size", "10g"}, {"--driver", "libvirt"}, {"--service-cluster-ip-range", "10.97.0.0/16"}, {"--dns-domain", "other.test"}} {
		r := d.expect(11, commandLimit, append([]string{"start"}, change...)...)
		if !strings.Contains(r.stderr, change[0]) || !strings.Contains(r.stderr, "SPEC_CONFLICT") {
			t.Errorf("%v: %s", change, r.stderr)
		}
	}
	if d.readRecord() != before {
		t.Error("the record was changed")
	}
	if r := d.expect(0, commandLimit, "start", "--dry-run", "--memory", "3g"); !strings.Contains(r.stdout, "--memory: 4GiB becomes 3GiB, when the machine boots next") || r.took > 5*time.Second {
		t.Errorf("%s in %s", r.stdout, r.took)
	}
}

func (d *dory) readRecord() string {
	d.t.Helper()
	text, err := os.ReadFile(filepath.Join(d.home, "state", "clusters", "dory", "cluster.json"))
	if err != nil {
		d.t.Fatal(err)
	}
	return string(text)
}

func laterMemory(t *testing.T, d *dory) {
	if r := d.expect(0, commandLimit, "start", "--memory", "3g"); !strings.Contains(r.stderr, "when the machine boots next, it gets --memory 3GiB (now 4GiB)") {
		t.Error(r.stderr)
	}
	if mib := d.guestNumber("awk '/MemTotal/{print int($2/1024)}' /proc/meminfo"); mib < 3500 {
		t.Errorf("the machine has %d MiB already", mib)
	}
}

func growingDisk(t *testing.T, d *dory) {
	const size = "df -Pm /var | awk 'NR==2{print $2}'"
	before := d.guestNumber(size)
	if r := d.expect(0, commandLimit, "start", "--disk-size", "24g"); !strings.Contains(r.stderr, "--disk-size: 20GiB becomes 24GiB, and the file system with it") {
		t.Error(r.stderr)
	}
	if after := d.guestNumber(size); after < before+3500 {
		t.Errorf("the file system had %d MiB and has %d", before, after)
	}
}

func (d *dory) guestNumber(script string) int {
	d.t.Helper()
	n, err := strconv.Atoi(strings.TrimSpace(d.must(commandLimit, "ssh", "--", script)))
	if err != nil {
		d.t.Fatal(err)
	}
	return n
}

// failingUpgrade: the new version gets a flag that it does not know.
func failingUpgrade(t *testing.T, d *dory) {
	r := d.expect(100, upgradeLimit, "start", "--kubernetes-version", "v1.37.2", "--extra-config", "scheduler.no-such-flag=1")
	t.Log(r.stderr)
	if !strings.Contains(r.stderr, "v1.36.3 is back") || !strings.Contains(r.stderr, "no-such-flag") {
		t.Error("it does not say what became of it")
	}
	d.runsVersion("v1.36.3")
}

func upgrade(t *testing.T, d *dory) {
	t.Log(d.expect(0, upgradeLimit, "start", "--kubernetes-version", "v1.37.2",
		"--apiserver-names", "api.test", "--extra-config", "apiserver.event-ttl=2h").stderr)
	d.runsVersion("v1.37.2")
	d.hasNamesAndFlags(t)
	if mib := d.guestNumber("awk '/MemTotal/{print int($2/1024)}' /proc/meminfo"); mib > 3100 {
		t.Errorf("the machine has %d MiB still", mib)
	}
	d.expect(11, commandLimit, "start", "--kubernetes-version", "v1.36.3")
	if left := d.must(commandLimit, "ssh", "--", "ls /var/lib/dory"); strings.Contains(left, "etcd.before") {
		t.Errorf("the copy is still there: %s", left)
	}
	// Its images are those of the new bundle, and pods run from them.
	d.kubectl("run", "after", "--image="+d.busybox(), "--image-pull-policy=Never", "--restart=Never", "--command", "--", "true")
	d.eventually("a pod of the new bundle's image runs", commandLimit, func() error {
		if phase := d.kubectl("get", "pod", "after", "-o", "jsonpath={.status.phase}"); phase != "Succeeded" {
			return errorString(phase)
		}
		return nil
	})
}

func (d *dory) hasNamesAndFlags(t *testing.T) {
	t.Helper()
	shown := d.must(commandLimit, "ssh", "--", "cat /etc/kubernetes/pki/apiserver.crt")
	block, _ := pem.Decode([]byte(shown))
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil || cert.VerifyHostname("api.test") != nil {
		t.Errorf("%v: %v", err, cert.DNSNames)
	}
	if flags := d.must(commandLimit, "ssh", "--", "cat /proc/$(pgrep -o kube-apiserver)/cmdline | tr '\\0' ' '"); !strings.Contains(flags, "--event-ttl=2h") {
		t.Error(flags)
	}
}

func (d *dory) runsVersion(version string) {
	d.t.Helper()
	if got := d.kubectl("get", "node", "-o", "jsonpath={.items[0].status.nodeInfo.kubeletVersion}"); got != version {
		d.t.Errorf("the node runs %s, not %s", got, version)
	}
	if got := d.kubectl("version"); !strings.Contains(got, "Server Version: "+version) {
		d.t.Errorf("the API server is not %s: %s", version, got)
	}
	if got := d.kubectl("get", "configmap", "kept", "-o", "jsonpath={.data.by}"); got != "upgrade" {
		d.t.Errorf("the data is %q", got)
	}
}

// busybox is the bundle's image of it.
func (d *dory) busybox() string {
	d.t.Helper()
	name := regexp.MustCompile(`\S*/busybox:\S*`).FindString(d.must(commandLimit, "ssh", "--", "ctr -n k8s.io images ls -q"))
	if name == "" {
		d.t.Fatal("the bundle has no busybox")
	}
	return name
}
