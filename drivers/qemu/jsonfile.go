package qemu

import (
	"encoding/json"
	"fmt"
	"os"
)

// writeJSON replaces a file of the machine's directory as a whole: a reader, or a power cut, finds the old or the new.
func (d machineDir) writeJSON(name string, value any) error {
	return d.replaceJSON(name, value, (*os.File).Sync)
}

// writeVolatileJSON is writeJSON for what a power cut may take. To make a file durable, some file systems write out
// everything else as well: on a busy computer, that took longer than a fork.
func (d machineDir) writeVolatileJSON(name string, value any) error {
	return d.replaceJSON(name, value, func(*os.File) error { return nil })
}

func (d machineDir) replaceJSON(name string, value any, sync func(*os.File) error) error {
	content, err := json.Marshal(value)
	if err != nil {
		return err
	}
	temp := d.path(name + tempSuffix)
	file, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(append(content, '\n'))
	if err == nil {
		err = sync(file)
	}
	if closeErr := file.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(temp, d.path(name))
	}
	if err != nil {
		os.Remove(temp)
		return fmt.Errorf("write %s: %w", d.path(name), err)
	}
	return nil
}

// readJSON reads a file of the machine's directory. Callers treat every error as "not there": each of these files can be
// made again from what the machine is.
func (d machineDir) readJSON(name string, value any) error {
	content, err := os.ReadFile(d.path(name))
	if err != nil {
		return err
	}
	return json.Unmarshal(content, value)
}
