package main

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"
)

// measured is a run of some scenarios, cold being marked.
func measured() *results {
	day := time.Date(2026, 11, 25, 0, 0, 0, 0, time.UTC)
	all := &results{Host: host{CPU: "fast", Cores: 2, QEMU: "QEMU 7.2, TCG"}, Sections: []*section{
		section1("kubeadm", seconds(rowSSH, 5, 6), seconds(rowCoreDNS, 115, 114), seconds(rowPhases, 150, 150)),
		section1("cold", seconds(rowSSH, 5, 5), seconds(rowCoreDNS, 40, 30), seconds(rowPhases, 60, 60)),
		section1("fork", seconds(rowFork, 1.5, 1.25)),
		section1("phases", seconds(rowPhases, 12, 12)),
		section1("delete", seconds("delete", 0.05, 0.05)),
	}}
	for _, s := range all.Sections {
		s.Began = day
	}
	all.section("cold").Others = 0.5
	return all
}

func TestPage(t *testing.T) {
	page, err := renderPage("{{.Host.CPU}}\n{{median \"fork\" \"start: exec to exit, ready\"}} {{median \"stop\" \"stop\"}}\n"+
		"{{section \"cold\"}}{{section \"density\"}}{{ratios}}{{marked}}{{published}}", measured())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"make bench-docs", "\nfast\n1.38 s not measured\n",
		"`cold`: a cluster without a template, from the first boot on; measured 2 times, 2026-11-25, dory v1. **Marked: other programs used up to 0.5 processors.**",
		"| from SSH on: CoreDNS Ready (±1 s) | 30.0 s | 35.0 s | 40.0 s |\n",
		"CoreDNS Ready | 3.3 (marked) | at least 3 |\n",
		"start of a fork | 87.3 | at least 60 |\n",
		"kubeadm : fork | 12.5 |  |\n",
		"the processors too: cold.**",
		"| 12.6 | 3.0 | 4.1 | 19.9 |",
	} {
		if !strings.Contains(string(page), want) {
			t.Errorf("no %q in\n%s", want, page)
		}
	}
	for _, wrong := range []string{`{{section "clod"}}`, `{{median "clod" "x"}}`, "{{nothing}}"} {
		if _, err := renderPage(wrong, measured()); err == nil {
			t.Errorf("%s was rendered", wrong)
		}
	}
}

// TestTemplate renders the page that is published, with nothing measured and with something.
func TestTemplate(t *testing.T) {
	text, err := os.ReadFile("../" + docsTemplate)
	if err != nil {
		t.Fatal(err)
	}
	for _, all := range []*results{{}, measured()} {
		page, err := renderPage(string(text), all)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range plots {
			if !strings.Contains(string(page), "("+p.file+")") {
				t.Errorf("the page does not show %s", p.file)
			}
		}
		for _, s := range scenarios {
			if !strings.Contains(string(text), `{{section "`+s.name+`"}}`) {
				t.Errorf("the page has nothing of scenario %s", s.name)
			}
		}
	}
}

func TestSummary(t *testing.T) {
	text := summary(measured())
	for _, want := range []string{
		"| `start` of a new cluster (a fork), exec to exit | 1.25 s | 1.38 s | 1.50 s |\n",
		"| `kubeadm init` on the same VM, boot to CoreDNS Ready | 120 s | 120 s | 120 s |\n",
		"| `delete` | 0.05 s |",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if strings.Contains(text, "`status`") {
		t.Errorf("a row of what was not measured:\n%s", text)
	}
}

func TestBetween(t *testing.T) {
	got, err := between("head\n<a>\nold\n</a>\ntail", "<a>\n", "</a>\n", "new\n")
	if err != nil || got != "head\n<a>\nnew\n</a>\ntail" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := between("head\n</a>\n<a>\n", "<a>\n", "</a>\n", "new\n"); err == nil {
		t.Error("marks in the wrong order were accepted")
	}
	text, err := os.ReadFile("../" + readme)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := between(string(text), readmeBegin, readmeEnd, ""); err != nil {
		t.Errorf("%s: %v", readme, err)
	}
}

func TestPlots(t *testing.T) {
	all := measured()
	for _, p := range plots {
		svg, ok, err := p.svg(all)
		if err != nil || !ok {
			t.Fatalf("%s: %v, %v", p.file, ok, err)
		}
		text := svgText(t, svg)
		if !strings.Contains(text, p.title) {
			t.Errorf("%s has no title: %s", p.file, text)
		}
	}
	svg, _, err := plots[0].svg(all)
	if err != nil {
		t.Fatal(err)
	}
	text := svgText(t, svg)
	for _, want := range []string{"dory, fork: exec to exit|", "1.38 s", "dory, cold: boot to CoreDNS Ready (marked)|", "40.0 s", "120 s"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in %s", want, text)
		}
	}
	if again, _, _ := plots[0].svg(all); string(again) != string(svg) {
		t.Error("the same figures make another plot")
	}
	for _, p := range plots {
		if _, ok, err := p.svg(&results{}); ok || err != nil {
			t.Errorf("%s of nothing: %v, %v", p.file, ok, err)
		}
	}
}

// svgText is all text of an SVG, which must be well-formed.
func svgText(t *testing.T, svg []byte) string {
	t.Helper()
	var text strings.Builder
	decoder := xml.NewDecoder(strings.NewReader(string(svg)))
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			return text.String()
		}
		if err != nil {
			t.Fatal(err)
		}
		if data, ok := token.(xml.CharData); ok && len(strings.TrimSpace(string(data))) > 0 {
			text.WriteString(string(data) + "|")
		}
	}
}
