package cmd

// keepInherited has nothing to do: on Windows, Go starts children with the handles that they are given and no others.
func keepInherited() {}
