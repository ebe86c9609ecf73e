package kubeconfig

import "os"

func mayWrite(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err == nil {
		err = f.Close()
	}
	return err
}

// mayMakeIn leaves it to the attempt.
func mayMakeIn(string) error { return nil }
