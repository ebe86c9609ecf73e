// Command dory-node is what dory itself runs on a node. It is small and uses only the standard library, because it
// starts often in guests where every millisecond counts.
package main

import (
	"fmt"
	"os"
)

const usage = "usage: dory-node wait-ready URL CA-FILE"

func main() {
	if len(os.Args) != 4 || os.Args[1] != "wait-ready" {
		fmt.Fprintln(os.Stderr, usage)
		os.Exit(2)
	}
	if err := waitReady(os.Args[2], os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
