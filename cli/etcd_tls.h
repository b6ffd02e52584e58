/*
 * The TLS contexts of `kontiki etcd`, from its files or self-signed, and their renewal: etcd looks at its files for every
 * connection, so who replaces a certificate need not restart anything. Here they are looked at every few seconds.
 *
 * Used by the main thread; the contexts themselves may be in use anywhere.
 */
#ifndef CLI_ETCD_TLS_H
#define CLI_ETCD_TLS_H

#include <stdint.h>
#include <time.h>

#include "base/err.h"
#include "cli/etcd_config.h"
#include "io/tls.h"

#define ETCD_TLS_FILES 4

/* One context and the files it is made of. */
struct etcd_tls_one {
	struct tls_ctx *ctx; /* NULL: not needed */
	struct tls_config cfg;
	const char *files[ETCD_TLS_FILES]; /* certificate, key, authorities, revocation lists; NULL: none */
	struct timespec seen[ETCD_TLS_FILES];
};

struct etcd_tls_set {
	struct etcd_tls_one client, peer_server, peer_client;
};

/* Self-signed certificates are made below the data directory (fixtures/client, fixtures/peer) and kept. */
int etcd_tls_open(struct etcd_tls_set *, struct etcd_config *, struct err *);
/* Files that have changed are read again; what cannot be used is logged, and the old certificate stays. */
void etcd_tls_look(struct etcd_tls_set *);
void etcd_tls_close(struct etcd_tls_set *);

#endif
