#include "orchestrator/apiserver/paths.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/util.h"
#include "io/x509.h"
#include "orchestrator/apiserver/aggregate_index.h"
#include "orchestrator/apiserver/answer.h"
#include "orchestrator/apiserver/authn.h"
#include "orchestrator/apiserver/crypt.h"
#include "orchestrator/apiserver/keyset.h"
#include "orchestrator/apiserver/objects.h"
#include "proto/json.h"
#include "proto/resource.h"
#include "store/store.h"

static enum step_result path_root(struct api_request *, struct str rest);
static enum step_result path_version(struct api_request *, struct str rest);
static enum step_result path_health(struct api_request *, struct str rest);
static void unavailable_gauge(void *arg, const struct api_service *s)
{
	buf_printf(arg, "aggregator_unavailable_apiservice{name=\"%.*s\"} %d\n", STR_FMT(s->name), !s->available);
}

static enum step_result path_metrics(struct api_request *, struct str rest);
static enum step_result path_flow(struct api_request *, struct str rest);
static enum step_result path_jwks(struct api_request *, struct str rest);
static enum step_result path_oidc(struct api_request *, struct str rest);

#define FLOW_DUMPS "/debug/api_priority_and_fairness/"

static const struct path_row {
	const char *path;
	bool below; /* also anything under it */
	enum step_result (*answer)(struct api_request *, struct str rest);
} rows[] = {
		{"/", false, path_root},
		{"/api", true, api_path_api},
		{"/apis", true, api_path_apis},
		{"/healthz", true, path_health},
		{"/livez", true, path_health},
		{"/readyz", true, path_health},
		{"/version", false, path_version},
		{"/version/", false, path_version},
		{"/openapi/v2", false, api_path_openapi_v2},
		{"/openapi/v3", true, api_path_openapi_v3},
		{"/.well-known/openid-configuration", false, path_oidc},
		{"/openid/v1/jwks", false, path_jwks},
		{"/metrics", false, path_metrics},
		{FLOW_DUMPS "dump_priority_levels", false, path_flow},
		{FLOW_DUMPS "dump_queues", false, path_flow},
		{FLOW_DUMPS "dump_requests", false, path_flow},
};

static const struct path_row *row_find(struct str path, struct str *ret_rest)
{
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct str p = str_from(rows[i].path);

		if (!str_has_prefix(path, p))
			continue;
		*ret_rest = str_skip(path, p.n);
		if (ret_rest->n == 0 || (rows[i].below && ret_rest->p[0] == '/'))
			return &rows[i];
	}
	return NULL;
}

/* Upstream answers with a Status below the roots of what it serves itself, and as a plain web server elsewhere. */
static bool below_served(struct str path)
{
	struct str root = STR("/apis/"), group, rest;

	if (str_has_prefix(path, STR("/api/")))
		return true;
	if (!str_has_prefix(path, root))
		return false;
	str_cut(str_skip(path, root.n), '/', &group, &rest);
	RESOURCE_FOR_EACH (r)
		if (r->served && group.n > 0 && str_eqc(group, r->group))
			return true;
	return false;
}

enum step_result api_path_unknown(struct api_request *req)
{
	struct buf text = BUF_INIT;

	if (req->local || below_served(req->path))
		return api_fail(req, ERR_NOT_FOUND, "the server could not find the requested resource");
	buf_addc(&text, "404 page not found\n");
	return api_answer_bytes(req, 404, "text/plain; charset=utf-8", &text);
}

enum step_result api__non_resource(struct api_request *req)
{
	struct str rest;
	const struct path_row *r = row_find(req->path, &rest);

	if (!r)
		return api_path_unknown(req);
	if (!str_eqc(req->method, "GET") && !str_eqc(req->method, "HEAD"))
		return api_fail(req, ERR_METHOD_NOT_ALLOWED,
				"the server does not allow this method on the requested resource");
	return r->answer(req, rest);
}

static enum step_result answer_text(struct api_request *req, int status, struct buf *text)
{
	return api_answer_bytes(req, status, "text/plain; charset=utf-8", text);
}

static enum step_result answer_json(struct api_request *req, const char *type, const struct json *doc)
{
	struct buf out = BUF_INIT;

	json_print(&out, doc, JSON_PRETTY2);
	return api_answer_bytes(req, 200, type, &out);
}

static enum step_result path_version(struct api_request *req, struct str rest)
{
	static const char *const fields[][2] = {
			{"major", API_MAJOR},
			{"minor", API_MINOR},
			{"gitVersion", API_GIT_VERSION},
			{"gitCommit", ""},
			{"gitTreeState", "clean"},
			{"buildDate", "1970-01-01T00:00:00Z"},
			{"goVersion", "none"},
			{"compiler", "gcc"},
	};
	struct json *doc = json_new_object(&req->arena);
	struct utsname u;

