#include "orchestrator/apiserver/convert.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/util.h"
#include "io/http_client.h"
#include "io/x509.h"
#include "orchestrator/apiserver/apiserver-priv.h"
#include "orchestrator/apiserver/conversion.h"
#include "orchestrator/apiserver/hook_target.h"

/* As upstream. */
#define TIMEOUT_S 30
/* Objects of one call, and bytes of them; calls of a loop at one time. */
#define BATCH_OBJECTS 500
#define BATCH_BYTES (1u << 20)
#define MAX_CALLS 8
/* An answer may be larger than the question, but not without bound. */
#define MAX_ANSWER (32u << 20)
#define HASH_SIZE 32

/* One object that is, or will be, converted. Counted: by those who want it and by the call that asks. */
struct item {
	unsigned refs;
	char hash[HASH_SIZE]; /* of definition, version and text */
	struct custom_def *def; /* counted: its address stands in the hash */
	const char *to;       /* of the definition */
	struct str text;      /* owned */
	struct str result;    /* owned; {NULL, 0}: not there */
	char *failure;        /* owned; why not */
	bool over;
	struct list waiters;  /* struct waiter */
};

struct waiter {
	struct list link; /* in item->waiters */
	struct list own;  /* in of->waiters */
	struct convert *of;
};

/* Some objects for one webhook. */
struct call {
	struct api_loop *al;    /* NULL: nobody waits, and the loop's context may be gone */
	struct custom_def *def; /* counted */
	struct list link;       /* in pool->calls, once in pool->queue */
	struct arena arena;
	struct item **items;
	size_t n, bytes;
	struct conversion question;
	struct hook_address to;
	struct service_client *client;
	struct http_call http;
	struct http_header headers[2];
	struct buf body;
	char uid[37];
	unsigned n_tries;
	bool running;
};

/* What one loop converts now. */
struct convert_pool {
	struct map items;    /* hash -> item that is not over */
	struct list queue;   /* calls that wait for others to end */
	struct list calls;   /* calls that run */
	unsigned n_running;
	struct loop_timer timer; /* starts queued calls */
};

struct convert {
	struct custom_conversions base;
	struct api_request *req;
	struct map have;      /* hash -> item */
	struct item **wanted; /* in the request's arena */
	size_t n_wanted, cap;
	size_t n_waiting;     /* items under way */
	bool once;            /* what failed is not asked again */
	struct list waiters;
	const char *failure;
	int64_t revision;
	void (*done)(struct api_request *, const char *why);
};

static void item_unref(struct item *it)
{
	if (--it->refs > 0)
		return;
	free((void *)(uintptr_t)it->text.p);
	free((void *)(uintptr_t)it->result.p);
	free(it->failure);
	custom_def_unref(it->def);
	free(it);
}

static struct str hash_of(const struct item *it)
{
	return str_of(it->hash, HASH_SIZE);
}

static struct str own(struct str s)
{
	return str_of(xstrndup(s.p, s.n), s.n);
}

/* --- What a request has and wants ---------------------------------------------------------------------------------------------- */

static void hash_make(const struct custom_def *d, const char *to, struct str text, char ret[HASH_SIZE])
{
	_cleanup_(buf_fini) struct buf b = BUF_INIT;

	buf_init(&b, BUF_NO_LIMIT);
	buf_printf(&b, "%p %s ", (const void *)d, to);
	buf_adds(&b, text);
	x509_sha256(buf_str(&b), (uint8_t *)ret);
}

static struct convert_pool *pool_of(struct api_loop *al)
{
	if (!al->conversions) {
		al->conversions = xcalloc(1, sizeof(*al->conversions));
		map_init(&al->conversions->items);
		list_init(&al->conversions->queue);
		list_init(&al->conversions->calls);
	}
	return al->conversions;
}

/* The one that others of this loop wait for already, or a new one. */
static struct item *item_get(struct convert *c, const struct custom_def *def, const char hash[HASH_SIZE], struct str text, const char *to)
{
	struct item *it = map_get(&pool_of(c->req->al)->items, str_of(hash, HASH_SIZE));

	if (it) {
		it->refs++;
		return it;
	}
	it = xcalloc(1, sizeof(*it));
	it->refs = 1;
	memcpy(it->hash, hash, HASH_SIZE);
	it->def = custom_def_ref((struct custom_def *)(uintptr_t)def);
	it->to = to;
	it->text = own(text);
	list_init(&it->waiters);
	return it;
}

