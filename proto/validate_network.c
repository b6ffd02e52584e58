/* Ingresses, network policies, and the addresses of services. */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "proto/validate-priv.h"

static const char *const protocols[] = {"SCTP", "TCP", "UDP", NULL};

/* ---- ingresses ---- */

/* A name, or "*." and a name. */
static const char *host_error(struct str host)
{
	if (str_find(host, '*') < 0)
		return validate_dns1123_subdomain(host);
	if (str_has_prefix(host, STR("*.")) && !validate_dns1123_subdomain(str_skip(host, 2)))
		return NULL;
	return "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of "
	       "lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character (e.g. '*.example.com', "
	       "regex used for validation is '\\*\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
}

static void backend(struct field_errs *e, const struct field_path *path, const struct json *b)
{
	struct field_path service = field_child(path, "service"), port = field_child(&service, "port"),
			  resource = field_child(path, "resource");
	const struct json *s = json_getc(b, "service"), *r = json_getc(b, "resource"), *p = json_getc(s, "port");
	bool name = json_str(json_getc(p, "name")).n > 0, number = json_i64_or(json_getc(p, "number"), 0) != 0;

	if (!json_is_null(r) && !json_is_null(s)) {
		field_invalid_str(e, path, STR(""), "cannot set both resource and service backends");
		return;
	}
	if (!json_is_null(r)) {
		validate__required(e, &resource, r, "kind");
		validate__required(e, &resource, r, "name");
		return;
	}
	if (json_is_null(s)) {
		field_invalid_str(e, path, STR(""), "resource or service backend is required");
		return;
	}
	if (validate__required(e, &service, s, "name"))
		validate__name(e, &service, s, "name", validate_dns1035_label);
	if (name && number) {
		field_invalid_str(e, path, STR(""), "cannot set both port name & port number");
	} else if (name) {
		validate__name(e, &port, p, "name", validate__port_name);
	} else if (number) {
		struct field_path at = field_child(&port, "number");

		validate__port_number(e, &at, json_getc(p, "number"));
	} else {
		field_required(e, path, "port name or number is required");
	}
}

static void path_text(struct field_errs *e, const struct field_path *at, const struct json *p)
{
	static const char *const inside[] = {"//", "/./", "/../", "%2f", "%2F"};
	static const char *const last[] = {"/..", "/."};
	struct str path = json_str(json_getc(p, "path"));

	if (path.n == 0 || path.p[0] != '/') {
		validate__bad(e, at, p, "path", "must be an absolute path");
		return;
	}
	for (size_t i = 0; i < ARRAY_LEN(inside); i++)
		if (str_search(path, str_from(inside[i])) >= 0)
			validate__bad(e, at, p, "path", "must not contain '%s'", inside[i]);
	for (size_t i = 0; i < ARRAY_LEN(last); i++)
		if (str_has_suffix(path, str_from(last[i])))
			validate__bad(e, at, p, "path", "cannot end with '%s'", last[i]);
}

static void http_path(struct field_errs *e, const struct field_path *at, const struct json *p)
{
	static const char *const types[] = {"Exact", "ImplementationSpecific", "Prefix", NULL};
	struct field_path type_path = field_child(at, "pathType"), to = field_child(at, "backend");
	struct json *type = json_getc(p, "pathType");
	struct str path = json_str(json_getc(p, "path"));

	if (json_is_null(type))
		field_required(e, &type_path, "pathType must be specified");
	else if (json_eqc(type, "Exact") || json_eqc(type, "Prefix"))
		path_text(e, at, p);
	else if (!json_eqc(type, "ImplementationSpecific"))
		field_not_supported(e, &type_path, json_str(type), types);
	else if (path.n > 0 && path.p[0] != '/')
		validate__bad(e, at, p, "path", "must be an absolute path");
	backend(e, &to, json_getc(p, "backend"));
}

static void ingress_rule(struct field_errs *e, const struct field_path *at, const struct json *r)
{
	struct field_path http = field_child(at, "http");
	const struct json *h = json_getc(r, "http");
	struct str host = json_str(json_getc(r, "host"));

	if (host.n > 0 && !validate__ip(host))
		validate__bad(e, at, r, "host", "must be a DNS name, not an IP address");
	else if (host.n > 0 && host_error(host))
		validate__bad(e, at, r, "host", "%s", host_error(host));
	if (json_is_null(h))
		return;
	if (json_len(json_getc(h, "paths")) == 0)
		validate__missing(e, &http, "paths", "");
	validate__each(e, &http, h, "paths", http_path);
}

