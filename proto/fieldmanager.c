#include "proto/fieldmanager.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/util.h"
#include "proto/codec.h"
#include "proto/fieldset.h"
#include "proto/schema.h"
#include "proto/typed.h"

/* What `kubectl apply --server-side` is known by, unless it is told another name. */
#define KUBECTL "kubectl"
/* All annotations together; with more, the last applied configuration is not kept. */
#define ANNOTATIONS_MAX (256u << 10)
#define OLD_UPDATES "ancient-changes"

/* --- Entries --------------------------------------------------------------------------------------------------------------- */

struct entry {
	struct str manager, api_version, subresource;
	bool applied;
	struct json *time; /* or NULL */
	struct json *set;  /* NULL: to be dropped */
};
struct managed {
	struct entry *v;
	size_t n;
};

static struct entry *add_entry(struct arena *a, struct managed *m)
{
	m->v = arena_grow(a, m->v, m->n * sizeof(*m->v), (m->n + 1) * sizeof(*m->v));
	m->v[m->n] = (struct entry){.manager = STR("")};
	return &m->v[m->n++];
}

/* `trusted`: it is what we stored, so the sets are canonical. */
static int decode(struct arena *a, const struct json *list, bool trusted, struct managed *m, struct err *e)
{
	JSON_ITEMS (it, list) {
		struct json *fields = json_getc(it, "fieldsV1");
		struct entry *x;

		if (!json_eqc(json_getc(it, "fieldsType"), "FieldsV1"))
			return err_set(e, ERR_BAD_REQUEST, "missing fieldsType in managed fields entry");
		x = add_entry(a, m);
		x->manager = json_str(json_getc(it, "manager"));
		x->api_version = json_str(json_getc(it, "apiVersion"));
		x->subresource = json_str(json_getc(it, "subresource"));
		x->applied = json_eqc(json_getc(it, "operation"), "Apply");
		x->time = json_getc(it, "time");
		if (trusted)
			x->set = json_len(fields) > 0 ? fields : NULL;
		else if (!json_is_null(fields) && fieldset_parse(a, fields, &x->set, e) < 0)
			return -ERR_BAD_REQUEST;
	}
	return 0;
}

static struct json *managed_of(const struct json *obj)
{
	return json_getc(json_getc(obj, "metadata"), "managedFields");
}

static int entry_order(const void *pa, const void *pb)
{
	const struct entry *a = pa, *b = pb;
	int c;

	if (a->applied != b->applied)
		return a->applied ? -1 : 1;
	/* RFC 3339 in UTC sorts as text. */
	if ((c = str_cmp(json_str(a->time), json_str(b->time))) != 0 || (c = str_cmp(a->manager, b->manager)) != 0 ||
			(c = str_cmp(a->api_version, b->api_version)) != 0)
		return c;
	return str_cmp(a->subresource, b->subresource);
}

static struct json *encode_entry(struct arena *a, const struct entry *x)
{
	struct json *j = json_new_object(a);

	if (x->manager.n > 0)
		json_addc(a, j, "manager", json_new_str(a, x->manager));
	json_addc(a, j, "operation", json_newc(a, x->applied ? "Apply" : "Update"));
	json_addc(a, j, "apiVersion", json_new_str(a, x->api_version));
	if (!json_is_null(x->time))
		json_addc(a, j, "time", x->time);
	json_addc(a, j, "fieldsType", json_newc(a, "FieldsV1"));
	json_addc(a, j, "fieldsV1", x->set);
	if (x->subresource.n > 0)
		json_addc(a, j, "subresource", json_new_str(a, x->subresource));
	return j;
}

static void encode(struct arena *a, struct managed *m, struct json *obj)
{
	struct json *meta = json_object_at(a, obj, "metadata"), *list = json_new_array(a);
	size_t n = 0;

	for (size_t i = 0; i < m->n; i++)
		if (m->v[i].set)
			m->v[n++] = m->v[i];
	m->n = n;
	if (n > 1)
		qsort(m->v, n, sizeof(*m->v), entry_order);
	for (size_t i = 0; i < n; i++)
		json_push(a, list, encode_entry(a, &m->v[i]));
	if (!meta)
		return;
	if (n > 0)
		json_setc(a, meta, "managedFields", list);
	else
		json_delc(meta, "managedFields");
}

