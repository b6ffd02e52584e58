#include "net/iptables.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"

#define PREFIX "KONTIKI-"
#define MARK "0x4000/0x4000" /* masquerade this packet on its way out */
#define CHAIN_SIZE 32        /* iptables allows 28 characters */

/* One rule in a chain that is not ours leads to each of these. */
static const struct {
	const char *table, *from, *to;
	const char *match;
} jumps[] = {
	{"nat", "PREROUTING", PREFIX "SERVICES", ""},
	{"nat", "OUTPUT", PREFIX "SERVICES", ""},
	{"nat", "POSTROUTING", PREFIX "POSTROUTING", ""},
	{"filter", "OUTPUT", PREFIX "FILTER", "-m conntrack --ctstate NEW "},
	/* Inserted one after the other at the top, so the last comes first. */
	{"filter", "FORWARD", PREFIX "FORWARD", ""},
	{"filter", "FORWARD", PREFIX "FILTER", "-m conntrack --ctstate NEW "},
};

static const struct {
	const char *table, *chain;
} fixed_chains[] = {
	{"nat", PREFIX "SERVICES"},
	{"nat", PREFIX "NODEPORTS"},
	{"nat", PREFIX "HOSTPORTS"},
	{"nat", PREFIX "POSTROUTING"},
	{"nat", PREFIX "MARK"},
	{"filter", PREFIX "FILTER"},
	{"filter", PREFIX "FORWARD"},
};

/* --- What is there --------------------------------------------------------------------------------------- */

void iptables_have_init(struct iptables_have *h)
{
	map_init(&h->lines);
}

void iptables_have_fini(struct iptables_have *h)
{
	map_fini(&h->lines);
}

static void have_add(struct iptables_have *h, const char *table, const char *a, const char *b)
{
	char line[160];
	int n = snprintf(line, sizeof(line), "%s %s%s%s", table, a, b ? " " : "", b ? b : "");

	if (n > 0 && (size_t)n < sizeof(line))
		map_put(&h->lines, str_of(line, (size_t)n), h);
}

static bool have(const struct iptables_have *h, const char *table, const char *a, const char *b)
{
	char line[160];
	int n = snprintf(line, sizeof(line), "%s %s%s%s", table, a, b ? " " : "", b ? b : "");

	return n > 0 && (size_t)n < sizeof(line) && map_find(&h->lines, str_of(line, (size_t)n)) != NULL;
}

static struct str word(struct str *rest)
{
	struct str w;

	str_cut(*rest, ' ', &w, rest);
	return w;
}

static void cstr(struct str s, char out[64])
{
	snprintf(out, 64, "%.*s", STR_FMT(s));
}

/* "-A CHAIN ... -j TARGET": a jump from a chain that is not ours to one that is. */
static void parse_rule(struct iptables_have *h, const char *table, struct str rest)
{
	struct str from = word(&rest), w, to = STR_NULL;
	char a[64], b[64];

	if (str_has_prefix(from, STR(PREFIX)))
		return;
	while (rest.n > 0) {
		w = word(&rest);
		if (str_eq(w, STR("-j")) || str_eq(w, STR("-g")))
			to = word(&rest);
	}
	if (!str_has_prefix(to, STR(PREFIX)))
		return;
	cstr(from, a);
	cstr(to, b);
	have_add(h, table, a, b);
}

void iptables_have_parse(struct iptables_have *h, struct str save)
{
	char table[64] = "", chain[64];

	while (save.n > 0) {
		struct str line;

		str_cut(save, '\n', &line, &save);
		if (str_has_prefix(line, STR("*"))) {
			cstr(str_trim(str_skip(line, 1)), table);
		} else if (str_has_prefix(line, STR(":" PREFIX))) {
			line = str_skip(line, 1);
			cstr(word(&line), chain);
			have_add(h, table, chain, NULL);
		} else if (str_has_prefix(line, STR("-A "))) {
			parse_rule(h, table, str_skip(line, 3));
		}
	}
}

bool iptables_have_equal(const struct iptables_have *a, const struct iptables_have *b)
{
	if (map_len(&a->lines) != map_len(&b->lines))
		return false;
	MAP_FOR_EACH (e, &a->lines)
		if (map_find(&b->lines, e->key) == NULL)
			return false;
	return true;
}

/* --- Rendering ------------------------------------------------------------------------------------------- */

struct out {
	struct buf *b;             /* the transaction */
	struct buf chains, rules;  /* of the table at hand */
	struct iptables_have next; /* what there will be */
	const char *table;
};

