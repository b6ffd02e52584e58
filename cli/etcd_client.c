#include "cli/etcd_client.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "io/tls.h"
#include "proto/json.h"

#define ASK_MS 5000

/* --- One question ----------------------------------------------------------------------------------------------------- */

/* "http://host:port" into an address; whether it is TLS. */
static int parse_url(struct str url, struct arena *a, const char **ret_address, bool *ret_tls, struct err *e)
{
	*ret_tls = str_has_prefix(url, STR("https://"));
	if (*ret_tls)
		url = str_skip(url, strlen("https://"));
	else if (str_has_prefix(url, STR("http://")))
		url = str_skip(url, strlen("http://"));
	if (url.n > 0 && url.p[url.n - 1] == '/')
		url.n--;
	if (str_find(url, ':') < 0 || str_find(url, '/') >= 0)
		return err_set(e, ERR_BAD_REQUEST, "--endpoints: \"%.*s\" is not of the form http://HOST:PORT", STR_FMT(url));
	*ret_address = arena_cstr(a, url);
	return 0;
}

static int ask_one(const struct store_client_opts *o, struct str url, const char *path, struct json *body, struct arena *a,
		struct json **ret, struct err *e)
{
	struct fetch f = {.method = "POST", .path = path, .body = json_text(a, body), .timeout_ms = ASK_MS};
	struct tls_config tc = {.server = false};
	bool tls;
	int rc = parse_url(url, a, &f.address, &tls, e);

	if (rc == 0 && tls)
		rc = tls_ctx_new_files(&tc, o->cert, o->key, o->cacert, &f.tls, e);
	if (rc == 0)
		rc = fetch(&f, a, e);
	tls_ctx_unref(f.tls);
	if (rc != 0)
		return err_prefix(e, "%.*s", STR_FMT(url));
	if (json_parse(a, f.answer, NULL, ret, e) != 0)
		return err_set(e, ERR_PROTOCOL, "%.*s is no etcd: it answers %.*s", STR_FMT(url), (int)MIN(f.answer.n, 100u), f.answer.p);
	if (f.status != 200)
		return err_set(e, err_from_http(f.status), "%.*s: %s", STR_FMT(url), json_cstr(json_getc(*ret, "error")));
	return 0;
}

/* Any of the endpoints; the last one's error. An answer that refuses is not asked for again. */
static int ask(const struct store_client_opts *o, const char *path, struct json *body, struct arena *a, struct json **ret, struct err *e)
{
	struct str rest = str_from(o->endpoints), one;
	bool more = true;
	int rc = 0;

	do {
		more = str_cut(rest, ',', &one, &rest);
		err_clear(e);
		rc = ask_one(o, str_trim(one), path, body, a, ret, e);
	} while (rc != 0 && more && (e->code == ERR_UNAVAILABLE || e->code == ERR_TIMEOUT));
	return rc;
}

/* The gateway writes 64-bit numbers as strings. */
static uint64_t number(const struct json *j, const char *field)
{
	const char *text = json_cstr(json_getc(j, field));

	return *text ? strtoull(text, NULL, 10) : (uint64_t)json_i64_or(json_getc(j, field), 0);
}

/* --- Members ------------------------------------------------------------------------------------------------------------ */

static const char *first_of(struct arena *a, const struct json *list)
{
	JSON_ITEMS (url, list)
		return arena_strdup(a, json_cstr(url));
	return "";
}

static const char *without_scheme(const char *url)
{
	const char *p = strstr(url, "://");

	return p ? p + 3 : url;
}

/* All of the list, with commas. */
static const char *addresses(struct arena *a, const struct json *urls)
{
	const char *all = "";

	JSON_ITEMS (url, urls)
		all = arena_printf(a, "%s%s%s", all, *all ? "," : "", without_scheme(json_cstr(url)));
	return all;
}

static struct json *member_of(struct arena *a, const struct json *m)
{
	struct json *j = json_new_object(a);
	const char *name = json_cstr(json_getc(m, "name"));

	json_setc(a, j, "name", json_newc(a, name));
	json_setc(a, j, "id", json_newf(a, "%016" PRIx64, number(m, "ID")));
	json_setc(a, j, "address", json_newc(a, addresses(a, json_getc(m, "peerURLs"))));
	json_setc(a, j, "url", json_newc(a, first_of(a, json_getc(m, "clientURLs"))));
	json_setc(a, j, "role", json_newc(a, json_true(json_getc(m, "isLearner")) ? "learner" : "voter"));
	json_setc(a, j, "started", json_new_bool(a, *name != '\0'));
	return j;
}

