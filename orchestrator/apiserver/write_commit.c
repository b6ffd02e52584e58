/*
 * From a finished object to an answer: encode it, propose the transaction, understand what came of it.
 *
 *	put_object > api__commit: propose > succeeded                      > api__encode_written
 *	                                  > lost a race: STEP_RETRY, the request runs its steps anew on the newer state
 *	                                  > no leader, or no answer from it: STEP_RETRY, and write_load.c looks whether it had been taken
 *
 * The transaction compares every version that the decision was made on, so a repetition never writes twice. A write that would
 * change nothing is not proposed, unless the stored form itself is to be renewed (an old key, an old version).
 */
#include <inttypes.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/util.h"
#include "orchestrator/apiserver/answer.h"
#include "orchestrator/apiserver/apiserver-priv.h"
#include "orchestrator/apiserver/convert.h"
#include "orchestrator/apiserver/crypt.h"
#include "orchestrator/apiserver/decode.h"
#include "orchestrator/apiserver/objects.h"
#include "orchestrator/apiserver/read.h"
#include "orchestrator/apiserver/storage.h"
#include "orchestrator/apiserver/strategy.h"
#include "orchestrator/apiserver/txn.h"
#include "orchestrator/apiserver/write.h"
#include "proto/codec.h"
#include "proto/custom.h"
#include "proto/resource.h"
#include "store/view.h"

/* For so long a request outlives lost leaders; then the client is told that the outcome is unknown. */
#define UNKNOWN_RETRY_NS (8ull * 1000000000)

static void txn_gone(void *t)
{
	txn_fini(t);
}

struct api_txn *api_txn_new(struct api_request *req)
{
	if (req->txn) {
		txn_reset(req->txn);
		return req->txn;
	}
	req->txn = arena_new_of(&req->arena, struct api_txn);
	txn_init(req->txn);
	arena_on_free(&req->arena, txn_gone, req->txn);
	return req->txn;
}

/* Longer than what stands around an object in the store. */
#define WRAPPING 256

static enum step_result put_object(struct api_request *req)
{
	_cleanup_(buf_fini) struct buf value = BUF_INIT;
	struct err e = ERR_INIT;
	struct str stored;

	if (storage_encode(&req->arena, req->res, convert_conversions(req), &req->obj, &req->new_bytes, &stored, &e) < 0)
		return api_fail_unread(req, &e);
	buf_reserve(&value, stored.n + WRAPPING);
	if (req->res->custom)
		buf_adds(&value, stored);
	else
		codec_wrap(&value, resource_storage(req->res)->api_version, req->res->kind, stored);
	/* Who wrote what is worth less than the object. */
	if (value.n > API_MAX_BODY / 2 && json_delp(req->obj, "metadata.managedFields"))
		return put_object(req);
	if (crypt_seal(resource_storage(req->res), req->key, &value, &e) < 0)
		return api_fail_err(req, &e);
	if (value.n > API_MAX_BODY / 2)
		return api_fail(req, ERR_TOO_LARGE, "Request entity too large: the object has %zu bytes, the limit is %u",
				value.n, API_MAX_BODY / 2);
	txn_if_mod(req->txn, req->key, req->old_rv);
	txn_put(req->txn, req->key, buf_str(&value), req->lease);
	return STEP_NEXT;
}

/* Who has to ask a webhook for the stored form does so when the object is made, so that it is made once (commit). */
enum step_result api_txn_put_object(struct api_request *req)
{
	req->encode_later = req->conv != NULL;
	return req->conv ? STEP_NEXT : put_object(req);
}

static void proposed(struct kv_req *kvr)
{
	struct api_request *req = container_of(kvr, struct api_request, kvr);

	req->pending--;
	req->commit_done = true;
	api_wait_over(req);
}

static enum step_result commit_failed(struct api_request *req)
{
	struct err e = req->kvr.err;

