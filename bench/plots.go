package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/go-analyze/charts"
)

// plot is one SVG beside the documentation: a bar for each figure, with its median.
type plot struct {
	file, title, unit string
	bars              []bar
}

// bar is a figure that was measured, or one that somebody else has published.
type bar struct {
	label     string
	of        span
	published float64
}

var plots = []plot{
	{"bench-start.svg", "Until CoreDNS is Ready, on the same VM (seconds)", "s", []bar{
		{label: "dory, fork: exec to exit", of: forkStart},
		{label: "dory, cold: boot to CoreDNS Ready", of: coldFromBoot},
		{label: "kubeadm: boot to CoreDNS Ready", of: kubeadmOnBoot},
	}},
	{"bench-phases.svg", "Six phases of time-to-k8s, in all (seconds)", "s", slices.Concat([]bar{
		{label: "dory, fork", of: span{{"phases", rowPhases}}},
		{label: "dory, cold", of: span{{"cold", rowPhases}}},
		{label: "kubeadm", of: span{{"kubeadm", rowPhases}}},
	}, publishedBars())},
	{"bench-commands.svg", "What a user waits for every day (seconds)", "s", []bar{
		{label: "start: a new cluster", of: forkStart},
		{label: "start: nothing to do", of: span{{"no-op", "start"}}},
		{label: "status", of: span{{"status", "status"}}},
		{label: "stop", of: span{{"stop", "stop"}}},
		{label: "start: of a stopped one", of: span{{"resume", "start: exec to exit, ready"}}},
		{label: "delete", of: span{{"delete", "delete"}}},
		{label: "start: four at once", of: span{{"four", "until the last of four is ready"}}},
	}},
}

// svg draws what was measured of the plot; ok is false if that is nothing.
func (p plot) svg(all *results) (svg []byte, ok bool, err error) {
	var labels []string
	var values []float64
	for _, b := range p.bars {
		value, label := b.published, b.label
		if b.of != nil {
			found, err := all.sum(b.of)
			if err != nil {
				continue // it was not run
			}
			value, ok = found.median(), true
			if all.loaded(b.of) {
				label += " (marked)"
			}
		}
		labels, values = append(labels, label), append(values, value)
	}
	if !ok {
		return nil, false, nil
	}
	// The library draws from the bottom up.
	slices.Reverse(labels)
	slices.Reverse(values)
	svg, err = draw(p.title, p.unit, labels, values)
	return svg, true, err
}

// Sizes in pixels.
const (
	plotWidth = 760
	barHeight = 34
	plotFrame = 70 // title and margins
)

func draw(title, unit string, labels []string, values []float64) ([]byte, error) {
	options := charts.NewBarChartOptionWithData([][]float64{values})
	options.Horizontal = true
	options.Title.Text = title
	options.Padding = charts.Box{Top: 16, Right: 70, Bottom: 12, Left: 16} // room for the longest bar's label
	options.CategoryAxis.Labels = labels
	options.ValueAxis = []charts.ValueAxisOption{{Show: charts.Ptr(false)}} // every bar has its value beside it
	options.Legend.Show = charts.Ptr(false)
	options.SeriesList[0].Label.Show = charts.Ptr(true)
	options.SeriesList[0].Label.ValueFormatter = func(v float64) string { return figure(v, unit) }
	painter := charts.NewPainter(charts.PainterOptions{
		OutputFormat: charts.ChartOutputSVG, Width: plotWidth, Height: plotFrame + barHeight*len(values),
	})
	if err := painter.BarChart(options); err != nil {
		return nil, err
	}
	svg, err := painter.Bytes()
	return []byte(anyFont.Replace(string(svg))), err
}

// anyFont: the library makes room for text in Roboto, which few readers have. What stands in for it may be a sixth wider, so the
// text is made that much smaller.
var anyFont = strings.NewReplacer("'Roboto Medium',sans-serif", "Roboto,Arial,'Liberation Sans',sans-serif", "font-size:16px", "font-size:13.5px")

// figure writes a value with as many digits as mean something.
func figure(value float64, unit string) string {
	digits := 0
	switch {
	case value < 10:
		digits = 2
	case value < 100:
		digits = 1
	}
	return fmt.Sprintf("%.*f %s", digits, value, unit)
}
