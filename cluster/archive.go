package cluster

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Archive packs pieces into a gzip'd tar, below one directory. A piece that is not there is a file that says why, and
// about.txt says which those are.
func Archive(dir string, pieces []Piece, at time.Time) ([]byte, error) {
	var out bytes.Buffer
	zipped := gzip.NewWriter(&out)
	packed := tar.NewWriter(zipped)
	about := Piece{Name: "about.txt", Text: aboutArchive(pieces, at)}
	var failure error
	for _, p := range append([]Piece{about}, pieces...) {
		text := p.Text
		if p.Err != nil {
			text = fmt.Sprintf("%s\n(%s: %v)\n", text, p.lack(), p.Err)
		}
		header := &tar.Header{Name: dir + "/" + p.Name, Mode: 0o600, Size: int64(len(text)), ModTime: at, Format: tar.FormatPAX}
		failure = errors.Join(failure, packed.WriteHeader(header))
		_, err := packed.Write([]byte(text))
		failure = errors.Join(failure, err)
	}
	failure = errors.Join(failure, packed.Close(), zipped.Close())
	return out.Bytes(), failure
}

// lack is what a piece lacks that has an error.
func (p Piece) lack() string {
	if p.Text == "" {
		return "not there"
	}
	return "not all of it is there"
}

func aboutArchive(pieces []Piece, at time.Time) string {
	var out strings.Builder
	fmt.Fprintf(&out, "Written by 'dory logs --file' at %s.\n", at.UTC().Format(time.RFC3339))
	out.WriteString("Private keys, tokens and passwords were left out as far as they can be known by their looks. Names of files, images,\n" +
		"pods and users are in it: look through it before you give it away.\n")
	for _, p := range pieces {
		if p.Err != nil {
			reason, _, _ := strings.Cut(p.Err.Error(), "\n")
			fmt.Fprintf(&out, "\n%s: %s: %s", p.Name, p.lack(), reason)
		}
	}
	return out.String() + "\n"
}