static void declare(struct out *o, const char *chain)
{
	buf_printf(&o->chains, ":%s - [0:0]\n", chain);
	have_add(&o->next, o->table, chain, NULL);
}

static void rule(struct out *o, const char *chain, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static void rule(struct out *o, const char *chain, const char *fmt, ...)
{
	va_list ap;

	buf_printf(&o->rules, "-A %s ", chain);
	va_start(ap, fmt);
	buf_vprintf(&o->rules, fmt, ap);
	va_end(ap);
	buf_add1(&o->rules, '\n');
}

/* Chain names are short: a hash of what they are for, in base 32. */
static void chain_name(char out[CHAIN_SIZE], const char *kind, const char *text)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
	uint64_t h = str_hash(str_from(text));
	size_t n = (size_t)snprintf(out, CHAIN_SIZE, PREFIX "%s-", kind);

	for (unsigned i = 0; i < 13; i++, h >>= 5)
		out[n++] = digits[h & 31];
	out[n] = '\0';
}

struct port_chains {
	char svc[CHAIN_SIZE], local[CHAIN_SIZE], ext[CHAIN_SIZE];
};

static void endpoint_chain(const struct ruleset_port *p, const struct ruleset_endpoint *e, char out[CHAIN_SIZE])
{
	char text[400], addr[IP4_STR_SIZE];

	snprintf(text, sizeof(text), "%.300s/%s>%s:%u", p->name, ruleset_proto(p->proto), ip4_print(e->addr, addr),
			e->port);
	chain_name(out, "SEP", text);
}

static void render_endpoint(struct out *o, const struct ruleset_port *p, const struct ruleset_endpoint *e)
{
	char chain[CHAIN_SIZE], addr[IP4_STR_SIZE], recent[80] = "";

	endpoint_chain(p, e, chain);
	declare(o, chain);
	ip4_print(e->addr, addr);
	rule(o, chain, "-s %s/32 -j " PREFIX "MARK", addr);
	if (p->affinity_s)
		snprintf(recent, sizeof(recent), "-m recent --name %s --set ", chain);
	rule(o, chain, "%s-p %s -m %s -j DNAT --to-destination %s:%u", recent, ruleset_proto(p->proto),
			ruleset_proto(p->proto), addr, e->port);
}

/* A chain that chooses one of the endpoints: the one a client had before, else each with equal probability. */
static void render_choice(struct out *o, const char *chain, const struct ruleset_port *p, bool only_local)
{
	char sep[CHAIN_SIZE];
	size_t left = 0;

	for (size_t i = 0; i < p->n_endpoints; i++)
		left += !only_local || p->endpoints[i].local;
	for (size_t i = 0; p->affinity_s && i < p->n_endpoints; i++) {
		if (only_local && !p->endpoints[i].local)
			continue;
		endpoint_chain(p, &p->endpoints[i], sep);
		rule(o, chain, "-m recent --name %s --rcheck --seconds %u --reap -j %s", sep, p->affinity_s, sep);
	}
	for (size_t i = 0; i < p->n_endpoints; i++) {
		if (only_local && !p->endpoints[i].local)
			continue;
		endpoint_chain(p, &p->endpoints[i], sep);
		if (left > 1)
			rule(o, chain, "-m statistic --mode random --probability %.10f -j %s", 1.0 / (double)left, sep);
		else
			rule(o, chain, "-j %s", sep);
		left--;
	}
}

static bool has_local(const struct ruleset_port *p)
{
	for (size_t i = 0; i < p->n_endpoints; i++)
		if (p->endpoints[i].local)
			return true;
	return false;
}

