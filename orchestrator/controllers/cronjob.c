/*
 * CronJob: a Job at each time of a schedule. A run's name holds the minute it is for, so that no run is made twice; of several
 * times that were missed only the last one is made up for.
 *
 * The rules of time zones are the system's (tzdata). Their small files are read anew in each round, so that what an upgrade of the
 * system brings counts at once.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/util.h"
#include "orchestrator/controllers/controller.h"
#include "proto/batch.pb-c.h"
#include "proto/core.pb-c.h"
#include "proto/cron.h"
#include "proto/pb.h"
#include "proto/tz.h"

#define ZONES "/usr/share/zoneinfo"
#define ZONE_SIZE_MAX ((size_t)1 << 20)
/* More missed times than that are told: somebody stopped the clock, or wants more than can be done. */
#define MISSED_MAX 100
#define SCHEDULED_AT "batch.kubernetes.io/cronjob-scheduled-timestamp"

struct runs {
	struct reconcile *r;
	const struct informer_obj *o;
	const Batch__CronJob *cj;
	const Batch__CronJobSpec *spec;
	Batch__CronJob *copy;
	Batch__CronJobStatus *st;
	const struct informer_obj **active, **good, **bad; /* our jobs: unfinished, Complete, Failed; oldest first */
	size_t n_active, n_good, n_bad;
};

/* --- Reading ------------------------------------------------------------------------------------------- */

static bool has_ended(const Batch__Job *job, const char *how)
{
	for (size_t i = 0; job->status && i < job->status->n_conditions; i++)
		if (pb_streq(job->status->conditions[i]->type, how) && pb_streq(job->status->conditions[i]->status, "True"))
			return true;
	return false;
}

static int by_age(const void *a, const void *b)
{
	const struct informer_obj *x = *(const struct informer_obj *const *)a, *y = *(const struct informer_obj *const *)b;
	int64_t tx = time_s(x->meta->creation_timestamp), ty = time_s(y->meta->creation_timestamp);

	return tx != ty ? (tx < ty ? -1 : 1) : str_cmp(x->key, y->key);
}

static void collect(struct runs *c)
{
	struct informer_objs all = informer_index_get(c->r->view->by_any_owner[VIEW_JOBS], str_from(pb_s(c->o->meta->uid)));

	c->active = arena_new_array(c->r->arena, const struct informer_obj *, all.n + 1);
	c->good = arena_new_array(c->r->arena, const struct informer_obj *, all.n + 1);
	c->bad = arena_new_array(c->r->arena, const struct informer_obj *, all.n + 1);
	for (size_t i = 0; i < all.n; i++) {
		const Batch__Job *job = all.v[i]->msg;

		if (!owner_is(all.v[i]->meta, c->o) || all.v[i]->meta->deletion_timestamp)
			continue;
		if (has_ended(job, "Complete")) {
			c->good[c->n_good++] = all.v[i];
			if (time_s(job->status->completion_time) > time_s(c->st->last_successful_time))
				c->st->last_successful_time = pb_copy(c->r->arena, job->status->completion_time);
		} else if (has_ended(job, "Failed")) {
			c->bad[c->n_bad++] = all.v[i];
		} else {
			c->active[c->n_active++] = all.v[i];
		}
	}
	qsort(c->active, c->n_active, sizeof(*c->active), by_age);
	qsort(c->good, c->n_good, sizeof(*c->good), by_age);
	qsort(c->bad, c->n_bad, sizeof(*c->bad), by_age);
}

/* --- Starting runs ------------------------------------------------------------------------------------- */

static void add_active(struct runs *c, const char *name, const char *uid)
{
	Core__ObjectReference *ref = pb_add(c->r->arena, c->st, "active");

	ref->kind = "Job";
	ref->api_version = "batch/v1";
	ref->namespace_ = arena_strdup(c->r->arena, c->r->ns);
	ref->name = arena_strdup(c->r->arena, name);
	ref->uid = uid ? arena_strdup(c->r->arena, uid) : NULL;
}

static void create_job(struct runs *c, const char *name, int64_t at)
{
	struct arena *a = c->r->arena;
	const Batch__JobTemplateSpec *t = c->spec->job_template;
	Batch__Job *job = pb_new_of(a, batch__job, Batch__Job);
	time_t when = (time_t)at;
	struct tm tm;
	char text[32];

	job->metadata = t->metadata ? pb_copy(a, t->metadata) : pb_new_of(a, meta__object_meta, Meta__ObjectMeta);
	job->spec = pb_copy(a, t->spec);
	job->metadata->name = name;
	job->metadata->namespace_ = arena_strdup(a, c->r->ns);
	gmtime_r(&when, &tm);
	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
	pb_map_set(a, job->metadata, "annotations", SCHEDULED_AT, text);
	owner_set(a, job, c->o, "batch/v1", "CronJob");
	plan_create(c->r, VIEW_JOBS, c->r->ns, job);
	plan_event(c->r, VIEW_CRONJOBS, c->o, "Normal", "SuccessfulCreate", "Created job %s", name);
}

static void start(struct runs *c, int64_t at)
{
	const char *name = arena_printf(c->r->arena, "%s-%" PRId64, c->o->meta->name, at / 60);
	bool replace = pb_streq(c->spec->concurrency_policy, "Replace");

	if (view_get(c->r->view, VIEW_JOBS, c->r->ns, name) == NULL) {
		if (c->n_active > 0 && pb_streq(c->spec->concurrency_policy, "Forbid")) {
			plan_event(c->r, VIEW_CRONJOBS, c->o, "Normal", "JobAlreadyActive",
					"Not starting job because prior execution is running and concurrency policy is Forbid");
			return;
		}
		for (size_t i = 0; replace && i < c->n_active; i++) {
			plan_delete(c->r, VIEW_JOBS, c->active[i], -1, "Background");
			plan_event(c->r, VIEW_CRONJOBS, c->o, "Normal", "SuccessfulDelete", "Deleted job %s", c->active[i]->meta->name);
		}
		if (replace)
			plan_stage(c->r);
		create_job(c, name, at);
		plan_stage(c->r);
	}
	c->st->last_schedule_time = time_now(c->r->arena, at);
}

