package cmd

import "os"

// resizeSignals tell that the terminal has another size; Windows has none.
var resizeSignals []os.Signal