static struct entry *find_entry(struct managed *m, struct str manager, bool applied, struct str api_version,
		struct str subresource)
{
	for (size_t i = 0; i < m->n; i++) {
		struct entry *x = &m->v[i];

		/* An applier stays the same in whichever version it applies. */
		if (x->applied == applied && str_eq(x->manager, manager) && str_eq(x->subresource, subresource) &&
				(applied || str_eq(x->api_version, api_version)))
			return x;
	}
	return NULL;
}

static struct entry *own_entry(const struct fieldmanager *fm, struct managed *m, bool applied)
{
	struct entry *x = find_entry(m, fm->manager, applied, str_from(fm->api_version), fm->subresource);

	if (!x) {
		x = add_entry(fm->a, m);
		x->manager = fm->manager;
		x->subresource = fm->subresource;
		x->applied = applied;
	}
	x->api_version = str_from(fm->api_version);
	return x;
}

/* --- What nobody owns ------------------------------------------------------------------------------------------------------ */

static bool unowned(const struct fieldmanager *fm, struct str key, bool meta)
{
	static const char *const root[] = {"apiVersion", "kind", NULL};
	static const char *const in_meta[] = {"name", "namespace", "creationTimestamp", "selfLink", "uid", "clusterName",
			"generation", "managedFields", "resourceVersion", NULL};

	for (const char *const *p = meta ? in_meta : root; *p; p++)
		if (str_eqc(key, *p))
			return true;
	return !meta && fm->without_status && str_eqc(key, "status");
}

/* The object without what the server owns; only the two upper levels are new. */
static struct json *ownable(const struct fieldmanager *fm, const struct json *obj)
{
	struct arena *a = fm->a;
	struct json *out = json_new_object(a), *meta = json_new_object(a);

	JSON_MEMBERS (m, obj) {
		bool is_meta = str_eqc(m->key, "metadata") && json_is(m->value, JSON_OBJECT);

		if (!unowned(fm, m->key, false))
			json_add(a, out, m->key, is_meta ? meta : m->value);
		if (is_meta)
			JSON_MEMBERS (k, m->value)
				if (!unowned(fm, k->key, true))
					json_add(a, meta, k->key, k->value);
	}
	return out;
}

/* The paths that an applied configuration claims. */
static struct json *claims_of(const struct fieldmanager *fm, const struct json *config)
{
	struct json *metadata = json_new_object(fm->a);

	json_setc(fm->a, metadata, "f:metadata", fieldset_leaf(fm->a));
	return fieldset_difference(fm->a, typed_fieldset(fm->a, fm->type, ownable(fm, config)), metadata);
}

/* An object that says nothing: fields that are always shown, structs that are always there. */
static struct json *nothing_of(const struct fieldmanager *fm)
{
	struct codec_opts opts = {.bare = true};
	struct json *obj;
	struct err e = ERR_INIT;

	if (codec_wire_to_dom(fm->a, fm->type, STR(""), &opts, &obj, &e) < 0)
		return json_new_object(fm->a);
	return obj;
}

struct empty_object {
	struct arena a;
	struct json *obj;
};
static _Atomic(struct empty_object *) *empty_objects; /* by the place of their type; never changed, and kept for ever */
static pthread_once_t empty_objects_once = PTHREAD_ONCE_INIT;

static void empty_objects_begin(void)
{
	empty_objects = xcalloc(n_schema_types, sizeof(*empty_objects));
}

