/*
 * NetworkPolicies to rules: tables of what is let through, and random worlds in which the compiled rules must say of every connection what
 * a slow reading of the API objects says. The tables of nftables that come of those are also given to the kernel, one upon the other.
 */
#include <netinet/in.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/util.h"
#include "net/link.h"
#include "net/policy_nft.h"
#include "orchestrator/netpol/netpol_compile.h"
#include "proto/pb.h"

#define ROOM 32

/* --- A world of objects --------------------------------------------------------------------------------------------- */

struct world {
	struct arena a;
	Networking__NetworkPolicy *policies[ROOM];
	Core__Namespace *namespaces[ROOM];
	Core__Pod *pods[ROOM];
	bool local[ROOM];
	size_t n_policies, n_namespaces, n_pods;
};

static uint32_t addr(const char *text)
{
	uint32_t a;

	assert_true(ip4_parse(str_from(text), &a));
	return a;
}

static Core__Namespace *add_namespace(struct world *w, const char *name)
{
	Core__Namespace *ns = w->namespaces[w->n_namespaces++] = pb_new_of(&w->a, core__namespace, Core__Namespace);

	((Meta__ObjectMeta *)pb_sub(&w->a, ns, "metadata"))->name = arena_strdup(&w->a, name);
	return ns;
}

static Core__Pod *add_pod(struct world *w, const char *ns, const char *ip, bool local)
{
	Core__Pod *pod = pb_new_of(&w->a, core__pod, Core__Pod);
	Meta__ObjectMeta *m = pb_sub(&w->a, pod, "metadata");

	m->namespace_ = arena_strdup(&w->a, ns);
	m->name = m->uid = arena_printf(&w->a, "pod-%zu", w->n_pods);
	pb_sub(&w->a, pod, "spec");
	((Core__PodStatus *)pb_sub(&w->a, pod, "status"))->pod_ip = arena_strdup(&w->a, ip);
	w->local[w->n_pods] = local;
	return w->pods[w->n_pods++] = pod;
}

static void label(struct world *w, void *obj_meta, const char *key, const char *value)
{
	pb_map_set(&w->a, obj_meta, "labels", key, value);
}

static void named_port(struct world *w, Core__Pod *pod, const char *list, const char *name, const char *proto, int number)
{
	Core__Container *c = pb_add(&w->a, pod->spec, list);
	Core__ContainerPort *p = pb_add(&w->a, c, "ports");

	/* As an init container it counts when it goes on beside the others. */
	c->restart_policy = "Always";
	p->name = name;
	p->protocol = proto;
	p->has_container_port = true;
	p->container_port = number;
}

static Networking__NetworkPolicy *add_policy(struct world *w, const char *ns)
{
	Networking__NetworkPolicy *p = pb_new_of(&w->a, networking__network_policy, Networking__NetworkPolicy);
	Meta__ObjectMeta *m = pb_sub(&w->a, p, "metadata");

	m->namespace_ = arena_strdup(&w->a, ns);
	m->name = arena_printf(&w->a, "p%zu", w->n_policies);
	pb_sub(&w->a, pb_sub(&w->a, p, "spec"), "pod_selector");
	return w->policies[w->n_policies++] = p;
}

static void require(struct world *w, Meta__LabelSelector *sel, const char *key, const char *op, const char *v1, const char *v2)
{
	Meta__LabelSelectorRequirement *r = pb_add(&w->a, sel, "match_expressions");

	r->key = key;
	r->operator_ = op;
	if (v1)
		pb_add_str(&w->a, r, "values", v1);
	if (v2)
		pb_add_str(&w->a, r, "values", v2);
}

static Networking__NetworkPolicyPort *add_port(struct world *w, void *rule, const char *proto, int from, int to, const char *name)
{
	Networking__NetworkPolicyPort *p = pb_add(&w->a, rule, "ports");
	Intstr__IntOrString *port = from || name ? pb_sub(&w->a, p, "port") : NULL;

	p->protocol = proto;
	if (name) {
		port->has_type = true;
		port->type = 1;
		port->str_val = name;
	} else if (port) {
		port->has_int_val = true;
		port->int_val = from;
	}
	p->has_end_port = to != 0;
	p->end_port = to;
	return p;
}

