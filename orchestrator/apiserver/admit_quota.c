/*
 * ResourceQuota: what a namespace uses is booked in the quota object's status, in the same transaction as the object that uses
 * it. Two writers anywhere in the cluster cannot both book against the same old state: the transaction compares the quota's
 * version, and the loser looks again. So a quota is never exceeded, and what is refused or fails books nothing.
 *
 * A quota is new to those who have not seen it yet: so each namespace has a gate key that is written with every change of its
 * set of quotas, and every write compares it: a create that is not counted would be one too many, a delete that is not counted
 * would leave the quota full. What was there before is counted by the server when the controller asks for
 * it, by an update of the quota's status: the sum over one moment of the store, under the same comparison.
 */
#include <string.h>

#include "base/clock.h"
#include "base/util.h"
#include "orchestrator/apiserver/admission.h"
#include "orchestrator/apiserver/amounts.h"
#include "orchestrator/apiserver/apiserver-priv.h"
#include "orchestrator/apiserver/crypt.h"
#include "orchestrator/apiserver/objects.h"
#include "orchestrator/apiserver/quota_state.h"
#include "orchestrator/apiserver/storage.h"
#include "orchestrator/apiserver/txn.h"
#include "proto/codec.h"
#include "proto/field_errs.h"
#include "proto/json.h"
#include "proto/resource.h"
#include "store/view.h"

static const struct resource *quotas(void)
{
	return resource_find("", "v1", "resourcequotas");
}

static struct str gate_key(struct api_request *req)
{
	return ARENA_JOIN(&req->arena, STR(QUOTA_GATE_PREFIX), req->at.ns);
}

static struct json *quantity_dom(struct arena *a, struct quantity q)
{
	char text[QUANTITY_SIZE];

	quantity_print(q, text);
	return json_newc(a, text);
}

/* --- Booking ------------------------------------------------------------------------------------------------- */

/* Lists for the message: "pods=1,cpu=2". */
struct excess {
	struct buf requested, used, limited;
};

static void excess_add(struct excess *x, struct str name, struct quantity delta, struct quantity used, struct quantity hard)
{
	struct {
		struct buf *out;
		struct quantity q;
	} rows[] = {{&x->requested, delta}, {&x->used, used}, {&x->limited, hard}};
	char text[QUANTITY_SIZE];

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		quantity_print(rows[i].q, text);
		buf_printf(rows[i].out, "%s%.*s=%s", rows[i].out->n ? "," : "", STR_FMT(name), text);
	}
}

static void excess_fini(struct excess *x)
{
	buf_fini(&x->requested);
	buf_fini(&x->used);
	buf_fini(&x->limited);
}

static struct quantity use_of(struct api_request *req, const struct json *quota, const struct json *obj, struct str name)
{
	if (!obj || !quota_selects(quota, req->res, obj))
		return QUANTITY_ZERO;
	return quota_use(&req->arena, req->res, obj, name);
}

static enum step_result must_say(struct api_request *req, const struct json *quota)
{
	_cleanup_(buf_fini) struct buf out = BUF_INIT;
	const struct json *spec = json_getc(req->obj, "spec");

	if (req->old || strcmp(req->res->plural, "pods") != 0 || req->res->group[0] || !quota_selects(quota, req->res, req->obj))
		return STEP_NEXT;
	JSON_MEMBERS (m, json_getp(quota, "status.hard")) {
		struct str who = quota_unsaid(&req->arena, spec, m->key);

		if (who.n > 0)
			buf_printf(&out, "%s%.*s for: %.*s", out.n ? "; " : "", STR_FMT(m->key), STR_FMT(who));
	}
	if (out.n == 0)
		return STEP_NEXT;
	return api_fail_forbidden(req, req->res, api_name(req->obj), "failed quota: %.*s: must specify %.*s",
			STR_FMT(api_name(quota)), STR_FMT(buf_str(&out)));
}