static bool find(struct custom_conversions *base, const struct custom_def *def, struct str text, const char *to, struct str *ret)
{
	struct convert *c = container_of(base, struct convert, base);
	char hash[HASH_SIZE];
	struct item *it;

	hash_make(def, to, text, hash);
	it = map_get(&c->have, str_of(hash, HASH_SIZE));
	if (it && it->over && it->result.p) {
		*ret = it->result;
		return true;
	}
	if (it && it->over && c->once) {
		if (!c->failure)
			c->failure = arena_strdup(&c->req->arena, it->failure);
		return false;
	}
	/* What failed before is asked again. */
	if (it && it->over) {
		map_del(&c->have, str_of(hash, HASH_SIZE));
		item_unref(it);
		it = NULL;
	}
	if (!it) {
		it = item_get(c, def, hash, text, to);
		map_put(&c->have, hash_of(it), it);
	}
	if (c->n_wanted == c->cap) {
		size_t more = c->cap ? c->cap * 2 : 8;

		c->wanted = arena_grow(&c->req->arena, c->wanted, c->cap * sizeof(*c->wanted), more * sizeof(*c->wanted));
		c->cap = more;
	}
	c->wanted[c->n_wanted++] = it;
	return false;
}

void convert_forget(struct convert *c)
{
	if (!c)
		return;
	ASSERT(c->n_waiting == 0);
	MAP_FOR_EACH (e, &c->have)
		item_unref(e->value);
	map_fini(&c->have);
	map_init(&c->have);
	c->n_wanted = 0;
}

void convert_forget_told(struct convert *c)
{
	struct map told = c->have;

	ASSERT(c->n_waiting == 0);
	map_init(&c->have);
	for (size_t i = 0; i < c->n_wanted; i++)
		if (!map_get(&c->have, hash_of(c->wanted[i]))) {
			c->wanted[i]->refs++;
			map_put(&c->have, hash_of(c->wanted[i]), c->wanted[i]);
		}
	MAP_FOR_EACH (e, &told)
		item_unref(e->value);
	map_fini(&told);
}

static void convert_gone(void *p)
{
	convert_forget(p);
}

static struct convert *make(struct api_request *req)
{
	struct convert *c = arena_new_of(&req->arena, struct convert);

	c->base.find = find;
	c->req = req;
	map_init(&c->have);
	list_init(&c->waiters);
	arena_on_free(&req->arena, convert_gone, c);
	return c;
}

struct convert *convert_new(struct api_request *req)
{
	return req->custom_def->webhook && !req->as_it_lies ? make(req) : NULL;
}

struct custom_conversions *convert_conversions(struct api_request *req)
{
	return req->conv ? &req->conv->base : req->as_it_lies ? &custom_as_it_lies : NULL;
}

struct custom_conversions *convert_asides(struct api_request *req)
{
	if (!req->asides) {
		req->asides = make(req);
		req->asides->once = true;
	}
	return &req->asides->base;
}

bool convert_wants(const struct convert *c)
{
	return c && c->n_wanted > 0;
}

int64_t *convert_revision(struct convert *c)
{
	return &c->revision;
}

/* --- Calls --------------------------------------------------------------------------------------------------------------------- */

static void calls_start(struct api_loop *al);

static void waiters_wake(struct item *it)
{
	while (!list_empty(&it->waiters)) {
		struct waiter *w = LIST_FIRST(&it->waiters, struct waiter, link);
		struct convert *c = w->of;
		struct api_request *req = c->req;

		list_del(&w->link);
		list_del(&w->own);
		free(w);
		if (it->failure && !c->failure)
			c->failure = arena_strdup(&req->arena, it->failure);
		if (--c->n_waiting > 0)
			continue;
		/* The last one: whatever this runs may be the end of the request, but not of the item. */
		req->pending--;
		req->on_cancel = NULL;
		if (c->done && !req->answered)
			c->done(req, c->failure);
		else
			api_wait_over(req);
	}
}

static void call_free(struct call *c)
{
	for (size_t i = 0; i < c->n; i++)
		item_unref(c->items[i]);
	custom_def_unref(c->def);
	buf_fini(&c->body);
	arena_fini(&c->arena);
	free(c);
}

/* It has not begun. */
static void call_drop(struct call *c)
{
	list_del(&c->link);
	for (size_t i = 0; i < c->n; i++)
		map_del(&pool_of(c->al)->items, hash_of(c->items[i]));
	call_free(c);
}