static struct policy_set *compile(struct world *w)
{
	struct netpol_pod pods[ROOM];
	struct netpol_input in = {(const Networking__NetworkPolicy *const *)w->policies, w->n_policies,
			(const Core__Namespace *const *)w->namespaces, w->n_namespaces, pods, 0};

	for (size_t i = 0; i < w->n_pods; i++)
		if (netpol_takes_part(w->pods[i]))
			pods[in.n_pods++] = (struct netpol_pod){netpol_keep_pod(&w->a, w->pods[i]), addr(w->pods[i]->status->pod_ip),
					w->local[i]};
	return netpol_compile(&in);
}

/* --- What the compiled rules say ------------------------------------------------------------------------------------ */

struct packet {
	uint32_t src, dst;
	uint8_t proto;
	uint16_t port;
};

static bool peer_in(const struct policy_rule *r, uint32_t a)
{
	for (size_t i = 0; i < r->n_pods; i++)
		for (size_t k = 0; k < r->pods[i]->n; k++)
			if (r->pods[i]->v[k] == a)
				return true;
	for (size_t i = 0; i < r->n_blocks; i++)
		if (a >= r->blocks[i].from && a <= r->blocks[i].to)
			return true;
	return r->any_peer;
}

static bool port_in(const struct policy_rule *r, const struct packet *p)
{
	for (size_t i = 0; i < r->n_ports; i++)
		if (r->ports[i].proto == p->proto && p->port >= r->ports[i].from && p->port <= r->ports[i].to)
			return true;
	for (size_t i = 0; i < r->n_named; i++)
		for (size_t k = 0; k < r->named[i]->n; k++)
			if (r->named[i]->proto == p->proto && r->named[i]->v[k].addr == p->dst && r->named[i]->v[k].port == p->port)
				return true;
	return r->any_port;
}

static bool group_passes(const struct policy_member *m, enum policy_dir dir, const struct packet *p)
{
	const struct policy_group *g = m ? m->group[dir] : NULL;

	for (size_t i = 0; g && i < g->n_chains; i++)
		for (size_t k = 0; k < g->chains[i]->n_rules; k++)
			if (peer_in(&g->chains[i]->rules[k], dir == POLICY_IN ? p->src : p->dst) && port_in(&g->chains[i]->rules[k], p))
				return true;
	return g == NULL;
}

static bool rules_pass(const struct policy_set *ps, const struct packet *p)
{
	return p->src == p->dst || (group_passes(policy_member_find(ps, p->src), POLICY_OUT, p) &&
						   group_passes(policy_member_find(ps, p->dst), POLICY_IN, p));
}

/* --- What the API's semantics say, read slowly ------------------------------------------------------------------------ */

static const char *label_of(const Meta__ObjectMeta *m, const char *key)
{
	for (size_t i = 0; i < m->n_labels; i++)
		if (strcmp(m->labels[i]->key, key) == 0)
			return m->labels[i]->value;
	return NULL;
}

static bool selects(const Meta__LabelSelector *sel, const Meta__ObjectMeta *m)
{
	for (size_t i = 0; i < sel->n_match_labels; i++) {
		const char *v = label_of(m, sel->match_labels[i]->key);

		if (!v || strcmp(v, sel->match_labels[i]->value) != 0)
			return false;
	}
	for (size_t i = 0; i < sel->n_match_expressions; i++) {
		const Meta__LabelSelectorRequirement *r = sel->match_expressions[i];
		const char *v = label_of(m, r->key);
		bool in = false;

		for (size_t k = 0; v && k < r->n_values; k++)
			in |= strcmp(v, r->values[k]) == 0;
		if (strcmp(r->operator_, "In") == 0 ? !in : strcmp(r->operator_, "NotIn") == 0 ? in :
				strcmp(r->operator_, "Exists") == 0 ? !v : v != NULL)
			return false;
	}
	return true;
}

static bool is_pod(const Core__Pod *pod)
{
	return !(pod->spec->has_host_network && pod->spec->host_network) &&
	       !(pod->status->phase && (strcmp(pod->status->phase, "Failed") == 0 || strcmp(pod->status->phase, "Succeeded") == 0));
}

