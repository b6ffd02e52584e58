#include "orchestrator/apiserver/crypt.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "io/aead.h"
#include "orchestrator/apiserver/kms.h"
#include "orchestrator/apiserver/objects.h"
#include "proto/duration.h"
#include "proto/json.h"
#include "proto/resource.h"
#include "proto/yaml.h"

#define SEALED "k8s:enc:aesgcm:v1:"
#define SEALED_KMS "k8s:enc:kms:v2:"
/* Of any provider of kube-apiserver's; a plain value begins with "k8s" and a NUL, or with a brace. */
#define SEALED_ANY "k8s:enc:"

/* What seals and opens: a key, or a plugin. */
struct crypt_key {
	struct str name, secret;
	const char *kms_address; /* NULL: a key */
	unsigned kms_timeout_ms;
	struct kms *kms; /* once in use */
};

/* What one entry of the configuration says of its resources. */
struct crypt_rule {
	struct str *resources; /* "secrets", "deployments.apps", "*.apps", "*.*" */
	size_t n_resources;
	const struct crypt_key *writer; /* NULL: identity comes first */
};

struct crypt {
	struct arena arena;
	struct crypt_rule *rules;
	size_t n_rules;
	struct crypt_key *keys; /* of all rules: they read everything */
	size_t n_keys;
	struct crypt *before;
};

static _Atomic(struct crypt *) current;
static struct crypt *kept; /* all that were ever in use; changed by who reloads only */

/* --- The configuration -------------------------------------------------------------------------------------- */

static int add_keys(struct crypt *c, const struct json *provider, struct crypt_key **ret_first, struct err *e)
{
	const struct json *list = json_getc(provider, "keys");

	*ret_first = &c->keys[c->n_keys];
	if (json_len(list) == 0)
		return err_set(e, ERR_INVALID, "aesgcm: at least one key is needed");
	JSON_ITEMS (k, list) {
		struct crypt_key *key = &c->keys[c->n_keys];

		key->name = json_str(json_getc(k, "name"));
		if (key->name.n == 0 || str_find(key->name, ':') >= 0)
			return err_set(e, ERR_INVALID, "aesgcm: a key needs a name without a colon");
		if (!api_base64_decode(&c->arena, json_str(json_getc(k, "secret")), &key->secret) || !aead_key_valid(key->secret))
			return err_set(e, ERR_INVALID, "aesgcm: the secret of key \"%.*s\" must be 16, 24 or 32 bytes in base64",
					STR_FMT(key->name));
		c->n_keys++;
	}
	return 0;
}

static const struct crypt_key *find_kms(const struct crypt *c, struct str name)
{
	for (size_t i = 0; i < c->n_keys; i++)
		if (c->keys[i].kms_address && str_eq(c->keys[i].name, name))
			return &c->keys[i];
	return NULL;
}

static int add_kms(struct crypt *c, const struct json *p, struct crypt_key **ret, struct err *e)
{
	struct crypt_key *k = &c->keys[c->n_keys];
	struct str version = json_str(json_getc(p, "apiVersion")), name = json_str(json_getc(p, "name"));
	const struct crypt_key *same = find_kms(c, name);
	int64_t ns = (int64_t)KMS_DEFAULT_TIMEOUT_MS * 1000000;

	if (!str_eqc(version, "v2"))
		return err_set(e, ERR_INVALID, "kms: apiVersion must be v2; v1 plugins are not supported");
	if (name.n == 0 || name.n > 256 || str_find(name, ':') >= 0)
		return err_set(e, ERR_INVALID, "kms: a plugin needs a name without a colon");
	if (json_getc(p, "timeout") && (!duration_parse(json_str(json_getc(p, "timeout")), &ns) || ns <= 0 || ns > 60000000000))
		return err_set(e, ERR_INVALID, "kms %.*s: timeout must be a duration such as 3s, a minute at most", STR_FMT(name));
	*k = (struct crypt_key){.name = name, .kms_timeout_ms = (unsigned)MAX(ns / 1000000, 1)};
	if (kms_endpoint_parse(&c->arena, json_str(json_getc(p, "endpoint")), &k->kms_address, e) < 0)
		return -(int)e->code;
	/* Its values say nothing but the name. */
	if (same && strcmp(same->kms_address, k->kms_address) != 0)
		return err_set(e, ERR_INVALID, "kms: two plugins are named \"%.*s\"", STR_FMT(name));
	c->n_keys++;
	*ret = k;
	return 0;
}

