#include "orchestrator/apiserver/front_proxy.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/util.h"
#include "io/x509.h"
#include "orchestrator/apiserver/apiserver-priv.h"
#include "proto/json.h"

#define PEM_MAX 65536
/* Servers come and go: the oldest CAs are left out of the ConfigMap when there are more. */
#define MAX_CAS 32

struct front_proxy {
	pthread_mutex_t lock; /* the texts */
	char *path[3];        /* certificate, key, CA */
	struct buf text[3];
};

int front_proxy_new(const char *cert, const char *key, const char *ca, struct front_proxy **ret, struct err *e)
{
	const char *const paths[] = {cert, key, ca};
	struct front_proxy *fp = xcalloc(1, sizeof(*fp));

	pthread_mutex_init(&fp->lock, NULL);
	for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
		fp->path[i] = xstrdup(paths[i]);
		buf_init(&fp->text[i], BUF_NO_LIMIT);
	}
	if (front_proxy_load(fp, e) < 0) {
		front_proxy_free(fp);
		return -(int)e->code;
	}
	*ret = fp;
	return 0;
}

void front_proxy_free(struct front_proxy *fp)
{
	if (!fp)
		return;
	for (size_t i = 0; i < ARRAY_LEN(fp->path); i++) {
		free(fp->path[i]);
		buf_fini(&fp->text[i]);
	}
	pthread_mutex_destroy(&fp->lock);
	free(fp);
}

int front_proxy_load(struct front_proxy *fp, struct err *e)
{
	struct buf text[3] = {BUF_INIT, BUF_INIT, BUF_INIT};
	int rv = 0;

	for (size_t i = 0; i < ARRAY_LEN(text) && rv == 0; i++)
		rv = file_get(fp->path[i], PEM_MAX, &text[i], e);
	pthread_mutex_lock(&fp->lock);
	for (size_t i = 0; i < ARRAY_LEN(text) && rv == 0; i++) {
		struct buf old = fp->text[i];

		fp->text[i] = text[i];
		text[i] = old;
	}
	pthread_mutex_unlock(&fp->lock);
	for (size_t i = 0; i < ARRAY_LEN(text); i++)
		buf_fini(&text[i]);
	return rv < 0 ? err_prefix(e, "front proxy") : 0;
}

void front_proxy_pair(struct front_proxy *fp, struct arena *a, struct str *ret_cert, struct str *ret_key)
{
	pthread_mutex_lock(&fp->lock);
	*ret_cert = arena_str(a, buf_str(&fp->text[0]));
	*ret_key = arena_str(a, buf_str(&fp->text[1]));
	pthread_mutex_unlock(&fp->lock);
}

struct str front_proxy_ca(struct front_proxy *fp, struct arena *a)
{
	struct str text;

	pthread_mutex_lock(&fp->lock);
	text = arena_str(a, buf_str(&fp->text[2]));
	pthread_mutex_unlock(&fp->lock);
	return text;
}

/* --- The ConfigMap ----------------------------------------------------------------------------------------------------------- */

static struct str name_of(struct arena *a, struct str pem)
{
	struct x509_cert *cert = NULL;
	struct x509_info info = {0};

	if (x509_cert_from_pem(pem, &cert, NULL) == 0 && x509_info_of(cert, a, &info, NULL) < 0)
		info.cn = STR("");
	x509_cert_free(cert);
	return info.cn;
}

static bool is_gone(struct str cn, const struct str *servers, size_t n)
{
	struct str name = str_skip(cn, strlen(FRONT_PROXY_CA));

	if (n == 0 || !str_has_prefix(cn, STR(FRONT_PROXY_CA)))
		return false;
	for (size_t i = 0; i < n; i++)
		if (str_eq(str_sub(servers[i], 0, MIN(servers[i].n, (size_t)40)), name))
			return false;
	return true;
}

static bool any_gone(struct arena *a, struct str old, const struct str *servers, size_t n)
{
	struct str one;

	while (x509_pem_next(&old, &one))
		if (is_gone(name_of(a, one), servers, n))
			return true;
	return false;
}

/* Ours behind the others, in place of what had its name. */
static struct str bundle(struct arena *a, struct str old, struct str own, const struct str *servers, size_t n_servers)
{
	struct str rest = old, one, name = name_of(a, own), kept[MAX_CAS];
	_cleanup_(buf_fini) struct buf out = BUF_INIT;
	size_t n = 0;

	own = str_trim(own);
	if (str_search(old, own) >= 0 && !any_gone(a, old, servers, n_servers))
		return old;
	while (x509_pem_next(&rest, &one)) {
		struct str cn = name_of(a, one);

		if (cn.n == 0 || str_eq(cn, name) || is_gone(cn, servers, n_servers))
			continue;
		if (n == MAX_CAS - 1)
			memmove(kept, kept + 1, --n * sizeof(kept[0]));
		kept[n++] = one;
	}
	for (size_t i = 0; i < n; i++)
		buf_printf(&out, "%.*s\n", STR_FMT(kept[i]));
	buf_printf(&out, "%.*s\n", STR_FMT(own));
	return arena_str(a, buf_str(&out));
}

struct json *front_proxy_config(struct arena *a, const struct json *old, struct str client_ca, struct str own_ca, const struct str *servers, size_t n)
{
	static const char *const words[][2] = {
			{"requestheader-allowed-names", "[\"" FRONT_PROXY_NAME "\"]"},
			{"requestheader-extra-headers-prefix", "[\"X-Remote-Extra-\"]"},
			{"requestheader-group-headers", "[\"X-Remote-Group\"]"},
			{"requestheader-uid-headers", "[\"X-Remote-Uid\"]"},
			{"requestheader-username-headers", "[\"X-Remote-User\"]"},
	};
	struct json *doc = old ? json_copy(a, old) : json_new_object(a), *data;

	if (!old) {
		json_setc(a, doc, "apiVersion", json_newc(a, "v1"));
		json_setc(a, doc, "kind", json_newc(a, "ConfigMap"));
		json_setp(a, doc, "metadata.name", json_newc(a, "extension-apiserver-authentication"));
		json_setp(a, doc, "metadata.namespace", json_newc(a, "kube-system"));
	}
	data = json_object_at(a, doc, "data");
	json_setc(a, data, "client-ca-file", json_new_str(a, client_ca));
	json_setc(a, data, "requestheader-client-ca-file",
			json_new_str(a, bundle(a, json_str(json_getc(data, "requestheader-client-ca-file")), own_ca, servers, n)));
	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		json_setc(a, data, words[i][0], json_newc(a, words[i][1]));
	return old && json_equal(old, doc) ? NULL : doc;
}