static int member_list(const struct store_client_opts *o, struct arena *a, struct json **ret_answer, struct json **ret, struct err *e)
{
	int rc = ask(o, "/v3/cluster/member/list", json_new_object(a), a, ret_answer, e);

	if (rc != 0)
		return rc;
	*ret = json_new_array(a);
	JSON_ITEMS (m, json_getc(*ret_answer, "members"))
		json_push(a, *ret, member_of(a, m));
	return 0;
}

int etcd_client_members(const struct store_client_opts *o, struct arena *a, struct json **ret, struct err *e)
{
	struct json *answer;

	return member_list(o, a, &answer, ret, e);
}

/* --- Status ------------------------------------------------------------------------------------------------------------- */

static void problem(struct arena *a, struct json *problems, bool warning, const char *text)
{
	struct json *one = json_new_object(a);

	json_setc(a, one, "warning", json_new_bool(a, warning));
	json_setc(a, one, "text", json_newc(a, text));
	json_push(a, problems, one);
}

static const char *alarms_of(struct arena *a, const struct json *alarms, const char *id)
{
	const char *words = "";

	JSON_ITEMS (one, json_getc(alarms, "alarms"))
		if (number(one, "memberID") == strtoull(id, NULL, 16))
			words = arena_printf(a, "%s%s%s", words, *words ? " " : "", json_cstr(json_getc(one, "alarm")));
	return words;
}

struct survey {
	struct json *statuses[64];
	uint64_t index, leader, term, revision; /* the highest seen */
};

/* What each member says of itself. */
static void survey(const struct store_client_opts *o, const struct json *members, struct arena *a, struct survey *s)
{
	size_t i = 0;

	JSON_ITEMS (m, members) {
		const char *url = json_cstr(json_getc(m, "url"));
		struct err ignored = ERR_INIT;
		struct json *status = NULL;

		if (i == ARRAY_LEN(s->statuses))
			break;
		if (*url && ask_one(o, str_from(url), "/v3/maintenance/status", json_new_object(a), a, &status, &ignored) == 0) {
			s->statuses[i] = status;
			s->index = MAX(s->index, number(status, "raftIndex"));
			s->revision = MAX(s->revision, number(json_getc(status, "header"), "revision"));
			if (number(status, "raftTerm") >= s->term && number(status, "leader") != 0) {
				s->term = number(status, "raftTerm");
				s->leader = number(status, "leader");
			}
		}
		i++;
	}
}

static void judge(struct arena *a, struct json *m, const struct json *status, const struct survey *s, struct json *problems)
{
	const char *name = json_cstr(json_getc(m, "name")), *alarms = json_cstr(json_getc(m, "alarms"));
	uint64_t applied = number(status, "raftAppliedIndex");

	json_setc(a, m, "reachable", json_new_bool(a, status != NULL));
	if (!json_true(json_getc(m, "started")))
		problem(a, problems, true, arena_printf(a, "a place for a member at %s was made, and nobody has come for it", json_cstr(json_getc(m, "address"))));
	else if (status == NULL)
		problem(a, problems, false, arena_printf(a, "member %s does not answer at %s", name, json_cstr(json_getc(m, "url"))));
	if (*alarms)
		problem(a, problems, false, arena_printf(a, "alarm %s of member %s", alarms, name));
	if (status == NULL)
		return;
	json_setc(a, m, "lag", json_new_int(a, s->index > applied ? (int64_t)(s->index - applied) : 0));
	json_setc(a, m, "storeBytes", json_new_int(a, (int64_t)number(status, "dbSize")));
	json_setc(a, m, "storeUsedBytes", json_new_int(a, (int64_t)number(status, "dbSizeInUse")));
	JSON_ITEMS (text, json_getc(status, "errors"))
		problem(a, problems, true, arena_printf(a, "member %s: %s", name, json_cstr(text)));
}

