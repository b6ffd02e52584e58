#include "orchestrator/dns/dns_zone.h"

#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "orchestrator/proxy/service_rules.h"
#include "proto/pb.h"

#define SERIAL 1u
#define MAX_ENDPOINTS 256u /* in one answer */

struct asked {
	struct dns_view *view;
	const struct dns_query *q;
	struct dns_reply *r;
	char zone[DNS_NAME_MAX];
	bool exists; /* the name is there, whatever its types */
	bool found;  /* a record was given */
};

static bool wants(const struct asked *a, uint16_t type)
{
	return a->q->type == type || a->q->type == DNS_ANY;
}

/* --- Names of things --------------------------------------------------------------------------------------- */

static const char *dashed(uint32_t addr, char out[IP4_STR_SIZE])
{
	ip4_print(addr, out);
	for (char *p = out; *p; p++)
		if (*p == '.')
			*p = '-';
	return out;
}

static bool parse_dashed(struct str s, uint32_t *ret)
{
	char text[IP4_STR_SIZE];

	if (s.n == 0 || s.n >= sizeof(text))
		return false;
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '.')
			return false;
		text[i] = s.p[i] == '-' ? '.' : s.p[i];
	}
	return ip4_parse(str_of(text, s.n), ret);
}

static bool is_headless(const Core__Service *s)
{
	return pb_streq(s->spec->cluster_ip, "None");
}

static bool is_label(const char *s)
{
	size_t n = s ? strlen(s) : 0;

	return n > 0 && n < 64 && strchr(s, '.') == NULL;
}

/* The label of an endpoint below its service. */
static const char *host_of(const Discovery__Endpoint *e, uint32_t addr, char out[64])
{
	if (is_label(e->hostname))
		snprintf(out, 64, "%s", e->hostname);
	else
		dashed(addr, out);
	return out;
}

/* Labels of 1 to 63 bytes, 253 in all. */
static bool is_name(const char *s)
{
	size_t label = 0, n = strlen(s);

	for (size_t i = 0; i <= n; i++)
		if (s[i] != '.' && s[i] != '\0')
			label++;
		else if (label == 0 || label > 63)
			return false;
		else
			label = 0;
	return n <= 253;
}

/* "HOST.SVC.NS.svc.ZONE"; host NULL: the service itself. False when that is no name. */
static bool full_name(const struct asked *a, const char *host, const char *svc, const char *ns, char out[DNS_NAME_MAX])
{
	int n = snprintf(out, DNS_NAME_MAX, "%s%s%s.%s.svc.%s", host ? host : "", host ? "." : "", svc, ns, a->zone);

	return n > 0 && n < DNS_NAME_MAX && is_name(out);
}

/* --- Endpoints of a headless service --------------------------------------------------------------------- */

struct host {
	const Discovery__Endpoint *endpoint;
	uint32_t addr;
	uint16_t port; /* of the port asked for, or 0 */
	bool has_port;
};

static bool is_usable(const Core__Service *s, const Discovery__Endpoint *e)
{
	bool ready = e->conditions == NULL || pb_or(e->conditions, ready, true);

	return ready || pb_or(s->spec, publish_not_ready_addresses, false);
}

static bool find_port(const Discovery__EndpointSlice *s, const char *name, const char *proto, uint16_t *ret)
{
	for (size_t i = 0; i < s->n_ports; i++) {
		const char *p = s->ports[i]->protocol ? s->ports[i]->protocol : "TCP";

		if (pb_streq(s->ports[i]->name, name) && strcasecmp(p, proto) == 0 && s->ports[i]->has_port &&
				s->ports[i]->port > 0 && s->ports[i]->port <= 65535) {
			*ret = (uint16_t)s->ports[i]->port;
			return true;
		}
	}
	return false;
}

/* All of them, each address once; with the port's number when one is asked for. */
static size_t hosts(const struct asked *a, const Core__Service *svc, const char *ns, const char *port, const char *proto,
		struct host out[MAX_ENDPOINTS])
{
	const Discovery__EndpointSlice *s;
	size_t n = 0;

	for (size_t i = 0; (s = a->view->ops->slice(a->view, ns, svc->metadata->name, i)) != NULL; i++) {
		uint16_t number = 0;
		bool has_port = port == NULL || find_port(s, port, proto, &number);

		for (size_t j = 0; has_port && j < s->n_endpoints && n < MAX_ENDPOINTS; j++) {
			const Discovery__Endpoint *e = s->endpoints[j];
			bool dup = false;
			uint32_t addr;

			if (!is_usable(svc, e) || e->n_addresses == 0 || !ip4_parse(str_from(e->addresses[0]), &addr))
				continue;
			for (size_t k = 0; k < n && !dup; k++)
				dup = out[k].addr == addr && out[k].port == number;
			if (!dup)
				out[n++] = (struct host){e, addr, number, true};
		}
	}
	return n;
}

