package cmd

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/dorykube/dory/cluster"
	"github.com/dorykube/dory/internal/atomicfile"
	"github.com/dorykube/dory/internal/fail"
	"github.com/dorykube/dory/internal/progress"
)

// reportLines is how many lines of each log a bug report has.
const reportLines = 5000

// bugReport writes the archive of 'dory logs --file'.
func (a *app) bugReport(ctx context.Context, name string, f *logsFlags) error {
	lines := reportLines
	if f.counted {
		lines = f.lines
	}
	if info, err := os.Stat(f.file); err == nil && info.IsDir() {
		return fail.New(fail.Usage, "--file %s is a directory", f.file).WithAdvice("name a file in it, such as %s/dory-logs.tar.gz", strings.TrimRight(f.file, "/"))
	}
	var pieces []cluster.Piece
	gather := progress.Step{Name: "gather", Title: "Gathering logs and states"}
	err := a.watched(ctx, gather, func(ctx context.Context) (err error) {
		pieces, err = a.manager.Evidence(ctx, name, f.node, lines)
		return err
	})
	if err != nil {
		return err
	}
	var version strings.Builder
	if err := writeJSON(&version, versionInfo()); err != nil {
		return err
	}
	pieces = append([]cluster.Piece{
		{Name: "version.json", Text: version.String()},
		{Name: "problems.txt", Text: problemsIn(pieces, f.lines)},
	}, pieces...)
	archive, err := cluster.Archive("dory-logs-"+name, pieces, time.Now())
	if err == nil {
		err = writeReport(f.file, archive)
	}
	if err != nil {
		return fail.Wrap(fail.HostPermission, err, "write the logs")
	}
	lacking := 0
	for _, p := range pieces {
		if p.Err != nil {
			lacking++
		}
	}
	missing := ""
	if lacking > 0 {
		missing = fmt.Sprintf(", of which %d say why they are not whole", lacking)
	}
	a.say(map[string]any{"file": f.file, "pieces": len(pieces), "lacking": lacking},
		"%s has %d files%s. Keys, tokens and passwords were left out; look through it before you give it away.", f.file, len(pieces)+1, missing)
	return nil
}

// writeReport replaces a file, whole or not at all; what is none, such as /dev/stdout, is written to.
func writeReport(path string, content []byte) error {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return os.WriteFile(path, content, 0o600)
	}
	return atomicfile.Write(path, content, 0o600)
}
