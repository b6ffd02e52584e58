#include "cli/kube_config.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/util.h"
#include "cli/local.h"
#include "proto/codec.h"
#include "proto/json.h"
#include "proto/yaml.h"

#define CONFIG_MAX (8u << 20)

const struct opt kube_rows[] = {
	KUBE_OPT(kubeconfig, "kubeconfig", 0, OPT_STR, "FILE", "the kubeconfig (default $KUBECONFIG, ~/.kube/config, or this machine's cluster)"),
	KUBE_OPT(context, "context", 0, OPT_STR, "NAME", "the context to use"),
	KUBE_OPT(cluster, "cluster", 0, OPT_STR, "NAME", "the cluster to use"),
	KUBE_OPT(user, "user", 0, OPT_STR, "NAME", "the user to be"),
	KUBE_OPT(server, "server", 's', OPT_STR, "URL", "the server's address"),
	KUBE_OPT(token, "token", 0, OPT_STR, "TOKEN", "a bearer token"),
	KUBE_OPT(ns, "namespace", 'n', OPT_STR, "NAME", "the namespace"),
	KUBE_OPT(request_timeout, "request-timeout", 0, OPT_STR, "DURATION", "give up on a request after so long (\"10s\")"),
	KUBE_OPT(ca, "certificate-authority", 0, OPT_STR, "FILE", "the CA of the server's certificate"),
	KUBE_OPT(cert, "client-certificate", 0, OPT_STR, "FILE", "a client certificate"),
	KUBE_OPT(key, "client-key", 0, OPT_STR, "FILE", "its key"),
	KUBE_OPT(tls_server_name, "tls-server-name", 0, OPT_STR, "NAME", "the name to expect in the server's certificate"),
	KUBE_OPT(insecure, "insecure-skip-tls-verify", 0, OPT_BOOL, "", "do not check the server's certificate"),
	OPT_END,
};

/* --- Kubeconfig ------------------------------------------------------------------------------------------------ */

/* All files in order; what is named in an earlier one wins, as in kubectl. */
struct config {
	struct json *files[8];
	const char *folders[8];
	size_t n;
};

static int load(struct arena *a, struct config *c, const char *path, struct err *e)
{
	char *text = file_read(path, CONFIG_MAX, e), *slash;
	struct json *j = NULL;
	int rv;

	if (text == NULL)
		return -(int)ERR_IO;
	rv = yaml_parse(a, arena_str(a, str_from(text)), &j, e);
	free(text);
	if (rv < 0)
		return err_prefix(e, "%s", path);
	if (c->n < ARRAY_LEN(c->files)) {
		c->folders[c->n] = arena_strdup(a, path);
		slash = strrchr(c->folders[c->n], '/');
		if (slash)
			*slash = '\0';
		else
			c->folders[c->n] = ".";
		c->files[c->n++] = j;
	}
	return 0;
}

static const char *text_of(const struct json *j, const char *key)
{
	const char *s = json_cstr(json_getc(j, key));

	return *s ? s : NULL;
}

/* Where kubectl looks, and then where this machine's own clusters keep theirs. */
static int find_config(struct arena *a, const struct kube_opts *o, struct config *c, struct err *e)
{
	const char *env = getenv("KUBECONFIG"), *home = getenv("HOME"), *cluster = getenv("KONTIKI_CLUSTER"),
		   *cluster_dir = getenv("KONTIKI_CLUSTER_DIR");
	char paths[3][PATH_MAX];
	struct str rest = str_from(env), part;
	int rv = 0;

	if (o->kubeconfig)
		return load(a, c, o->kubeconfig, e);
	while (rest.n > 0 && rv == 0) {
		const char *path;

		str_cut(rest, ':', &part, &rest);
		path = arena_cstr(a, part);
		if (part.n > 0 && access(path, F_OK) == 0)
			rv = load(a, c, path, e);
	}
	if (rv < 0 || (env && *env))
		return rv;
	snprintf(paths[0], PATH_MAX, "%s/.kube/config", home && *home ? home : "/root");
	if (cluster_dir && *cluster_dir)
		snprintf(paths[1], PATH_MAX, "%s/admin.kubeconfig", cluster_dir);
	else
		snprintf(paths[1], PATH_MAX, "%s/%s/admin.kubeconfig", LOCAL_DEFAULT_ROOT, cluster ? cluster : LOCAL_DEFAULT_NAME);
	snprintf(paths[2], PATH_MAX, "/var/lib/kontiki/admin.kubeconfig");
	/* A file that chooses no context is there, but leaves the question open. */
	for (size_t i = 0; rv == 0 && i < ARRAY_LEN(paths); i++)
		if (access(paths[i], R_OK) == 0 && (c->n == 0 || !(o->context || o->server || text_of(c->files[c->n - 1], "current-context"))))
			rv = load(a, c, paths[i], e);
	return rv;
}

