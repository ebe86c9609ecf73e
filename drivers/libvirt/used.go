package libvirt

import (
	"strings"
	"time"

	libvirt "github.com/digitalocean/go-libvirt"
)

// definitionLimit is how long a domain's definition may take that libvirt has in memory.
const definitionLimit = 2 * time.Second

// unusedBy looks at the definitions of all domains, in which the files are named that they need, and returns what tells whether
// no domain needs a file of the pool. While one does not tell, every file is needed.
func unusedBy(c *conversation) (unused func(name string) bool, err error) {
	all, _, err := c.ConnectListAllDomains(1, 0)
	if err != nil {
		return nil, err
	}
	var used strings.Builder
	for _, dom := range all {
		definition, told, err := definitionOf(c, dom)
		if err != nil && !notFound(err) {
			return nil, err
		}
		if !told {
			return func(string) bool { return false }, nil
		}
		used.WriteString(definition)
	}
	return func(name string) bool { return !strings.Contains(used.String(), "/"+name) }, nil
}

// definitionOf asks for a domain's definition. Newer libvirts do not answer for half a minute if the domain's QEMU hangs; the
// answer comes to nobody then.
func definitionOf(c *conversation, dom libvirt.Domain) (definition string, told bool, err error) {
	type answer struct {
		definition string
		err        error
	}
	answers := make(chan answer, 1)
	go func() {
		definition, err := c.DomainGetXMLDesc(dom, libvirt.DomainXMLInactive)
		answers <- answer{definition, err}
	}()
	select {
	case a := <-answers:
		return a.definition, true, a.err
	case <-time.After(definitionLimit):
		return "", false, nil
	}
}
