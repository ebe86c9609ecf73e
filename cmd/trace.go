package cmd

import (
	"bytes"
	"context"
	"time"

	"github.com/dorykube/dory/internal/atomicfile"
	"github.com/dorykube/dory/internal/fail"
	"github.com/dorykube/dory/internal/progress"
	"github.com/dorykube/dory/internal/trace"
)

// traced returns a context whose steps are recorded, and what writes them to the file in the end, with what the node did
// meanwhile; ready says whether there is a node to ask.
func (a *app) traced(ctx context.Context, path string) (_ context.Context, write func(name string, ready bool) error) {
	if path == "" {
		return ctx, func(string, bool) error { return nil }
	}
	began := time.Now()
	recorder := &trace.Recorder{Reporter: progress.From(ctx), Process: "dory"}
	return progress.With(ctx, recorder), func(name string, ready bool) error {
		spans := recorder.Spans()
		if ready {
			node, err := a.manager.Timeline(ctx, name, began)
			if err != nil {
				recorder.Warn("the trace lacks what the node did: " + err.Error())
			}
			spans = append(spans, node...)
		}
		var text bytes.Buffer
		if err := trace.Write(&text, spans); err != nil {
			return err
		}
		if err := atomicfile.Write(path, text.Bytes(), 0o644); err != nil {
			return fail.Wrap(fail.HostPermission, err, "write the trace")
		}
		return nil
	}
}
