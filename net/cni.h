/*
 * The CNI plugin: the same program, called by containerd under the name kontiki-cni or loopback for each pod sandbox.
 *
 * It speaks CNI 0.3.1 to 1.0.0 (ADD, DEL, CHECK, VERSION): configuration as JSON on stdin, CNI_* in the environment, the
 * result as JSON on stdout. Its configuration, which the kubelet writes, has "podCIDR" (the node's pod network),
 * "ipamDir" and, optionally, "bridge", "mtu". It runs in the node's network namespace, for some milliseconds.
 */
#ifndef NET_CNI_H
#define NET_CNI_H

#include <stdbool.h>

/* True when argv[0] and the environment say that we are called as a plugin. */
bool cni_wanted(const char *argv0);
/* Exit status. */
int cni_main(const char *argv0);

#endif
