/*
 * Priority and fairness without a server: seats by demand, classification, the default objects. Random parts begin at the seed in
 * FLOW_SEED, and print theirs when they fail.
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
#include "orchestrator/apiserver/flow_config.h"
#include "orchestrator/apiserver/flow_default.h"
#include "orchestrator/apiserver/flow_drops.h"
#include "orchestrator/apiserver/flow_limits.h"
#include "orchestrator/apiserver/request.h"
#include "proto/json.h"
#include "tests/lib/json_words.h"
#include "tests/lib/rng.h"
#include "tests/lib/test_arena.h"

static uint64_t seed;

/* --- Seats -------------------------------------------------------------------------------------------------------------- */

static void test_bounds(void **state)
{
	static const struct flow_share shares[] = {{30, 33, -1}, {40, 25, -1}, {10, 0, -1}, {40, 50, 50}, {100, 90, 0}, {20, 50, -1}, {5, 0, -1}, {0, 0, -1}};
	static const unsigned nominal[] = {74, 98, 25, 98, 245, 49, 13, 0}, lower[] = {50, 73, 25, 49, 24, 24, 13, 0};
	struct flow_bounds b[ARRAY_LEN(shares)];

	(void)state;
	/* The documentation's example: 600 seats and the default levels. */
	flow_bounds(600, shares, ARRAY_LEN(shares), b);
	for (size_t i = 0; i < ARRAY_LEN(shares); i++) {
		assert_int_equal(b[i].nominal, nominal[i]);
		assert_int_equal(b[i].lower, lower[i]);
	}
	assert_int_equal(b[3].upper, 147);
	assert_int_equal(b[4].upper, 245);
	assert_int_equal(b[0].upper, INT32_MAX);
}

static void test_divide_property(void **state)
{
	(void)state;
	for (unsigned round = 0; round < 20000; round++) {
		struct rng r = {seed + round};
		unsigned n = 1 + (unsigned)rng_below(&r, 9), demand[16], got[16], want = 0, sum = 0, nominal = 0;
		struct flow_share share[16];
		struct flow_bounds b[16];
		bool unmet = false, slack = false;

		for (unsigned i = 0; i < n; i++)
			share[i] = (struct flow_share){(unsigned)rng_below(&r, 100), (unsigned)rng_below(&r, 101), (int)rng_below(&r, 300) - 100};
		for (unsigned i = 0; i < n; i++)
			share[i].borrowing_percent = MAX(share[i].borrowing_percent, -1);
		flow_bounds(1 + (unsigned)rng_below(&r, 1000), share, n, b);
		for (unsigned i = 0; i < n; i++)
			demand[i] = rng_below(&r, 3) ? (unsigned)rng_below(&r, 400) : 0;
		flow_divide(b, demand, n, got);
		for (unsigned i = 0; i < n; i++) {
			want += demand[i];
			sum += got[i];
			nominal += b[i].nominal;
			unmet |= got[i] < MIN(demand[i], b[i].upper);
			slack |= got[i] > MAX(b[i].lower, demand[i]);
			if (got[i] < MIN(demand[i], b[i].nominal) || got[i] < b[i].lower || got[i] > MAX(b[i].nominal, b[i].upper))
				fail_msg("seed %llu: level %u has %u", (unsigned long long)(seed + round), i, got[i]);
		}
		if (sum > nominal || (unmet && slack))
			fail_msg("seed %llu: %u seats of %u given, unmet %d slack %d", (unsigned long long)(seed + round), sum, nominal, unmet,
					slack);
	}
}

static void test_split_property(void **state)
{
	(void)state;
	for (unsigned round = 0; round < 20000; round++) {
		struct rng r = {seed + round};
		unsigned n = 1 + (unsigned)rng_below(&r, 8), limit = (unsigned)rng_below(&r, 300), demand[8], got[8], sum = 0;
		bool unmet = false, slack = false;

		for (unsigned i = 0; i < n; i++)
			demand[i] = (unsigned)rng_below(&r, 100);
		flow_split(limit, rng_below(&r, 4) ? demand : NULL, n, got);
		for (unsigned i = 0; i < n; i++)
			sum += got[i];
		flow_split(limit, demand, n, got);
		for (unsigned i = 0; i < n; i++) {
			unmet |= got[i] < demand[i];
			slack |= got[i] > MAX(demand[i], 1u);
			assert_true(got[i] >= 1);
		}
		if (sum != MAX(limit, n) || (unmet && slack))
			fail_msg("seed %llu: %u of %u", (unsigned long long)(seed + round), sum, limit);
	}
}

