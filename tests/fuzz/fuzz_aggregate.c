/*
 * What aggregated API servers say. The first byte says what the rest is: 'd' discovery, 'o' an OpenAPI document, 'a' an answer and
 * 'w' an event for a client in this process, 'c' certificates of front proxies, 'p' a path.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/util.h"
#include "orchestrator/apiserver/aggregate.h"
#include "orchestrator/apiserver/aggregate_docs.h"
#include "orchestrator/apiserver/aggregate_openapi.h"
#include "orchestrator/apiserver/client_remote.h"
#include "orchestrator/apiserver/front_proxy.h"
#include "proto/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t size);

#define OURS "{\"swagger\":\"2.0\",\"paths\":{\"/api/v1/\":{\"get\":{}}},\"definitions\":{\"A\":{\"a\":\"}{\"},\"B\":{\"b\":1}}}"

static void must_parse(struct arena *a, struct str text, struct json **ret)
{
	if (json_parse(a, text, NULL, ret, NULL) < 0)
		abort();
}

static void discovery(struct arena *a, struct str text)
{
	struct json *doc, *out;

	if (json_parse(a, text, NULL, &doc, NULL) == 0)
		must_parse(a, json_text(a, aggregate_version(a, "g.x", "v1", doc)), &out);
}

/* Whatever they say, ours stays as it is, and no name is there twice. */
static void openapi(struct arena *a, struct str text)
{
	struct aggregate_doc d[] = {{.group = STR("g"), .version = STR("v1"), .v2 = text}, {.group = STR("g"), .version = STR("v2"), .v2 = text}};
	struct json *ours, *out;
	struct buf b;

	buf_init(&b, BUF_NO_LIMIT);
	aggregate_openapi_v2(a, &b, STR(OURS), d, ARRAY_LEN(d));
	must_parse(a, STR(OURS), &ours);
	must_parse(a, arena_str(a, buf_str(&b)), &out);
	buf_clear(&b);
	aggregate_openapi_v2_proto(a, &b, STR(OURS), STR(""), d, ARRAY_LEN(d));
	buf_fini(&b);
	JSON_MEMBERS (m, json_getc(ours, "definitions"))
		if (!json_equal(m->value, json_get(json_getc(out, "definitions"), m->key)))
			abort();
	if (!json_equal(json_getc(json_getc(ours, "paths"), "/api/v1/"), json_getc(json_getc(out, "paths"), "/api/v1/")))
		abort();
}

static void config(struct arena *a, struct str text)
{
	struct json *doc = front_proxy_config(a, NULL, STR("CA"), STR("own"), NULL, 0), *data = json_getc(doc, "data");

	json_setc(a, data, "requestheader-client-ca-file", json_new_str(a, text));
	doc = front_proxy_config(a, doc, STR("CA"), STR("own"), NULL, 0);
	/* Once it is as it should be it stays so. */
	if (doc && front_proxy_config(a, doc, STR("CA"), STR("own"), NULL, 0))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t size)
{
	struct str text = str_of(p + 1, size ? size - 1 : 0), one, two;
	enum client_event type;
	struct err e = ERR_INIT;
	struct arena a;
	uint64_t rv;

	if (size == 0)
		return 0;
	log_set_level("error");
	arena_init(&a);
	if (p[0] == 'd')
		discovery(&a, text);
	else if (p[0] == 'o')
		openapi(&a, text);
	else if (p[0] == 'a')
		client_remote_answer(&a, text, &one, &e);
	else if (p[0] == 'w')
		client_remote_event(&a, text, &type, &one, &rv, &e);
	else if (p[0] == 'c')
		config(&a, text);
	else if (aggregate_path(text, &one, &two) && (one.n == 0 || two.n == 0))
		abort();
	arena_fini(&a);
	return 0;
}
