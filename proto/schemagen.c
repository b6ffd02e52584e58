/*
 * schemagen: makes the schema tables (proto/schema.h) from the .proto files, when the program is built.
 *
 *	protoc --include_imports --include_source_info -o all.pb proto/x.proto ... && schemagen < all.pb > schema.tab.c
 *
 * The input is a FileDescriptorSet. It is read with a small wire reader instead of descriptor structs, since the
 * options that matter are extensions, which protobuf-c keeps as unknown fields. Only packages k8s.io.* are written:
 * the etcd and CRI messages have no JSON form here. Any surprise in the input is fatal.
 */
#include <ctype.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/str.h"
#include "base/util.h"
#include "proto/schema.h"

/* The numbers of descriptor.proto and options.proto that are read here. */
enum {
	SET_FILE = 1,
	FILE_PACKAGE = 2, FILE_MESSAGE = 4, FILE_OPTIONS = 8, FILE_SOURCE = 9,
	SOURCE_LOCATION = 1, LOCATION_PATH = 1, LOCATION_LEADING = 3,
	FILE_OPT_ENUM = 50001, FILE_OPT_API_VERSION = 50002,
	STRING_ENUM_NAME = 1, STRING_ENUM_VALUES = 2,
	MSG_NAME = 1, MSG_FIELD = 2, MSG_NESTED = 3, MSG_OPTIONS = 7,
	MSG_OPT_MAP_ENTRY = 7, MSG_OPT_ROOT = 50001, MSG_OPT_JSON = 50002, MSG_OPT_ATOMIC = 50003,
	FIELD_NAME = 1, FIELD_NUMBER = 3, FIELD_LABEL = 4, FIELD_TYPE = 5, FIELD_TYPE_NAME = 6, FIELD_OPTIONS = 8,
	FIELD_JSON_NAME = 10,
	OPT_EMIT = 50001, OPT_POINTER, OPT_REQUIRED, OPT_OPTIONAL, OPT_DEFAULT, OPT_ENUM, OPT_LIST, OPT_MAP_KEY,
	OPT_GRANULARITY, OPT_PATCH_STRATEGY, OPT_PATCH_MERGE_KEY, OPT_FEATURE_GATE, OPT_TYPED = 50014,
};

#define MAX_TYPES 2048
#define MAX_ENUMS 512
#define MAX_KEYS 4

struct gfield {
	struct str name, json, type_name, deflt, enum_name, strategy, merge_key, gate, doc;
	struct str map_keys[MAX_KEYS];
	size_t n_map_keys;
	uint64_t number, label, type, emit, list, granularity;
	bool pointer, required, optional, map, typed;
	int more, ref; /* row of the `more` table (0: the empty one); index of the type, or -1 */
};

struct gtype {
	struct str full, name, api_version, doc;
	uint64_t json;
	bool root, map_entry, atomic;
	struct gfield fields[SCHEMA_MAX_FIELDS];
	size_t n_fields;
};

struct genum {
	struct str name, short_name;
	struct str values[128];
	size_t n_values;
};

static struct gtype *types[MAX_TYPES];
static size_t n_types;
static struct genum *enums[MAX_ENUMS];
static size_t n_enums;

static void die(const char *what, struct str s) __attribute__((noreturn));
static void die(const char *what, struct str s)
{
	fprintf(stderr, "schemagen: %s: %.*s\n", what, STR_FMT(s));
	exit(1);
}

/* --- Reading ----------------------------------------------------------------------------------------------- */

struct item {
	uint64_t number, v; /* v: a varint's value */
	struct str bytes;   /* or a length-delimited payload */
};

static uint64_t varint(struct str *s)
{
	uint64_t v = 0;

	for (unsigned shift = 0; s->n > 0 && shift < 64; shift += 7) {
		uint8_t b = (uint8_t)*s->p;

		*s = str_skip(*s, 1);
		v |= (uint64_t)(b & 0x7f) << shift;
		if (b < 0x80)
			return v;
	}
	die("broken varint", STR_NULL);
}

