#include "orchestrator/netpol/netpol_compile.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/map.h"
#include "base/util.h"
#include "net/link.h"
#include "orchestrator/netpol/netpol_peers.h"
#include "proto/pb.h"

/* One policy that selects a local pod, in the order of their names. */
struct link {
	const struct policy_chain *chain;
	struct link *next;
};

struct local {
	const struct netpol_pod *pod;
	struct link *chains[POLICY_DIRS], **end[POLICY_DIRS];
};

struct compiler {
	const struct netpol_input *in;
	struct policy_set *ps;
	struct arena *a;
	struct netpol_peers *peers;
	struct local *locals;
	size_t n_locals;
	const struct policy_chain **chains;
	const struct policy_group **groups;
	struct map groups_by_key;
};

/* --- Which pods ---------------------------------------------------------------------------------------------------- */

bool netpol_takes_part(const Core__Pod *pod)
{
	return pod && pod->metadata && !(pod->spec && pb_or(pod->spec, host_network, false)) &&
	       !(pod->status && (pb_streq(pod->status->phase, "Succeeded") || pb_streq(pod->status->phase, "Failed")));
}

static int by_addr(const void *va, const void *vb)
{
	const struct local *a = va, *b = vb;

	if (a->pod->addr != b->pod->addr)
		return a->pod->addr < b->pod->addr ? -1 : 1;
	/* The later one comes first. */
	return a->pod > b->pod ? -1 : a->pod < b->pod;
}

static void collect_locals(struct compiler *c)
{
	size_t kept = 0;

	c->locals = arena_new_array(c->a, struct local, c->in->n_pods);
	for (size_t i = 0; i < c->in->n_pods; i++)
		if (c->in->pods[i].local)
			c->locals[c->n_locals++].pod = &c->in->pods[i];
	if (c->n_locals > 0)
		qsort(c->locals, c->n_locals, sizeof(*c->locals), by_addr);
	for (size_t i = 0; i < c->n_locals; i++)
		if (kept == 0 || c->locals[kept - 1].pod->addr != c->locals[i].pod->addr)
			c->locals[kept++].pod = c->locals[i].pod;
	c->n_locals = kept;
	for (size_t i = 0; i < c->n_locals; i++)
		for (int d = 0; d < POLICY_DIRS; d++)
			c->locals[i].end[d] = &c->locals[i].chains[d];
}

/* --- Policies ------------------------------------------------------------------------------------------------------- */

static bool isolates(const Networking__NetworkPolicySpec *spec, enum policy_dir dir)
{
	if (spec->n_policy_types == 0)
		return dir == POLICY_IN || spec->n_egress > 0;
	return pb_has_str(spec->policy_types, spec->n_policy_types, dir == POLICY_IN ? "Ingress" : "Egress");
}

static const struct policy_chain *make_chain(struct compiler *c, const Networking__NetworkPolicy *p, enum policy_dir dir)
{
	struct policy_chain *chain = arena_new_of(c->a, struct policy_chain);
	const char *ns = pb_s(p->metadata->namespace_);
	size_t n = dir == POLICY_IN ? p->spec->n_ingress : p->spec->n_egress;
	struct policy_rule *rules = arena_new_array(c->a, struct policy_rule, n);

	chain->name = arena_printf(c->a, "%s/%s", ns, pb_s(p->metadata->name));
	chain->dir = dir;
	for (size_t i = 0; i < n; i++) {
		const Networking__NetworkPolicyIngressRule *in = dir == POLICY_IN ? p->spec->ingress[i] : NULL;
		const Networking__NetworkPolicyEgressRule *out = dir == POLICY_OUT ? p->spec->egress[i] : NULL;

		if (in)
			netpol_rule_make(c->peers, ns, in->from, in->n_from, in->ports, in->n_ports, &rules[i]);
		else
			netpol_rule_make(c->peers, ns, out->to, out->n_to, out->ports, out->n_ports, &rules[i]);
	}
	chain->rules = rules;
	chain->n_rules = n;
	c->chains[c->ps->n_chains++] = chain;
	return chain;
}

