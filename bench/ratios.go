package main

import "fmt"

// place names a figure.
type place struct{ scenario, row string }

// span is a figure, or several that follow each other and are added up, repetition by repetition.
type span []place

// Rows that are compared, beside the milestones in phases.go.
const (
	rowCold   = "start --no-template: exec to exit, everything Ready"
	rowServer = "start: exec to exit, everything Ready"
)

var (
	coldStart     = span{{"cold", rowCoreDNS}}
	kubeadmStart  = span{{"kubeadm", rowCoreDNS}}
	coldFromBoot  = append(span{{"cold", rowSSH}}, coldStart...)
	kubeadmOnBoot = append(span{{"kubeadm", rowSSH}}, kubeadmStart...)
	forkStart     = span{{"fork", rowFork}}
)

// ratio is how many times as long one thing takes as another, by their medians.
type ratio struct {
	name        string
	long, short span
	target      float64 // that it should reach at least; 0: none
}

// ratios are the figures to quote: both sides were measured on one computer, on the same VM.
var ratios = []ratio{
	{"kubeadm init : cold start, each from the SSH banner to CoreDNS Ready", kubeadmStart, coldStart, 3},
	{"boot and kubeadm init to CoreDNS Ready : start of a fork", kubeadmOnBoot, forkStart, 60},
	{"six phases: kubeadm : fork", span{{"kubeadm", rowPhases}}, span{{"phases", rowPhases}}, 0},
	{"six phases: kubeadm : cold start", span{{"kubeadm", rowPhases}}, span{{"cold", rowPhases}}, 0},
	{"cold start : the same by driver ssh on a machine that is up", span{{"cold", rowCold}}, span{{"server", rowServer}}, 1.25},
}

// of returns the ratio, or an error if one side was not measured.
func (r ratio) of(all *results) (float64, error) {
	long, err := all.sum(r.long)
	if err != nil {
		return 0, err
	}
	short, err := all.sum(r.short)
	if err != nil {
		return 0, err
	}
	return long.median() / short.median(), nil
}

// sum adds up the figures of a span. Those of one scenario have a value for each repetition.
func (r *results) sum(of span) (*row, error) {
	total := &row{}
	for _, p := range of {
		found, err := r.find(p.scenario, p.row)
		if err != nil {
			return nil, err
		}
		if total.Values == nil {
			total.Unit, total.Values = found.Unit, make([]float64, len(found.Values))
		}
		if len(found.Values) != len(total.Values) {
			return nil, fmt.Errorf("%q of scenario %s has %d values, not %d", p.row, p.scenario, len(found.Values), len(total.Values))
		}
		for i, v := range found.Values {
			total.Values[i] += v
		}
	}
	return total, nil
}

// loaded says whether one of the span's figures is marked.
func (r *results) loaded(of span) bool {
	for _, p := range of {
		if s := r.section(p.scenario); s != nil && s.loaded() {
			return true
		}
	}
	return false
}