static void render_port(struct out *o, const struct ruleset *rs, const struct ruleset_port *p)
{
	struct port_chains c;
	char text[400], addr[IP4_STR_SIZE], pods[IP4_STR_SIZE];
	const char *proto = ruleset_proto(p->proto);
	bool outside = p->node_port || p->n_externals;
	const char *inside;

	snprintf(text, sizeof(text), "%.300s/%s", p->name, proto);
	chain_name(c.svc, "SVC", text);
	chain_name(c.local, "LOC", text);
	chain_name(c.ext, "EXT", text);
	ip4_net_print(rs->pods, pods);

	/* Nothing is chosen from an empty chain: the packet stays untranslated and KONTIKI-FILTER refuses it. */
	declare(o, c.svc);
	/* A client that is no pod may have no way for an answer that does not come through this node. */
	rule(o, c.svc, "! -s %s -d %s/32 -p %s -m %s --dport %u -j " PREFIX "MARK", pods, ip4_print(p->vip, addr), proto, proto,
			p->port);
	render_choice(o, c.svc, p, false);
	if ((p->internal_local || p->external_local) && has_local(p)) {
		declare(o, c.local);
		render_choice(o, c.local, p, true);
	}
	for (size_t i = 0; i < p->n_endpoints; i++)
		render_endpoint(o, p, &p->endpoints[i]);

	inside = !p->internal_local ? c.svc : has_local(p) ? c.local : NULL;
	if (inside)
		rule(o, PREFIX "SERVICES", "-d %s/32 -p %s -m %s --dport %u -m comment --comment \"%s\" -j %s",
				ip4_print(p->vip, addr), proto, proto, p->port, p->name, inside);
	if (!outside)
		return;
	declare(o, c.ext);
	if (p->external_local) {
		/* Pods and this node itself are inside: any endpoint will do. */
		rule(o, c.ext, "-s %s -j %s", pods, c.svc);
		rule(o, c.ext, "-m addrtype --src-type LOCAL -j " PREFIX "MARK");
		rule(o, c.ext, "-m addrtype --src-type LOCAL -j %s", c.svc);
		if (has_local(p))
			rule(o, c.ext, "-j %s", c.local);
	} else {
		rule(o, c.ext, "-j " PREFIX "MARK");
		rule(o, c.ext, "-j %s", c.svc);
	}
	for (size_t i = 0; i < p->n_externals; i++)
		rule(o, PREFIX "SERVICES", "-d %s/32 -p %s -m %s --dport %u -m comment --comment \"%s\" -j %s",
				ip4_print(p->externals[i], addr), proto, proto, p->port, p->name, c.ext);
	if (p->node_port)
		rule(o, PREFIX "NODEPORTS", "-p %s -m %s --dport %u -m comment --comment \"%s\" -j %s", proto, proto,
				p->node_port, p->name, c.ext);
}

static void render_host_port(struct out *o, const struct ruleset_host_port *p)
{
	static const char chain[] = PREFIX "HOSTPORTS";
	const char *proto = ruleset_proto(p->proto);
	char match[120], to[IP4_STR_SIZE], at[IP4_STR_SIZE];
	int n = 0;

	if (p->host_addr)
		n = snprintf(match, sizeof(match), "-d %s/32 ", ip4_print(p->host_addr, at));
	snprintf(match + n, sizeof(match) - (size_t)n, "-p %s -m %s --dport %u", proto, proto, p->port);
	ip4_print(p->addr, to);
	/* The pod itself, and the node by its loopback address: the answer must come back through here. */
	rule(o, chain, "-s %s/32 %s -j " PREFIX "MARK", to, match);
	rule(o, chain, "-s 127.0.0.0/8 %s -j " PREFIX "MARK", match);
	rule(o, chain, "%s -m comment --comment \"%.200s\" -j DNAT --to-destination %s:%u", match, p->name, to, p->target);
}

static void render_nat(struct out *o, const struct ruleset *rs)
{
	char pods[IP4_STR_SIZE];

	ip4_net_print(rs->pods, pods);
	rule(o, PREFIX "MARK", "-j MARK --or-mark 0x4000");
	for (size_t i = 0; i < rs->n_ports; i++)
		render_port(o, rs, &rs->ports[i]);
	for (size_t i = 0; i < rs->n_host_ports; i++)
		render_host_port(o, &rs->host_ports[i]);
	rule(o, PREFIX "SERVICES", "-m addrtype --dst-type LOCAL -j " PREFIX "HOSTPORTS");
	rule(o, PREFIX "SERVICES", "! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j " PREFIX "NODEPORTS");
	/* Nobody outside knows the way back to a pod. */
	rule(o, PREFIX "POSTROUTING", "-s %s ! -d %s -m addrtype ! --dst-type MULTICAST -j MASQUERADE --random-fully", pods,
			pods);
	rule(o, PREFIX "POSTROUTING", "-m mark ! --mark " MARK " -j RETURN");
	/* The mark must not stay: a packet that is put into a tunnel would be masqueraded once more. */
	rule(o, PREFIX "POSTROUTING", "-j MARK --xor-mark 0x4000");
	rule(o, PREFIX "POSTROUTING", "-j MASQUERADE --random-fully");
}

