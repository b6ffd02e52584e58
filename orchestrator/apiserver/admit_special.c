/*
 * Admission of what is asked of the server otherwise than by writing an object: connections to pods (exec, attach, port-forward,
 * proxies), about which the options are told, and bodies that are acted on and not stored (bindings, evictions, tokens, reviews).
 */
#include <string.h>

#include "base/log.h"
#include "base/util.h"
#include "orchestrator/apiserver/admission.h"
#include "orchestrator/apiserver/admit_match.h"
#include "orchestrator/apiserver/apiserver-priv.h"
#include "orchestrator/apiserver/decode.h"
#include "orchestrator/apiserver/policies.h"
#include "orchestrator/apiserver/webhook_state.h"
#include "orchestrator/apiserver/webhooks.h"
#include "proto/json.h"
#include "proto/resource.h"
#include "proto/schema.h"

/* A webhook or policy that cannot be read might forbid it. Those themselves can be changed. */
static enum step_result all_known(struct api_request *req)
{
	const char *unread = admit_exempt(req) ? NULL : webhooks_index_of(req)->unread;

	if (!unread)
		return STEP_NEXT;
	log_warn("apiserver", "admission of %.*s %.*s: cannot be read: %s", STR_FMT(req->method), STR_FMT(req->target), unread);
	return api_fail(req, ERR_UNAVAILABLE, "not yet ready to handle request: admission cannot read %s", unread);
}

enum step_result admission_mutate(struct api_request *req, enum admission_op op, struct json **ret_view)
{
	enum step_result r = all_known(req);

	*ret_view = NULL;
	if (r != STEP_NEXT)
		return r;
	do {
		r = policies_mutate(req, op, ret_view);
		if (r == STEP_NEXT && *ret_view)
			webhooks_changed(req);
		if (r != STEP_NEXT || *ret_view)
			return r;
		r = webhooks_mutate(req, op, ret_view);
		if (r == STEP_NEXT && *ret_view)
			policies_changed(req);
	} while (r == STEP_NEXT && !*ret_view && webhooks_again(req));
	return r;
}

enum step_result admission_validate(struct api_request *req, enum admission_op op)
{
	enum step_result r = all_known(req);

	if (r == STEP_NEXT)
		r = policies_validate(req, op);
	return r == STEP_NEXT ? webhooks_validate(req, op) : r;
}

enum step_result admission_special(struct api_request *req, enum admission_op op, const struct schema_type *type)
{
	struct json *view = NULL;
	enum step_result r;

	req->special = type;
	do {
		if (view)
			req->sent = view;
		r = admission_mutate(req, op, &view);
	} while (r == STEP_NEXT && view);
	if (r == STEP_NEXT)
		r = admission_validate(req, op);
	if (r != STEP_NEXT)
		return r;
	/* What follows may be a write of its own. */
	req->special = NULL;
	req->hooks = NULL;
	return STEP_NEXT;
}

enum step_result admit_review(struct api_request *req)
{
	if (!req->sent && api_decode_body(req, req->res->type, false) != STEP_NEXT)
		return STEP_FAIL;
	return admission_special(req, ADMIT_CREATE, resource_type(req->res));
}

/* --- Connections ----------------------------------------------------------------------------------------------------------------- */

static const struct connect_kind {
	const char *resource, *sub, *type;
} kinds[] = {
		{"pods", "exec", "core.v1.PodExecOptions"},
		{"pods", "attach", "core.v1.PodAttachOptions"},
		{"pods", "portforward", "core.v1.PodPortForwardOptions"},
		{"pods", "proxy", "core.v1.PodProxyOptions"},
		{"services", "proxy", "core.v1.ServiceProxyOptions"},
		{"nodes", "proxy", "core.v1.NodeProxyOptions"},
};

static const struct schema_type *type_of(const struct api_request *req)
{
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		if (str_eqc(req->at.resource, kinds[i].resource) && str_eqc(req->at.sub, kinds[i].sub))
			return schema_type_find(kinds[i].type);
	UNREACHABLE();
}

