#include "orchestrator/apiserver/forward.h"

#include <ctype.h>
#include <string.h>

#include "base/buf.h"
#include "base/util.h"
#include "orchestrator/apiserver/request.h"

static bool begins(struct str name, const char *prefix)
{
	size_t n = strlen(prefix);

	return name.n >= n && str_ieq(str_sub(name, 0, n), str_of(prefix, n));
}

bool forward_stays(const struct http_header *h, bool upgrade)
{
	static const char *const names[] = {"authorization", "keep-alive", "proxy-authenticate", "proxy-authorization",
			"proxy-connection", "te", "trailer", "transfer-encoding", "host"};

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (str_ieq(h->name, str_from(names[i])))
			return true;
	if (str_ieq(h->name, STR("connection")) || (!upgrade && str_ieq(h->name, STR("upgrade"))))
		return true;
	/* Who asks was found out here; nobody behind us shall believe the client's own word. */
	if (h->name.n == 0 || h->name.p[0] == ':' || begins(h->name, "impersonate-") || begins(h->name, "x-remote-"))
		return true;
	/* A token in the list of WebSocket protocols is for us. */
	return str_ieq(h->name, STR("sec-websocket-protocol")) &&
	       str_search(h->value, STR("base64url.bearer.authorization.k8s.io.")) >= 0;
}

static void add(struct arena *a, struct http_headers *h, struct str name, struct str value)
{
	h->h = arena_grow(a, h->h, h->n * sizeof(h->h[0]), (h->n + 1) * sizeof(h->h[0]));
	h->h[h->n++] = (struct http_header){name, value};
}

/* Connection names further headers that are for this connection only. */
static bool is_named(const struct http_headers *in, struct str name)
{
	char text[128];

	if (name.n >= sizeof(text))
		return false;
	memcpy(text, name.p, name.n);
	text[name.n] = '\0';
	return http_header_has_token(in, "connection", text);
}

struct http_headers forward_headers(struct arena *a, const struct http_headers *in, bool upgrade, struct str remote, struct str path)
{
	struct str already = http_header_get(in, "x-forwarded-for"), host, rest;
	struct http_headers out = {NULL, 0};
	ptrdiff_t colon = str_rfind(remote, ':');

	for (size_t i = 0; i < in->n; i++)
		if (!forward_stays(&in->h[i], upgrade) && !begins(in->h[i].name, "x-forwarded-") &&
				(str_ieq(in->h[i].name, STR("upgrade")) || !is_named(in, in->h[i].name)))
			add(a, &out, in->h[i].name, in->h[i].value);
	/* Ours, not the client's: with its own it could name what we add, for the next proxy to take out again. */
	if (upgrade)
		add(a, &out, STR("Connection"), STR("Upgrade"));
	host = colon < 0 ? remote : str_sub(remote, 0, (size_t)colon);
	rest = already.n > 0 ? arena_sprintf(a, "%.*s, %.*s", STR_FMT(already), STR_FMT(host)) : host;
	add(a, &out, STR("X-Forwarded-For"), rest);
	add(a, &out, STR("X-Forwarded-Host"), http_header_get(in, "host"));
	add(a, &out, STR("X-Forwarded-Proto"), STR("https"));
	add(a, &out, STR("X-Forwarded-Uri"), path);
	return out;
}

/* --- Who asks ---------------------------------------------------------------------------------------------------------------- */

static bool is_value(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if ((unsigned char)s.p[i] < 0x20 || s.p[i] == 0x7f)
			return false;
	return true;
}

/* What a header's name may hold (RFC 9110, token), but for the percent sign, stays; all else as %XX. */
static struct str key_of(struct arena *a, struct str key)
{
	_cleanup_(buf_fini) struct buf b = BUF_INIT;

	buf_addc(&b, "X-Remote-Extra-");
	for (size_t i = 0; i < key.n; i++) {
		unsigned char c = (unsigned char)key.p[i];

		if (isalnum(c) || (c != '\0' && strchr("!#$&'*+-.^_`|~", c)))
			buf_add1(&b, (char)c);
		else
			buf_printf(&b, "%%%02X", c);
	}
	return arena_str(a, buf_str(&b));
}

static int add_value(struct arena *a, struct http_headers *h, struct str name, struct str value, struct err *e)
{
	if (!is_value(value))
		return err_set(e, ERR_BAD_REQUEST, "the user's %.*s has bytes that cannot be sent on", STR_FMT(name));
	add(a, h, name, value);
	return 0;
}

int forward_user(struct arena *a, const struct api_user *u, struct http_headers *h, struct err *e)
{
	struct http_headers out = {NULL, 0};

	for (size_t i = 0; i < h->n; i++)
		if (!begins(h->h[i].name, "x-remote-"))
			add(a, &out, h->h[i].name, h->h[i].value);
	if (add_value(a, &out, STR("X-Remote-User"), u->name, e) < 0)
		return -(int)e->code;
	if (u->uid.n > 0 && add_value(a, &out, STR("X-Remote-Uid"), u->uid, e) < 0)
		return -(int)e->code;
	for (size_t i = 0; i < u->n_groups; i++)
		if (add_value(a, &out, STR("X-Remote-Group"), u->groups[i], e) < 0)
			return -(int)e->code;
	for (size_t i = 0; i < u->n_extra; i++)
		if (add_value(a, &out, key_of(a, u->extra[i].key), u->extra[i].value, e) < 0)
			return -(int)e->code;
	*h = out;
	return 0;
}
