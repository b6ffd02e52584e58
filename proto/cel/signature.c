#include <string.h>

#include "proto/cel/cel-priv.h"

#define LIBRARIES(X) \
	X(operators) \
	X(standard) \
	X(convert) \
	X(lists) \
	X(lists_ext) \
	X(two_vars) \
	X(sets) \
	X(optional) \
	X(strings) \
	X(string_format) \
	X(regex) \
	X(url) \
	X(quantity) \
	X(ip) \
	X(cidr) \
	X(named_format) \
	X(semver) \
	X(authz) \
	X(math) \
	X(encoders) \
	X(jsonpatch)

#define DECLARE(name) extern const struct cel__library cel__lib_##name;
LIBRARIES(DECLARE)

#define POINTER(name) &cel__lib_##name,
const struct cel__library *const cel__libraries[] = {LIBRARIES(POINTER)};
const size_t cel__n_libraries = ARRAY_LEN(cel__libraries);

/* The letters of types that have no parts. */
static const struct {
	char letter;
	const struct cel_type *type;
} letters[] = {
	{'b', &cel_bool},
	{'i', &cel_int},
	{'u', &cel_uint},
	{'d', &cel_double},
	{'s', &cel_string},
	{'y', &cel_bytes},
	{'n', &cel_null},
	{'t', &cel_timestamp},
	{'p', &cel_duration},
	{'*', &cel_dyn},
	{'Q', &cel__opaque_types[OPAQUE_QUANTITY]},
	{'I', &cel__opaque_types[OPAQUE_IP]},
	{'K', &cel__opaque_types[OPAQUE_CIDR]},
	{'U', &cel__opaque_types[OPAQUE_URL]},
	{'F', &cel__opaque_types[OPAQUE_FORMAT]},
	{'V', &cel__opaque_types[OPAQUE_SEMVER]},
	{'Z', &cel__opaque_types[OPAQUE_AUTHORIZER]},
	{'P', &cel__opaque_types[OPAQUE_PATH_CHECK]},
	{'G', &cel__opaque_types[OPAQUE_GROUP_CHECK]},
	{'R', &cel__opaque_types[OPAQUE_RESOURCE_CHECK]},
	{'D', &cel__opaque_types[OPAQUE_DECISION]},
};

static const struct cel_type *letter(char c)
{
	for (size_t i = 0; i < ARRAY_LEN(letters); i++)
		if (letters[i].letter == c)
			return letters[i].type;
	ASSERT(!"a letter of a signature that has no type");
	return NULL;
}

struct reader {
	struct cel__mapping *m;
	const char *at;
	const struct cel_type *params[3]; /* A, B, C of this use */
};

static const struct cel_type *read_type(struct reader *r)
{
	char c = *r->at++;
	const struct cel_type *key;

	switch (c) {
	case 'A':
	case 'B':
	case 'C':
		if (r->params[c - 'A'] == NULL)
			r->params[c - 'A'] = cel__type_param(r->m);
		return r->params[c - 'A'];
	case 'L':
		return cel_type_list(r->m->a, read_type(r));
	case 'O':
		return cel_type_optional(r->m->a, read_type(r));
	case 'T':
		return cel__type_of(r->m->a, read_type(r));
	case 'M':
		key = read_type(r);
		return cel_type_map(r->m->a, key, read_type(r));
	default:
		return letter(c);
	}
}

unsigned cel__signature(struct cel__mapping *m, const struct cel__overload *o, const struct cel_type **types)
{
	struct reader r = {.m = m, .at = o->signature};
	unsigned n = 0;

	while (*r.at != ':') {
		ASSERT(n < CEL__MAX_ARGS);
		types[n++] = read_type(&r);
	}
	r.at++;
	types[n] = read_type(&r);
	return n;
}

/* Past one type; *ret_kind is what it is on the outside, *ret_opaque with CEL_OPAQUE. */
static const char *skip_type(const char *p, enum cel_kind *ret_kind, enum cel__opaque_kind *ret_opaque)
{
	enum cel_kind inner;
	enum cel__opaque_kind ignored;
	char c = *p++;

	switch (c) {
	case 'A':
	case 'B':
	case 'C':
		*ret_kind = CEL_DYN;
		return p;
	case 'L':
	case 'O':
	case 'T':
		*ret_kind = c == 'L' ? CEL_LIST : c == 'O' ? CEL_OPTIONAL : CEL_TYPE;
		return skip_type(p, &inner, &ignored);
	case 'M':
		*ret_kind = CEL_MAP;
		return skip_type(skip_type(p, &inner, &ignored), &inner, &ignored);
	default: {
		const struct cel_type *t = letter(c);

		*ret_kind = t->kind;
		if (t->kind == CEL_OPAQUE)
			*ret_opaque = (enum cel__opaque_kind)(t - cel__opaque_types);
		return p;
	}
	}
}

bool cel__signature_matches(const struct cel__overload *o, const struct cel_value *args, unsigned n)
{
	const char *p = o->signature;
	unsigned i = 0;

	for (; *p != ':'; i++) {
		enum cel_kind kind;
		enum cel__opaque_kind opaque = OPAQUE_N;

		p = skip_type(p, &kind, &opaque);
		if (i >= n)
			return false;
		if (kind == CEL_DYN)
			continue;
		if (args[i].kind != kind || (kind == CEL_OPAQUE && args[i].opaque->kind != opaque))
			return false;
	}
	return i == n;
}

const struct cel__overload **cel__overloads(struct arena *a, unsigned libs, struct str function, size_t *ret_n)
{
	const struct cel__overload **found = NULL;
	size_t n = 0, cap = 0;

	for (size_t i = 0; i < cel__n_libraries; i++) {
		const struct cel__library *l = cel__libraries[i];

		if (l->libs != 0 && !(l->libs & libs))
			continue;
		for (size_t j = 0; j < l->n; j++) {
			if (!str_eqc(function, l->overloads[j].function))
				continue;
			if (n == cap) {
				size_t grown = MAX(cap * 2, (size_t)8);

				found = arena_grow(a, found, cap * sizeof(*found), grown * sizeof(*found));
				cap = grown;
			}
			found[n++] = &l->overloads[j];
		}
	}
	*ret_n = n;
	return found;
}
