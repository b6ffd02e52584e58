#include "net/policy_nft.h"

#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "base/map.h"
#include "base/util.h"
#include "net/link.h"
#include "net/ruleset.h"

struct maker {
	struct arena *a;
	const struct policy_set *ps;
	struct nft_table *t;
	struct map names; /* in use */
	struct map of;    /* the address of a policy_addrs, _sockets, _chain or _group -> its name */
};

/* Names are hashes of what they stand for. Users choose that, so two may have the same one on purpose. */
static const char *new_name(struct maker *m, const void *of, const char *kind, const char *key)
{
	uint64_t hash = str_hash(str_from(key));
	char *name = arena_printf(m->a, "%s-%016llx", kind, (unsigned long long)hash);

	while (map_find(&m->names, str_from(name)))
		name = arena_printf(m->a, "%sx", name);
	map_put(&m->names, str_from(name), m);
	map_put(&m->of, str_of((const char *)&of, sizeof(of)), name);
	return name;
}

static const char *name_of(const struct maker *m, const void *of)
{
	return map_get(&m->of, str_of((const char *)&of, sizeof(of)));
}

static struct nft_set *add_set(struct maker *m, const char *name, const char *what, const char *type, size_t max)
{
	struct nft_set *s = &m->t->sets[m->t->n_sets++];

	*s = (struct nft_set){name, what, type, arena_new_array(m->a, const char *, max), 0};
	return s;
}

static void add_chain(struct maker *m, const char *name, const char *hook, const struct buf *rules)
{
	m->t->chains[m->t->n_chains++] = (struct nft_chain){name, hook, arena_cstr(m->a, buf_str(rules))};
}

static void make_addrs(struct maker *m, const struct policy_addrs *p)
{
	struct nft_set *s = add_set(m, new_name(m, p, "pods", p->key), "set", "ipv4_addr", p->n);
	char text[IP4_STR_SIZE];

	for (size_t i = 0; i < p->n; i++)
		s->elements[s->n_elements++] = arena_strdup(m->a, ip4_print(p->v[i], text));
}

static void make_sockets(struct maker *m, const struct policy_sockets *p)
{
	struct nft_set *s = add_set(m, new_name(m, p, "port", p->key), "set", "ipv4_addr . inet_service", p->n);
	char text[IP4_STR_SIZE];

	for (size_t i = 0; i < p->n; i++)
		s->elements[s->n_elements++] = arena_printf(m->a, "%s . %u", ip4_print(p->v[i].addr, text), p->v[i].port);
}

/* --- Rules: each choice of the other end with each choice of ports ------------------------------------------------ */

struct matches {
	const char **v;
	size_t n;
};

static void add_match(struct matches *m, const char *text)
{
	m->v[m->n++] = text;
}

static const char *blocks_text(struct arena *a, const struct policy_rule *r)
{
	struct buf b = BUF_INIT;
	char from[IP4_STR_SIZE], to[IP4_STR_SIZE];
	const char *text;

	for (size_t i = 0; i < r->n_blocks; i++) {
		buf_printf(&b, "%s%s", i ? ", " : "", ip4_print(r->blocks[i].from, from));
		if (r->blocks[i].from != r->blocks[i].to)
			buf_printf(&b, "-%s", ip4_print(r->blocks[i].to, to));
	}
	text = arena_cstr(a, buf_str(&b));
	buf_fini(&b);
	return text;
}

static struct matches peers_of(struct maker *m, const struct policy_rule *r, enum policy_dir dir)
{
	struct matches out = {arena_new_array(m->a, const char *, r->n_pods + 1), 0};
	const char *end = dir == POLICY_IN ? "saddr" : "daddr";

	/* nft takes no range of all addresses. */
	if (r->any_peer || (r->n_blocks == 1 && r->blocks[0].from == 0 && r->blocks[0].to == UINT32_MAX)) {
		add_match(&out, "");
		return out;
	}
	for (size_t i = 0; i < r->n_pods; i++)
		add_match(&out, arena_printf(m->a, "ip %s @%s ", end, name_of(m, r->pods[i])));
	if (r->n_blocks > 0)
		add_match(&out, arena_printf(m->a, "ip %s { %s } ", end, blocks_text(m->a, r)));
	return out;
}

static const char *ports_text(struct arena *a, const struct policy_rule *r, uint8_t proto)
{
	const char *text = NULL;

	for (size_t i = 0; i < r->n_ports; i++) {
		const struct policy_ports *p = &r->ports[i];
		const char *one = p->from == p->to ? arena_printf(a, "%u", p->from) : arena_printf(a, "%u-%u", p->from, p->to);

		if (p->proto == proto)
			text = text ? arena_printf(a, "%s, %s", text, one) : one;
	}
	return text;
}

static bool whole_protocol(const struct policy_rule *r, uint8_t proto)
{
	for (size_t i = 0; i < r->n_ports; i++)
		if (r->ports[i].proto == proto && r->ports[i].from == 0 && r->ports[i].to == UINT16_MAX)
			return true;
	return false;
}

