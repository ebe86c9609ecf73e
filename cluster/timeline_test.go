package cluster

import (
	"testing"
	"time"
)

func TestTimelineIsOfThisComputersClock(t *testing.T) {
	at := time.Unix(1000, 0)
	const text = `100.5

Id=etcd.service
InactiveExitTimestampMonotonic=90500000
ActiveEnterTimestampMonotonic=92500000

Id=old.service
InactiveExitTimestampMonotonic=1000000
ActiveEnterTimestampMonotonic=2000000

Id=never.service
InactiveExitTimestampMonotonic=0
ActiveEnterTimestampMonotonic=0
`
	spans, err := parseTimeline(text, at, at.Add(-20*time.Second))
	if err != nil || len(spans) != 1 || spans[0].Name != "etcd.service" || !spans[0].Begin.Equal(time.Unix(990, 0)) || spans[0].Took != 2*time.Second {
		t.Errorf("%+v, %v", spans, err)
	}
	if spans, _ = parseTimeline(text, at, at.Add(-time.Hour)); len(spans) != 3 || spans[0].Name != "kernel starts" {
		t.Errorf("with its boot: %+v", spans)
	}
	if _, err := parseTimeline("sh: no such file", at, at); err == nil {
		t.Error("nonsense is a timeline")
	}
}
