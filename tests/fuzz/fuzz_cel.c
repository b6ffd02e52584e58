/* A CEL expression, then "\n---\n" and a document for `self` (or none): compiled twice (self dyn, self by a schema) and run. */
#include <stddef.h>
#include <stdint.h>

#include "base/util.h"
#include "proto/cel/cel.h"
#include "proto/field_errs.h"
#include "proto/structural.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t size);

static const char schema[] =
	"{\"type\":\"object\",\"properties\":{\"i\":{\"type\":\"integer\"},\"d\":{\"type\":\"number\"},\"s\":{\"type\":\"string\",\"maxLength\":9},"
	"\"b\":{\"type\":\"string\",\"format\":\"byte\"},\"t\":{\"type\":\"string\",\"format\":\"date-time\"},"
	"\"p\":{\"type\":\"string\",\"format\":\"duration\"},\"x\":{\"x-kubernetes-int-or-string\":true},"
	"\"l\":{\"type\":\"array\",\"items\":{\"type\":\"string\"}},\"set\":{\"type\":\"array\",\"x-kubernetes-list-type\":\"set\","
	"\"items\":{\"type\":\"integer\"}},\"k\":{\"type\":\"array\",\"x-kubernetes-list-type\":\"map\",\"x-kubernetes-list-map-keys\":[\"n\"],"
	"\"items\":{\"type\":\"object\",\"required\":[\"n\"],\"properties\":{\"n\":{\"type\":\"string\"},\"v\":{\"type\":\"integer\"}}}},"
	"\"m\":{\"type\":\"object\",\"additionalProperties\":{\"type\":\"integer\"}}}}";

static const char document[] =
	"{\"i\":1,\"d\":1.5,\"s\":\"text\",\"b\":\"aGk=\",\"t\":\"2020-01-02T03:04:05Z\",\"p\":\"1h\",\"x\":\"5%\",\"l\":[\"a\",\"b\"],"
	"\"set\":[1,2],\"k\":[{\"n\":\"a\",\"v\":1},{\"n\":\"b\"}],\"m\":{\"a\":1},\"null\":null}";

static struct cel_decision decide(struct cel_authorizer *z, struct arena *a, const struct cel_query *q)
{
	(void)z;
	(void)a;
	return (struct cel_decision){.allowed = q->verb.n > 3, .reason = q->name};
}

static void try(struct arena *a, struct str text, const struct json *doc, const struct cel_type *self)
{
	static struct cel_authorizer authorizer = {.check = decide};
	struct cel_env *env = cel_env_new(a, ~0u);
	struct cel_var vars[] = {{.name = "self", .value = cel_from_json(a, doc, self)},
		{.name = "authorizer", .value = cel_value_authorizer(a, &authorizer)}};
	struct cel_run run = {.arena = a, .vars = vars, .n_vars = ARRAY_LEN(vars), .limit = 20000};
	struct str error = STR_NULL;
	struct cel_program *p;
	struct cel_value v;
	const char *why;

	cel_env_var(env, "self", self);
	cel_env_var(env, "authorizer", &cel_authorizer_type);
	p = cel_compile(a, env, text, &error);
	if (p == NULL) {
		ASSERT(error.n > 0);
		return;
	}
	ASSERT(cel_program_cost(p).min <= cel_program_cost(p).max);
	v = cel_run(p, &run);
	if (v.kind == CEL_ERROR)
		ASSERT(v.s.n > 0);
	else
		cel_to_json(a, v, &why);
	cel_value_text(a, v);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct json_opts opts = {.max_nodes = 500};
	struct field_errs errs = {0};
	struct str text = str_of(data, MIN(size, (size_t)4096)), doc_text = str_from(document);
	ptrdiff_t at = str_search(text, STR("\n---\n"));
	struct structural *s;
	struct json *doc, *j;
	struct arena a;

	arena_init(&a);
	if (at >= 0) {
		doc_text = str_skip(text, (size_t)at + 5);
		text = str_sub(text, 0, (size_t)at);
	}
	if (json_parse(&a, doc_text, &opts, &doc, NULL) < 0)
		ASSERT(json_parse(&a, str_from(document), NULL, &doc, NULL) == 0);
	try(&a, text, doc, &cel_dyn);
	ASSERT(json_parse(&a, str_from(schema), NULL, &j, NULL) == 0);
	s = structural_compile(&a, j, NULL, &errs);
	ASSERT(s != NULL);
	try(&a, text, doc, cel_type_structural(&a, s, true));
	arena_fini(&a);
	return 0;
}
