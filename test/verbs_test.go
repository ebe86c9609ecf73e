//go:build vm

package test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/client-go/tools/clientcmd"
)

// turmoil is how many processes do verbs at random, on how many clusters and for how long.
type turmoil struct {
	processes, clusters int
	lasts               time.Duration
}

// The second is that of 'make test': each cluster that is left at the end may have to boot.
var (
	wholeTurmoil = turmoil{8, 4, 5 * time.Minute}
	shortTurmoil = turmoil{8, 2, 30 * time.Second}
)

const verbSeed = "DORY_SEED" // another seed than 1

// verb is what is done at random, so often, and the identifiers of the failures that are as they should be. That somebody else
// holds the cluster always is, and that there is no such cluster.
type verb struct {
	args    string
	often   int
	refused []string
}

var verbs = []verb{
	{"start", 6, nil},
	{"stop", 4, nil},
	{"stop --power-off", 1, nil},
	{"delete", 3, nil},
	{"pause", 3, []string{"CLUSTER_NOT_RUNNING"}},
	{"unpause", 3, []string{"CLUSTER_NOT_RUNNING"}},
	{"update-context", 2, nil},
	{"ip", 1, []string{"CLUSTER_NOT_RUNNING"}},
	{"status", 5, nil},
	{"profile list", 3, nil},
	{"template list", 1, nil},
	{"template prune", 1, nil},
}

// TestRandomVerbs has many processes do verbs at once. Nothing is lost and nothing stays behind, also of what other tools have
// in the kubeconfig.
func TestRandomVerbs(t *testing.T) {
	const kind = "verbs at random"
	notIfOthersAreChosen(t, kind)
	d := newForker(t)
	d.env = append(d.env, "DORY_WAIT_TIMEOUT="+makingLimit) // several guests may boot at once
	if err := os.WriteFile(d.kubeconfig(), []byte(foreign), 0o600); err != nil {
		t.Fatal(err)
	}
	seed, turmoil := uint64(1), shortTurmoil
	if text := os.Getenv(verbSeed); text != "" {
		seed, _ = strconv.ParseUint(text, 10, 64)
	}
	if os.Getenv(torture) != "" {
		turmoil = wholeTurmoil
	}
	name := fmt.Sprintf("%d processes, %d clusters, %v", turmoil.processes, turmoil.clusters, turmoil.lasts)
	t.Logf("%s, seed %d", name, seed)
	end := time.Now().Add(turmoil.lasts)
	var all sync.WaitGroup
	tally := &tally{}
	for i := range turmoil.processes {
		all.Go(func() {
			choice := rand.New(rand.NewPCG(seed, uint64(i)))
			for time.Now().Before(end) {
				d.atRandom(choice, turmoil.clusters, tally)
			}
		})
	}
	all.Wait()
	t.Logf("%s", tally)
	d.nothingIsLost()
	report.add(outcome{Kind: kind, Name: name, OK: !t.Failed(), Note: fmt.Sprintf("seed %d: %s", seed, tally), Status: tally.status})
}

// notIfOthersAreChosen leaves a test out if only some trials are asked for and it is not among them.
func notIfOthersAreChosen(t *testing.T, kind string) {
	pattern := os.Getenv(torture)
	if pattern == "" || pattern == "all" {
		return
	}
	if matches, err := regexp.MatchString(pattern, kind); err != nil || !matches {
		t.Skipf("%s=%s does not choose %q", torture, pattern, kind)
	}
}

// tally counts what came of the verbs.
type tally struct {
	mu     sync.Mutex
	count  map[string]int
	status time.Duration // the longest
}

func (y *tally) add(what string) {
	y.mu.Lock()
	defer y.mu.Unlock()
	if y.count == nil {
		y.count = map[string]int{}
	}
	y.count[what]++
}

func (y *tally) String() string {
	var parts []string
	for _, what := range slices.Sorted(maps.Keys(y.count)) {
		parts = append(parts, fmt.Sprintf("%s %d", what, y.count[what]))
	}
	return strings.Join(parts, ", ")
}

var identifier = regexp.MustCompile(`(?m)^ *([A-Z0-9_]+) \(exit code \d+\)$`)