/* The same, made once for each built-in type: every object that is created is compared with it. It must not be changed. */
static const struct json *nothing_to_read(const struct fieldmanager *fm)
{
	size_t i = (size_t)(fm->type - schema_types);
	struct empty_object *x, *none = NULL;
	struct fieldmanager of = *fm;

	if (fm->type < schema_types || i >= n_schema_types)
		return nothing_of(fm);
	pthread_once(&empty_objects_once, empty_objects_begin);
	x = empty_objects[i];
	if (x)
		return x->obj;
	x = xmalloc(sizeof(*x));
	arena_init(&x->a);
	of.a = &x->a;
	x->obj = nothing_of(&of);
	if (atomic_compare_exchange_strong(&empty_objects[i], &none, x))
		return x->obj;
	arena_fini(&x->a); /* another thread was faster */
	free(x);
	return none->obj;
}

/* --- Update ---------------------------------------------------------------------------------------------------------------- */

/* [{}]: the client wants all of it gone. */
static bool is_reset(const struct json *list)
{
	const struct json *first = json_at(list, 0);

	if (json_len(list) != 1)
		return false;
	JSON_MEMBERS (m, first)
		if (!json_is_null(m->value) && json_str(m->value).n + json_len(m->value) > 0)
			return false;
	return true;
}

/* The entries that a write starts from. */
static void starting_point(const struct fieldmanager *fm, const struct json *live, const struct json *obj, struct managed *m)
{
	struct json *sent = managed_of(obj), *stored = managed_of(live);
	struct err e = ERR_INIT;

	if (fm->subresource.n == 0 && is_reset(sent))
		return;
	if (fm->subresource.n == 0 && json_len(sent) > 0 && !(stored && json_equal(sent, stored)) &&
			decode(fm->a, sent, false, m, &e) == 0)
		return;
	m->n = 0;
	if (decode(fm->a, stored, true, m, &e) < 0)
		m->n = 0;
}

/* What changed is taken from everybody but `self`. */
static void take_from_others(struct arena *a, struct managed *m, const struct typed_diff *d, const struct entry *self)
{
	struct json *gone = fieldset_union(a, fieldset_union(a, d->added, d->modified), d->removed);

	for (size_t i = 0; gone && i < m->n; i++)
		if (&m->v[i] != self)
			m->v[i].set = fieldset_difference(a, m->v[i].set, gone);
}

/* Too many small updaters: the oldest of one version become one. */
static void cap_updates(struct arena *a, struct managed *m)
{
	size_t updates = 0;
	struct entry *first = NULL;

	for (size_t i = 0; i < m->n; i++)
		updates += !m->v[i].applied && m->v[i].set;
	if (updates <= FIELDMANAGER_MAX_UPDATES)
		return;
	qsort(m->v, m->n, sizeof(*m->v), entry_order);
	for (size_t i = 0; i < m->n && updates > FIELDMANAGER_MAX_UPDATES; i++) {
		struct entry *x = &m->v[i];

		if (x->applied || !x->set)
			continue;
		if (!first || !str_eq(first->api_version, x->api_version)) {
			first = x;
			continue;
		}
		first->manager = STR(OLD_UPDATES);
		first->subresource = STR("");
		first->set = fieldset_union(a, first->set, x->set);
		first->time = x->time;
		x->set = NULL;
		updates--;
	}
}

static void record(const struct fieldmanager *fm, struct managed *m, const struct typed_diff *d)
{
	struct json *taken = fieldset_union(fm->a, d->added, d->modified);
	struct entry *x;

	take_from_others(fm->a, m, d, NULL);
	if (taken) {
		x = own_entry(fm, m, false);
		x->set = fieldset_union(fm->a, x->set, taken);
		x->time = json_new_str(fm->a, fm->now);
	}
	cap_updates(fm->a, m);
}

void fieldmanager_update(const struct fieldmanager *fm, const struct json *live, struct json *obj)
{
	struct managed m = {NULL, 0};
	struct typed_diff d;

	starting_point(fm, live, obj, &m);
	/* An object that has no managers gets none by an update: its first apply begins. */
	if (m.n > 0 || !live) {
		typed_compare(fm->a, fm->type, ownable(fm, live ? live : nothing_to_read(fm)), ownable(fm, obj), &d);
		record(fm, &m, &d);
	}
	encode(fm->a, &m, obj);
}

