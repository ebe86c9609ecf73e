package trace

import (
	"context"
	"encoding/json"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/dorykube/dory/internal/progress"
)

func TestSpansThatOverlapGetRowsOfTheirOwn(t *testing.T) {
	at := func(second int) time.Time { return time.Unix(int64(second), 0) }
	var out strings.Builder
	err := Write(&out, []Span{
		{"node", "kubelet", at(3), 2 * time.Second, ""},
		{"dory", "boot", at(1), 2 * time.Second, "TCG"},
		{"dory", "files", at(2), 3 * time.Second, ""},
		{"dory", "wait", at(3), time.Second, ""},
	})
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		TraceEvents []struct {
			Name, Ph string
			Pid, Tid int
			Ts, Dur  int64
			Args     map[string]string
		}
	}
	if err := json.Unmarshal([]byte(out.String()), &got); err != nil {
		t.Fatal(err)
	}
	where := map[string][4]int64{}
	for _, e := range got.TraceEvents {
		if e.Ph == "X" {
			where[e.Name] = [4]int64{int64(e.Pid), int64(e.Tid), e.Ts, e.Dur}
		}
	}
	for name, want := range map[string][4]int64{
		"boot": {1, 1, 1e6, 2e6}, "files": {1, 2, 2e6, 3e6}, "wait": {1, 1, 3e6, 1e6}, "kubelet": {2, 1, 3e6, 2e6},
	} {
		if where[name] != want {
			t.Errorf("%s is at %v, want %v", name, where[name], want)
		}
	}
}

func TestRecorderKeepsSteps(t *testing.T) {
	r := &Recorder{Reporter: progress.From(context.Background()), Process: "dory"}
	progress.Do(progress.With(t.Context(), r), progress.Step{Name: "boot"}, func(context.Context) (string, error) { return "TCG", nil })
	if s := r.Spans(); len(s) != 1 || s[0].Name != "boot" || s[0].Result != "TCG" || s[0].Took <= 0 {
		t.Errorf("%+v", s)
	}
}

func TestReadGivesBackWhatWasWritten(t *testing.T) {
	r := &Recorder{Reporter: progress.From(context.Background()), Process: "dory"}
	ctx := progress.With(t.Context(), r)
	progress.Do(ctx, progress.Step{Name: "fork"}, func(ctx context.Context) (string, error) {
		defer progress.Part(ctx, "QEMU begins")()
		time.Sleep(time.Millisecond)
		return "TCG", nil
	})
	var file strings.Builder
	if err := Write(&file, r.Spans()); err != nil {
		t.Fatal(err)
	}
	spans, err := Read(strings.NewReader(file.String()))
	if err != nil || len(spans) != 2 {
		t.Fatalf("%+v, %v", spans, err)
	}
	results := map[string]string{}
	for _, got := range spans {
		if got.Process != "dory" || got.Took < time.Millisecond || got.Begin.IsZero() {
			t.Errorf("%+v", got)
		}
		results[got.Name] = got.Result
	}
	if want := map[string]string{"fork": "TCG", "QEMU begins": ""}; !maps.Equal(results, want) {
		t.Errorf("%q, want %q", results, want)
	}
}