static struct matches ports_of(struct maker *m, const struct policy_rule *r)
{
	static const uint8_t protos[] = {IPPROTO_TCP, IPPROTO_UDP, IPPROTO_SCTP};
	struct matches out = {arena_new_array(m->a, const char *, ARRAY_LEN(protos) + r->n_named), 0};

	if (r->any_port) {
		add_match(&out, "");
		return out;
	}
	for (size_t i = 0; i < ARRAY_LEN(protos); i++) {
		const char *text = ports_text(m->a, r, protos[i]);

		if (text && whole_protocol(r, protos[i]))
			add_match(&out, arena_printf(m->a, "meta l4proto %s ", ruleset_proto(protos[i])));
		else if (text)
			add_match(&out, arena_printf(m->a, "%s dport { %s } ", ruleset_proto(protos[i]), text));
	}
	for (size_t i = 0; i < r->n_named; i++)
		add_match(&out, arena_printf(m->a, "ip daddr . %s dport @%s ", ruleset_proto(r->named[i]->proto),
						name_of(m, r->named[i])));
	return out;
}

static void make_chain(struct maker *m, const struct policy_chain *c)
{
	struct buf rules = BUF_INIT;

	for (size_t i = 0; i < c->n_rules; i++) {
		struct matches peers = peers_of(m, &c->rules[i], c->dir), ports = ports_of(m, &c->rules[i]);

		for (size_t p = 0; p < peers.n; p++)
			for (size_t q = 0; q < ports.n; q++)
				buf_printf(&rules, "%s%saccept\n", peers.v[p], ports.v[q]);
	}
	add_chain(m, new_name(m, c, c->dir == POLICY_IN ? "in" : "out", c->name), NULL, &rules);
	buf_fini(&rules);
}

static void make_group(struct maker *m, const struct policy_group *g)
{
	struct buf rules = BUF_INIT;

	for (size_t i = 0; i < g->n_chains; i++)
		buf_printf(&rules, "jump %s comment \"%.120s\"\n", name_of(m, g->chains[i]), g->chains[i]->name);
	buf_addc(&rules, "counter drop\n");
	add_chain(m, new_name(m, g, g->dir == POLICY_IN ? "to" : "from", g->key), NULL, &rules);
	buf_fini(&rules);
}

static void make_members(struct maker *m)
{
	static const char rules[] = "ct state related accept\n"
				    "ct state established ct direction reply accept\n"
				    "ip saddr . ip daddr @itself accept\n";
	size_t n = m->ps->n_members;
	struct nft_set *in = add_set(m, "isolated-in", "map", "ipv4_addr : verdict", n),
		       *out = add_set(m, "isolated-out", "map", "ipv4_addr : verdict", n),
		       *self = add_set(m, "itself", "set", "ipv4_addr . ipv4_addr", n);

	for (size_t i = 0; i < n; i++) {
		const struct policy_member *p = &m->ps->members[i];
		char addr[IP4_STR_SIZE];

		ip4_print(p->addr, addr);
		self->elements[self->n_elements++] = arena_printf(m->a, "%s . %s", addr, addr);
		if (p->group[POLICY_IN])
			in->elements[in->n_elements++] =
					arena_printf(m->a, "%s : goto %s", addr, name_of(m, p->group[POLICY_IN]));
		if (p->group[POLICY_OUT])
			out->elements[out->n_elements++] =
					arena_printf(m->a, "%s : goto %s", addr, name_of(m, p->group[POLICY_OUT]));
	}
	m->t->chains[m->t->n_chains++] = (struct nft_chain){"traffic-out", "type filter hook forward priority -6; policy accept;",
			arena_printf(m->a, "%sip saddr vmap @isolated-out\n", rules)};
	m->t->chains[m->t->n_chains++] = (struct nft_chain){"traffic-in", "type filter hook forward priority -5; policy accept;",
			arena_printf(m->a, "%sip daddr vmap @isolated-in\n", rules)};
}

struct nft_table *policy_table(const struct policy_set *ps, struct arena *a)
{
	struct maker m = {.a = a, .ps = ps, .t = arena_new_of(a, struct nft_table)};

	m.t->name = POLICY_TABLE;
	if (ps->n_members == 0)
		return m.t;
	map_init(&m.names);
	map_init(&m.of);
	m.t->sets = arena_new_array(a, struct nft_set, ps->n_addrs + ps->n_sockets + 3);
	m.t->chains = arena_new_array(a, struct nft_chain, ps->n_chains + ps->n_groups + 2);
	for (size_t i = 0; i < ps->n_addrs; i++)
		make_addrs(&m, ps->addrs[i]);
	for (size_t i = 0; i < ps->n_sockets; i++)
		make_sockets(&m, ps->sockets[i]);
	for (size_t i = 0; i < ps->n_chains; i++)
		make_chain(&m, ps->chains[i]);
	for (size_t i = 0; i < ps->n_groups; i++)
		make_group(&m, ps->groups[i]);
	make_members(&m);
	nft_table_sort(m.t);
	map_fini(&m.names);
	map_fini(&m.of);
	return m.t;
}