static void tls(struct field_errs *e, const struct field_path *at, const struct json *t)
{
	struct field_path hosts = field_child(at, "hosts");
	size_t i = 0;

	JSON_ITEMS (h, json_getc(t, "hosts")) {
		struct field_path one = field_index(&hosts, i++);

		if (host_error(json_str(h)))
			field_invalid(e, &one, h, "%s", host_error(json_str(h)));
	}
}

void validate__ingress(const struct validate__ctx *c)
{
	static const char note[] = "kubernetes.io/ingress.class";
	struct field_path path = field_child(NULL, "spec"), to = field_child(&path, "defaultBackend"),
			  meta = field_child(NULL, "metadata"), notes = field_child(&meta, "annotations"),
			  old_class = field_key(&notes, str_from(note));
	const struct json *spec = json_getc(c->obj, "spec");
	struct json *class = json_getc(json_getp(c->obj, "metadata.annotations"), note);

	if (c->sub[0] != '\0')
		return;
	if (!c->old && class && json_str(json_getc(spec, "ingressClassName")).n > 0)
		field_invalid(c->errs, &old_class, class, "can not be set when the class field is also set");
	if (json_len(json_getc(spec, "rules")) == 0 && json_is_null(json_getc(spec, "defaultBackend")))
		field_err_add(c->errs, &path, FIELD_INVALID,
			"Invalid value: []networking.IngressRule(nil): either `defaultBackend` or `rules` must be specified");
	if (!json_is_null(json_getc(spec, "defaultBackend")))
		backend(c->errs, &to, json_getc(spec, "defaultBackend"));
	validate__each(c->errs, &path, spec, "rules", ingress_rule);
	validate__each(c->errs, &path, spec, "tls", tls);
	validate__name_opt(c->errs, &path, spec, "ingressClassName", validate_dns1123_subdomain);
}

/* A domain, a slash and a path. */
static void domain_path(struct field_errs *e, const struct field_path *up, const struct json *obj, const char *key)
{
	struct str v = json_str(json_getc(obj, key)), domain, path;

	if (!validate__required(e, up, obj, key))
		return;
	if (!str_cut(v, '/', &domain, &path) || path.n == 0)
		validate__bad(e, up, obj, key, "must be a domain-prefixed path (such as \"acme.io/foo\")");
	else if (validate_dns1123_subdomain(domain))
		field_invalid_str(e, &(struct field_path){.up = up, .name = str_from(key)}, domain, "%s",
			validate_dns1123_subdomain(domain));
}

void validate__ingress_class(const struct validate__ctx *c)
{
	static const char *const scopes[] = {"Cluster", "Namespace", NULL};
	struct field_path path = field_child(NULL, "spec"), params = field_child(&path, "parameters"),
			  controller = field_child(&path, "controller");
	const struct json *spec = json_getc(c->obj, "spec"), *p = json_getc(spec, "parameters");

	if (json_str(json_getc(spec, "controller")).n > 250)
		field_too_long(c->errs, &controller, 250);
	domain_path(c->errs, &path, spec, "controller");
	if (!json_is_null(p)) {
		validate__name_opt(c->errs, &params, p, "apiGroup", validate_dns1123_subdomain);
		if (validate__required(c->errs, &params, p, "kind"))
			validate__name(c->errs, &params, p, "kind", validate_path_segment);
		if (validate__required(c->errs, &params, p, "name"))
			validate__name(c->errs, &params, p, "name", validate_path_segment);
		validate__one_of(c->errs, &params, p, "scope", scopes);
		if (json_eqc(json_getc(p, "scope"), "Namespace") && json_str(json_getc(p, "namespace")).n == 0)
			validate__missing(c->errs, &params, "namespace", "`parameters.scope` is set to 'Namespace'");
		if (json_eqc(json_getc(p, "scope"), "Cluster") && json_str(json_getc(p, "namespace")).n > 0)
			validate__forbid(c->errs, &params, "namespace", "`parameters.scope` is set to 'Cluster'");
	}
	if (c->old)
		validate__immutable(c->errs, &path, spec, json_getc(c->old, "spec"), "controller");
}

