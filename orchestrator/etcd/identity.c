/*
 * Who asks. A token in the metadata (clients' "token", the gateway's "authorization"), else the common name of a verified
 * client certificate where the server was told to take it, else nobody.
 *
 * This member may be behind what the client was told by another one: that authentication is on, that the token is good, that
 * a role was given. So nobody is refused by what only this member knows. Who reads is judged by the view that is read from,
 * which is behind a barrier (ETCD_VIEWED); who writes, by everybody when the command is applied (ETCD_APPLIED), and there a
 * token is all that has to be known before: one that this member cannot judge makes it catch up once, by a read's barrier, which
 * all that wait in one turn of the loop share. What no view and no command answers for (ETCD_ADMIN) is judged behind such a
 * barrier whenever authentication plays a part. Without a leader, what is known here must do.
 */
#include "base/clock.h"
#include "base/util.h"
#include "io/x509.h"
#include "orchestrator/etcd/etcd-priv.h"
#include "orchestrator/etcd/token.h"
#include "store/view.h"

/* --- From what is shown to a name ------------------------------------------------------------------------------------ */

static struct str token_of(const struct etcd_call *c)
{
	struct str token = c->via->metadata(c, "token");

	return token.n > 0 ? token : c->via->metadata(c, "authorization");
}

static enum etcd_error nobody(struct etcd_call *c)
{
	c->who.user = STR_NULL;
	return ETCD_ERR_INVALID_AUTH_TOKEN;
}

/*
 * Fill call->who by what is shown and the state of authentication. *ret_unsure: a member that has applied more might say
 * something else, be it yes or no.
 */
static enum etcd_error judge(struct etcd_call *c, bool enabled, uint64_t revision, bool *ret_unsure)
{
	const struct etcd_server_cfg *cfg = &c->el->srv->cfg;
	struct str token = token_of(c);

	c->who = (struct store_requester){STR_NULL, revision};
	c->token = STR_NULL;
	c->signed_token = false;
	*ret_unsure = !enabled && token.n > 0;
	if (token.n > 0 && !enabled)
		return ETCD_ERR_OK;
	if (token.n > 0 && cfg->token_key != NULL) {
		c->signed_token = true;
		if (!etcd_token_read(c->arena, cfg->token_key, token, clock_wall_s(), &c->who.user, &c->who.auth_revision) ||
				c->who.user.n > STORE_AUTH_NAME_MAX)
			return nobody(c);
		*ret_unsure = c->who.auth_revision > revision;
	} else if (token.n > 0) {
		c->token = token;
		*ret_unsure = !store_token_user(c->el->srv->store, token, clock_mono_ms(), c->arena, &c->who.user);
		if (*ret_unsure)
			return nobody(c);
	} else if (cfg->cert_users && c->peer != NULL && c->peer->cn.n <= STORE_AUTH_NAME_MAX) {
		c->who.user = c->peer->cn;
	}
	return ETCD_ERR_OK;
}

static enum etcd_error judge_now(struct etcd_call *c, bool *ret_unsure)
{
	uint64_t revision;
	bool enabled = store_auth_enabled(c->el->srv->store, &revision);

	return judge(c, enabled, revision, ret_unsure);
}

int etcd__who(struct etcd_call *c, struct store_view *v, bool *ret_unsure, struct err *e)
{
	enum etcd_error error;
	uint64_t revision;
	int rc = view_auth_revision(v, &revision, e);

	*ret_unsure = false;
	if (rc != 0)
		return rc;
	error = judge(c, view_auth_enabled(v), revision, ret_unsure);
	return error ? err_set(e, err_from_grpc(etcd_error_code(error)), "%s", etcd_error_text(error)) : 0;
}

bool etcd__identify(struct etcd_call *c, struct store_view *v)
{
	struct err e = ERR_INIT;
	bool unsure;

	if (etcd__who(c, v, &unsure, &e) == 0)
		return true;
	etcd__fail_err(c, &e);
	return false;
}

