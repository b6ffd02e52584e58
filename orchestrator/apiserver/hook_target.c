#include "orchestrator/apiserver/hook_target.h"

#include "base/util.h"
#include "io/http_client.h"
#include "orchestrator/apiserver/objects.h"

#define ERROR_TEXT_MAX 2048

void hook_target_read(struct arena *a, const struct json *c, struct hook_target *t)
{
	const struct json *service = json_getc(c, "service");

	t->url = json_str(json_getc(c, "url"));
	t->service = json_str(json_getc(service, "name"));
	t->service_ns = json_str(json_getc(service, "namespace"));
	t->path = json_str(json_getc(service, "path"));
	t->port = json_i64_or(json_getc(service, "port"), 443);
	if (!api_base64_decode(a, json_str(json_getc(c, "caBundle")), &t->ca_pem))
		t->ca_pem = STR("");
}

bool hook_url_parse(struct arena *a, struct str url, const char **ret_address, const char **ret_host, struct str *ret_path)
{
	static const struct str scheme = STR_INIT("https://");
	struct str rest, host, name;
	ptrdiff_t slash, colon;

	if (!str_has_prefix(url, scheme))
		return false;
	rest = str_skip(url, scheme.n);
	slash = str_find(rest, '/');
	host = slash < 0 ? rest : str_sub(rest, 0, (size_t)slash);
	*ret_path = slash < 0 ? STR("/") : arena_str(a, str_skip(rest, (size_t)slash));
	colon = str_rfind(host, ':');
	if (colon > 0 && str_find(str_skip(host, (size_t)colon), ']') < 0) {
		name = str_sub(host, 0, (size_t)colon);
		*ret_address = arena_cstr(a, host);
	} else {
		name = host;
		*ret_address = arena_printf(a, "%.*s:443", STR_FMT(host));
	}
	if (name.n > 2 && name.p[0] == '[')
		name = str_sub(name, 1, name.n - 1);
	*ret_host = arena_cstr(a, name);
	return name.n > 0;
}

int hook_target_find(struct arena *a, struct store *store, const struct hook_target *t, unsigned timeout_s, struct hook_address *ret,
		struct err *e)
{
	struct str path = t->path.n > 0 ? t->path : STR("/");

	ret->server.ca_pem = t->ca_pem;
	if (t->service.n == 0) {
		ret->url = arena_printf(a, "%.*s?timeout=%us", STR_FMT(t->url), timeout_s);
		if (!hook_url_parse(a, t->url, &ret->server.address, &ret->server.name, &path))
			return err_set(e, ERR_INVALID, "\"%.*s\" is no https url", STR_FMT(t->url));
		ret->path = arena_printf(a, "%.*s?timeout=%us", STR_FMT(path), timeout_s);
		return 0;
	}
	ret->server.name = arena_printf(a, "%.*s.%.*s.svc", STR_FMT(t->service), STR_FMT(t->service_ns));
	ret->path = arena_printf(a, "%.*s?timeout=%us", STR_FMT(path), timeout_s);
	ret->url = arena_printf(a, "https://%s:%lld%s", ret->server.name, (long long)t->port, ret->path);
	return service_resolve(store, a, t->service_ns, t->service, t->port, &ret->server.address, e);
}

bool hook_call_again(const struct http_call *c, const struct err *e)
{
	return e && !c->response_begun && e->code != ERR_TIMEOUT && e->code != ERR_CANCELED;
}

const char *hook_call_failure(struct arena *a, const struct http_call *c, const char *url, const struct err *e)
{
	struct str text;

	if (e && e->code == ERR_TIMEOUT)
		return arena_printf(a, "Post \"%s\": context deadline exceeded", url);
	if (e)
		return arena_printf(a, "Post \"%s\": %s", url, e->text);
	if (c->status >= 200 && c->status <= 299)
		return NULL;
	text = buf_str(&c->body_in);
	text = str_trim(str_sub(text, 0, MIN(text.n, ERROR_TEXT_MAX)));
	if (c->status >= 500)
		return arena_printf(a, "an error on the server (\"%.*s\") has prevented the request from succeeding", STR_FMT(text));
	return c->status == 404 ? "the server could not find the requested resource" :
				  "the server rejected our request for an unknown reason";
}
