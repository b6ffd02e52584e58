/* Classifying requests, giving them seats and taking them back; see flow.h. */
#include "orchestrator/apiserver/flow.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/util.h"
#include "orchestrator/apiserver/apiserver-priv.h"
#include "orchestrator/apiserver/authz.h"
#include "orchestrator/apiserver/flow-priv.h"
#include "orchestrator/apiserver/storage.h"
#include "proto/resource.h"
#include "store/view.h"

/* A list has one seat, and one more for each so many bytes: what one turn of the loop makes of it. */
#define LIST_SEAT (256u << 10)
#define LIST_MAX_SEATS 10
/* Objects that are looked at to find out how much there is. */
#define LOOK_OBJECTS 2000
/* Of what a list with a selector leaves out: it is looked at, but not written. */
#define SELECTED_PART 4
/* What one event costs a loop for one watcher, and from when on a write keeps its seat for it. */
#define EVENT_US 3
#define LINGER_MIN_US 1000
#define LINGER_MAX_US 100000
/* Requests that start in one turn, at most; then the sockets are looked at. */
#define KICK_MAX 32

const double flow_buckets[FLOW_N_BUCKETS] = {0, 0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30};

void flow__observe(struct flow_histogram *h, uint64_t ns)
{
	double s = (double)ns / 1e9;
	size_t i = 0;

	while (i < FLOW_N_BUCKETS && s > flow_buckets[i])
		i++;
	h->n[i]++;
	h->sum += s;
}

/* --- How many seats ------------------------------------------------------------------------------------------------ */

static uint64_t list_key(const struct api_request *req)
{
	const struct api_attrs *at = &req->at;

	return fair_hash(at->group.p, at->group.n, at->resource.p, at->resource.n) * 31 + fair_hash(at->ns.p, at->ns.n, NULL, 0);
}

static unsigned seats_of_bytes(size_t bytes)
{
	return 1 + (unsigned)MIN(bytes / LIST_SEAT, (size_t)LIST_MAX_SEATS - 1);
}

/* Where the objects that a path speaks of are kept; of kinds that only others serve there are none. */
static struct str kept_at(struct api_request *req)
{
	const struct api_attrs *at = &req->at;
	struct arena *a = &req->arena;
	const struct resource *res = resource_find(arena_cstr(a, at->group), arena_cstr(a, at->version), arena_cstr(a, at->resource));

	if (res)
		return storage_prefix(a, res, at->ns);
	return ARENA_JOIN(a, STR("/registry/"), at->group, STR("/"), at->resource, STR("/"), at->ns, at->ns.n ? STR("/") : STR(""));
}

/*
 * How much is stored there, as far as it makes a difference: of nothing that was listed before a first list is not known. It is looked
 * at, for a millisecond at most, once.
 */
static size_t stored_bytes(struct api_request *req)
{
	struct str prefix = kept_at(req);
	size_t bytes = 0, n = 0;
	struct store_view *v;
	struct view_iter it;
	struct store_kv kv;
	struct err e = ERR_INIT;

	if (store_view_open(req->srv->store, &v, &e) < 0)
		return 0;
	view_iter_init(&it, v, prefix, storage_end(&req->arena, prefix), 0, 0);
	while (bytes < LIST_SEAT * LIST_MAX_SEATS && n < LOOK_OBJECTS && view_iter_next(&it, &kv, &e) > 0) {
		bytes += kv.value.n;
		n++;
	}
	view_iter_fini(&it);
	store_view_close(v);
	/* There are others: at least as many again. */
	return n == LOOK_OBJECTS ? bytes * 2 : bytes;
}

/* What a list will be, by what the last one was, or by what is there. */
static unsigned estimate(struct flow_state *fs, struct api_request *req)
{
	const struct api_options *o = &req->opt;
	struct flow_size *s;
	uint64_t key;
	size_t bytes;

	if (req->at.verb == API_WATCH && !(o->send_initial_events || o->resource_version.n == 0 || str_eqc(o->resource_version, "0")))
		return 1;
	if (req->at.verb != API_LIST && req->at.verb != API_WATCH && req->at.verb != API_DELETE_COLLECTION)
		return 1;
	key = list_key(req);
	s = &fs->sizes[key % FLOW_SIZES];
	if (req->at.name.n > 0)
		return 1;
	if (s->key != key)
		*s = (struct flow_size){key, stored_bytes(req)};
	bytes = s->bytes;
	if (o->label_selector.n > 0 || o->field_selector.n > 0)
		bytes /= SELECTED_PART;
	/* A page of a thousand small objects is some 256 KiB: pages are as wide as they are asked to be. */
	if (o->limit > 0 && o->limit < INT32_MAX)
		bytes = MIN(bytes, (size_t)o->limit * 1024);
	return seats_of_bytes(bytes);
}

