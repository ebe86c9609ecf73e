package atomicfile

import (
	"io/fs"
	"os"
)

// keepOwner leaves it to the directory, whose rights a new file inherits.
func keepOwner(*os.File, fs.FileInfo) error { return nil }
