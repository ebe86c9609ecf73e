package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

var scenarios = []scenario{
	{"sizes", sizes},
	{"cold", cold},
	{"fork", fork},
}

// sizes are those of what 'make artifacts' built.
func sizes(t *table) error {
	for name, pattern := range map[string]string{"node image": "node-*.iso", "bundle": "bundle-v1.37.2-*.img"} {
		found, err := filepath.Glob(filepath.Join(artifacts(), pattern))
		if err != nil || len(found) == 0 {
			return fmt.Errorf("no %s in %s", pattern, artifacts())
		}
		info, err := os.Stat(found[0])
		if err != nil {
			return err
		}
		t.add("size of the "+name, "MB", float64(info.Size())/1e6)
	}
	return nil
}

// milestones are steps of a cold start whose end means something to a user.
var milestones = map[string]string{
	"boot":   "cold start: SSH answers",
	"readyz": "cold start: /readyz",
}

// cold is a cluster's life without a template, from its first boot to its deletion.
func cold(t *table) error {
	d, err := newHome()
	if err != nil {
		return err
	}
	defer d.remove()
	began := time.Now()
	steps, err := d.events("start", "-o", "json", "--wait=all", "--no-template")
	if err != nil {
		return err
	}
	whole := time.Since(began)
	for _, s := range steps {
		if name, ok := milestones[s.name]; ok {
			t.add(name, "s", s.at.Sub(began).Seconds())
		}
	}
	if err := d.transitions(t, began); err != nil {
		return err
	}
	t.add("cold start: exec to exit, everything Ready", "s", whole.Seconds())
	if err := d.answersDNS(); err != nil {
		return err
	}
	t.add("cold start: DNS answers in a new pod", "s", time.Since(began).Seconds())
	for _, s := range steps {
		t.add("  step "+s.name, "s", s.took.Seconds())
	}

	if err := d.quick(t); err != nil {
		return err
	}
	if err := d.memory(t); err != nil {
		return err
	}
	if err := d.timed(t, "stop --power-off", "stop", "--power-off"); err != nil {
		return err
	}
	if err := d.timed(t, "start again (same disk)", "start"); err != nil {
		return err
	}
	return d.timed(t, "delete", "delete")
}

// transitions reads from the API when node and CoreDNS became Ready. Kubernetes keeps whole seconds, so these are up to a
// second too early.
func (d *home) transitions(t *table, began time.Time) error {
	for name, query := range map[string][]string{
		"cold start: node Ready (±1 s)":    {"get", "nodes"},
		"cold start: CoreDNS Ready (±1 s)": {"-n", "kube-system", "get", "pods", "-l", "k8s-app=kube-dns"},
	} {
		out, err := d.dory(append([]string{"kubectl", "--"}, append(query, "-o",
			`jsonpath={.items[0].status.conditions[?(@.type=="Ready")].lastTransitionTime}`)...)...)
		if err != nil {
			return err
		}
		at, err := time.Parse(time.RFC3339, strings.TrimSpace(out))
		if err != nil {
			return err
		}
		t.add(name, "s", at.Sub(began).Seconds())
	}
	return nil
}

// answersDNS runs a pod from an image that is on the node, and asks for a name in it.
func (d *home) answersDNS() error {
	image, err := d.nodeImage("dory")
	if err != nil {
		return err
	}
	if _, err := d.dory("kubectl", "--", "run", "asks", "--image="+image, "--image-pull-policy=Never", "--restart=Never", "--command", "--", "sleep", "3600"); err != nil {
		return err
	}
	if _, err := d.dory("kubectl", "--", "wait", "pod/asks", "--for=condition=Ready", "--timeout=5m"); err != nil {
		return err
	}
	_, err = d.dory("kubectl", "--", "exec", "asks", "--", "nslookup", "kubernetes.default.svc.cluster.local")
	return err
}

// nodeImage is an image with a shell that every node has: the storage provisioner's helper.
func (d *home) nodeImage(profile string) (string, error) {
	manifest, err := d.dory("-p", profile, "kubectl", "--", "-n", "local-path-storage", "get", "configmap", "local-path-config", "-o", `jsonpath={.data.helperPod\.yaml}`)
	_, image, _ := strings.Cut(manifest, "image: ")
	image, _, _ = strings.Cut(image, "\n")
	return strings.TrimSpace(image), err
}

// quick are the commands that should not be noticed; each is the median of five.
func (d *home) quick(t *table) error {
	for _, args := range [][]string{{"start"}, {"status"}, {"profile", "list"}} {
		var values []float64
		for range 5 {
			began := time.Now()
			if _, err := d.dory(args...); err != nil {
				return err
			}
			values = append(values, time.Since(began).Seconds())
		}
		name := strings.Join(args, " ")
		if name == "start" {
			name = "start with nothing to do"
		}
		for _, v := range values {
			t.add(name, "s", v)
		}
	}
	return nil
}

// settling is how long a cluster is left alone before its memory is read.
const settling = 30 * time.Second

func (d *home) memory(t *table) error {
	time.Sleep(settling)
	out, err := d.dory("ssh", "--", "free -m")
	if err != nil {
		return err
	}
	for line := range strings.Lines(out) {
		if fields := strings.Fields(line); len(fields) > 2 && fields[0] == "Mem:" {
			used, _ := strconv.ParseFloat(fields[2], 64)
			t.add("guest memory in use, settled", "MiB", used)
		}
	}
	for _, pid := range d.machines() {
		resident, err := field(fmt.Sprintf("/proc/%d/status", pid), "VmRSS")
		if err != nil {
			return err
		}
		kb, _ := strconv.ParseFloat(strings.Fields(resident)[0], 64)
		t.add("QEMU resident", "MiB", kb/1024)
	}
	return nil
}

func (d *home) timed(t *table, name string, args ...string) error {
	began := time.Now()
	if _, err := d.dory(args...); err != nil {
		return err
	}
	t.add(name, "s", time.Since(began).Seconds())
	return nil
}

// stepEnd is the end of a step of a start.
type stepEnd struct {
	name string
	at   time.Time
	took time.Duration
}

// parseStep reads one line of "start -o json"; ok says whether it is the end of a step.
func parseStep(line []byte) (end stepEnd, ok bool) {
	var e struct {
		Type string `json:"type"`
		Data struct {
			Name     string  `json:"name"`
			Duration float64 `json:"duration"`
		} `json:"data"`
	}
	if json.Unmarshal(line, &e) != nil || e.Type != "dev.dory.step" || e.Data.Duration == 0 {
		return stepEnd{}, false
	}
	return stepEnd{e.Data.Name, time.Now(), time.Duration(e.Data.Duration * float64(time.Second))}, true
}