/* 0 and NULL: UTC. The API server has refused names that lead out of the folder; here they are nothing as well. */
static int read_zone(struct arena *a, const char *name, struct tz *room, const struct tz **ret, struct err *e)
{
	struct buf file = BUF_INIT;
	int r;

	*ret = NULL;
	if (name[0] == '\0' || strcmp(name, "UTC") == 0)
		return 0;
	if (name[0] == '/' || strstr(name, ".."))
		return err_set(e, ERR_BAD_REQUEST, "that is no name");
	r = file_get(arena_printf(a, ZONES "/%s", name), ZONE_SIZE_MAX, &file, e);
	if (r == 0)
		r = tz_parse(room, a, buf_str(&file), e);
	buf_fini(&file);
	if (r == 0)
		*ret = room;
	return r;
}

static void tell_if_many(struct runs *c, const struct cron *cron, const struct tz *zone, int64_t since, int64_t at)
{
	int n = 0;

	while (n <= MISSED_MAX && (since = cron_next(cron, zone, since)) != 0 && since <= at)
		n++;
	if (n > MISSED_MAX)
		plan_event(c->r, VIEW_CRONJOBS, c->o, "Warning", "TooManyMissedTimes",
				"too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew");
}

static void schedule(struct runs *c)
{
	const struct tz *zone;
	struct tz room;
	int64_t since = MAX(time_s(c->st->last_schedule_time), time_s(c->o->meta->creation_timestamp)), at, next, now = c->r->now_s;
	bool has_deadline = c->spec->has_starting_deadline_seconds;
	struct err e = ERR_INIT;
	struct cron cron;

	if (read_zone(c->r->arena, pb_s(c->spec->time_zone), &room, &zone, &e) < 0) {
		plan_event(c->r, VIEW_CRONJOBS, c->o, "Warning", "UnknownTimeZone", "invalid timeZone: \"%s\": %s", pb_s(c->spec->time_zone),
				e.text);
		return;
	}
	if (cron_parse(str_from(pb_s(c->spec->schedule)), &cron, &e) < 0) {
		plan_event(c->r, VIEW_CRONJOBS, c->o, "Warning", "UnparseableSchedule", "unparseable schedule: %s: %s", pb_s(c->spec->schedule),
				e.text);
		return;
	}
	at = cron_last(&cron, zone, since, now);
	/* What is older than the deadline could not be started any more: nobody misses it. */
	if (at != 0)
		tell_if_many(c, &cron, zone, has_deadline ? MAX(since, now - c->spec->starting_deadline_seconds - 1) : since, at);
	if (at != 0 && has_deadline && now - at > c->spec->starting_deadline_seconds)
		plan_event(c->r, VIEW_CRONJOBS, c->o, "Warning", "MissSchedule", "Missed scheduled time to start a job %" PRId64 " seconds ago",
				now - at);
	else if (at != 0)
		start(c, at);
	next = cron_next(&cron, zone, cron.every_s > 0 && at != 0 ? at : cron.every_s > 0 ? since : now);
	if (next != 0)
		plan_again(c->r, (uint64_t)MIN(MAX(next - now, (int64_t)1), (int64_t)86400) * 1000);
}

static void trim(struct runs *c, const struct informer_obj **jobs, size_t n, int32_t limit)
{
	for (size_t i = 0; i + (size_t)MAX(limit, 0) < n; i++) {
		plan_delete(c->r, VIEW_JOBS, jobs[i], -1, "Background");
		plan_event(c->r, VIEW_CRONJOBS, c->o, "Normal", "SuccessfulDelete", "Deleted job %s", jobs[i]->meta->name);
	}
}

static void reconcile_cronjob(struct reconcile *r)
{
	const struct informer_obj *o = view_get(r->view, VIEW_CRONJOBS, r->ns, r->name);
	struct runs c = {.r = r, .o = o, .cj = informer_msg(o)};

	if (c.cj == NULL || c.cj->spec == NULL || c.cj->spec->job_template == NULL || o->meta->deletion_timestamp != NULL)
		return;
	c.spec = c.cj->spec;
	c.copy = pb_copy(r->arena, c.cj);
	c.st = pb_sub(r->arena, c.copy, "status");
	c.st->n_active = 0;
	c.st->active = NULL;
	collect(&c);
	for (size_t i = 0; i < c.n_active; i++)
		add_active(&c, c.active[i]->meta->name, c.active[i]->meta->uid);
	if (!pb_or(c.spec, suspend, false))
		schedule(&c);
	if (!pb_equal(c.cj->status, c.st))
		plan_update_status(r, VIEW_CRONJOBS, c.copy);
	trim(&c, c.good, c.n_good, pb_or(c.spec, successful_jobs_history_limit, 3));
	trim(&c, c.bad, c.n_bad, pb_or(c.spec, failed_jobs_history_limit, 1));
}

static void map_job(struct enqueue *q, const struct view *v, const struct informer_obj *o)
{
	map_owner(q, o, "CronJob");
}

const struct controller_row controller_cronjob = {
	.name = "cronjob-controller",
	.account = "cronjob-controller",
	.watches = {{VIEW_CRONJOBS, map_self}, {VIEW_JOBS, map_job}},
	.reconcile = reconcile_cronjob,
};
