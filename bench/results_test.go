package main

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func section1(scenario string, rows ...*row) *section {
	return &section{Scenario: scenario, Runs: len(rows[0].Values), Dory: "v1", Rows: rows}
}

func seconds(name string, values ...float64) *row { return &row{name, "s", values} }

func TestStatistics(t *testing.T) {
	for _, test := range []struct {
		values              []float64
		least, middle, most float64
	}{
		{[]float64{3}, 3, 3, 3},
		{[]float64{9, 1}, 1, 5, 9},
		{[]float64{5, 1, 100}, 1, 5, 100},
		{[]float64{4, 1, 3, 2}, 1, 2.5, 4},
	} {
		r := seconds("x", test.values...)
		if r.minimum() != test.least || r.median() != test.middle || r.maximum() != test.most {
			t.Errorf("%v: %v, %v, %v", test.values, r.minimum(), r.median(), r.maximum())
		}
	}
	if r := seconds("x", 3, 1, 2); r.median() != 2 || r.Values[0] != 3 {
		t.Errorf("the median changes the order of the repetitions: %v", r.Values)
	}
}

func TestSum(t *testing.T) {
	all := &results{Sections: []*section{
		section1("kubeadm", seconds(rowSSH, 5, 7, 6), seconds(rowCoreDNS, 100, 80, 90)),
		section1("fork", seconds(rowFork, 1)),
	}}
	total, err := all.sum(kubeadmOnBoot)
	if err != nil || total.minimum() != 87 || total.median() != 96 || total.maximum() != 105 || total.Unit != "s" {
		t.Errorf("boot and init are added up to %+v (%v)", total, err)
	}
	if got, err := ratios[1].of(all); err != nil || got != 96 {
		t.Errorf("kubeadm takes %v times as long as a fork (%v), not 96", got, err)
	}
	if _, err := ratios[0].of(all); err == nil || !strings.Contains(err.Error(), "scenario cold") {
		t.Errorf("a ratio without a cold start: %v", err)
	}
	if _, err := all.sum(span{{"kubeadm", rowSSH}, {"fork", rowFork}}); err == nil {
		t.Error("three repetitions and one were added up")
	}
}

func TestReplaceKeepsTheOrderOfScenarios(t *testing.T) {
	all := &results{}
	for _, name := range []string{"fork", "sizes", "density", "cold"} {
		all.replace(section1(name, seconds("x", 1)))
	}
	all.replace(section1("fork", seconds("x", 2)))
	var order []string
	for _, s := range all.Sections {
		order = append(order, s.Scenario)
	}
	if got := strings.Join(order, " "); got != "sizes cold fork density" || all.section("fork").Rows[0].Values[0] != 2 {
		t.Errorf("%s; fork has %v", got, all.section("fork").Rows[0].Values)
	}
}

func TestFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bench.json")
	here := host{CPU: "A", Cores: 2, LoadAverage: 0.1}
	all, err := openResults(path, here)
	if err != nil {
		t.Fatal(err)
	}
	all.replace(section1("fork", seconds(rowFork, 1.5)))
	if err := all.write(path); err != nil {
		t.Fatal(err)
	}
	here.LoadAverage = 3
	again, err := openResults(path, here)
	if err != nil || again.section("fork").row(rowFork).Values[0] != 1.5 || again.Host.LoadAverage != 3 {
		t.Errorf("read again: %+v, %v", again, err)
	}
	here.Cores = 4
	if _, err := openResults(path, here); err == nil || !strings.Contains(err.Error(), "another computer") {
		t.Errorf("figures of two computers would be mixed: %v", err)
	}
	for _, damaged := range []string{"{", `{"sections":[{"scenario":"fork","rows":[{"name":"x","unit":"s","values":[]}]}]}`} {
		if err := os.WriteFile(path, []byte(damaged), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := readResults(path); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", damaged, err)
		}
	}
}

func TestPrint(t *testing.T) {
	loaded := section1("cold", seconds(rowCoreDNS, 40, 30))
	loaded.Others = 1.25
	all := &results{Host: host{CPU: "fast", Cores: 2}, Sections: []*section{loaded, section1("kubeadm", seconds(rowCoreDNS, 140))}}
	var out strings.Builder
	all.print(&out)
	for _, want := range []string{"fast, 2 cores", "cold (2) MARKED: others used 1.25 processors", "30.00     35.00     40.00 s", "CoreDNS Ready", " 4.0\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
	if strings.Contains(out.String(), "start of a fork") {
		t.Errorf("a ratio of what was not measured:\n%s", out.String())
	}
}

func TestLoad(t *testing.T) {
	const stat = "cpu  100 20 30 4000 500 6 7 8 90 10\ncpu0 1 2 3\n"
	if busy, err := parseBusy(stat); err != nil || math.Abs(busy-1.71) > 1e-9 {
		t.Errorf("busy for %v s (%v), not 1.71", busy, err)
	}
	for _, bad := range []string{"", "intr 1 2 3 4 5 6 7 8 9", "cpu 1 2 3 4 5 6 7 x"} {
		if _, err := parseBusy(bad); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
	const process = "42 (qemu) system) S 1 42 42 0 -1 4194560 1 0 0 0 250 50 0 0 20 0 4 0 1 2 3"
	if got := parseProcess(process); got != 3 {
		t.Errorf("the process used %v s, not 3", got)
	}
}
