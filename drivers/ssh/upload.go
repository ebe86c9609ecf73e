package ssh

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"

	"github.com/dorykube/dory/drivers"
	"github.com/dorykube/dory/internal/fail"
	"github.com/dorykube/dory/internal/progress"
	"github.com/dorykube/dory/provision"
)

// Scripts of an upload; $1 is the bundle's digest. The parts of an upload that was cut short stay, and the next goes on.
const (
	// offsetScript prints how much is there: "whole", or a number of bytes.
	offsetScript = `cd /var/lib/dory || exit 1
if [ -e bundle-$1.img ]; then ln -sfn bundle-$1.img bundle.img; echo whole; exit; fi
stat -c %s bundle-$1.part 2>/dev/null || echo 0`
	// appendScript adds standard input to what is there, and does not trust what came.
	appendScript = `cd /var/lib/dory || exit 1
cat >>bundle-$1.part || { echo "no space left in /var/lib/dory for the bundle" >&2; exit 6; }
[ "$(stat -c %%s bundle-$1.part)" -ge %d ] || exit 8
if echo "$1  bundle-$1.part" | sha256sum -c --status; then
    sync bundle-$1.part
    mv bundle-$1.part bundle-$1.img
    ln -sfn bundle-$1.img bundle.img
    for old in bundle-*.img bundle-*.part; do [ $old = bundle-$1.img ] || rm -f $old; done
else
    rm bundle-$1.part
    exit 9
fi`
)

// Exit codes of appendScript.
const (
	cutShort  = 8
	corrupted = 9
)

// upload puts the bundle onto the machine, unless it is there.
func (d *Driver) upload(ctx context.Context, m drivers.Machine) error {
	file, err := os.Open(m.Bundle)
	if err != nil {
		return fail.Wrap(fail.ArtifactMissing, err, "open the bundle")
	}
	defer file.Close()
	hash := sha256.New()
	info, err := file.Stat()
	if err != nil {
		return fail.Wrap(fail.ArtifactCorrupt, err, "read the bundle")
	}
	size, err := io.Copy(hash, progress.Reader(ctx, file, progress.Transfer{Name: "bundle-digest", Title: "Reading bundle", Total: info.Size()}))
	if err != nil {
		return fail.Wrap(fail.ArtifactCorrupt, err, "read the bundle")
	}
	digest := hex.EncodeToString(hash.Sum(nil))
	for range 2 { // what lies there from a cut upload may be damaged, and is then sent anew
		have, err := d.command(ctx, m, "look for the bundle", offsetScript, digest)
		if err != nil || have == "whole" {
			return err
		}
		offset, err := strconv.ParseInt(have, 10, 64)
		if err != nil {
			return fmt.Errorf("the size of the bundle on %s is %q", m.Remote.Address, have)
		}
		offset = min(offset, size)
		rest := progress.Reader(ctx, io.NewSectionReader(file, offset, size-offset),
			progress.Transfer{Name: "bundle", Title: "Uploading bundle", Done: offset, Total: size})
		if err = d.send(ctx, m, digest, size, rest); !errors.Is(err, errCorrupted) {
			return err
		}
	}
	return fail.New(fail.GuestCommand, "upload the bundle to %s: what arrives is not what was sent", m.Remote.Address)
}

var errCorrupted = errors.New("the bundle was damaged on its way")

func (d *Driver) send(ctx context.Context, m drivers.Machine, digest string, size int64, rest io.Reader) error {
	client, err := d.client(ctx, m)
	if err != nil {
		return err
	}
	err = client.Run(ctx, provision.Cmd{Shell: fmt.Sprintf("set -- %s\n"+appendScript, digest, size), Stdin: rest})
	exit := (*provision.ExitError)(nil)
	switch {
	case err == nil:
		return nil
	case errors.As(err, &exit) && exit.Code == corrupted:
		return errCorrupted
	case errors.As(err, &exit) && exit.Code != cutShort:
		return scriptFailure(m, "upload the bundle", exit)
	case ctx.Err() != nil:
		return ctx.Err()
	}
	d.forget(m)
	return fail.Wrap(fail.RemoteUnreachable, err, "upload the bundle to %s", m.Remote.Address).
		WithAdvice("type the same command again: the upload goes on where it was cut")
}
