/* What an applied configuration may not be; the words are upstream's. */
#include "proto/typed.h"

#include "base/buf.h"
#include "base/util.h"
#include "proto/fieldset.h"
#include "proto/typed-priv.h"

/* Errors are collected up to this many. */
#define MAX_ERRORS 100

struct check {
	struct arena *a;
	struct buf out;
	size_t n;
	struct str first;
};

struct place {
	const struct place *up;
	struct str text; /* ".spec" or [name="x"] */
};

static void add_place(struct buf *out, const struct place *p)
{
	if (!p)
		return;
	add_place(out, p->up);
	buf_adds(out, p->text);
}

static void complain(struct check *c, const struct place *p, struct str what)
{
	_cleanup_(buf_fini) struct buf text = BUF_INIT;

	if (c->n >= MAX_ERRORS)
		return;
	add_place(&text, p);
	buf_addc(&text, p ? ": " : "");
	buf_adds(&text, what);
	if (c->n++ == 0)
		c->first = arena_str(c->a, buf_str(&text));
	buf_addc(&c->out, "\n  ");
	buf_adds(&c->out, buf_str(&text));
}

static void wrong_type(struct check *c, const struct place *p, const char *want, const struct json *v)
{
	_cleanup_(buf_fini) struct buf text = BUF_INIT;
	size_t at;

	buf_printf(&text, "expected %s, got &{", want);
	at = text.n;
	json_print_go(&text, v);
	if (text.n > at + 1000)
		text.n = at + 1000;
	buf_addc(&text, "}");
	complain(c, p, buf_str(&text));
}

static const char *go_type(const struct json *v)
{
	static const char *const names[] = {"nil", "bool", "int64", "string", "[]interface {}", "map[string]interface {}"};

	return names[json_type(v)];
}

static void check_scalar(struct check *c, struct typed__shape s, const struct json *v, const struct place *p)
{
	const char *want = NULL;

	if (!s.field || s.type || v->type == JSON_NULL)
		return;
	switch ((enum schema_kind)s.field->kind) {
	case SCHEMA_STRING:
	case SCHEMA_BYTES:
		want = v->type == JSON_STRING ? NULL : "string";
		break;
	case SCHEMA_BOOL:
		want = v->type == JSON_BOOL ? NULL : "boolean";
		break;
	case SCHEMA_INT32:
	case SCHEMA_INT64:
	case SCHEMA_DOUBLE:
		want = v->type == JSON_NUMBER ? NULL : "numeric (int or float)";
		break;
	case SCHEMA_MESSAGE:
		break;
	}
	if (want)
		complain(c, p, arena_sprintf(c->a, "expected %s, got %s", want, go_type(v)));
}

static void check(struct check *c, struct typed__shape s, const struct json *v, const struct place *p);

static void check_object(struct check *c, struct typed__shape s, const struct json *v, const struct place *p)
{
	JSON_MEMBERS (m, v) {
		struct place inner = {p, ARENA_JOIN(c->a, STR("."), m->key)};
		struct typed__shape shape;

		if (!p && (str_eqc(m->key, "kind") || str_eqc(m->key, "apiVersion")))
			continue;
		if (typed__member(s, m->key, &shape))
			check(c, shape, m->value, &inner);
		else
			complain(c, &inner, STR("field not declared in schema"));
	}
}

/* The first key that the element lacks, and that has no default. */
static const char *missing_key(struct typed__shape list, const struct json *v)
{
	for (size_t i = 0; i < list.field->more->n_map_keys; i++) {
		const char *name = list.field->more->map_keys[i];
		const struct schema_field *f = list.type ? schema_field_find(list.type, str_from(name)) : NULL;

		/* Of several keys an optional one may be left out. */
		if (json_is_null(json_getc(v, name)) && !(f && f->more->default_json) &&
				!(list.field->more->n_map_keys > 1 && f && schema_is(f, SCHEMA_OPTIONAL)))
			return name;
	}
	return NULL;
}

