/* /openapi/v2 and /openapi/v3. Without custom resources and other servers the documents depend on nothing but the tables: each is
 * made once, when first asked for. With them each loop keeps those that it was asked for until something changes. */
#include <inttypes.h>
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

/* Its hash is its ETag. */
struct doc {
	struct buf text;
	uint64_t hash;
};

static struct {
	pthread_mutex_t lock;
	struct map docs; /* "v2 json", "v3 apis/apps/v1" -> struct doc, for ever */
} cache = {PTHREAD_MUTEX_INITIALIZER, MAP_INIT};

static struct doc *doc_new(void)
{
	struct doc *d = xcalloc(1, sizeof(*d));

	buf_init(&d->text, BUF_NO_LIMIT);
	return d;
}

static void doc_free(void *doc)
{
	buf_fini(&((struct doc *)doc)->text);
	free(doc);
}

static const struct doc *doc_keep(struct map *docs, struct str key, struct doc *d)
{
	d->hash = str_hash(buf_str(&d->text));
	map_put(docs, key, d);
	return d;
}

void api__openapi_forget(struct api_loop *al)
{
	map_fini_with(&al->openapi, doc_free);
	map_init(&al->openapi);
}

/* The document of that name in `docs`, or a new one from make; NULL when there is no such. */
static const struct doc *document_of(struct map *docs, struct str key, struct str name, make_fn *make, const struct openapi_more *more)
{
	struct doc *d = map_get(docs, key);

	if (d)
		return d;
	d = doc_new();
	if (make(&d->text, name, more))
		return doc_keep(docs, key, d);
	doc_free(d);
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
static const struct doc *document(struct api_request *req, const char *kind, struct str name, make_fn *make)
{
	struct str key = arena_sprintf(&req->arena, "%s %.*s", kind, STR_FMT(name));
	struct custom_index *ix = api__custom(req->al);
	struct openapi_more more;
	const struct doc *d;

	more.v = custom_index_all(ix, &more.n);
	if (more.n > 0) {
		return document_of(&req->al->openapi, key, name, make, &more);
	}
	pthread_mutex_lock(&cache.lock);
	d = document_of(&cache.docs, key, name, make, NULL);
	pthread_mutex_unlock(&cache.lock);
	return d;
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
static const struct doc *merged(struct api_request *req, const struct aggregate_docs *docs, const char *kind, make_fn *make, merge_fn *merge)
{
	struct str key = arena_sprintf(&req->arena, "%s merged", kind);
	struct aggregate_doc *v;
	const struct doc *d, *ours;
	size_t n = available(req, docs, &v);
	struct doc *fresh;

	if (n == 0)
		return document(req, kind, STR_NULL, make);
	d = map_get(&req->al->openapi, key);
	if (d)
		return d;
	ours = document(req, kind, STR_NULL, make);
	fresh = doc_new();
	merge(&req->arena, &fresh->text, buf_str(&ours->text), v, n);
	return doc_keep(&req->al->openapi, key, fresh);
}

static struct str tag_of(struct api_request *req, uint64_t hash)
{
	return arena_sprintf(&req->arena, "%016" PRIX64, hash);
}

/* What is taken by ours is looked for in the JSON form. */
static const struct doc *merged_proto(struct api_request *req, const struct aggregate_docs *docs)
{
	static const struct str key = STR_INIT("v2 proto merged");
	struct aggregate_doc *v;
	const struct doc *d, *ours, *proto;
	size_t n = available(req, docs, &v);
	struct doc *fresh;

	proto = document(req, "v2 proto", STR_NULL, make_v2_proto);
	d = n > 0 ? map_get(&req->al->openapi, key) : proto;
	if (d)
		return d;
	ours = document(req, "v2 json", STR_NULL, make_v2_json);
	fresh = doc_new();
	aggregate_openapi_v2_proto(&req->arena, &fresh->text, buf_str(&ours->text), buf_str(&proto->text), v, n);
	return doc_keep(&req->al->openapi, key, fresh);
}

static enum step_result answer_document(struct api_request *req, const char *type, const struct doc *doc, struct str tag)
{
	struct buf out = BUF_INIT;

	buf_adds(&out, buf_str(&doc->text));
	return api_answer_tagged(req, type, tag, &out);
}

/* A document under the name that the index gives it is the same for ever; under an old one it has moved. */
static enum step_result answer_version(struct api_request *req, struct str name, const struct doc *doc)
{
	struct str asked = api_query_get(&req->query, "hash"), tag;
	struct openapi_more more;
	struct buf none = BUF_INIT;

	more.v = custom_index_all(api__custom(req->al), &more.n);
	tag = tag_of(req, openapi_v3_hash(name, API_GIT_VERSION, &more));
	if (asked.n == 0)
		return answer_document(req, "application/json", doc, tag);
	if (!str_eq(asked, tag)) {
		req->location = arena_sprintf(&req->arena, "/openapi/v3/%.*s?hash=%.*s", STR_FMT(name), STR_FMT(tag));
		return api_answer_bytes(req, 301, "text/html; charset=utf-8", &none);
	}
	req->cache_control = STR("public, immutable");
	return answer_document(req, "application/json", doc, tag);
}

enum step_result api_path_openapi_v2(struct api_request *req, struct str rest)
{
	struct str accept = http_header_get(&req->headers, "accept");
	bool proto = str_search(accept, STR("proto-openapi.spec.v2@v1.0+protobuf")) >= 0 ||
		     str_search(accept, STR("proto-openapi.spec.v2.v1.0+protobuf")) >= 0;
	struct aggregate_docs *docs = aggregate_docs_get(req->srv);
	const struct doc *doc;

	(void)rest;
	be_current(req->al, docs);
	doc = proto ? merged_proto(req, docs) : merged(req, docs, "v2 json", make_v2_json, aggregate_openapi_v2);
	aggregate_docs_unref(docs);
	return answer_document(req, proto ? V2_PROTO : OPENAPI_V2_JSON, doc, tag_of(req, doc->hash));
}

enum step_result api_path_openapi_v3(struct api_request *req, struct str rest)
{
	struct aggregate_docs *docs;
	const struct api_service *s;
	struct str group, version;
	const struct doc *doc;

	s = aggregate_path(rest, &group, &version) ? aggregate_index_remote(api__aggregates(req->al), group, version) : NULL;
	if (s)
		return aggregate_pass_on(req, s);
	docs = aggregate_docs_get(req->srv);
	be_current(req->al, docs);
	doc = rest.n > 1 ? document(req, "v3", str_skip(rest, 1), make_v3) :
			   merged(req, docs, "v3 index", make_v3_index, aggregate_openapi_v3_index);
	aggregate_docs_unref(docs);
	if (!doc)
		return api_path_unknown(req);
	return rest.n > 1 ? answer_version(req, str_skip(rest, 1), doc) :
			    answer_document(req, "application/json", doc, tag_of(req, doc->hash));
}