static void compile_policy(struct compiler *c, const Networking__NetworkPolicy *p)
{
	struct selector sel = SELECTOR_EVERYTHING;
	const struct policy_chain *chains[POLICY_DIRS] = {NULL};

	/* What cannot be read isolates more, not less. */
	if (p->spec->pod_selector && selector_from_pb(c->a, p->spec->pod_selector, &sel, NULL) < 0)
		sel = SELECTOR_EVERYTHING;
	for (size_t i = 0; i < c->n_locals; i++) {
		struct local *l = &c->locals[i];
		const Meta__ObjectMeta *m = l->pod->pod->metadata;

		if (!pb_streq(m->namespace_, p->metadata->namespace_) || !selector_matches_pb(&sel, m->labels, m->n_labels))
			continue;
		for (int d = 0; d < POLICY_DIRS; d++) {
			struct link *link;

			if (!isolates(p->spec, (enum policy_dir)d))
				continue;
			if (!chains[d])
				chains[d] = make_chain(c, p, (enum policy_dir)d);
			link = arena_new_of(c->a, struct link);
			link->chain = chains[d];
			*l->end[d] = link;
			l->end[d] = &link->next;
		}
	}
}

static int by_name(const void *va, const void *vb)
{
	const Networking__NetworkPolicy *a = *(const Networking__NetworkPolicy *const *)va,
					*b = *(const Networking__NetworkPolicy *const *)vb;
	int rv = strcmp(pb_s(a->metadata->namespace_), pb_s(b->metadata->namespace_));

	return rv ? rv : strcmp(pb_s(a->metadata->name), pb_s(b->metadata->name));
}

static void compile_policies(struct compiler *c)
{
	const Networking__NetworkPolicy **v = arena_new_array(c->a, const Networking__NetworkPolicy *, c->in->n_policies);
	size_t n = 0;

	for (size_t i = 0; i < c->in->n_policies; i++)
		if (c->in->policies[i]->metadata && c->in->policies[i]->spec)
			v[n++] = c->in->policies[i];
	if (n > 0)
		qsort(v, n, sizeof(*v), by_name);
	c->chains = arena_new_array(c->a, const struct policy_chain *, POLICY_DIRS * n);
	for (size_t i = 0; i < n; i++)
		compile_policy(c, v[i]);
	c->ps->chains = c->chains;
}

/* --- Groups and members ---------------------------------------------------------------------------------------------- */

static const struct policy_group *group_of(struct compiler *c, const struct link *chains, enum policy_dir dir)
{
	struct buf key = BUF_INIT;
	struct policy_group *g;
	size_t n = 0;

	if (chains == NULL)
		return NULL;
	buf_addc(&key, dir == POLICY_IN ? "in" : "out");
	for (const struct link *l = chains; l; l = l->next, n++)
		buf_printf(&key, " %s", l->chain->name);
	g = map_get(&c->groups_by_key, buf_str(&key));
	if (!g) {
		const struct policy_chain **v = arena_new_array(c->a, const struct policy_chain *, n);

		g = arena_new_of(c->a, struct policy_group);
		g->key = arena_cstr(c->a, buf_str(&key));
		g->dir = dir;
		for (const struct link *l = chains; l; l = l->next)
			v[g->n_chains++] = l->chain;
		g->chains = v;
		map_put(&c->groups_by_key, buf_str(&key), g);
		c->groups[c->ps->n_groups++] = g;
	}
	buf_fini(&key);
	return g;
}

static void make_members(struct compiler *c)
{
	struct policy_member *v = arena_new_array(c->a, struct policy_member, c->n_locals);

	c->groups = arena_new_array(c->a, const struct policy_group *, POLICY_DIRS * c->n_locals);
	for (size_t i = 0; i < c->n_locals; i++) {
		struct policy_member *m = &v[c->ps->n_members];

		m->addr = c->locals[i].pod->addr;
		for (int d = 0; d < POLICY_DIRS; d++)
			m->group[d] = group_of(c, c->locals[i].chains[d], (enum policy_dir)d);
		c->ps->n_members += m->group[POLICY_IN] || m->group[POLICY_OUT];
	}
	c->ps->members = v;
	c->ps->groups = c->groups;
}