/* --- Classification ---------------------------------------------------------------------------------------------------------- */

static struct json *parse(const char *text)
{
	return json_must(&a, str_from(json_quoted(&a, text)));
}

static struct flow_config *defaults(unsigned seats)
{
	struct flow_config *c = flow_config_new();
	struct flow_default d;

	for (size_t pos = 0; flow_default_next(&a, &pos, &d);)
		if (strcmp(d.plural, FLOW_LEVELS) == 0)
			flow_config_add_level(c, d.doc);
		else
			flow_config_add_schema(c, d.doc);
	flow_config_done(c, seats);
	return c;
}

/* who: "name group group"; what: "verb group resource[/sub] ns" or "verb /path". */
static const struct flow_schema *ask(const struct flow_config *c, const char *who, const char *what)
{
	struct str groups[8], word, rest = str_from(who);
	struct api_user u = {.groups = groups};
	struct flow_question q = {.user = &u};

	str_cut(rest, ' ', &u.name, &rest);
	while (rest.n > 0) {
		str_cut(rest, ' ', &word, &rest);
		groups[u.n_groups++] = word;
	}
	rest = str_from(what);
	str_cut(rest, ' ', &q.verb, &rest);
	if (rest.p[0] == '/') {
		q.path = rest;
		return flow_config_match(c, &q);
	}
	q.is_resource = true;
	str_cut(rest, ' ', &q.group, &rest);
	if (str_eqc(q.group, "core"))
		q.group = STR_NULL;
	str_cut(rest, ' ', &word, &q.ns);
	str_cut(word, '/', &q.resource, &q.sub);
	return flow_config_match(c, &q);
}

#define NODE "system:node:n1 system:nodes system:authenticated"
#define CONTROLLER "system:serviceaccount:kube-system:job-controller system:serviceaccounts system:authenticated"

static void test_classify(void **state)
{
	static const struct {
		const char *who, *what, *schema, *level;
	} rows[] = {
			{"root system:masters system:authenticated", "list core secrets ", "exempt", "exempt"},
			{"jane system:authenticated", "list core pods default", "global-default", "global-default"},
			{"jane system:authenticated", "get /healthz", "probes", "exempt"},
			{"jane system:authenticated", "get /healthz/ping", "global-default", "global-default"},
			{"system:anonymous system:unauthenticated", "get /livez", "probes", "exempt"},
			{"system:anonymous system:unauthenticated", "post /livez", "global-default", "global-default"},
			{NODE, "update coordination.k8s.io leases kube-node-lease", "system-node-high", "node-high"},
			{NODE, "patch core nodes/status ", "system-node-high", "node-high"},
			{NODE, "patch core nodes ", "system-node-high", "node-high"},
			{NODE, "patch core nodes/proxy ", "system-nodes", "system"},
			{NODE, "patch core pods/status default", "system-nodes", "system"},
			{"system:kube-scheduler system:authenticated", "update coordination.k8s.io leases kube-system", "system-leader-election",
					"leader-election"},
			{"system:kube-scheduler system:authenticated", "create core pods/binding default", "kube-scheduler", "workload-high"},
			{"system:kube-controller-manager system:authenticated", "update core endpoints x", "endpoint-controller", "workload-high"},
			{CONTROLLER, "update core configmaps kube-system", "workload-leader-election", "leader-election"},
			{CONTROLLER, "delete core pods default", "kube-system-service-accounts", "workload-high"},
			{"system:serviceaccount:default:bot system:serviceaccounts system:authenticated", "list core pods default",
					"service-accounts", "workload-low"},
			{"nobody", "list core pods default", "catch-all", "catch-all"},
	};
	struct flow_config *c = defaults(600);

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct flow_schema *s = ask(c, rows[i].who, rows[i].what);

		if (!str_eqc(s->name, rows[i].schema) || !str_eqc(s->level->name, rows[i].level))
			fail_msg("%s, %s: %.*s, %.*s", rows[i].who, rows[i].what, STR_FMT(s->name), STR_FMT(s->level->name));
	}
	flow_config_free(c);
}

