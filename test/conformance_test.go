//go:build vm

package test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dorykube/dory/internal/atomicfile"
	"sigs.k8s.io/yaml"
)

// conformanceVersion is the Kubernetes whose tests are run: that of the bundle, as conformance/go.mod has it.
const conformanceVersion = "v1.37.2"

// withoutPods are the tests of 'make test-all': the API server and its rules alone, which an emulated node has time for.
var withoutPods = []string{
	"[sig-api-machinery] Discovery should validate PreferredVersion for each APIGroup [Conformance]",
	"[sig-api-machinery] AggregatedDiscovery should support raw aggregated discovery request for CRDs [Conformance]",
	"[sig-api-machinery] CustomResourceDefinition resources [Privileged:ClusterAdmin] should include custom resource definition resources in discovery documents [Conformance]",
	"[sig-api-machinery] ValidatingAdmissionPolicy [Privileged:ClusterAdmin] should support ValidatingAdmissionPolicy API operations [Conformance]",
	"[sig-apps] CronJob should support CronJob API operations [Conformance]",
	"[sig-auth] Certificates API [Privileged:ClusterAdmin] should support CSR API operations [Conformance]",
	"[sig-auth] ServiceAccounts should run through the lifecycle of a ServiceAccount [Conformance]",
	"[sig-instrumentation] Events API should ensure that an event can be fetched, patched, deleted, and listed [Conformance]",
	"[sig-network] Ingress API should support creating Ingress API operations [Conformance]",
	"[sig-network] Services should complete a service status lifecycle [Conformance]",
	"[sig-node] Lease lease API should be available [Conformance]",
	"[sig-node] RuntimeClass should support RuntimeClasses API operations [Conformance]",
}

// conformanceResult is what became of one test.
type conformanceResult struct {
	Passed  bool
	Seconds float64
	Why     string `json:",omitempty"` // the test's own words
}

// TestConformance runs upstream's conformance tests on a fork: those of withoutPods, or, when 'make conformance' says where
// results are kept, all that have not passed yet.
func TestConformance(t *testing.T) {
	kept := os.Getenv("DORY_CONFORMANCE")
	if kept == "" {
		onlyInAll(t) // the suite takes minutes to build
	}
	suite := buildSuite(t)
	d := newForker(t)
	d.expect(0, startLimit, "start")
	if kept == "" {
		for _, name := range withoutPods {
			t.Run(name, func(t *testing.T) {
				if r := suite.run(d.of(t), name); !r.Passed {
					t.Error(r.Why)
				}
			})
		}
		return
	}
	suite.importImages(d)
	results, names := readResults(t, kept), suite.names()
	var together, alone []string
	for _, name := range names {
		switch {
		case results[name].Passed:
		case strings.Contains(name, "[Serial]") || strings.Contains(name, "[Disruptive]"):
			alone = append(alone, name)
		default:
			together = append(together, name)
		}
	}
	var mu sync.Mutex
	run := func(t *testing.T, name string) {
		r := suite.run(d.of(t), name)
		t.Logf("passed: %v, after %.0f s", r.Passed, r.Seconds)
		mu.Lock()
		defer mu.Unlock()
		results[name] = r
		keepResults(t, kept, results, len(names))
		if !r.Passed {
			t.Error(r.Why)
		}
	}
	t.Run("together", func(t *testing.T) {
		for _, name := range together {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				run(t, name)
			})
		}
	})
	for _, name := range alone {
		t.Run(name, func(t *testing.T) { run(t, name) })
	}
}

func readResults(t *testing.T, path string) map[string]conformanceResult {
	t.Helper()
	results := map[string]conformanceResult{}
	text, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(text, &results)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return results
}