static ssize_t pod_at(const struct world *w, uint32_t a)
{
	for (size_t i = 0; i < w->n_pods; i++)
		if (is_pod(w->pods[i]) && addr(w->pods[i]->status->pod_ip) == a)
			return (ssize_t)i;
	return -1;
}

static bool in_block(const char *cidr, uint32_t a)
{
	struct ip4_net net;

	return ip4_net_parse(str_from(cidr), &net) && ip4_net_has(net, a);
}

static bool is_peer(const struct world *w, const char *ns, const Networking__NetworkPolicyPeer *p, uint32_t a)
{
	ssize_t at = pod_at(w, a);
	const Meta__ObjectMeta *m;

	if (p->ip_block) {
		bool in = in_block(p->ip_block->cidr, a);

		for (size_t i = 0; i < p->ip_block->n_except; i++)
			in = in && !in_block(p->ip_block->except[i], a);
		return in;
	}
	if (at < 0)
		return false;
	m = w->pods[at]->metadata;
	if (p->pod_selector && !selects(p->pod_selector, m))
		return false;
	if (!p->namespace_selector)
		return strcmp(m->namespace_, ns) == 0;
	for (size_t i = 0; i < w->n_namespaces; i++)
		if (strcmp(w->namespaces[i]->metadata->name, m->namespace_) == 0)
			return selects(p->namespace_selector, w->namespaces[i]->metadata);
	return false;
}

static uint8_t number_of(const char *proto)
{
	return !proto || strcmp(proto, "TCP") == 0 ? IPPROTO_TCP : strcmp(proto, "UDP") == 0 ? IPPROTO_UDP : IPPROTO_SCTP;
}

static bool has_named(Core__Container *const *v, size_t n, const char *name, const struct packet *p)
{
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < v[i]->n_ports; k++)
			if (strcmp(v[i]->ports[k]->name, name) == 0 && number_of(v[i]->ports[k]->protocol) == p->proto &&
					v[i]->ports[k]->container_port == p->port)
				return true;
	return false;
}

static bool is_port(const struct world *w, const Networking__NetworkPolicyPort *want, const struct packet *p)
{
	ssize_t at = pod_at(w, p->dst);

	if (p->proto != number_of(want->protocol))
		return false;
	if (!want->port)
		return true;
	if (want->port->str_val)
		return at >= 0 && (has_named(w->pods[at]->spec->containers, w->pods[at]->spec->n_containers, want->port->str_val, p) ||
						  has_named(w->pods[at]->spec->init_containers, w->pods[at]->spec->n_init_containers,
								  want->port->str_val, p));
	return want->has_end_port ? p->port >= want->port->int_val && p->port <= want->end_port : p->port == want->port->int_val;
}

static bool rule_passes(const struct world *w, const char *ns, Networking__NetworkPolicyPeer *const *peers, size_t n_peers,
		Networking__NetworkPolicyPort *const *ports, size_t n_ports, uint32_t other, const struct packet *p)
{
	bool peer = n_peers == 0, port = n_ports == 0;

	for (size_t i = 0; i < n_peers; i++)
		peer |= is_peer(w, ns, peers[i], other);
	for (size_t i = 0; i < n_ports; i++)
		port |= is_port(w, ports[i], p);
	return peer && port;
}

static bool has_type(const Networking__NetworkPolicySpec *s, const char *type)
{
	if (s->n_policy_types == 0)
		return strcmp(type, "Ingress") == 0 || s->n_egress > 0;
	for (size_t i = 0; i < s->n_policy_types; i++)
		if (strcmp(s->policy_types[i], type) == 0)
			return true;
	return false;
}

static bool end_passes(const struct world *w, uint32_t here, bool ingress, const struct packet *p)
{
	ssize_t at = pod_at(w, here);
	bool isolated = false;

	if (at < 0 || !w->local[at])
		return true;
	for (size_t i = 0; i < w->n_policies; i++) {
		const Networking__NetworkPolicySpec *s = w->policies[i]->spec;
		const char *ns = w->policies[i]->metadata->namespace_;

		if (strcmp(ns, w->pods[at]->metadata->namespace_) != 0 || !selects(s->pod_selector, w->pods[at]->metadata) ||
				!has_type(s, ingress ? "Ingress" : "Egress"))
			continue;
		isolated = true;
		for (size_t k = 0; ingress && k < s->n_ingress; k++)
			if (rule_passes(w, ns, s->ingress[k]->from, s->ingress[k]->n_from, s->ingress[k]->ports, s->ingress[k]->n_ports,
					    p->src, p))
				return true;
		for (size_t k = 0; !ingress && k < s->n_egress; k++)
			if (rule_passes(w, ns, s->egress[k]->to, s->egress[k]->n_to, s->egress[k]->ports, s->egress[k]->n_ports, p->dst, p))
				return true;
	}
	return !isolated;
}

