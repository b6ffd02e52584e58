#include "cli/join_claim.h"

#include <stdlib.h>

#include "base/arena.h"
#include "base/util.h"
#include "io/http_server.h"
#include "io/x509.h"
#include "orchestrator/apiserver/join_token.h"
#include "orchestrator/apiserver/storage.h"
#include "orchestrator/apiserver/txn.h"
#include "proto/resource.h"
#include "raft/kv.h"
#include "store/view.h"

#define KEYS "/kontiki/nodes/"
#define TRIES 3

enum join_claim join_claim_judge(struct str kept, struct str given, bool node_exists)
{
	char hash[JOIN_TOKEN_HASH];

	if (given.n > 0) {
		join_token_hash(given, hash);
		if (kept.n > 0 && x509_equal(kept, str_from(hash)))
			return JOIN_CLAIM_HIS;
	}
	if (node_exists)
		return JOIN_CLAIM_REFUSED;
	return given.n > 0 ? JOIN_CLAIM_TAKE : JOIN_CLAIM_HIS;
}

struct claim {
	struct kv_req kvr;
	struct kv *kv;
	struct http_request *http; /* NULL: gone */
	void *user;
	void (*cancel)(struct http_request *);
	void (*done)(struct http_request *, const struct err *);
	struct arena arena;
	struct buf command;
	struct str name, password, key;
	unsigned n_tries;
};

static void claim_gone(struct http_request *r)
{
	struct claim *c = r->user;

	c->http = NULL;
	http_respond_abort(r);
}

static void claim_end(struct claim *c, const struct err *e)
{
	struct http_request *r = c->http;
	void (*done)(struct http_request *, const struct err *) = c->done;
	struct err why = e ? *e : (struct err)ERR_INIT;

	if (r) {
		r->user = c->user;
		r->on_cancel = c->cancel;
	}
	free(c->kvr.response);
	buf_fini(&c->command);
	arena_fini(&c->arena);
	free(c);
	if (r)
		done(r, why.code ? &why : NULL);
}

static void look(struct claim *);

static void proposed(struct kv_req *kvr)
{
	struct claim *c = container_of(kvr, struct claim, kvr);
	struct err e = kvr->err;
	bool taken = !e.code && txn_succeeded(str_of(kvr->response, kvr->response_size));

	/* Somebody else took it, or us with an answer that was lost: that is seen when it is looked at again. */
	free(TAKE(kvr->response));
	if (taken)
		claim_end(c, NULL);
	else if (e.code && e.code != ERR_TIMEOUT)
		claim_end(c, &e);
	else if (++c->n_tries < TRIES && c->http)
		look(c);
	else
		claim_end(c, e.code ? &e : (err_set(&e, ERR_UNAVAILABLE, "others want the name %.*s at the same moment", STR_FMT(c->name)), &e));
}

static void take(struct claim *c, uint64_t seen)
{
	struct api_txn txn;
	char hash[JOIN_TOKEN_HASH];

	join_token_hash(c->password, hash);
	txn_init(&txn);
	txn_if_mod(&txn, c->key, seen);
	txn_put(&txn, c->key, str_from(hash), 0);
	buf_clear(&c->command);
	txn_command(&txn, &c->command);
	txn_fini(&txn);
	c->kvr.command = buf_str(&c->command);
	c->kvr.done = proposed;
	err_clear(&c->kvr.err);
	kv_propose(c->kv, &c->kvr);
}

static void look(struct claim *c)
{
	struct str node = storage_key(&c->arena, resource_find("", "v1", "nodes"), STR_NULL, c->name), kept = STR_NULL;
	struct store_view *v;
	struct store_kv kv;
	struct err e = ERR_INIT;
	uint64_t seen = 0;
	bool exists;

	if (store_view_open(kv_store(c->kv), &v, &e) < 0) {
		claim_end(c, &e);
		return;
	}
	if (view_get(v, c->key, 0, &kv, &e) == 0) {
		kept = arena_str(&c->arena, kv.value);
		seen = (uint64_t)kv.mod_revision;
	}
	exists = view_get(v, node, 0, &kv, &e) == 0;
	store_view_close(v);
	err_clear(&e);
	switch (join_claim_judge(kept, c->password, exists)) {
	case JOIN_CLAIM_HIS:
		claim_end(c, NULL);
		break;
	case JOIN_CLAIM_TAKE:
		take(c, seen);
		break;
	case JOIN_CLAIM_REFUSED:
		err_set(&e, ERR_FORBIDDEN, "the node %.*s is another machine (or this one lost its node.password): choose another name (--name), or delete that "
					   "node first (kubectl delete node %.*s)", STR_FMT(c->name), STR_FMT(c->name));
		claim_end(c, &e);
	}
}

void join_claim(struct kv *kv, struct http_request *r, struct str name, struct str password, void (*done)(struct http_request *, const struct err *))
{
	struct claim *c = xcalloc(1, sizeof(*c));

	arena_init(&c->arena);
	buf_init(&c->command, BUF_NO_LIMIT);
	c->kv = kv;
	c->http = r;
	c->user = r->user;
	c->cancel = r->on_cancel;
	c->done = done;
	c->name = arena_str(&c->arena, name);
	c->password = arena_str(&c->arena, password);
	c->key = arena_sprintf(&c->arena, KEYS "%.*s", STR_FMT(name));
	r->user = c;
	r->on_cancel = claim_gone;
	look(c);
}
