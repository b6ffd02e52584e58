/* URLs, as Go's net/url reads those of request lines: absolute ones, and absolute paths. */
#include <string.h>

#include "proto/cel/opaque-priv.h"

#define OF(x) ((const struct cel__url *)(x).opaque)

static bool letter_or_digit(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static bool one_of(char c, const char *set)
{
	return c != '\0' && strchr(set, c) != NULL;
}

static int hex(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10 : -1;
}

/* ---- escapes ---- */

/* "%41" becomes "A"; NULL, or what is wrong. plus: '+' is a space. */
static const char *unescape(struct arena *a, struct str s, bool plus, struct str *ret)
{
	char *p = arena_alloc(a, s.n + 1);
	size_t n = 0;

	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] != '%') {
			p[n++] = plus && s.p[i] == '+' ? ' ' : s.p[i];
			continue;
		}
		if (i + 2 >= s.n || hex(s.p[i + 1]) < 0 || hex(s.p[i + 2]) < 0)
			return arena_printf(a, "invalid URL escape \"%.*s\"", (int)MIN(s.n - i, (size_t)3), s.p + i);
		p[n++] = (char)(hex(s.p[i + 1]) * 16 + hex(s.p[i + 2]));
		i += 2;
	}
	*ret = str_of(p, n);
	return NULL;
}

static bool path_is_encoded(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (!letter_or_digit(s.p[i]) && !one_of(s.p[i], "-_.~!$&'()*+,;=:@[]%/"))
			return false;
	return true;
}

static struct str escape_path(struct arena *a, struct str s)
{
	struct buf out = BUF_INIT;
	struct str r;

	for (size_t i = 0; i < s.n; i++)
		if (letter_or_digit(s.p[i]) || one_of(s.p[i], "-_.~$&+,/:;=@"))
			buf_add1(&out, s.p[i]);
		else
			buf_printf(&out, "%%%02X", (unsigned char)s.p[i]);
	r = arena_str(a, buf_str(&out));
	buf_fini(&out);
	return r;
}

/* ---- parts ---- */

/* "scheme:" at the start, if there is one. */
static const char *take_scheme(struct str *s, struct str *ret)
{
	*ret = STR("");
	for (size_t i = 0; i < s->n; i++) {
		char c = s->p[i];

		if (c == ':') {
			if (i == 0)
				return "missing protocol scheme";
			*ret = str_sub(*s, 0, i);
			*s = str_skip(*s, i + 1);
			return NULL;
		}
		if (!letter_or_digit(c) && !one_of(c, "+-."))
			return NULL;
		if (i == 0 && !((c | 0x20) >= 'a' && (c | 0x20) <= 'z'))
			return NULL;
	}
	return NULL;
}

/* "" or ":" and digits. */
static bool port_ok(struct str port)
{
	if (port.n == 0)
		return true;
	if (port.p[0] != ':')
		return false;
	for (size_t i = 1; i < port.n; i++)
		if (port.p[i] < '0' || port.p[i] > '9')
			return false;
	return true;
}

/* In a host only bytes beyond ASCII may be escaped, and few signs stand as they are. */
static const char *host_characters(struct arena *a, struct str host)
{
	for (size_t i = 0; i < host.n; i++) {
		char c = host.p[i];

		if (c == '%') {
			if (i + 2 >= host.n || hex(host.p[i + 1]) < 8 || hex(host.p[i + 2]) < 0)
				return arena_printf(a, "invalid URL escape \"%.*s\"", (int)MIN(host.n - i, (size_t)3), host.p + i);
			i += 2;
		} else if ((unsigned char)c < 0x80 && !letter_or_digit(c) && !one_of(c, "-_.~!$&'()*+,;=:[]<>\"")) {
			return arena_printf(a, "invalid character \"%c\" in host name", c);
		}
	}
	return NULL;
}