static void answer_hosts(struct asked *a, const Core__Service *svc, const char *ns, const char *only)
{
	struct host list[MAX_ENDPOINTS];
	size_t n = hosts(a, svc, ns, NULL, NULL, list), first = n ? a->view->turn++ % n : 0;
	char host[64];

	for (size_t i = 0; i < n; i++) {
		const struct host *h = &list[(first + i) % n];

		if (only && strcasecmp(host_of(h->endpoint, h->addr, host), only) != 0)
			continue;
		a->exists = true;
		if (!wants(a, DNS_A))
			continue;
		dns_reply_a(a->r, DNS_ANSWER, a->q->name, DNS_TTL, h->addr);
		a->found = true;
	}
}

/* --- Below svc.ZONE -------------------------------------------------------------------------------------- */

static void answer_service(struct asked *a, const Core__Service *svc, const char *ns)
{
	uint32_t ip;

	a->exists = true;
	if (pb_streq(svc->spec->type, "ExternalName")) {
		const char *target = pb_s(svc->spec->external_name);
		size_t n = strlen(target);
		char name[DNS_NAME_MAX];

		snprintf(name, sizeof(name), "%.*s", (int)(n > 0 && target[n - 1] == '.' ? n - 1 : n), target);
		if (n > 253 || !is_name(name))
			return;
		dns_reply_name(a->r, DNS_ANSWER, a->q->name, DNS_CNAME, DNS_TTL, name);
		a->found = true;
	} else if (is_headless(svc)) {
		answer_hosts(a, svc, ns, NULL);
	} else if (wants(a, DNS_A) && ip4_parse(str_from(pb_s(svc->spec->cluster_ip)), &ip)) {
		dns_reply_a(a->r, DNS_ANSWER, a->q->name, DNS_TTL, ip);
		a->found = true;
	}
}

static void srv_record(struct asked *a, uint16_t port, const char *target, uint32_t addr, size_t n, bool first_pass)
{
	if (first_pass)
		dns_reply_srv(a->r, DNS_ANSWER, a->q->name, DNS_TTL, 0, (uint16_t)(100 / n), port, target);
	else
		dns_reply_a(a->r, DNS_ADDITIONAL, target, DNS_TTL, addr);
	a->found = true;
}

/* All SRV records first, then the addresses of their targets: sections come in order. */
static void answer_port(struct asked *a, const Core__Service *svc, const char *ns, const char *port, const char *proto)
{
	char target[DNS_NAME_MAX], host[64];
	struct host list[MAX_ENDPOINTS];
	size_t n;
	uint32_t ip;

	if (is_headless(svc)) {
		n = hosts(a, svc, ns, port, proto, list);
		a->exists = n > 0;
		for (unsigned pass = 0; wants(a, DNS_SRV) && pass < 2; pass++)
			for (size_t i = 0; i < n; i++)
				if (full_name(a, host_of(list[i].endpoint, list[i].addr, host), svc->metadata->name, ns,
						    target))
					srv_record(a, list[i].port, target, list[i].addr, MIN(n, (size_t)100),
							pass == 0);
		return;
	}
	for (size_t i = 0; i < svc->spec->n_ports; i++) {
		const Core__ServicePort *p = svc->spec->ports[i];

		if (!pb_streq(p->name, port) || strcasecmp(p->protocol ? p->protocol : "TCP", proto) != 0)
			continue;
		a->exists = true;
		if (!wants(a, DNS_SRV) || !ip4_parse(str_from(pb_s(svc->spec->cluster_ip)), &ip) ||
				!full_name(a, NULL, svc->metadata->name, ns, target))
			continue;
		srv_record(a, (uint16_t)p->port, target, ip, 1, true);
		srv_record(a, (uint16_t)p->port, target, ip, 1, false);
	}
}

/* Labels from the right: NS, SVC, then either HOST, or _PROTO and _PORT. */
static void answer_svc(struct asked *a, char **labels, size_t n)
{
	const Core__Service *svc;
	const char *ns, *name;

	if (n == 0) {
		a->exists = true;
		return;
	}
	ns = labels[n - 1];
	if (n == 1) {
		a->exists = a->view->ops->has_namespace(a->view, ns);
		return;
	}
	name = labels[n - 2];
	svc = a->view->ops->service(a->view, ns, name);
	if (svc == NULL || svc->spec == NULL || svc->metadata == NULL)
		return;
	if (n == 2)
		answer_service(a, svc, ns);
	else if (n == 3 && labels[0][0] == '_')
		a->exists = true; /* _tcp.SVC: there may be ports below */
	else if (n == 3 && is_headless(svc))
		answer_hosts(a, svc, ns, labels[0]);
	else if (n == 4 && labels[0][0] == '_' && labels[1][0] == '_')
		answer_port(a, svc, ns, labels[0] + 1, labels[1] + 1);
}

static void answer_pod(struct asked *a, char **labels, size_t n)
{
	uint32_t addr;

	if (n == 0) {
		a->exists = true;
	} else if (n == 1) {
		a->exists = a->view->ops->has_namespace(a->view, labels[0]);
	} else if (n == 2 && parse_dashed(str_from(labels[0]), &addr) && ip4_net_has(a->view->pods, addr) &&
			a->view->ops->has_namespace(a->view, labels[1])) {
		a->exists = true;
		if (wants(a, DNS_A)) {
			dns_reply_a(a->r, DNS_ANSWER, a->q->name, DNS_TTL, addr);
			a->found = true;
		}
	}
}

