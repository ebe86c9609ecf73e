// Package tried judges the version of a program by those that the tests run dory with.
package tried

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Version is one that dory was run with.
type Version struct {
	Number string // "10.0": of the third number's changes, none has mattered
	// Debian is the suite of Debian's archive that has it: the tests take it from there.
	Debian string
}

// Judge says what is known of a version, given as "10.0.13" with or without more words, of the program name. remedy is empty
// if it is none that is too old. versions are sorted, the oldest first.
func Judge(name, version string, versions []Version) (evidence, remedy string) {
	var numbers []string
	for _, v := range versions {
		numbers = append(numbers, v.Number)
	}
	all := strings.Join(numbers, ", ")
	version, _, _ = strings.Cut(version, " ")
	oldest, newest := numbers[0], numbers[len(numbers)-1]
	switch {
	case slices.ContainsFunc(numbers, func(n string) bool { return compare(version, n) == 0 }):
		return fmt.Sprintf("%s %s is of a version that dory was tried with (%s)", name, version, all), ""
	case compare(version, oldest) < 0:
		return fmt.Sprintf("%s %s is older than any that dory was tried with (%s)", name, version, all),
			fmt.Sprintf("install %s %s or newer", name, oldest)
	case compare(version, newest) > 0:
		return fmt.Sprintf("%s %s is newer than any that dory was tried with (%s)", name, version, all), ""
	default:
		return fmt.Sprintf("%s %s is between versions that dory was tried with (%s)", name, version, all), ""
	}
}

// compare compares as many numbers as the second one has.
func compare(version, with string) int {
	left, right := strings.Split(version, "."), strings.Split(with, ".")
	for i := range right {
		number := 0
		if i < len(left) {
			number, _ = strconv.Atoi(left[i])
		}
		other, _ := strconv.Atoi(right[i])
		if order := cmp.Compare(number, other); order != 0 {
			return order
		}
	}
	return 0
}
