/* The store's status and a snapshot of it, for administrators, on the API port; declared in cli/join.h. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/util.h"
#include "cli/join.h"
#include "io/http_server.h"
#include "orchestrator/apiserver/crypt.h"
#include "proto/json.h"
#include "raft/kv.h"
#include "raft/problems.h"
#include "store/snapfile.h"
#include "store/store.h"

/* --- Status ------------------------------------------------------------------------------------------------------- */

static const char *alarm_words(struct arena *a, unsigned alarms)
{
	return arena_printf(a, "%s%s%s%s", alarms & KV_ALARM_NOSPACE ? "NOSPACE " : "", alarms & KV_ALARM_CORRUPT ? "CORRUPT " : "",
			    alarms & (KV_ALARM_DAMAGED | KV_ALARM_LOG) ? "DAMAGED " : "", alarms & KV_ALARM_DISK ? "DISK" : "");
}

struct json *member_json(struct arena *a, const struct kv_status *st, const struct kv_member *m)
{
	static const char *const roles[] = {[KV_VOTER] = "voter", [KV_LEARNER] = "stand-by", [KV_SPARE] = "spare"};
	struct json *j = json_new_object(a);
	/* The leader knows what each has; the others know what each says. */
	uint64_t has = m->self ? st->applied_index : m->match_index ? m->match_index : m->applied_index;

	json_setc(a, j, "name", json_newc(a, m->name));
	json_setc(a, j, "id", json_newf(a, "%016" PRIx64, m->id));
	json_setc(a, j, "address", json_newc(a, m->addr));
	json_setc(a, j, "url", json_newc(a, m->url));
	json_setc(a, j, "zone", json_newc(a, m->zone));
	json_setc(a, j, "role", json_newc(a, m->leader ? "leader" : m->learner ? "learner" : roles[m->role]));
	json_setc(a, j, "witness", json_new_bool(a, m->witness));
	json_setc(a, j, "started", json_new_bool(a, m->started));
	json_setc(a, j, "reachable", json_new_bool(a, m->reachable || m->self));
	json_setc(a, j, "alarms", json_newc(a, alarm_words(a, m->alarms)));
	if (has)
		json_setc(a, j, "lag", json_new_int(a, st->commit_index > has ? (int64_t)(st->commit_index - has) : 0));
	json_setc(a, j, "storeBytes", json_new_int(a, (int64_t)m->store_bytes));
	json_setc(a, j, "storeUsedBytes", json_new_int(a, (int64_t)m->store_used));
	json_setc(a, j, "walBytes", json_new_int(a, (int64_t)m->wal_bytes));
	return j;
}

static void add_time(struct arena *a, struct json *j, const char *name, uint64_t ms)
{
	char text[CLOCK_RFC3339_SIZE];

	if (ms == 0)
		return;
	clock_rfc3339((int64_t)(ms / 1000), text);
	json_setc(a, j, name, json_newc(a, text));
}

static void add_problem(struct arena *a, struct json *list, bool warning, const char *text)
{
	struct json *one = json_new_object(a);

	json_setc(a, one, "warning", json_new_bool(a, warning));
	json_setc(a, one, "text", json_newc(a, text));
	json_push(a, list, one);
}

/* Of this server alone: the plugins are processes of its machine. */
static bool plugins_are_well(struct arena *a, struct json *problems)
{
	struct err e = ERR_INIT;

	if (crypt_health(&e) == 0)
		return true;
	add_problem(a, problems, false, arena_printf(a, "KMS plugin %s: what it sealed and this server has not opened yet cannot be read, and three minutes "
			"after its last sign of life nothing is sealed any more; all else is served. Start the plugin on this machine", e.text));
	return false;
}

static struct json *status_json(struct arena *a, const struct kv_status *st)
{
	struct kv_problem *p = arena_new_array(a, struct kv_problem, KV_MAX_PROBLEMS);
	struct json *j = json_new_object(a), *members = json_new_array(a), *problems = json_new_array(a);
	size_t n = kv_problems(st, p), errors = 0;