/* --- The way back ------------------------------------------------------------------------------------------ */

static void pointer(struct asked *a, const char *target)
{
	a->exists = true;
	if (!wants(a, DNS_PTR))
		return;
	dns_reply_name(a->r, DNS_ANSWER, a->q->name, DNS_PTR, DNS_TTL, target);
	a->found = true;
}

static void answer_ip(struct asked *a, uint32_t ip)
{
	const Core__Service *svc = a->view->ops->service_by_ip(a->view, ip);
	const Discovery__EndpointSlice *s;
	char target[DNS_NAME_MAX], host[64];
	uint32_t addr;

	if (svc && svc->metadata) {
		if (full_name(a, NULL, pb_s(svc->metadata->name), pb_s(svc->metadata->namespace_), target))
			pointer(a, target);
		return;
	}
	for (size_t i = 0; (s = a->view->ops->slice_by_ip(a->view, ip, i)) != NULL && i < MAX_ENDPOINTS; i++) {
		const char *name = pb_map_get(s->metadata->labels, s->metadata->n_labels, SERVICE_NAME_LABEL);

		svc = name ? a->view->ops->service(a->view, pb_s(s->metadata->namespace_), name) : NULL;
		if (svc == NULL || svc->spec == NULL || !is_headless(svc))
			continue;
		for (size_t j = 0; j < s->n_endpoints; j++)
			if (s->endpoints[j]->n_addresses && ip4_parse(str_from(s->endpoints[j]->addresses[0]), &addr) &&
					addr == ip && is_usable(svc, s->endpoints[j]) &&
					full_name(a, host_of(s->endpoints[j], addr, host), name,
							pb_s(s->metadata->namespace_), target))
				pointer(a, target);
	}
}

/* "4.3.2.1.in-addr.arpa" */
static bool parse_reverse(struct str name, uint32_t *ret)
{
	uint32_t reversed;

	if (!str_has_suffix(name, STR(".in-addr.arpa")) ||
			!ip4_parse(str_sub(name, 0, name.n - strlen(".in-addr.arpa")), &reversed))
		return false;
	*ret = __builtin_bswap32(reversed);
	return true;
}

/* --- Which of these ---------------------------------------------------------------------------------------- */

static void answer_zone(struct asked *a, struct str rest)
{
	char text[DNS_NAME_MAX], *labels[8];
	size_t n = 0;

	if (rest.n == 0) {
		a->exists = true;
		if (wants(a, DNS_SOA)) {
			/* As an answer it is the same record in another section. */
			dns_reply_soa(a->r, a->zone, DNS_TTL, SERIAL);
			a->r->n_answers += a->r->n_authority;
			a->r->n_authority = 0;
			a->found = true;
		}
		return;
	}
	snprintf(text, sizeof(text), "%.*s", STR_FMT(rest));
	for (char *p = text; p; n++) {
		char *dot = strchr(p, '.');

		if (n == ARRAY_LEN(labels))
			return;
		labels[n] = p;
		if (dot)
			*dot++ = '\0';
		p = dot;
	}
	if (strcmp(labels[n - 1], "svc") == 0) {
		answer_svc(a, labels, n - 1);
	} else if (strcmp(labels[n - 1], "pod") == 0) {
		answer_pod(a, labels, n - 1);
	} else if (n == 1 && strcmp(labels[0], "dns-version") == 0) {
		a->exists = true;
		if (wants(a, DNS_TXT)) {
			dns_reply_txt(a->r, DNS_ANSWER, a->q->name, DNS_TTL, "1.1.0");
			a->found = true;
		}
	}
}

bool dns_zone_answer(struct dns_view *v, const struct dns_query *q, struct dns_reply *r)
{
	struct asked a = {.view = v, .q = q, .r = r};
	struct str name = str_from(q->name), zone;
	uint32_t ip;

	snprintf(a.zone, sizeof(a.zone), "%.200s", v->zone);
	zone = str_from(a.zone);
	if (q->odd || q->class != DNS_CLASS_IN)
		return false;
	if (str_eq(name, zone) ||
			(str_has_suffix(name, zone) && name.n > zone.n && name.p[name.n - zone.n - 1] == '.')) {
		answer_zone(&a, str_sub(name, 0, name.n > zone.n ? name.n - zone.n - 1 : 0));
	} else if (parse_reverse(name, &ip) && (ip4_net_has(v->pods, ip) || ip4_net_has(v->services, ip))) {
		answer_ip(&a, ip);
	} else {
		return false;
	}
	if (!a.found)
		dns_reply_soa(r, a.zone, DNS_TTL, SERIAL);
	dns_reply_finish(r, a.exists ? DNS_NOERROR : DNS_NXDOMAIN, true, true);
	return true;
}