/* why NULL: results[i] for each item. */
static void call_over(struct call *c, const struct str *results, const char *why)
{
	if (why)
		log_warn("apiserver", "conversion of %zu %s.%s to %s: %s", c->n, c->def->plural, c->def->group, c->question.to, why);
	c->running = false;
	for (size_t i = 0; i < c->n; i++) {
		struct item *it = c->items[i];

		map_del(&pool_of(c->al)->items, hash_of(it));
		it->over = true;
		if (why)
			it->failure = xstrdup(why);
		else
			it->result = own(results[i]);
	}
	for (size_t i = 0; i < c->n; i++)
		waiters_wake(c->items[i]);
	/* Who was woken may have been the last user of the loop's context. */
	if (c->al) {
		list_del(&c->link);
		pool_of(c->al)->n_running--;
		calls_start(c->al);
	}
	call_free(c);
}

static void call_failed(struct call *c, const char *why)
{
	struct json *first;
	const char *kind = json_parse(&c->arena, c->items[0]->text, NULL, &first, NULL) == 0 ? conversion_kind(&c->arena, first) : "objects";

	call_over(c, NULL, arena_printf(&c->arena, "conversion webhook for %s failed: %s", kind, why));
}

static bool wanted(const struct call *c)
{
	for (size_t i = 0; i < c->n; i++)
		if (!list_empty(&c->items[i]->waiters))
			return true;
	return false;
}

static void answered(struct call *, const struct err *);

static void called(struct http_call *http, const struct err *e)
{
	struct call *c = container_of(http, struct call, http);

	if (!c->al) {
		http_call_fini(http);
		call_free(c);
	} else if ((e && e->code == ERR_CANCELED && !c->client->closed && wanted(c)) || (hook_call_again(http, e) && c->n_tries++ == 0)) {
		/* Canceled when nobody waited, but somebody has come since. */
		http_call_fini(http);
		http_call_start(c->client->http, http);
	} else {
		answered(c, e);
	}
}

static void answered(struct call *c, const struct err *e)
{
	struct str *results = arena_new_array(&c->arena, struct str, c->n);
	const char *no_answer = hook_call_failure(&c->arena, &c->http, c->to.url, e), *why = NULL;

	if (!no_answer)
		conversion_answer(&c->arena, &c->question, buf_str(&c->http.body_in), results, &why);
	http_call_fini(&c->http);
	service_client_put(c->client);
	if (no_answer)
		call_failed(c, no_answer);
	else
		call_over(c, results, why);
}

static void call_run(struct call *c)
{
	struct str *texts = arena_new_array(&c->arena, struct str, c->n);
	struct hook_target target;
	struct err e = ERR_INIT;

	for (size_t i = 0; i < c->n; i++)
		texts[i] = c->items[i]->text;
	random_uuid(c->uid);
	c->question = (struct conversion){.v1beta1 = conversion_is_v1beta1(json_getc(c->def->webhook, "conversionReviewVersions")),
			.uid = c->uid, .to = c->items[0]->to, .objects = texts, .n = c->n};
	hook_target_read(&c->arena, json_getc(c->def->webhook, "clientConfig"), &target);
	if (hook_target_find(&c->arena, c->al->srv->store, &target, TIMEOUT_S, &c->to, &e) < 0) {
		call_failed(c, arena_printf(&c->arena, "Post \"%s\": %s", c->to.url, e.text));
		return;
	}
	if (service_client_get(api__services(c->al), &c->to.server, &c->client, &e) < 0) {
		call_failed(c, e.text);
		return;
	}
	conversion_question(&c->body, &c->question);
	c->headers[0] = (struct http_header){STR("Content-Type"), STR("application/json")};
	c->headers[1] = (struct http_header){STR("Accept"), STR("application/json, */*")};
	c->http.method = "POST";
	c->http.path = c->to.path;
	c->http.headers = c->headers;
	c->http.n_headers = ARRAY_LEN(c->headers);
	c->http.body = buf_str(&c->body);
	c->http.max_body = MAX_ANSWER;
	c->http.timeout_ms = TIMEOUT_S * 1000ull;
	c->http.done = called;
	c->running = true;
	http_call_start(c->client->http, &c->http);
}

/* Calls that nobody waits for any more. */
static void drop_unwanted(struct convert_pool *p)
{
	LIST_FOR_EACH_SAFE (c, next, &p->queue, struct call, link)
		if (!wanted(c))
			call_drop(c);
	LIST_FOR_EACH (c, &p->calls, struct call, link)
		if (c->running && !wanted(c))
			http_call_cancel(&c->http);
}

