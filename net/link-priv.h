/* Inside net/: what a struct link_sock holds. */
#ifndef NET_LINK_PRIV_H
#define NET_LINK_PRIV_H

#include "net/link.h"

struct nl_addr;
struct nl_sock;

struct link_sock {
	struct nl_sock *nl;
};

int link__err(struct err *e, int nlerr, const char *what, const char *name);
/* The caller's to put. */
struct nl_addr *link__ip4(struct ip4_net n);

#endif