static bool next_item(struct str *s, struct item *it)
{
	uint64_t tag;

	if (s->n == 0)
		return false;
	tag = varint(s);
	it->number = tag >> 3;
	it->v = 0;
	it->bytes = STR_NULL;
	if ((tag & 7) == 0) {
		it->v = varint(s);
	} else if ((tag & 7) == 2) {
		size_t n = varint(s);

		if (n > s->n)
			die("cut short", STR_NULL);
		it->bytes = str_of(s->p, n);
		*s = str_skip(*s, n);
	} else {
		size_t n = (tag & 7) == 1 ? 8 : 4;

		*s = str_skip(*s, n);
	}
	return true;
}

/* "k8s.io.apimachinery.pkg.apis.meta.v1.ObjectMeta" -> "meta.v1.ObjectMeta" */
static struct str shorten(struct str full)
{
	static const char *const prefixes[] = {
		"k8s.io.apiextensions_apiserver.pkg.apis.", "k8s.io.kube_aggregator.pkg.apis.",
		"k8s.io.metrics.pkg.apis.", "k8s.io.apimachinery.pkg.apis.", "k8s.io.apimachinery.pkg.api.",
		"k8s.io.apimachinery.pkg.util.", "k8s.io.apimachinery.pkg.", "k8s.io.api.",
	};

	for (size_t i = 0; i < ARRAY_LEN(prefixes); i++)
		if (str_has_prefix(full, str_from(prefixes[i])))
			return str_skip(full, strlen(prefixes[i]));
	die("unknown package", full);
}

static struct str join(struct str a, struct str b)
{
	return str_from(xasprintf("%.*s.%.*s", STR_FMT(a), STR_FMT(b)));
}

static void read_field_options(struct gfield *f, struct str s)
{
	struct item it;

	while (next_item(&s, &it))
		switch (it.number) {
		case OPT_EMIT: f->emit = it.v; break;
		case OPT_POINTER: f->pointer = it.v; break;
		case OPT_REQUIRED: f->required = it.v; break;
		case OPT_OPTIONAL: f->optional = it.v; break;
		case OPT_DEFAULT: f->deflt = it.bytes; break;
		case OPT_ENUM: f->enum_name = it.bytes; break;
		case OPT_LIST: f->list = it.v; break;
		case OPT_MAP_KEY:
			if (f->n_map_keys == MAX_KEYS)
				die("too many map keys", f->name);
			f->map_keys[f->n_map_keys++] = it.bytes;
			break;
		case OPT_GRANULARITY: f->granularity = it.v; break;
		case OPT_PATCH_STRATEGY: f->strategy = it.bytes; break;
		case OPT_PATCH_MERGE_KEY: f->merge_key = it.bytes; break;
		case OPT_FEATURE_GATE: f->gate = it.bytes; break;
		case OPT_TYPED: f->typed = it.v; break;
		}
}

static void read_field(struct gtype *t, struct str s)
{
	struct gfield *f = &t->fields[t->n_fields];
	struct item it;

	if (t->n_fields++ == SCHEMA_MAX_FIELDS)
		die("too many fields", t->full);
	f->ref = -1;
	while (next_item(&s, &it))
		switch (it.number) {
		case FIELD_NAME: f->name = it.bytes; break;
		case FIELD_NUMBER: f->number = it.v; break;
		case FIELD_LABEL: f->label = it.v; break;
		case FIELD_TYPE: f->type = it.v; break;
		case FIELD_TYPE_NAME: f->type_name = str_skip(it.bytes, 1); break;
		case FIELD_JSON_NAME: f->json = it.bytes; break;
		case FIELD_OPTIONS: read_field_options(f, it.bytes); break;
		}
	if (f->number > 250)
		die("a field number too large for the tables", f->name);
}

