/* Makes a libvirtd a part of libvirt: of what it has no driver for, it asks the daemon that has. The daemons for one part alone do that
 * by themselves, and libvirtd does not. It is told so by the fourth argument; before there was one it needed not to be. */
#define _GNU_SOURCE
#include <dlfcn.h>

typedef int initialize(long privileged, long mandatory, const char *root, long monolithic, void *callback, void *opaque);

int virStateInitialize(long privileged, long mandatory, const char *root, long monolithic, void *callback, void *opaque)
{
    initialize *real = (initialize *)dlsym(RTLD_NEXT, "virStateInitialize");

    return real(privileged, mandatory, root, monolithic == 1 ? 0 : monolithic, callback, opaque);
}