	for (size_t i = 0; i < st->n_members; i++)
		json_push(a, members, member_json(a, st, &st->members[i]));
	for (size_t i = 0; i < n; i++) {
		add_problem(a, problems, p[i].warning, p[i].text);
		errors += !p[i].warning;
	}
	errors += !plugins_are_well(a, problems);
	json_setc(a, j, "name", json_newc(a, st->name));
	json_setc(a, j, "cluster", json_newf(a, "%016" PRIx64, st->cluster_id));
	json_setc(a, j, "leader", json_newc(a, st->role.leader_name));
	json_setc(a, j, "term", json_new_int(a, (int64_t)st->role.term));
	json_setc(a, j, "revision", json_new_int(a, (int64_t)st->revision));
	json_setc(a, j, "commitIndex", json_new_int(a, (int64_t)st->commit_index));
	json_setc(a, j, "state", json_newc(a, st->state));
	json_setc(a, j, "alarms", json_newc(a, alarm_words(a, st->alarms)));
	json_setc(a, j, "storeQuotaBytes", json_new_int(a, (int64_t)st->store_quota));
	add_time(a, j, "storeCheckedAt", st->scrubbed_at);
	add_time(a, j, "storeCheckBeganAt", st->scrub_began_at);
	json_setc(a, j, "storeCheckedPages", json_new_int(a, (int64_t)st->scrub_pages));
	json_setc(a, j, "encryption", json_new_str(a, crypt_describe(a)));
	json_setc(a, j, "health", json_newc(a, errors ? "unhealthy" : "healthy"));
	json_setc(a, j, "members", members);
	json_setc(a, j, "problems", problems);
	return j;
}

static void serve_status(struct kv *kv, struct http_request *r)
{
	struct http_header h = {STR("content-type"), STR("application/json")};
	struct kv_status *st = arena_new_of(&r->arena, struct kv_status);

	kv_status(kv, st);
	http_respond(r, 200, &h, 1, json_text(&r->arena, status_json(&r->arena, st)));
}

/* --- Snapshot --------------------------------------------------------------------------------------------------------- */

/* A snapshot on its way to a client: one chunk after the other, each when the one before has left. */
struct sending {
	struct http_request *http; /* NULL: the client is gone */
	struct store_snapshot *snapshot;
	struct http_write write;
	uint64_t n;
	bool last;
};

static void sending_free(struct sending *s)
{
	store_snapshot_close(s->snapshot);
	free(s);
}

static void send_next(struct sending *s);

static void on_sent(struct http_write *w, int status)
{
	struct sending *s = container_of(w, struct sending, write);

	if (!s->http || status < 0) {
		if (s->http)
			http_respond_abort(s->http);
		sending_free(s);
	} else if (s->last) {
		http_respond_end(s->http);
		sending_free(s);
	} else {
		send_next(s);
	}
}

static void send_next(struct sending *s)
{
	struct buf chunk = BUF_INIT;
	struct err e = ERR_INIT;

	s->write.done = on_sent;
	if (store_snapshot_chunk(s->snapshot, s->n++, &chunk, &s->last, &e) != 0) {
		log_error("store", "a snapshot for a client broke off: %s", e.text);
		http_respond_abort(s->http);
		sending_free(s);
	} else {
		http_respond_write(s->http, buf_str(&chunk), &s->write);
	}
	buf_fini(&chunk);
}

static void on_snapshot_cancel(struct http_request *r)
{
	struct sending *s = r->user;

	/* The write that is out comes back with an error and frees the rest. */
	s->http = NULL;
	http_respond_abort(r);
}

static void serve_snapshot(struct kv *kv, struct http_request *r)
{
	struct http_header h = {STR("content-type"), STR("application/octet-stream")};
	struct store *store = kv_store(kv);
	struct sending *s = xcalloc(1, sizeof(*s));
	struct buf head = BUF_INIT;
	struct err e = ERR_INIT;

	if (store_snapshot_open(store, &s->snapshot, &e) != 0) {
		free(s);
		http_respond(r, err_http_status(e.code), NULL, 0, arena_sprintf(&r->arena, "%s\n", e.text));
		return;
	}
	s->http = r;
	r->user = s;
	r->on_cancel = on_snapshot_cancel;
	log_info("store", "sending a snapshot remote=%.*s revision=%" PRId64, STR_FMT(r->remote), store_snapshot_revision(s->snapshot));
	snapfile_head(s->snapshot, store_cluster_id(store), (uint64_t)(clock_wall_ns() / 1000000), &head);
	http_respond_start(r, 200, &h, 1);
	http_respond_write(r, buf_str(&head), NULL);
	buf_fini(&head);
	send_next(s);
}

bool store_serve(struct kv *kv, struct http_request *r)
{
	bool status = str_eqc(r->path, "/kontiki/v1/status"), snapshot = str_eqc(r->path, "/kontiki/v1/snapshot");

	if (!status && !snapshot)
		return false;
	if (!request_is_admin(r))
		http_respond(r, 403, NULL, 0, STR("only an administrator (a client certificate with O=system:masters) may ask for this\n"));
	else if (!str_eqc(r->method, "GET"))
		http_respond(r, 405, NULL, 0, STR("use GET\n"));
	else if (status)
		serve_status(kv, r);
	else
		serve_snapshot(kv, r);
	return true;
}