/* --- Conflicts ------------------------------------------------------------------------------------------------------------- */

static struct str shown(struct arena *a, const struct entry *x)
{
	_cleanup_(buf_fini) struct buf text = BUF_INIT;

	json_print_string(&text, x->manager, JSON_RAW_HTML);
	if (x->subresource.n > 0) {
		buf_addc(&text, " with subresource ");
		json_print_string(&text, x->subresource, JSON_RAW_HTML);
	}
	if (!x->applied)
		buf_printf(&text, " using %.*s", STR_FMT(x->api_version));
	return arena_str(a, buf_str(&text));
}

static void add_conflicts(struct arena *a, struct fieldmanager_conflicts *c, const struct entry *x, const struct json *set)
{
	struct str *paths, name = shown(a, x);
	size_t n = fieldset_paths(a, set, &paths);

	c->v = arena_grow(a, c->v, c->n * sizeof(*c->v), (c->n + n) * sizeof(*c->v));
	for (size_t i = 0; i < n; i++)
		c->v[c->n++] = (struct fieldmanager_conflict){name, paths[i]};
}

struct str fieldmanager_conflict_text(struct arena *a, const struct fieldmanager_conflicts *c)
{
	_cleanup_(buf_fini) struct buf text = BUF_INIT;

	if (c->n == 1)
		return arena_sprintf(a, "Apply failed with 1 conflict: conflict with %.*s: %.*s", STR_FMT(c->v[0].manager),
				STR_FMT(c->v[0].field));
	buf_printf(&text, "Apply failed with %zu conflicts: ", c->n);
	for (size_t i = 0; i < c->n; i++) {
		if (i == 0 || !str_eq(c->v[i].manager, c->v[i - 1].manager))
			buf_printf(&text, "%sconflicts with %.*s:", i ? "\n" : "", STR_FMT(c->v[i].manager));
		buf_printf(&text, "\n- %.*s", STR_FMT(c->v[i].field));
	}
	return arena_str(a, buf_str(&text));
}

/* --- Apply ----------------------------------------------------------------------------------------------------------------- */

struct apply {
	const struct fieldmanager *fm;
	struct managed m;
	struct json *live_view, *set; /* live without what nobody owns; the configuration's paths */
	struct json *allowed;         /* conflicts that do not count */
	bool force;
	struct fieldmanager_conflicts *conflicts;
};

static struct json *parents_of(struct apply *p, struct json *set)
{
	return typed_with_parents(p->fm->a, p->fm->type, set);
}

/*
 * What this manager had applied and does not name any more goes, unless somebody else owns it, or it is the way to
 * something that stays.
 */
static struct json *prune(struct apply *p, struct json *merged, struct json *last, struct json *owned)
{
	struct arena *a = p->fm->a;
	const struct schema_type *t = p->fm->type;
	struct json *all, *pruned, *left;

	if (!fieldset_difference(a, last, p->set))
		return merged;
	all = parents_of(p, typed_fieldset(a, t, merged));
	last = parents_of(p, last);
	pruned = typed_remove(a, t, merged, last);
	/* Back with what others, or the new configuration, own. */
	left = parents_of(p, typed_fieldset(a, t, pruned));
	pruned = typed_remove(a, t, merged,
			fieldset_difference(a, fieldset_difference(a, all, left), parents_of(p, owned)));
	/* And with what hung below, but was never ours. */
	left = parents_of(p, typed_fieldset(a, t, pruned));
	return typed_remove(a, t, merged, fieldset_intersection(a, fieldset_difference(a, all, left), last));
}

static struct json *all_owned(struct apply *p)
{
	struct json *set = NULL;

	for (size_t i = 0; i < p->m.n; i++)
		set = fieldset_union(p->fm->a, set, p->m.v[i].set);
	return set;
}