void flow_list_size(struct api_request *req, size_t bytes, bool streamed)
{
	struct flow_state *fs = req->al->flow;
	struct flow_ticket *t = &req->flow;
	unsigned seats = seats_of_bytes(bytes);
	uint64_t key;

	if (!fs)
		return;
	if (req->opt.label_selector.n == 0 && req->opt.field_selector.n == 0 && req->opt.limit == 0) {
		key = list_key(req);
		fs->sizes[key % FLOW_SIZES] = (struct flow_size){key, bytes};
	}
	/* It has begun: rather a level over its limit for once than half a list. */
	if (streamed && t->phase == FLOW_RUNNING && seats > t->seats) {
		t->level->in_use += seats - t->seats;
		t->stat->seats += seats - t->seats;
		t->seats = seats;
	}
}

/* --- Classifying ---------------------------------------------------------------------------------------------------- */

static bool is_long_running(const struct api_request *req)
{
	static const char *const subs[] = {"attach", "exec", "log", "portforward", "proxy"};

	for (size_t i = 0; req->at.is_resource && i < ARRAY_LEN(subs); i++)
		if (str_eqc(req->at.sub, subs[i]))
			return true;
	return false;
}

static uint64_t classify(struct flow_state *fs, struct api_request *req)
{
	struct authz_attrs at = authz_attrs_of(req);
	struct flow_question q = {.user = &req->user, .is_resource = at.is_resource, .verb = at.verb, .group = at.group,
			.resource = at.resource, .sub = at.sub, .ns = at.ns, .path = at.path};
	const struct flow_schema *s = flow_config_match(fs->config, &q);
	struct str by = s->by == FLOW_BY_USER ? req->user.name : s->by == FLOW_BY_NAMESPACE ? at.ns : STR_NULL;
	struct flow_ticket *t = &req->flow;

	t->level = fs->by_level[s->level_index];
	t->stat = fs->by_schema[s - fs->config->schemas];
	t->level->refs++;
	t->stat->refs++;
	t->seats = estimate(fs, req);
	/* Only who waits needs his flow's hash. */
	return t->level->exempt || !t->level->queues ? 0 : fair_hash(s->name.p, s->name.n, by.p, by.n);
}

bool flow_uids(const struct api_request *req, struct str *ret_schema, struct str *ret_level)
{
	if (!req->flow.level)
		return false;
	*ret_schema = str_from(req->flow.stat->uid);
	*ret_level = str_from(req->flow.level->uid);
	return true;
}

/* --- Seats ------------------------------------------------------------------------------------------------------------ */

/* One that is wider than the whole limit goes alone. */
static bool fits(const struct flow_level *l, unsigned seats)
{
	return l->exempt || l->in_use == 0 || l->in_use + seats <= l->limit;
}

static void grant(struct flow_ticket *t, uint64_t now)
{
	struct flow_level *l = t->level;
	struct flow_stat *s = t->stat;

	flow__observe(&s->wait, t->phase == FLOW_WAITING ? now - t->since_ns : 0);
	t->phase = FLOW_RUNNING;
	t->since_ns = now;
	l->in_use += t->seats;
	l->running++;
	s->dispatched++;
	s->executing++;
	s->seats += t->seats;
}

static enum step_result refuse(struct api_request *req, enum flow_reason why)
{
	req->flow.stat->rejected[why]++;
	req->flow.phase = FLOW_OVER;
	api_fail(req, ERR_TOO_MANY, "Too many requests, please try again later.");
	req->fail.retry_after_s = (int)flow_drops_add(&req->flow.level->drops, (int64_t)(clock_mono_ms() / 1000));
	return STEP_FAIL;
}

static void leave_queue(struct flow_ticket *t)
{
	fair_drop(&t->level->fair, &t->item);
	t->stat->waiting--;
	t->phase = FLOW_OVER;
	/* Who is next now may be narrow enough for the seats that were too few. */
	flow__kick(t->level->state);
}

static void waited_long(struct loop_timer *t)
{
	api_request_resume(container_of(t, struct api_request, nap));
}

static enum step_result enter(struct api_request *req, struct flow_state *fs)
{
	struct flow_ticket *t = &req->flow;
	uint64_t hash = classify(fs, req), now = req->started_ns;
	struct flow_level *l = t->level;
	unsigned demand = l->in_use + l->fair.seats + t->seats;

	l->peak = MAX(l->peak, demand);
	if (fits(l, t->seats) && (l->fair.n == 0 || l->exempt)) {
		grant(t, now);
		return STEP_NEXT;
	}
	flow__press(fs);
	if (!l->queues)
		return refuse(req, FLOW_LIMIT);
	if (!fair_put(&l->fair, &t->item, hash, t->seats))
		return refuse(req, FLOW_QUEUE_FULL);
	t->phase = FLOW_WAITING;
	t->since_ns = now;
	t->stat->waiting++;
	loop_timer_start(&req->nap, req->al->loop, fs->wait_ms, waited_long);
	return STEP_WAIT;
}

enum step_result api__flow(struct api_request *req)
{
	struct flow_state *fs = req->al->flow;

	if (req->flow.phase == FLOW_WAITING) {
		leave_queue(&req->flow);
		return refuse(req, FLOW_TIMEOUT);
	}
	if (!fs || req->local || req->flow.phase != FLOW_NONE || is_long_running(req))
		return STEP_NEXT;
	return enter(req, fs);
}

