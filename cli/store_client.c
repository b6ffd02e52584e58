#include "cli/store_client.h"

#include <unistd.h>

#include "base/util.h"
#include "cli/local.h"
#include "io/tls.h"

int store_client_connect(const struct store_client_opts *o, struct fetch *f, struct arena *a, struct err *e)
{
	struct tls_config tc = {.server = false};
	struct local l;
	const char *pki;

	if (o->endpoints)
		return err_set(e, ERR_BAD_REQUEST, "--endpoints: an etcd API has no such request; for a snapshot: etcdctl snapshot save, which "
						   "`kontiki snapshot` reads as well");
	/* A member alone has no API server. */
	if (o->data_dir && access(arena_printf(a, "%s/pki", o->data_dir), F_OK) != 0 &&
	    access(arena_printf(a, "%s/raft/member", o->data_dir), F_OK) == 0)
		return err_set(e, ERR_BAD_REQUEST, "%s belongs to a `kontiki etcd`: say where that listens, --endpoints http://HOST:2379 (status, member), or use "
						   "etcdctl (snapshot save)", o->data_dir);
	if (o->data_dir) {
		pki = arena_printf(a, "%s/pki", o->data_dir);
		f->address = o->server ? o->server : "127.0.0.1:6443";
	} else {
		if (local_load(&l, o->name, o->dir, e) < 0)
			return -(int)e->code;
		pki = arena_printf(a, "%s/pki", l.dir);
		f->address = arena_printf(a, "127.0.0.1:%u", l.port);
	}
	return tls_ctx_new_files(&tc, arena_printf(a, "%s/admin.crt", pki), arena_printf(a, "%s/admin.key", pki), arena_printf(a, "%s/ca.crt", pki),
			&f->tls, e);
}

int store_client_ask(const struct store_client_opts *o, const char *method, const char *path, struct str body, struct arena *a,
		     struct str *ret_answer, struct err *e)
{
	struct fetch f = {.method = method, .path = path, .body = body, .timeout_ms = 60000};
	int rv = store_client_connect(o, &f, a, e);

	if (rv == 0)
		rv = fetch(&f, a, e);
	tls_ctx_unref(f.tls);
	if (rv < 0)
		return rv;
	if (f.status != 200)
		return err_set(e, err_from_http(f.status), "%.*s", STR_FMT(str_trim(f.answer)));
	*ret_answer = f.answer;
	return 0;
}