static const struct json *entry(const struct config *c, const char *list, const char *member, const char *name, size_t *ret_file)
{
	for (size_t i = 0; i < c->n; i++)
		JSON_ITEMS (it, json_getc(c->files[i], list))
			if (json_eqc(json_getc(it, "name"), name)) {
				if (ret_file)
					*ret_file = i;
				return json_getc(it, member);
			}
	return NULL;
}

/* PEM from KEY-data (base64) or from the file that KEY names. */
static int pem(struct arena *a, const struct config *c, size_t file, const struct json *j, const char *key, struct str *ret,
		struct err *e)
{
	char data_key[64], path[PATH_MAX], *text;
	const char *s;
	struct buf b = BUF_INIT;

	snprintf(data_key, sizeof(data_key), "%s-data", key);
	if ((s = text_of(j, data_key)) != NULL) {
		if (codec_base64_parse(str_from(s), &b) >= 0) {
			buf_fini(&b);
			return err_set(e, ERR_BAD_REQUEST, "kubeconfig: %s is no base64", data_key);
		}
		*ret = arena_str(a, buf_str(&b));
		buf_fini(&b);
		return 0;
	}
	if ((s = text_of(j, key)) == NULL)
		return 0;
	snprintf(path, sizeof(path), "%s%s%s", *s == '/' ? "" : c->folders[file], *s == '/' ? "" : "/", s);
	text = file_read(path, CONFIG_MAX, e);
	if (text == NULL)
		return -(int)ERR_IO;
	*ret = arena_str(a, str_from(text));
	free(text);
	return 0;
}

/* A flag's file wins over what the kubeconfig says. */
static int pem_file(struct arena *a, const char *path, struct str *ret, struct err *e)
{
	char *text = path ? file_read(path, CONFIG_MAX, e) : NULL;

	if (path == NULL)
		return 0;
	if (text == NULL)
		return -(int)ERR_IO;
	*ret = arena_str(a, str_from(text));
	free(text);
	return 0;
}

static int token_file(struct arena *a, const struct config *c, size_t file, const char *name, const char **ret, struct err *e)
{
	char path[PATH_MAX], *text;

	if (name == NULL)
		return 0;
	snprintf(path, sizeof(path), "%s%s%s", *name == '/' ? "" : c->folders[file], *name == '/' ? "" : "/", name);
	text = file_read(path, CONFIG_MAX, e);
	if (text == NULL)
		return -(int)ERR_IO;
	*ret = arena_cstr(a, str_trim(str_from(text)));
	free(text);
	return 0;
}