static int add_providers(struct crypt *c, struct crypt_rule *rule, const struct json *list, struct err *e)
{
	bool first = true;

	JSON_ITEMS (p, list) {
		struct crypt_key *key = NULL;

		if (json_getc(p, "aesgcm")) {
			if (add_keys(c, json_getc(p, "aesgcm"), &key, e) < 0)
				return -e->code;
		} else if (json_getc(p, "kms")) {
			if (add_kms(c, json_getc(p, "kms"), &key, e) < 0)
				return -e->code;
		} else if (!json_getc(p, "identity")) {
			return err_set(e, ERR_INVALID, "provider \"%.*s\" is not supported: use aesgcm, kms or identity",
					json_len(p) ? (int)p->members[0].key.n : 0, json_len(p) ? p->members[0].key.p : "");
		}
		if (first)
			rule->writer = key;
		first = false;
	}
	return first ? err_set(e, ERR_INVALID, "an entry without providers") : 0;
}

static size_t count_keys(const struct json *doc)
{
	size_t n = 0;

	JSON_ITEMS (r, json_getc(doc, "resources"))
		JSON_ITEMS (p, json_getc(r, "providers"))
			n += json_getc(p, "kms") ? 1 : json_len(json_getp(p, "aesgcm.keys"));
	return n;
}

static int read_rules(struct crypt *c, const struct json *doc, struct err *e)
{
	const struct json *list = json_getc(doc, "resources");

	if (!json_eqc(json_getc(doc, "kind"), "EncryptionConfiguration"))
		return err_set(e, ERR_INVALID, "this is no EncryptionConfiguration of apiserver.config.k8s.io/v1");
	c->keys = arena_new_array(&c->arena, struct crypt_key, count_keys(doc) + 1);
	c->rules = arena_new_array(&c->arena, struct crypt_rule, json_len(list) + 1);
	JSON_ITEMS (r, list) {
		struct crypt_rule *rule = &c->rules[c->n_rules++];
		const struct json *names = json_getc(r, "resources");

		rule->resources = arena_new_array(&c->arena, struct str, json_len(names) + 1);
		JSON_ITEMS (n, names)
			rule->resources[rule->n_resources++] = json_str(n);
		if (rule->n_resources == 0)
			return err_set(e, ERR_INVALID, "an entry without resources");
		if (add_providers(c, rule, json_getc(r, "providers"), e) < 0)
			return -e->code;
	}
	return 0;
}

int crypt_parse(struct str text, struct crypt **ret, struct err *e)
{
	struct crypt *c = xcalloc(1, sizeof(*c));
	struct json *doc;

	arena_init(&c->arena);
	if (yaml_parse(&c->arena, text, &doc, e) < 0 || read_rules(c, doc, e) < 0) {
		crypt_free(c);
		return err_prefix(e, "encryption configuration");
	}
	*ret = c;
	return 0;
}

void crypt_free(struct crypt *c)
{
	if (!c)
		return;
	arena_fini(&c->arena);
	free(c);
}

void crypt_stop(void)
{
	/* Who still asks finds no plugin. */
	for (struct crypt *c = kept; c; c = c->before)
		for (size_t i = 0; i < c->n_keys; i++)
			c->keys[i].kms = NULL;
	kms_stop_all();
}

int crypt_use(struct crypt *c, struct err *e)
{
	for (size_t i = 0; c && i < c->n_keys; i++)
		if (c->keys[i].kms_address && kms_get(c->keys[i].name, c->keys[i].kms_address, c->keys[i].kms_timeout_ms, &c->keys[i].kms, e) < 0)
			return -(int)e->code;
	if (c) {
		c->before = kept;
		kept = c;
	}
	atomic_store(&current, c);
	return 0;
}

int crypt_health(struct err *e)
{
	const struct crypt *c = atomic_load(&current);
	struct err why = ERR_INIT;

	for (size_t i = 0; c && i < c->n_keys; i++)
		if (c->keys[i].kms && kms_health(c->keys[i].kms, &why) < 0)
			return err_set(e, ERR_UNAVAILABLE, "%.*s: %s", STR_FMT(c->keys[i].name), why.text);
	return 0;
}

bool crypt_has_kms(void)
{
	const struct crypt *c = atomic_load(&current);

	for (size_t i = 0; c && i < c->n_keys; i++)
		if (c->keys[i].kms)
			return true;
	return false;
}

struct str crypt_describe(struct arena *a)
{
	const struct crypt *c = atomic_load(&current);
	_cleanup_(buf_fini) struct buf out = BUF_INIT;

