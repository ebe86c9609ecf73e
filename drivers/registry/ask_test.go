package registry

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dorykube/dory/drivers"
	"github.com/dorykube/dory/internal/fail"
)

// says is a driver of which only Check is asked.
type says struct {
	drivers.Driver
	report drivers.Report
	after  time.Duration
	never  bool
}

func (s says) Check(ctx context.Context) drivers.Report {
	if s.never {
		select {} // as deaf as a call into a library without a context
	}
	select {
	case <-time.After(s.after):
	case <-ctx.Done():
		return drivers.Report{Summary: "interrupted"}
	}
	return s.report
}

func entry(name string, automatic bool, s says) Entry {
	return Entry{Name: name, Automatic: automatic, New: func(Options) drivers.Driver { return s }}
}

// Nobody waits for a driver if one before it works.
func TestAskFirst(t *testing.T) {
	works := says{report: drivers.Report{Usable: true, Summary: "fine"}}
	never := says{never: true}
	began := time.Now()
	answers := askFirst(t.Context(), []Entry{entry("a", true, works), entry("b", true, never)}, Options{}, Patience{time.Minute, time.Minute})
	if len(answers) != 1 || answers[0].Name != "a" || time.Since(began) > 10*time.Second {
		t.Errorf("%+v after %v", answers, time.Since(began))
	}
}

// A driver that is late is passed over for a later one that works, and waited for where there is none.
func TestLateDriver(t *testing.T) {
	fine := drivers.Report{Usable: true, Summary: "fine"}
	late := entry("late", true, says{report: fine, after: 300 * time.Millisecond})
	for want, next := range map[string]says{"next": {report: fine}, "late": {report: drivers.Report{Summary: "there is none"}}} {
		synctest.Test(t, func(t *testing.T) { // time passes only where everybody waits
			p := Patience{Turn: 50 * time.Millisecond, All: time.Minute}
			if got, err := Pick(askFirst(t.Context(), []Entry{late, entry("next", true, next)}, Options{}, p)); got.Name != want {
				t.Errorf("%q instead of %q: %v", got.Name, want, err)
			}
		})
	}
}

func TestPick(t *testing.T) {
	var (
		works   = says{report: drivers.Report{Usable: true, Summary: "fine"}}
		missing = says{report: drivers.Report{Summary: "there is none", Err: fail.New(fail.QEMUMissing, "not installed")}}
		deaf    = says{never: true}
	)
	patience := Patience{Turn: 50 * time.Millisecond, All: 100 * time.Millisecond}
	for _, c := range []struct {
		name    string
		entries []Entry
		want    string
		kind    fail.Kind
	}{
		{"the first that works", []Entry{entry("a", true, works), entry("b", true, works)}, "a", fail.Kind{}},
		{"the second, as the first does not", []Entry{entry("a", true, missing), entry("b", true, works)}, "b", fail.Kind{}},
		{"the second, as the first does not answer", []Entry{entry("a", true, deaf), entry("b", true, works)}, "b", fail.Kind{}},
		{"never one that is not automatic", []Entry{entry("a", true, missing), entry("b", false, works)}, "", fail.QEMUMissing},
		{"none of two that are not installed", []Entry{entry("a", true, missing), entry("b", true, missing)}, "", fail.QEMUMissing},
		{"none of two", []Entry{entry("a", true, missing), entry("b", true, deaf)}, "", fail.DriverUnusable},
	} {
		if got, _ := Pick(askFirst(t.Context(), c.entries, Options{}, patience)); got.Name != c.want {
			t.Errorf("%s: of those asked first, it is %q", c.name, got.Name)
		}
		began := time.Now()
		got, err := Pick(ask(t.Context(), c.entries, Options{}, patience, func(Answer) bool { return false }))
		if got.Name != c.want || (c.want == "") != fail.Is(err, c.kind) {
			t.Errorf("%s: %q, %v", c.name, got.Name, err)
		}
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("%s: took %v", c.name, took)
		}
		if fail.Is(err, fail.DriverUnusable) && (!strings.Contains(err.Error(), "there is none") || !strings.Contains(err.Error(), "did not say")) {
			t.Errorf("%s: not every reason is told: %v", c.name, err)
		}
	}
}
