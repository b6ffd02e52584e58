#include "proto/schema.h"

#include <stdlib.h>

static int by_name(const void *key, const void *type)
{
	return strcmp(key, ((const struct schema_type *)type)->name);
}

const struct schema_type *schema_type_find(const char *name)
{
	const struct schema_type *t = bsearch(name, schema_types, n_schema_types, sizeof(*schema_types), by_name);

	for (size_t i = 0; !t && i < n_schema_types && strncmp(name, "k8s.io.", 7) == 0; i++)
		if (strcmp(schema_types[i].full_name, name) == 0)
			t = &schema_types[i];
	return t;
}

const struct schema_field *schema_field_find(const struct schema_type *t, struct str key)
{
	size_t lo = 0, hi = key.n > 0 ? t->n_keys : 0;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		const char *k = t->keys[mid].json;
		size_t n = t->keys[mid].field->json_len;
		int c = memcmp(key.p, k, key.n < n ? key.n : n);

		if (c == 0)
			c = (key.n > n) - (key.n < n);
		if (c == 0)
			return t->keys[mid].field;
		if (c < 0)
			hi = mid;
		else
			lo = mid + 1;
	}
	return NULL;
}

const struct schema_field *schema_path(const struct schema_type *t, const char *path)
{
	struct str rest = str_from(path), key;
	const struct schema_field *f = NULL;

	while (rest.n > 0) {
		str_cut(rest, '.', &key, &rest);
		f = t ? schema_field_find(t, key) : NULL;
		if (!f)
			return NULL;
		t = f->type;
	}
	return f;
}
