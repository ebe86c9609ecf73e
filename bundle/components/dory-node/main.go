// Command dory-node is what dory itself runs on a node. It is small and uses only the standard library, because it
// starts often in guests where every millisecond counts.
package main

import (
	"fmt"
	"os"
)

const usage = `usage: dory-node wait-ready URL CA-FILE
       dory-node hold
       dory-node finish-renewal
       dory-node set-clock NANOSECONDS`

func main() {
	args := os.Args[1:]
	var err error
	switch {
	case len(args) == 3 && args[0] == "wait-ready":
		err = waitReady(args[1], args[2])
	case len(args) == 1 && args[0] == "hold":
		err = holdUntilRenewed()
	case len(args) == 1 && args[0] == "finish-renewal":
		err = finishRenewal()
	case len(args) == 2 && args[0] == "set-clock":
		err = setClock(args[1])
	default:
		fmt.Fprintln(os.Stderr, usage)
		os.Exit(2)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
