package qemu

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"time"
)

// monitor is a conversation with QEMU over its control socket (QMP). It is used by one goroutine.
//
// QEMU talks to one client at a time and lets others wait: conversations are short, and none is held while waiting for
// the guest. What an earlier client asked before it went away, QEMU may still carry out and answer to the next one, even
// before its greeting (2 of 2000 hasty clients saw that): conversations number their requests each from a start of its own.
//
// go-qemu's client would be the library for this; its calls take no context, and it dials by itself, which long paths
// (see dialSocket) do not permit.
type monitor struct {
	conn   net.Conn
	dec    *json.Decoder
	broken error   // set when a call was cut off: what follows on the connection belongs to nobody
	events []event // that came between a command and its answer
	serial int
}

// event is something that QEMU tells unasked.
type event struct {
	Name string          `json:"event"`
	Data json.RawMessage `json:"data"`
}

// message is anything that QEMU sends.
type message struct {
	event
	Greeting json.RawMessage `json:"QMP"`
	Return   json.RawMessage `json:"return"`
	Error    *commandError   `json:"error"`
	ID       *int            `json:"id"`
}

// commandError is QEMU's refusal of a command.
type commandError struct {
	Command string `json:"-"`
	Class   string `json:"class"`
	Desc    string `json:"desc"`
}

func (e *commandError) Error() string { return fmt.Sprintf("QEMU refuses %s: %s", e.Command, e.Desc) }

// dialMonitor connects to the QEMU of a machine's directory and waits until it listens to commands.
func dialMonitor(ctx context.Context, dir machineDir) (*monitor, error) {
	conn, err := dialSocket(ctx, dir, socketFile)
	if err != nil {
		return nil, fmt.Errorf("connect to QEMU's control socket: %w", err)
	}
	return newMonitor(ctx, conn)
}

// newMonitor begins a conversation: QEMU's greeting, then the end of the negotiation of capabilities. It closes conn if
// that fails.
func newMonitor(ctx context.Context, conn net.Conn) (*monitor, error) {
	q := &monitor{conn: conn, dec: json.NewDecoder(conn), serial: rand.IntN(1 << 30)}
	err := q.within(ctx, q.greeting)
	if err != nil {
		err = fmt.Errorf("wait for QEMU's greeting: %w", err)
	} else {
		err = q.negotiate(ctx)
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return q, nil
}

func (q *monitor) greeting() error {
	for {
		m, err := q.next()
		switch {
		case err != nil || m.Greeting != nil:
			return err
		case m.ID == nil && m.Name == "":
			return errors.New("it does not speak QMP")
		}
	}
}

// negotiate takes QEMU's capabilities as they are, after which it listens to other commands. An earlier client may have
// done that for this one; then QEMU calls the command one that it does not know.
func (q *monitor) negotiate(ctx context.Context) error {
	err := q.run(ctx, "qmp_capabilities", nil, nil)
	var refused *commandError
	if errors.As(err, &refused) && refused.Class == "CommandNotFound" {
		return nil
	}
	return err
}

func (q *monitor) close() { q.conn.Close() }

// run executes a command and decodes its answer into result, unless that is nil. When ctx ends first, the conversation
// is over: QEMU may execute the command all the same.
func (q *monitor) run(ctx context.Context, command string, arguments, result any) error {
	return q.exchange(ctx, command, arguments, result, func(request []byte) error {
		_, err := q.conn.Write(request)
		return err
	})
}

// exchange is run with another way to send the request.
func (q *monitor) exchange(ctx context.Context, command string, arguments, result any, send func([]byte) error) error {
	q.serial++
	request, err := json.Marshal(struct {
		Execute   string `json:"execute"`
		Arguments any    `json:"arguments,omitempty"`
		ID        int    `json:"id"`
	}{command, arguments, q.serial})
	if err != nil {
		return err
	}
	return q.within(ctx, func() error {
		if err := send(append(request, '\n')); err != nil {
			return fmt.Errorf("tell QEMU to %s: %w", command, err)
		}
		for {
			m, err := q.next()
			switch {
			case err != nil:
				return fmt.Errorf("wait for QEMU's answer to %s: %w", command, err)
			case m.Name != "":
				q.events = append(q.events, m.event)
			case m.ID != nil && *m.ID != q.serial: // an earlier client's
			case m.Error != nil:
				m.Error.Command = command
				return m.Error
			case m.ID != nil:
				if result == nil {
					return nil
				}
				return json.Unmarshal(m.Return, result)
			}
		}
	})
}

// await returns the first event that is wanted, of those that came during earlier calls or come now.
func (q *monitor) await(ctx context.Context, wanted func(event) bool) (event, error) {
	for len(q.events) > 0 {
		e := q.events[0]
		q.events = q.events[1:]
		if wanted(e) {
			return e, nil
		}
	}
	var found event
	err := q.within(ctx, func() error {
		for {
			m, err := q.next()
			if err != nil {
				return fmt.Errorf("wait for an event of QEMU: %w", err)
			}
			if m.Name != "" && wanted(m.event) {
				found = m.event
				return nil
			}
		}
	})
	return found, err
}

func (q *monitor) next() (m message, err error) {
	err = q.dec.Decode(&m)
	if errors.Is(err, io.EOF) {
		err = errors.New("QEMU closed the connection")
	}
	return m, err
}

// within does one exchange, cut off by ctx.
func (q *monitor) within(ctx context.Context, exchange func() error) error {
	if q.broken != nil {
		return q.broken
	}
	stop := context.AfterFunc(ctx, func() { q.conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	err := exchange()
	var refused *commandError
	if err != nil && !errors.As(err, &refused) {
		if ctx.Err() != nil {
			err = fmt.Errorf("%w (%w)", ctx.Err(), err)
		}
		q.broken = err
	}
	return err
}

// The commands that the driver uses, as methods.

// runState is what QEMU says of the machine: "running", "paused", "io-error", ...
func (q *monitor) runState(ctx context.Context) (string, error) {
	var answer struct{ Status string }
	err := q.run(ctx, "query-status", nil, &answer)
	return answer.Status, err
}

// ports are the machine's forwards, guest port -> host port.
func (q *monitor) ports(ctx context.Context) (map[int]int, error) {
	var text string
	err := q.run(ctx, "human-monitor-command", map[string]string{"command-line": "info usernet"}, &text)
	return parseUsernet(text), err
}

// uuid is the machine that this QEMU runs.
func (q *monitor) uuid(ctx context.Context) (string, error) {
	var answer struct{ UUID string }
	err := q.run(ctx, "query-uuid", nil, &answer)
	return answer.UUID, err
}

// quit has QEMU write out its caches and end, which it has begun when this returns.
func (q *monitor) quit(ctx context.Context) error { return q.run(ctx, "quit", nil, nil) }
