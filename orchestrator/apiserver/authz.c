#include "orchestrator/apiserver/authz.h"

#include <ctype.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/util.h"
#include "io/x509.h"
#include "orchestrator/apiserver/apiserver-priv.h"
#include "orchestrator/apiserver/auth_hook.h"
#include "orchestrator/apiserver/authn.h"
#include "orchestrator/apiserver/authz_chain.h"
#include "orchestrator/apiserver/authz_hook.h"
#include "orchestrator/apiserver/authz_node.h"
#include "orchestrator/apiserver/authz_state.h"
#include "orchestrator/apiserver/crypt.h"
#include "orchestrator/apiserver/rbac_index.h"
#include "proto/json.h"

static struct authz_state *state_of(struct api_request *req)
{
	/* A loop of in-process clients: they are service accounts, no nodes. */
	if (!req->al->authz) {
		/* What an index cannot read it does not look at again: it waits. */
		bool was = crypt_hurry(false);

		req->al->authz = authz_state_new(req->srv->store, req->al->hub, false);
		crypt_hurry(was);
	}
	return req->al->authz;
}

const struct rbac_index *authz_rbac(struct api_request *req)
{
	return authz_state_rbac(state_of(req));
}

static struct str both(struct arena *a, struct str x, struct str y)
{
	return x.n > 0 && y.n > 0 ? arena_sprintf(a, "%.*s, %.*s", STR_FMT(x), STR_FMT(y)) : x.n > 0 ? x : y;
}

static void add_reason(struct api_request *req, struct authz_answer *ret, struct str reason)
{
	ret->reason = both(&req->arena, ret->reason, reason);
}

/* --- One after the other ---------------------------------------------------------------------------------------------------- */

struct asking {
	struct api_request *req;
	const struct api_user *user;
	const struct authz_attrs *at;
	const struct authz_authorizer *by;
	struct auth_hook *hook;
	bool explain;
	struct str question; /* for webhooks */
	struct authz_answer *answer;
};

/* CHAIN_NO: whoever comes later may allow it. */
enum chain_step { CHAIN_YES, CHAIN_NO, CHAIN_DENY, CHAIN_WAIT };

static enum chain_step ask_node(struct asking *as)
{
	struct str node = authz_node_name(as->user), reason = STR_NULL;

	if (node.n == 0)
		return CHAIN_NO;
	if (authz_node(as->req, authz_state_graph(state_of(as->req)), node, as->at, &reason))
		return CHAIN_YES;
	add_reason(as->req, as->answer, reason);
	return CHAIN_NO;
}

static enum chain_step ask_roles(struct asking *as)
{
	struct rbac_reason why = {.arena = as->explain ? &as->req->arena : NULL};
	bool yes = rbac_authorize(authz_state_rbac(state_of(as->req)), as->user, as->at, &why);

	if (yes)
		as->answer->reason = why.text;
	else
		add_reason(as->req, as->answer, why.text);
	return yes ? CHAIN_YES : CHAIN_NO;
}

static uint64_t keep_ms(struct api_request *req, struct str body)
{
	enum authz_opinion o;
	struct arena a;

	arena_init(&a);
	o = authz_hook_answer(&a, body, NULL);
	arena_fini(&a);
	return o == AUTHZ_NONE ? 0 : o == AUTHZ_YES ? req->authz_asked->yes_ms : req->authz_asked->no_ms;
}

static enum chain_step without_answer(struct asking *as, struct str why)
{
	add_reason(as->req, as->answer, why);
	as->answer->error = both(&as->req->arena, as->answer->error, why);
	return as->by->deny_on_failure ? CHAIN_DENY : CHAIN_NO;
}

/* Does it concern the webhook? CHAIN_YES: it does. */
static enum chain_step concerns(struct asking *as)
{
	struct arena *a = &as->req->arena;
	struct json *doc;
	struct str why;

	if (as->by->n_conditions == 0)
		return CHAIN_YES;
	if (json_parse(a, as->question, NULL, &doc, NULL) < 0)
		return CHAIN_NO;
	switch (authz_conditions(a, as->by, json_getc(doc, "spec"), &why)) {
	case AUTHZ_MATCHES: return CHAIN_YES;
	case AUTHZ_DOES_NOT: return CHAIN_NO;
	case AUTHZ_CANNOT_TELL: return without_answer(as, why);
	}
	UNREACHABLE();
}

