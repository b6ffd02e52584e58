#include "orchestrator/apiserver/join_token.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/util.h"
#include "io/x509.h"
#include "orchestrator/apiserver/objects.h"
#include "orchestrator/apiserver/storage.h"
#include "proto/resource.h"

void join_token_hash(struct str secret, char out[JOIN_TOKEN_HASH])
{
	uint8_t hash[32];

	x509_sha256(secret, hash);
	for (size_t i = 0; i < sizeof(hash); i++)
		snprintf(out + 2 * i, 3, "%02x", hash[i]);
}

static struct str datum(struct arena *a, const struct json *secret, const char *key)
{
	struct str out;

	return api_base64_decode(a, json_str(json_getc(json_getc(secret, "data"), key)), &out) ? out : STR_NULL;
}

static const struct json *load(struct store *store, struct arena *a, const char *name)
{
	const struct resource *res = resource_find("", "v1", "secrets");
	struct err e = ERR_INIT;
	struct json *doc;
	struct str raw;
	uint64_t rv;

	if (storage_load(store, a, storage_key(a, res, STR("kube-system"), str_from(name)), &raw, &rv, &e) < 0 ||
			api_dom_of(a, res, raw, &doc, &e) < 0 || !json_eqc(json_getc(doc, "type"), JOIN_TOKEN_TYPE))
		return NULL;
	return doc;
}

static bool is_fresh(struct arena *a, const struct json *doc)
{
	struct str until = datum(a, doc, "expiration");
	char now[CLOCK_RFC3339_SIZE];

	clock_rfc3339(clock_wall_s(), now);
	return until.n == 0 || str_cmp(until, str_from(now)) > 0;
}

static bool fits(struct arena *a, const struct json *doc, const char *hash, bool as_server)
{
	return doc && x509_equal(datum(a, doc, "hash"), str_from(hash)) && is_fresh(a, doc) &&
	       !(as_server && str_eqc(datum(a, doc, "usage"), "agent"));
}

bool join_token_valid(struct store *store, struct str secret, bool as_server)
{
	char hash[JOIN_TOKEN_HASH];
	struct arena a;
	bool ok;

	join_token_hash(secret, hash);
	arena_init(&a);
	ok = fits(&a, load(store, &a, arena_printf(&a, JOIN_TOKEN_PREFIX "%.*s", JOIN_TOKEN_ID, hash)), hash, as_server) ||
	     fits(&a, load(store, &a, JOIN_TOKEN_DEFAULT), hash, as_server);
	arena_fini(&a);
	return ok;
}

bool join_token_replaced(struct store *store, struct str secret)
{
	char hash[JOIN_TOKEN_HASH];
	const struct json *doc;
	struct arena a;
	bool replaced;

	join_token_hash(secret, hash);
	arena_init(&a);
	doc = load(store, &a, JOIN_TOKEN_DEFAULT);
	replaced = doc && !fits(&a, doc, hash, false);
	arena_fini(&a);
	return replaced;
}
