#include "orchestrator/apiserver/proxy_target.h"

#include <arpa/inet.h>
#include <string.h>

bool proxy_name_parse(struct str text, struct proxy_name *ret)
{
	struct str a, b, c, rest;
	bool two = str_cut(text, ':', &a, &rest), three = two && str_cut(rest, ':', &b, &c);

	*ret = (struct proxy_name){STR(""), STR(""), STR("")};
	if (three) {
		if ((a.n > 0 && !str_eqc(a, "http") && !str_eqc(a, "https")) || str_find(c, ':') >= 0)
			return false;
		*ret = (struct proxy_name){a, b, c};
	} else if (two) {
		*ret = (struct proxy_name){STR(""), a, rest};
	} else {
		ret->name = text;
	}
	return ret->name.n > 0;
}

bool proxy_address_allowed(struct str ip)
{
	unsigned char a[16];
	char text[INET6_ADDRSTRLEN];

	if (ip.n >= sizeof(text))
		return false;
	memcpy(text, ip.p, ip.n);
	text[ip.n] = '\0';
	if (inet_pton(AF_INET, text, a) == 1)
		return a[0] != 127 && a[0] != 0 && a[0] < 224 && !(a[0] == 169 && a[1] == 254);
	if (inet_pton(AF_INET6, text, a) == 1) {
		static const unsigned char zero[15];

		return !(memcmp(a, zero, 15) == 0 && a[15] <= 1) && a[0] != 0xff && !(a[0] == 0xfe && (a[1] & 0xc0) == 0x80) &&
		       !(memcmp(a, zero, 10) == 0 && a[10] == 0xff && a[11] == 0xff);
	}
	return false;
}

static int target(struct arena *a, const struct proxy_name *n, struct str ip, struct str port, struct proxy_target *ret,
		struct err *e)
{
	int64_t number;

	if (!proxy_address_allowed(ip))
		return err_set(e, ERR_BAD_REQUEST, "address not allowed");
	if (!str_to_i64(port, &number) || number < 1 || number > 65535)
		return err_set(e, ERR_BAD_REQUEST, "invalid port \"%.*s\"", STR_FMT(port));
	ret->tls = str_eqc(n->scheme, "https");
	ret->address = arena_printf(a, str_find(ip, ':') >= 0 ? "[%.*s]:%lld" : "%.*s:%lld", STR_FMT(ip), (long long)number);
	return 0;
}

int proxy_pod_target(struct arena *a, const struct proxy_name *n, const struct json *pod, struct proxy_target *ret, struct err *e)
{
	struct str port = n->port, ip = json_strp(pod, "status.podIP");

	if (ip.n == 0)
		return err_set(e, ERR_UNAVAILABLE, "pod \"%.*s\" has no address yet", STR_FMT(n->name));
	if (port.n == 0)
		JSON_ITEMS (c, json_getp(pod, "spec.containers"))
			JSON_ITEMS (p, json_getc(c, "ports"))
				if (port.n == 0 && json_is(json_getc(p, "containerPort"), JSON_NUMBER))
					port = json_getc(p, "containerPort")->s;
	if (port.n == 0)
		port = str_eqc(n->scheme, "https") ? STR("443") : STR("80");
	return target(a, n, ip, port, ret, e);
}

/* The name of the service's port that is meant. */
static int service_port(const struct proxy_name *n, const struct json *service, struct str *ret, struct err *e)
{
	struct json *ports = json_getp(service, "spec.ports");
	int64_t number;

	*ret = n->port;
	if (n->port.n == 0) {
		/* Not named: the only or first one. */
		*ret = json_str(json_getc(json_at(ports, 0), "name"));
		return 0;
	}
	if (!str_to_i64(n->port, &number))
		return 0;
	JSON_ITEMS (p, ports)
		if (json_i64_or(json_getc(p, "port"), -1) == number) {
			*ret = json_str(json_getc(p, "name"));
			return 0;
		}
	return err_set(e, ERR_UNAVAILABLE, "no service port %lld found for service \"%.*s\"", (long long)number, STR_FMT(n->name));
}

int proxy_service_target(struct arena *a, const struct proxy_name *n, const struct json *service, const struct json *endpoints,
		uint64_t choice, struct proxy_target *ret, struct err *e)
{
	struct json *subsets = json_getc(endpoints, "subsets");
	size_t many = json_len(subsets);
	struct str name;

	if (service_port(n, service, &name, e) < 0)
		return -ERR_UNAVAILABLE;
	for (size_t i = 0; i < many; i++) {
		struct json *subset = json_at(subsets, (size_t)((choice + i) % many)), *addresses = json_getc(subset, "addresses");

		JSON_ITEMS (p, json_getc(subset, "ports")) {
			if (!str_eq(json_str(json_getc(p, "name")), name) || json_len(addresses) == 0)
				continue;
			return target(a, n, json_str(json_getc(json_at(addresses, (size_t)(choice % json_len(addresses))), "ip")),
					json_getc(p, "port") ? json_getc(p, "port")->s : STR(""), ret, e);
		}
	}
	return err_set(e, ERR_UNAVAILABLE, "no endpoints available for service \"%.*s\"", STR_FMT(n->name));
}

struct str proxy_location(struct arena *a, struct str location, const char *address, struct str base)
{
	ptrdiff_t scheme = str_search(location, STR("://"));
	struct str path = location, host;

	if (scheme > 0) {
		path = str_skip(location, (size_t)scheme + 3);
		str_cut(path, '/', &host, &path);
		if (!str_eqc(host, address))
			return STR_NULL;
		return arena_sprintf(a, "%.*s/%.*s", STR_FMT(base), STR_FMT(path));
	}
	if (!str_has_prefix(path, STR("/")) || str_has_prefix(path, STR("//")))
		return STR_NULL;
	/* It leads through the proxy already. */
	if (str_has_prefix(path, base) && (path.n == base.n || path.p[base.n] == '/'))
		return STR_NULL;
	return arena_sprintf(a, "%.*s%.*s", STR_FMT(base), STR_FMT(path));
}
