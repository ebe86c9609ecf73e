package cluster

import (
	"strconv"
	"strings"

	"github.com/dorykube/dory/internal/fail"
)

// Versions are the Kubernetes versions that there are bundles for; the first is the default.
var Versions = []string{"v1.37.2", "v1.36.3"}

// ResolveVersion returns the version of the catalogue that is meant by "1.37.2", "v1.37", "stable" or "latest".
func ResolveVersion(text string) (string, error) {
	switch text {
	case "", "stable", "latest", "default":
		return Versions[0], nil
	}
	wanted := "v" + strings.TrimPrefix(text, "v")
	for _, v := range Versions {
		if v == wanted || strings.HasPrefix(v, wanted+".") {
			return v, nil
		}
	}
	return "", fail.New(fail.BadValue, "there is no Kubernetes %q; there are %s", text, strings.Join(Versions, ", ")).
		WithAdvice("the nearest is --kubernetes-version %s", nearestVersion(wanted))
}

// nearestVersion compares by number, since v1.35.9 is nearer to v1.36.3 than to anything that looks like it.
func nearestVersion(wanted string) string {
	best, least := Versions[0], -1
	for _, v := range Versions {
		if d := abs(number(v) - number(wanted)); number(wanted) > 0 && (least < 0 || d < least) {
			best, least = v, d
		}
	}
	return best
}

// number orders versions; 0 is not a version.
func number(version string) int {
	n := 0
	parts := strings.SplitN(strings.TrimPrefix(version, "v"), ".", 3)
	for len(parts) < 3 {
		parts = append(parts, "0")
	}
	for _, part := range parts {
		value, err := strconv.Atoi(part)
		if err != nil || value > 999 {
			return 0
		}
		n = n*1000 + value
	}
	return n
}

func abs(n int) int { return max(n, -n) }
