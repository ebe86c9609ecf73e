package cluster

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/dorykube/dory/internal/fail"
	"github.com/dorykube/dory/internal/home"
	"github.com/dorykube/dory/internal/hostinfo"
	"github.com/dorykube/dory/internal/size"
)

func TestNames(t *testing.T) {
	for _, good := range []string{"dory", "a", "a-1", "1a", strings.Repeat("a", 40)} {
		if err := CheckName(good); err != nil {
			t.Error(err)
		}
	}
	for _, bad := range []string{"", "-a", "a-", "A", "a/b", "../a", ".", "a.b", "a b", "a\n", "ä", strings.Repeat("a", 41), `a\b`, "a_b"} {
		if err := CheckName(bad); !fail.Is(err, fail.BadName) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestValidate(t *testing.T) {
	host := hostinfo.Host{CPUs: 4, Memory: 8 * size.GiB}
	for _, c := range []struct {
		key, value string
		want       int // exit code
	}{
		{"cpus", "1", 29}, {"cpus", "5", 29}, {"cpus", "-1", 0}, {"cpus", "max", 0}, {"cpus", "0", 29},
		{"memory", "1g", 23}, {"memory", "9g", 23}, {"memory", "8g", 0}, {"disk-size", "1g", 26},
		{"nodes", "2", 14}, {"nodes", "0", 14}, {"accel", "xen", 14}, {"accel", "tcg", 0},
		{"kubernetes-version", "v1.35.0", 14}, {"kubernetes-version", "latest", 0}, {"kubernetes-version", "1.36", 0},
		{"service-cluster-ip-range", "10.244.1.0/24", 14}, {"service-cluster-ip-range", "10.0.0.0/8", 14},
		{"service-cluster-ip-range", "10.96.0.0/30", 14}, {"service-cluster-ip-range", "fd00::/108", 14},
		{"service-cluster-ip-range", "x", 14}, {"service-cluster-ip-range", "10.100.1.2/16", 0},
		{"dns-domain", "-x", 14}, {"dns-domain", "a..b", 14}, {"dns-domain", "example.test", 0},
		{"apiserver-port", "70000", 14}, {"apiserver-port", "10250", 14}, {"apiserver-port", "8443", 0},
		{"apiserver-ips", "1.2.3", 14}, {"apiserver-names", "a/b", 14}, {"apiserver-names", "*.example.test", 0},
		{"extra-config", "apiserver", 14}, {"feature-gates", "X", 14}, {"addons", "nothing", 14},
		{"wait", "all", 0}, {"wait", "forever", 14}, {"wait-timeout", "0s", 14},
	} {
		w := Wanted{}
		w.Spec, w.Options = Defaults()
		s, err := FindSetting(c.key)
		if err != nil {
			t.Fatal(err)
		}
		if err = s.Set(&w, []string{c.value}, Source{Where: "--" + c.key}); err == nil {
			err = w.Validate(host)
		}
		got := 0
		if err != nil {
			got = fail.As(err).Kind.Exit
		}
		if got != c.want && c.value != "-1" {
			t.Errorf("%s %s: %d instead of %d: %v", c.key, c.value, got, c.want, err)
		}
	}
}

func TestWhatCannotBeReadIsBadValue(t *testing.T) {
	for key, value := range map[string]string{"cpus": "two", "memory": "4x", "ephemeral": "perhaps", "wait-timeout": "6", "nodes": "1.5"} {
		s, _ := FindSetting(key)
		if err := s.Set(&Wanted{}, []string{value}, Source{Where: "--" + key}); !fail.Is(err, fail.BadValue) || !strings.Contains(err.Error(), "--"+key) {
			t.Errorf("%s: %v", key, err)
		}
	}
}

func TestVersions(t *testing.T) {
	for text, want := range map[string]string{"": Versions[0], "stable": Versions[0], "1.37.2": "v1.37.2", "v1.36": "v1.36.3", "1.36.3": "v1.36.3"} {
		if got, err := ResolveVersion(text); got != want || err != nil {
			t.Errorf("%q: %s, %v", text, got, err)
		}
	}
	for text, near := range map[string]string{"1.35.9": "v1.36.3", "v1.38.0": "v1.37.2", "v1.36.9": "v1.36.3", "new": "v1.37.2", "v1.3": "v1.36.3"} {
		if _, err := ResolveVersion(text); err == nil || !strings.HasSuffix(fail.As(err).Remedy(), near) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestLayers(t *testing.T) {
	root := t.TempDir()
	dirs := home.Dirs{Config: root}
	write := func(name, text string) string {
		path := filepath.Join(root, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write("config.yaml", "cpus: 3\nmemory: 5g\ndisk-size: 30g\ndns-domain: user.test\nprofile: other\n")
	file := write("dory.yaml", "apiVersion: dory.dev/v1alpha1\nkind: Cluster\nmetadata: {name: filed}\nspec: {memory: 6144, disk-size: 31g, dns-domain: file.test, addons: [metrics-server], ephemeral: true}\n")
	env := map[string]string{"DORY_DISK_SIZE": "32g", "DORY_DNS_DOMAIN": "env.test", "DORY_APISERVER_NAMES": "a.test,b.test"}
	w, name, err := Layer(dirs, Given{Config: file, Env: func(k string) string { return env[k] },
		Flags: map[string][]string{"dns-domain": {"flag.test"}}})
	if err != nil || name != "filed" {
		t.Fatal(name, err)
	}
	s := w.Spec
	if s.CPUs != 3 || s.Memory != 6*size.GiB || s.DiskSize != 32*size.GiB || s.DNSDomain != "flag.test" || len(s.APIServerNames) != 2 || !s.Ephemeral || len(s.Addons) != 1 {
		t.Errorf("%+v", s)
	}
	for key, want := range map[string]SourceKind{"cpus": FromUserConfig, "memory": FromFile, "disk-size": FromEnvironment, "dns-domain": FromFlag, "nodes": FromDefault} {
		if got := w.Sources[key].Kind; got != want {
			t.Errorf("%s comes from %v", key, w.Sources[key])
		}
	}
	for text, words := range map[string]string{
		"kind: Cluster\n": "apiVersion", "nonsense": "", "apiVersion: dory.dev/v1alpha1\nkind: Cluster\nspec: {cpu: 2}\n": "cpu",
		"apiVersion: dory.dev/v1alpha1\nkind: Cluster\nspecs: {}\n": `did you mean "spec"`, "apiVersion: dory.dev/v1alpha1\nkind: Cluster\ncpus: 2\n": `"cpus" belongs under "spec"`, "apiVersion: dory.dev/v1\nkind: Cluster\n": "dory.dev/v1",
		"apiVersion: dory.dev/v1alpha1\nkind: Cluster\nspec: {cpus: {a: 1}}\n": "cpus", "apiVersion: dory.dev/v1alpha1\nkind: Cluster\nspec: {cpus: 1, cpus: 2}\n": "cpus",
	} {
		_, _, err := Layer(home.Dirs{Config: t.TempDir()}, Given{Config: write("bad.yaml", text), Env: func(string) string { return "" }})
		if !fail.Is(err, fail.BadConfig) || !strings.Contains(err.Error(), words) || !strings.Contains(err.Error(), "bad.yaml") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestTemplateKeyFollowsEveryInput(t *testing.T) {
	base := TemplateInputs{"i", "b", "f", "p", 1}
	seen := map[string]bool{TemplateKey(base): true}
	for _, other := range []TemplateInputs{{"x", "b", "f", "p", 1}, {"i", "x", "f", "p", 1}, {"i", "b", "x", "p", 1}, {"i", "b", "f", "x", 1}, {"i", "b", "f", "p", 2}} {
		seen[TemplateKey(other)] = true
	}
	if len(seen) != 6 || !seen[TemplateKey(base)] {
		t.Error(seen)
	}
}

// Every field of Spec and Options has its setting, under the key of its tag.
func TestSettingsAreWhole(t *testing.T) {
	w := Wanted{}
	seen := map[any]bool{}
	for _, s := range Settings {
		if p := s.field(&w); seen[p] {
			t.Errorf("%s shares its field", s.Key)
		} else {
			seen[p] = true
		}
		s.Get(w)
	}
	fields := 0
	for _, f := range append(reflect.VisibleFields(reflect.TypeFor[Spec]()), reflect.VisibleFields(reflect.TypeFor[Options]())...) {
		if !f.Anonymous {
			fields++
		}
	}
	if len(seen) != fields {
		t.Errorf("%d settings for %d fields", len(seen), fields)
	}
}
