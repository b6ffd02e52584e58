#include "orchestrator/apiserver/authz.h"

#include <ctype.h>

#include "base/util.h"
#include "io/x509.h"
#include "orchestrator/apiserver/apiserver-priv.h"
#include "orchestrator/apiserver/auth_hook.h"
#include "orchestrator/apiserver/authn.h"
#include "orchestrator/apiserver/authz_hook.h"
#include "orchestrator/apiserver/authz_node.h"
#include "orchestrator/apiserver/authz_state.h"
#include "orchestrator/apiserver/crypt.h"
#include "orchestrator/apiserver/rbac_index.h"

/* As upstream. */
#define HOOK_YES_MS (5 * 60 * 1000)
#define HOOK_NO_MS 30000

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

bool authz_check(struct api_request *req, const struct api_user *u, const struct authz_attrs *at, bool explain,
		struct authz_answer *ret)
{
	struct rbac_reason why = {.arena = explain ? &req->arena : NULL};
	struct str node = authz_node_name(u), node_reason = STR_NULL;
	const struct authz_state *st;

	*ret = (struct authz_answer){.allowed = true};
	if (api_user_in_group(u, "system:masters"))
		return true;
	st = state_of(req);
	if (node.n > 0 && authz_node(req, authz_state_graph(st), node, at, &node_reason))
		return true;
	ret->allowed = rbac_authorize(authz_state_rbac(st), u, at, &why);
	ret->reason = why.text;
	if (!ret->allowed && node_reason.n > 0)
		ret->reason = why.text.n ? arena_sprintf(&req->arena, "%.*s, %.*s", STR_FMT(node_reason), STR_FMT(why.text)) :
					   node_reason;
	return ret->allowed;
}

static uint64_t keep_ms(struct api_request *req, struct str body)
{
	const struct apiserver_cfg *cfg = &req->srv->cfg;
	enum authz_opinion o;
	struct arena a;

	arena_init(&a);
	o = authz_hook_answer(&a, body, NULL);
	arena_fini(&a);
	if (o == AUTHZ_NONE)
		return 0;
	return o == AUTHZ_YES ? (cfg->authz_hook_yes_ms ? cfg->authz_hook_yes_ms : HOOK_YES_MS) :
				(cfg->authz_hook_no_ms ? cfg->authz_hook_no_ms : HOOK_NO_MS);
}

static struct str both(struct arena *a, struct str x, struct str y)
{
	return x.n > 0 && y.n > 0 ? arena_sprintf(a, "%.*s, %.*s", STR_FMT(x), STR_FMT(y)) : x.n > 0 ? x : y;
}

/* What the webhook says to what nobody here allows. Without an answer it stays forbidden. */
static enum step_result ask_hook(struct api_request *req, const struct api_user *u, const struct authz_attrs *at, struct authz_answer *ret)
{
	struct auth_hook *hook = req->srv->authz_hook;
	struct str question = authz_hook_question(&req->arena, u, at), key, reason = STR_NULL;
	struct auth_answer said;
	uint8_t sum[32];

	x509_sha256(question, sum);
	key = str_of(sum, sizeof(sum));
	if (!auth_hook_find(hook, req, key, &said)) {
		if (auth_hook_ask(hook, req, key, question, keep_ms))
			return STEP_WAIT;
		said.failure = STR("too many questions to the webhook are open");
	}
	if (said.failure.n > 0)
		reason = said.failure;
	else
		ret->allowed = authz_hook_answer(&req->arena, said.body, &reason) == AUTHZ_YES;
	ret->reason = ret->allowed ? reason : both(&req->arena, ret->reason, reason);
	return STEP_NEXT;
}

enum step_result authz_decide(struct api_request *req, const struct api_user *u, const struct authz_attrs *at, bool explain,
		struct authz_answer *ret)
{
	if (authz_check(req, u, at, explain, ret))
		return STEP_NEXT;
	/* Strangers cannot make us ask for read points. */
	if (!api_user_in_group(&req->user, "system:unauthenticated") && api_refresh(req))
		return STEP_WAIT;
	if (!explain)
		authz_check(req, u, at, true, ret);
	/* Only serve loops have connections to webhooks. */
	return req->srv->authz_hook && req->al->serves ? ask_hook(req, u, at, ret) : STEP_NEXT;
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
			.path = at->path, .version = at->version, .is_resource = at->is_resource, .field_selector = req->opt.field_selector};

	/* A path that is no resource knows HTTP's methods. */
	out.verb = at->is_resource ? str_from(api_verb_name(at->verb)) :
				     lower((struct arena *)(uintptr_t)&req->arena, req->method);
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