/* Fields of others that the new object changes: a conflict, unless it is forced. */
static int settle(struct apply *p, const struct entry *self, const struct typed_diff *d, struct err *e)
{
	struct arena *a = p->fm->a;
	struct json *taken = fieldset_union(a, d->added, d->modified);

	for (size_t i = 0; i < p->m.n && !p->force; i++) {
		struct entry *x = &p->m.v[i];
		struct json *both = x == self ? NULL : fieldset_intersection(a, x->set, taken);

		both = fieldset_difference(a, both, p->allowed);
		if (both)
			add_conflicts(a, p->conflicts, x, both);
	}
	if (p->conflicts->n > 0)
		return err_set(e, ERR_CONFLICT, "Apply failed with %zu conflicts", p->conflicts->n);
	take_from_others(a, &p->m, d, self);
	return 0;
}

/*
 * An object that kubectl applied from the client's side carries its last configuration. Who goes on with kubectl from the
 * server's side may change what it says, although it belongs to the updates of that time.
 */
static struct json *allowed_by_last_applied(const struct fieldmanager *fm, const struct json *live, const struct json *view)
{
	struct str text = json_str(json_getc(json_getp(live, "metadata.annotations"), FIELDMANAGER_LAST_APPLIED));
	struct json *last, *set;
	struct typed_diff d;
	struct err e = ERR_INIT;

	if (!str_eqc(fm->manager, KUBECTL) || text.n == 0 || json_parse(fm->a, text, NULL, &last, &e) < 0 ||
			!json_is(last, JSON_OBJECT) || typed_check(fm->a, fm->type, last).n > 0)
		return NULL;
	last = ownable(fm, last);
	set = typed_fieldset(fm->a, fm->type, last);
	typed_compare(fm->a, fm->type, last, view, &d);
	set = fieldset_difference(fm->a, set, d.modified);
	set = fieldset_difference(fm->a, set, d.removed);
	return fieldset_difference(fm->a, set, d.added);
}

/* kubectl's record of the last configuration follows, where there is one. */
static void follow_last_applied(const struct fieldmanager *fm, const struct json *config, struct json *obj)
{
	struct arena *a = fm->a;
	struct json *notes = json_getp(obj, "metadata.annotations"), *copy;
	_cleanup_(buf_fini) struct buf text = BUF_INIT;
	size_t size = 0;

	if (!str_eqc(fm->manager, KUBECTL) || json_str(json_getc(notes, FIELDMANAGER_LAST_APPLIED)).n == 0)
		return;
	copy = json_copy(a, config);
	json_delp(copy, "metadata.managedFields");
	json_delc(json_getp(copy, "metadata.annotations"), FIELDMANAGER_LAST_APPLIED);
	json_print(&text, copy, JSON_COMPACT | JSON_SORTED);
	buf_add1(&text, '\n');
	/* The tree shares nodes with live: these levels become its own before they are changed. */
	copy = json_copy(a, json_getc(obj, "metadata"));
	notes = json_getc(copy, "annotations");
	json_setc(a, notes, FIELDMANAGER_LAST_APPLIED, json_new_str(a, buf_str(&text)));
	JSON_MEMBERS (m, notes)
		size += m->key.n + json_str(m->value).n;
	if (size > ANNOTATIONS_MAX)
		json_delc(notes, FIELDMANAGER_LAST_APPLIED);
	json_setc(a, obj, "metadata", copy);
}

