package progress

import (
	"context"
	"io"
	"sync"
)

// Transfer is how far a step has come that moves bytes: an upload, a download, a file that is read from end to end.
type Transfer struct {
	Name  string // stable identifier for scripts: "bundle"
	Title string // for people: "Uploading bundle"
	Done  int64  // bytes, with those that were there before this transfer began
	Total int64  // bytes; 0: not known
}

// Ended reports whether nothing is left to move.
func (t Transfer) Ended() bool { return t.Total > 0 && t.Done == t.Total }

// Share is how much of the whole is done, from 0 to 1; known is false where the whole is not known, or is more than it was
// said to be.
func (t Transfer) Share() (share float64, known bool) {
	if t.Total <= 0 || t.Done > t.Total {
		return 0, false
	}
	return float64(t.Done) / float64(t.Total), true
}

// Counter tells the context's reporter of a transfer's bytes. It is safe for concurrent use. As an io.Writer it counts what
// is written to it and keeps nothing.
type Counter struct {
	reporter Reporter
	step     Step
	mu       sync.Mutex
	at       Transfer
}

// Count begins a transfer of the step that the context belongs to. Outside of a step nobody is told.
func Count(ctx context.Context, t Transfer) *Counter {
	c := &Counter{reporter: silent{}, at: t}
	if step, ok := ctx.Value(stepKey{}).(Step); ok {
		c.reporter, c.step = From(ctx), step
	}
	c.Add(0)
	return c
}

// Add counts n more bytes.
func (c *Counter) Add(n int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at.Done += n
	c.reporter.Moved(c.step, c.at)
}

// Reach counts all bytes before an offset, for what moves in leaps. It never goes back.
func (c *Counter) Reach(offset int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if offset > c.at.Done {
		c.at.Done = offset
		c.reporter.Moved(c.step, c.at)
	}
}

// End says that everything has been moved, however much that turned out to be.
func (c *Counter) End() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.at.Ended() && c.at.Done > 0 {
		c.at.Total = c.at.Done
		c.reporter.Moved(c.step, c.at)
	}
}

func (c *Counter) Write(p []byte) (int, error) {
	c.Add(int64(len(p)))
	return len(p), nil
}

// Reader returns a reader that counts what is read from r as bytes of the transfer, which ends with r.
func Reader(ctx context.Context, r io.Reader, t Transfer) io.Reader {
	return &countingReader{r, Count(ctx, t)}
}

type countingReader struct {
	from    io.Reader
	counter *Counter
}

func (r *countingReader) Read(p []byte) (int, error) {
	n, err := r.from.Read(p)
	if n > 0 {
		r.counter.Add(int64(n))
	}
	if err == io.EOF {
		r.counter.End()
	}
	return n, err
}