static bool api_passes(const struct world *w, const struct packet *p)
{
	return p->src == p->dst || (end_passes(w, p->src, false, p) && end_passes(w, p->dst, true, p));
}

/* --- Random worlds ------------------------------------------------------------------------------------------------------ */

static uint64_t seed;

static unsigned pick(unsigned n)
{
	seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
	return (unsigned)(seed >> 33) % n;
}

#define ONE_OF(v) ((v)[pick(ARRAY_LEN(v))])
static const char *const names[] = {"n0", "n1", "n2"}, *const keys[] = {"a", "b"}, *const values[] = {"x", "y", "z"},
		  *const protos[] = {NULL, "TCP", "UDP", "SCTP"}, *const port_names[] = {"web", "dns"};
static const char *const places[] = {"10.244.0.1", "10.244.0.2", "10.244.0.3", "10.244.0.130", "10.244.1.1", "10.244.1.2", "10.244.1.77",
		"10.244.2.1", "10.0.0.1", "192.168.1.5", "0.0.0.0", "255.255.255.255"};
static const char *const blocks[] = {"0.0.0.0/0", "10.244.0.0/16", "10.244.0.0/25", "10.244.0.2/32", "10.244.1.0/24", "192.168.0.0/16",
		"128.0.0.0/1", "10.244.0.2/31", "fd00::/64", "255.255.255.255/32", "10.244.0.9/25"};
static const uint16_t ports[] = {53, 80, 81, 8080, 65535};

static void random_labels(struct world *w, Meta__ObjectMeta *m)
{
	for (size_t i = 0; i < ARRAY_LEN(keys); i++)
		if (pick(3))
			label(w, m, keys[i], ONE_OF(values));
}

static void random_selector(struct world *w, Meta__LabelSelector *sel)
{
	static const char *const ops[] = {"In", "NotIn", "Exists", "DoesNotExist"};

	if (pick(3) == 0)
		pb_map_set(&w->a, sel, "match_labels", ONE_OF(keys), ONE_OF(values));
	for (unsigned n = pick(3); n > 0; n--) {
		unsigned op = pick(4);

		require(w, sel, ONE_OF(keys), ops[op], op < 2 ? ONE_OF(values) : NULL, op < 2 && pick(2) ? ONE_OF(values) : NULL);
	}
}

static void random_rule(struct world *w, void *rule, const char *peers)
{
	for (unsigned n = pick(4); n > 0; n--) {
		Networking__NetworkPolicyPeer *p = pb_add(&w->a, rule, peers);
		unsigned kind = pick(4);

		if (kind == 0) {
			Networking__IPBlock *b = pb_sub(&w->a, p, "ip_block");

			b->cidr = ONE_OF(blocks);
			for (unsigned k = pick(3); k > 0; k--)
				pb_add_str(&w->a, b, "except", ONE_OF(blocks));
			continue;
		}
		if (kind & 1)
			random_selector(w, pb_sub(&w->a, p, "pod_selector"));
		if (kind & 2)
			random_selector(w, pb_sub(&w->a, p, "namespace_selector"));
	}
	for (unsigned n = pick(4); n > 0; n--) {
		unsigned from = ONE_OF(ports), kind = pick(4);

		if (kind == 0)
			add_port(w, rule, ONE_OF(protos), 0, 0, NULL);
		else if (kind == 1)
			add_port(w, rule, ONE_OF(protos), 0, 0, ONE_OF(port_names));
		else
			add_port(w, rule, ONE_OF(protos), (int)from, kind == 2 ? 0 : (int)MIN(from + pick(9000), 65535u), NULL);
	}
}

