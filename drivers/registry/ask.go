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

// Ask asks all drivers at once. One that has not answered when the limit has passed counts as not working.
func Ask(ctx context.Context, o Options, limit time.Duration) []Answer {
	return ask(ctx, All(), o, limit, func(Answer) bool { return false })
}

// AskFirst is Ask for those that auto may choose, and waits for none behind the first that works.
func AskFirst(ctx context.Context, o Options, limit time.Duration) []Answer {
	return askFirst(ctx, All(), o, limit)
}

func askFirst(ctx context.Context, entries []Entry, o Options, limit time.Duration) []Answer {
	automatic := slices.DeleteFunc(slices.Clone(entries), func(e Entry) bool { return !e.Automatic })
	return ask(ctx, automatic, o, limit, func(a Answer) bool { return a.Report.Usable })
}

// ask asks the drivers, and waits for them in their order, until an answer is enough.
func ask(ctx context.Context, entries []Entry, o Options, limit time.Duration, enough func(Answer) bool) []Answer {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	reports := make([]chan drivers.Report, len(entries))
	answers := make([]Answer, len(entries))
	for i, e := range entries {
		driver := e.New(o)
		reports[i], answers[i] = make(chan drivers.Report, 1), Answer{Entry: e, Driver: driver}
		go func() { reports[i] <- driver.Check(ctx) }()
	}
	for i := range entries {
		select {
		case answers[i].Report = <-reports[i]:
		case <-ctx.Done():
			if len(reports[i]) > 0 { // it answered in time; an earlier driver used the time up
				answers[i].Report = <-reports[i]
			} else {
				answers[i].Report = drivers.Report{Summary: fmt.Sprintf("it did not say within %v whether it works", limit)}
			}
		}
		if enough(answers[i]) {
			return answers[:i+1]
		}
	}
	return answers
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