static void read_message(struct str scope, struct str api_version, struct str s)
{
	struct gtype *t = xcalloc(1, sizeof(*t));
	struct item it;
	struct str rest = s, options = STR_NULL;

	if (n_types == MAX_TYPES)
		die("too many types", scope);
	types[n_types++] = t;
	t->api_version = api_version;
	while (next_item(&s, &it))
		if (it.number == MSG_NAME)
			t->full = join(scope, it.bytes);
		else if (it.number == MSG_FIELD)
			read_field(t, it.bytes);
		else if (it.number == MSG_OPTIONS)
			options = it.bytes;
	t->name = shorten(t->full);
	while (next_item(&options, &it))
		if (it.number == MSG_OPT_MAP_ENTRY)
			t->map_entry = it.v;
		else if (it.number == MSG_OPT_ROOT)
			t->root = it.v;
		else if (it.number == MSG_OPT_JSON)
			t->json = it.v;
		else if (it.number == MSG_OPT_ATOMIC)
			t->atomic = it.v;
	while (next_item(&rest, &it))
		if (it.number == MSG_NESTED)
			read_message(t->full, api_version, it.bytes);
}

static void read_enum(struct str package, struct str s)
{
	struct genum *e = xcalloc(1, sizeof(*e));
	struct item it;

	if (n_enums == MAX_ENUMS)
		die("too many enums", package);
	enums[n_enums++] = e;
	while (next_item(&s, &it))
		if (it.number == STRING_ENUM_NAME) {
			e->name = join(package, it.bytes);
			e->short_name = shorten(e->name);
		} else if (it.number == STRING_ENUM_VALUES) {
			if (e->n_values == ARRAY_LEN(e->values))
				die("too many values", e->name);
			e->values[e->n_values++] = it.bytes;
		}
}

/* A comment as one line of text. */
static struct str comment_text(struct str s)
{
	char *out = xmalloc(s.n + 1);
	size_t n = 0;

	for (size_t i = 0; i < s.n; i++) {
		bool space = s.p[i] == ' ' || s.p[i] == '\n';

		if (!space)
			out[n++] = s.p[i];
		else if (n > 0 && out[n - 1] != ' ')
			out[n++] = ' ';
	}
	while (n > 0 && out[n - 1] == ' ')
		n--;
	return str_of(out, n);
}

/* The comments above messages (path 4, i) and their fields (path 4, i, 2, j); `first` is the file's message 0. */
static void read_comments(struct gtype **first, size_t n, struct str source)
{
	struct item location, it;

	while (next_item(&source, &location)) {
		uint64_t path[4] = {0};
		size_t depth = 0;
		struct str comment = STR_NULL;

		if (location.number != SOURCE_LOCATION)
			continue;
		while (next_item(&location.bytes, &it))
			if (it.number == LOCATION_LEADING)
				comment = comment_text(it.bytes);
			else if (it.number == LOCATION_PATH)
				for (; it.bytes.n > 0; depth++) {
					uint64_t v = varint(&it.bytes);

					if (depth < ARRAY_LEN(path))
						path[depth] = v;
				}
		if (comment.n == 0 || path[0] != FILE_MESSAGE || path[1] >= n)
			continue;
		if (depth == 2)
			first[path[1]]->doc = comment;
		else if (depth == 4 && path[2] == MSG_FIELD && path[3] < first[path[1]]->n_fields)
			first[path[1]]->fields[path[3]].doc = comment;
	}
}

