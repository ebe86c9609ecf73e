package progress

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestEventsAreNumberedAndEndWithTheError(t *testing.T) {
	var out bytes.Buffer
	e := NewEvents(&out, 2)
	ctx := With(context.Background(), e)
	var all sync.WaitGroup
	for _, name := range []string{"a", "b", "c"} {
		all.Go(func() {
			Do(ctx, Step{Name: name, Title: "Doing " + name}, func(context.Context) (string, error) { return "done", nil })
		})
	}
	all.Wait()
	Do(ctx, Step{Name: "d"}, func(context.Context) (string, error) { return "", errors.New("broken") })
	e.Error(ErrorData{ID: "X", ExitCode: 7})
	last, ended := 0, 0
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	for _, line := range lines {
		var got struct {
			SpecVersion, Type, ID string
			Data                  stepData
		}
		if err := json.Unmarshal([]byte(line), &got); err != nil || got.SpecVersion != "1.0" || got.ID == "" {
			t.Fatalf("%s: %v", line, err)
		}
		if got.Type != "dev.dory.step" {
			continue
		}
		if got.Data.CurrentStep <= last || got.Data.TotalSteps < got.Data.CurrentStep {
			t.Errorf("step %d of %d after %d", got.Data.CurrentStep, got.Data.TotalSteps, last)
		}
		last = got.Data.CurrentStep
		if got.Data.Duration > 0 {
			ended++
		}
	}
	if ended != 4 || !strings.Contains(lines[len(lines)-1], `"dev.dory.error"`) || !strings.Contains(lines[len(lines)-1], `"exitcode":7`) {
		t.Errorf("%d steps ended\n%s", ended, out.String())
	}
}

func TestPlainTextHasALinePerStepAndNoEscapes(t *testing.T) {
	var out bytes.Buffer
	text := NewText(&out, nil, false)
	ctx := With(context.Background(), text)
	Do(ctx, Step{Name: "a", Title: "Doing a"}, func(context.Context) (string, error) { return "fine", nil })
	Do(ctx, Step{Name: "b", Title: "Doing b"}, func(context.Context) (string, error) { return "", errors.New("x") })
	Do(ctx, Step{Name: "c", Title: "Doing c"}, func(context.Context) (string, error) { return "", context.Canceled })
	text.Warn("careful")
	text.Close()
	want := "✓    0.0s  Doing a: fine\n✗    0.0s  Doing b: did not succeed\n-    0.0s  Doing c: cut short\n! warning: careful\n"
	if out.String() != want {
		t.Errorf("got %q", out.String())
	}
}

func TestTerminalLinesFitAndAreTakenAway(t *testing.T) {
	var out bytes.Buffer
	text := NewText(&out, func() int { return 20 }, false)
	text.StepStarted(Step{Name: "a", Title: strings.Repeat("long ", 20)})
	text.mu.Lock()
	shown, line := text.shown, strings.TrimRight(out.String(), "\n")
	text.mu.Unlock()
	if shown != 1 || len([]rune(line)) != 19 || !strings.HasSuffix(line, "…") {
		t.Errorf("%d lines: %q", shown, line)
	}
	text.StepDone(Step{Name: "a", Title: "short"}, time.Second, "", nil)
	text.Close()
	text.Close()
	if !strings.HasSuffix(out.String(), "short\n") {
		t.Errorf("%q", out.String())
	}
}