static enum chain_step ask_webhook(struct asking *as)
{
	struct api_request *req = as->req;
	struct str reason = STR_NULL;
	struct auth_answer said;
	enum authz_opinion o;
	enum chain_step r;
	uint8_t sum[32];

	if (as->question.n == 0)
		as->question = authz_hook_question(&req->arena, as->user, as->at);
	r = concerns(as);
	if (r != CHAIN_YES)
		return r;
	x509_sha256(as->question, sum);
	if (!auth_hook_find(as->hook, req, str_of(sum, sizeof(sum)), &said)) {
		req->authz_asked = as->by;
		if (auth_hook_ask(as->hook, req, str_of(sum, sizeof(sum)), as->question, keep_ms))
			return CHAIN_WAIT;
		said.failure = STR("too many questions to the webhook are open");
	}
	if (said.failure.n > 0)
		return without_answer(as, said.failure);
	o = authz_hook_answer(&req->arena, said.body, &reason);
	if (o == AUTHZ_NONE)
		return without_answer(as, reason);
	if (o == AUTHZ_YES)
		as->answer->reason = reason;
	else
		add_reason(req, as->answer, reason);
	return o == AUTHZ_YES ? CHAIN_YES : o == AUTHZ_DENY ? CHAIN_DENY : CHAIN_NO;
}

static enum chain_step ask(struct asking *as)
{
	switch (as->by->kind) {
	case AUTHZ_NODE: return ask_node(as);
	case AUTHZ_RBAC: return ask_roles(as);
	case AUTHZ_WEBHOOK: return ask_webhook(as);
	case AUTHZ_ALWAYS_ALLOW: return CHAIN_YES;
	case AUTHZ_ALWAYS_DENY: break;
	}
	add_reason(as->req, as->answer, STR("Everything is forbidden."));
	return CHAIN_NO;
}

/* The whole chain. *wait: it has to be gone through again. */
static bool decide(struct api_request *req, const struct api_user *u, const struct authz_attrs *at, bool explain, struct authz_answer *ret, bool *wait)
{
	const struct authz_chain *chain = atomic_load(&req->srv->authz);
	struct asking as = {.req = req, .user = u, .at = at, .explain = explain, .answer = ret};
	bool stranger = api_user_in_group(&req->user, "system:unauthenticated"), looked = false;

	*wait = false;
	*ret = (struct authz_answer){.allowed = true};
	if (api_user_in_group(u, "system:masters"))
		return true;
	for (size_t i = 0; i < chain->conf.n; i++) {
		enum chain_step r;

		as.by = &chain->conf.v[i];
		as.hook = chain->hooks[i];
		/* Who is asked about what roles do not allow is asked when that is sure. Strangers cannot make us ask for read points. */
		if (as.by->kind == AUTHZ_WEBHOOK && looked && !stranger && api_refresh(req)) {
			*wait = true;
			return false;
		}
		looked |= as.by->kind == AUTHZ_NODE || as.by->kind == AUTHZ_RBAC;
		r = ask(&as);
		*wait = r == CHAIN_WAIT;
		if (r == CHAIN_YES)
			return true;
		ret->denied = r == CHAIN_DENY;
		if (r != CHAIN_NO)
			break;
	}
	ret->allowed = false;
	return false;
}

enum step_result authz_decide(struct api_request *req, const struct api_user *u, const struct authz_attrs *at, bool explain,
		struct authz_answer *ret)
{
	bool wait;

	if (decide(req, u, at, explain, ret, &wait))
		return STEP_NEXT;
	if (wait || (!api_user_in_group(&req->user, "system:unauthenticated") && api_refresh(req)))
		return STEP_WAIT;
	if (!explain)
		decide(req, u, at, true, ret, &wait);
	return wait ? STEP_WAIT : STEP_NEXT;
}

enum step_result authz_may(struct api_request *req, const struct authz_attrs *at, bool *ret_allowed)
{
	struct authz_answer answer;
	enum step_result r = authz_decide(req, &req->user, at, false, &answer);

	*ret_allowed = answer.allowed;
	return r;
}