/* ---- network policies ---- */

static void policy_port(struct field_errs *e, const struct field_path *at, const struct json *p)
{
	struct field_path path = field_child(at, "port");
	struct json *port = json_getc(p, "port"), *end = json_getc(p, "endPort");

	validate__one_of_opt(e, at, p, "protocol", protocols);
	if (!json_is_null(port))
		validate__port_or_name(e, &path, port);
	if (json_is_null(end))
		return;
	if (json_is_null(port))
		validate__bad(e, at, p, "endPort", "may not be specified when `port` is not specified");
	else if (json_is(port, JSON_STRING))
		validate__bad(e, at, p, "endPort", "may not be specified when `port` is non-numeric");
	else if (json_i64_or(end, 0) < json_i64_or(port, 0))
		validate__bad(e, at, p, "endPort", "must be greater than or equal to `port`");
	else if (json_i64_or(end, 0) > 65535)
		validate__bad(e, at, p, "endPort", "must be between 1 and 65535, inclusive");
}

struct net {
	uint8_t bytes[16];
	unsigned bits, size;
};

static bool net_parse(struct str s, struct net *ret)
{
	struct str ip, bits;
	char text[64];
	uint64_t n;
	bool v6 = str_find(s, ':') >= 0;

	if (!validate__is_cidr(s) || !str_cut(s, '/', &ip, &bits) || ip.n >= sizeof(text) || !str_to_u64(bits, &n))
		return false;
	memcpy(text, ip.p, ip.n);
	text[ip.n] = '\0';
	ret->bits = (unsigned)n;
	ret->size = v6 ? 16 : 4;
	return inet_pton(v6 ? AF_INET6 : AF_INET, text, ret->bytes) == 1;
}

static bool same_bits(const struct net *a, const struct net *b, unsigned bits)
{
	for (unsigned i = 0; i < bits; i++)
		if ((a->bytes[i / 8] ^ b->bytes[i / 8]) & (0x80u >> (i % 8)))
			return false;
	return true;
}

static void ip_block(struct field_errs *e, const struct field_path *at, const struct json *b)
{
	static const char bad[] = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
	struct field_path all = field_child(at, "except");
	struct net outer, inner;
	bool good;
	size_t i = 0;

	if (!validate__required(e, at, b, "cidr"))
		return;
	good = net_parse(json_str(json_getc(b, "cidr")), &outer);
	if (!good)
		validate__bad(e, at, b, "cidr", "%s", bad);
	JSON_ITEMS (x, json_getc(b, "except")) {
		struct field_path one = field_index(&all, i++);

		if (!net_parse(json_str(x), &inner))
			field_invalid(e, &one, x, "%s", bad);
		else if (good && (inner.size != outer.size || inner.bits <= outer.bits ||
					 !same_bits(&inner, &outer, outer.bits)))
			field_invalid(e, &one, x, "must be a strict subset of `cidr`");
	}
}

static void peer(struct field_errs *e, const struct field_path *at, const struct json *p)
{
	struct field_path pods = field_child(at, "podSelector"), ns = field_child(at, "namespaceSelector"),
			  block = field_child(at, "ipBlock");
	bool by_pod = !json_is_null(json_getc(p, "podSelector")), by_ns = !json_is_null(json_getc(p, "namespaceSelector")),
	     by_ip = !json_is_null(json_getc(p, "ipBlock"));

	if (by_pod)
		validate__label_selector(e, &pods, json_getc(p, "podSelector"));
	if (by_ns)
		validate__label_selector(e, &ns, json_getc(p, "namespaceSelector"));
	if (by_ip)
		ip_block(e, &block, json_getc(p, "ipBlock"));
	if (!by_pod && !by_ns && !by_ip)
		field_required(e, at, "must specify a peer");
	else if (by_ip && (by_pod || by_ns))
		field_forbidden(e, at, "may not specify both ipBlock and another peer");
}

static void policy_rule(struct field_errs *e, const struct field_path *at, const struct json *r)
{
	validate__each(e, at, r, "ports", policy_port);
	validate__each(e, at, r, "from", peer);
	validate__each(e, at, r, "to", peer);
}