static void render_filter(struct out *o, const struct ruleset *rs)
{
	char pods[IP4_STR_SIZE], services[IP4_STR_SIZE];

	ip4_net_print(rs->pods, pods);
	ip4_net_print(rs->services, services);
	/* An address that the node has itself, such as the one of its DNS server, is none of these. */
	rule(o, PREFIX "FILTER", "-d %s -m addrtype --dst-type LOCAL -j RETURN", services);
	rule(o, PREFIX "FILTER", "-d %s -p tcp -m tcp -j REJECT --reject-with tcp-reset", services);
	rule(o, PREFIX "FILTER", "-d %s -j REJECT", services);
	rule(o, PREFIX "FORWARD", "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT");
	rule(o, PREFIX "FORWARD", "-s %s -j ACCEPT", pods);
	rule(o, PREFIX "FORWARD", "-d %s -j ACCEPT", pods);
}

static void begin_table(struct out *o, const char *table)
{
	o->table = table;
	buf_clear(&o->chains);
	buf_clear(&o->rules);
	for (size_t i = 0; i < ARRAY_LEN(fixed_chains); i++)
		if (strcmp(fixed_chains[i].table, table) == 0)
			declare(o, fixed_chains[i].chain);
}

/* Chains that are there and no longer wanted: declared, which empties them, and then deleted. */
static void end_table(struct out *o, const struct iptables_have *before)
{
	struct buf gone = BUF_INIT;
	size_t skip = strlen(o->table) + 1;

	for (size_t i = 0; i < ARRAY_LEN(jumps); i++) {
		if (strcmp(jumps[i].table, o->table) != 0)
			continue;
		if (!have(before, o->table, jumps[i].from, jumps[i].to))
			buf_printf(&o->rules, "-I %s 1 %s-j %s\n", jumps[i].from, jumps[i].match, jumps[i].to);
		have_add(&o->next, o->table, jumps[i].from, jumps[i].to);
	}
	MAP_FOR_EACH (e, &before->lines) {
		struct str chain;

		if (e->key.n <= skip || strncmp(e->key.p, o->table, skip - 1) != 0 || e->key.p[skip - 1] != ' ')
			continue;
		chain = str_skip(e->key, skip);
		if (str_find(chain, ' ') >= 0 || map_find(&o->next.lines, e->key))
			continue;
		buf_printf(&o->chains, ":%.*s - [0:0]\n", STR_FMT(chain));
		buf_printf(&gone, "-X %.*s\n", STR_FMT(chain));
	}
	buf_printf(o->b, "*%s\n", o->table);
	buf_adds(o->b, buf_str(&o->chains));
	buf_adds(o->b, buf_str(&o->rules));
	buf_adds(o->b, buf_str(&gone));
	buf_addc(o->b, "COMMIT\n");
	buf_fini(&gone);
}

void iptables_render(const struct ruleset *rs, struct iptables_have *have_now, struct buf *b)
{
	struct out o = {.b = b, .chains = BUF_INIT, .rules = BUF_INIT};

	iptables_have_init(&o.next);
	begin_table(&o, "nat");
	render_nat(&o, rs);
	end_table(&o, have_now);
	begin_table(&o, "filter");
	render_filter(&o, rs);
	end_table(&o, have_now);
	buf_fini(&o.chains);
	buf_fini(&o.rules);
	iptables_have_fini(have_now);
	*have_now = o.next;
}

void iptables_render_removal(const struct iptables_have *h, struct buf *b)
{
	static const char *const tables[] = {"nat", "filter"};

	for (size_t t = 0; t < ARRAY_LEN(tables); t++) {
		size_t skip = strlen(tables[t]) + 1;

		buf_printf(b, "*%s\n", tables[t]);
		for (size_t i = 0; i < ARRAY_LEN(jumps); i++)
			if (strcmp(jumps[i].table, tables[t]) == 0 && have(h, tables[t], jumps[i].from, jumps[i].to))
				buf_printf(b, "-D %s %s-j %s\n", jumps[i].from, jumps[i].match, jumps[i].to);
		for (unsigned pass = 0; pass < 2; pass++)
			MAP_FOR_EACH (e, &h->lines) {
				struct str chain;

				if (e->key.n <= skip || strncmp(e->key.p, tables[t], skip - 1) != 0 ||
						e->key.p[skip - 1] != ' ')
					continue;
				chain = str_skip(e->key, skip);
				if (str_find(chain, ' ') < 0)
					buf_printf(b, "-%c %.*s\n", pass == 0 ? 'F' : 'X', STR_FMT(chain));
			}
		buf_addc(b, "COMMIT\n");
	}
}
