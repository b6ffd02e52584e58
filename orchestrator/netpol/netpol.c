#include "orchestrator/netpol/netpol.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/util.h"
#include "io/loop.h"
#include "io/process.h"
#include "net/link.h"
#include "net/policy_nft.h"
#include "orchestrator/informer/informer.h"
#include "orchestrator/netpol/local_pods.h"
#include "orchestrator/netpol/netpol_compile.h"
#include "proto/pb.h"
#include "proto/resource.h"

#define GATHER_MS 10u        /* after the first change of a burst */
#define MIN_INTERVAL_MS 100u /* from one transaction to the next */
#define RETRY_FIRST_MS 500u
#define RETRY_MAX_MS 30000u
#define LATE_MS 10000u       /* the first list of all pods should have come by then */
#define CHECK_MS 30000u      /* is the table still there, in case someone flushed all rules */
#define BRIDGE_KEY "net/bridge/bridge-nf-call-iptables"

/* What was compiled at one time: which pods it knew, and what shall be in the kernel for them. */
struct plan {
	struct arena arena; /* of the table */
	struct policy_set *set;
	struct nft_table *table;
	struct map locals; /* uid -> its address, in the arena */
};

/*
 *	IDLE --dirty, timer--> LOADING (modprobe) --> APPLYING (nft -f -) --> IDLE
 *	  |                      | bridges pass the rules: skipped
 *	  +--nothing to do for long--> CHECKING (nft list) --> IDLE, dirty when it is not there
 */
enum state { IDLE, LOADING, APPLYING, CHECKING };

struct netpol {
	struct netpol_cfg cfg;
	struct informer_handler on_policies, on_namespaces, on_here, on_all;
	struct informer *all; /* the pods of all nodes; NULL while there is no policy */
	unsigned n_stopping;  /* informers that still stop */
	struct local_pods locals;
	struct loop_timer timer;
	struct process_run run;
	const char *argv[8];
	enum state state;
	bool dirty, stopping, loaded;
	struct plan *plan, *pending;
	bool in_force;  /* the plan is what is in the kernel */
	bool unbridged; /* and does not reach traffic within a bridge */
	struct buf text;
	char trouble[512]; /* "": none */
	uint64_t last_done_ms, retry_ms;
	struct netpol_stats stats;
	void (*stopped)(void *);
	void *stopped_arg;
};

static void on_timer(struct loop_timer *);

/* --- When ---------------------------------------------------------------------------------------------------------- */

static bool synced(const struct netpol *np)
{
	return informer_synced(np->cfg.policies) && informer_synced(np->cfg.namespaces) && informer_synced(np->cfg.pods_here);
}

static void schedule(struct netpol *np)
{
	uint64_t since = clock_mono_ms() - np->last_done_ms, wait = GATHER_MS;

	if (np->state != IDLE || np->stopping || !synced(np))
		return;
	if (!np->dirty)
		wait = CHECK_MS;
	else if (np->retry_ms)
		wait = np->retry_ms;
	else if (np->last_done_ms && since < MIN_INTERVAL_MS)
		wait = MAX(wait, MIN_INTERVAL_MS - since);
	loop_timer_start(&np->timer, np->cfg.loop, wait, on_timer);
}

static void make_dirty(struct netpol *np)
{
	if (np->dirty || np->stopping)
		return;
	np->dirty = true;
	schedule(np);
}

static void on_policy(struct informer_handler *h, const struct informer_obj *old, const struct informer_obj *new)
{
	const Networking__NetworkPolicy *was = informer_msg(old), *is = informer_msg(new);

	if (!was || !is || !pb_equal(was->spec, is->spec))
		make_dirty(container_of(h, struct netpol, on_policies));
}

static void on_namespace(struct informer_handler *h, const struct informer_obj *old, const struct informer_obj *new)
{
	if (!old || !new || !netpol_same_labels(old->meta, new->meta))
		make_dirty(container_of(h, struct netpol, on_namespaces));
}

static void on_pod_here(struct informer_handler *h, const struct informer_obj *old, const struct informer_obj *new)
{
	struct netpol *np = container_of(h, struct netpol, on_here);
	bool changed = false;

	/* Another pod of the same name. */
	if (old && (!new || !pb_streq(old->meta->uid, new->meta->uid)))
		changed = local_pods_deleted(&np->locals, pb_s(old->meta->uid));
	if (new)
		changed |= local_pods_set(&np->locals, new->msg);
	if (changed)
		make_dirty(np);
}

