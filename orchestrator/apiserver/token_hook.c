#include "orchestrator/apiserver/token_hook.h"

#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "io/x509.h"
#include "orchestrator/apiserver/authn.h"
#include "orchestrator/apiserver/request.h"
#include "proto/json.h"

#define MAX_GROUPS 4096

struct str token_hook_question(struct arena *a, struct str token, const struct str *audiences, size_t n)
{
	struct json *o = json_new_object(a), *list = json_new_array(a);

	json_setc(a, o, "kind", json_newc(a, "TokenReview"));
	json_setc(a, o, "apiVersion", json_newc(a, "authentication.k8s.io/v1"));
	json_setp(a, o, "metadata.creationTimestamp", json_new_null(a));
	json_setp(a, o, "spec.token", json_new_str(a, token));
	for (size_t i = 0; i < n; i++)
		json_push(a, list, json_new_str(a, audiences[i]));
	if (n > 0)
		json_setp(a, o, "spec.audiences", list);
	json_setp(a, o, "status.user", json_new_object(a));
	return json_text(a, o);
}

struct str token_hook_key(struct arena *a, struct str token, const struct str *audiences, size_t n)
{
	struct str text = token_hook_question(a, token, audiences, n);
	uint8_t sum[32];
	char *hex = arena_alloc(a, 65);

	x509_sha256(text, sum);
	for (size_t i = 0; i < sizeof(sum); i++)
		snprintf(hex + 2 * i, 3, "%02x", sum[i]);
	return str_of(hex, 64);
}

static const struct json *status_of(struct arena *a, struct str body)
{
	struct json *doc;

	if (json_parse(a, body, NULL, &doc, NULL) < 0 || !json_is(doc, JSON_OBJECT) || !json_eqc(json_getc(doc, "kind"), "TokenReview") ||
			!json_eqc(json_getc(doc, "apiVersion"), "authentication.k8s.io/v1") || !json_is(json_getc(doc, "status"), JSON_OBJECT))
		return NULL;
	return json_getc(doc, "status");
}

bool token_hook_is_answer(struct str body)
{
	const struct json *status;
	struct arena a;
	bool is;

	arena_init(&a);
	status = status_of(&a, body);
	is = status && json_str(json_getc(status, "error")).n == 0;
	arena_fini(&a);
	return is;
}

/* A webhook that says nothing of audiences knows nothing of them: its tokens are for the API, and for nobody else. */
static bool audience_fits(struct arena *a, struct api_user *u, const struct json *list, struct str api, const struct str *wanted, size_t n)
{
	struct str *said = arena_new_array(a, struct str, json_len(list) + 1);
	size_t n_said = 0;

	JSON_ITEMS (it, list)
		said[n_said++] = json_str(it);
	if (n_said == 0)
		said[n_said++] = api;
	return authn_audiences(a, u, said, n_said, wanted, n);
}

static size_t count_extra(const struct json *extra)
{
	size_t n = 0;

	JSON_MEMBERS (m, extra)
		n += json_len(m->value);
	return n;
}

static void read_user(struct arena *a, const struct json *user, struct api_user *u)
{
	const struct json *groups = json_getc(user, "groups"), *extra = json_getc(user, "extra");

	*u = (struct api_user){.name = json_str(json_getc(user, "username")), .uid = json_str(json_getc(user, "uid")), .method = "webhook"};
	u->groups = arena_new_array(a, struct str, MIN(json_len(groups), MAX_GROUPS) + 1);
	JSON_ITEMS (g, groups)
		if (json_str(g).n > 0 && u->n_groups < MAX_GROUPS)
			u->groups[u->n_groups++] = json_str(g);
	u->groups[u->n_groups++] = STR("system:authenticated");
	u->extra = arena_new_array(a, struct api_extra, count_extra(extra) + 1);
	JSON_MEMBERS (m, extra)
		JSON_ITEMS (v, m->value)
			u->extra[u->n_extra++] = (struct api_extra){m->key, json_str(v)};
}

int token_hook_answer(struct arena *a, struct str body, struct str api, const struct str *audiences, size_t n, struct api_user *ret,
		struct err *e)
{
	const struct json *status = status_of(a, body);
	struct str error = json_str(json_getc(status, "error"));

	if (!status)
		return err_set(e, ERR_UNAUTHORIZED, "the webhook's answer is no TokenReview of authentication.k8s.io/v1 with a status");
	if (!json_true(json_getc(status, "authenticated")))
		return err_set(e, ERR_UNAUTHORIZED, "%.*s", STR_FMT(error.n ? error : STR("the webhook does not know the token")));
	read_user(a, json_getc(status, "user"), ret);
	if (!audience_fits(a, ret, json_getc(status, "audiences"), api, audiences, n))
		return err_set(e, ERR_UNAUTHORIZED, "the webhook says that the token is for another audience");
	return ret->name.n > 0 ? 0 : err_set(e, ERR_UNAUTHORIZED, "the webhook's answer names no user");
}