#define RULES(subject) "'rules':[{'subjects':[" subject "],'resourceRules':[{'verbs':['list','get'],'apiGroups':['apps'],"  \
		       "'resources':['deployments','deployments/scale'],'namespaces':['a','b']}],"                                \
		       "'nonResourceRules':[{'verbs':['get'],'nonResourceURLs':['/x/*','/y']}]}]"
#define SCHEMA(name, precedence, level, subject)                                                                                   \
	"{'metadata':{'name':'" name "'},'spec':{'priorityLevelConfiguration':{'name':'" level "'},'matchingPrecedence':" precedence \
	"," RULES(subject) "}}"
#define USER(name) "{'kind':'User','user':{'name':'" name "'}}"
#define GROUP(name) "{'kind':'Group','group':{'name':'" name "'}}"
#define ACCOUNT(ns, name) "{'kind':'ServiceAccount','serviceAccount':{'namespace':'" ns "','name':'" name "'}}"

static void test_match(void **state)
{
	static const char *const schemas[] = {SCHEMA("z", "500", "low", USER("jane")), SCHEMA("b", "700", "low", GROUP("*")),
			SCHEMA("a", "700", "low", GROUP("dev")), SCHEMA("first", "10", "gone", USER("*")),
			SCHEMA("sa", "20", "low", ACCOUNT("n", "*"))};
	static const struct {
		const char *who, *what, *schema;
	} rows[] = {
			{"jane dev", "list apps deployments a", "z"},
			{"jane dev", "get apps deployments/scale b", "z"},
			{"jane dev", "get apps deployments/status b", "catch-all"},
			{"jane dev", "list apps deployments c", "catch-all"},
			{"jane dev", "list apps deployments ", "catch-all"},
			{"jane dev", "watch apps deployments a", "catch-all"},
			{"jane dev", "list core deployments a", "catch-all"},
			{"john dev", "list apps deployments a", "a"},
			{"john ops", "list apps deployments a", "b"},
			{"john", "get /x/y", "b"},
			{"john", "get /y", "b"},
			{"john", "get /y/z", "catch-all"},
			{"john", "get /x", "catch-all"},
			{"system:serviceaccount:n:s", "get /y", "sa"},
			{"system:serviceaccount:m:s", "get /y", "b"},
	};
	struct flow_config *c = flow_config_new();

	(void)state;
	flow_config_add_level(c, parse("{'metadata':{'name':'low'},'spec':{'type':'Limited','limited':{'nominalConcurrencyShares':1,"
				       "'limitResponse':{'type':'Reject'}}}}"));
	for (size_t i = 0; i < ARRAY_LEN(schemas); i++)
		flow_config_add_schema(c, parse(schemas[i]));
	flow_config_done(c, 10);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct flow_schema *s = ask(c, rows[i].who, rows[i].what);

		if (!str_eqc(s->name, rows[i].schema))
			fail_msg("%s, %s: %.*s", rows[i].who, rows[i].what, STR_FMT(s->name));
	}
	flow_config_free(c);
}

/* Whatever is stored: an answer, and no more queues than there may be. */
static void test_odd_objects(void **state)
{
	struct flow_config *c = flow_config_new();

	(void)state;
	flow_config_add_level(c, parse("{}"));
	flow_config_add_level(c, parse("{'metadata':{'name':'x'},'spec':{'type':'Limited','limited':{'nominalConcurrencyShares':-5,"
				       "'lendablePercent':700,'limitResponse':{'type':'Queue','queuing':{'queues':10000000,'handSize':999,"
				       "'queueLengthLimit':0}}}}}"));
	flow_config_add_schema(c, parse("{'spec':{'rules':[{},7,{'subjects':[{}],'resourceRules':[1]}]}}"));
	flow_config_add_schema(c, parse("{'metadata':{'name':'catch-all'},'spec':{'priorityLevelConfiguration':{'name':'none'}}}"));
	for (unsigned i = 0; i < 400; i++)
		flow_config_add_level(c, json_copy(&a, parse("{'metadata':{'name':'many'}}")));
	flow_config_done(c, 0);
	assert_string_equal(arena_cstr(&a, ask(c, "jane", "get /y")->level->name), "catch-all");
	assert_int_equal(c->levels[1].n_queues, FLOW_MAX_QUEUES);
	assert_int_equal(c->levels[1].queue_limit, 1);
	assert_int_equal(c->levels[1].bounds.lower, 0);
	flow_config_free(c);
}