/* The quota's new status in *ret_changed, or a refusal. */
static enum step_result book(struct api_request *req, struct json *quota, const struct json *old, const struct json *new,
		bool *ret_changed)
{
	struct json *used = json_getp(quota, "status.used");
	struct excess x = {BUF_INIT, BUF_INIT, BUF_INIT};
	enum step_result r = STEP_NEXT;

	JSON_MEMBERS (m, json_getp(quota, "status.hard")) {
		struct quantity delta = quantity_sub(use_of(req, quota, new, m->key), use_of(req, quota, old, m->key)), sum;
		struct quantity hard = quantity_of_json(m->value), have = quantity_of_json(json_get(used, m->key));

		if (quantity_sign(delta) == 0)
			continue;
		sum = quantity_add(have, delta);
		if (quantity_sign(delta) > 0 && quantity_cmp(sum, hard) > 0)
			excess_add(&x, m->key, delta, have, hard);
		if (quantity_sign(sum) < 0)
			sum = QUANTITY_ZERO;
		if (json_is(used, JSON_OBJECT))
			json_set(&req->arena, used, m->key, quantity_dom(&req->arena, sum));
		*ret_changed = true;
	}
	/* A status says what is: it is booked, whether there is room or not. */
	if (x.requested.n > 0 && !str_eqc(req->at.sub, "status"))
		r = api_fail_forbidden(req, req->res, api_name(req->obj), "exceeded quota: %.*s, requested: %.*s, used: %.*s, limited: %.*s",
				STR_FMT(api_name(quota)), STR_FMT(buf_str(&x.requested)), STR_FMT(buf_str(&x.used)),
				STR_FMT(buf_str(&x.limited)));
	excess_fini(&x);
	return r;
}

static enum step_result put_quota(struct api_request *req, struct json *quota, uint64_t rv)
{
	_cleanup_(buf_fini) struct buf value = BUF_INIT;
	struct str key = storage_key(&req->arena, quotas(), req->at.ns, api_name(quota)), raw;
	struct err e = ERR_INIT;

	if (api_dom_encode(&req->arena, resource_type(quotas()), quota, &raw, &e) < 0)
		return api_fail_err(req, &e);
	codec_wrap(&value, "v1", "ResourceQuota", raw);
	if (crypt_seal(quotas(), key, &value, &e) < 0)
		return api_fail_err(req, &e);
	txn_if_mod(req->txn, key, rv);
	txn_put(req->txn, key, buf_str(&value), 0);
	return STEP_NEXT;
}

/* Many writers on one quota: who lost a race waits a moment of random length before the next try, so that all get through. */
static bool stagger(struct api_request *req)
{
	unsigned ms;

	req->contended = true;
	if (req->n_tries < 2 || req->staggered == req->n_tries)
		return false;
	req->staggered = req->n_tries;
	random_bytes(&ms, sizeof(ms));
	return api_nap(req, 1 + ms % (4 * MIN(req->n_tries, 12u)), ~0u);
}

static enum step_result book_all(struct api_request *req, const struct json *old, const struct json *new,
		const struct admission_list *list)
{
	for (size_t i = 0; i < list->n; i++) {
		struct str key = storage_key(&req->arena, quotas(), req->at.ns, api_name(list->v[i]));
		bool changed = false;
		enum step_result r = STEP_NEXT;

		/* The quota itself is being written: it is in the transaction already. */
		if (str_eq(key, req->key) && strcmp(req->res->plural, "resourcequotas") == 0)
			continue;
		if (new && !json_is_null(json_getp(list->v[i], "status.hard")))
			r = must_say(req, list->v[i]);
		if (r == STEP_NEXT)
			r = book(req, list->v[i], old, new, &changed);
		if (r == STEP_FAIL && api_refresh(req))
			return STEP_WAIT;
		if (r == STEP_NEXT && changed)
			r = put_quota(req, list->v[i], list->rv[i]);
		else if (r == STEP_NEXT && json_is_null(json_getp(list->v[i], "status.hard")) && !old)
			txn_if_mod(req->txn, key, list->rv[i]); /* its first count must not miss us */
		if (r != STEP_NEXT)
			return r;
		if (changed && stagger(req))
			return STEP_WAIT;
	}
	return STEP_NEXT;
}

static bool is_exempt(const struct resource *res)
{
	/* Made by the cluster itself, all the time. */
	return !res->namespaced || strcmp(res->plural, "events") == 0 || strcmp(res->plural, "leases") == 0;
}

/*
 * The loop knows of no quota here, so the store need not be read. Should there be one all the same, the gate that is compared is
 * another, the transaction fails, and the next try reads the store.
 */
static bool none_known(struct api_request *req, uint64_t *ret_gate)
{
	return req->al->quotas && req->n_tries == 0 && !quota_state_has(req->al->quotas, req->at.ns, ret_gate);
}

/* The quotas of the namespace, of which there are none when the loop knows of none; the transaction compares that this is so. */
static enum step_result find_quotas(struct api_request *req, struct admission_list *ret)
{
	uint64_t gate = 0;