	if ((e.code == ERR_UNAVAILABLE || e.code == ERR_TIMEOUT) &&
			clock_mono_ns() - req->started_ns < UNKNOWN_RETRY_NS) {
		req->unknown = true;
		req->fresh = false;
		req->n_tries++;
		return STEP_RETRY;
	}
	if (e.code == ERR_TIMEOUT)
		return api_fail(req, ERR_TIMEOUT,
				"Timeout: request did not complete within the allotted timeout; whether it took effect is "
				"unknown");
	if (e.code == ERR_UNAVAILABLE || e.code == ERR_NOT_LEADER || e.code == ERR_CANCELED) {
		api_fail(req, ERR_UNAVAILABLE, "the server is currently unable to handle the request (%s)", e.text);
		req->fail.retry_after_s = 1;
		return STEP_FAIL;
	}
	if (e.code == ERR_TOO_MANY)
		req->fail.retry_after_s = 1;
	return api_fail_err(req, &e);
}

static bool stored_as_other_version(struct api_request *req, const struct store_kv *kv)
{
	struct str plain;

	return req->res->custom && crypt_open(&req->arena, kv->key, kv->value, &plain) && custom_is_stale(req->res->custom, plain);
}

/* Nothing changes but how it is stored: a write of the same is how an old key or an old version is got rid of. */
static bool is_stale(struct api_request *req)
{
	struct store_view *v;
	struct store_kv kv;
	struct err e = ERR_INIT;
	bool stale = false;

	if (store_view_open(req->srv->store, &v, &e) < 0)
		return false;
	if (view_get(v, req->key, 0, &kv, &e) == 0)
		stale = crypt_is_stale(resource_storage(req->res), kv.value) || stored_as_other_version(req, &kv);
	store_view_close(v);
	return stale;
}

static bool unchanged(struct api_request *req)
{
	return req->opt.dry_run || (req->old && !req->fully_deleted && str_eq(req->old_bytes, req->new_bytes) && req->txn->n_ops <= 1 &&
						   !is_stale(req));
}

enum step_result api__commit(struct api_request *req)
{
	if (req->encode_later) {
		enum step_result r = put_object(req);

		if (r != STEP_NEXT)
			return r;
		req->encode_later = false;
	}
	if (!req->commit_done && unchanged(req)) {
		/* Nothing changes: the stored version is the answer. */
		req->new_rv = req->old_rv;
		return STEP_NEXT;
	}
	if (!req->commit_done) {
		buf_clear(&req->command);
		txn_command(req->txn, &req->command);
		req->kvr.command = buf_str(&req->command);
		req->kvr.timeout_ms = api_store_timeout_ms(req);
		req->kvr.done = proposed;
		err_clear(&req->kvr.err);
		req->pending++;
		kv_propose(req->srv->kv, &req->kvr);
		return STEP_WAIT;
	}
	req->commit_done = false;
	if (req->kvr.err.code)
		return commit_failed(req);
	if (txn_succeeded(str_of(req->kvr.response, req->kvr.response_size))) {
		api_count(req->srv, COUNT_writes);
		req->new_rv = txn_revision(str_of(req->kvr.response, req->kvr.response_size));
		return STEP_NEXT;
	}
	free(TAKE(req->kvr.response));
	api_count(req->srv, COUNT_conflicts);
	req->fresh = false;
	if (++req->n_tries > (req->contended ? API_MAX_TRIES_CONTENDED : API_MAX_TRIES))
		return api_fail_conflict(req, req->res, api_name(req->obj), "it is being changed by many clients at once");
	return STEP_RETRY;
}

enum step_result api__encode_written(struct api_request *req)
{
	int status = req->ok_status ? req->ok_status : req->at.verb == API_CREATE ? 201 : 200;

	if (req->subres && req->subres->to_view) {
		struct json *view = req->subres->to_view(req, req->obj);

		if (req->new_rv != 0)
			json_setc(&req->arena, api_meta(&req->arena, view), "resourceVersion",
					json_newf(&req->arena, "%" PRIu64, req->new_rv));
		return api_answer_dom(req, status, api_view_type(req), view);
	}
	return api_answer_stored(req, status, req->new_bytes, req->new_rv);
}