/* --- The default objects ---------------------------------------------------------------------------------------------------------- */

static struct str read_file(const char *name)
{
	struct buf b = BUF_INIT;
	char chunk[4096];
	size_t n;
	const char *srcdir = getenv("srcdir");
	FILE *f = fopen(arena_printf(&a, "%s/%s", srcdir ? srcdir : ".", name), "r");
	struct str out;

	assert_non_null(f);
	while ((n = fread(chunk, 1, sizeof(chunk), f)) > 0)
		buf_add(&b, chunk, n);
	fclose(f);
	out = arena_str(&a, buf_str(&b));
	buf_fini(&b);
	return out;
}

/* Each is as an upstream server has it, and no one is missing. */
static void test_defaults(void **state)
{
	struct str line, rest = read_file("tests/data/api/flow.jsonl");
	struct flow_default d;
	struct json *want;
	size_t n = 0;

	(void)state;
	while (rest.n > 0) {
		bool found = false;

		str_cut(rest, '\n', &line, &rest);
		assert_int_equal(json_parse(&a, line, NULL, &want, NULL), 0);
		for (size_t pos = 0; flow_default_next(&a, &pos, &d);) {
			if (!json_eqc(json_getc(want, "kind"), d.plural) || !json_eqc(json_getc(want, "name"), d.name))
				continue;
			found = true;
			if (!json_equal(json_getc(d.doc, "spec"), json_getc(want, "spec")))
				fail_msg("%s: %.*s", d.name, STR_FMT(json_text(&a, d.doc)));
		}
		if (!found)
			fail_msg("missing: %.*s", STR_FMT(line));
		n++;
	}
	for (size_t pos = 0; flow_default_next(&a, &pos, &d);)
		n--;
	assert_int_equal(n, 0);
}

static struct flow_default default_of(const char *plural, const char *name)
{
	struct flow_default d;

	for (size_t pos = 0; flow_default_next(&a, &pos, &d);)
		if (strcmp(d.plural, plural) == 0 && strcmp(d.name, name) == 0)
			return d;
	fail_msg("no %s", name);
	return d;
}

static void test_merge(void **state)
{
	struct flow_default d = default_of(FLOW_LEVELS, "system"), m = default_of(FLOW_SCHEMAS, "catch-all"),
			    ex = default_of(FLOW_LEVELS, "exempt");
	struct json *have = json_copy(&a, d.doc), *out;
	const char *note = "apf.kubernetes.io/autoupdate-spec";

	(void)state;
	assert_non_null(flow_default_merge(&a, &d, NULL));
	assert_null(flow_default_merge(&a, &d, have));
	json_setp(&a, have, "spec.limited.nominalConcurrencyShares", json_new_int(&a, 99));
	/* Ours by the annotation: put right. */
	out = flow_default_merge(&a, &d, have);
	assert_int_equal(json_i64_or(json_getp(out, "spec.limited.nominalConcurrencyShares"), 0), 30);
	/* The administrator's. */
	json_setc(&a, json_getp(have, "metadata.annotations"), note, json_newc(&a, "false"));
	assert_null(flow_default_merge(&a, &d, have));
	/* Nothing said: whose it is, its generation tells; that is written down. */
	json_delc(json_getp(have, "metadata.annotations"), note);
	json_setp(&a, have, "metadata.generation", json_new_int(&a, 2));
	out = flow_default_merge(&a, &d, have);
	assert_int_equal(json_i64_or(json_getp(out, "spec.limited.nominalConcurrencyShares"), 0), 99);
	assert_true(json_eqc(json_getc(json_getp(out, "metadata.annotations"), note), "false"));
	json_setp(&a, have, "metadata.generation", json_new_int(&a, 1));
	out = flow_default_merge(&a, &d, have);
	assert_int_equal(json_i64_or(json_getp(out, "spec.limited.nominalConcurrencyShares"), 0), 30);
	/* Mandatory: whatever it says. */
	have = json_copy(&a, m.doc);
	json_setc(&a, json_getp(have, "metadata.annotations"), note, json_newc(&a, "false"));
	json_setp(&a, have, "spec.matchingPrecedence", json_new_int(&a, 5));
	out = flow_default_merge(&a, &m, have);
	assert_true(json_equal(out, m.doc));
	/* But the exempt level's seats may be set. */
	have = json_copy(&a, ex.doc);
	json_setp(&a, have, "spec.exempt.lendablePercent", json_new_int(&a, 50));
	assert_null(flow_default_merge(&a, &ex, have));
	/* One of ours that is no more. */
	have = json_copy(&a, d.doc);
	assert_false(flow_default_stale(&a, FLOW_LEVELS, have));
	json_setp(&a, have, "metadata.name", json_newc(&a, "old"));
	assert_true(flow_default_stale(&a, FLOW_LEVELS, have));
	json_setc(&a, json_getp(have, "metadata.annotations"), note, json_newc(&a, "false"));
	assert_false(flow_default_stale(&a, FLOW_LEVELS, have));
}