	ret->n = 0;
	if (is_exempt(req->res))
		return STEP_NEXT;
	if (!none_known(req, &gate) && admission_objects_if(req, quotas(), req->at.ns, NULL, gate_key(req), &gate, ret) != STEP_NEXT)
		return STEP_FAIL;
	txn_if_mod(req->txn, gate_key(req), gate);
	return STEP_NEXT;
}

enum step_result admit_quota(struct api_request *req)
{
	struct admission_list list;

	if (find_quotas(req, &list) != STEP_NEXT)
		return STEP_FAIL;
	return list.n == 0 ? STEP_NEXT : book_all(req, req->old, req->obj, &list);
}

enum step_result admit_quota_release(struct api_request *req)
{
	struct admission_list list;

	if (find_quotas(req, &list) != STEP_NEXT)
		return STEP_FAIL;
	if (strcmp(req->res->plural, "resourcequotas") == 0 && req->res->group[0] == '\0')
		txn_put(req->txn, gate_key(req), STR("1"), 0);
	return list.n == 0 ? STEP_NEXT : book_all(req, req->old, NULL, &list);
}

/* --- The quota object itself ----------------------------------------------------------------------------------- */

static void count_kind(struct api_request *req, struct store_view *v, const struct resource *res, struct json *quota,
		const struct json *hard, struct json *used)
{
	struct str prefix = storage_prefix(&req->arena, res, req->at.ns);
	struct view_iter it;
	struct store_kv kv;
	struct err e = ERR_INIT;

	view_iter_init(&it, v, prefix, storage_end(&req->arena, prefix), 0, 0);
	while (view_iter_next(&it, &kv, &e) > 0) {
		struct arena a;
		struct json *obj;
		struct str raw;

		arena_init(&a);
		if (storage_unwrap_key(&a, kv.key, kv.value, &raw) && api_dom_of(&a, res, raw, &obj, &e) == 0 && quota_selects(quota, res, obj))
			JSON_MEMBERS (m, hard) {
				struct quantity q = quota_use(&a, res, obj, m->key);

				if (quantity_sign(q))
					json_set(&req->arena, used, m->key,
							quantity_dom(&req->arena, quantity_add(quantity_of_json(json_get(used, m->key)), q)));
			}
		arena_fini(&a);
	}
	view_iter_fini(&it);
}

/* Of a custom kind every key is one; there are none where the kind is not namespaced, or not there at all. */
static void count_custom(struct api_request *req, struct store_view *v, struct str name, struct json *used)
{
	struct str plural, group, prefix;
	struct err e = ERR_INIT;
	int64_t n = 0;

	if (!quota_object_count(name, &plural, &group) || group.n == 0)
		return;
	prefix = arena_sprintf(&req->arena, "/registry/%.*s/%.*s/%.*s/", STR_FMT(group), STR_FMT(plural), STR_FMT(req->at.ns));
	if (view_count(v, prefix, storage_end(&req->arena, prefix), 0, &n, &e) == 0 && n > 0)
		json_set(&req->arena, used, name, json_newf(&req->arena, "%lld", (long long)n));
}

/* status.used as of one moment, which is not before the version that the transaction compares. */
static enum step_result count(struct api_request *req)
{
	struct arena *a = &req->arena;
	struct json *hard = json_getp(req->old, "spec.hard"), *used = json_new_object(a);
	const struct resource *seen[64];
	struct store_view *v;
	struct err e = ERR_INIT;
	size_t n = 0;

	if (store_view_open(req->srv->store, &v, &e) < 0)
		return api_fail_err(req, &e);
	JSON_MEMBERS (m, hard)
		json_set(a, used, m->key, json_newc(a, "0"));
	JSON_MEMBERS (m, hard) {
		const struct resource *kind = quota_kind(a, m->key);
		bool found = !kind || !kind->served || n == ARRAY_LEN(seen);

		if (!kind)
			count_custom(req, v, m->key, used);
		for (size_t i = 0; i < n; i++)
			found = found || seen[i] == kind;
		if (found)
			continue;
		seen[n++] = kind;
		count_kind(req, v, kind, req->old, hard, used);
	}
	store_view_close(v);
	json_setp(a, req->obj, "status.hard", hard ? json_copy(a, hard) : json_new_object(a));
	json_setp(a, req->obj, "status.used", used);
	return STEP_NEXT;
}

enum step_result admit_quota_object(struct api_request *req)
{
	if (str_eqc(req->at.sub, "status"))
		return count(req);
	if (!req->old || !json_equal(json_getc(req->old, "spec"), json_getc(req->obj, "spec")))
		txn_put(req->txn, gate_key(req), STR("1"), 0);
	return STEP_NEXT;
}
