// Package hostinfo tells what this computer has.
package hostinfo

import (
	"runtime"

	"github.com/dorykube/dory/internal/size"
)

// Host is what a cluster can be given at most.
type Host struct {
	CPUs   int
	Memory size.Size // physical, in all; 0: not known
}

// Find asks the operating system.
func Find() Host { return Host{CPUs: runtime.NumCPU(), Memory: memory()} }
