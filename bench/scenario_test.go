package main

import (
	"context"
	"errors"
	"strings"
	"testing"
)

// TestRun: the warm-up counts nothing, and no more is repeated than means something.
func TestRun(t *testing.T) {
	calls := 0
	s := scenario{name: "counted", static: true, once: func(_ context.Context, _ *bench, s *section) error {
		calls++
		s.add("calls", "s", float64(calls))
		return nil
	}}
	got, err := s.run(t.Context(), &bench{}, 3)
	if err != nil || calls != 4 || got.Runs != 3 || got.row("calls").minimum() != 2 || got.row("calls").maximum() != 4 {
		t.Errorf("%d calls, %+v, %v", calls, got, err)
	}
	s.atMost, s.warm, calls = 2, noWarmUp, 0
	got, err = s.run(t.Context(), &bench{}, 3)
	if err != nil || calls != 2 || got.Runs != 2 || len(got.row("calls").Values) != 2 {
		t.Errorf("%d calls, %+v, %v", calls, got, err)
	}
	broken := errors.New("broken")
	s.once = func(context.Context, *bench, *section) error { return broken }
	if _, err := s.run(t.Context(), &bench{}, 3); !errors.Is(err, broken) {
		t.Errorf("a scenario that fails: %v", err)
	}
}

func TestMeasureRefuses(t *testing.T) {
	for want, run := range map[string]func() error{
		`no scenario "clod"`: func() error { return measure(t.Context(), 1, "", []string{"cold", "clod"}) },
		"at least 1":         func() error { return measure(t.Context(), 0, "", nil) },
	} {
		if err := run(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in %v", want, err)
		}
	}
}

func TestScenariosAreNamedOnce(t *testing.T) {
	var out strings.Builder
	if err := listScenarios(&out); err != nil {
		t.Fatal(err)
	}
	for i, s := range scenarios {
		if scenarioIndex(s.name) != i {
			t.Errorf("two scenarios are called %s", s.name)
		}
		if s.about == "" || !strings.Contains(out.String(), s.name) {
			t.Errorf("%s is not listed", s.name)
		}
	}
}