static void on_pod_anywhere(struct informer_handler *h, const struct informer_obj *old, const struct informer_obj *new)
{
	if (!netpol_pod_same(informer_msg(old), informer_msg(new)))
		make_dirty(container_of(h, struct netpol, on_all));
}

static void list_came(struct netpol *np)
{
	np->dirty = true;
	schedule(np);
}

static void policies_synced(struct informer_handler *h)
{
	list_came(container_of(h, struct netpol, on_policies));
}

static void namespaces_synced(struct informer_handler *h)
{
	list_came(container_of(h, struct netpol, on_namespaces));
}

static void here_synced(struct informer_handler *h)
{
	list_came(container_of(h, struct netpol, on_here));
}

static void all_synced(struct informer_handler *h)
{
	list_came(container_of(h, struct netpol, on_all));
}

/* --- The pods of other nodes: watched (and allowed to be) only while there is a policy ------------------------------ */

static void maybe_destroy(struct netpol *np);

static void all_stopped(void *arg)
{
	struct netpol *np = arg;

	np->n_stopping--;
	maybe_destroy(np);
}

static void follow_none(struct netpol *np)
{
	if (!np->all)
		return;
	np->n_stopping++;
	informer_stop(TAKE(np->all), all_stopped, np);
}

static void follow_all(struct netpol *np)
{
	struct informer_cfg ic = {.client = np->cfg.client, .resource = resource_find("", "v1", "pods"), .desc = &core__pod__descriptor,
			.keep = netpol_keep_pod};

	if (np->all)
		return;
	np->all = informer_new(&ic);
	np->on_all = (struct informer_handler){.changed = on_pod_anywhere, .synced = all_synced};
	informer_add_handler(np->all, &np->on_all);
	informer_start(np->all);
}

/* --- Compiling ------------------------------------------------------------------------------------------------------ */

static const void **messages(const struct informer *inf, size_t *ret_n)
{
	const void **v = xcalloc(informer_len(inf) + 1, sizeof(*v));
	size_t n = 0;

	INFORMER_FOR_EACH (o, inf)
		v[n++] = o->msg;
	*ret_n = n;
	return v;
}

static struct netpol_pod *collect_pods(const struct netpol *np, size_t *ret_n)
{
	size_t max = map_len(&np->locals.by_uid) + (np->all ? informer_len(np->all) : 0), n = 0;
	struct netpol_pod *v = xcalloc(max + 1, sizeof(*v));

	if (np->all)
		INFORMER_FOR_EACH (o, np->all) {
			const Core__Pod *pod = o->msg;

			/* What we know of our own pods is newer. */
			if (!netpol_takes_part(pod) || local_pods_find(&np->locals, pb_s(o->meta->uid)) ||
					!ip4_parse(str_from(pb_s(pod->status->pod_ip)), &v[n].addr))
				continue;
			v[n++].pod = pod;
		}
	n += local_pods_collect(&np->locals, v + n);
	*ret_n = n;
	return v;
}

static void plan_free(struct plan *p)
{
	if (!p)
		return;
	policy_set_free(p->set);
	map_fini(&p->locals);
	arena_fini(&p->arena);
	free(p);
}

static struct plan *make_plan(struct netpol *np)
{
	struct plan *p = xcalloc(1, sizeof(*p));
	uint64_t began = clock_mono_ns();
	struct netpol_input in = {0};
	struct netpol_pod *pods = collect_pods(np, &in.n_pods);
	const void **policies = messages(np->cfg.policies, &in.n_policies);
	const void **namespaces = messages(np->cfg.namespaces, &in.n_namespaces);

	in.pods = pods;
	in.policies = (const Networking__NetworkPolicy *const *)policies;
	in.namespaces = (const Core__Namespace *const *)namespaces;
	arena_init(&p->arena);
	p->set = netpol_compile(&in);
	p->table = policy_table(p->set, &p->arena);
	map_init(&p->locals);
	MAP_FOR_EACH (e, &np->locals.by_uid) {
		const struct local_pod *l = e->value;

		map_put(&p->locals, e->key, arena_memdup(&p->arena, &l->addr, sizeof(l->addr)));
	}
	free(pods);
	free(policies);
	free(namespaces);
	np->stats.compile_us = (clock_mono_ns() - began) / 1000;
	return p;
}

/* --- Writing -------------------------------------------------------------------------------------------------------- */