/* Never inside the call that asked: a failure may be the end of a request. */
static void calls_due(struct loop_timer *t)
{
	struct convert_pool *p = container_of(t, struct convert_pool, timer);

	while (p->n_running < MAX_CALLS && !list_empty(&p->queue)) {
		struct call *c = LIST_FIRST(&p->queue, struct call, link);

		list_del(&c->link);
		list_add_tail(&p->calls, &c->link);
		p->n_running++;
		call_run(c);
	}
}

static void calls_start(struct api_loop *al)
{
	if (!list_empty(&pool_of(al)->queue))
		loop_timer_start(&pool_of(al)->timer, al->loop, 0, calls_due);
}

/* --- Asking -------------------------------------------------------------------------------------------------------------------- */

static struct call *call_new(struct convert *c, struct custom_def *def)
{
	struct call *call = xcalloc(1, sizeof(*call));

	call->al = c->req->al;
	call->def = custom_def_ref(def);
	arena_init(&call->arena);
	buf_init(&call->body, BUF_NO_LIMIT);
	call->items = arena_new_array(&call->arena, struct item *, BATCH_OBJECTS);
	list_add_tail(&pool_of(call->al)->queue, &call->link);
	return call;
}

static void wait_for(struct convert *c, struct item *it)
{
	struct waiter *w = xcalloc(1, sizeof(*w));

	w->of = c;
	list_add_tail(&c->waiters, &w->own);
	list_add_tail(&it->waiters, &w->link);
	c->n_waiting++;
}

static void abandon(struct convert *c)
{
	struct api_request *req = c->req;

	if (c->n_waiting == 0)
		return;
	while (!list_empty(&c->waiters)) {
		struct waiter *w = LIST_FIRST(&c->waiters, struct waiter, own);

		list_del(&w->link);
		list_del(&w->own);
		free(w);
	}
	c->n_waiting = 0;
	req->pending--;
	drop_unwanted(pool_of(req->al));
}

void convert_abandon(struct api_request *req)
{
	if (req->conv)
		abandon(req->conv);
}

static void canceled(struct api_request *req)
{
	req->on_cancel = NULL;
	convert_abandon(req);
	if (req->asides)
		abandon(req->asides);
	api_wait_over(req);
}

/* Calls that still run end by themselves, on the loop, without us. */
void convert_pool_free(struct convert_pool *p)
{
	if (!p)
		return;
	ASSERT(list_empty(&p->queue));
	loop_timer_stop(&p->timer);
	LIST_FOR_EACH (c, &p->calls, struct call, link)
		c->al = NULL;
	map_fini(&p->items);
	free(p);
}

static void start(struct convert *c, void (*done)(struct api_request *, const char *why))
{
	struct api_request *req = c->req;
	struct convert_pool *p = pool_of(req->al);
	struct call *call = NULL;

	ASSERT(c->n_wanted > 0 && c->n_waiting == 0);
	c->failure = NULL;
	c->done = done;
	for (size_t i = 0; i < c->n_wanted; i++) {
		struct item *it = c->wanted[i];

		wait_for(c, it);
		if (map_get(&p->items, hash_of(it)))
			continue;
		if (!call || call->n == BATCH_OBJECTS || call->bytes + it->text.n > BATCH_BYTES || call->def != it->def ||
				strcmp(call->items[0]->to, it->to) != 0)
			call = call_new(c, it->def);
		call->items[call->n++] = it;
		call->bytes += it->text.n;
		it->refs++;
		map_put(&p->items, hash_of(it), it);
	}
	c->n_wanted = 0;
	req->pending++;
	calls_start(req->al);
}

void convert_start(struct api_request *req, void (*done)(struct api_request *, const char *why))
{
	start(req->conv, done);
}

enum step_result convert_aside(struct api_request *req, const char **ret_why)
{
	struct convert *c = req->asides;

	*ret_why = NULL;
	if (c->n_wanted == 0) {
		*ret_why = c->failure;
		c->failure = NULL;
		return STEP_NEXT;
	}
	start(c, NULL);
	req->on_cancel = canceled;
	return STEP_WAIT;
}

enum step_result api_convert(struct api_request *req)
{
	struct convert *c = req->conv;
	const char *why = c->failure;

	c->failure = NULL;
	if (why) {
		c->n_wanted = 0;
		req->fail.reason = "";
		return api_fail(req, ERR_INTERNAL, "%s", why);
	}
	convert_start(req, NULL);
	req->on_cancel = canceled;
	return STEP_WAIT;
}