func keepResults(t *testing.T, path string, results map[string]conformanceResult, all int) {
	t.Helper()
	text, err := json.MarshalIndent(results, "", "  ")
	if err == nil {
		err = atomicfile.Write(path, append(text, '\n'), 0o644)
	}
	if err == nil {
		err = atomicfile.Write(strings.TrimSuffix(path, ".json")+".md", conformancePage(results, all), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// conformancePage is the list that people read.
func conformancePage(results map[string]conformanceResult, all int) []byte {
	var passed, failed []string
	for _, name := range slices.Sorted(maps.Keys(results)) {
		if r := results[name]; r.Passed {
			passed = append(passed, fmt.Sprintf("- %s: %.0f s", name, r.Seconds))
		} else {
			failed = append(failed, fmt.Sprintf("- %s: %s", name, r.Why))
		}
	}
	return fmt.Appendf(nil, `# Upstream's conformance tests

Made by 'make conformance': Kubernetes %s's own tests, two at a time (those marked Serial or Disruptive alone), on a fork. It goes on
where it was stopped, and tries again what has failed. Of %d tests, %d have passed, %d have not, and %d were not run yet.

## Passed

%s

## Not passed

%s
`, conformanceVersion, all, len(passed), len(failed), all-len(passed)-len(failed), strings.Join(passed, "\n"), strings.Join(failed, "\n"))
}

// suite is what upstream's tests were built to.
type suite struct {
	t       *testing.T
	source  string // Kubernetes' module
	program string // e2e.test
	agnhost string // the program that most of its pods run
	sample  string // the API server that a test adds to the cluster's
	etcd    string // for that
}

// buildSuite builds upstream's tests from the module, once for each state of its go.mod.
func buildSuite(t *testing.T) *suite {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	inputs := sha256.New()
	for _, name := range []string{"go.mod", "go.sum"} { // the toolchain's version is in the first
		text, err := os.ReadFile(filepath.Join("conformance", name))
		if err != nil {
			t.Fatal(err)
		}
		inputs.Write(text)
	}
	dir := filepath.Join(cache, "dory", "conformance", hex.EncodeToString(inputs.Sum(nil)[:8]))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	s := &suite{t: t, program: filepath.Join(dir, "e2e.test"), agnhost: filepath.Join(dir, "agnhost"),
		sample: filepath.Join(dir, "sample-apiserver"), etcd: filepath.Join(dir, "etcd")}
	s.source = strings.TrimSpace(s.command("go", "list", "-m", "-f", "{{.Dir}}", "k8s.io/kubernetes"))
	for program, args := range map[string][]string{
		// Without -vet=off the go command first looks for mistakes in all of Kubernetes, for half an hour.
		s.program: {"test", "-c", "-vet=off", "-trimpath", "-ldflags=-s -w", "-o", s.program + ".new", "k8s.io/kubernetes/test/e2e"},
		s.agnhost: {"build", "-trimpath", "-ldflags=-s -w", "-o", s.agnhost + ".new", "k8s.io/kubernetes/test/images/agnhost"},
		s.sample:  {"build", "-trimpath", "-ldflags=-s -w", "-o", s.sample + ".new", "k8s.io/sample-apiserver"},
		s.etcd:    {"build", "-C", "../../bundle/components/etcd", "-trimpath", "-ldflags=-s -w", "-o", s.etcd + ".new", "go.etcd.io/etcd/server/v3"},
	} {
		if _, err := os.Stat(program); err == nil {
			continue
		}
		began := time.Now()
		s.command("go", args...)
		if err := os.Rename(program+".new", program); err != nil {
			t.Fatal(err)
		}
		t.Logf("built %s in %.0f s", filepath.Base(program), time.Since(began).Seconds())
	}
	return s
}

// command runs a program in the module that pins the suite.
func (s *suite) command(name string, args ...string) string {
	s.t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = "conformance"
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off", "GOFLAGS=")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		s.t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, tail(stderr.String(), 20))
	}
	return string(out)
}

// names are all conformance tests, as upstream lists them.
func (s *suite) names() (names []string) {
	text, err := os.ReadFile(filepath.Join(s.source, "test", "conformance", "testdata", "conformance.yaml"))
	if err != nil {
		s.t.Fatal(err)
	}
	var listed []struct{ Codename string }
	if err := yaml.Unmarshal(text, &listed); err != nil || len(listed) < 400 {
		s.t.Fatalf("%d tests are listed: %v", len(listed), err)
	}
	for _, test := range listed {
		names = append(names, test.Codename)
	}
	return names
}

// conformanceLimit is for one test, in an emulated guest.
const conformanceLimit = 20 * time.Minute

// run runs one test. That it ran at all is looked at too: a name that fits none passes.
func (s *suite) run(d *dory, name string) conformanceResult {
	d.t.Helper()
	began := time.Now()
	// A name in full, but for the suite's, which comes first.
	cmd := exec.Command(s.program, "--kubeconfig="+d.kubeconfig(), "--provider=skeleton", "--ginkgo.no-color", "--ginkgo.silence-skips",
		"--ginkgo.focus="+regexp.QuoteMeta(name)+"$", "--ginkgo.timeout="+conformanceLimit.String(), "--dump-logs-on-failure=false")
	cmd.Dir = d.t.TempDir()
	out, err := cmd.CombinedOutput()
	r := conformanceResult{Passed: err == nil, Seconds: time.Since(began).Round(100 * time.Millisecond).Seconds()}
	ran := regexp.MustCompile(`Ran (\d+) of \d+ Specs`).FindSubmatch(out)
	switch {
	case err == nil && (ran == nil || string(ran[1]) != "1"):
		r = conformanceResult{Seconds: r.Seconds, Why: "it was not run: " + firstMatch(out, `(?m)^.*(?:skipp|SKIPP).*$`)}
	case err != nil:
		r.Why = firstMatch(out, `(?m)^\s*\[FAIL(?:ED)?\] .*$`)
		d.t.Log(tail(string(out), 60))
	}
	return r
}

func firstMatch(text []byte, pattern string) string {
	return strings.TrimSpace(string(regexp.MustCompile(pattern).Find(text)))
}
