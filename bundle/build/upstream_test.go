package main

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/printer"
	"go/token"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// upstreamMains are the bodies of main that components/kubernetes/main.go stands for, comments aside.
var upstreamMains = map[string]string{
	"kube-apiserver":          "command := app.NewAPIServerCommand() code := cli.Run(command) os.Exit(code)",
	"kube-controller-manager": "command := app.NewControllerManagerCommand() code := cli.Run(command) os.Exit(code)",
	"kube-scheduler":          "command := app.NewSchedulerCommand() code := cli.Run(command) os.Exit(code)",
	"kube-proxy":              "command := app.NewProxyCommand() code := cli.Run(command) os.Exit(code)",
	"kubelet":                 "command := app.NewKubeletCommand(context.Background()) code := cli.Run(command) os.Exit(code)",
	"kubectl": "logs.GlogSetter(cmd.GetLogVerbosity(os.Args)) command := cmd.NewDefaultKubectlCommand() " +
		"if err := cli.RunNoErrOutput(command); err != nil { util.CheckErr(err) }",
}

// The one program imports what each of upstream's does, if only for its effect: without time/tzdata, every time zone of a CronJob was
// unknown. What upstream's main functions do is what it was when dory's was written.
func TestMainIsUpstreams(t *testing.T) {
	ours := goList(t, "{{join .Imports \"\\n\"}}", ".")
	for name, body := range upstreamMains {
		upstream := "k8s.io/kubernetes/cmd/" + name
		for _, path := range goList(t, "{{join .Imports \"\\n\"}}", upstream) {
			if !slices.Contains(ours, path) {
				t.Errorf("%s imports %s, and main.go does not", name, path)
			}
		}
		files := goList(t, "{{$dir := .Dir}}{{range .GoFiles}}{{$dir}}/{{.}}\n{{end}}", upstream)
		if got := mainBody(t, files); got != body {
			t.Errorf("%s's main is\n%s\nand was\n%s", name, got, body)
		}
	}
	if len(upstreamMains) != len(links) {
		t.Errorf("%d of %d components are compared", len(upstreamMains), len(links))
	}
}

func goList(t *testing.T, format, path string) []string {
	t.Helper()
	cmd := exec.Command("go", "list", "-f", format, path)
	cmd.Dir = filepath.Join("..", "components", "kubernetes")
	cmd.Env = append(cmd.Environ(), "GOWORK=off", "GOFLAGS=")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil || len(out) == 0 {
		t.Fatalf("go list %s: %v: %s", path, err, stderr.String())
	}
	return strings.Fields(string(out))
}

func mainBody(t *testing.T, files []string) string {
	t.Helper()
	for _, path := range files {
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, path, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range file.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok && f.Name.Name == "main" {
				var text bytes.Buffer
				for _, statement := range f.Body.List {
					printer.Fprint(&text, token.NewFileSet(), statement)
					text.WriteByte('\n')
				}
				return strings.Join(strings.Fields(text.String()), " ")
			}
		}
	}
	t.Fatalf("no main in %v", files)
	return ""
}
