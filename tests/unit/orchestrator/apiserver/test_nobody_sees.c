/*
 * A hundred thousand random requests with random identities: nobody sees what RBAC does not grant.
 *
 * Random roles and bindings, then random requests by random users (certificates' names and organisations, service accounts, strangers,
 * impersonation), straight into the request path on this test's loop. What an answer may be is said by an oracle that
 * shares nothing with the server: a few loops over this test's own arrays. Every object holds a word that names it ("canary"), so whatever
 * form an answer has (JSON, protobuf, tables, partial objects, events of watches), what it shows can be read off it.
 *
 * Writes are dry runs, so that the objects stay what the oracle thinks they are. RBAC_SEED=N begins elsewhere, RBAC_REQUESTS=N makes so many.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/util.h"
#include "io/x509.h"
#include "orchestrator/apiserver/apiserver-priv.h"
#include "tests/unit/orchestrator/apiserver/nobody_world.h"
#include "tests/unit/orchestrator/apiserver/rig.h"

#define SIDE_BY_SIDE 64
#define ROUNDS 50

static uint64_t seed;

struct asked {
	struct api_request *req; /* NULL: over */
	struct who who;
	struct what what;
	struct x509_info peer;
	struct str orgs[6];
	struct http_header headers[10];
	size_t n_headers;
	char target[256], body[600];
	const char *method;
	bool granted, watch, list;
	int odd;         /* label selector; -1: none */
	const char *only_name, *only_ns; /* of the path or a selector; "" */
	unsigned limit;
	int status;
	struct buf answer;
};

static struct asked asked[SIDE_BY_SIDE];
static struct api_loop *al;
static unsigned n_under_way, n_allowed, n_refused, n_seen, n_watches;

static void over(struct asked *a)
{
	ASSERT(a->req && n_under_way > 0);
	a->req = NULL;
	n_under_way--;
}

static void on_respond(struct api_request *req, int status, const struct http_header *h, size_t n, struct buf *body)
{
	struct asked *a = req->owner;

	(void)h, (void)n;
	a->status = status;
	buf_adds(&a->answer, buf_str(body));
	buf_fini(body);
	over(a);
}

static void on_begin(struct api_request *req, int status, const struct http_header *h, size_t n)
{
	(void)h, (void)n;
	((struct asked *)req->owner)->status = status;
}

static void on_write(struct api_request *req, struct str chunk)
{
	buf_adds(&((struct asked *)req->owner)->answer, chunk);
}

static size_t on_queued(struct api_request *req)
{
	(void)req;
	return 0;
}

static void on_end(struct api_request *req)
{
	over(req->owner);
}

static const struct api_responder responder = {.respond = on_respond, .begin = on_begin, .write = on_write, .queued = on_queued,
		.end = on_end, .abort = on_end};