static void random_policy(struct world *w)
{
	Networking__NetworkPolicy *p = add_policy(w, ONE_OF(names));

	random_selector(w, p->spec->pod_selector);
	for (unsigned n = pick(3); n > 0; n--)
		random_rule(w, pb_add(&w->a, p->spec, "ingress"), "from");
	for (unsigned n = pick(3); n > 0; n--)
		random_rule(w, pb_add(&w->a, p->spec, "egress"), "to");
	if (pick(2))
		pb_add_str(&w->a, p->spec, "policy_types", pick(2) ? "Ingress" : "Egress");
	if (pick(3) == 0)
		pb_add_str(&w->a, p->spec, "policy_types", "Egress");
}

static void random_world(struct world *w)
{
	memset(w, 0, sizeof(*w));
	arena_init(&w->a);
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		random_labels(w, add_namespace(w, names[i])->metadata);
	for (size_t i = 0; i < 8; i++) {
		Core__Pod *pod = add_pod(w, ONE_OF(names), places[i], i < 4);

		random_labels(w, pod->metadata);
		if (pick(2))
			named_port(w, pod, pick(3) ? "containers" : "init_containers", ONE_OF(port_names), ONE_OF(protos), ONE_OF(ports));
		if (pick(8) == 0)
			pod->spec->has_host_network = pod->spec->host_network = true;
		if (pick(8) == 0)
			pod->status->phase = pick(2) ? "Succeeded" : "Failed";
	}
	for (unsigned n = pick(6); n > 0; n--)
		random_policy(w);
}

static void compare(const struct world *w, const struct policy_set *ps, uint64_t which, size_t *passed, size_t *stopped)
{
	static const uint8_t numbers[] = {IPPROTO_TCP, IPPROTO_UDP, IPPROTO_SCTP, IPPROTO_ICMP};

	for (size_t s = 0; s < ARRAY_LEN(places); s++)
		for (size_t d = 0; d < ARRAY_LEN(places); d++)
			for (size_t n = 0; n < ARRAY_LEN(numbers); n++)
				for (size_t i = 0; i < ARRAY_LEN(ports); i++) {
					struct packet p = {addr(places[s]), addr(places[d]), numbers[n],
							numbers[n] == IPPROTO_ICMP ? 0 : ports[i]};
					bool want = api_passes(w, &p), got = rules_pass(ps, &p);

					if (want != got)
						fail_msg("world %llu: %s to %s, protocol %u, port %u: %s", (unsigned long long)which,
								places[s], places[d], p.proto, p.port, got ? "passes" : "does not pass");
					*(got ? passed : stopped) += 1;
				}
}

static void test_random_worlds(void **state)
{
	size_t passed = 0, stopped = 0;

	for (uint64_t i = 1; i <= 600; i++) {
		struct world w;
		struct policy_set *ps;

		seed = i;
		random_world(&w);
		ps = compile(&w);
		compare(&w, ps, i, &passed, &stopped);
		policy_set_free(ps);
		arena_fini(&w.a);
	}
	/* The worlds are worth something only when they have some of both. */
	assert_true(passed > 50000 && stopped > 50000);
}

/* --- In the kernel -------------------------------------------------------------------------------------------------------- */

static int give(const struct buf *text)
{
	FILE *f;

	if (text->n == 0)
		return 0;
	f = popen("nft -f - 2>&1", "w");
	assert_non_null(f);
	assert_int_equal(fwrite(text->p, 1, text->n, f), text->n);
	return pclose(f);
}

