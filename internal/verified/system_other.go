//go:build !linux && !darwin

package verified

import "os"

// system returns nothing: size and time of the last write must do.
func system(os.FileInfo) (ctime int64, inode uint64) { return 0, 0 }