static void test_dangling(void **state)
{
	struct json *s = json_copy(&a, default_of(FLOW_SCHEMAS, "probes").doc), *now = json_newc(&a, "2026-01-01T00:00:00Z"), *out;

	(void)state;
	out = flow_dangling(&a, s, false, now);
	assert_true(json_eqc(json_getc(json_at(json_getp(out, "status.conditions"), 0), "reason"), "NotFound"));
	assert_null(flow_dangling(&a, out, false, now));
	out = flow_dangling(&a, out, true, now);
	assert_int_equal(json_len(json_getp(out, "status.conditions")), 1);
	assert_true(json_eqc(json_getc(json_at(json_getp(out, "status.conditions"), 0), "status"), "False"));
	assert_null(flow_dangling(&a, out, true, now));
	/* Another level: the message names it. */
	json_setp(&a, out, "spec.priorityLevelConfiguration.name", json_newc(&a, "system"));
	assert_non_null(flow_dangling(&a, out, true, now));
}

/* --- Who is turned away ------------------------------------------------------------------------------------------------- */

static unsigned drop(struct flow_drops *d, int64_t at, unsigned n)
{
	unsigned told = 0;

	for (unsigned i = 0; i < n; i++)
		told = flow_drops_add(d, at);
	return told;
}

static void test_drops(void **state)
{
	struct flow_drops d = {0};

	(void)state;
	/* What happens in a second is judged in the next. */
	assert_int_equal(drop(&d, 100, 1000), 1);
	assert_int_equal(drop(&d, 101, 1), 2);
	/* One spike raises it once; then it takes three for each second that is told. */
	assert_int_equal(drop(&d, 102, 5), 2);
	assert_int_equal(drop(&d, 103, 1), 4);
	for (int64_t at = 104; at < 400; at++)
		assert_true(drop(&d, at, 200) <= 32);
	assert_int_equal(drop(&d, 400, 1), 32);
	/* And down again, a second each time. */
	assert_int_equal(drop(&d, 500, 1), 31);
	assert_int_equal(drop(&d, 600, 1), 30);
	for (int64_t at = 700; at < 10000; at += 100)
		drop(&d, at, 1);
	assert_int_equal(drop(&d, 10000, 1), 1);
}

int main(void)
{
	const char *text = getenv("FLOW_SEED");
	const struct CMUnitTest tests[] = {
			with_arena(test_bounds),
			with_arena(test_divide_property),
			with_arena(test_split_property),
			with_arena(test_classify),
			with_arena(test_match),
			with_arena(test_odd_objects),
			with_arena(test_defaults),
			with_arena(test_merge),
			with_arena(test_dangling),
			cmocka_unit_test(test_drops),
	};

	seed = text ? strtoull(text, NULL, 10) : 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
