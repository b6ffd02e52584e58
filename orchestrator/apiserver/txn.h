/*
 * struct api_txn: an etcd transaction being built: compares, then puts and deletes. All or nothing.
 *
 * It is what a request commits; strategies may add to it (an allocated address is a key of its own), so that side
 * effects and object are written together or not at all.
 */
#ifndef ORCHESTRATOR_APISERVER_TXN_H
#define ORCHESTRATOR_APISERVER_TXN_H

#include <stdint.h>

#include "base/buf.h"
#include "base/str.h"

struct api_txn {
	struct buf compares, ops; /* encoded repeated fields of etcdserverpb.TxnRequest */
	unsigned n_compares, n_ops;
};

void txn_init(struct api_txn *);
void txn_fini(struct api_txn *);
void txn_reset(struct api_txn *);
/* key's mod_revision is rev; 0: there is no such key. */
void txn_if_mod(struct api_txn *, struct str key, uint64_t rev);
void txn_put(struct api_txn *, struct str key, struct str value, int64_t lease);
void txn_delete(struct api_txn *, struct str key);
/* The raftpb.Command, appended. */
void txn_command(const struct api_txn *, struct buf *out);
/* Did an encoded TxnResponse's compares hold? */
bool txn_succeeded(struct str response);
/* The revision that it made, from its header: the resourceVersion of what was written. 0 when it has none. */
uint64_t txn_revision(struct str response);

#endif
