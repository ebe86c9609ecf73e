package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/dorykube/dory/cluster"
	"github.com/dorykube/dory/internal/fail"
	"github.com/dorykube/dory/internal/progress"
	"golang.org/x/term"
)

// wantsJSON looks for -o json also when the command line could not be understood.
func wantsJSON(args []string) bool {
	if end := slices.Index(args, "--"); end >= 0 {
		args = args[:end]
	}
	for i, arg := range args {
		switch {
		case arg == "-o=json", arg == "-ojson", arg == "--output=json":
			return true
		case (arg == "-o" || arg == "--output") && i+1 < len(args) && args[i+1] == "json":
			return true
		}
	}
	return false
}

// report tells the user of a failure, and returns the exit code.
func (a *app) report(err error, asJSON bool) int {
	f := fail.As(err)
	log := ""
	if logged := (*cluster.Logged)(nil); errors.As(err, &logged) {
		log = logged.File
	}
	if asJSON {
		progress.NewEvents(a.Out, 0).Error(progress.ErrorData{
			ID: f.Kind.ID, Message: f.Error(), Evidence: f.Evidence, Advice: f.Remedy(), ExitCode: f.Kind.Exit, Log: log,
		})
		return f.Kind.Exit
	}
	text := &strings.Builder{}
	fmt.Fprintf(text, "%s %s\n", a.paint(red, "error:"), f.Error())
	for line := range strings.Lines(strings.TrimSpace(f.Evidence)) {
		fmt.Fprintf(text, "  | %s\n", strings.TrimRight(line, "\n"))
	}
	if remedy := f.Remedy(); remedy != "" {
		fmt.Fprintf(text, "  what to do: %s\n", remedy)
	}
	if log != "" {
		fmt.Fprintf(text, "  log: %s\n", log)
	}
	fmt.Fprintf(text, "  %s (exit code %d)\n", f.Kind.ID, f.Kind.Exit)
	io.WriteString(a.Err, text.String())
	return f.Kind.Exit
}

const red, plain = "\x1b[31m", "\x1b[0m"

func (a *app) paint(color, text string) string {
	if !colored(a.Err) {
		return text
	}
	return color + text + plain
}

// terminal returns the file of a stream that is a terminal, or nil.
func terminal(stream any) *os.File {
	if out, ok := stream.(*answer); ok {
		stream = out.to
	}
	if f, ok := stream.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return f
	}
	return nil
}

func colored(stream any) bool {
	return terminal(stream) != nil && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

// progressing returns a context whose progress is shown as the flags and the terminal have it. done ends that.
func (a *app) progressing(ctx context.Context, steps int) (_ context.Context, done func()) {
	if a.json() {
		return progress.With(ctx, progress.NewEvents(a.Out, steps)), func() {}
	}
	var width func() int
	if f := terminal(a.Err); f != nil && os.Getenv("TERM") != "dumb" {
		width = func() int {
			w, _, err := term.GetSize(int(f.Fd()))
			if err != nil || w < 1 { // some that are none say 0
				return 80
			}
			return w
		}
	}
	text := progress.NewText(a.Err, width, colored(a.Err))
	return progress.With(ctx, text), text.Close
}

// watched runs f as the command's only step where somebody looks: on a terminal, or where a script asks for events. Otherwise
// the command stays as silent as its like are.
func (a *app) watched(ctx context.Context, s progress.Step, f func(context.Context) error) error {
	if !a.json() && terminal(a.Err) == nil {
		return f(ctx)
	}
	ctx, done := a.progressing(ctx, 1)
	defer done()
	return progress.Do(ctx, s, func(ctx context.Context) (string, error) { return "", f(ctx) })
}

// say writes an answer: an event for scripts, a line for people.
func (a *app) say(data map[string]any, format string, args ...any) {
	message := fmt.Sprintf(format, args...)
	if !a.json() {
		fmt.Fprintln(a.Out, message)
		return
	}
	if data == nil {
		data = map[string]any{}
	}
	data["message"] = message
	progress.NewEvents(a.Out, 0).Answer(data)
}
