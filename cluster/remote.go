package cluster

import (
	"os"
	"path/filepath"
	"regexp"

	"github.com/dorykube/dory/internal/fail"
	"github.com/dorykube/dory/internal/hostinfo"
)

// sshDriver is the driver for machines that exist already.
const sshDriver = "ssh"

// A name or address of a machine, and a user's name there: what could be taken for an option is neither.
var (
	hostPattern = regexp.MustCompile(`^[A-Za-z0-9_\[][-A-Za-z0-9_.:%\]]*$`)
	userPattern = regexp.MustCompile(`^[A-Za-z0-9_][-A-Za-z0-9_.]*$`)
)

// checkRemote checks which machine is named for driver ssh, and that none is for another.
func checkRemote(s *Spec, _ hostinfo.Host) error {
	r := &s.RemoteSpec
	if s.Driver != sshDriver {
		if r.Address != "" {
			return fail.New(fail.BadValue, "--ssh-ip-address %s is for --driver ssh, not for %s", r.Address, s.Driver)
		}
		return nil
	}
	switch {
	case r.Address == "":
		return fail.New(fail.RemoteMissing, "--driver ssh: no machine is named")
	case !hostPattern.MatchString(r.Address):
		return fail.New(fail.BadValue, "--ssh-ip-address %q is neither a name nor an address", r.Address)
	case !userPattern.MatchString(r.User):
		return fail.New(fail.BadValue, "--ssh-user %q is no name of a user", r.User)
	case r.Port < 1 || r.Port > 65535:
		return fail.New(fail.BadValue, "--ssh-port %d is not a port", r.Port)
	case r.Key == "":
		return nil
	}
	if _, err := os.Stat(r.Key); err != nil {
		return fail.Wrap(fail.BadValue, err, "--ssh-key %s", r.Key)
	}
	path, err := filepath.Abs(r.Key)
	r.Key = path
	return err
}
