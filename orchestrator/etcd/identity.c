/*
 * Who asks. A token in the metadata (clients' "token", the gateway's "authorization"), else the common name of a verified
 * client certificate where the server was told to take it, else nobody.
 */
#include "base/clock.h"
#include "base/util.h"
#include "io/x509.h"
#include "orchestrator/etcd/etcd-priv.h"
#include "orchestrator/etcd/token.h"
#include "store/view.h"

enum etcd_error etcd__who(struct etcd_call *c)
{
	struct store *store = c->el->srv->store;
	struct str token;
	uint64_t revision;

	c->who = (struct store_requester){STR_NULL, 0};
	if (!store_auth_enabled(store, &revision))
		return ETCD_ERR_OK;
	token = c->via->metadata(c, "token");
	if (token.n == 0)
		token = c->via->metadata(c, "authorization");
	if (token.n > 0 && c->el->srv->cfg.token_key != NULL) {
		if (!etcd_token_read(c->arena, c->el->srv->cfg.token_key, token, clock_wall_s(), &c->who.user, &revision))
			return ETCD_ERR_INVALID_AUTH_TOKEN;
	} else if (token.n > 0) {
		if (!store_token_user(store, token, clock_mono_ms(), c->arena, &c->who.user))
			return ETCD_ERR_INVALID_AUTH_TOKEN;
	} else if (c->el->srv->cfg.cert_users && c->peer != NULL && c->peer->cn.n <= STORE_AUTH_NAME_MAX) {
		c->who.user = c->peer->cn;
	}
	c->who.auth_revision = revision;
	return ETCD_ERR_OK;
}

bool etcd__identify(struct etcd_call *c)
{
	enum etcd_error error = etcd__who(c);

	/* Whoever shows the password anew may come with a token that is over. */
	if (error == ETCD_ERR_OK || c->method->handle == etcd__authenticate)
		return true;
	etcd__fail(c, error);
	return false;
}

enum etcd_error etcd__permit_read(struct etcd_call *c, struct str key, struct str end)
{
	struct err e = ERR_INIT;
	struct store_view *v;
	uint64_t revision;

	if (!store_auth_enabled(c->el->srv->store, &revision))
		return ETCD_ERR_OK;
	if (store_view_open(c->el->srv->store, &v, &e) != 0)
		return ETCD_ERR_TOO_MANY_REQUESTS;
	(void)view_auth_range(v, &c->who, key, end, STORE_READ, &e);
	store_view_close(v);
	if (e.code == ERR_OK)
		return ETCD_ERR_OK;
	return etcd_error_of(&e) ? etcd_error_of(&e) : ETCD_ERR_PERMISSION_DENIED;
}

bool etcd__permit_admin(struct etcd_call *c)
{
	struct err e = ERR_INIT;
	struct store_view *v;

	if (store_view_open(c->el->srv->store, &v, &e) != 0) {
		etcd__fail_err(c, &e);
		return false;
	}
	(void)view_auth_admin(v, &c->who, &e);
	store_view_close(v);
	if (e.code == ERR_OK)
		return true;
	etcd__fail_err(c, &e);
	return false;
}