static int word_order(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* What is listed, as sorted words: the kernel keeps elements in no order. */
static char *listed(struct arena *a)
{
	FILE *f = popen("nft list ruleset", "r");
	struct buf b = BUF_INIT;
	char block[4096], *words[20000], *out, *save = NULL;
	size_t n, n_words = 0;

	assert_non_null(f);
	while ((n = fread(block, 1, sizeof(block), f)) > 0)
		buf_add(&b, block, n);
	assert_int_equal(pclose(f), 0);
	out = arena_cstr(a, buf_str(&b));
	for (char *w = strtok_r(out, " ,\n\t", &save); w && n_words < ARRAY_LEN(words); w = strtok_r(NULL, " ,\n\t", &save))
		words[n_words++] = w;
	if (n_words > 0)
		qsort(words, n_words, sizeof(*words), word_order);
	buf_clear(&b);
	for (size_t i = 0; i < n_words; i++)
		buf_printf(&b, "%s\n", words[i]);
	out = arena_cstr(a, buf_str(&b));
	buf_fini(&b);
	return out;
}

/* Differences upon differences come to the same as the whole at once; each is a transaction that the kernel takes. */
static void test_kernel_takes_differences(void **state)
{
	struct arena tables[2];
	struct nft_table *old = NULL;
	unsigned at = 0;

	if (unshare(CLONE_NEWNET) != 0 || system("nft list ruleset >/dev/null 2>&1") != 0)
		skip();
	arena_init(&tables[0]);
	arena_init(&tables[1]);
	for (uint64_t i = 1; i <= 40; i++) {
		struct buf part = BUF_INIT, whole = BUF_INIT;
		struct world w;
		struct policy_set *ps;
		struct nft_table *new;
		struct arena a;
		char *by_part;

		seed = 1000 + i;
		arena_init(&a);
		random_world(&w);
		ps = compile(&w);
		at = !at;
		arena_fini(&tables[at]);
		arena_init(&tables[at]);
		new = policy_table(ps, &tables[at]);
		nft_diff(old, new, &part);
		if (give(&part) != 0)
			fail_msg("world %llu: the kernel refuses\n%.*s", (unsigned long long)seed, (int)part.n, part.p);
		by_part = listed(&a);
		nft_diff(NULL, new, &whole);
		assert_int_equal(give(&whole), 0);
		assert_string_equal(by_part, listed(&a));
		buf_clear(&part);
		nft_diff(new, new, &part);
		assert_int_equal(part.n, 0);
		old = new;
		policy_set_free(ps);
		arena_fini(&w.a);
		arena_fini(&a);
		buf_fini(&part);
		buf_fini(&whole);
	}
	arena_fini(&tables[0]);
	arena_fini(&tables[1]);
}

/* --- Tables --------------------------------------------------------------------------------------------------------------- */

static char *printed(struct arena *a, const struct nft_table *old, const struct nft_table *new)
{
	struct buf b = BUF_INIT;
	char *text;

	nft_diff(old, new, &b);
	text = arena_cstr(a, buf_str(&b));
	buf_fini(&b);
	return text;
}

static struct world small_world(void)
{
	struct world w;
	Networking__NetworkPolicy *p;
	void *rule;

	memset(&w, 0, sizeof(w));
	arena_init(&w.a);
	add_namespace(&w, "n0");
	label(&w, add_pod(&w, "n0", "10.244.0.1", true)->metadata, "app", "srv");
	label(&w, add_pod(&w, "n0", "10.244.1.1", false)->metadata, "app", "cli");
	p = add_policy(&w, "n0");
	pb_map_set(&w.a, p->spec->pod_selector, "match_labels", "app", "srv");
	rule = pb_add(&w.a, p->spec, "ingress");
	pb_map_set(&w.a, pb_sub(&w.a, pb_add(&w.a, rule, "from"), "pod_selector"), "match_labels", "app", "cli");
	add_port(&w, rule, NULL, 80, 90, NULL);
	return w;
}

static void test_table_as_text(void **state)
{
	struct world w = small_world();
	struct policy_set *ps = compile(&w), *more;
	struct nft_table *t = policy_table(ps, &w.a), *u;
	const char *chain = NULL, *set = NULL, *text = printed(&w.a, NULL, t);

	for (size_t i = 0; i < t->n_chains; i++)
		if (strncmp(t->chains[i].name, "in-", 3) == 0)
			chain = t->chains[i].name;
	for (size_t i = 0; i < t->n_sets; i++)
		if (strncmp(t->sets[i].name, "pods-", 5) == 0)
			set = t->sets[i].name;
	assert_true(chain && set);
	assert_ptr_equal(strstr(text, "add table ip kontiki-policy\ndelete table ip kontiki-policy\nadd table ip kontiki-policy\n"), text);
	assert_non_null(strstr(text, arena_printf(&w.a, "add rule ip kontiki-policy %s ip saddr @%s tcp dport { 80-90 } accept\n", chain, set)));
	assert_non_null(strstr(text, arena_printf(&w.a, "add element ip kontiki-policy %s { 10.244.1.1 }\n", set)));
	assert_non_null(strstr(text, "add element ip kontiki-policy isolated-in { 10.244.0.1 : goto to-"));
	assert_null(strstr(text, "add element ip kontiki-policy isolated-out"));

	/* One more client: one element more, and nothing else. */
	label(&w, add_pod(&w, "n0", "10.244.2.9", false)->metadata, "app", "cli");
	more = compile(&w);
	u = policy_table(more, &w.a);
	assert_string_equal(printed(&w.a, t, u), arena_printf(&w.a, "add element ip kontiki-policy %s { 10.244.2.9 }\n", set));
	assert_string_equal(printed(&w.a, u, t), arena_printf(&w.a, "delete element ip kontiki-policy %s { 10.244.2.9 }\n", set));
	policy_set_free(more);

	/* The last policy goes, and with it the table. */
	w.n_policies = 0;
	more = compile(&w);
	u = policy_table(more, &w.a);
	assert_string_equal(printed(&w.a, t, u), "add table ip kontiki-policy\ndelete table ip kontiki-policy\n");
	assert_string_equal(printed(&w.a, u, u), "");
	policy_set_free(more);
	policy_set_free(ps);
	arena_fini(&w.a);
}

static void test_listing_is_compared(void **state)
{
	struct nft_set sets[] = {{.name = "s"}};
	struct nft_chain chains[] = {{.name = "a"}, {.name = "b"}};
	struct nft_table t = {"t", sets, 1, chains, 2};

	assert_true(nft_is_there(&t, STR("table ip t {\n\tset s {\n\t\ttype x\n\t}\n\tchain a {\n\t}\n\tchain b {\n\t}\n}\n")));
	assert_false(nft_is_there(&t, STR("table ip t {\n\tset s {\n\t\ttype x\n\t}\n\tchain a {\n\t}\n}\n")));
	assert_false(nft_is_there(&t, STR("table ip t {\n\tset s {\n\t}\n\tchain a {\n\t}\n\tchain c {\n\t}\n}\n")));
	assert_false(nft_is_there(&t, STR("")));
}

static void test_ranges_are_joined(void **state)
{
	struct policy_range r[] = {{5, 9}, {0, 3}, {4, 4}, {20, UINT32_MAX}, {30, 40}};
	struct policy_ports p[] = {{6, 80, 90}, {6, 91, 91}, {17, 80, 80}, {6, 0, 0}, {6, 65535, 65535}, {6, 85, 86}};

	assert_int_equal(policy_ranges_join(r, 5), 2);
	assert_true(r[0].from == 0 && r[0].to == 9 && r[1].from == 20 && r[1].to == UINT32_MAX);
	assert_int_equal(policy_ports_join(p, 6), 4);
	assert_true(p[1].from == 80 && p[1].to == 91);
}

/* What a pod keeps decides whether rules are made anew: its address, labels and named ports do, the rest does not. */
static void test_what_is_kept_of_a_pod(void **state)
{
	struct world w = small_world();
	Core__Pod *pod = w.pods[0], *before = netpol_keep_pod(&w.a, pod);

	pod->metadata->resource_version = "77";
	pod->status->phase = "Running";
	pb_map_set(&w.a, pod->metadata, "annotations", "a", "b");
	assert_true(netpol_pod_same(before, netpol_keep_pod(&w.a, pod)));
	named_port(&w, pod, "containers", "web", "TCP", 80);
	assert_false(netpol_pod_same(before, netpol_keep_pod(&w.a, pod)));
	before = netpol_keep_pod(&w.a, pod);
	pb_map_set(&w.a, pod->metadata, "labels", "app", "other");
	assert_false(netpol_pod_same(before, netpol_keep_pod(&w.a, pod)));
	before = netpol_keep_pod(&w.a, pod);
	pod->status->phase = "Failed";
	assert_false(netpol_pod_same(before, netpol_keep_pod(&w.a, pod)));
	assert_false(netpol_takes_part(netpol_keep_pod(&w.a, pod)));
	arena_fini(&w.a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random_worlds),
		cmocka_unit_test(test_table_as_text),
		cmocka_unit_test(test_listing_is_compared),
		cmocka_unit_test(test_ranges_are_joined),
		cmocka_unit_test(test_what_is_kept_of_a_pod),
		cmocka_unit_test(test_kernel_takes_differences),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