	(void)rest;
	for (size_t i = 0; i < ARRAY_LEN(fields); i++)
		json_setc(&req->arena, doc, fields[i][0], json_newc(&req->arena, fields[i][1]));
	if (uname(&u) == 0)
		json_setc(&req->arena, doc, "platform",
				json_newf(&req->arena, "linux/%s",
						strcmp(u.machine, "x86_64") == 0    ? "amd64" :
						strcmp(u.machine, "aarch64") == 0 ? "arm64" : u.machine));
	return answer_json(req, "application/json", doc);
}

/* --- Health -------------------------------------------------------------------------------------------------- */

static bool check_ping(struct apiserver *srv)
{
	(void)srv;
	return true;
}

/* A leader is known: without one neither writes nor linearizable reads go through. */
static bool check_quorum(struct apiserver *srv)
{
	struct kv_status *st = xmalloc(sizeof(*st));
	bool ok;

	kv_status(srv->kv, st);
	ok = st->role.leader_id != 0;
	free(st);
	return ok;
}

static bool check_bootstrap(struct apiserver *srv)
{
	return atomic_load(&srv->ready);
}

static bool check_shutdown(struct apiserver *srv)
{
	return !atomic_load(&srv->stopping);
}

static bool check_kms(struct apiserver *srv)
{
	(void)srv;
	return crypt_health(NULL) == 0;
}

static const struct check {
	const char *name;
	bool (*ok)(struct apiserver *);
	bool live, ready; /* part of /livez, of /readyz; /healthz asks all */
} checks[] = {
		{"ping", check_ping, true, true},
		{"etcd", check_quorum, false, true},
		{"poststarthook/start-system-namespaces-controller", check_bootstrap, false, true},
		{"shutdown", check_shutdown, false, true},
		{"kms-providers", check_kms, false, true},
};

/* Checks of what there is. */
static bool health_has(const struct check *c)
{
	return c->ok != check_kms || crypt_has_kms();
}

static const char *const health_paths[] = {"/healthz", "/livez", "/readyz"};

static bool health_shows(const char *path, const struct check *c)
{
	return health_has(c) && (strcmp(path, "/livez") != 0 || c->live);
}

bool api__is_well(struct apiserver *srv)
{
	bool well = true;

	for (size_t i = 0; i < ARRAY_LEN(checks); i++)
		well = well && (!checks[i].ready || checks[i].ok == check_kms || checks[i].ok(srv));
	return well;
}

/* ?exclude=NAME, any number of them: a check that is not to be counted. */
static bool excluded(const struct api_query *q, const char *name)
{
	for (size_t i = 0; i < q->n; i++)
		if (str_eqc(q->pairs[i].key, "exclude") && str_eqc(q->pairs[i].value, name))
			return true;
	return false;
}

static int by_text(const void *a, const void *b)
{
	return str_cmp(json_str(*(struct json *const *)a), json_str(*(struct json *const *)b));
}

/* Everything that can be asked for by path. */
static enum step_result path_root(struct api_request *req, struct str rest)
{
	struct arena *a = &req->arena;
	struct json *doc = json_new_object(a), *paths = json_new_array(a);

	(void)rest;
	for (size_t i = 1; i < ARRAY_LEN(rows); i++)
		json_push(a, paths, json_newc(a, rows[i].path));
	api_discovery_paths(req, paths);
	for (size_t i = 0; i < ARRAY_LEN(health_paths); i++)
		for (size_t k = 0; k < ARRAY_LEN(checks); k++)
			if (health_shows(health_paths[i], &checks[k]))
				json_push(a, paths, json_newf(a, "%s/%s", health_paths[i], checks[k].name));
	qsort(paths->items, paths->n, sizeof(*paths->items), by_text);
	json_setc(a, doc, "paths", paths);
	return answer_json(req, "application/json", doc);
}

static enum step_result path_health(struct api_request *req, struct str rest)
{
	bool live = str_has_prefix(req->path, STR("/livez"));
	bool verbose = api_query_has(&req->query, "verbose"), all = true, found = rest.n <= 1;
	struct str one = str_skip(rest, 1);
	struct buf text = BUF_INIT;

	for (size_t i = 0; i < ARRAY_LEN(checks); i++) {
		bool ok;

		if (!health_has(&checks[i]) || (one.n > 0 ? !str_eqc(one, checks[i].name) : live && !checks[i].live))
			continue;
		found = true;
		if (one.n == 0 && excluded(&req->query, checks[i].name)) {
			buf_printf(&text, "[+]%s excluded: ok\n", checks[i].name);
			continue;
		}
		ok = checks[i].ok(req->srv);
		all = all && ok;
		buf_printf(&text, "[%s]%s %s\n", ok ? "+" : "-", checks[i].name, ok ? "ok" : "failed: reason withheld");
	}
	if (!found) {
		buf_fini(&text);
		return api_path_unknown(req);
	}
	if (all && !verbose) {
		buf_clear(&text);
		buf_addc(&text, "ok");
	} else {
		buf_printf(&text, "%.*s check %s\n", STR_FMT(str_sub(req->path, 1, req->path.n)), all ? "passed" : "failed");
	}
	return answer_text(req, all ? 200 : 500, &text);
}

