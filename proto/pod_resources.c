#include "proto/pod_resources.h"

#include "base/util.h"
#include "proto/json.h"

#define HUGE_PAGES "hugepages-"

static const char *const lists[] = {"containers", "initContainers"};

static bool is_huge(struct str name)
{
	return str_has_prefix(name, STR(HUGE_PAGES));
}

bool pod_level_resource(struct str name)
{
	return str_eqc(name, "cpu") || str_eqc(name, "memory") || is_huge(name);
}

bool resources_amount(const struct json *has, const char *what, struct str resource, struct quantity *ret)
{
	const struct json *v = json_get(json_getc(json_getc(has, "resources"), what), resource);

	if (json_is_null(v))
		return false;
	*ret = quantity_of_json(v);
	return true;
}

bool containers_amount(const struct json *spec, const char *what, struct str resource, struct quantity *ret)
{
	struct quantity sum = QUANTITY_ZERO, sidecars = QUANTITY_ZERO, init = QUANTITY_ZERO, q;
	bool any = false;

	JSON_ITEMS (c, json_getc(spec, "containers"))
		if (resources_amount(c, what, resource, &q)) {
			sum = quantity_add(sum, q);
			any = true;
		}
	JSON_ITEMS (c, json_getc(spec, "initContainers")) {
		if (!resources_amount(c, what, resource, &q))
			continue;
		any = true;
		if (json_eqc(json_getc(c, "restartPolicy"), "Always"))
			sidecars = quantity_add(sidecars, q);
		else
			init = quantity_max(init, quantity_add(sidecars, q));
	}
	*ret = quantity_max(quantity_add(sum, sidecars), init);
	return any;
}

/* --- Defaults ------------------------------------------------------------------------------------------------------------ */

/* What all containers say of resources that `which` names and `to` does not, together. */
static void fill_from_containers(struct arena *a, struct json *spec, const char *what, bool huge, struct json *to, const struct json *unless)
{
	for (size_t i = 0; i < ARRAY_LEN(lists); i++)
		JSON_ITEMS (c, json_getc(spec, lists[i]))
			JSON_MEMBERS (m, json_getc(json_getc(c, "resources"), what)) {
				char text[QUANTITY_SIZE];
				struct quantity q;

				if (!pod_level_resource(m->key) || is_huge(m->key) != huge || json_get(to, m->key) || json_get(unless, m->key) ||
						!containers_amount(spec, what, m->key, &q))
					continue;
				quantity_print(q, text);
				json_set(a, to, m->key, json_newc(a, text));
			}
}

void pod_resources_default(struct arena *a, struct json *spec)
{
	struct json *res = json_getc(spec, "resources"), *limits = json_getc(res, "limits"), *requests = json_getc(res, "requests");

	if (json_len(limits) + json_len(requests) == 0)
		return;
	limits = json_is(limits, JSON_OBJECT) ? limits : json_new_object(a);
	fill_from_containers(a, spec, "limits", true, limits, requests);
	if (json_len(limits) == 0)
		return;
	json_setc(a, res, "limits", limits);
	requests = json_is(requests, JSON_OBJECT) ? requests : json_new_object(a);
	fill_from_containers(a, spec, "requests", false, requests, NULL);
	JSON_MEMBERS (m, limits)
		if (pod_level_resource(m->key) && !json_get(requests, m->key))
			json_set(a, requests, m->key, json_copy(a, m->value));
	if (json_len(requests) > 0)
		json_setc(a, res, "requests", requests);
}
