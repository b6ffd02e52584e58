#include "cli/join_names.h"

#include <arpa/inet.h>
#include <stdbool.h>
#include <string.h>

#include "base/str.h"
#include "proto/validate.h"
#include "raft/kv.h"

/* An address as bytes: IPv4 in its IPv6 form, so that both forms are the same. */
struct ip {
	struct in6_addr v6;
};

static bool ip_parse(struct str s, struct ip *ret)
{
	char text[INET6_ADDRSTRLEN];
	struct in_addr v4;

	if (s.n >= sizeof(text))
		return false;
	memcpy(text, s.p, s.n);
	text[s.n] = '\0';
	if (inet_pton(AF_INET6, text, &ret->v6) == 1)
		return true;
	if (inet_pton(AF_INET, text, &v4) != 1)
		return false;
	ret->v6 = (struct in6_addr){.s6_addr = {[10] = 0xff, [11] = 0xff}};
	memcpy(&ret->v6.s6_addr[12], &v4, sizeof(v4));
	return true;
}

static bool ip_is(const struct ip *ip, struct str other)
{
	struct ip o;

	return ip_parse(other, &o) && memcmp(&ip->v6, &o.v6, sizeof(o.v6)) == 0;
}

static bool is_loopback(const struct ip *ip)
{
	return IN6_IS_ADDR_LOOPBACK(&ip->v6) || (IN6_IS_ADDR_V4MAPPED(&ip->v6) && ip->v6.s6_addr[12] == 127);
}

/* Nobody's: unspecified, multicast, 0.0.0.0/8 and 224.0.0.0/3. */
static bool is_nobodys(const struct ip *ip)
{
	uint8_t first = ip->v6.s6_addr[12];

	return IN6_IS_ADDR_UNSPECIFIED(&ip->v6) || IN6_IS_ADDR_MULTICAST(&ip->v6) ||
			(IN6_IS_ADDR_V4MAPPED(&ip->v6) && (first == 0 || first >= 224));
}

/* The host of "https://10.0.0.1:6443", "[::1]:2380" or "10.0.0.1:4711". */
static struct str host_of(const char *at)
{
	struct str s = str_from(at);

	if (str_has_prefix(s, STR("https://")))
		s = str_skip(s, strlen("https://"));
	if (s.n > 0 && s.p[0] == '[') {
		const char *end = memchr(s.p, ']', s.n);

		return end ? (struct str){s.p + 1, (size_t)(end - s.p) - 1} : s;
	}
	for (size_t i = s.n; i > 0; i--)
		if (s.p[i - 1] == ':')
			return (struct str){s.p, i - 1};
	return s;
}

static bool is_api_name(struct str name)
{
	return str_eq(name, STR("localhost")) || str_has_suffix(name, STR(".localhost")) || str_eq(name, STR("kubernetes")) ||
			str_has_prefix(name, STR("kubernetes.default"));
}

/* Whether that server runs where the request came from. */
static bool is_here(const struct kv_member *m, const struct ip *from)
{
	return is_loopback(from) || ip_is(from, host_of(m->addr)) || ip_is(from, host_of(m->url));
}

int join_names_check(const struct join_names *q, struct err *e)
{
	struct str name = str_from(q->name), addr = str_from(q->addr);
	const char *why = validate_dns1123_subdomain(name);
	struct ip ip, from, unused;

	if (name.n == 0 || addr.n == 0)
		return err_set(e, ERR_BAD_REQUEST, "name and addr are needed");
	if (why)
		return err_set(e, ERR_BAD_REQUEST, "name \"%s\": %s", q->name, why);
	if (!ip_parse(addr, &ip) || is_nobodys(&ip))
		return err_set(e, ERR_BAD_REQUEST, "addr \"%s\": give the address that the servers reach the node at", q->addr);
	if (!ip_parse(host_of(q->remote), &from))
		return err_set(e, ERR_BAD_REQUEST, "where the request came from is not known (%s)", q->remote);
	if (is_api_name(name) || ip_parse(name, &unused))
		return err_set(e, ERR_FORBIDDEN, "a node cannot be called \"%s\": choose another name (--name)", q->name);
	if (is_loopback(&ip) && !is_loopback(&from))
		return err_set(e, ERR_FORBIDDEN, "addr %s is no address of a node elsewhere: give one that the servers reach (--advertise-address)", q->addr);
	if (q->service_ip && ip_is(&ip, str_from(q->service_ip)))
		return err_set(e, ERR_FORBIDDEN, "addr %s is the API server's as a Service", q->addr);
	for (size_t i = 0; i < q->n_servers; i++) {
		const struct kv_member *m = &q->servers[i];
		struct str host = host_of(m->url);

		if (!str_eq(name, str_from(m->name)) && !str_eq(name, host) && !ip_is(&ip, host_of(m->addr)) && !ip_is(&ip, host))
			continue;
		if (!is_here(m, &from))
			return err_set(e, ERR_FORBIDDEN, "the name %s or the address %s belongs to the server %s: choose another (--name, --advertise-address)",
					q->name, q->addr, m->name);
	}
	return 0;
}
