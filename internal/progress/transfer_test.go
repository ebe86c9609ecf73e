package progress

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"
)

// kept is a reporter that keeps what it is told of transfers.
type kept struct {
	silent
	mu    sync.Mutex
	steps []string
	at    []Transfer
}

func (k *kept) Moved(s Step, t Transfer) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.steps, k.at = append(k.steps, s.Name), append(k.at, t)
}

// during runs f within a step.
func during(r Reporter, name string, f func(ctx context.Context)) {
	Do(With(context.Background(), r), Step{Name: name, Title: "Doing " + name}, func(ctx context.Context) (string, error) {
		f(ctx)
		return "", nil
	})
}

func TestReaderCountsForItsStep(t *testing.T) {
	k := &kept{}
	during(k, "machine", func(ctx context.Context) {
		r := Reader(ctx, iotest.OneByteReader(strings.NewReader("0123456789")), Transfer{Name: "bundle", Total: 10})
		if text, err := io.ReadAll(r); err != nil || string(text) != "0123456789" {
			t.Errorf("read %q, %v", text, err)
		}
	})
	last := k.at[len(k.at)-1]
	if k.at[0] != (Transfer{Name: "bundle", Total: 10}) || !last.Ended() || last.Done != 10 || len(k.at) != 11 {
		t.Errorf("%+v", k.at)
	}
	if slices.ContainsFunc(k.steps, func(s string) bool { return s != "machine" }) {
		t.Errorf("steps %q", k.steps)
	}
	for i := range k.at[1:] {
		if k.at[i+1].Done < k.at[i].Done {
			t.Errorf("it went back: %+v", k.at)
		}
	}
}

func TestResumedTransferBeginsWhereItWasCut(t *testing.T) {
	k := &kept{}
	during(k, "machine", func(ctx context.Context) {
		rest := io.NewSectionReader(strings.NewReader("0123456789"), 7, 3)
		io.Copy(io.Discard, Reader(ctx, rest, Transfer{Name: "bundle", Done: 7, Total: 10}))
	})
	if k.at[0].Done != 7 || k.at[len(k.at)-1].Done != 10 {
		t.Errorf("%+v", k.at)
	}
}

func TestUnknownTotalIsKnownAtTheEnd(t *testing.T) {
	k := &kept{}
	during(k, "a", func(ctx context.Context) {
		io.Copy(io.Discard, Reader(ctx, strings.NewReader("12345"), Transfer{Name: "x"}))
	})
	if k.at[0].Total != 0 || k.at[1].Total != 0 || !k.at[len(k.at)-1].Ended() || k.at[len(k.at)-1].Total != 5 {
		t.Errorf("%+v", k.at)
	}
}

func TestCounterReachesAndNeverGoesBack(t *testing.T) {
	k := &kept{}
	during(k, "save", func(ctx context.Context) {
		c := Count(ctx, Transfer{Name: "memory", Total: 100})
		c.Reach(40)
		c.Reach(20)
		c.Reach(90)
		c.End() // what was left out was zeros
	})
	var done []int64
	for _, at := range k.at {
		done = append(done, at.Done)
	}
	if !slices.Equal(done, []int64{0, 40, 90, 90}) || !k.at[3].Ended() {
		t.Errorf("%+v", k.at)
	}
}

func TestTransferOutsideOfAStepIsNobodysBusiness(t *testing.T) {
	k := &kept{}
	io.Copy(io.Discard, Reader(With(context.Background(), k), strings.NewReader("12345"), Transfer{Name: "x"}))
	if len(k.at) > 0 {
		t.Errorf("%+v", k.at)
	}
}

type moved struct {
	Type string
	Data transferData
}

func events(t *testing.T, out *bytes.Buffer) (all []moved) {
	t.Helper()
	for line := range strings.Lines(out.String()) {
		var e moved
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		all = append(all, e)
	}
	return all
}

func TestEventsOfATransferAreFew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		during(NewEvents(&out, 1), "machine", func(ctx context.Context) {
			c := Count(ctx, Transfer{Name: "bundle", Title: "Uploading bundle", Total: 4000})
			for range 4000 { // four seconds
				time.Sleep(time.Millisecond)
				c.Add(1)
			}
		})
		all := events(t, &out)
		if len(all) != 2+1+8 { // the step's own, the beginning, one each half second
			t.Fatalf("%d events:\n%s", len(all), out.String())
		}
		for i, e := range all[1 : len(all)-1] {
			want := transferData{CurrentStep: 1, TotalSteps: 2, Name: "machine", Artifact: "bundle", Message: "Uploading bundle",
				Bytes: int64(i) * 500, Total: 4000, Progress: []string{"0", "0.125", "0.25", "0.375", "0.5", "0.625", "0.75", "0.875", "1"}[i]}
			if e.Type != "dev.dory.download.progress" || e.Data != want {
				t.Errorf("%d: %+v", i, e)
			}
		}
	})
}

func TestTheLastOfACutTransferIsWritten(t *testing.T) {
	var out bytes.Buffer
	during(NewEvents(&out, 1), "machine", func(ctx context.Context) {
		r := Reader(ctx, io.MultiReader(strings.NewReader("12345"), iotest.ErrReader(errors.New("cut"))), Transfer{Name: "kernel", Total: 8})
		io.Copy(io.Discard, r)
		Count(ctx, Transfer{Name: "bundle"}).Add(3)
	})
	all := events(t, &out)
	var got []int64
	for _, e := range all[1 : len(all)-1] {
		got = append(got, e.Data.Bytes)
	}
	if !slices.Equal(got, []int64{0, 5, 0, 3}) || strings.Contains(out.String(), `"artifact":"bundle","message":"","progress"`) {
		t.Errorf("%v\n%s", got, out.String())
	}
}

func TestPlainTextSaysNothingOfBytes(t *testing.T) {
	var with, without bytes.Buffer
	for out, size := range map[*bytes.Buffer]int{&with: 1 << 20, &without: 0} {
		during(NewText(out, nil, false), "a", func(ctx context.Context) {
			io.Copy(io.Discard, Reader(ctx, bytes.NewReader(make([]byte, size)), Transfer{Name: "x", Title: "Uploading x", Total: 1 << 20}))
		})
	}
	if with.String() != without.String() {
		t.Errorf("%q, and without bytes %q", with.String(), without.String())
	}
}

func TestTerminalShowsATransferOnlyWhileItMoves(t *testing.T) {
	var out bytes.Buffer
	text := NewText(&out, func() int { return 80 }, false)
	text.Close() // the animation
	step := Step{Name: "a", Title: "Making the machine"}
	text.StepStarted(step)
	shown := func(transfer Transfer) string {
		text.Moved(step, transfer)
		return text.active[0].line("-", 79, time.Now())
	}
	if line := shown(Transfer{Name: "x", Title: "Uploading x", Done: 5, Total: 10}); !strings.Contains(line, "Uploading x") || !strings.Contains(line, "50%") {
		t.Errorf("%q", line)
	}
	if line := shown(Transfer{Name: "x", Title: "Uploading x", Done: 10, Total: 10}); line != "-    0.0s  Making the machine" {
		t.Errorf("%q", line)
	}
}