/* Who is next and fits; NULL: nobody, anywhere. */
static struct flow_level *ready(struct flow_state *fs)
{
	LIST_FOR_EACH (l, &fs->levels, struct flow_level, link) {
		struct fair_item *it = fair_first(&l->fair);

		if (it && fits(l, it->seats))
			return l;
	}
	return NULL;
}

static void kick_due(struct loop_timer *timer)
{
	struct flow_state *fs = container_of(timer, struct flow_state, kick);
	uint64_t now = clock_mono_ns();
	struct flow_level *l;

	for (unsigned n = 0; (l = ready(fs)); n++) {
		struct fair_item *it = fair_first(&l->fair);
		struct api_request *req = container_of(it, struct api_request, flow.item);

		if (n == KICK_MAX) {
			flow__kick(fs);
			return;
		}
		fair_take(&l->fair, it);
		req->flow.stat->waiting--;
		grant(&req->flow, now);
		api_request_resume(req);
	}
}

void flow__kick(struct flow_state *fs)
{
	if (!loop_timer_active(&fs->kick) && ready(fs))
		loop_timer_start(&fs->kick, fs->al->loop, 0, kick_due);
}

static void seats_back(struct flow_level *l, unsigned seats)
{
	struct flow_state *fs = l->state;
	bool waits = l->fair.n > 0;

	l->in_use -= seats;
	flow__level_unref(l);
	if (waits)
		flow__kick(fs);
}

/* --- Giving back --------------------------------------------------------------------------------------------------------- */

/* A write's seat while its event goes to many watchers. */
struct flow_linger {
	struct list link;
	struct loop_timer timer;
	struct flow_hold hold;
};

static void linger_end(struct flow_linger *g)
{
	struct flow_hold hold = g->hold;

	loop_timer_stop(&g->timer);
	list_del(&g->link);
	free(g);
	flow_hold_end(&hold);
}

static void linger_over(struct loop_timer *t)
{
	linger_end(container_of(t, struct flow_linger, timer));
}

void flow__lingers_end(struct flow_state *fs)
{
	while (!list_empty(&fs->lingers))
		linger_end(LIST_FIRST(&fs->lingers, struct flow_linger, link));
}

static unsigned *watched(struct api_request *req)
{
	return &req->al->flow->watched[((uintptr_t)req->res >> 4) % FLOW_WATCHED];
}

void flow_watching(struct api_request *req, int n)
{
	if (req->al->flow)
		*watched(req) += (unsigned)n;
}

static bool is_write(const struct api_request *req)
{
	return req->res && req->at.verb >= API_CREATE && req->at.verb <= API_DELETE_COLLECTION && req->new_rv > 0;
}

/* The loops are alike: what this one has of watchers the others have, too. */
static void linger(struct api_request *req)
{
	struct flow_state *fs = req->al->flow;
	uint64_t us = (uint64_t)*watched(req) * req->srv->cfg.n_loops * EVENT_US;
	struct flow_linger *g;

	if (us < LINGER_MIN_US || req->flow.level->exempt)
		return;
	g = xcalloc(1, sizeof(*g));
	if (!flow_hold(req, &g->hold)) {
		free(g);
		return;
	}
	list_add_tail(&fs->lingers, &g->link);
	loop_timer_start(&g->timer, fs->al->loop, MIN(us, (uint64_t)LINGER_MAX_US) / 1000, linger_over);
}

static void end_running(struct flow_ticket *t)
{
	uint64_t used = clock_mono_ns() - t->since_ns;

	flow__observe(&t->stat->execution, used);
	t->stat->executing--;
	t->stat->seats -= t->seats;
	t->level->running--;
	fair_done(&t->level->fair, &t->item, used / 1000);
	t->phase = FLOW_OVER;
}

bool flow_hold(struct api_request *req, struct flow_hold *h)
{
	struct flow_ticket *t = &req->flow;

	if (t->phase != FLOW_RUNNING)
		return false;
	*h = (struct flow_hold){t->level, t->seats};
	t->level->refs++;
	end_running(t);
	return true;
}

void flow_hold_end(struct flow_hold *h)
{
	if (h->level)
		seats_back(h->level, h->seats);
	h->level = NULL;
}

void flow_release(struct api_request *req)
{
	struct flow_ticket *t = &req->flow;

	if (t->phase == FLOW_WAITING) {
		t->stat->rejected[FLOW_CANCELLED]++;
		leave_queue(t);
	}
	if (t->phase == FLOW_RUNNING && is_write(req))
		linger(req);
	if (t->phase == FLOW_RUNNING) {
		t->level->refs++;
		end_running(t);
		seats_back(t->level, t->seats);
	}
}

void flow_end(struct api_request *req)
{
	struct flow_ticket *t = &req->flow;

	if (!t->level)
		return;
	flow_release(req);
	flow__stat_unref(t->stat);
	flow__level_unref(t->level);
	t->level = NULL;
	t->stat = NULL;
}
