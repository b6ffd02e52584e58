/* etcd's requests and answers, as protobuf-c structs, into a history. */
#ifndef VERIFY_ETCD_H
#define VERIFY_ETCD_H

#include "proto/etcd_rpc.pb-c.h"
#include "verify/history.h"

/* What is asked; the outcome is unknown until one of the answers below is noted. */
struct hist_call *history_range(struct history *, unsigned client, uint64_t now, const Etcdserverpb__RangeRequest *);
struct hist_call *history_put(struct history *, unsigned client, uint64_t now, const Etcdserverpb__PutRequest *);
struct hist_call *history_delete(struct history *, unsigned client, uint64_t now, const Etcdserverpb__DeleteRangeRequest *);
struct hist_call *history_txn(struct history *, unsigned client, uint64_t now, const Etcdserverpb__TxnRequest *);

/* Each makes the outcome HIST_OK at `now`. A history holds no ignore_value, ignore_lease, sorts or filters of ranges, nested
 * transactions or compares of ranges: who records does not use them. */
void history_range_ok(struct history *, struct hist_call *, uint64_t now, const Etcdserverpb__RangeResponse *);
void history_put_ok(struct history *, struct hist_call *, uint64_t now, const Etcdserverpb__PutResponse *);
void history_delete_ok(struct history *, struct hist_call *, uint64_t now, const Etcdserverpb__DeleteRangeResponse *);
void history_txn_ok(struct history *, struct hist_call *, uint64_t now, const Etcdserverpb__TxnResponse *);
/* An answer without keys: grant, revoke, compact. */
void history_ok(struct hist_call *, uint64_t now, const Etcdserverpb__ResponseHeader *);

void history_kv(struct history *, struct hist_kv *, const Mvccpb__KeyValue *);

#endif
