package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

var licenseFile = regexp.MustCompile(`(?i)^(licen[cs]e|copying|notice|unlicense)([-._].*)?$`)

// debianLicenses are the texts of what is linked or copied from Debian packages: libseccomp and the C library in runc
// and pause, busybox.
var debianLicenses = map[string]string{
	"runc": "libseccomp-dev", "pause": "libc6-dev", "busybox": "busybox-static",
}

// licenses writes licenses/COMPONENT.txt: the texts of all modules that are linked into the component, each text once.
func (b *build) licenses(ctx context.Context) error {
	if err := os.MkdirAll(b.tree("licenses"), 0o755); err != nil {
		return err
	}
	for _, c := range components {
		if c.module == "" {
			continue
		}
		texts, err := b.moduleLicenses(ctx, c)
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		if err := os.WriteFile(b.tree("licenses/"+c.name+".txt"), texts, 0o644); err != nil {
			return err
		}
	}
	for name, pkg := range debianLicenses {
		text, err := os.ReadFile("/usr/share/doc/" + pkg + "/copyright")
		if err != nil {
			return err
		}
		if err := os.WriteFile(b.tree("licenses/"+name+"-debian.txt"), text, 0o644); err != nil {
			return err
		}
	}
	return nil
}

func (b *build) moduleLicenses(ctx context.Context, c component) ([]byte, error) {
	flags, err := b.moduleFlags(ctx, c)
	if err != nil {
		return nil, err
	}
	args := append([]string{"list"}, flags...)
	args = append(args, "-deps", "-tags="+c.tags, "-f", `{{with .Module}}{{if .Version}}{{.Path}}@{{.Version}} {{with .Replace}}{{.Dir}}{{else}}{{.Dir}}{{end}}{{end}}{{end}}`)
	for _, binary := range c.binaries {
		args = append(args, binary.source)
	}
	out, err := b.output(ctx, b.componentDir(c), b.platform(c, c.binaries[0]), "go", args...)
	if err != nil {
		return nil, err
	}
	lines := strings.Fields(strings.ReplaceAll(string(out), "\n", " "))
	owners := map[string][]string{} // text -> modules
	for pair := range slices.Chunk(lines, 2) {
		if err := readLicenses(owners, pair[0], pair[1]); err != nil {
			return nil, err
		}
	}
	return joinLicenses(owners), nil
}

func readLicenses(owners map[string][]string, module, dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if entry.IsDir() || !licenseFile.MatchString(entry.Name()) {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, entry.Name()))
		if err != nil {
			return err
		}
		key := strings.TrimSpace(string(text))
		if !slices.Contains(owners[key], module) {
			owners[key] = append(owners[key], module)
		}
	}
	return nil
}

func joinLicenses(owners map[string][]string) []byte {
	var sections []string
	for text, modules := range owners {
		slices.Sort(modules)
		sections = append(sections, strings.Join(modules, "\n")+"\n\n"+text+"\n")
	}
	slices.Sort(sections)
	var all bytes.Buffer
	for i, section := range sections {
		if i > 0 {
			all.WriteString("\n" + strings.Repeat("=", 100) + "\n\n")
		}
		all.WriteString(section)
	}
	return all.Bytes()
}
