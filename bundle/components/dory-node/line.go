package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// lineName is that of the virtio serial port at whose other end dory is: LineName of dory's package drivers.
const lineName = "dev.dory.line"

const (
	lineLimit = 10 * time.Second // how long the kernel may take to find the port; it takes milliseconds
	lookEvery = 10 * time.Millisecond
)

// line is the port. Reading waits for somebody at the other end; when he is gone, that is the end.
type line struct {
	*os.File
	met bool
}

// openLine opens the port as soon as the kernel has it.
func openLine() (*line, error) {
	for began := time.Now(); ; time.Sleep(lookEvery) {
		device, err := linePort()
		if err == nil {
			// Its reads are to block; os.OpenFile would have Go's poller wait, which takes a nobody at the other end for an event.
			fd, err := syscall.Open(device, syscall.O_RDWR|syscall.O_CLOEXEC, 0)
			if err != nil {
				return nil, &os.PathError{Op: "open", Path: device, Err: err}
			}
			return &line{File: os.NewFile(uintptr(fd), device)}, nil
		}
		if time.Since(began) > lineLimit {
			return nil, err
		}
	}
}

// linePort finds the port's device among the kernel's ports.
func linePort() (string, error) {
	names, _ := filepath.Glob("/sys/class/virtio-ports/*/name")
	for _, name := range names {
		if text, _ := os.ReadFile(name); strings.TrimSpace(string(text)) == lineName {
			return "/dev/" + filepath.Base(filepath.Dir(name)), nil
		}
	}
	return "", errors.New("there is no port " + lineName)
}

// Read returns io.EOF only after somebody has been there: the kernel reports nobody and gone alike.
func (l *line) Read(p []byte) (int, error) {
	for {
		n, err := l.File.Read(p)
		if n > 0 {
			l.met = true
		}
		if l.met || err != io.EOF {
			return n, err
		}
		time.Sleep(lookEvery)
	}
}