/* On the first serve loop, now and then. What was there before holds on while a file is wrong; that is said once. */
void authz_refresh(struct apiserver *srv)
{
	struct authz_chain *now = atomic_load(&srv->authz), *next;
	struct err e = ERR_INIT;

	if (authz_chain_is_old(now, &srv->cfg) && authz_chain_open(&srv->cfg, now, &next, &e) == 0) {
		atomic_store(&srv->authz, next);
		log_info("apiserver", "the authorization configuration has changed: %zu authorizers", next->conf.n);
	} else if (!e.code) {
		authz_chain_reload(now, &e);
	}
	if (e.code && strcmp(srv->authz_error, e.text) != 0)
		log_warn("apiserver", "what may be done is still judged as before: %s", e.text);
	snprintf(srv->authz_error, sizeof(srv->authz_error), "%s", e.code ? e.text : "");
}

static struct str lower(struct arena *a, struct str s)
{
	struct str out = arena_str(a, s);

	for (size_t i = 0; i < out.n; i++)
		((char *)out.p)[i] = (char)tolower((unsigned char)out.p[i]);
	return out;
}

struct authz_attrs authz_attrs_of(const struct api_request *req)
{
	const struct api_attrs *at = &req->at;
	struct authz_attrs out = {.group = at->group, .resource = at->resource, .sub = at->sub, .ns = at->ns, .name = at->name,
			.path = at->path, .version = at->version, .is_resource = at->is_resource};

	/* A path that is no resource knows HTTP's methods. */
	out.verb = at->is_resource ? str_from(api_verb_name(at->verb)) :
				     lower((struct arena *)(uintptr_t)&req->arena, req->method);
	if (at->is_resource && (at->verb == API_LIST || at->verb == API_WATCH || at->verb == API_DELETE_COLLECTION)) {
		out.field_selector = req->opt.field_selector;
		out.label_selector = req->opt.label_selector;
	}
	return out;
}

struct str authz_text(struct arena *a, const struct api_user *u, const struct authz_attrs *at)
{
	struct str scope;

	if (!at->is_resource)
		return arena_sprintf(a, "User \"%.*s\" cannot %.*s path \"%.*s\"", STR_FMT(u->name), STR_FMT(at->verb),
				STR_FMT(at->path));
	scope = at->ns.n > 0 ? arena_sprintf(a, "in the namespace \"%.*s\"", STR_FMT(at->ns)) : STR("at the cluster scope");
	return arena_sprintf(a, "User \"%.*s\" cannot %.*s resource \"%.*s%s%.*s\" in API group \"%.*s\" %.*s",
			STR_FMT(u->name), STR_FMT(at->verb), STR_FMT(at->resource), at->sub.n ? "/" : "", STR_FMT(at->sub),
			STR_FMT(at->group), STR_FMT(scope));
}

enum step_result authz_forbid(struct api_request *req, const struct api_user *u, const struct authz_attrs *at,
		struct str reason)
{
	struct str text = authz_text(&req->arena, u, at);

	if (reason.n > 0)
		text = arena_sprintf(&req->arena, "%.*s: %.*s", STR_FMT(text), STR_FMT(reason));
	if (!at->is_resource) {
		req->fail.has_details = true;
		return api_fail(req, ERR_FORBIDDEN, "forbidden: %.*s", STR_FMT(text));
	}
	req->fail.has_details = true;
	req->fail.name = at->name;
	req->fail.group = at->group;
	req->fail.kind = at->resource;
	return api_fail(req, ERR_FORBIDDEN, "%.*s%s%.*s%s%.*s%s is forbidden: %.*s", STR_FMT(at->resource),
			at->group.n ? "." : "", STR_FMT(at->group), at->name.n ? " \"" : "", STR_FMT(at->name),
			at->name.n ? "\"" : "", STR_FMT(text));
}

static void note_decision(struct api_request *req, const char *decision, struct str reason)
{
	api_audit_note(req, "authorization.k8s.io/decision", str_from(decision));
	api_audit_note(req, "authorization.k8s.io/reason", reason);
}

enum step_result api__authorize(struct api_request *req)
{
	struct authz_answer answer;
	struct authz_attrs at;

	/* Part of a request that was allowed, or a client that is trusted. */
	if (req->local && !req->as_account)
		return STEP_NEXT;
	at = authz_attrs_of(req);
	if (authz_decide(req, &req->user, &at, req->audit_level > 0, &answer) == STEP_WAIT)
		return STEP_WAIT;
	if (answer.allowed) {
		if (req->audit_level > 0)
			note_decision(req, "allow", answer.reason);
		req->fresh = false;
		return STEP_NEXT;
	}
	api_count(req->srv, COUNT_authz_denials);
	note_decision(req, "forbid", answer.reason);
	return authz_forbid(req, &req->user, &at, answer.reason);
}
