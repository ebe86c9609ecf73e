package cluster

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/dorykube/dory/internal/fail"
	"github.com/dorykube/dory/internal/trace"
	"github.com/dorykube/dory/provision"
)

// timelineScript prints how long the machine has run, and of each unit when it began to start and when it was up, in
// microseconds of the same clock.
const timelineScript = `cut -d' ' -f1 /proc/uptime
systemctl show --property=Id,InactiveExitTimestampMonotonic,ActiveEnterTimestampMonotonic '*.service' '*.mount'`

// Timeline is what systemd did on the cluster's node since a time of this computer's clock. The two are aligned by asking
// how long the machine has run, so to half of what the asking takes.
func (m *Manager) Timeline(ctx context.Context, name string, since time.Time) ([]trace.Span, error) {
	node, err := m.Login(ctx, name, "")
	if err != nil {
		return nil, err
	}
	defer node.Close()
	var out strings.Builder
	before := time.Now()
	if err := node.Run(ctx, provision.Cmd{Shell: timelineScript, Stdout: &out}); err != nil {
		return nil, fail.Wrap(fail.GuestCommand, err, "ask the node for its timeline")
	}
	return parseTimeline(out.String(), before.Add(time.Since(before)/2), since)
}

func parseTimeline(text string, at, since time.Time) (spans []trace.Span, err error) {
	head, blocks, _ := strings.Cut(text, "\n")
	uptime, err := strconv.ParseFloat(strings.TrimSpace(head), 64)
	if err != nil {
		return nil, fmt.Errorf("read the node's timeline: %w", err)
	}
	booted := at.Add(-time.Duration(uptime * float64(time.Second)))
	if booted.After(since) {
		spans = append(spans, trace.Span{Process: "node", Name: "kernel starts", Begin: booted})
	}
	for block := range strings.SplitSeq(blocks, "\n\n") {
		unit := map[string]string{}
		for line := range strings.Lines(block) {
			key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
			unit[key] = value
		}
		began, _ := strconv.ParseInt(unit["InactiveExitTimestampMonotonic"], 10, 64)
		up, _ := strconv.ParseInt(unit["ActiveEnterTimestampMonotonic"], 10, 64)
		begin := booted.Add(time.Duration(began) * time.Microsecond)
		if began == 0 || begin.Before(since) {
			continue
		}
		spans = append(spans, trace.Span{Process: "node", Name: unit["Id"], Begin: begin, Took: max(0, time.Duration(up-began)*time.Microsecond)})
	}
	return spans, nil
}
