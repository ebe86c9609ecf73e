// Package nearest finds what somebody meant who mistyped a word.
package nearest

// To returns the candidate that takes the fewest edits to become word, or "" if that is more than half of its letters.
func To(word string, candidates []string) string {
	best, least := "", len(word)/2+1
	for _, candidate := range candidates {
		if n := Distance(word, candidate); n < least {
			best, least = candidate, n
		}
	}
	return best
}

// Distance is how many letters must be put in, taken out, changed or swapped with their neighbour to make a out of b
// (Damerau and Levenshtein's, restricted).
func Distance(a, b string) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			change := rows[i-1][j-1]
			if a[i-1] != b[j-1] {
				change++
			}
			rows[i][j] = min(change, rows[i-1][j]+1, rows[i][j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}