struct policy_set *netpol_compile(const struct netpol_input *in)
{
	struct compiler c = {.in = in, .groups_by_key = MAP_INIT};
	struct arena arena;

	arena_init(&arena);
	c.ps = arena_new_of(&arena, struct policy_set);
	c.ps->arena = arena;
	c.a = &c.ps->arena;
	c.peers = netpol_peers_new(in, c.a);
	collect_locals(&c);
	compile_policies(&c);
	make_members(&c);
	netpol_peers_end(c.peers, c.ps);
	map_fini(&c.groups_by_key);
	return c.ps;
}

/* --- What is kept of a pod --------------------------------------------------------------------------------------------- */

static void keep_ports(struct arena *a, Core__PodSpec *to, const Core__Container *from, bool init)
{
	Core__Container *c;

	if (from->n_ports == 0 || (init && !pb_streq(from->restart_policy, "Always")))
		return;
	/* A sidecar's ports are as a container's. */
	c = pb_add(a, to, "containers");
	for (size_t i = 0; i < from->n_ports; i++)
		if (pb_s(from->ports[i]->name)[0])
			pb_add_msg(a, c, "ports", pb_copy(a, from->ports[i]));
}

void *netpol_keep_pod(struct arena *a, const void *msg)
{
	const Core__Pod *pod = msg;
	Core__Pod *kept = pb_new_of(a, core__pod, Core__Pod);
	const Meta__ObjectMeta *m = pod->metadata;
	Meta__ObjectMeta *to = m ? pb_sub(a, kept, "metadata") : NULL;
	Core__PodSpec *spec = pb_sub(a, kept, "spec");
	Core__PodStatus *status = pb_sub(a, kept, "status");

	if (m) {
		to->name = arena_strdup(a, pb_s(m->name));
		to->namespace_ = arena_strdup(a, pb_s(m->namespace_));
		to->uid = arena_strdup(a, pb_s(m->uid));
		to->resource_version = arena_strdup(a, pb_s(m->resource_version));
		for (size_t i = 0; i < m->n_labels; i++)
			pb_map_set(a, to, "labels", pb_s(m->labels[i]->key), pb_s(m->labels[i]->value));
	}
	if (pod->spec) {
		if (pb_or(pod->spec, host_network, false))
			spec->has_host_network = spec->host_network = true;
		for (size_t i = 0; i < pod->spec->n_containers; i++)
			keep_ports(a, spec, pod->spec->containers[i], false);
		for (size_t i = 0; i < pod->spec->n_init_containers; i++)
			keep_ports(a, spec, pod->spec->init_containers[i], true);
	}
	if (pod->status) {
		if (!netpol_takes_part(pod))
			status->phase = arena_strdup(a, pb_s(pod->status->phase));
		status->pod_ip = arena_strdup(a, pb_s(pod->status->pod_ip));
	}
	return kept;
}

bool netpol_same_labels(const Meta__ObjectMeta *a, const Meta__ObjectMeta *b)
{
	if (a->n_labels != b->n_labels)
		return false;
	for (size_t i = 0; i < a->n_labels; i++) {
		const Meta__ObjectMeta__LabelsEntry *e = pb_map_find(b->labels, b->n_labels, a->labels[i]->key);

		if (!e || !pb_streq(e->value, a->labels[i]->value))
			return false;
	}
	return true;
}

bool netpol_pod_same(const Core__Pod *a, const Core__Pod *b)
{
	if (!a || !b)
		return a == b;
	return pb_streq(a->metadata->uid, b->metadata->uid) && netpol_same_labels(a->metadata, b->metadata) && pb_equal(a->spec, b->spec) &&
	       pb_equal(a->status, b->status);
}
