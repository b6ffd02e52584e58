/* /openapi/v2 and /openapi/v3. The documents depend on nothing but the tables: each is made once, when first asked for. */
#include <stdlib.h>

#include "base/map.h"
#include "base/util.h"
#include "orchestrator/apiserver/answer.h"
#include "orchestrator/apiserver/paths.h"
#include "proto/openapi.h"

/* What is asked for has an '@', which is no media type by RFC 6838 and which Go's parser refuses in an answer. */
#define V2_PROTO "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"

static struct {
	pthread_mutex_t lock;
	struct map docs; /* "v2 json", "v3 apis/apps/v1" -> struct buf, for ever */
} cache = {PTHREAD_MUTEX_INITIALIZER, MAP_INIT};

/* The cached document, or a new one from make; NULL when there is no such. Never freed: borrow it freely. */
static const struct buf *document(struct arena *a, const char *kind, struct str name, bool (*make)(struct buf *, struct str))
{
	struct str key = arena_sprintf(a, "%s %.*s", kind, STR_FMT(name));
	struct buf *b;

	pthread_mutex_lock(&cache.lock);
	b = map_get(&cache.docs, key);
	if (!b) {
		b = xcalloc(1, sizeof(*b));
		buf_init(b, BUF_NO_LIMIT);
		if (make(b, name)) {
			map_put(&cache.docs, key, b);
		} else {
			buf_fini(b);
			free(b);
			b = NULL;
		}
	}
	pthread_mutex_unlock(&cache.lock);
	return b;
}

static bool make_v2_json(struct buf *b, struct str name)
{
	(void)name;
	openapi_v2_json(b, API_GIT_VERSION);
	return true;
}

static bool make_v2_proto(struct buf *b, struct str name)
{
	(void)name;
	openapi_v2_proto(b, API_GIT_VERSION);
	return true;
}

static bool make_v3_index(struct buf *b, struct str name)
{
	(void)name;
	openapi_v3_index(b, API_GIT_VERSION);
	return true;
}

static bool make_v3(struct buf *b, struct str name)
{
	return openapi_v3_json(b, name, API_GIT_VERSION);
}

static enum step_result answer_document(struct api_request *req, const char *type, const struct buf *doc)
{
	struct buf out = BUF_INIT;

	buf_adds(&out, buf_str(doc));
	return api_answer_bytes(req, 200, type, &out);
}

enum step_result api_path_openapi_v2(struct api_request *req, struct str rest)
{
	struct str accept = http_header_get(&req->headers, "accept");
	bool proto = str_search(accept, STR("proto-openapi.spec.v2@v1.0+protobuf")) >= 0 ||
		     str_search(accept, STR("proto-openapi.spec.v2.v1.0+protobuf")) >= 0;

	(void)rest;
	return answer_document(req, proto ? V2_PROTO : OPENAPI_V2_JSON,
			document(&req->arena, proto ? "v2 proto" : "v2 json", STR_NULL, proto ? make_v2_proto : make_v2_json));
}

enum step_result api_path_openapi_v3(struct api_request *req, struct str rest)
{
	const struct buf *doc;

	if (rest.n <= 1)
		return answer_document(req, "application/json", document(&req->arena, "v3 index", STR_NULL, make_v3_index));
	doc = document(&req->arena, "v3", str_skip(rest, 1), make_v3);
	return doc ? answer_document(req, "application/json", doc) : api_path_unknown(req);
}
