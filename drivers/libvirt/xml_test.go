package libvirt

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dorykube/dory/drivers"
	"github.com/dorykube/dory/iso"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func exampleMachine() drivers.Machine {
	return drivers.Machine{
		Name: "dory", UUID: "0c4d2b0e-8c1c-4c54-9d1c-27a0a6c2a4d1", Dir: `/state/a "b" <c> & d/machine`,
		CPUs: 2, Memory: 4 << 30, Disk: 20 << 30,
		AuthorizedKey: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5 dory",
		Forwards:      []drivers.Forward{{Name: "ssh", Guest: 22}, {Name: "apiserver", Guest: 6443, Host: 8443}},
	}
}

func exampleSource() source {
	digest := strings.Repeat("0123456789abcdef", 4)
	return source{boot: iso.Boot{Cmdline: "root=dory "}, media: media{
		Image: sharedVolume("image", digest), Kernel: sharedVolume("kernel", digest),
		Initrd: sharedVolume("initrd", digest), Bundle: sharedVolume("bundle", digest)}}
}

// definitions are everything that is ever given to libvirt, by the kind of it.
func definitions(t *testing.T) map[string][2]string {
	t.Helper()
	d := New(Options{SessionPool: "/home/me/.local/share/dory-libvirt"})
	m, from := exampleMachine(), exampleSource()
	s := subnets()[0]
	system, session := place{}, place{session: true}
	domainOf := func(at place, m drivers.Machine, from source, accel, model, ip string) [2]string {
		is := markOf(m)
		is.Accel, is.Model, is.Reason, is.Hardware, is.Runs = accel, model, "TCG (emulation): /dev/kvm \"opens\", but < & >", hardware(m, from.media), true
		text, err := d.definition(at, m, from, is, ip)
		if err != nil {
			t.Fatal(err)
		}
		return [2]string{"domain", text}
	}
	ephemeral, bare := m, from
	ephemeral.Ephemeral, bare.Bundle = true, ""
	return map[string][2]string{
		"system-kvm":    domainOf(system, m, from, "kvm", "host", s.ip()),
		"system-tcg":    domainOf(system, m, from, "tcg", "max,erms=off,fsrm=off,la57=off", s.ip()),
		"system-sparse": domainOf(system, ephemeral, bare, "kvm", "host", s.ip()),
		"session-tcg":   domainOf(session, m, from, "tcg", "", "10.0.2.15/24,10.0.2.2,10.0.2.3"),
		"system-plain":  domainOf(system, m, from, "tcg", "qemu64,cx16=on,lahf-lm=on,-svm", s.ip()),
		"canary-kvm":    {"domain", d.canaryDefinition(system, m, from, "kvm", "host")},
		"canary-tcg":    {"domain", d.canaryDefinition(system, m, from, "tcg", "max,erms=off,fsrm=off,la57=off")},
		"network":       {"network", render("network.xml", networkOf(m, s))},
		"pool":          {"storagepool", render("pool.xml", struct{ Name, Path string }{poolName, systemPool})},
		"volume": {"storagevol", render("volume.xml", struct {
			Name     string
			Capacity int64
		}{machineVolume(m, dataRole), m.Disk})},
	}
}

func TestDefinitions(t *testing.T) {
	for name, d := range definitions(t) {
		path := filepath.Join("testdata", name+".xml")
		if *update {
			if err := os.WriteFile(path, []byte(d[1]), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if d[1] != string(want) {
			t.Errorf("%s differs; if that is meant, run 'go test ./drivers/libvirt -update' and read the change:\n%s", path, d[1])
		}
	}
}

// What is given to libvirt is what its own schemas allow.
func TestDefinitionsAreValid(t *testing.T) {
	validate, err := exec.LookPath("virt-xml-validate")
	if err != nil {
		t.Fatal("virt-xml-validate is not installed: test/packages.txt names its package")
	}
	for name, d := range definitions(t) {
		path := filepath.Join(t.TempDir(), name+".xml")
		if err := os.WriteFile(path, []byte(d[1]), 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command(validate, path, d[0]).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}

func TestMark(t *testing.T) {
	m := exampleMachine()
	is := markOf(m)
	is.Accel, is.Reason, is.Hardware, is.Runs = "tcg", `because "x" < & y`, "0123", true
	for name, definition := range map[string]string{
		"domain":  render("domain.xml", domain{Machine: m, Type: "kvm", Mark: is}),
		"network": render("network.xml", network{Mark: is, subnet: subnets()[0]}),
	} {
		got, ok := readMark(definition)
		got.XMLName = is.XMLName
		if !ok || got != is {
			t.Errorf("%s: read %+v, %v; want %+v", name, got, ok, is)
		}
	}
	if got, ok := readBare(is.bare()); !ok || got.attributes() != is.attributes() {
		t.Errorf("by itself: read %+v, %v; want %+v", got, ok, is)
	}
	for _, foreign := range []string{"", "<domain/>", "<domain><metadata/></domain>",
		`<domain><metadata><a:machine xmlns:a="https://example.com/1" uuid="x"/></metadata></domain>`} {
		if _, ok := readMark(foreign); ok {
			t.Errorf("%q bears a mark", foreign)
		}
	}
	if name := is.Object(); name != "dory-dory-0c4d2b0e" {
		t.Errorf("it is called %q", name)
	}
}