static const char *parse_host(struct arena *a, struct str host, struct str *ret)
{
	ptrdiff_t close, colon;
	struct str port = STR("");
	const char *why;

	if (host.n > 0 && host.p[0] == '[') {
		close = str_rfind(host, ']');
		if (close < 0)
			return "missing ']' in host";
		port = str_skip(host, (size_t)close + 1);
	} else if ((colon = str_rfind(host, ':')) >= 0) {
		port = str_skip(host, (size_t)colon);
	}
	if (!port_ok(port))
		return arena_printf(a, "invalid port \"%.*s\" after host", STR_FMT(port));
	if (host.n > 0 && host.p[0] == '[') {
		/* A zone behind "%25" is decoded like a path. */
		ptrdiff_t zone = str_search(host, STR("%25"));

		if (zone >= 0)
			return unescape(a, host, false, ret);
	}
	why = host_characters(a, host);
	return why != NULL ? why : unescape(a, host, false, ret);
}

static const char *parse_authority(struct arena *a, struct str s, struct str *ret_host)
{
	ptrdiff_t at = str_rfind(s, '@');
	struct str user = at >= 0 ? str_sub(s, 0, (size_t)at) : STR(""), ignored;
	const char *why;

	why = parse_host(a, at >= 0 ? str_skip(s, (size_t)at + 1) : s, ret_host);
	if (why != NULL)
		return why;
	for (size_t i = 0; i < user.n; i++)
		if (!letter_or_digit(user.p[i]) && !one_of(user.p[i], "-._:~!$&'()*+,;=%@"))
			return "net/url: invalid userinfo";
	return unescape(a, user, false, &ignored);
}

static const char *parse(struct arena *a, struct str s, struct cel__url *u)
{
	struct str rest = s, ignored;
	const char *why;

	for (size_t i = 0; i < s.n; i++)
		if ((unsigned char)s.p[i] < 0x20 || s.p[i] == 0x7f)
			return "net/url: invalid control character in URL";
	if (s.n == 0)
		return "empty url";
	if (str_eqc(s, "*")) {
		u->path = s;
		return NULL;
	}
	why = take_scheme(&rest, &u->scheme);
	if (why != NULL)
		return why;
	str_cut(rest, '?', &rest, &u->query);
	if (rest.n == 0 || rest.p[0] != '/')
		return u->scheme.n > 0 ? NULL : "invalid URI for request";
	if (u->scheme.n > 0 && str_has_prefix(rest, STR("//"))) {
		struct str authority = str_skip(rest, 2);
		ptrdiff_t slash = str_find(authority, '/');

		rest = slash >= 0 ? str_skip(authority, (size_t)slash) : STR("");
		authority = slash >= 0 ? str_sub(authority, 0, (size_t)slash) : authority;
		why = parse_authority(a, authority, &u->host);
		if (why != NULL)
			return why;
	}
	u->path = rest;
	return unescape(a, rest, false, &ignored);
}

const char *cel__url_parse(struct arena *a, struct str s, struct cel__url *ret)
{
	struct cel__url u = {.o = {OPAQUE_URL}, .text = s};
	struct json quoted = {.type = JSON_STRING, .s = s};
	const char *why = parse(a, s, &u);
	struct str fragment;

	if (why != NULL)
		return arena_printf(a, "parse %.*s: %s", STR_FMT(json_text(a, &quoted)), why);
	if (ret != NULL) {
		/* A request line has no fragment; a URL may have one, which is then no part of path and query. */
		u = (struct cel__url){.o = {OPAQUE_URL}, .text = s};
		str_cut(s, '#', &s, &fragment);
		if (parse(a, s, &u) != NULL)
			u.text = s;
		*ret = u;
	}
	return NULL;
}

/* ---- functions ---- */

static struct cel_value url(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	struct cel__url *u = arena_new_of(v->a, struct cel__url);
	const char *why = cel__url_parse(v->a, a[0].s, u);

	(void)n;
	if (why != NULL)
		return cel_error(v->a, "URL parse error during conversion from string: %s", why);
	return cel__opaque(&u->o);
}