/* --- Metrics --------------------------------------------------------------------------------------------------- */

static const struct {
	const char *name, *help;
} counters[] = {
#define X(id, n, h) {n, h},
		API_COUNTERS(X)
#undef X
};

static void gauge(struct buf *b, const char *name, const char *help, uint64_t v)
{
	buf_printf(b, "# HELP %s %s\n# TYPE %s gauge\n%s %" PRIu64 "\n", name, help, name, name, v);
}

/* The report of all loops is here. */
static void reported(struct api_request *req, struct flow_report *report)
{
	req->pending--;
	req->report = report;
	api_wait_over(req);
}

/* True: it is on its way. */
static bool report_wait(struct api_request *req, const char *dump)
{
	if (!flow_report_start(req, dump, reported))
		return false;
	req->pending++;
	return true;
}

static enum step_result path_flow(struct api_request *req, struct str rest)
{
	struct buf b = BUF_INIT;

	(void)rest;
	if (!req->report)
		return report_wait(req, arena_cstr(&req->arena, str_skip(req->path, strlen(FLOW_DUMPS)))) ? STEP_WAIT : api_path_unknown(req);
	flow_report_end(TAKE(req->report), &b);
	return answer_text(req, 200, &b);
}

static enum step_result path_metrics(struct api_request *req, struct str rest)
{
	struct buf b = BUF_INIT;
	struct kv_status *st;

	(void)rest;
	if (!req->report && report_wait(req, NULL))
		return STEP_WAIT;
	flow_report_end(TAKE(req->report), &b);
	st = xmalloc(sizeof(*st));
	for (size_t i = 0; i < ARRAY_LEN(counters); i++)
		buf_printf(&b, "# HELP %s %s\n# TYPE %s counter\n%s %" PRIu64 "\n", counters[i].name, counters[i].help,
				counters[i].name, counters[i].name,
				(uint64_t)atomic_load_explicit(&req->srv->counters[i], memory_order_relaxed));
	kv_status(req->srv->kv, st);
	gauge(&b, "apiserver_current_inflight_requests", "Requests under way, watches among them",
			(uint64_t)atomic_load(&req->srv->n_requests));
	gauge(&b, "apiserver_longrunning_requests", "Watches under way", (uint64_t)atomic_load(&req->srv->n_watches));
	gauge(&b, "kontiki_raft_term", "Raft term", st->role.term);
	gauge(&b, "kontiki_raft_is_leader", "1 on the leader", st->role.leader);
	gauge(&b, "kontiki_raft_has_leader", "1 when a leader is known", st->role.leader_id != 0);
	gauge(&b, "kontiki_raft_commit_index", "Committed log index", st->commit_index);
	gauge(&b, "kontiki_raft_applied_index", "Applied log index", st->applied_index);
	gauge(&b, "kontiki_raft_wal_bytes", "Bytes of log on disk", st->wal_bytes);
	gauge(&b, "kontiki_store_revision", "Store revision", st->revision);
	buf_addc(&b, "# HELP aggregator_unavailable_apiservice 1 for an APIService that is not available\n"
		     "# TYPE aggregator_unavailable_apiservice gauge\n");
	aggregate_index_each(api__aggregates(req->al), unavailable_gauge, &b);
	gauge(&b, "process_start_time_seconds", "Start of the API server", (uint64_t)req->srv->started_s);
	free(st);
	return api_answer_bytes(req, 200, "text/plain; version=0.0.4; charset=utf-8", &b);
}

/* --- Keys of the service-account tokens (OpenID Connect Discovery 1.0; RFC 7517) ----------------------------------- */

static enum step_result path_oidc(struct api_request *req, struct str rest)
{
	struct arena *a = &req->arena;
	struct json *doc = json_new_object(a), *list;
	struct str issuer = authn_issuer(req->srv->authn);

	(void)rest;
	json_setc(a, doc, "issuer", json_new_str(a, issuer));
	json_setc(a, doc, "jwks_uri", json_newf(a, "%.*s/openid/v1/jwks", STR_FMT(issuer)));
	list = json_new_array(a);
	json_push(a, list, json_newc(a, "id_token"));
	json_setc(a, doc, "response_types_supported", list);
	list = json_new_array(a);
	json_push(a, list, json_newc(a, "public"));
	json_setc(a, doc, "subject_types_supported", list);
	list = json_new_array(a);
	for (size_t i = 0; i < keyset_len(authn_keys(req->srv->authn)); i++) {
		const char *kid, *alg = x509_jws_alg(keyset_at(authn_keys(req->srv->authn), i, &kid));

		if (!api_has_string(list, alg))
			json_push(a, list, json_newc(a, alg));
	}
	json_setc(a, doc, "id_token_signing_alg_values_supported", list);
	return answer_json(req, "application/json", doc);
}

static enum step_result path_jwks(struct api_request *req, struct str rest)
{
	(void)rest;
	return answer_json(req, "application/jwk-set+json", keyset_jwks(authn_keys(req->srv->authn), &req->arena));
}
