package cluster

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/dorykube/dory/internal/atomicfile"
	"github.com/dorykube/dory/internal/fail"
	"github.com/dorykube/dory/internal/home"
	"github.com/dorykube/dory/internal/nearest"
	"sigs.k8s.io/yaml"
)

// File is the configuration file that --config names.
type File struct {
	APIVersion string `json:"apiVersion"` // dory.dev/v1alpha1
	Kind       string `json:"kind"`       // Cluster
	Metadata   struct {
		Name string `json:"name"` // of the cluster; may be left out
	} `json:"metadata"`
	Spec map[string]any `json:"spec"` // keys as the flags of 'dory start'
}

const (
	fileVersion = "dory.dev/v1alpha1"
	fileKind    = "Cluster"
)

// Given is what the user said, layer by layer.
type Given struct {
	Config string              // path of a configuration file; empty: none
	Env    func(string) string // os.Getenv
	Flags  map[string][]string // by key; only those that were set
}

// EnvName is the variable of the environment for a setting: DORY_DISK_SIZE.
func EnvName(key string) string { return "DORY_" + strings.ToUpper(strings.ReplaceAll(key, "-", "_")) }

// Layer puts what was given over the defaults: the user's configuration, the file, the environment, the flags. name is
// the cluster that the file names, or empty.
func Layer(dirs home.Dirs, g Given) (w Wanted, name string, err error) {
	w.Spec, w.Options = Defaults()
	w.Sources = map[string]Source{}
	user, err := LoadUserConfig(dirs)
	if err != nil {
		return w, "", err
	}
	if err := w.apply(user, Source{FromUserConfig, UserConfigFile(dirs)}, userOnly); err != nil {
		return w, "", err
	}
	if g.Config != "" {
		file, err := readFile(g.Config)
		if err != nil {
			return w, "", err
		}
		name = file.Metadata.Name
		if err := w.apply(file.Spec, Source{FromFile, g.Config}, nil); err != nil {
			return w, "", err
		}
	}
	for _, s := range Settings {
		if text := g.Env(EnvName(s.Key)); text != "" {
			if err := s.Set(&w, s.Split(text), Source{FromEnvironment, EnvName(s.Key)}); err != nil {
				return w, "", err
			}
		}
		if values, ok := g.Flags[s.Key]; ok {
			if err := s.Set(&w, values, Source{FromFlag, "--" + s.Key}); err != nil {
				return w, "", err
			}
		}
	}
	return w, name, nil
}

// Split takes a list apart that is one text. Values of --extra-config may have commas in them, which are the user's to
// give one flag each.
func (s Setting) Split(text string) []string {
	if !s.IsList() {
		return []string{text}
	}
	if s.Key == "extra-config" {
		return strings.Fields(text)
	}
	return strings.Split(text, ",")
}

func (w *Wanted) apply(values map[string]any, from Source, ignore []string) error {
	for key, value := range values {
		if slices.Contains(ignore, key) {
			continue
		}
		s, err := FindSetting(key)
		if err != nil {
			return fmt.Errorf("read %s: %w", from.Where, err)
		}
		texts, err := s.texts(value)
		if err != nil {
			return fail.Wrap(fail.BadConfig, err, "read %s: %s", from.Where, key)
		}
		if err := s.Set(w, texts, Source{from.Kind, from.Where + ": " + key}); err != nil {
			return err
		}
	}
	return nil
}

// texts are a YAML value as somebody would type it.
func (s Setting) texts(value any) ([]string, error) {
	switch v := value.(type) {
	case nil:
		return nil, errors.New("it has no value")
	case map[string]any:
		return nil, errors.New("it is not a single value")
	case []any:
		var all []string
		for _, element := range v {
			one, err := s.texts(element)
			if err != nil {
				return nil, err
			}
			all = append(all, one...)
		}
		return all, nil
	case string:
		return s.Split(v), nil
	default:
		return []string{fmt.Sprint(v)}, nil
	}
}

func readFile(path string) (file File, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return file, fail.Wrap(fail.BadConfig, err, "read the configuration file")
	}
	if err := yaml.UnmarshalStrict(text, &file); err != nil {
		return file, fail.Wrap(fail.BadConfig, err, "read %s%s", path, nearField(err))
	}
	if file.APIVersion != fileVersion || file.Kind != fileKind {
		return file, fail.New(fail.BadConfig, "%s has apiVersion %q and kind %q", path, file.APIVersion, file.Kind).
			WithAdvice("write 'apiVersion: %s' and 'kind: %s' into it", fileVersion, fileKind)
	}
	return file, nil
}

// nearField is a hint at the field that an unknown one may stand for, or at the place where it belongs.
func nearField(err error) string {
	_, rest, found := strings.Cut(err.Error(), `unknown field "`)
	field, _, _ := strings.Cut(rest, `"`)
	if !found {
		return ""
	}
	if _, err := FindSetting(field); err == nil {
		return fmt.Sprintf(" (%q belongs under \"spec\")", field)
	}
	if near := nearest.To(field, []string{"apiVersion", "kind", "metadata", "spec", "name"}); near != "" {
		return fmt.Sprintf(" (did you mean %q?)", near)
	}
	return ""
}

// userOnly are keys of the user's configuration that are no settings of a cluster.
var userOnly = append([]string{ProfileKey}, WithoutEffect...)

// WithoutEffect are keys of minikube's configuration that scripts set, and that mean nothing here. 'config get' returns what was set.
var WithoutEffect = []string{"WantUpdateNotification", "WantBetaUpdateNotification", "WantReportError", "WantReportErrorPrompt",
	"WantKubectlDownloadMsg", "WantNoneDriverWarning", "WantVirtualBoxDriverWarning", "ReminderWaitPeriodInHours", "ShowBootstrapperDeprecationNotification",
	"MaxAuditEntries", "cache", "v", "log_dir", "native-ssh", "rootless", "bootstrapper", "container-runtime", "disable-driver-mounts"}

// ProfileKey is the key of the cluster that is meant when none is named.
const ProfileKey = "profile"

// UserConfigFile is where 'dory config' keeps the user's defaults.
func UserConfigFile(dirs home.Dirs) string { return filepath.Join(dirs.Config, "config.yaml") }

// LoadUserConfig reads the user's defaults; there need not be any.
func LoadUserConfig(dirs home.Dirs) (map[string]any, error) {
	path := UserConfigFile(dirs)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return map[string]any{}, nil
	}
	values := map[string]any{}
	if err == nil {
		err = yaml.UnmarshalStrict(text, &values)
	}
	if err != nil {
		return nil, fail.Wrap(fail.BadConfig, err, "read %s", path).WithAdvice("mend or remove the file")
	}
	return values, nil
}

// SaveUserConfig writes the user's defaults.
func SaveUserConfig(dirs home.Dirs, values map[string]any) error {
	text, err := yaml.Marshal(values)
	if err == nil {
		err = os.MkdirAll(dirs.Config, 0o700)
	}
	if err == nil {
		err = atomicfile.Write(UserConfigFile(dirs), text, 0o600)
	}
	if err != nil {
		return fail.Wrap(fail.HostPermission, err, "write the user's configuration")
	}
	return nil
}