// atRandom does one verb. It runs on a goroutine of its own, and so reports with Error, not with Fatal.
func (d *dory) atRandom(choice *rand.Rand, clusters int, tally *tally) {
	sum := 0
	for _, v := range verbs {
		sum += v.often
	}
	n := choice.IntN(sum)
	i := slices.IndexFunc(verbs, func(v verb) bool { n -= v.often; return n < 0 })
	v, cluster := verbs[i], fmt.Sprintf("cluster-%d", choice.IntN(clusters))
	r := d.run(startLimit, append([]string{"-p", cluster}, strings.Fields(v.args)...)...)
	failed := "without an identifier"
	if found := identifier.FindStringSubmatch(r.stderr); found != nil {
		failed = found[1]
	}
	switch {
	case r.code == 0:
		tally.add(v.args)
	case v.args == "status" && r.code <= 7:
		tally.add(v.args)
	case slices.Contains(append(v.refused, "CLUSTER_BUSY", "CLUSTER_NOT_FOUND"), failed):
		tally.add(failed)
	default:
		d.t.Errorf("%s of %s: exit %d after %v, %s\n%s%s", v.args, cluster, r.code, r.took, failed, r.stdout, r.stderr)
	}
	if v.args == "status" {
		tally.mu.Lock()
		tally.status = max(tally.status, r.took)
		tally.mu.Unlock()
	}
}

// nothingIsLost: each cluster that there is can be started and has its entries in the kubeconfig, and nobody else but the
// stranger who was there before; without clusters, nothing is left.
func (d *dory) nothingIsLost() {
	d.t.Helper()
	var list struct{ Valid, Invalid []struct{ Name string } }
	if err := json.Unmarshal([]byte(d.must(commandLimit, "profile", "list", "-o", "json")), &list); err != nil {
		d.t.Fatal(err)
	}
	names := []string{}
	for _, row := range append(list.Valid, list.Invalid...) {
		names = append(names, row.Name)
	}
	d.t.Logf("there are %v", names)
	d.kubeconfigHas(names...)
	d.run(commandLimit, "pause", "--all") // four idle clusters are all that a small computer can bear; those that are stopped refuse it
	for i, name := range names {
		d.expect(0, startLimit, "-p", name, "start")
		d.kubectlOf(name, "get", "node", "dory")
		d.kubeconfigHas(names[i:]...)
		d.must(commandLimit, "delete", "-p", name)
	}
	d.kubeconfigHas()
	for _, left := range d.leftInHome() {
		d.t.Errorf("left behind: %s", left)
	}
}

// kubeconfigHas compares what the kubeconfig has, besides the stranger's entries, which must be as they were.
func (d *dory) kubeconfigHas(names ...string) {
	d.t.Helper()
	have, err := clientcmd.LoadFromFile(d.kubeconfig())
	if err != nil {
		d.t.Fatal(err)
	}
	was, err := clientcmd.Load([]byte(foreign))
	if err != nil {
		d.t.Fatal(err)
	}
	if have.AuthInfos["me"] == nil || have.AuthInfos["me"].Token != was.AuthInfos["me"].Token || have.Clusters["work"] == nil ||
		have.Clusters["work"].Server != was.Clusters["work"].Server || have.Contexts["work"] == nil || have.Contexts["work"].AuthInfo != "me" {
		d.t.Errorf("the stranger's entries were changed: %v", have)
	}
	contexts, clusters, users := append([]string{"work"}, names...), append([]string{"work"}, names...), append([]string{"me"}, names...)
	for want, got := range map[*[]string][]string{
		&contexts: slices.Sorted(maps.Keys(have.Contexts)),
		&clusters: slices.Sorted(maps.Keys(have.Clusters)),
		&users:    slices.Sorted(maps.Keys(have.AuthInfos)),
	} {
		if slices.Sort(*want); !slices.Equal(*want, got) {
			d.t.Errorf("the kubeconfig has %v, not %v", got, *want)
		}
	}
}

// leftInHome is what there is of clusters and of makings of templates when there ought to be none.
func (d *dory) leftInHome() []string {
	left := d.processesBelow(d.home)
	for _, pattern := range []string{"state/clusters/*", "cache/templates/*.*", "../kubeconfig.lock", "../.*.tmp"} {
		found, _ := filepath.Glob(filepath.Join(d.home, pattern))
		left = append(left, found...)
	}
	return left
}