static struct cel_value is_url(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	(void)n;
	return cel_value_bool(cel__url_parse(v->a, a[0].s, NULL) == NULL);
}

static struct cel_value get_scheme(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	char *p = arena_memdup(v->a, OF(a[0])->scheme.p, OF(a[0])->scheme.n);

	(void)n;
	for (size_t i = 0; i < OF(a[0])->scheme.n; i++)
		if (p[i] >= 'A' && p[i] <= 'Z')
			p[i] |= 0x20;
	return cel_value_str(str_of(p, OF(a[0])->scheme.n));
}

static struct cel_value get_host(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	(void)v;
	(void)n;
	return cel_value_str(OF(a[0])->host);
}

static struct str port_of(struct str host)
{
	ptrdiff_t colon = str_rfind(host, ':');

	if (colon < 0 || !port_ok(str_skip(host, (size_t)colon)))
		return STR("");
	return str_skip(host, (size_t)colon);
}

static struct cel_value get_port(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	(void)v;
	(void)n;
	return cel_value_str(str_skip(port_of(OF(a[0])->host), 1));
}

static struct cel_value get_hostname(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	struct str host = OF(a[0])->host;

	(void)v;
	(void)n;
	host.n -= port_of(host).n;
	if (host.n > 1 && host.p[0] == '[' && host.p[host.n - 1] == ']')
		host = str_sub(host, 1, host.n - 1);
	return cel_value_str(host);
}

static struct cel_value get_path(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	struct str path = OF(a[0])->path, plain;

	(void)n;
	if (path_is_encoded(path) || unescape(v->a, path, false, &plain) != NULL)
		return cel_value_str(path);
	return cel_value_str(escape_path(v->a, plain));
}

/* One "key=value": added to the list of the key. */
static struct cel_value add_pair(struct cel__eval *v, struct cel_value map, struct str pair)
{
	struct str key, value;
	struct cel_value k, list;

	str_cut(pair, '=', &key, &value);
	if (str_find(pair, ';') >= 0 || unescape(v->a, key, true, &key) != NULL || unescape(v->a, value, true, &value) != NULL)
		return map;
	k = cel_value_str(key);
	if (!cel__map_find(v->a, map.map, k, &list)) {
		list = cel__list_new(v->a, &(struct cel_value){.kind = CEL_STRING, .s = value}, 1);
		return cel__map_add(v->a, map.map, k, list);
	}
	/* The map is ours alone so far: the list in it may be put into place. */
	for (size_t i = 0; i < map.map->n; i++)
		if (cel__compare(map.map->table->entries[i].key, k) == 0)
			map.map->table->entries[i].value = cel__list_append(v->a, list.list, cel_value_str(value));
	return map;
}

static struct cel_value get_query(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	struct cel_value map = cel__map_new(v->a);
	struct str rest = OF(a[0])->query, pair;
	bool more = rest.n > 0;

	(void)n;
	while (more && cel__steps(v, map.map->n / 8 + 1)) {
		more = str_cut(rest, '&', &pair, &rest);
		if (pair.n > 0)
			map = add_pair(v, map, pair);
	}
	return map;
}

static const struct cel__overload overloads[] = {
	{"url", "string_to_url", "s:U", false, url},
	{"isURL", "is_url_string", "s:b", false, is_url},
	{"getScheme", "url_get_scheme", "U:s", true, get_scheme},
	{"getHost", "url_get_host", "U:s", true, get_host},
	{"getHostname", "url_get_hostname", "U:s", true, get_hostname},
	{"getPort", "url_get_port", "U:s", true, get_port},
	{"getEscapedPath", "url_get_escaped_path", "U:s", true, get_path},
	{"getQuery", "url_get_query", "U:MsLs", true, get_query},
};

extern const struct cel__library cel__lib_url;
const struct cel__library cel__lib_url = {CEL_LIB_URL, overloads, ARRAY_LEN(overloads)};
