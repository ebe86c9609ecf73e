package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// fork is what a user waits for once there is a template: which the first start makes.
func fork(t *table) error {
	d, err := newHome()
	if err != nil {
		return err
	}
	defer d.remove()
	began := time.Now()
	steps, err := d.events("start", "-o", "json", "-p", "first")
	if err != nil {
		return err
	}
	t.add("first start: makes the template, forks it", "s", time.Since(began).Seconds())
	for _, s := range steps {
		if s.name == "settle" || s.name == "freeze" {
			t.add("  step "+s.name, "s", s.took.Seconds())
		}
	}
	if _, err := d.dory("delete", "-p", "first"); err != nil {
		return err
	}
	// A template's first fork after the making reads from memory what the making wrote; so does every later one.
	if err := d.forks(t); err != nil {
		return err
	}
	if err := d.phases(t); err != nil {
		return err
	}
	time.Sleep(time.Minute) // the later part of the renewal is over
	if err := d.timed(t, "stop (saved)", "stop", "-p", "phases"); err != nil {
		return err
	}
	if err := d.timed(t, "start again (resumed)", "start", "-p", "phases"); err != nil {
		return err
	}
	if err := d.timed(t, "delete of a fork", "delete", "-p", "phases"); err != nil {
		return err
	}
	if err := d.atOnce(t); err != nil {
		return err
	}
	return d.density(t)
}

// forks times starts of new clusters, one after the other, each alone on the machine.
func (d *home) forks(t *table) error {
	for range 3 {
		began := time.Now()
		steps, err := d.events("start", "-o", "json", "-p", "fork")
		if err != nil {
			return err
		}
		t.add("start of a new cluster: exec to exit", "s", time.Since(began).Seconds())
		for _, s := range steps {
			t.add("  step "+s.name+" of a fork", "s", s.took.Seconds())
		}
		if _, err := d.dory("delete", "-p", "fork"); err != nil {
			return err
		}
	}
	return nil
}

// phases are those that minikube's benchmark adds up (time-to-k8s), with an image that is on the node.
func (d *home) phases(t *table) error {
	kubectl := func(args ...string) error {
		_, err := d.dory(append([]string{"-p", "phases", "kubectl", "--"}, args...)...)
		return err
	}
	listed := func(args ...string) func() error {
		return func() error { return kubectl(args...) }
	}
	began := time.Now()
	for _, phase := range []struct {
		name string
		do   func() error
	}{
		{"command", func() error { _, err := d.dory("start", "-p", "phases"); return err }},
		{"pods are listed", listed("get", "pods", "-A")},
		{"service kubernetes", listed("get", "service", "kubernetes")},
		{"service kube-dns", listed("-n", "kube-system", "get", "service", "kube-dns")},
		{"an app's pod runs and answers", func() error { return d.app("phases") }},
		{"DNS answers in it", listed("exec", "deploy/app", "--", "nslookup", "-type=a", "kubernetes.default.svc.cluster.local")},
	} {
		start := time.Now()
		if err := phase.do(); err != nil {
			return err
		}
		t.add("six phases: "+phase.name, "s", time.Since(start).Seconds())
	}
	t.add("six phases: sum", "s", time.Since(began).Seconds())
	return nil
}

// app deploys a web server from an image that is on the node, waits for its pod and asks it.
func (d *home) app(profile string) error {
	image, err := d.nodeImage(profile)
	if err != nil {
		return err
	}
	const serve = "mkdir -p /tmp/www && echo hello >/tmp/www/index.html && exec httpd -f -p 8080 -h /tmp/www"
	const ask = `printf 'GET / HTTP/1.0\r\n\r\n' | nc -w 5 127.0.0.1 8080`
	var answer string
	for _, args := range [][]string{
		{"create", "deployment", "app", "--image=" + image, "--port=8080", "--", "busybox", "sh", "-c", serve},
		{"rollout", "status", "deployment/app", "--timeout=5m"},
		{"exec", "deploy/app", "--", "busybox", "sh", "-c", ask},
	} {
		if answer, err = d.dory(append([]string{"-p", profile, "kubectl", "--"}, args...)...); err != nil {
			return err
		}
	}
	if !strings.Contains(answer, "hello") {
		return fmt.Errorf("the app answers %q", answer)
	}
	return nil
}

// atOnce starts four clusters at the same time. They stay.
func (d *home) atOnce(t *table) error {
	const clusters = 4
	errs := make([]error, clusters)
	began := time.Now()
	var all sync.WaitGroup
	for i := range clusters {
		all.Go(func() { _, errs[i] = d.dory("start", "-p", "at-once-"+strconv.Itoa(i)) })
	}
	all.Wait()
	t.add("four starts at once: until the last is ready", "s", time.Since(began).Seconds())
	return errors.Join(errs...)
}

// density fills up to ten clusters, lets them come to rest, and looks at what each takes.
func (d *home) density(t *table) error {
	const clusters = 10
	for i := len(d.machines()); i < clusters; i++ {
		if _, err := d.dory("start", "-p", "dense-"+strconv.Itoa(i)); err != nil {
			return err
		}
	}
	time.Sleep(2 * time.Minute) // emulated, ten of them take a while to renew their tokens
	for _, pid := range d.machines() {
		pss, err := field(fmt.Sprintf("/proc/%d/smaps_rollup", pid), "Pss")
		if err != nil {
			return err
		}
		kb, _ := strconv.ParseFloat(strings.Fields(pss)[0], 64)
		t.add("memory that each of ten forks adds (Pss)", "MiB", kb/1024)
	}
	before, err := d.processorTime()
	if err != nil {
		return err
	}
	const look = 20 * time.Second
	time.Sleep(look)
	after, err := d.processorTime()
	if err != nil {
		return err
	}
	t.add("processor that each of ten idle forks takes", "%", 100*(after-before)/look.Seconds()/clusters)
	_, err = d.dory("delete", "--all")
	return err
}

// processorTime is how many seconds of processor time all machines have used.
func (d *home) processorTime() (sum float64, err error) {
	for _, pid := range d.machines() {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return 0, err
		}
		// proc(5): after the name in parentheses, fields 14 and 15 are user and system time in ticks of 10 ms.
		fields := strings.Fields(string(text)[strings.LastIndexByte(string(text), ')')+1:])
		for _, ticks := range fields[11:13] {
			n, _ := strconv.ParseFloat(ticks, 64)
			sum += n / 100
		}
	}
	return sum, nil
}