static void read_file(struct str s)
{
	struct str rest = s, package = STR_NULL, options = STR_NULL, api_version = STR_INIT(""), source = STR_NULL;
	struct gtype *outer[MAX_TYPES];
	size_t n_outer = 0;
	struct item it;

	while (next_item(&s, &it))
		if (it.number == FILE_PACKAGE)
			package = it.bytes;
		else if (it.number == FILE_OPTIONS)
			options = it.bytes;
		else if (it.number == FILE_SOURCE)
			source = it.bytes;
	if (!str_has_prefix(package, STR("k8s.io.")))
		return;
	while (next_item(&options, &it))
		if (it.number == FILE_OPT_ENUM)
			read_enum(package, it.bytes);
		else if (it.number == FILE_OPT_API_VERSION)
			api_version = it.bytes;
	while (next_item(&rest, &it))
		if (it.number == FILE_MESSAGE) {
			size_t at = n_types;

			read_message(package, api_version, it.bytes);
			outer[n_outer++] = types[at];
		}
	read_comments(outer, n_outer, source);
}

/* --- Working out -------------------------------------------------------------------------------------------- */

/* By name; the entries of maps, which are resolved away, behind all others. */
static int cmp_types(const void *a, const void *b)
{
	const struct gtype *x = *(struct gtype *const *)a, *y = *(struct gtype *const *)b;

	return x->map_entry != y->map_entry ? x->map_entry - y->map_entry : str_cmp(x->name, y->name);
}

static int find_type(struct str full)
{
	for (size_t i = 0; i < n_types; i++)
		if (str_eq(types[i]->full, full))
			return (int)i;
	die("no such type", full);
}

/* A map is a list of entry messages on the wire; here it becomes a field of its value's type. */
static void resolve(void)
{
	for (size_t i = 0; i < n_types; i++)
		for (size_t j = 0; j < types[i]->n_fields; j++) {
			struct gfield *f = &types[i]->fields[j];

			if (f->type != 11)
				continue;
			f->ref = find_type(f->type_name);
			if (types[f->ref]->map_entry) {
				const struct gfield *value = &types[f->ref]->fields[1];

				f->map = true;
				f->type = value->type;
				f->ref = value->type == 11 ? find_type(value->type_name) : -1;
			}
		}
}

static const char *kind_of(const struct gfield *f)
{
	switch (f->type) {
	case 1: return "SCHEMA_DOUBLE";
	case 3: return "SCHEMA_INT64";
	case 5: return "SCHEMA_INT32";
	case 8: return "SCHEMA_BOOL";
	case 9: return "SCHEMA_STRING";
	case 11: return "SCHEMA_MESSAGE";
	case 12: return "SCHEMA_BYTES";
	}
	die("a field type that the codecs do not know", f->name);
}

static int find_enum(const struct gtype *t, struct str name)
{
	struct str package = str_sub(t->name, 0, (size_t)str_rfind(t->name, '.'));
	struct str local = join(package, name);

	for (size_t i = 0; i < n_enums; i++)
		if (str_eq(enums[i]->short_name, local) || str_eq(enums[i]->short_name, name))
			return (int)i;
	die("no such enum", name);
}

/* --- Writing --------------------------------------------------------------------------------------------------- */

static void quoted(struct str s)
{
	putchar('"');
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '"' || s.p[i] == '\\')
			putchar('\\');
		putchar(s.p[i]);
	}
	putchar('"');
}

static void quoted_or_null(struct str s)
{
	if (s.n > 0)
		quoted(s);
	else
		printf("0");
}

static void write_enums(void)
{
	for (size_t i = 0; i < n_enums; i++) {
		printf("static const char *const v%zu[] = {", i);
		for (size_t j = 0; j < enums[i]->n_values; j++) {
			quoted(enums[i]->values[j]);
			printf(", ");
		}
		printf("};\n");
	}
	printf("static const struct schema_enum enums[] = {\n");
	for (size_t i = 0; i < n_enums; i++) {
		printf("\t{");
		quoted(enums[i]->short_name);
		printf(", v%zu, %zu},\n", i, enums[i]->n_values);
	}
	printf("};\n\n");
}

static bool has_more(const struct gfield *f)
{
	return f->enum_name.n || f->deflt.n || f->n_map_keys || f->strategy.n || f->merge_key.n || f->gate.n || f->doc.n;
}

