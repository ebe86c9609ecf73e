package registry

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dorykube/dory/drivers"
	"github.com/dorykube/dory/internal/fail"
)

// Answer is what a driver says when it is asked whether it works on this computer.
type Answer struct {
	Entry
	Driver drivers.Driver // that was asked: what it has found out it need not find out again
	Report drivers.Report
}

// Patience is how long drivers have to answer.
type Patience struct {
	Turn time.Duration // what one that comes earlier has before a later one that works is taken instead
	All  time.Duration // and what all have as long as none works: a busy computer is no reason for refusing a start
}

// Ask asks all drivers at once. One that has not answered when the limit has passed counts as not working.
func Ask(ctx context.Context, o Options, limit time.Duration) []Answer {
	return ask(ctx, All(), o, Patience{limit, limit}, func(Answer) bool { return false })
}

// AskFirst is Ask for those that auto may choose, and waits for none behind the first that works.
func AskFirst(ctx context.Context, o Options, p Patience) []Answer {
	return askFirst(ctx, All(), o, p)
}

func askFirst(ctx context.Context, entries []Entry, o Options, p Patience) []Answer {
	automatic := slices.DeleteFunc(slices.Clone(entries), func(e Entry) bool { return !e.Automatic })
	return ask(ctx, automatic, o, p, func(a Answer) bool { return a.Report.Usable })
}

// ask asks the drivers, and waits for them in their order, until an answer is enough.
func ask(ctx context.Context, entries []Entry, o Options, p Patience, enough func(Answer) bool) []Answer {
	ctx, cancel := context.WithTimeout(ctx, p.All)
	defer cancel()
	reports := make([]chan drivers.Report, len(entries))
	answers := make([]Answer, len(entries))
	for i, e := range entries {
		driver := e.New(o)
		reports[i], answers[i] = make(chan drivers.Report, 1), Answer{Entry: e, Driver: driver}
		answers[i].Report.Summary = fmt.Sprintf("it did not say within %v whether it works", p.All)
		go func() { reports[i] <- driver.Check(ctx) }()
	}
	turn, endTurn := context.WithTimeout(ctx, p.Turn)
	defer endTurn()
	for _, until := range []context.Context{turn, ctx} {
		for i := range entries {
			if reports[i] == nil {
				continue
			}
			if report, ok := within(until, reports[i]); ok {
				answers[i].Report, reports[i] = report, nil
			}
			if enough(answers[i]) {
				return answers[:i+1]
			}
		}
	}
	return answers
}

// within is a report that is there before ctx ends, or at that moment: an earlier driver may have used the time up.
func within(ctx context.Context, report <-chan drivers.Report) (drivers.Report, bool) {
	select {
	case r := <-report:
		return r, true
	case <-ctx.Done():
	}
	select {
	case r := <-report:
		return r, true
	default:
		return drivers.Report{}, false
	}
}

// notInstalled: what the driver needs is not there; see package fail for the exit codes.
func notInstalled(err error) bool { return fail.As(err).Kind.Exit%10 == 5 }

// Pick is what "auto" means: the first driver that works here. The error has every driver's reason why it does not.
func Pick(answers []Answer) (Answer, error) {
	var reasons []string
	var first error
	for _, a := range answers {
		if !a.Automatic {
			continue
		}
		if a.Report.Usable {
			return a, nil
		}
		if first == nil {
			first = a.Report.Err
		} else if a.Report.Err != nil && notInstalled(a.Report.Err) {
			continue // it takes one driver, so what to install is the first's to say
		}
		reasons = append(reasons, fmt.Sprintf("%s: %s", a.Name, a.Report.Summary))
	}
	if len(reasons) == 1 && first != nil {
		return Answer{}, first // says more, and has an exit code of its own
	}
	failure := fail.New(fail.DriverUnusable, "no driver works on this computer: %s", strings.Join(reasons, "; "))
	if first != nil {
		failure = failure.WithAdvice("%s; 'dory doctor' shows everything that was found", fail.As(first).Remedy())
	}
	return Answer{}, failure
}
