// Package redact takes secrets out of texts that are given to others: logs, records, what commands print.
//
// What is known to be secret is found as it is, everything else by how secrets look. In doubt a text loses more than it must:
// a certificate's body too, but no name, path, digest or public SSH key.
package redact

import (
	"regexp"
	"strings"
)

// Redactor takes out secrets. It is safe for concurrent use.
type Redactor struct{ known *strings.Replacer }

// shortestKnown is the shortest line of a key's body that is looked for as it is: shorter ones may be anything.
const shortestKnown = 16

// New returns a redactor that also knows these secrets: private keys in PEM, which are found line by line, or other words.
func New(secrets ...string) *Redactor {
	var pairs []string
	for _, secret := range secrets {
		for line := range strings.Lines(secret) {
			line = strings.TrimSpace(line)
			if len(line) >= shortestKnown && !strings.HasPrefix(line, "-----") {
				pairs = append(pairs, line, leftOut("a key of this cluster"))
			}
		}
	}
	return &Redactor{strings.NewReplacer(pairs...)}
}

func leftOut(what string) string { return "[left out: " + what + "]" }

// rule is something secret that is known by its looks.
type rule struct {
	what    string
	pattern *regexp.Regexp
	// secret is what of a match is, by the number of its group; 0 is all of it.
	group int
	// is looks again at what the pattern has found; nil: it is secret.
	is func(found string) bool
}

const (
	beginKey = `-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----`
	endKey   = `-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----`
	// bodyLine is a line that ends like one of a key's body, also with a journal's beginning.
	bodyLine = `[^\n]*[A-Za-z0-9+/=]{16,}[ \t\r]*\n`
	// assigned is what stands between a name and its value: in flags, YAML, JSON, and JSON within JSON.
	assigned = `\\*["']?\s*[:=]\s*`
	value    = `(\\*"[^"\n]*"|'[^'\n]*'|[^\s"',;&\\]+)`
)

var rules = []rule{
	// Whole; or with one of its ends cut off, as the first and last lines of a log may be.
	{"a private key", regexp.MustCompile(`(?s)` + beginKey + `.*?` + endKey), 0, nil},
	{"a private key", regexp.MustCompile(beginKey + `[ \t\r]*\n?(?:` + bodyLine + `)*`), 0, nil},
	{"a private key", regexp.MustCompile(`(?:` + bodyLine + `)*[^\n]*\n?[^\n]*` + endKey), 0, nil},
	{"a token", regexp.MustCompile(`(?:^|[^A-Za-z0-9+/_-])(eyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*){0,4})`), 1, nil}, // JWT, also one that was cut
	{"a token", regexp.MustCompile(`\b(?:gh[pousr]_|github_pat_|glpat-|xox[abpr]-|AKIA)[A-Za-z0-9_-]{10,}`), 0, nil},
	{"a token", regexp.MustCompile(`\b[a-z0-9]{6}\.[a-z0-9]{16}\b`), 0, hasDigit}, // of kubeadm's kind
	{"a token", regexp.MustCompile(`(?i)\bbearer\s+([A-Za-z0-9._~+/=-]{16,})`), 1, nil},
	{"a login", regexp.MustCompile(`(?i)\bauthorization` + assigned + `(["']?(?:(?:bearer|basic|negotiate)\s+)?[^\s"',;]+)`), 1, nil},
	{"a password", regexp.MustCompile(`[A-Za-z][A-Za-z0-9+.-]*://([^/\s:@"'<>]*:[^/\s"'<>]+)@`), 1, nil},
	{"a secret", regexp.MustCompile(`(?i)(?:password|passwd|passphrase|client-key-data|client[-_]?secret|secret[-_]?access[-_]?key|secret[-_]?key|api[-_]?key|private[-_]?key)` +
		assigned + value), 1, nil},
	{"a token", regexp.MustCompile(`(?i)token` + assigned + value), 1, func(s string) bool { return len(s) >= 20 || hasDigit(s) }},
	{"base64", regexp.MustCompile(`\b(?:ssh|ecdsa|sk)-[a-z0-9@.-]+ AAAA[A-Za-z0-9+/=]+|[A-Za-z0-9+/_=-]{48,}`), 0, looksRandom},
}

// Text returns the text without what is secret.
func (r *Redactor) Text(text string) string {
	text = r.known.Replace(text)
	for _, rule := range rules {
		text = rule.apply(text)
	}
	return text
}

func (r rule) apply(text string) string {
	if strings.Contains(r.pattern.String(), "PRIVATE KEY") && !strings.Contains(text, "PRIVATE KEY") {
		return text // which is most texts, and these patterns are slow
	}
	var out strings.Builder
	end := 0
	for _, match := range r.pattern.FindAllStringSubmatchIndex(text, -1) {
		from, to := match[2*r.group], match[2*r.group+1]
		if r.is != nil && !r.is(text[from:to]) || strings.HasPrefix(text[from:to], "[left") {
			continue
		}
		out.WriteString(text[end:from])
		out.WriteString(leftOut(r.what))
		end = to
	}
	out.WriteString(text[end:])
	return out.String()
}

func hasDigit(s string) bool { return strings.ContainsAny(s, "0123456789") }

// looksRandom tells base64 from what is made of the same letters: digests in hex and names have hardly a capital, paths and
// long names have a separator every few letters, and public SSH keys say what they are.
func looksRandom(s string) bool {
	if strings.Contains(s, " AAAA") {
		return false
	}
	lower, upper, separators := 0, 0, 0
	for _, c := range s {
		switch {
		case c >= 'a' && c <= 'z':
			lower++
		case c >= 'A' && c <= 'Z':
			upper++
		case strings.ContainsRune("/-_+", c):
			separators++
		}
	}
	return lower > 0 && upper*8 >= len(s) && hasDigit(s) && separators*8 <= len(s)
}