void validate__network_policy(const struct validate__ctx *c)
{
	static const char *const types[] = {"Ingress", "Egress", NULL};
	struct field_path path = field_child(NULL, "spec"), pods = field_child(&path, "podSelector"),
			  all = field_child(&path, "policyTypes");
	const struct json *spec = json_getc(c->obj, "spec");
	size_t i = 0;

	validate__label_selector(c->errs, &pods, json_getc(spec, "podSelector"));
	validate__each(c->errs, &path, spec, "ingress", policy_rule);
	validate__each(c->errs, &path, spec, "egress", policy_rule);
	if (json_len(json_getc(spec, "policyTypes")) > 2) {
		validate__bad(c->errs, &path, spec, "policyTypes", "may not specify more than two policyTypes");
		return;
	}
	JSON_ITEMS (t, json_getc(spec, "policyTypes")) {
		struct field_path one = field_index(&all, i++);

		if (!json_eqc(t, types[0]) && !json_eqc(t, types[1]))
			field_not_supported(c->errs, &one, json_str(t), types);
	}
}

/* ---- addresses ---- */

/* The one way to write it: as inet_ntop does, without a mapped IPv4 address. */
static bool canonical(struct str ip)
{
	uint8_t bytes[16];
	char text[64], again[INET6_ADDRSTRLEN];
	int family = str_find(ip, ':') >= 0 ? AF_INET6 : AF_INET;

	if (ip.n == 0 || ip.n >= sizeof(text))
		return false;
	memcpy(text, ip.p, ip.n);
	text[ip.n] = '\0';
	return inet_pton(family, text, bytes) == 1 && inet_ntop(family, bytes, again, sizeof(again)) && strcmp(text, again) == 0;
}

void validate__ip_address(const struct validate__ctx *c)
{
	struct field_path meta = field_child(NULL, "metadata"), path = field_child(NULL, "spec"),
			  parent = field_child(&path, "parentRef");
	const struct json *spec = json_getc(c->obj, "spec"), *p = json_getc(spec, "parentRef");

	if (!canonical(json_strp(c->obj, "metadata.name")))
		validate__bad(c->errs, &meta, json_getc(c->obj, "metadata"), "name",
			"must be a valid IP address in canonical form");
	if (json_is_null(p)) {
		field_required(c->errs, &parent, "");
	} else {
		if (validate__required(c->errs, &parent, p, "resource"))
			validate__name(c->errs, &parent, p, "resource", validate_path_segment);
		if (validate__required(c->errs, &parent, p, "name"))
			validate__name(c->errs, &parent, p, "name", validate_path_segment);
		validate__name_opt(c->errs, &parent, p, "namespace", validate_path_segment);
	}
	if (c->old)
		validate__immutable(c->errs, &path, spec, json_getc(c->old, "spec"), "parentRef");
}

void validate__service_cidr(const struct validate__ctx *c)
{
	struct field_path path = field_child(NULL, "spec"), all = field_child(&path, "cidrs");
	const struct json *spec = json_getc(c->obj, "spec");
	struct json *list = json_getc(spec, "cidrs"), *was = json_getp(c->old, "spec.cidrs");
	bool v6[2] = {false, false};
	size_t i = 0;

	if (c->sub[0] != '\0')
		return;
	if (json_len(list) == 0) {
		field_required(c->errs, &all, "at least one CIDR required");
		return;
	}
	if (json_len(list) > 2) {
		validate__bad(c->errs, &path, spec, "cidrs", "may only hold up to 2 values");
		return;
	}
	JSON_ITEMS (s, list) {
		struct field_path one = field_index(&all, i);

		if (!validate__is_cidr(json_str(s)))
			field_invalid(c->errs, &one, s, "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)");
		v6[i++] = str_find(json_str(s), ':') >= 0;
	}
	if (json_len(list) == 2 && v6[0] == v6[1])
		validate__bad(c->errs, &path, spec, "cidrs", "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64");
	/* A second family may be added. */
	if (c->old && !(json_equal(list, was) || (json_len(was) == 1 && json_equal(json_at(list, 0), json_at(was, 0)))))
		validate__bad(c->errs, &path, spec, "cidrs", "field is immutable");
}
