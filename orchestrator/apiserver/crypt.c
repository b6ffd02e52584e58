#include "orchestrator/apiserver/crypt.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "io/aead.h"
#include "orchestrator/apiserver/objects.h"
#include "proto/json.h"
#include "proto/resource.h"
#include "proto/yaml.h"

#define SEALED "k8s:enc:aesgcm:v1:"

struct crypt_key {
	struct str name, secret;
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

static int add_providers(struct crypt *c, struct crypt_rule *rule, const struct json *list, struct err *e)
{
	bool first = true;

	JSON_ITEMS (p, list) {
		struct crypt_key *key = NULL;

		if (json_getc(p, "aesgcm")) {
			if (add_keys(c, json_getc(p, "aesgcm"), &key, e) < 0)
				return -e->code;
		} else if (!json_getc(p, "identity")) {
			return err_set(e, ERR_INVALID, "provider \"%.*s\" is not supported: use aesgcm or identity",
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
			n += json_len(json_getp(p, "aesgcm.keys"));
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

void crypt_use(struct crypt *c)
{
	if (c) {
		c->before = kept;
		kept = c;
	}
	atomic_store(&current, c);
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

void crypt_seal(const struct resource *res, struct str key, struct buf *value)
{
	const struct crypt_key *w = writer_of(atomic_load(&current), res);
	struct buf out = BUF_INIT;

	if (!w)
		return;
	buf_printf(&out, SEALED "%.*s:", STR_FMT(w->name));
	aead_seal(w->secret, key, buf_str(value), &out);
	buf_fini(value);
	*value = out;
}

static bool sealed_parts(struct str value, struct str *ret_name, struct str *ret_sealed)
{
	return str_has_prefix(value, STR(SEALED)) && str_cut(str_skip(value, strlen(SEALED)), ':', ret_name, ret_sealed);
}

bool crypt_open(struct arena *a, struct str key, struct str value, struct str *ret)
{
	const struct crypt *c;
	struct str name, sealed;
	bool ok = false;

	/* A plain value begins with "k8s" and a NUL. */
	if (!sealed_parts(value, &name, &sealed)) {
		*ret = value;
		return true;
	}
	c = atomic_load(&current);
	for (size_t i = 0; c && !ok && i < c->n_keys; i++) {
		_cleanup_(buf_fini) struct buf out = BUF_INIT;

		if (!str_eq(c->keys[i].name, name) || !aead_open(c->keys[i].secret, key, sealed, &out))
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

	if (!sealed_parts(value, &name, &sealed))
		return w != NULL;
	return !w || !str_eq(w->name, name);
}