static void add_group(struct who *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void add_group(struct who *w, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(w->groups[w->n_groups++], sizeof(w->groups[0]), fmt, ap);
	va_end(ap);
}

static void header(struct asked *a, const char *name, const char *value)
{
	a->headers[a->n_headers++] = (struct http_header){str_from(name), str_from(value)};
}

/* A certificate's name and organisations, or an administrator who acts as that user. */
static void random_who(struct asked *a)
{
	struct who *w = &a->who;
	bool acts = rnd(5) == 0;

	if (rnd(12) == 0) {
		w->stranger = true;
		snprintf(w->name, sizeof(w->name), "system:anonymous");
		add_group(w, "system:unauthenticated");
		return;
	}
	if (rnd(4) == 0) {
		unsigned ns = rnd(N_NAMESPACES);

		snprintf(w->name, sizeof(w->name), "system:serviceaccount:%s:sa%u", ns_of(ns), rnd(2));
		add_group(w, "system:serviceaccounts");
		add_group(w, "system:serviceaccounts:%s", ns_of(ns));
	} else {
		snprintf(w->name, sizeof(w->name), "u%u", rnd(N_USERS));
		for (unsigned n = rnd(3); n > 0; n--)
			add_group(w, "g%u", rnd(N_GROUPS));
	}
	a->peer.cn = acts ? STR("kubernetes-admin") : str_from(w->name);
	a->peer.orgs = a->orgs;
	if (acts) {
		a->orgs[a->peer.n_orgs++] = STR("system:masters");
		header(a, "Impersonate-User", w->name);
	}
	for (unsigned i = 0; i < w->n_groups; i++) {
		if (acts)
			header(a, "Impersonate-Group", w->groups[i]);
		else
			a->orgs[a->peer.n_orgs++] = str_from(w->groups[i]);
	}
	add_group(w, "system:authenticated");
}

/* Some bytes of the path in escapes: it is the same path. */
static void escape_some(char *out, size_t size, const char *path)
{
	size_t n = 0;

	for (; *path && n + 4 < size; path++)
		n += (size_t)snprintf(out + n, size - n, *path != '/' && rnd(10) == 0 ? "%%%02x" : "%c", (unsigned char)*path);
}

static void random_path(struct asked *a)
{
	static const char *const paths[] = {"/healthz", "/version", "/api", "/apis", "/metrics", "/x/y", "/x/z", "/openapi/v2", "/api/v1", "/livez",
			"/debug/api_priority_and_fairness/dump_requests", "/secret"};
	static const char *const methods[] = {"GET", "GET", "GET", "POST", "PUT", "DELETE"}, *const verbs[] = {"get", "get", "get", "post", "put", "delete"};
	unsigned m = rnd(ARRAY_LEN(methods));

	a->what = (struct what){.verb = verbs[m], .path = PICK(paths), .group = "", .resource = "", .sub = "", .ns = "", .name = ""};
	a->method = methods[m];
	snprintf(a->target, sizeof(a->target), "%s", a->what.path);
}

enum verb { GET, LIST, WATCH, CREATE, UPDATE, PATCH, DELETE, DELETE_COLLECTION, N_VERBS };
static const struct {
	const char *verb, *method;
} verbs[] = {{"get", "GET"}, {"list", "GET"}, {"watch", "GET"}, {"create", "POST"}, {"update", "PUT"}, {"patch", "PATCH"}, {"delete", "DELETE"},
		{"deletecollection", "DELETE"}};

static void random_selectors(struct asked *a, struct buf *query)
{
	if (rnd(3) == 0) {
		a->odd = (int)rnd(2);
		buf_printf(query, "&labelSelector=odd%%3D%d", a->odd);
	}
	if (rnd(3) == 0) {
		a->only_name = name_of(rnd(N_NAMES + 2));
		/* A name in the field selector of a list or watch is the name that is asked for. */
		if (a->list || a->watch)
			a->what.name = a->only_name;
		buf_printf(query, "&fieldSelector=metadata.name%%3D%s", a->only_name);
	}
	if (a->list && rnd(4) == 0) {
		a->limit = 1 + rnd(5);
		buf_printf(query, "&limit=%u", a->limit);
	}
	if (rnd(2))
		buf_addc(query, "&resourceVersion=0");
}

static void random_resource(struct asked *a)
{
	const struct kind *k = &kinds[rnd(N_KINDS)];
	enum verb v = rnd(3) ? rnd(3) : rnd(N_VERBS);
	bool named = v == GET || v == UPDATE || v == PATCH || v == DELETE;
	const char *name = named ? (is_namespaces(k) ? ns_of(rnd(N_NAMESPACES + 1)) : name_of(rnd(N_NAMES + 2))) : "", *sub = "";
	const char *ns = k->namespaced && (named || v == CREATE || v == DELETE_COLLECTION || rnd(3)) ? ns_of(rnd(N_NAMESPACES + 1)) : "";
	struct buf path = BUF_INIT, query = BUF_INIT;

	if ((v == GET || v == UPDATE || v == PATCH) && k->subs[0] && rnd(3) == 0)
		sub = k->subs[k->subs[1] ? rnd(2) : 0];
	a->list = v == LIST;
	a->watch = v == WATCH;
	a->only_name = name;
	a->only_ns = ns;
	a->method = verbs[v].method;
	a->what = (struct what){verbs[v].verb, k, "", k->group, k->plural, sub, ns, name};
	/* A namespace is in itself. */
	if (is_namespaces(k) && name[0])
		a->what.ns = name;
	buf_addc(&path, k->api);
	if (ns[0])
		buf_printf(&path, "/namespaces/%s", ns);
	buf_printf(&path, "/%s%s%s%s%s", k->plural, name[0] ? "/" : "", name, sub[0] ? "/" : "", sub);
	buf_addc(&query, v == WATCH ? "?watch=1" : v > WATCH ? "?dryRun=All" : "?x=y");
	if (v == LIST || v == WATCH || v == DELETE_COLLECTION)
		random_selectors(a, &query);
	escape_some(a->target, sizeof(a->target) - 1, arena_cstr(&rig_arena, buf_str(&path)));
	snprintf(a->target + strlen(a->target), sizeof(a->target) - strlen(a->target), "%s", arena_cstr(&rig_arena, buf_str(&query)));
	if (v == CREATE || v == UPDATE)
		snprintf(a->body, sizeof(a->body), k->body, metadata(k, ns, v == CREATE ? "n9" : name, 0));
	if (v == PATCH)
		snprintf(a->body, sizeof(a->body), "{\"metadata\":{\"labels\":{\"more\":\"x\"}}}");
	if (a->body[0])
		header(a, "Content-Type", v == PATCH ? "application/merge-patch+json" : "application/json");
	buf_fini(&path);
	buf_fini(&query);
}

static void random_form(struct asked *a)
{
	static const char *const forms[] = {"application/json", "application/vnd.kubernetes.protobuf", "application/json;as=Table;g=meta.k8s.io;v=v1",
			"application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json",
			"application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json", "application/yaml"};

	header(a, "Accept", a->what.kind ? PICK(forms) : "*/*");
}

static void make(struct asked *a)
{
	struct buf empty = BUF_INIT;

	buf_fini(&a->answer);
	*a = (struct asked){.odd = -1, .only_name = "", .only_ns = "", .answer = empty};
	buf_init(&a->answer, BUF_NO_LIMIT);
	random_who(a);
	if (rnd(12) == 0)
		random_path(a);
	else
		random_resource(a);
	random_form(a);
	a->granted = is_granted(&a->who, &a->what);
}

static void ask(struct asked *a)
{
	n_under_way++;
	a->req = api_request_new(al, &responder, a);
	a->req->method = str_from(a->method);
	a->req->target = str_from(a->target);
	a->req->headers = (struct http_headers){a->headers, a->n_headers};
	a->req->body = str_from(a->body);
	a->req->remote = STR("10.0.0.1:1");
	a->req->peer = a->who.stranger ? NULL : &a->peer;
	apiserver_handle(a->req);
}

static void bad(const struct asked *a, const char *fmt, const char *more)
{
	char text[256];

	snprintf(text, sizeof(text), fmt, more);
	fail_msg("seed %llu: %s %s as %s (%u groups, first %s), granted %d, status %d: %s\n%.*s", (unsigned long long)seed, a->method, a->target,
			a->who.name, a->who.n_groups, a->who.groups[0], a->granted, a->status, text, (int)MIN(a->answer.n, (size_t)600), a->answer.p);
}

/* "canary:pods:ns0:n1:": the parts, and the position behind; false at the end. */
static bool next_canary(struct str *rest, char kind[32], char ns[32], char name[32])
{
	ptrdiff_t at = str_search(*rest, STR("canary:"));
	struct str s, parts[3];

	if (at < 0)
		return false;
	s = str_skip(*rest, (size_t)at + strlen("canary:"));
	for (int i = 0; i < 3; i++)
		if (!str_cut(s, ':', &parts[i], &s) || parts[i].n > 31)
			return false;
	snprintf(kind, 32, "%.*s", STR_FMT(parts[0]));
	snprintf(ns, 32, "%.*s", STR_FMT(parts[1]));
	snprintf(name, 32, "%.*s", STR_FMT(parts[2]));
	*rest = s;
	return true;
}

static unsigned odd_of(const struct kind *k, const char *name)
{
	return (unsigned)(name[strlen(name) - 1] - '0') % 2 + 0 * (k == NULL);
}

static bool is_selected(const struct asked *a, const char *ns, const char *name)
{
	return (!a->only_ns[0] || strcmp(a->only_ns, ns) == 0) && (!a->only_name[0] || strcmp(a->only_name, name) == 0) &&
	       (a->odd < 0 || odd_of(a->what.kind, name) == (unsigned)a->odd);
}

/* How many of our objects the list has. */
static unsigned expected(const struct asked *a)
{
	const struct kind *k = a->what.kind;
	unsigned n = 0;

	for (unsigned s = 0; s < (k->namespaced ? N_NAMESPACES : 1); s++)
		for (unsigned i = 0; i < (is_namespaces(k) ? N_NAMESPACES : N_NAMES); i++)
			n += is_selected(a, k->namespaced ? ns_of(s) : "", is_namespaces(k) ? ns_of(i) : name_of(i));
	return n;
}

/* Only what was asked for; how many objects. */
static unsigned check_shown(const struct asked *a)
{
	char kind[32], ns[32], name[32], last[100] = "", all[100];
	struct str rest = buf_str(&a->answer);
	unsigned n = 0;

	while (next_canary(&rest, kind, ns, name)) {
		snprintf(all, sizeof(all), "%s %s %s", kind, ns, name);
		if (!a->granted || !a->what.kind)
			bad(a, "it shows %s", all);
		if (strcmp(kind, a->what.kind->plural) != 0)
			bad(a, "it shows %s", all);
		/* What a dry run made is the asker's own. */
		if (strcmp(name, "n9") != 0 && !is_selected(a, ns, name))
			bad(a, "it shows %s, too", all);
		n += strcmp(all, last) != 0;
		snprintf(last, sizeof(last), "%s", all);
	}
	return n;
}

static void check(const struct asked *a)
{
	unsigned shown = check_shown(a);

	n_seen += shown;
	n_allowed += a->granted;
	n_refused += !a->granted;
	if (!a->granted && a->status != 403)
		bad(a, "it was not refused%s", "");
	if (a->granted && a->status == 403)
		bad(a, "it was refused%s", "");
	if (a->granted && a->status >= 500)
		bad(a, "the server failed%s", "");
	/* System namespaces and accounts have no canary but count for a limit, so a page may show fewer. */
	if (a->granted && a->status == 200 && (a->list || a->watch) && (a->limit ? shown > a->limit : shown != expected(a)))
		bad(a, "it shows another number%s", "");
	if (a->granted && a->status == 200 && strcmp(a->what.verb, "get") == 0 && a->what.kind && !a->what.sub[0] && shown != 1)
		bad(a, "it shows not the object%s", "");
	n_watches += a->watch && a->status == 200;
}

/* Requests belong to the loop: they are made and given up in its callbacks only. */
struct in_loop {
	struct loop_timer timer;
	void (*fn)(void);
	int done;
};

static void in_loop_due(struct loop_timer *t)
{
	struct in_loop *il = container_of(t, struct in_loop, timer);

	il->fn();
	il->done = 1;
}

static void in_loop(void (*fn)(void))
{
	struct in_loop il = {.fn = fn};

	loop_timer_start(&il.timer, rig_loop, 0, in_loop_due);
	rig_until(&il.done);
}

static void ask_all(void)
{
	for (size_t i = 0; i < SIDE_BY_SIDE; i++)
		ask(&asked[i]);
}

static void end_begun(void)
{
	/* A watch never ends by itself: when it has begun, it has told all there is (the events are in its first turn). */
	for (size_t i = 0; i < SIDE_BY_SIDE; i++)
		if (asked[i].req && asked[i].watch && asked[i].status == 200)
			api_request_cancel(asked[i].req);
}

static void run_requests(unsigned n)
{
	uint64_t end = clock_mono_ms() + 60000;

	while (n > 0) {
		unsigned some = MIN(n, (unsigned)SIDE_BY_SIDE);

		for (unsigned i = 0; i < SIDE_BY_SIDE; i++)
			make(&asked[i]);
		in_loop(ask_all);
		while (n_under_way > 0 && clock_mono_ms() < end) {
			loop_turn(rig_loop, 20);
			in_loop(end_begun);
		}
		assert_int_equal(n_under_way, 0);
		for (unsigned i = 0; i < SIDE_BY_SIDE; i++)
			check(&asked[i]);
		n -= some;
	}
}

static void wait_begun(void)
{
	uint64_t end = clock_mono_ms() + 60000;
	bool all = false;

	while (!all && clock_mono_ms() < end) {
		loop_turn(rig_loop, 20);
		all = true;
		for (size_t i = 0; i < SIDE_BY_SIDE; i++)
			all = all && (!asked[i].req || asked[i].status == 200);
	}
	assert_true(all);
}

/* Watches by many, then a change of every object: each hears of what it was granted, and of nothing else. */
static void run_watches(void)
{
	unsigned open = 0;

	for (size_t i = 0; i < SIDE_BY_SIDE; i++) {
		do
			make(&asked[i]);
		while (!asked[i].watch);
	}
	in_loop(ask_all);
	wait_begun();
	for (size_t i = 0; i < SIDE_BY_SIDE; i++) {
		open += asked[i].req != NULL;
		if (asked[i].req)
			buf_clear(&asked[i].answer);
	}
	for (size_t k = 0; k < N_KINDS && open > 0; k++)
		for (unsigned n = 0; n < (kinds[k].namespaced ? N_NAMESPACES : 1); n++) {
			rig_type("application/merge-patch+json");
			rig_call("PATCH",
					kinds[k].namespaced ? arena_printf(&rig_arena, "%s/namespaces/%s/%s/n1", kinds[k].api, ns_of(n), kinds[k].plural) :
							      arena_printf(&rig_arena, "%s/%s/%s", kinds[k].api, kinds[k].plural,
									      is_namespaces(&kinds[k]) ? "ns1" : "n1"),
					arena_printf(&rig_arena, "{\"metadata\":{\"labels\":{\"turn\":\"t%u\"}}}", rnd(1000000)), 200);
		}
	for (unsigned i = 0; i < 5; i++)
		loop_turn(rig_loop, 5);
	for (size_t i = 0; i < SIDE_BY_SIDE; i++) {
		if (!asked[i].req)
			continue;
		n_seen += check_shown(&asked[i]);
		n_watches++;
	}
	in_loop(end_begun);
	assert_int_equal(n_under_way, 0);
}

static void test_nobody_sees(void **state)
{
	const char *n = getenv("RBAC_REQUESTS");
	unsigned total = n ? (unsigned)strtoul(n, NULL, 10) : 100000;

	(void)state;
	rig_start();
	al = api__loop_get(rig_server, rig_loop);
	make_world();
	for (unsigned round = 0; round < ROUNDS; round++) {
		for (unsigned i = 0; i < N_ROLES; i++)
			random_role(i);
		for (unsigned i = 0; i < N_BINDINGS; i++)
			random_binding(i);
		run_requests(total / ROUNDS);
		run_watches();
		forget_roles();
	}
	print_message("seed %llu: %u requests, %u granted, %u refused, %u objects seen, %u watches\n", (unsigned long long)seed, total, n_allowed,
			n_refused, n_seen, n_watches);
	/* The test would show nothing if nearly all were refused. */
	assert_true(n_allowed > total / 20 && n_refused > total / 10 && n_seen > total / 20 && n_watches > 100);
	for (size_t i = 0; i < SIDE_BY_SIDE; i++)
		buf_fini(&asked[i].answer);
	api__loop_put(al);
	rig_stop();
}

int main(void)
{
	const char *text = getenv("RBAC_SEED");
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_nobody_sees)};

	seed = text ? strtoull(text, NULL, 10) : 1;
	dice.state = seed;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