static int check_config(const struct fieldmanager *fm, const struct json *config, struct str *ret_why, struct err *e)
{
	struct str version = json_str(json_getc(config, "apiVersion")), why;

	if (!str_eqc(version, fm->api_version))
		return err_set(e, ERR_BAD_REQUEST, "Incorrect version specified in apply patch. Specified patch version: %.*s, expected: %s",
				(int)MIN(version.n, (size_t)80), version.p, fm->api_version);
	if (!json_is_null(managed_of(config)))
		return err_set(e, ERR_BAD_REQUEST, "metadata.managedFields must be nil");
	why = typed_check(fm->a, fm->type, config);
	if (why.n == 0)
		return 0;
	*ret_why = arena_sprintf(fm->a, "failed to create typed patch object (%.*s/%.*s; %s%.*s, Kind=%.*s): %.*s",
			STR_FMT(json_strp(config, "metadata.namespace")), STR_FMT(json_strp(config, "metadata.name")),
			memchr(version.p, '/', version.n) ? "" : "/", STR_FMT(version),
			STR_FMT(json_strp(config, "kind")), STR_FMT(why));
	return err_set(e, ERR_INTERNAL, "failed to create typed patch object");
}

/* Whoever set things before anybody applied is one manager. */
static void before_first_apply(struct apply *p)
{
	struct fieldmanager fm = *p->fm;
	struct typed_diff d;

	fm.manager = STR(FIELDMANAGER_BEFORE_APPLY);
	fm.subresource = STR("");
	typed_compare(fm.a, fm.type, ownable(&fm, nothing_of(&fm)), p->live_view, &d);
	record(&fm, &p->m, &d);
}

/* The metadata gets other managedFields, and the tree shares nodes with live. */
static void own_metadata(struct arena *a, struct json *obj)
{
	struct json *meta = json_new_object(a);

	JSON_MEMBERS (m, json_getc(obj, "metadata"))
		json_set(a, meta, m->key, m->value);
	json_setc(a, obj, "metadata", meta);
}

int fieldmanager_apply(const struct fieldmanager *fm, struct json *live, struct json *config, bool force, struct json **ret,
		struct fieldmanager_conflicts *conflicts, struct str *ret_why, struct err *e)
{
	struct arena *a = fm->a;
	struct apply p = {.fm = fm, .force = force, .conflicts = conflicts};
	struct json *base = live ? live : nothing_of(fm), *merged, *last, *owned;
	struct typed_diff d;
	struct entry *self;
	int rc;

	*conflicts = (struct fieldmanager_conflicts){NULL, 0};
	*ret_why = STR_NULL;
	rc = check_config(fm, config, ret_why, e);
	if (rc < 0)
		return rc;
	p.live_view = ownable(fm, base);
	if (decode(a, managed_of(live), true, &p.m, e) < 0)
		p.m.n = 0;
	if (live && p.m.n == 0)
		before_first_apply(&p);
	p.allowed = live ? allowed_by_last_applied(fm, live, p.live_view) : NULL;
	p.set = claims_of(fm, config);
	/* Sorted first, so that conflicts come by manager; `self` must not move any more. */
	if (p.m.n > 0)
		qsort(p.m.v, p.m.n, sizeof(*p.m.v), entry_order);
	self = own_entry(fm, &p.m, true);
	last = self->set;
	self->set = p.set;
	/* For pruning, the configuration also has what nobody owns: the way to the name stays. */
	owned = fieldset_union(a, all_owned(&p), typed_fieldset(a, fm->type, config));
	merged = prune(&p, typed_merge(a, fm->type, base, config), last, owned);
	typed_compare(a, fm->type, p.live_view, ownable(fm, merged), &d);
	rc = settle(&p, self, &d, e);
	if (rc < 0)
		return rc;
	if (!typed_same(&d) || json_is_null(self->time) || !fieldset_equal(last, p.set))
		self->time = json_new_str(a, fm->now);
	own_metadata(a, merged);
	follow_last_applied(fm, config, merged);
	encode(a, &p.m, merged);
	*ret = merged;
	return 0;
}

bool fieldmanager_same_but_time(const struct json *x, const struct json *y)
{
	if (json_len(x) != json_len(y))
		return false;
	for (size_t i = 0; i < json_len(x); i++)
		JSON_MEMBERS (m, json_at(x, i))
			if (!str_eqc(m->key, "time") && !json_equal(m->value, json_get(json_at(y, i), m->key)))
				return false;
	return true;
}
