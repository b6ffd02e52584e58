/* /openapi/v2 and /openapi/v3. Without custom resources and other servers the documents depend on nothing but the tables: each is
 * made once, when first asked for. With them each loop keeps those that it was asked for until something changes. */
#include <stdlib.h>

#include "base/map.h"
#include "base/util.h"
#include "orchestrator/apiserver/aggregate_docs.h"
#include "orchestrator/apiserver/aggregate_index.h"
#include "orchestrator/apiserver/aggregate_openapi.h"
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

/* Forget what was made of other definitions, or of what other servers said before. Each of the numbers only grows. */
static void be_current(struct api_loop *al, const struct aggregate_docs *docs)
{
	uint64_t epoch = custom_index_epoch(api__custom(al)) + docs->epoch + aggregate_index_epoch(api__aggregates(al));

	if (al->openapi_epoch != epoch)
		api__openapi_forget(al);
	al->openapi_epoch = epoch;
}

/* Our own. Good until the loop turns. */
static const struct buf *document(struct api_request *req, const char *kind, struct str name, make_fn *make)
{
	struct str key = arena_sprintf(&req->arena, "%s %.*s", kind, STR_FMT(name));
	struct custom_index *ix = api__custom(req->al);
	struct openapi_more more;
	const struct buf *b;

	more.v = custom_index_all(ix, &more.n);
	if (more.n > 0) {
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

/* Those servers which are available; the texts are `docs`' own. */
static size_t available(struct api_request *req, const struct aggregate_docs *docs, struct aggregate_doc **ret)
{
	struct aggregate_doc *v = arena_new_array(&req->arena, struct aggregate_doc, docs->n + 1);
	size_t n = 0;

	for (size_t i = 0; i < docs->n; i++) {
		const struct api_service *s = aggregate_index_remote(api__aggregates(req->al), docs->v[i].group, docs->v[i].version);

		if (s && s->available && docs->v[i].fresh)
			v[n++] = docs->v[i];
	}
	*ret = v;
	return n;
}

typedef void merge_fn(struct arena *, struct buf *out, struct str ours, const struct aggregate_doc *, size_t n);

/* Our own with theirs in it. */
static const struct buf *merged(struct api_request *req, const struct aggregate_docs *docs, const char *kind, make_fn *make, merge_fn *merge)
{
	struct str key = arena_sprintf(&req->arena, "%s merged", kind);
	struct aggregate_doc *v;
	const struct buf *ours;
	size_t n = available(req, docs, &v);
	struct buf *b;

	b = n > 0 ? map_get(&req->al->openapi, key) : NULL;
	if (n > 0 && !b) {
		ours = document(req, kind, STR_NULL, make);
		b = xcalloc(1, sizeof(*b));
		buf_init(b, BUF_NO_LIMIT);
		merge(&req->arena, b, buf_str(ours), v, n);
		map_put(&req->al->openapi, key, b);
	}
	return b ? b : document(req, kind, STR_NULL, make);
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
	struct aggregate_docs *docs = aggregate_docs_get(req->srv);
	const struct buf *doc;

	(void)rest;
	be_current(req->al, docs);
	doc = proto ? document(req, "v2 proto", STR_NULL, make_v2_proto) :
		      merged(req, docs, "v2 json", make_v2_json, aggregate_openapi_v2);
	aggregate_docs_unref(docs);
	return answer_document(req, proto ? V2_PROTO : OPENAPI_V2_JSON, doc);
}

enum step_result api_path_openapi_v3(struct api_request *req, struct str rest)
{
	struct aggregate_docs *docs;
	const struct api_service *s;
	struct str group, version;
	const struct buf *doc;

	s = aggregate_path(rest, &group, &version) ? aggregate_index_remote(api__aggregates(req->al), group, version) : NULL;
	if (s)
		return aggregate_pass_on(req, s);
	docs = aggregate_docs_get(req->srv);
	be_current(req->al, docs);
	doc = rest.n > 1 ? document(req, "v3", str_skip(rest, 1), make_v3) :
			   merged(req, docs, "v3 index", make_v3_index, aggregate_openapi_v3_index);
	aggregate_docs_unref(docs);
	return doc ? answer_document(req, "application/json", doc) : api_path_unknown(req);
}
