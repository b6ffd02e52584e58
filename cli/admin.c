#include "cli/admin.h"

#include "base/util.h"
#include "cli/fetch.h"
#include "cli/local.h"
#include "io/tls.h"
#include "proto/json.h"

int admin_open(const struct admin_opts *o, struct arena *a, struct admin *ret, struct err *e)
{
	struct tls_config tc = {.server = false};
	struct local l;
	const char *pki;

	*ret = (struct admin){0};
	if (o->data_dir) {
		pki = arena_printf(a, "%s/pki", o->data_dir);
		ret->address = o->server ? o->server : "127.0.0.1:6443";
	} else {
		if (local_load(&l, o->name, o->dir, e) < 0)
			return -(int)e->code;
		pki = arena_printf(a, "%s/pki", l.dir);
		ret->address = arena_printf(a, "127.0.0.1:%u", l.port);
	}
	ret->ca_path = arena_printf(a, "%s/ca.crt", pki);
	return tls_ctx_new_files(&tc, arena_printf(a, "%s/admin.crt", pki), arena_printf(a, "%s/admin.key", pki), ret->ca_path, &ret->tls, e);
}

void admin_close(struct admin *ad)
{
	tls_ctx_unref(ad->tls);
	ad->tls = NULL;
}

int admin_call(struct admin *ad, struct arena *a, const char *method, const char *path, struct str body, struct str *ret, struct err *e)
{
	struct fetch f = {.address = ad->address, .tls = ad->tls, .method = method, .path = path, .body = body, .timeout_ms = 30000};
	struct json *status = NULL;
	int rv = fetch(&f, a, e);

	if (rv < 0)
		return rv;
	*ret = f.answer;
	if (f.status < 300)
		return 0;
	if (json_parse(a, f.answer, NULL, &status, NULL) < 0 || json_str(json_getc(status, "message")).n == 0)
		return err_set(e, err_from_http(f.status), "the server answered %d: %.*s", f.status, STR_FMT(str_trim(f.answer)));
	return err_set(e, err_from_http(f.status), "%.*s", STR_FMT(json_str(json_getc(status, "message"))));
}