static int parse_server(struct arena *a, const char *url, struct kube_config *k, struct err *e)
{
	struct str s = str_from(url), host, port;
	ptrdiff_t colon;

	if (str_search(s, STR("://")) < 0)
		s = arena_sprintf(a, "https://%s", url);
	if (!str_has_prefix(s, STR("https://")))
		return err_set(e, ERR_BAD_REQUEST, "server address \"%s\": it must begin with https://", url);
	s = str_skip(s, 8);
	str_cut(s, '/', &s, &host);
	colon = str_rfind(s, ':');
	if (colon < str_find(s, ']'))
		colon = -1; /* inside of an IPv6 address */
	host = colon < 0 ? s : str_sub(s, 0, (size_t)colon);
	port = colon < 0 ? STR("443") : str_skip(s, (size_t)colon + 1);
	k->address = arena_printf(a, "%.*s:%.*s", STR_FMT(host), STR_FMT(port));
	if (host.n > 2 && host.p[0] == '[')
		host = str_sub(host, 1, host.n - 1);
	k->server_name = arena_cstr(a, host);
	return 0;
}

int kube_config_read(struct arena *a, const struct kube_opts *o, struct kube_config *k, struct err *e)
{
	struct config c = {.n = 0};
	const char *name = o->context, *server;
	const struct json *context = NULL, *cluster = NULL, *user = NULL;
	size_t cluster_file = 0, user_file = 0;
	int rv = find_config(a, o, &c, e);

	for (size_t i = 0; name == NULL && i < c.n; i++)
		name = text_of(c.files[i], "current-context");
	if (rv == 0 && name) {
		context = entry(&c, "contexts", "context", name, NULL);
		if (context == NULL)
			return err_set(e, ERR_NOT_FOUND, "context \"%s\" does not exist", name);
	}
	name = o->cluster ? o->cluster : text_of(context, "cluster");
	if (rv == 0 && name)
		cluster = entry(&c, "clusters", "cluster", name, &cluster_file);
	if (rv == 0 && name && cluster == NULL)
		return err_set(e, ERR_NOT_FOUND, "cluster \"%s\" does not exist", name);
	name = o->user ? o->user : text_of(context, "user");
	if (rv == 0 && name)
		user = entry(&c, "users", "user", name, &user_file);
	if (rv == 0 && name && user == NULL)
		return err_set(e, ERR_NOT_FOUND, "auth info \"%s\" does not exist", name);
	server = o->server ? o->server : text_of(cluster, "server");
	if (rv == 0 && server == NULL)
		return err_set(e, ERR_NOT_FOUND,
				"no kubeconfig: set KUBECONFIG, or see `kontiki kubeconfig --help` for that of a local cluster");
	k->ns = o->ns ? o->ns : text_of(context, "namespace");
	k->ns = k->ns ? arena_strdup(a, k->ns) : "default";
	k->ns_given = o->ns != NULL;
	k->token = o->token ? o->token : text_of(user, "token");
	if (rv == 0 && k->token == NULL)
		rv = token_file(a, &c, user_file, text_of(user, "tokenFile"), &k->token, e);
	if (rv == 0 && json_getc(user, "exec") && k->token == NULL && !text_of(user, "client-certificate-data") &&
			!text_of(user, "client-certificate"))
		return err_set(e, ERR_UNIMPLEMENTED,
				"kubeconfig: credential plugins (\"exec\") are not supported; use a token or a certificate");
	if (rv == 0)
		rv = parse_server(a, server, k, e);
	if (rv == 0)
		rv = pem(a, &c, cluster_file, cluster, "certificate-authority", &k->ca, e);
	if (rv == 0)
		rv = pem(a, &c, user_file, user, "client-certificate", &k->cert, e);
	if (rv == 0)
		rv = pem(a, &c, user_file, user, "client-key", &k->key, e);
	if (text_of(cluster, "tls-server-name"))
		k->server_name = text_of(cluster, "tls-server-name");
	if (o->tls_server_name)
		k->server_name = o->tls_server_name;
	if (rv == 0)
		rv = pem_file(a, o->ca, &k->ca, e);
	if (rv == 0)
		rv = pem_file(a, o->cert, &k->cert, e);
	if (rv == 0)
		rv = pem_file(a, o->key, &k->key, e);
	if (o->insecure || json_true(json_getc(cluster, "insecure-skip-tls-verify")))
		k->insecure = true;
	return rv;
}