static void set_trouble(struct netpol *np, const char *text)
{
	if (strcmp(np->trouble, text) == 0)
		return;
	snprintf(np->trouble, sizeof(np->trouble), "%s", text);
	if (*text)
		log_error("netpol", "NetworkPolicies are not enforced: %s", text);
	else
		log_info("netpol", "NetworkPolicies are enforced again");
	np->cfg.trouble(np->cfg.data, *text ? np->trouble : NULL);
}

static void finish(struct netpol *np, bool good)
{
	np->state = IDLE;
	np->last_done_ms = clock_mono_ms();
	if (np->stopping) {
		maybe_destroy(np);
		return;
	}
	if (good) {
		np->retry_ms = 0;
	} else {
		np->dirty = true;
		np->retry_ms = np->retry_ms ? MIN(np->retry_ms * 2, RETRY_MAX_MS) : RETRY_FIRST_MS;
	}
	schedule(np);
}

static void run(struct netpol *np, enum state state, struct str input, const char *const *argv,
		void (*done)(struct process_run *, struct process_exit, struct str, struct str, const struct err *))
{
	size_t n = 0;

	for (; argv[n]; n++)
		np->argv[n] = argv[n];
	np->argv[n] = NULL;
	np->state = state;
	memset(&np->run, 0, sizeof(np->run));
	np->run.loop = np->cfg.loop;
	np->run.spec.argv = np->argv;
	np->run.input = input;
	np->run.max_output = (size_t)16 << 20;
	np->run.done = done;
	process_run(&np->run);
}

/* Does what one pod of a bridge sends to another one pass the rules? Each network namespace has a switch of its own for that. */
static bool bridges_pass_rules(void)
{
	char value[8] = "";
	FILE *f = fopen("/proc/sys/" BRIDGE_KEY, "re");
	bool on;

	if (!f)
		return false;
	on = fgets(value, sizeof(value), f) && value[0] == '1';
	fclose(f);
	return on || sysctl_set(-1, BRIDGE_KEY, "1", NULL) == 0;
}

/* What was pending is the plan now, in the kernel or not. */
static void settle(struct netpol *np, bool in_force)
{
	plan_free(np->plan);
	np->plan = TAKE(np->pending);
	np->in_force = in_force;
	np->unbridged = np->plan->set->n_members > 0 && !bridges_pass_rules();
	np->stats.members = np->plan->set->n_members;
	if (in_force)
		set_trouble(np, !np->unbridged ? "" : "traffic between the pods of this node does not pass the packet filter: the kernel module "
					"br_netfilter is missing, or " BRIDGE_KEY " cannot be set");
	np->cfg.changed(np->cfg.data);
}

static void write_rules(struct netpol *np);

static void applied(struct process_run *r, struct process_exit x, struct str out, struct str err_out, const struct err *e)
{
	struct netpol *np = container_of(r, struct netpol, run);
	/* To remove what is not there needs no nft. */
	bool good = !e || (np->pending->set->n_members == 0 && !np->in_force && np->trouble[0] == '\0');
	char why[400];

	if (np->stopping) {
		finish(np, true);
		return;
	}
	if (e && np->in_force) {
		/* Somebody changed the table, so the differences do not fit: as a whole, at once. */
		np->in_force = false;
		write_rules(np);
		return;
	}
	np->stats.applied += !e;
	np->stats.failed += !good;
	if (e)
		snprintf(why, sizeof(why), "nft: %.390s", e->text);
	log_debug("netpol", "rules applied bytes=%zu members=%zu good=%d compile_us=%" PRIu64, np->text.n, np->pending->set->n_members, good,
			np->stats.compile_us);
	settle(np, good);
	if (!good)
		set_trouble(np, why);
	finish(np, good);
}

static void write_rules(struct netpol *np)
{
	static const char *const argv[] = {"nft", "-f", "-", NULL};

	buf_clear(&np->text);
	nft_diff(np->in_force ? np->plan->table : NULL, np->pending->table, &np->text);
	if (np->text.n == 0) {
		settle(np, true);
		finish(np, true);
		return;
	}
	run(np, APPLYING, buf_str(&np->text), argv, applied);
}

static void module_loaded(struct process_run *r, struct process_exit x, struct str out, struct str err_out, const struct err *e)
{
	struct netpol *np = container_of(r, struct netpol, run);

	if (e)
		log_debug("netpol", "modprobe br_netfilter: %s", e->text);
	np->loaded = true;
	if (np->stopping)
		finish(np, true);
	else
		write_rules(np);
}

