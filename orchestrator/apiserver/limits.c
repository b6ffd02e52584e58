#include "orchestrator/apiserver/limits.h"

#include "base/buf.h"
#include "base/util.h"
#include "orchestrator/apiserver/amounts.h"
#include "proto/json.h"
#include "proto/pod_resources.h"

#define ANNOTATION "kubernetes.io/limit-ranger"

/* --- Defaults ------------------------------------------------------------------------------------------------- */

/* Adds what is missing; the names of what was added, "cpu, memory". */
static struct str fill(struct arena *a, struct json *container, const char *what, const struct json *defaults)
{
	_cleanup_(buf_fini) struct buf out = BUF_INIT;
	struct json *res, *have;

	if (json_len(defaults) == 0)
		return STR_NULL;
	res = json_object_at(a, container, "resources");
	have = res ? json_object_at(a, res, what) : NULL;
	JSON_MEMBERS (m, defaults)
		if (have && !json_get(have, m->key)) {
			json_set(a, have, m->key, json_copy(a, m->value));
			buf_printf(&out, "%s%.*s", out.n ? ", " : "", STR_FMT(m->key));
		}
	if (have && json_len(have) == 0)
		json_delc(res, what);
	return arena_str(a, buf_str(&out));
}

static void fill_container(struct arena *a, const struct json *limit, struct json *c, const char *kind, struct buf *notes)
{
	static const struct {
		const char *what, *defaults, *word;
	} rows[] = {{"requests", "defaultRequest", "request"}, {"limits", "default", "limit"}};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct str added = fill(a, c, rows[i].what, json_getc(limit, rows[i].defaults));

		if (added.n > 0)
			buf_printf(notes, "%s%.*s %s for %s %.*s", notes->n ? "; " : "", STR_FMT(added), rows[i].word, kind,
					STR_FMT(json_str(json_getc(c, "name"))));
	}
}

void limits_default_pod(struct arena *a, const struct json *range, struct json *pod)
{
	static const struct {
		const char *list, *kind;
	} lists[] = {{"containers", "container"}, {"initContainers", "init container"}};
	_cleanup_(buf_fini) struct buf notes = BUF_INIT;
	struct json *meta = json_getc(pod, "metadata"), *annotations;

	for (size_t i = 0; i < ARRAY_LEN(lists); i++)
		JSON_ITEMS (c, json_getc(json_getc(pod, "spec"), lists[i].list))
			JSON_ITEMS (limit, json_getp(range, "spec.limits"))
				if (json_eqc(json_getc(limit, "type"), "Container"))
					fill_container(a, limit, c, lists[i].kind, &notes);
	annotations = notes.n && meta ? json_object_at(a, meta, "annotations") : NULL;
	if (annotations)
		json_setc(a, annotations, ANNOTATION, json_newf(a, "LimitRanger plugin set: %.*s", STR_FMT(buf_str(&notes))));
}

/* --- Bounds ------------------------------------------------------------------------------------------------------ */

struct complaints {
	struct arena *arena;
	struct buf text;
	size_t n;
};

static void complain(struct complaints *c, struct str text)
{
	buf_printf(&c->text, "%s%.*s", c->n ? ", " : "", STR_FMT(text));
	c->n++;
}

struct amount {
	bool said;
	struct quantity q;
};

static const char *print(struct arena *a, struct quantity q)
{
	char text[QUANTITY_SIZE];

	quantity_print(q, text);
	return arena_strdup(a, text);
}

static void one_bound(struct complaints *c, bool max, struct str type, struct str resource, struct quantity bound,
		struct amount request, struct amount limit)
{
	struct arena *a = c->arena;
	const char *word = max ? "maximum" : "minimum", *text = print(a, bound);
	struct amount first = max ? limit : request, second = max ? request : limit;
	int sign = max ? 1 : -1;

	if (!first.said)
		complain(c, arena_sprintf(a, "%s %.*s usage per %.*s is %s.  No %s is specified", word, STR_FMT(resource),
					   STR_FMT(type), text, max ? "limit" : "request"));
	else if (quantity_cmp(first.q, bound) * sign > 0)
		complain(c, arena_sprintf(a, "%s %.*s usage per %.*s is %s, but %s is %s", word, STR_FMT(resource), STR_FMT(type),
					   text, max ? "limit" : "request", print(a, first.q)));
	else if (second.said && quantity_cmp(second.q, bound) * sign > 0)
		complain(c, arena_sprintf(a, "%s %.*s usage per %.*s is %s, but %s is %s", word, STR_FMT(resource), STR_FMT(type),
					   text, max ? "request" : "limit", print(a, second.q)));
}