static void write_more(void)
{
	int n = 0;

	for (size_t i = 0; i < n_types; i++)
		for (size_t j = 0; j < types[i]->n_fields; j++) {
			struct gfield *f = &types[i]->fields[j];

			if (!has_more(f))
				continue;
			f->more = ++n;
			if (f->n_map_keys) {
				printf("static const char *const k%d[] = {", n);
				for (size_t k = 0; k < f->n_map_keys; k++) {
					quoted(f->map_keys[k]);
					printf(", ");
				}
				printf("};\n");
			}
		}
	printf("static const struct schema_more more[] = {\n\t{0, 0, 0, 0, 0, 0, 0, 0},\n");
	for (size_t i = 0; i < n_types; i++)
		for (size_t j = 0; j < types[i]->n_fields; j++) {
			struct gfield *f = &types[i]->fields[j];

			if (!f->more)
				continue;
			if (f->enum_name.n)
				printf("\t{&enums[%d], ", find_enum(types[i], f->enum_name));
			else
				printf("\t{0, ");
			quoted_or_null(f->deflt);
			if (f->n_map_keys)
				printf(", k%d, %zu, ", f->more, f->n_map_keys);
			else
				printf(", 0, 0, ");
			quoted_or_null(f->strategy);
			printf(", ");
			quoted_or_null(f->merge_key);
			printf(", ");
			quoted_or_null(f->gate);
			printf(", ");
			quoted_or_null(f->doc);
			printf("},\n");
		}
	printf("};\n\n");
}

static unsigned flags_of(const struct gfield *f)
{
	static const unsigned emit[] = {0, SCHEMA_ALWAYS, SCHEMA_INLINE, SCHEMA_OMITZERO};
	static const unsigned list[] = {0, SCHEMA_LIST_ATOMIC, SCHEMA_LIST_SET, SCHEMA_LIST_MAP};
	static const unsigned granularity[] = {0, SCHEMA_STRUCT_GRANULAR, SCHEMA_STRUCT_ATOMIC};
	unsigned flags = emit[f->emit] | list[f->list] | granularity[f->granularity];

	if (f->map)
		flags |= SCHEMA_MAP;
	else if (f->label == 3)
		flags |= SCHEMA_REPEATED;
	return flags | (f->pointer ? SCHEMA_POINTER : 0) | (f->required ? SCHEMA_REQUIRED : 0) |
	       (f->optional ? SCHEMA_OPTIONAL : 0) | (f->typed ? SCHEMA_TYPED : 0);
}

static void write_fields(size_t i)
{
	const struct gtype *t = types[i];

	if (t->n_fields == 0)
		return;
	printf("static const struct schema_field f%zu[] = {\n", i);
	for (size_t j = 0; j < t->n_fields; j++) {
		const struct gfield *f = &t->fields[j];
		struct str json = f->emit == 2 ? STR_NULL : f->json;

		printf("\t{");
		quoted(json);
		printf(", ");
		quoted(f->name);
		if (f->ref >= 0)
			printf(", &schema_types[%d]", f->ref);
		else
			printf(", 0");
		printf(", &more[%d], %d, 0x%x, %s, %zu},\n", f->more, (int)f->number, flags_of(f), kind_of(f), json.n);
	}
	printf("};\n");
}

struct gkey {
	struct str json;
	size_t type, field;
};

static size_t collect_keys(size_t type, struct gkey *keys, size_t n)
{
	for (size_t j = 0; j < types[type]->n_fields; j++) {
		const struct gfield *f = &types[type]->fields[j];

		if (f->emit == 2) {
			n = collect_keys((size_t)f->ref, keys, n);
			continue;
		}
		if (n == 2 * SCHEMA_MAX_FIELDS)
			die("too many keys", types[type]->full);
		keys[n++] = (struct gkey){f->json, type, j};
	}
	return n;
}

static int cmp_keys(const void *a, const void *b)
{
	return str_cmp(((const struct gkey *)a)->json, ((const struct gkey *)b)->json);
}