static void apply(struct netpol *np)
{
	static const char *const argv[] = {"modprobe", "br_netfilter", NULL};

	np->dirty = false;
	plan_free(np->pending);
	np->pending = make_plan(np);
	if (np->pending->set->n_members > 0 && !np->loaded && !bridges_pass_rules())
		run(np, LOADING, STR_NULL, argv, module_loaded);
	else
		write_rules(np);
}

static void checked(struct process_run *r, struct process_exit x, struct str out, struct str err_out, const struct err *e)
{
	struct netpol *np = container_of(r, struct netpol, run);

	if (!np->stopping && (e || !nft_is_there(np->plan->table, out))) {
		log_warn("netpol", "the rules of NetworkPolicies were changed by somebody else; they are made anew");
		np->in_force = false;
		np->dirty = true;
	}
	finish(np, true);
}

static void on_late(struct loop_timer *t)
{
	set_trouble(container_of(t, struct netpol, timer), "the pods of other nodes cannot be listed");
}

static void on_timer(struct loop_timer *t)
{
	static const char *const argv[] = {"nft", "-t", "list", "table", "ip", POLICY_TABLE, NULL};
	struct netpol *np = container_of(t, struct netpol, timer);

	if (informer_len(np->cfg.policies) > 0)
		follow_all(np);
	else
		follow_none(np);
	if (np->all && !informer_synced(np->all)) {
		/* Its list goes on from here. */
		loop_timer_start(&np->timer, np->cfg.loop, LATE_MS, on_late);
		return;
	}
	if (np->dirty || !np->plan)
		apply(np);
	else if (np->plan->table->n_chains > 0)
		run(np, CHECKING, STR_NULL, argv, checked);
	else
		schedule(np);
}

/* --- The kubelet's side ----------------------------------------------------------------------------------------------- */

bool netpol_admit(struct netpol *np, const Core__Pod *pod, const char *ip, const char **ret_why)
{
	const uint32_t *known;
	uint32_t addr;

	if (ret_why)
		*ret_why = np->trouble[0] ? np->trouble : NULL;
	if (!ip4_parse(str_from(ip), &addr))
		return true;
	if (local_pods_runs(&np->locals, pod, addr))
		make_dirty(np);
	known = np->plan ? map_get(&np->plan->locals, str_from(pb_s(pod->metadata->uid))) : NULL;
	if (!known || *known != addr)
		return false;
	return (np->in_force && !np->unbridged) || !policy_member_find(np->plan->set, addr);
}

void netpol_forget(struct netpol *np, const char *uid)
{
	if (local_pods_ended(&np->locals, uid))
		make_dirty(np);
}

/* --- Life -------------------------------------------------------------------------------------------------------------- */

struct netpol *netpol_start(const struct netpol_cfg *cfg)
{
	struct netpol *np = xcalloc(1, sizeof(*np));

	np->cfg = *cfg;
	np->on_policies = (struct informer_handler){.changed = on_policy, .synced = policies_synced};
	np->on_namespaces = (struct informer_handler){.changed = on_namespace, .synced = namespaces_synced};
	np->on_here = (struct informer_handler){.changed = on_pod_here, .synced = here_synced};
	informer_add_handler(cfg->policies, &np->on_policies);
	informer_add_handler(cfg->namespaces, &np->on_namespaces);
	informer_add_handler(cfg->pods_here, &np->on_here);
	local_pods_init(&np->locals);
	buf_init(&np->text, BUF_NO_LIMIT);
	return np;
}

static void maybe_destroy(struct netpol *np)
{
	void (*cb)(void *) = np->stopped;
	void *arg = np->stopped_arg;

	if (!np->stopping || np->n_stopping > 0 || np->state != IDLE)
		return;
	loop_timer_stop(&np->timer);
	plan_free(np->plan);
	plan_free(np->pending);
	local_pods_fini(&np->locals);
	buf_fini(&np->text);
	free(np);
	cb(arg);
}

void netpol_stop(struct netpol *np, void (*cb)(void *arg), void *arg)
{
	np->stopping = true;
	np->stopped = cb;
	np->stopped_arg = arg;
	loop_timer_stop(&np->timer);
	follow_none(np);
	maybe_destroy(np);
}

struct netpol_stats netpol_stats(const struct netpol *np)
{
	return np->stats;
}