static void ratio(struct complaints *c, struct str type, struct str resource, struct quantity bound, struct amount request,
		struct amount limit)
{
	struct arena *a = c->arena;
	const char *text = print(a, bound);
	double have, may = (double)bound.nano / 1e9;

	if (!request.said || quantity_sign(request.q) == 0) {
		complain(c, arena_sprintf(a, "%.*s max limit to request ratio per %.*s is %s, but no request is specified or request is 0",
					   STR_FMT(resource), STR_FMT(type), text));
		return;
	}
	if (!limit.said || quantity_sign(limit.q) == 0) {
		complain(c, arena_sprintf(a, "%.*s max limit to request ratio per %.*s is %s, but no limit is specified or limit is 0",
					   STR_FMT(resource), STR_FMT(type), text));
		return;
	}
	have = (double)limit.q.nano / (double)request.q.nano;
	if (have > may)
		complain(c, arena_sprintf(a, "%.*s max limit to request ratio per %.*s is %s, but provided ratio is %f",
					   STR_FMT(resource), STR_FMT(type), text, have));
}

typedef bool amount_fn(const struct json *, const char *what, struct str resource, struct quantity *ret);

static void check_limit(struct complaints *c, const struct json *limit, const struct json *thing, amount_fn *amount)
{
	static const char *const bounds[] = {"min", "max", "maxLimitRequestRatio"};
	struct str type = json_str(json_getc(limit, "type"));

	for (size_t i = 0; i < ARRAY_LEN(bounds); i++)
		JSON_MEMBERS (m, json_getc(limit, bounds[i])) {
			struct amount request = {0}, most = {0};

			request.said = amount(thing, "requests", m->key, &request.q);
			most.said = amount(thing, "limits", m->key, &most.q);
			if (i == 2)
				ratio(c, type, m->key, quantity_of_json(m->value), request, most);
			else
				one_bound(c, i == 1, type, m->key, quantity_of_json(m->value), request, most);
		}
}

static struct str complaints_text(struct complaints *c)
{
	struct str out = c->n > 1 ? arena_sprintf(c->arena, "[%.*s]", STR_FMT(buf_str(&c->text))) :
				    arena_str(c->arena, buf_str(&c->text));

	buf_fini(&c->text);
	return out;
}

struct str limits_check_pod(struct arena *a, const struct json *range, const struct json *pod)
{
	static const char *const lists[] = {"containers", "initContainers"};
	struct complaints c = {.arena = a, .text = BUF_INIT};
	const struct json *spec = json_getc(pod, "spec");

	JSON_ITEMS (limit, json_getp(range, "spec.limits")) {
		if (json_eqc(json_getc(limit, "type"), "Container"))
			for (size_t i = 0; i < ARRAY_LEN(lists); i++)
				JSON_ITEMS (ct, json_getc(spec, lists[i]))
					check_limit(&c, limit, ct, resources_amount);
		if (json_eqc(json_getc(limit, "type"), "Pod"))
			check_limit(&c, limit, spec, amount_of_pod);
	}
	return complaints_text(&c);
}

struct str limits_check_claim(struct arena *a, const struct json *range, const struct json *claim)
{
	static const char *const bounds[] = {"min", "max"};
	struct complaints c = {.arena = a, .text = BUF_INIT};
	struct amount want = {0};

	want.said = resources_amount(json_getc(claim, "spec"), "requests", STR("storage"), &want.q);
	JSON_ITEMS (limit, json_getp(range, "spec.limits"))
		for (size_t i = 0; json_eqc(json_getc(limit, "type"), "PersistentVolumeClaim") && i < ARRAY_LEN(bounds); i++)
			JSON_MEMBERS (m, json_getc(limit, bounds[i])) {
				struct quantity bound = quantity_of_json(m->value);

				if (!str_eqc(m->key, "storage"))
					continue;
				if (!want.said)
					complain(&c, arena_sprintf(a, "%simum storage usage per PersistentVolumeClaim is %s.  No request "
								      "is specified",
								       bounds[i], print(a, bound)));
				else if (quantity_cmp(want.q, bound) * (i == 1 ? 1 : -1) > 0)
					complain(&c, arena_sprintf(a, "%simum storage usage per PersistentVolumeClaim is %s, but request "
								      "is %s",
								       bounds[i], print(a, bound), print(a, want.q)));
			}
	return complaints_text(&c);
}