bool etcd__auth_matters(const struct etcd_call *c)
{
	uint64_t revision;

	return store_auth_enabled(c->el->srv->store, &revision) || token_of(c).n > 0;
}

bool etcd__still_is(struct etcd_loop *el, struct str user, struct str token, struct arena *a, uint64_t *ret_revision)
{
	struct str now;

	(void)store_auth_enabled(el->srv->store, ret_revision);
	return token.n == 0 || (store_token_user(el->srv->store, token, clock_mono_ms(), a, &now) && str_eq(now, user));
}

/* --- Letting calls in ----------------------------------------------------------------------------------------------------- */

/* A call that waits until this member has caught up. */
struct waiting {
	struct etcd_read read;
	struct etcd_call *call;
	struct str request;
};

static void canceled(struct etcd_call *c)
{
	etcd__read_cancel(&((struct waiting *)c->state)->read);
	etcd__fail(c, ETCD_ERR_CANCELED);
}

/* Root's role, by the view. */
static int permit_admin(struct etcd_call *c, struct store_view *v, struct err *e)
{
	bool unsure;
	int rc = etcd__who(c, v, &unsure, e);

	return rc ? rc : view_auth_admin(v, &c->who, e);
}

static int permit_by(struct etcd_call *c, struct store_view *v, struct err *e)
{
	bool unsure;

	if (c->method->judged == ETCD_APPLIED)
		return etcd__who(c, v, &unsure, e);
	return permit_admin(c, v, e);
}

/* By what this member knows; for who administers it without a leader. */
static int permit_locally(struct etcd_call *c, struct err *e)
{
	struct store_view *v;
	int rc = store_view_open(c->el->srv->store, &v, e);

	if (rc != 0)
		return rc;
	rc = permit_admin(c, v, e);
	store_view_close(v);
	return rc;
}

static void caught_up(struct etcd_read *r, struct store_view *v, const struct err *failed)
{
	struct waiting *w = container_of(r, struct waiting, read);
	struct etcd_call *c = w->call;
	struct err e = ERR_INIT;
	int rc;

	c->state = NULL;
	c->on_cancel = NULL;
	if (v != NULL)
		rc = permit_by(c, v, &e);
	else if (c->method->judged == ETCD_APPLIED)
		rc = err_set(&e, failed->code, "%s", failed->text);
	else
		rc = permit_locally(c, &e);
	if (rc == 0)
		c->method->handle(c, w->request);
	else
		etcd__fail_err(c, &e);
}

static void catch_up(struct etcd_call *c, struct str request)
{
	struct waiting *w = arena_new_of(c->arena, struct waiting);

	w->call = c;
	w->request = arena_str(c->arena, request);
	w->read.done = caught_up;
	c->state = w;
	c->on_cancel = canceled;
	etcd__read(c->el, &w->read, false);
}

static void admit_writer(struct etcd_call *c, struct str request)
{
	bool unsure;
	enum etcd_error error = judge_now(c, &unsure);

	/* A signed token of a later revision says all that the command needs to say. */
	if (error == ETCD_ERR_OK && (!unsure || c->signed_token))
		c->method->handle(c, request);
	else if (unsure)
		catch_up(c, request);
	else
		etcd__fail(c, error);
}

static void admit_admin(struct etcd_call *c, struct str request, bool wait)
{
	struct err e = ERR_INIT;

	if (wait && etcd__has_leader(c->el))
		catch_up(c, request);
	else if (permit_locally(c, &e) == 0)
		c->method->handle(c, request);
	else
		etcd__fail_err(c, &e);
}

void etcd__admit(struct etcd_call *c, struct str request)
{
	switch (c->method->judged) {
	case ETCD_APPLIED:
		admit_writer(c, request);
		break;
	case ETCD_ADMIN:
		admit_admin(c, request, etcd__auth_matters(c));
		break;
	case ETCD_MEMBERS:
		admit_admin(c, request, true);
		break;
	default:
		c->method->handle(c, request);
	}
}
