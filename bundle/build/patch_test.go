package main

import (
	"os"
	"path/filepath"
	"testing"
)

func TestAPatchFitsExactlyOnce(t *testing.T) {
	p := patch{module: "m", file: "f.go", from: "period = 5", to: "period = 1"}
	for text, want := range map[string]string{
		"a\nperiod = 5\nb": "a\nperiod = 1\nb", "period = 6": "", "period = 5 period = 5": "",
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, p.file), []byte(text), 0o444); err != nil {
			t.Fatal(err)
		}
		err := p.apply(dir)
		got, _ := os.ReadFile(filepath.Join(dir, p.file))
		if want == "" && err == nil || want != "" && (err != nil || string(got) != want) {
			t.Errorf("%q became %q, %v", text, got, err)
		}
	}
}
