package libvirt

import (
	"net/url"
	"os"
	"path/filepath"
	"strconv"

	"github.com/adrg/xdg"
	"github.com/dorykube/dory/internal/fail"
	"github.com/dorykube/dory/internal/sshrun"
)

// DefaultURI is the libvirt that is meant when none is named.
const DefaultURI = "qemu:///system"

// SessionURI is a user's own libvirt.
const SessionURI = "qemu:///session"

// place is where a libvirt is: which daemon, on which computer.
type place struct {
	uri     string // as it was named
	session bool   // the user's own daemon, not the system's
	socket  string // its socket, in place of the usual ones; empty: those
	// account is the login on the daemon's computer; nil: it is this one.
	account *sshrun.Account
}

// Parse refuses a URI that does not name a libvirt which dory can use.
func Parse(uri string) error {
	_, err := parse(uri)
	return err
}

// Elsewhere reports whether a URI names a libvirt of another computer.
func Elsewhere(uri string) bool {
	at, err := parse(uri)
	return err == nil && !at.local()
}

// parse reads what virsh(1) would be told: qemu:///system, qemu:///session, qemu+ssh://[user@]host[:port]/system, each with
// ?socket=PATH, the last with ?keyfile=PATH.
func parse(uri string) (place, error) {
	if uri == "" {
		uri = DefaultURI
	}
	p := place{uri: uri}
	refuse := func(why string) (place, error) {
		return p, fail.New(fail.BadValue, "--kvm-qemu-uri %q: %s", uri, why).
			WithAdvice("use qemu:///system, qemu:///session or qemu+ssh://USER@HOST/system")
	}
	u, err := url.Parse(uri)
	if err != nil {
		return refuse(err.Error())
	}
	switch u.Path {
	case "/system":
	case "/session":
		p.session = true
	default:
		return refuse("its path is neither /system nor /session")
	}
	query := u.Query()
	p.socket = query.Get("socket")
	if p.socket != "" && !filepath.IsAbs(p.socket) && u.Host == "" {
		return refuse("its socket is not an absolute path")
	}
	keyFile := query.Get("keyfile")
	query.Del("socket")
	query.Del("keyfile")
	for key := range query {
		return refuse("dory does not know its parameter " + strconv.Quote(key))
	}
	switch u.Scheme {
	case "qemu", "qemu+unix":
		if u.Host != "" || keyFile != "" {
			return refuse("another computer is reached by qemu+ssh://")
		}
	case "qemu+ssh":
		if u.Hostname() == "" {
			return refuse("it names no computer")
		}
		if p.account, err = account(u, keyFile); err != nil {
			return refuse(err.Error())
		}
		if p.session && p.socket == "" { // where it is over there, is not known here
			return refuse("a session of another computer needs ?socket=PATH")
		}
	default:
		return refuse("dory does not know its scheme")
	}
	return p, nil
}

func account(u *url.URL, keyFile string) (*sshrun.Account, error) {
	a := &sshrun.Account{Host: u.Hostname(), User: u.User.Username(), KeyFile: keyFile}
	if a.User == "" {
		a.User = os.Getenv("USER")
	}
	if a.User == "" {
		a.User = "root"
	}
	if port := u.Port(); port != "" {
		var err error
		if a.Port, err = strconv.Atoi(port); err != nil {
			return nil, err
		}
	}
	return a, nil
}

// local: the daemon and its machines are on this computer.
func (p place) local() bool { return p.account == nil }

// role is what a daemon is for: since libvirt 5.6 there may be one for each, where there was one for all.
type role struct{ socket, program, driver string }

var (
	domains  = role{"virtqemud-sock", "virtqemud", "qemu"}
	networks = role{"virtnetworkd-sock", "virtnetworkd", "network"}
	storage  = role{"virtstoraged-sock", "virtstoraged", "storage"}
	// monolith is for all.
	monolith = role{"libvirt-sock", "libvirtd", "qemu"}
)

// socketPath is where a daemon listens.
func (p place) socketPath(r role) string {
	switch {
	case p.socket != "":
		return p.socket
	case !p.session:
		return "/run/libvirt/" + r.socket
	case os.Getenv("XDG_RUNTIME_DIR") != "":
		return filepath.Join(os.Getenv("XDG_RUNTIME_DIR"), "libvirt", r.socket)
	default:
		return filepath.Join(xdg.CacheHome, "libvirt", r.socket)
	}
}

// open is what a daemon is asked to be.
func (p place) open(r role) string {
	if p.session {
		return r.driver + ":///session"
	}
	return r.driver + ":///system"
}