static struct json *value(struct arena *a, const struct schema_field *f, struct str text)
{
	uint64_t n;

	if (f->kind == SCHEMA_BOOL)
		return json_new_bool(a, api_query_truth(text));
	if (f->kind == SCHEMA_INT32 && str_to_u64(text, &n))
		return json_new_int(a, (int64_t)n);
	return json_new_str(a, text);
}

/* The query as options, with upstream's defaults. */
static struct json *options_of(struct api_request *req, const struct schema_type *t)
{
	struct arena *a = &req->arena;
	struct json *o = json_new_object(a);

	json_setc(a, o, "kind", json_newc(a, t->kind));
	json_setc(a, o, "apiVersion", json_newc(a, t->api_version));
	for (size_t i = 0; i < t->n_fields; i++) {
		const struct schema_field *f = &t->fields[i];
		struct json *list = json_new_array(a);

		for (size_t k = 0; k < req->query.n; k++)
			if (str_eqc(req->query.pairs[k].key, f->json))
				json_push(a, list, value(a, f, req->query.pairs[k].value));
		if (strcmp(f->json, "path") == 0)
			json_setc(a, o, "path", json_new_str(a, req->at.sub_path));
		else if (f->flags & SCHEMA_REPEATED)
			json_setc(a, o, f->json, list);
		else if (json_len(list) > 0)
			json_setc(a, o, f->json, json_at(list, 0));
		else if (strcmp(f->json, "stdout") == 0 || strcmp(f->json, "stderr") == 0)
			json_setc(a, o, f->json, json_new_bool(a, true));
	}
	return o;
}

static bool is_option(const struct schema_type *t, struct str key)
{
	return schema_field_find(t, key) != NULL;
}

static void add_pair(struct api_request *req, struct api_query_pair *pairs, size_t *n, const char *key, const struct json *v)
{
	struct str text = json_is(v, JSON_STRING) ? v->s : json_text(&req->arena, v);

	pairs[(*n)++] = (struct api_query_pair){str_from(key), text};
}

/* Options that were changed are the query's from now on. */
static enum step_result take_options(struct api_request *req, const struct schema_type *t)
{
	struct api_query_pair *pairs;
	size_t n = 0, max = req->query.n;

	for (size_t i = 0; i < t->n_fields; i++)
		max += MAX(json_len(json_getc(req->sent, t->fields[i].json)), (size_t)1);
	pairs = arena_new_array(&req->arena, struct api_query_pair, max);
	for (size_t i = 0; i < req->query.n; i++)
		if (!is_option(t, req->query.pairs[i].key))
			pairs[n++] = req->query.pairs[i];
	for (size_t i = 0; i < t->n_fields; i++) {
		const char *key = t->fields[i].json;
		const struct json *v = json_getc(req->sent, key);

		if (strcmp(key, "path") == 0 && !str_eq(json_str(v), req->at.sub_path))
			return api_fail(req, ERR_INTERNAL, "Internal error occurred: admission changed the path of a proxied request to \"%.*s\", "
					"which this server does not do", STR_FMT(json_str(v)));
		if (strcmp(key, "path") == 0 || json_is_null(v))
			continue;
		if (json_is(v, JSON_ARRAY))
			JSON_ITEMS (it, v)
				add_pair(req, pairs, &n, key, it);
		else
			add_pair(req, pairs, &n, key, v);
	}
	req->query.pairs = pairs;
	req->query.n = n;
	return STEP_NEXT;
}

enum step_result admit_connect(struct api_request *req)
{
	const struct schema_type *t = type_of(req);
	struct json *asked;
	enum step_result r;

	if (!req->sent)
		req->sent = options_of(req, t);
	asked = req->sent;
	r = admission_special(req, ADMIT_CONNECT, t);
	/* A proxied request has a body of its own, which is none of ours. */
	if (r == STEP_NEXT && !(asked == req->sent && json_equal(asked, options_of(req, t))))
		r = take_options(req, t);
	if (r == STEP_NEXT)
		req->sent = NULL;
	return r;
}
