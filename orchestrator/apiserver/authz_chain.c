#include "orchestrator/apiserver/authz_chain.h"

#include <stdlib.h>

#include "base/file.h"
#include "base/log.h"
#include "base/util.h"
#include "orchestrator/apiserver/apiserver-priv.h"
#include "orchestrator/apiserver/auth_hook.h"

#define FILE_MAX (1 << 20)
/* As upstream. */
#define HOOK_YES_MS (5 * 60 * 1000)
#define HOOK_NO_MS 30000

/* The flags: nodes, roles, then the webhook, if there is one. */
static void by_flags(struct arena *a, const struct apiserver_cfg *cfg, struct authz_config *ret)
{
	const struct authz_authorizer rows[] = {{.kind = AUTHZ_NODE, .name = "node"}, {.kind = AUTHZ_RBAC, .name = "rbac"},
			{.kind = AUTHZ_WEBHOOK, .name = "webhook", .kubeconfig = cfg->authz_hook_file,
					.yes_ms = cfg->authz_hook_yes_ms ? cfg->authz_hook_yes_ms : HOOK_YES_MS,
					.no_ms = cfg->authz_hook_no_ms ? cfg->authz_hook_no_ms : HOOK_NO_MS}};

	ret->v = arena_memdup(a, rows, sizeof(rows));
	ret->n = cfg->authz_hook_file ? 3 : 2;
}

static int by_file(struct authz_chain *c, const char *path, struct err *e)
{
	_cleanup_(buf_fini) struct buf text = BUF_INIT;

	if (file_get(path, FILE_MAX, &text, e) < 0)
		return -(int)e->code;
	c->text = arena_str(&c->arena, buf_str(&text));
	return authz_config_parse(&c->arena, c->text, &c->conf, e);
}

static int hooks_open(struct authz_chain *c, struct err *e)
{
	c->hooks = arena_new_array(&c->arena, struct auth_hook *, c->conf.n);
	for (size_t i = 0; i < c->conf.n; i++)
		if (c->conf.v[i].kind == AUTHZ_WEBHOOK && auth_hook_open(c->conf.v[i].kubeconfig, c->conf.v[i].timeout_ms, &c->hooks[i], e) < 0)
			return -(int)e->code;
	return 0;
}

int authz_chain_open(const struct apiserver_cfg *cfg, struct authz_chain *before, struct authz_chain **ret, struct err *e)
{
	struct authz_chain *c = xcalloc(1, sizeof(*c));

	arena_init(&c->arena);
	if (cfg->authz_config_file && cfg->authz_hook_file)
		err_set(e, ERR_INVALID, "it and the flag of an authorization webhook exclude each other: name the webhook in the file");
	else if (!cfg->authz_config_file)
		by_flags(&c->arena, cfg, &c->conf);
	else
		by_file(c, cfg->authz_config_file, e);
	if (e->code || hooks_open(c, e) < 0) {
		authz_chain_free(c);
		return cfg->authz_config_file ? err_prefix(e, "authorization configuration %s", cfg->authz_config_file) : -(int)e->code;
	}
	c->before = before;
	*ret = c;
	return 0;
}

void authz_chain_free(struct authz_chain *c)
{
	while (c) {
		struct authz_chain *before = c->before;

		for (size_t i = 0; c->hooks && i < c->conf.n; i++)
			auth_hook_free(c->hooks[i]);
		arena_fini(&c->arena);
		free(c);
		c = before;
	}
}

bool authz_chain_is_old(const struct authz_chain *c, const struct apiserver_cfg *cfg)
{
	_cleanup_(buf_fini) struct buf text = BUF_INIT;

	return cfg->authz_config_file && file_get(cfg->authz_config_file, FILE_MAX, &text, NULL) == 0 && !str_eq(buf_str(&text), c->text);
}

void authz_chain_reload(struct authz_chain *c, struct err *e)
{
	for (size_t i = 0; i < c->conf.n; i++) {
		bool changed = false;

		if (c->hooks[i])
			auth_hook_reload(c->hooks[i], &changed, e);
		if (changed)
			log_info("apiserver", "the authorization webhook %s is configured anew", c->conf.v[i].name);
	}
}