int etcd_client_status(const struct store_client_opts *o, struct arena *a, struct json **ret, struct err *e)
{
	struct json *j = json_new_object(a), *problems = json_new_array(a), *answer, *members, *alarms, *get = json_new_object(a);
	struct survey s = {.index = 0};
	const char *leader = "";
	size_t i = 0, errors = 0;
	int rc = member_list(o, a, &answer, &members, e);

	json_setc(a, get, "action", json_newc(a, "GET"));
	if (rc == 0)
		rc = ask(o, "/v3/maintenance/alarm", get, a, &alarms, e);
	if (rc != 0)
		return rc;
	survey(o, members, a, &s);
	JSON_ITEMS (m, members) {
		const char *id = json_cstr(json_getc(m, "id"));

		if (s.leader != 0 && strtoull(id, NULL, 16) == s.leader) {
			json_setc(a, m, "role", json_newc(a, "leader"));
			leader = json_cstr(json_getc(m, "name"));
		}
		json_setc(a, m, "alarms", json_newc(a, alarms_of(a, alarms, id)));
		if (i < ARRAY_LEN(s.statuses))
			judge(a, m, s.statuses[i], &s, problems);
		i++;
	}
	if (s.leader == 0)
		problem(a, problems, false, "there is no leader: writes wait or fail");
	JSON_ITEMS (p, problems)
		errors += !json_true(json_getc(p, "warning"));
	json_setc(a, j, "name", json_newc(a, o->endpoints));
	json_setc(a, j, "cluster", json_newf(a, "%016" PRIx64, number(json_getc(answer, "header"), "cluster_id")));
	json_setc(a, j, "leader", json_newc(a, leader));
	json_setc(a, j, "term", json_new_int(a, (int64_t)s.term));
	json_setc(a, j, "revision", json_new_int(a, (int64_t)s.revision));
	json_setc(a, j, "health", json_newc(a, errors ? "unhealthy" : "healthy"));
	json_setc(a, j, "members", members);
	json_setc(a, j, "problems", problems);
	*ret = j;
	return 0;
}

/* --- Changes ------------------------------------------------------------------------------------------------------------ */

static const struct json *find(const struct json *members, const char *who)
{
	JSON_ITEMS (m, members)
		if (json_eqc(json_getc(m, "name"), who) || json_eqc(json_getc(m, "id"), who))
			return m;
	return NULL;
}

/* As the others' peer URLs are. */
static const char *peer_url(struct arena *a, const struct json *answer, struct str address)
{
	bool tls = false;

	JSON_ITEMS (m, json_getc(answer, "members"))
		tls = tls || strncmp(first_of(a, json_getc(m, "peerURLs")), "https://", 8) == 0;
	return arena_printf(a, "%s%.*s", str_search(address, STR("://")) >= 0 ? "" : tls ? "https://" : "http://", STR_FMT(address));
}

/* Only the leader takes it. */
static int transfer(const struct store_client_opts *o, const struct json *target, struct arena *a, struct err *e)
{
	struct json *status, *body = json_new_object(a), *answer;
	int rc = etcd_client_status(o, a, &status, e);

	json_setc(a, body, "targetID", json_newf(a, "%" PRIu64, (uint64_t)strtoull(json_cstr(json_getc(target, "id")), NULL, 16)));
	if (rc != 0)
		return rc;
	JSON_ITEMS (m, json_getc(status, "members"))
		if (json_eqc(json_getc(m, "role"), "leader"))
			return ask_one(o, str_from(json_cstr(json_getc(m, "url"))), "/v3/maintenance/transfer-leadership", body, a, &answer, e);
	return err_set(e, ERR_UNAVAILABLE, "there is no leader that could hand over");
}

int etcd_client_change(const struct store_client_opts *o, const char *verb, const char *who, const char *address, bool learner, struct arena *a,
		struct str *ret_id, struct err *e)
{
	struct json *answer, *members, *body = json_new_object(a), *urls = json_new_array(a);
	const struct json *m = NULL;
	int rc = member_list(o, a, &answer, &members, e);

	if (rc == 0 && who && (m = find(members, who)) == NULL)
		rc = err_set(e, ERR_NOT_FOUND, "no such member: %s", who);
	if (rc != 0)
		return rc;
	if (strcmp(verb, "transfer") == 0)
		return transfer(o, m, a, e);
	if (m)
		json_setc(a, body, "ID", json_newf(a, "%" PRIu64, (uint64_t)strtoull(json_cstr(json_getc(m, "id")), NULL, 16)));
	if (address) {
		struct str one, rest = str_from(address);
		bool more;

		do {
			more = str_cut(rest, ',', &one, &rest);
			json_push(a, urls, json_newc(a, peer_url(a, answer, one)));
		} while (more);
		json_setc(a, body, "peerURLs", urls);
	}
	if (learner)
		json_setc(a, body, "isLearner", json_new_bool(a, true));
	rc = ask(o, arena_printf(a, "/v3/cluster/member/%s", verb), body, a, &answer, e);
	if (rc == 0 && ret_id)
		*ret_id = arena_sprintf(a, "%016" PRIx64, number(json_getc(answer, "member"), "ID"));
	return rc;
}
