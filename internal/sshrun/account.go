package sshrun

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/dorykube/dory/internal/fail"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
	"golang.org/x/crypto/ssh/knownhosts"
)

// Account is a login on a machine that exists already, as its user would name it to ssh(1).
type Account struct {
	Host    string // name or address
	Port    int    // 0: 22
	User    string
	KeyFile string // private key; empty: those of the agent, and the usual files in ~/.ssh
	Jump    string // machine on the way there, [user@]host[:port]; empty: none
	// Learned is a file like ~/.ssh/known_hosts for host keys that nobody knew before. What either file knows is held to.
	Learned string
}

// ErrNoKey is an account for which this computer has no key.
var ErrNoKey = errors.New("there is no SSH key to log in with")

// keyFiles are tried where no key is named: ssh(1)'s defaults without those that are out of use.
var keyFiles = []string{"id_ed25519", "id_ecdsa", "id_rsa"}

// Config is how to log in. Whoever is not root runs commands by way of sudo.
func (a Account) Config() (Config, error) {
	auth, err := a.auth()
	if err != nil {
		return Config{}, err
	}
	cfg := Config{Addr: address(a.Host, a.Port), User: a.User, Auth: auth, Sudo: a.User != "root", Once: true}
	if err := a.trust(&cfg); err != nil {
		return Config{}, err
	}
	if a.Jump == "" {
		return cfg, nil
	}
	via, err := a.jump()
	if err != nil {
		return Config{}, err
	}
	onTheWay, err := via.Config()
	cfg.Via = &onTheWay
	return cfg, err
}

func address(host string, port int) string {
	if port == 0 {
		port = 22
	}
	return net.JoinHostPort(strings.Trim(host, "[]"), strconv.Itoa(port))
}

// jump is the account on the machine on the way, which is logged in to with the same keys.
func (a Account) jump() (Account, error) {
	via := Account{User: a.User, Host: a.Jump, KeyFile: a.KeyFile, Learned: a.Learned}
	if user, host, ok := strings.Cut(a.Jump, "@"); ok {
		via.User, via.Host = user, host
	}
	if host, port, err := net.SplitHostPort(via.Host); err == nil {
		via.Host = host
		if via.Port, err = strconv.Atoi(port); err != nil {
			return via, fmt.Errorf("%q is not of the form [user@]host[:port]", a.Jump)
		}
	}
	return via, nil
}

// auth offers the key that was named, or all there are: in one method, since a server counts each as a try.
func (a Account) auth() ([]ssh.AuthMethod, error) {
	var signers []ssh.Signer
	files := []string{a.KeyFile}
	if a.KeyFile == "" {
		files = nil
		for _, name := range keyFiles {
			files = append(files, filepath.Join(sshDir(), name))
		}
	}
	locked := ""
	for _, file := range files {
		text, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) && a.KeyFile == "" {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read the SSH key: %w", err)
		}
		signer, err := ssh.ParsePrivateKey(text)
		switch {
		case errors.As(err, new(*ssh.PassphraseMissingError)):
			locked = file // the agent may have it
		case err != nil:
			return nil, fmt.Errorf("read the SSH key %s: %w", file, err)
		default:
			signers = append(signers, signer)
		}
	}
	if a.KeyFile == "" || locked != "" {
		signers = append(agentKeys(), signers...)
	}
	switch {
	case len(signers) > 0:
		return []ssh.AuthMethod{ssh.PublicKeys(signers...)}, nil
	case locked != "":
		return nil, fmt.Errorf("%w: %s has a passphrase, and no agent has it unlocked", ErrNoKey, locked)
	default:
		return nil, fmt.Errorf("%w: neither an agent nor %s has one", ErrNoKey, sshDir())
	}
}

// agentKeys are the keys of the user's agent; none without one.
func agentKeys() []ssh.Signer {
	socket := os.Getenv("SSH_AUTH_SOCK")
	if socket == "" {
		return nil
	}
	conn, err := net.Dial("unix", socket) // stays open: each signature is asked of it
	if err != nil {
		return nil
	}
	signers, err := agent.NewClient(conn).Signers()
	if err != nil {
		conn.Close()
	}
	return signers
}

func sshDir() string {
	home, err := os.UserHomeDir()
	if err != nil {
		return ".ssh"
	}
	return filepath.Join(home, ".ssh")
}

// trust holds the machine to what is known of it, and learns what is not.
func (a Account) trust(cfg *Config) error {
	var files []string
	for _, file := range []string{filepath.Join(sshDir(), "known_hosts"), a.Learned} {
		if _, err := os.Stat(file); err == nil {
			files = append(files, file)
		}
	}
	known, err := knownhosts.New(files...)
	if err != nil {
		return fmt.Errorf("read the known hosts: %w", err)
	}
	cfg.HostKeyAlgorithms = knownAlgorithms(known, cfg.Addr)
	cfg.CheckHostKey = func(host string, remote net.Addr, key ssh.PublicKey) error {
		err := known(host, remote, key)
		unknown := (*knownhosts.KeyError)(nil)
		if !errors.As(err, &unknown) {
			return err
		}
		if len(unknown.Want) > 0 {
			return fmt.Errorf("%w, which is in %s:%d", ErrHostKey, unknown.Want[0].Filename, unknown.Want[0].Line)
		}
		return a.learn(host, key)
	}
	return nil
}

func (a Account) learn(host string, key ssh.PublicKey) error {
	file, err := os.OpenFile(a.Learned, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fail.Wrap(fail.HostPermission, err, "note the SSH host key of %s, which nobody knows yet", host)
	}
	_, err = fmt.Fprintln(file, knownhosts.Line([]string{knownhosts.Normalize(host)}, key))
	return errors.Join(err, file.Close())
}

// knownAlgorithms are those of the keys that are known of a machine, so that it is not asked for another key than those;
// nil if none is known.
func knownAlgorithms(known ssh.HostKeyCallback, addr string) (algorithms []string) {
	err := known(addr, &net.TCPAddr{IP: net.IPv4zero}, noKey{})
	unknown := (*knownhosts.KeyError)(nil)
	if !errors.As(err, &unknown) {
		return nil
	}
	for _, want := range unknown.Want {
		kinds := []string{want.Key.Type()}
		if want.Key.Type() == ssh.KeyAlgoRSA {
			kinds = []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256}
		}
		for _, kind := range kinds {
			if !slices.Contains(algorithms, kind) {
				algorithms = append(algorithms, kind)
			}
		}
	}
	return algorithms
}

// noKey is a key that no machine has: asked about it, the known hosts say which they want instead.
type noKey struct{}

func (noKey) Type() string                        { return "none" }
func (noKey) Marshal() []byte                     { return nil }
func (noKey) Verify([]byte, *ssh.Signature) error { return errors.New("not a key") }
