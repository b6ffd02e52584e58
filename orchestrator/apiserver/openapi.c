/* /openapi/v2 and /openapi/v3. Without custom resources the documents depend on nothing but the tables: each is made
 * once, when first asked for. With them each loop keeps those that it was asked for until a definition changes. */
#include <stdlib.h>

#include "base/map.h"
#include "base/util.h"
#include "orchestrator/apiserver/answer.h"
#include "orchestrator/apiserver/custom_index.h"
#include "orchestrator/apiserver/paths.h"
#include "proto/openapi.h"

/* What is asked for has an '@', which is no media type by RFC 6838 and which Go's parser refuses in an answer. */
#define V2_PROTO "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"

typedef bool make_fn(struct buf *, struct str name, const struct openapi_more *);

static struct {
	pthread_mutex_t lock;
	struct map docs; /* "v2 json", "v3 apis/apps/v1" -> struct buf, for ever */
} cache = {PTHREAD_MUTEX_INITIALIZER, MAP_INIT};

static void doc_free(void *doc)
{
	buf_fini(doc);
	free(doc);
}

void api__openapi_forget(struct api_loop *al)
{
	map_fini_with(&al->openapi, doc_free);
	map_init(&al->openapi);
}

/* The document of that name in `docs`, or a new one from make; NULL when there is no such. */
static const struct buf *document_of(struct map *docs, struct str key, struct str name, make_fn *make, const struct openapi_more *more)
{
	struct buf *b = map_get(docs, key);

	if (b)
		return b;
	b = xcalloc(1, sizeof(*b));
	buf_init(b, BUF_NO_LIMIT);
	if (make(b, name, more)) {
		map_put(docs, key, b);
		return b;
	}
	doc_free(b);
	return NULL;
}

/* Good until the loop turns. */
static const struct buf *document(struct api_request *req, const char *kind, struct str name, make_fn *make)
{
	struct str key = arena_sprintf(&req->arena, "%s %.*s", kind, STR_FMT(name));
	struct custom_index *ix = api__custom(req->al);
	struct openapi_more more;
	const struct buf *b;

	more.v = custom_index_all(ix, &more.n);
	if (more.n > 0) {
		if (req->al->openapi_epoch != custom_index_epoch(ix))
			api__openapi_forget(req->al);
		req->al->openapi_epoch = custom_index_epoch(ix);
		return document_of(&req->al->openapi, key, name, make, &more);
	}
	pthread_mutex_lock(&cache.lock);
	b = document_of(&cache.docs, key, name, make, NULL);
	pthread_mutex_unlock(&cache.lock);
	return b;
}

static bool make_v2_json(struct buf *b, struct str name, const struct openapi_more *more)
{
	(void)name;
	openapi_v2_json(b, API_GIT_VERSION, more);
	return true;
}

static bool make_v2_proto(struct buf *b, struct str name, const struct openapi_more *more)
{
	(void)name;
	openapi_v2_proto(b, API_GIT_VERSION, more);
	return true;
}

static bool make_v3_index(struct buf *b, struct str name, const struct openapi_more *more)
{
	(void)name;
	openapi_v3_index(b, API_GIT_VERSION, more);
	return true;
}

static bool make_v3(struct buf *b, struct str name, const struct openapi_more *more)
{
	return openapi_v3_json(b, name, API_GIT_VERSION, more);
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
			document(req, proto ? "v2 proto" : "v2 json", STR_NULL, proto ? make_v2_proto : make_v2_json));
}

enum step_result api_path_openapi_v3(struct api_request *req, struct str rest)
{
	const struct buf *doc;

	if (rest.n <= 1)
		return answer_document(req, "application/json", document(req, "v3 index", STR_NULL, make_v3_index));
	doc = document(req, "v3", str_skip(rest, 1), make_v3);
	return doc ? answer_document(req, "application/json", doc) : api_path_unknown(req);
}