static struct str step_path(struct arena *a, struct str step)
{
	struct json *set = json_new_object(a);
	struct str *paths;

	json_set(a, set, step, fieldset_leaf(a));
	return fieldset_paths(a, set, &paths) > 0 ? paths[0] : STR("");
}

static void check_list(struct check *c, struct typed__shape s, const struct json *v, const struct place *p)
{
	struct json *seen = json_new_object(c->a);
	bool keyed = typed__kind(s) == TYPED__KEYED;
	size_t i = 0;

	JSON_ITEMS (it, v) {
		const char *missing = keyed && it->type == JSON_OBJECT ? missing_key(s, it) : NULL;
		struct place inner = {p, STR_NULL};
		struct str step;

		if (keyed && it->type != JSON_OBJECT) {
			complain(c, p, arena_sprintf(c->a, "element %zu: associative list with keys may not have %s elements", i,
						       it->type == JSON_NULL ? "null" : "non-map"));
		} else if (!keyed && (it->type == JSON_ARRAY || it->type == JSON_OBJECT || it->type == JSON_NULL)) {
			complain(c, p, arena_sprintf(c->a, "element %zu: associative list without keys has an element that's %s", i,
						       it->type == JSON_NULL    ? "explicitly null"
						       : it->type == JSON_ARRAY ? "a list type"
										  : "a map type"));
		} else if (missing) {
			complain(c, p, arena_sprintf(c->a,
						       "element %zu: associative list with keys has an element that omits key "
						       "field \"%s\" (and doesn't have default value)",
						       i, missing));
		} else if ((step = typed__element_step(c->a, s, it)).p != NULL) {
			inner.text = step_path(c->a, step);
			if (json_get(seen, step))
				complain(c, p, arena_sprintf(c->a, "duplicate entries for key %.*s", STR_FMT(inner.text)));
			json_set(c->a, seen, step, it);
			check(c, typed__element(s), it, &inner);
		}
		i++;
	}
}

static void check(struct check *c, struct typed__shape s, const struct json *v, const struct place *p)
{
	enum typed__kind kind = typed__kind(s);
	const struct schema_field *f = s.field;
	bool list = f && !s.element && schema_is(f, SCHEMA_REPEATED), map = f && !s.element && schema_is(f, SCHEMA_MAP);
	size_t i = 0;

	if (v->type == JSON_NULL)
		return;
	if (list && v->type != JSON_ARRAY) {
		wrong_type(c, p, "list", v);
	} else if (kind == TYPED__KEYED || kind == TYPED__SET) {
		check_list(c, s, v, p);
	} else if (list) {
		JSON_ITEMS (it, v) {
			struct place inner = {p, arena_sprintf(c->a, "[%zu]", i++)};

			check(c, typed__element(s), it, &inner);
		}
	} else if (map) {
		if (v->type != JSON_OBJECT)
			wrong_type(c, p, "map", v);
		JSON_MEMBERS (m, v) {
			struct place inner = {p, ARENA_JOIN(c->a, STR("."), m->key)};

			check(c, typed__element(s), m->value, &inner);
		}
	} else if (s.type && (s.type->json == SCHEMA_PLAIN || s.type->json == SCHEMA_CUSTOM)) {
		if (v->type != JSON_OBJECT)
			wrong_type(c, p, "map", v);
		else
			check_object(c, (struct typed__shape){s.type, NULL, false}, v, p);
	} else {
		check_scalar(c, s, v, p);
	}
}

struct str typed_check(struct arena *a, const struct schema_type *t, const struct json *config)
{
	struct check c = {.a = a, .out = BUF_INIT};
	struct str text = STR_NULL;

	check(&c, (struct typed__shape){t, NULL, false}, config, NULL);
	if (c.n == 1)
		text = c.first;
	else if (c.n > 1)
		text = arena_sprintf(a, "errors:%.*s", STR_FMT(buf_str(&c.out)));
	buf_fini(&c.out);
	return text;
}
