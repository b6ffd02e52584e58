/*
 * Metadata that the server owns: whatever a client sends in these fields, an object has what is said here.
 *
 * Name and namespace are the path's; an object that names others is refused. A new object gets uid, time of creation and first generation, and a
 * name when it asks for one to be made. A changed one keeps what its stored form has of them, and its status, which only the
 * subresource changes. All of it works on the object in memory, and waits for nothing; a webhook that touched the object has it done again.
 */
#include "base/clock.h"
#include "base/util.h"
#include "orchestrator/apiserver/apiserver-priv.h"
#include "orchestrator/apiserver/objects.h"
#include "orchestrator/apiserver/strategy.h"
#include "proto/resource.h"

/* A name made from generateName keeps this many bytes of the prefix, and gets five more. */
#define GENERATED_PREFIX_MAX 58
#define GENERATED_SUFFIX 5

enum step_result api__check_identity(struct api_request *req, struct json *obj)
{
	struct json *meta = api_meta(&req->arena, obj);
	struct str name = json_str(json_getc(meta, "name")), ns = json_str(json_getc(meta, "namespace"));

	if (req->res->namespaced) {
		if (ns.n > 0 && !str_eq(ns, req->at.ns))
			return api_fail(req, ERR_BAD_REQUEST,
					"the namespace of the provided object does not match the namespace sent on the "
					"request");
		json_setc(&req->arena, meta, "namespace", json_new_str(&req->arena, req->at.ns));
	} else {
		json_delc(meta, "namespace");
	}
	if (req->at.verb != API_CREATE && req->at.name.n > 0) {
		/* Whoever replaces an object says which one he means; a forgotten name in the path would take another's place. */
		if (name.n == 0 && !req->local && (req->at.verb == API_UPDATE || !req->old))
			return api_fail(req, ERR_BAD_REQUEST,
					"the name of the object (%.*s based on URL) was undeterminable: name must be provided",
					STR_FMT(req->at.name));
		if (name.n > 0 && !str_eq(name, req->at.name))
			return api_fail(req, ERR_BAD_REQUEST,
					"the name of the object (%.*s) does not match the name on the URL (%.*s)",
					STR_FMT(name), STR_FMT(req->at.name));
		json_setc(&req->arena, meta, "name", json_new_str(&req->arena, req->at.name));
	}
	return STEP_NEXT;
}

void api__generate_name(struct api_request *req, struct json *meta)
{
	struct str prefix = json_str(json_getc(meta, "generateName"));
	char suffix[GENERATED_SUFFIX + 1];

	random_suffix(suffix, GENERATED_SUFFIX);
	prefix = str_sub(prefix, 0, MIN(prefix.n, GENERATED_PREFIX_MAX));
	json_setc(&req->arena, meta, "name", json_newf(&req->arena, "%.*s%s", STR_FMT(prefix), suffix));
}

void api__stamp_new(struct api_request *req, struct json *meta)
{
	static const char *const owned[] = {"selfLink", "resourceVersion", "deletionTimestamp",
			"deletionGracePeriodSeconds", "generation"};

	for (size_t i = 0; i < ARRAY_LEN(owned); i++)
		json_delc(meta, owned[i]);
	if (!req->uid[0])
		random_uuid(req->uid);
	json_setc(&req->arena, meta, "uid", json_newc(&req->arena, req->uid));
	json_setc(&req->arena, meta, "creationTimestamp", api_now(&req->arena));
	if (!req->strat->no_generation && !req->strat->late_generation)
		json_setc(&req->arena, meta, "generation", json_new_int(&req->arena, 1));
}

void api__keep_old(struct api_request *req, struct json *meta)
{
	static const char *const owned[] = {"uid", "creationTimestamp", "deletionTimestamp", "generateName",
			"deletionGracePeriodSeconds", "generation"};
	const struct json *old = json_getc(req->old, "metadata");

	for (size_t i = 0; i < ARRAY_LEN(owned); i++) {
		struct json *v = json_getc(old, owned[i]);

		/* Another uid is not overlooked: validation tells that it cannot be. */
		if (i == 0 && json_str(json_getc(meta, owned[i])).n > 0)
			continue;
		if (json_is_null(v))
			json_delc(meta, owned[i]);
		else
			json_setc(&req->arena, meta, owned[i], v);
	}
	json_delc(meta, "selfLink");
	json_delc(meta, "resourceVersion");
}

/* Only the subresource changes it. */
void api__keep_status(struct api_request *req, struct json *obj)
{
	struct json *status = json_getc(req->old, "status");

	if (status)
		json_setc(&req->arena, obj, "status", status);
	else
		json_delc(obj, "status");
}
