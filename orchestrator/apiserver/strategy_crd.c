/*
 * Definitions of custom resources: names are accepted, and with them the definition established, in the transaction that writes
 * it. So who was told 201 finds the resource served by whatever server it asks next.
 */
#include <ctype.h>
#include <string.h>

#include "base/util.h"
#include "orchestrator/apiserver/apiserver-priv.h"
#include "orchestrator/apiserver/custom_index.h"
#include "orchestrator/apiserver/objects.h"
#include "orchestrator/apiserver/strategies.h"
#include "orchestrator/apiserver/txn.h"
#include "proto/json.h"
#include "proto/resource.h"

/* Every version that ever was the stored one is remembered. */
static void remember_stored(struct api_request *req, struct json *status)
{
	struct arena *a = &req->arena;
	struct json *list = json_getc(status, "storedVersions");

	if (!json_is(list, JSON_ARRAY)) {
		list = json_new_array(a);
		json_setc(a, status, "storedVersions", list);
	}
	JSON_ITEMS (v, json_getp(req->obj, "spec.versions"))
		if (json_true(json_getc(v, "storage")) && !api_has_string(list, json_cstr(json_getc(v, "name"))))
			json_push(a, list, json_getc(v, "name"));
}

/* --- Names ------------------------------------------------------------------------------------------------------------------ */

struct taken {
	struct arena *a;
	struct json *resources, *kinds; /* as objects: members are the names */
};

static void take(struct taken *t, struct json *set, struct str name)
{
	if (name.n > 0)
		json_set(t->a, set, name, json_new_bool(t->a, true));
}

static void take_names(void *arg, const struct json *n)
{
	struct taken *t = arg;

	take(t, t->resources, json_str(json_getc(n, "plural")));
	take(t, t->resources, json_str(json_getc(n, "singular")));
	JSON_ITEMS (s, json_getc(n, "shortNames"))
		take(t, t->resources, json_str(s));
	take(t, t->kinds, json_str(json_getc(n, "kind")));
	take(t, t->kinds, json_str(json_getc(n, "listKind")));
}

static void take_builtin(struct taken *t, struct str group)
{
	RESOURCE_FOR_EACH (r) {
		if (!r->served || !str_eqc(group, r->group))
			continue;
		take(t, t->resources, str_from(r->plural));
		take(t, t->kinds, str_from(r->kind));
	}
}

/* What is accepted of the wanted names; *ret_reason and *ret_message tell of the last that is not. */
static struct json *accept(struct taken *t, const struct json *want, const struct json *had, const char **ret_reason,
		const char **ret_message)
{
	static const struct {
		const char *key, *reason;
		bool kind;
	} rows[] = {
			{"plural", "PluralConflict", false},
			{"singular", "SingularConflict", false},
			{"shortNames", "ShortNamesConflict", false},
			{"kind", "KindConflict", true},
			{"listKind", "ListKindConflict", true},
	};
	struct json *out = json_new_object(t->a), *v;

	*ret_reason = NULL;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct json *set = rows[i].kind ? t->kinds : t->resources;
		struct str bad = STR_NULL;

		v = json_getc(want, rows[i].key);
		if (json_is(v, JSON_STRING) && json_get(set, v->s))
			bad = v->s;
		if (json_is(v, JSON_ARRAY))
			JSON_ITEMS (s, v)
				if (json_get(set, json_str(s)))
					bad = json_str(s);
		if (bad.p) {
			*ret_reason = rows[i].reason;
			*ret_message = arena_printf(t->a, "\"%.*s\" is already in use", STR_FMT(bad));
			v = json_getc(had, rows[i].key);
		}
		if (v)
			json_setc(t->a, out, rows[i].key, json_copy(t->a, v));
		else if (strcmp(rows[i].key, "plural") == 0 || strcmp(rows[i].key, "kind") == 0)
			json_setc(t->a, out, rows[i].key, json_newc(t->a, ""));
	}
	v = json_getc(want, "categories");
	if (v)
		json_setc(t->a, out, "categories", json_copy(t->a, v));
	return out;
}

/* --- Conditions -------------------------------------------------------------------------------------------------------------- */

static struct json *condition_get(struct json *status, const char *type)
{
	JSON_ITEMS (c, json_getc(status, "conditions"))
		if (json_eqc(json_getc(c, "type"), type))
			return c;
	return NULL;
}

static void condition_set(struct arena *a, struct json *status, const char *type, bool is, const char *reason, const char *message)
{
	struct json *list = json_getc(status, "conditions"), *c = condition_get(status, type);
	const char *word = is ? "True" : "False";

	if (!json_is(list, JSON_ARRAY)) {
		list = json_new_array(a);
		json_setc(a, status, "conditions", list);
	}
	if (c && json_eqc(json_getc(c, "status"), word) && json_eqc(json_getc(c, "reason"), reason) &&
			json_eqc(json_getc(c, "message"), message))
		return;
	if (!c) {
		c = json_new_object(a);
		json_setc(a, c, "type", json_newc(a, type));
		json_push(a, list, c);
	}
	if (!json_eqc(json_getc(c, "status"), word))
		json_setc(a, c, "lastTransitionTime", api_now(a));
	json_setc(a, c, "status", json_newc(a, word));
	json_setc(a, c, "reason", json_newc(a, reason));
	json_setc(a, c, "message", json_newc(a, message));
}

enum step_result strategy_crd_admit(struct api_request *req)
{
	struct arena *a = &req->arena;
	struct json *status = json_object_at(a, req->obj, "status"), *names = json_getp(req->obj, "spec.names"), *had, *now;
	struct taken t = {a, json_new_object(a), json_new_object(a)};
	const char *reason, *message = NULL;

	/* The validation that follows finds what is wrong with it. */
	if (!status || !json_is(names, JSON_OBJECT))
		return STEP_NEXT;
	had = json_getc(status, "acceptedNames");
	remember_stored(req, status);
	if (condition_get(status, "Established") && had && json_equal(had, names))
		return STEP_NEXT;
	if (api_refresh(req))
		return STEP_WAIT;
	custom_index_names(api__custom(req->al), json_strp(req->obj, "spec.group"), api_name(req->obj), take_names, &t);
	take_builtin(&t, json_strp(req->obj, "spec.group"));
	now = accept(&t, names, had, &reason, &message);
	condition_set(a, status, "NamesAccepted", !reason, reason ? reason : "NoConflicts", reason ? message : "no conflicts found");
	if (!reason)
		condition_set(a, status, "Established", true, "InitialNamesAccepted", "the initial names have been accepted");
	else if (!condition_get(status, "Established"))
		condition_set(a, status, "Established", false, "NotAccepted", "not all names are accepted");
	json_setc(a, status, "acceptedNames", now);
	if (!had || !json_equal(had, now)) {
		txn_if_mod(req->txn, STR(CUSTOM_NAMES_KEY), custom_index_names_rev(api__custom(req->al)));
		txn_put(req->txn, STR(CUSTOM_NAMES_KEY), api_name(req->obj), 0);
	}
	return STEP_NEXT;
}

/* The objects go first: the controller on the leader sees to them, then takes the finalizer away. */
void strategy_crd_marked(struct api_request *req)
{
	struct json *status = json_object_at(&req->arena, req->obj, "status");

	if (status)
		condition_set(&req->arena, status, "Terminating", true, "InstanceDeletionPending",
				"CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon");
}
