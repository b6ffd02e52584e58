#include "orchestrator/apiserver/audit.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/util.h"
#include "orchestrator/apiserver/apiserver-priv.h"
#include "orchestrator/apiserver/authn.h"
#include "orchestrator/apiserver/authz.h"
#include "proto/json.h"
#include "proto/resource.h"

#define DEFAULT_MB 100
#define POLICY_MAX (1 << 20)

struct audit {
	struct audit_policy *policy;
	char *path;
	unsigned max_backups, max_days;
	uint64_t max_bytes;
	pthread_mutex_t lock; /* what follows */
	int fd;
	uint64_t size;
	bool failing; /* told once */
};

/* --- The file ------------------------------------------------------------------------------------------------- */

static int log_open(struct audit *au, struct err *e)
{
	struct stat st;

	if (strcmp(au->path, "-") == 0) {
		au->fd = dup(STDOUT_FILENO);
		return 0;
	}
	au->fd = open(au->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (au->fd < 0)
		return err_set_errno(e, errno, "audit log %s", au->path);
	au->size = fstat(au->fd, &st) == 0 ? (uint64_t)st.st_size : 0;
	return 0;
}

/* "audit.log" is kept as "audit-2006-01-02T15-04-05.000.log", which sorts by time. */
static void split_path(const struct audit *au, char dir[PATH_MAX], char stem[NAME_MAX], char ext[NAME_MAX])
{
	char copy[PATH_MAX], *base, *dot;

	snprintf(copy, sizeof(copy), "%s", au->path);
	snprintf(dir, PATH_MAX, "%s", dirname(copy));
	snprintf(copy, sizeof(copy), "%s", au->path);
	base = basename(copy);
	dot = strrchr(base, '.');
	snprintf(ext, NAME_MAX, "%s", dot && dot != base ? dot : "");
	snprintf(stem, NAME_MAX, "%.*s-", (int)(strlen(base) - strlen(ext)), base);
}

static int newest_first(const void *a, const void *b)
{
	return strcmp(*(char *const *)b, *(char *const *)a);
}

static bool is_backup(const char *name, const char *stem, const char *ext)
{
	struct str s = str_from(name);

	return str_has_prefix(s, str_from(stem)) && str_has_suffix(s, str_from(ext)) && strlen(name) == strlen(stem) + 23 + strlen(ext);
}

static bool too_old(const char *path, unsigned days)
{
	struct stat st;

	return days && stat(path, &st) == 0 && clock_wall_s() - st.st_mtime > (int64_t)days * 86400;
}

static void prune(const struct audit *au)
{
	char dir[PATH_MAX], stem[NAME_MAX], ext[NAME_MAX], path[PATH_MAX + NAME_MAX];
	char **names = NULL;
	size_t n = 0;
	DIR *d;

	split_path(au, dir, stem, ext);
	d = opendir(dir);
	for (struct dirent *de; d && (de = readdir(d));)
		if (is_backup(de->d_name, stem, ext)) {
			names = xrealloc(names, (n + 1) * sizeof(*names));
			names[n++] = xstrdup(de->d_name);
		}
	if (d)
		closedir(d);
	if (n > 1)
		qsort(names, n, sizeof(*names), newest_first);
	for (size_t i = 0; i < n; i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		if ((au->max_backups && i >= au->max_backups) || too_old(path, au->max_days))
			unlink(path);
		free(names[i]);
	}
	free(names);
}

static void rotate(struct audit *au)
{
	char dir[PATH_MAX], stem[NAME_MAX], ext[NAME_MAX], to[2 * PATH_MAX], when[32];
	int64_t ns = clock_wall_ns();
	time_t s = (time_t)(ns / 1000000000);
	struct err e = ERR_INIT;
	struct tm tm;

	split_path(au, dir, stem, ext);
	gmtime_r(&s, &tm);
	strftime(when, sizeof(when), "%Y-%m-%dT%H-%M-%S", &tm);
	snprintf(to, sizeof(to), "%s/%s%s.%03d%s", dir, stem, when, (int)(ns / 1000000 % 1000), ext);
	if (rename(au->path, to) < 0)
		return;
	close(au->fd);
	if (log_open(au, &e) < 0)
		log_error("audit", "%s", e.text);
	prune(au);
}

static void write_line(struct audit *au, struct str line)
{
	ssize_t n;

	pthread_mutex_lock(&au->lock);
	if (au->size + line.n > au->max_bytes && au->size > 0 && strcmp(au->path, "-") != 0)
		rotate(au);
	n = au->fd >= 0 ? write(au->fd, line.p, line.n) : -1;
	if (n != (ssize_t)line.n && !au->failing)
		log_error("audit", "events are lost: cannot write to %s: %s", au->path, n < 0 ? strerror(errno) : "no space");
	au->failing = n != (ssize_t)line.n;
	au->size += n > 0 ? (uint64_t)n : 0;
	pthread_mutex_unlock(&au->lock);
}

int audit_open(const struct audit_cfg *cfg, struct audit **ret, struct err *e)
{
	struct audit *au = xcalloc(1, sizeof(*au));
	_cleanup_(buf_fini) struct buf text = BUF_INIT;

	au->fd = -1;
	au->path = xstrdup(cfg->log_path);
	au->max_bytes = (uint64_t)(cfg->max_mb ? cfg->max_mb : DEFAULT_MB) << 20;
	au->max_backups = cfg->max_backups;
	au->max_days = cfg->max_days;
	pthread_mutex_init(&au->lock, NULL);
	if (!cfg->policy_file) {
		err_set(e, ERR_INVALID, "the audit log needs a policy that says what to write");
	} else if (file_get(cfg->policy_file, POLICY_MAX, &text, e) == 0 &&
			audit_policy_parse(buf_str(&text), &au->policy, e) == 0 && log_open(au, e) == 0) {
		*ret = au;
		return 0;
	}
	audit_close(au);
	return -e->code;
}

void audit_close(struct audit *au)
{
	if (!au)
		return;
	if (au->fd >= 0)
		close(au->fd);
	audit_policy_free(au->policy);
	pthread_mutex_destroy(&au->lock);
	free(au->path);
	free(au);
}

/* --- Events ------------------------------------------------------------------------------------------------------ */

static struct json *time_dom(struct arena *a, int64_t ns)
{
	char text[CLOCK_RFC3339_SIZE];

	clock_rfc3339_micro(ns / 1000000000, (int32_t)(ns % 1000000000), text);
	return json_newc(a, text);
}

static void set_str(struct arena *a, struct json *o, const char *key, struct str v)
{
	if (v.n > 0)
		json_setc(a, o, key, json_new_lossy(a, v));
}

static struct json *object_ref(struct api_request *req)
{
	struct arena *a = &req->arena;
	struct json *o = json_new_object(a);
	const struct json *doc = req->obj ? req->obj : req->sent;
	struct str name = req->at.name;

	if (name.n == 0 && req->at.verb == API_CREATE)
		name = json_strp(doc, "metadata.name");
	set_str(a, o, "resource", req->at.resource);
	set_str(a, o, "namespace", req->at.ns);
	set_str(a, o, "name", name);
	set_str(a, o, "uid", json_strp(doc, "metadata.uid"));
	set_str(a, o, "apiGroup", req->at.group);
	set_str(a, o, "apiVersion", req->at.version);
	set_str(a, o, "resourceVersion", json_strp(req->sent, "metadata.resourceVersion"));
	set_str(a, o, "subresource", req->at.sub);
	return o;
}

static void add_objects(struct api_request *req, struct json *ev, enum audit_stage stage)
{
	struct arena *a = &req->arena;
	struct json *doc;

	if (req->audit_level >= AUDIT_REQUEST && req->sent)
		json_setc(a, ev, "requestObject", req->sent);
	if (req->audit_level < AUDIT_REQUEST_RESPONSE || stage != AUDIT_RESPONSE_COMPLETE)
		return;
	if (req->audit_answer.n > 0 && json_parse(a, req->audit_answer, NULL, &doc, NULL) == 0)
		json_setc(a, ev, "responseObject", doc);
	else if (req->obj && req->http_status < 400)
		json_setc(a, ev, "responseObject", req->obj);
}

static void add_status(struct api_request *req, struct json *ev)
{
	struct arena *a = &req->arena;
	struct json *s = json_new_object(a);

	json_setc(a, s, "metadata", json_new_object(a));
	if (req->fail.err.code) {
		json_setc(a, s, "status", json_newc(a, "Failure"));
		set_str(a, s, "message", req->fail.message);
		set_str(a, s, "reason", str_from(req->fail.reason ? req->fail.reason : err_reason(req->fail.err.code)));
	}
	json_setc(a, s, "code", json_new_int(a, req->http_status));
	json_setc(a, ev, "responseStatus", s);
}

static void add_annotations(struct api_request *req, struct json *ev)
{
	struct json *o = json_new_object(&req->arena);

	for (size_t i = 0; i < req->n_notes; i++)
		json_set(&req->arena, o, req->notes[i].key, json_new_str(&req->arena, req->notes[i].value));
	if (json_len(o) > 0)
		json_setc(&req->arena, ev, "annotations", o);
}

static void write_event(struct api_request *req, enum audit_stage stage)
{
	_cleanup_(buf_fini) struct buf line = BUF_INIT;
	struct arena *a = &req->arena;
	struct json *ev = json_new_object(a), *ips = json_new_array(a);
	struct authz_attrs at = authz_attrs_of(req);
	const struct api_user *user = req->real_user.name.n ? &req->real_user : &req->user;

	json_setc(a, ev, "kind", json_newc(a, "Event"));
	json_setc(a, ev, "apiVersion", json_newc(a, "audit.k8s.io/v1"));
	json_setc(a, ev, "level", json_newc(a, audit_level_names[req->audit_level]));
	json_setc(a, ev, "auditID", json_newc(a, req->audit_id));
	json_setc(a, ev, "stage", json_newc(a, audit_stage_names[stage]));
	set_str(a, ev, "requestURI", req->target);
	set_str(a, ev, "verb", at.verb);
	json_setc(a, ev, "user", api_user_dom(a, user));
	if (req->real_user.name.n)
		json_setc(a, ev, "impersonatedUser", api_user_dom(a, &req->user));
	if (req->remote.n > 0) {
		ptrdiff_t colon = str_rfind(req->remote, ':');

		json_push(a, ips, json_new_str(a, colon > 0 ? str_sub(req->remote, 0, (size_t)colon) : req->remote));
	}
	json_setc(a, ev, "sourceIPs", ips);
	set_str(a, ev, "userAgent", http_header_get(&req->headers, "user-agent"));
	if (at.is_resource)
		json_setc(a, ev, "objectRef", object_ref(req));
	if (stage != AUDIT_REQUEST_RECEIVED) {
		add_status(req, ev);
		add_objects(req, ev, stage);
	}
	json_setc(a, ev, "requestReceivedTimestamp", time_dom(a, req->audit_began));
	json_setc(a, ev, "stageTimestamp", time_dom(a, clock_wall_ns()));
	add_annotations(req, ev);
	json_print(&line, ev, JSON_COMPACT);
	buf_add1(&line, '\n');
	write_line(req->srv->audit, buf_str(&line));
}

struct str audit_id(struct api_request *req)
{
	struct str given = http_header_get(&req->headers, "audit-id");

	if (!req->audit_id[0] && given.n > 0 && given.n < sizeof(req->audit_id))
		snprintf(req->audit_id, sizeof(req->audit_id), "%.*s", STR_FMT(given));
	else if (!req->audit_id[0])
		random_uuid(req->audit_id);
	return str_from(req->audit_id);
}

static void decide(struct api_request *req)
{
	struct authz_attrs at = authz_attrs_of(req);

	req->audit_decided = true;
	req->audit_began = clock_wall_ns();
	req->audit_level = (unsigned)audit_policy_level(req->srv->audit->policy, &req->user, &at, &req->audit_stages);
	audit_id(req);
}

enum step_result api__audit_begin(struct api_request *req)
{
	if (!req->srv->audit)
		return STEP_NEXT;
	decide(req);
	audit_event(req, AUDIT_REQUEST_RECEIVED);
	return STEP_NEXT;
}

void audit_event(struct api_request *req, enum audit_stage stage)
{
	if (!req->srv->audit)
		return;
	/* It never got so far that we knew who asks. */
	if (!req->audit_decided)
		decide(req);
	if (req->audit_level > AUDIT_NONE && (req->audit_stages & 1u << stage))
		write_event(req, stage);
}

void audit_keep_answer(struct api_request *req, struct str json)
{
	if (req->srv->audit && req->audit_level >= AUDIT_REQUEST_RESPONSE)
		req->audit_answer = arena_str(&req->arena, json);
}
