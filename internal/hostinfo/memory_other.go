//go:build !linux && !darwin && !windows

package hostinfo

import "github.com/dorykube/dory/internal/size"

func memory() size.Size { return 0 }