	for (size_t i = 0; c && i < c->n_rules; i++) {
		if (!c->rules[i].writer)
			continue;
		buf_addc(&out, out.n ? "; " : "");
		for (size_t k = 0; k < c->rules[i].n_resources; k++)
			buf_printf(&out, "%s%.*s", k ? ", " : "", STR_FMT(c->rules[i].resources[k]));
		if (c->rules[i].writer->kms)
			buf_printf(&out, ": kms plugin %.*s, key %.*s", STR_FMT(c->rules[i].writer->name),
					STR_FMT(kms_key_id(c->rules[i].writer->kms, a)));
		else
			buf_printf(&out, ": aesgcm key %.*s", STR_FMT(c->rules[i].writer->name));
	}
	return arena_str(a, buf_str(&out));
}

/* --- Values ------------------------------------------------------------------------------------------------------ */

static bool names(struct str pattern, const struct resource *res)
{
	struct str plural, group;

	str_cut(pattern, '.', &plural, &group);
	if (!str_eqc(plural, "*") && !str_eqc(plural, res->plural))
		return false;
	return str_eqc(group, "*") || str_eqc(group, res->group);
}

/* The first entry that names the resource counts. */
static const struct crypt_key *writer_of(const struct crypt *c, const struct resource *res)
{
	for (size_t i = 0; c && i < c->n_rules; i++)
		for (size_t k = 0; k < c->rules[i].n_resources; k++)
			if (names(c->rules[i].resources[k], res))
				return c->rules[i].writer;
	return NULL;
}

int crypt_seal(const struct resource *res, struct str key, struct buf *value, struct err *e)
{
	const struct crypt_key *w = writer_of(atomic_load(&current), res);
	struct buf out = BUF_INIT;
	int rv = 0;

	if (!w)
		return 0;
	buf_printf(&out, "%s%.*s:", w->kms_address ? SEALED_KMS : SEALED, STR_FMT(w->name));
	if (!w->kms_address)
		aead_seal(w->secret, key, buf_str(value), &out);
	else if (w->kms)
		rv = kms_seal(w->kms, key, buf_str(value), &out, e);
	else
		rv = err_set(e, ERR_UNAVAILABLE, "the KMS plugins are stopped");
	if (rv < 0) {
		buf_fini(&out);
		return rv;
	}
	buf_fini(value);
	*value = out;
	return 0;
}

/* A value's provider and the name in it. */
static bool sealed_parts(struct str value, bool *ret_kms, struct str *ret_name, struct str *ret_sealed)
{
	*ret_kms = str_has_prefix(value, STR(SEALED_KMS));
	if (!*ret_kms && !str_has_prefix(value, STR(SEALED)))
		return false;
	return str_cut(str_skip(value, strlen(*ret_kms ? SEALED_KMS : SEALED)), ':', ret_name, ret_sealed);
}

static bool open_with(const struct crypt_key *k, struct str key, struct str sealed, struct buf *out)
{
	if (!k->kms_address)
		return aead_open(k->secret, key, sealed, out);
	return k->kms && kms_open(k->kms, key, sealed, out);
}

bool crypt_hurry(bool on)
{
	return kms_hurry(on);
}

bool crypt_missed(void)
{
	return kms_missed();
}

bool crypt_ready(struct str value)
{
	const struct crypt *c = atomic_load(&current);
	struct str name, sealed;
	bool kms;

	if (!c || !sealed_parts(value, &kms, &name, &sealed) || !kms)
		return true;
	for (size_t i = 0; i < c->n_keys; i++)
		if (c->keys[i].kms && str_eq(c->keys[i].name, name))
			return kms_ready(c->keys[i].kms, sealed);
	return true;
}

bool crypt_open(struct arena *a, struct str key, struct str value, struct str *ret)
{
	const struct crypt *c;
	struct str name, sealed;
	bool kms, ok = false;

	if (!str_has_prefix(value, STR(SEALED_ANY))) {
		*ret = value;
		return true;
	}
	if (!sealed_parts(value, &kms, &name, &sealed))
		return false;
	c = atomic_load(&current);
	for (size_t i = 0; c && !ok && i < c->n_keys; i++) {
		_cleanup_(buf_fini) struct buf out = BUF_INIT;

		if ((c->keys[i].kms_address != NULL) != kms || !str_eq(c->keys[i].name, name) || !open_with(&c->keys[i], key, sealed, &out))
			continue;
		*ret = arena_str(a, buf_str(&out));
		ok = true;
	}
	return ok;
}

bool crypt_is_stale(const struct resource *res, struct str value)
{
	const struct crypt_key *w = writer_of(atomic_load(&current), res);
	struct str name, sealed;
	bool kms;

	if (!sealed_parts(value, &kms, &name, &sealed))
		return w != NULL;
	if (!w || kms != (w->kms_address != NULL) || !str_eq(w->name, name))
		return true;
	return w->kms && kms_is_stale(w->kms, sealed);
}