static size_t write_keys(size_t i)
{
	struct gkey keys[2 * SCHEMA_MAX_FIELDS];
	size_t n = collect_keys(i, keys, 0);

	if (n == 0)
		return 0;
	qsort(keys, n, sizeof(*keys), cmp_keys);
	printf("static const struct schema_key k_%zu[] = {\n", i);
	for (size_t j = 0; j < n; j++) {
		if (j > 0 && str_eq(keys[j].json, keys[j - 1].json))
			die("two fields with one JSON key", types[i]->full);
		printf("\t{");
		quoted(keys[j].json);
		printf(", &f%zu[%zu]},\n", keys[j].type, keys[j].field);
	}
	printf("};\n");
	return n;
}

static size_t write_numbers(size_t i)
{
	const struct gtype *t = types[i];
	uint8_t index[256] = {0};
	size_t max = 0;

	for (size_t j = 0; j < t->n_fields; j++) {
		index[t->fields[j].number] = (uint8_t)(j + 1);
		max = MAX(max, t->fields[j].number);
	}
	if (t->n_fields == 0)
		return 0;
	printf("static const uint8_t n%zu[] = {", i);
	for (size_t j = 0; j <= max; j++)
		printf("%d, ", index[j]);
	printf("};\nstatic const uint8_t o%zu[] = {", i);
	for (size_t j = 0; j <= max; j++)
		if (index[j])
			printf("%d, ", index[j] - 1);
	printf("};\n");
	return max + 1;
}

static bool is_list(const struct gtype *t)
{
	return t->root && t->n_fields == 2 && str_eq(t->fields[1].json, STR("items"));
}

static void write_types(void)
{
	static size_t n_keys[MAX_TYPES], n_numbers[MAX_TYPES];

	for (size_t i = 0; i < n_types; i++)
		write_fields(i);
	for (size_t i = 0; i < n_types; i++) {
		n_keys[i] = write_keys(i);
		n_numbers[i] = write_numbers(i);
	}
	printf("const size_t n_schema_types = %zu;\n", n_types);
	printf("const struct schema_type schema_types[] = {\n");
	for (size_t i = 0; i < n_types; i++) {
		const struct gtype *t = types[i];

		printf("\t{");
		quoted(t->name);
		printf(", ");
		quoted(t->full);
		printf(", ");
		quoted(str_skip(t->name, (size_t)str_rfind(t->name, '.') + 1));
		printf(", ");
		quoted(t->api_version);
		printf(", ");
		quoted_or_null(t->doc);
		if (t->n_fields)
			printf(", f%zu, k_%zu, n%zu, o%zu, ", i, i, i, i);
		else
			printf(", 0, 0, 0, 0, ");
		printf("%zu, %zu, %zu, %d, %d, %d, %d, 0, 0},\n", t->n_fields, n_keys[i], n_numbers[i], (int)t->json, t->root,
		       is_list(t), t->atomic);
	}
	printf("};\n");
}

int main(void)
{
	struct buf in = BUF_INIT;
	struct str s;
	struct item it;
	size_t n;

	while ((n = fread(buf_reserve(&in, 65536), 1, 65536, stdin)) > 0)
		buf_advance(&in, n);
	s = buf_str(&in);
	while (next_item(&s, &it))
		if (it.number == SET_FILE)
			read_file(it.bytes);
	qsort(types, n_types, sizeof(*types), cmp_types);
	resolve();
	while (n_types > 0 && types[n_types - 1]->map_entry)
		n_types--;
	printf("/* Made by schemagen from proto/x.proto; see proto/schema.h. */\n#include \"proto/schema.h\"\n\n");
	write_enums();
	write_more();
	write_types();
	buf_fini(&in);
	if (ferror(stdin) || fflush(stdout) != 0 || ferror(stdout))
		die("cannot write", STR_NULL);
	return 0;
}
