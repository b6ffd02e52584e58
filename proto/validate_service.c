#include <string.h>

#include "base/util.h"
#include "proto/validate-priv.h"

#define SLICE_MAX_ENDPOINTS 1000u
#define SLICE_MAX_ADDRESSES 100u
#define SLICE_MAX_PORTS 20000u
#define KUBELET_PORT 10250

static const char *const protocols[] = {"SCTP", "TCP", "UDP", NULL};

/* ---- services ---- */

static bool is_type(const struct json *spec, const char *type)
{
	return json_eqc(json_getc(spec, "type"), type);
}

static void service_port(struct field_errs *e, const struct field_path *at, const struct json *p,
	bool need_name, const struct json *spec, struct json *seen)
{
	struct field_path name_path = field_child(at, "name"), port_path = field_child(at, "port"),
			  target = field_child(at, "targetPort");
	struct field_path node_path = field_child(at, "nodePort");
	struct str name = json_str(json_getc(p, "name")), key;
	const char *bad = name.n ? validate_dns1123_label(name) : NULL;

	if (need_name && name.n == 0)
		field_required(e, &name_path, "");
	else if (bad)
		field_invalid_str(e, &name_path, name, "%s", bad);
	key = arena_sprintf(e->arena, "name/%.*s", STR_FMT(name));
	if (name.n > 0 && json_get(seen, key))
		field_duplicate(e, &name_path, name);
	json_set(e->arena, seen, key, json_new_null(e->arena));
	validate__port_number(e, &port_path, json_getc(p, "port"));
	validate__one_of(e, at, p, "protocol", protocols);
	if (!json_is_null(json_getc(p, "targetPort")))
		validate__port_or_name(e, &target, json_getc(p, "targetPort"));
	if (!json_is_null(json_getc(p, "appProtocol")))
		validate__name(e, at, p, "appProtocol", validate__qualified_name);
	if (json_i64_or(json_getc(p, "nodePort"), 0) == 0)
		return;
	if (is_type(spec, "ClusterIP"))
		field_forbidden(e, &node_path, "may not be used when `type` is 'ClusterIP'");
	else
		validate__port_number(e, &node_path, json_getc(p, "nodePort"));
	key = arena_sprintf(e->arena, "node/%s/%lld", json_cstr(json_getc(p, "protocol")),
		(long long)json_i64_or(json_getc(p, "nodePort"), 0));
	if (json_get(seen, key))
		field_err_add(e, &node_path, FIELD_DUPLICATE, "Duplicate value: %lld",
			(long long)json_i64_or(json_getc(p, "nodePort"), 0));
	json_set(e->arena, seen, key, json_new_null(e->arena));
}

static void service_ports(
	struct field_errs *e, const struct field_path *path, const struct json *spec)
{
	struct field_path all = field_child(path, "ports");
	struct json *list = json_getc(spec, "ports"), *seen = json_new_object(e->arena);
	bool headless = json_eqc(json_getc(spec, "clusterIP"), "None");
	size_t i = 0;

	if (json_len(list) == 0 && !headless && !is_type(spec, "ExternalName"))
		field_required(e, &all, "");
	JSON_ITEMS (p, list) {
		struct field_path at = field_index(&all, i++);

		if (is_type(spec, "LoadBalancer") && json_i64_or(json_getc(p, "port"), 0) == KUBELET_PORT)
			field_invalid(e, &at, json_getc(p, "port"), "may not expose port %d externally since it is used by kubelet",
				KUBELET_PORT);
	}
	i = 0;
	JSON_ITEMS (p, list) {
		struct field_path at = field_index(&all, i++);

		service_port(e, &at, p, json_len(list) > 1, spec, seen);
	}
	i = 0;
	JSON_ITEMS (p, list) {
		struct field_path at = field_index(&all, i++);
		long long port = (long long)json_i64_or(json_getc(p, "port"), 0);
		const char *protocol = json_cstr(json_getc(p, "protocol"));
		struct str key = arena_sprintf(e->arena, "port/%s/%lld", protocol, port);

		if (json_get(seen, key))
			field_err_add(e, &at, FIELD_DUPLICATE,
				"Duplicate value: core.ServicePort{Name:\"\", Protocol:\"%s\", "
				"AppProtocol:(*string)(nil), Port:%lld, "
				"TargetPort:intstr.IntOrString{Type:0, IntVal:0, StrVal:\"\"}, "
				"NodePort:0}",
				protocol, port);
		json_set(e->arena, seen, key, json_new_null(e->arena));
	}
}

static void external_ips(struct field_errs *e, const struct field_path *up, const struct json *spec)
{
	struct field_path all = field_child(up, "externalIPs");
	size_t i = 0;

	JSON_ITEMS (s, json_getc(spec, "externalIPs")) {
		struct field_path at = field_index(&all, i++);
		const char *bad = validate__ip(json_str(s));

		if (!bad)
			bad = validate__no_special_ip(json_str(s));
		if (bad)
			field_invalid(e, &at, s, "%s", bad);
	}
}

/* Upstream's path has this name with a capital. */
static void source_ranges(struct field_errs *e, const struct field_path *up, const struct json *spec)
{
	struct field_path all = field_child(up, "LoadBalancerSourceRanges");
	size_t i = 0;

	if (json_len(json_getc(spec, "loadBalancerSourceRanges")) > 0 && !is_type(spec, "LoadBalancer"))
		field_forbidden(e, &all, "may only be used when `type` is 'LoadBalancer'");
	JSON_ITEMS (s, json_getc(spec, "loadBalancerSourceRanges")) {
		struct field_path at = field_index(&all, i++);

		if (!validate__is_cidr(str_trim(json_str(s))))
			field_invalid_str(e, &at, str_trim(json_str(s)), "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)");
	}
}

static void affinity(struct field_errs *e, const struct field_path *path, const struct json *spec)
{
	static const char *const values[] = {"ClientIP", "None", NULL};
	struct field_path config = field_child(path, "sessionAffinityConfig"),
			  client = field_child(&config, "clientIP");
	struct field_path timeout = field_child(&client, "timeoutSeconds");
	struct json *t = json_getp(spec, "sessionAffinityConfig.clientIP.timeoutSeconds");

	validate__one_of(e, path, spec, "sessionAffinity", values);
	if (json_eqc(json_getc(spec, "sessionAffinity"), "ClientIP")) {
		if (json_is_null(t))
			field_required(e, &config, "");
		else if (json_i64_or(t, 0) <= 0 || json_i64_or(t, 0) > 86400)
			field_invalid(e, &timeout, t, "must be greater than 0 and less than 86400");
	} else if (json_is(json_getc(spec, "sessionAffinityConfig"), JSON_OBJECT)) {
		field_forbidden(e, &config, "must not be set when session affinity is None");
	}
}

static void traffic(struct field_errs *e, const struct field_path *path, const struct json *spec)
{
	static const char *const values[] = {"Cluster", "Local", NULL},
		   *const distributions[] = {"PreferClose", "PreferSameNode", "PreferSameZone", NULL};
	struct field_path external = field_child(path, "externalTrafficPolicy");
	struct json *v = json_getc(spec, "externalTrafficPolicy");

	if (is_type(spec, "NodePort") || is_type(spec, "LoadBalancer") ||
		json_len(json_getc(spec, "externalIPs")) > 0)
		validate__one_of_opt(e, path, spec, "externalTrafficPolicy", values);
	else if (json_str(v).n > 0)
		field_invalid(
			e, &external, v, "may only be set for externally-accessible services");
	validate__one_of_opt(e, path, spec, "internalTrafficPolicy", values);
	validate__one_of_opt(e, path, spec, "trafficDistribution", distributions);
}

static bool needs_health_port(const struct json *spec)
{
	return is_type(spec, "LoadBalancer") && json_eqc(json_getc(spec, "externalTrafficPolicy"), "Local");
}

/* What only a load balancer has. */
static void balancer(struct field_errs *e, const struct field_path *path, const struct json *spec, const struct json *was)
{
	static const char *const only[] = {"allocateLoadBalancerNodePorts", "loadBalancerClass"};
	struct field_path health = field_child(path, "healthCheckNodePort"), class = field_child(path, "loadBalancerClass");
	struct json *port = json_getc(spec, "healthCheckNodePort"), *now = json_getc(spec, "loadBalancerClass");
	bool is = is_type(spec, "LoadBalancer"), needs = needs_health_port(spec);

	for (size_t i = 0; i < ARRAY_LEN(only) && !is; i++) {
		struct field_path p = field_child(path, only[i]);

		if (!json_is_null(json_getc(spec, only[i])))
			field_forbidden(e, &p, "may only be used when `type` is 'LoadBalancer'");
	}
	if (json_i64_or(port, 0) != 0 && !needs)
		field_invalid(e, &health, port,
			"may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'");
	else if (needs && was && needs_health_port(was) && json_i64_or(json_getc(was, "healthCheckNodePort"), 0) != 0 &&
		!json_equal(port, json_getc(was, "healthCheckNodePort")))
		field_forbidden(e, &health, "field is immutable");
	if (is && was && is_type(was, "LoadBalancer") && !json_equal(now, json_getc(was, "loadBalancerClass")))
		field_invalid(e, &class, now, "may not change once set");
	else if (is && !json_is_null(now))
		validate__name(e, path, spec, "loadBalancerClass", validate__qualified_name);
}

static bool is_v6(const struct json *ip)
{
	return str_find(json_str(ip), ':') >= 0;
}

static void families(struct field_errs *e, const struct field_path *path, const struct json *spec)
{
	static const char *const policies[] = {"PreferDualStack", "RequireDualStack", "SingleStack", NULL},
		   *const values[] = {"IPv4", "IPv6", NULL};
	struct field_path all = field_child(path, "ipFamilies");
	const struct json *list = json_getc(spec, "ipFamilies");

	for (size_t i = 0; i < json_len(list); i++) {
		struct field_path at = field_index(&all, i);
		struct str f = json_str(json_at(list, i));

		if (!str_eqc(f, "IPv4") && !str_eqc(f, "IPv6"))
			field_not_supported(e, &at, f, values);
		for (size_t k = 0; k < i; k++)
			if (str_eq(f, json_str(json_at(list, k)))) {
				field_duplicate(e, &at, f);
				break;
			}
	}
	validate__one_of_opt(e, path, spec, "ipFamilyPolicy", policies);
}

/* The list as such: false when what it says of families is not worth a look. */
static bool cluster_ip_list(struct field_errs *e, const struct field_path *all, const struct json *list)
{
	const char *text = validate__go_strings(e->arena, list);
	bool good = true;
	size_t i = 0;

	if (json_eqc(json_at(list, 0), "None") && json_len(list) > 1) {
		field_err_add(e, all, FIELD_INVALID, "Invalid value: %s: 'None' must be the first and only value", text);
		good = false;
	}
	JSON_ITEMS (ip, list) {
		struct field_path at = field_index(all, i++);
		const char *bad = i == 1 && json_eqc(ip, "None") ? NULL : validate__ip(json_str(ip));

		if (bad)
			field_invalid(e, &at, ip, "%s", bad);
		good = good && !bad;
	}
	if (json_len(list) > 2)
		field_err_add(e, all, FIELD_INVALID, "Invalid value: %s: may only hold up to 2 values", text);
	if (good && json_len(list) > 1 && (json_len(list) != 2 || is_v6(json_at(list, 0)) == is_v6(json_at(list, 1))))
		field_err_add(e, all, FIELD_INVALID, "Invalid value: %s: may specify no more than one IP for each IP family", text);
	return good;
}

void validate_service_addresses(const struct json *spec, struct field_errs *e)
{
	struct field_path path = field_child(NULL, "spec"), all = field_child(&path, "clusterIPs");
	const struct json *list = json_getc(spec, "clusterIPs"), *asked = json_getc(spec, "ipFamilies");
	struct str first = json_str(json_getc(spec, "clusterIP"));
	const char *text = validate__go_strings(e->arena, list);

	if (is_type(spec, "ExternalName"))
		return;
	if (first.n > 0 && json_len(list) == 0)
		field_required(e, &all, "");
	else if (first.n > 0 && !str_eq(first, json_str(json_at(list, 0))))
		field_err_add(e, &all, FIELD_INVALID, "Invalid value: %s: first value must match `clusterIP`", text);
	else if (first.n == 0 && json_len(list) > 0)
		field_err_add(e, &all, FIELD_INVALID, "Invalid value: %s: must be empty when `clusterIP` is not specified", text);
	families(e, &path, spec);
	if (!cluster_ip_list(e, &all, list) || json_eqc(json_at(list, 0), "None"))
		return;
	for (size_t i = 0; i < json_len(list) && i < json_len(asked); i++) {
		struct field_path at = field_index(&all, i);
		const struct json *ip = json_at(list, i), *f = json_at(asked, i);

		if ((json_eqc(f, "IPv4") && is_v6(ip)) || (json_eqc(f, "IPv6") && !is_v6(ip)))
			field_invalid(e, &at, ip, "expected an %s value as indicated by `ipFamilies[%zu]`", json_cstr(f), i);
	}
}

/* What the type says of the address. */
static void cluster_ip(struct field_errs *e, const struct field_path *path, const struct json *spec)
{
	static const char *const none[] = {"clusterIPs", "ipFamilies", "ipFamilyPolicy"};
	struct field_path all = field_child(path, "clusterIPs"), first = field_index(&all, 0);
	struct str ip = json_str(json_getc(spec, "clusterIP"));

	for (size_t i = 0; i < ARRAY_LEN(none) && is_type(spec, "ExternalName"); i++)
		if (json_len(json_getc(spec, none[i])) > 0 || json_str(json_getc(spec, none[i])).n > 0)
			validate__forbid(e, path, none[i], "may not be set for ExternalName services");
	if (str_eqc(ip, "None") && (is_type(spec, "NodePort") || is_type(spec, "LoadBalancer")))
		field_invalid_str(e, &first, ip, "may not be set to 'None' for %s services", json_cstr(json_getc(spec, "type")));
}

/* An address stays with its service, unless the service has none by its type. */
static void kept_address(struct field_errs *e, const struct field_path *path, const struct json *spec, const struct json *was)
{
	struct field_path ips = field_child(path, "clusterIPs"), first = field_index(&ips, 0);
	struct str old = json_str(json_getc(was, "clusterIP")), ip = json_str(json_getc(spec, "clusterIP"));

	if (was && old.n > 0 && !is_type(spec, "ExternalName") && !is_type(was, "ExternalName") && !str_eq(old, ip))
		field_err_add(e, &first, FIELD_INVALID, "Invalid value: []string{\"%.*s\"}: may not change once set", STR_FMT(ip));
}

/* The dot of a name that is complete may stand there. */
static const char *canonical_name(struct str s)
{
	return validate_dns1123_subdomain(str_sub(s, 0, s.n - str_has_suffix(s, STR("."))));
}

void validate__service(const struct validate__ctx *c)
{
	static const char *const types[] = {
		"ClusterIP", "ExternalName", "LoadBalancer", "NodePort", NULL};
	struct field_path path = field_child(NULL, "spec"),
			  selector = field_child(&path, "selector");
	const struct json *spec = json_getc(c->obj, "spec"), *was = json_getc(c->old, "spec");
	struct field_errs *e = c->errs;

	if (c->sub[0] != '\0')
		return;
	cluster_ip(e, &path, spec);
	if (is_type(spec, "ExternalName") && validate__required(e, &path, spec, "externalName"))
		validate__name(e, &path, spec, "externalName", canonical_name);
	service_ports(e, &path, spec);
	validate_labels(json_getc(spec, "selector"), &selector, e);
	affinity(e, &path, spec);
	validate_service_addresses(spec, e);
	external_ips(e, &path, spec);
	validate__one_of(e, &path, spec, "type", types);
	source_ranges(e, &path, spec);
	balancer(e, &path, spec, was);
	traffic(e, &path, spec);
	kept_address(e, &path, spec, was);
}

/* ---- endpoints ---- */

static void endpoint_port(
	struct field_errs *e, const struct field_path *at, const struct json *p, bool need_name)
{
	struct field_path name_path = field_child(at, "name"), port_path = field_child(at, "port");
	struct str name = json_str(json_getc(p, "name"));
	const char *bad = name.n ? validate_dns1123_label(name) : NULL;

	if (need_name && name.n == 0)
		field_required(e, &name_path, "");
	else if (bad)
		field_invalid_str(e, &name_path, name, "%s", bad);
	validate__port_number(e, &port_path, json_getc(p, "port"));
	validate__one_of(e, at, p, "protocol", protocols);
}

static void endpoint_addresses(
	struct field_errs *e, const struct field_path *up, const struct json *ss, const char *key)
{
	struct field_path all = field_child(up, key);
	size_t i = 0;

	JSON_ITEMS (a, json_getc(ss, key)) {
		struct field_path at = field_index(&all, i++);

		validate__name(e, &at, a, "ip", validate__ip);
		validate__name(e, &at, a, "ip", validate__no_special_ip);
		if (json_str(json_getc(a, "hostname")).n > 0)
			validate__name(e, &at, a, "hostname", validate_dns1123_label);
	}
}

void validate__endpoints(const struct validate__ctx *c)
{
	struct field_path all = field_child(NULL, "subsets");
	size_t i = 0;

	JSON_ITEMS (ss, json_getc(c->obj, "subsets")) {
		struct field_path at = field_index(&all, i++), ports = field_child(&at, "ports");
		size_t k = 0;

		if (json_len(json_getc(ss, "addresses")) +
				json_len(json_getc(ss, "notReadyAddresses")) ==
			0)
			field_required(
				c->errs, &at, "must specify `addresses` or `notReadyAddresses`");
		endpoint_addresses(c->errs, &at, ss, "addresses");
		endpoint_addresses(c->errs, &at, ss, "notReadyAddresses");
		JSON_ITEMS (p, json_getc(ss, "ports")) {
			struct field_path port = field_index(&ports, k++);

			endpoint_port(c->errs, &port, p, json_len(json_getc(ss, "ports")) > 1);
		}
	}
}

static void slice_endpoint(
	struct field_errs *e, const struct field_path *at, const struct json *ep, const char *type)
{
	struct field_path all = field_child(at, "addresses");
	struct json *list = json_getc(ep, "addresses");
	size_t i = 0;

	if (json_len(list) == 0)
		field_required(e, &all, "must contain at least 1 address");
	else if (json_len(list) > SLICE_MAX_ADDRESSES)
		field_too_many(e, &all, json_len(list), SLICE_MAX_ADDRESSES);
	JSON_ITEMS (a, list) {
		struct field_path p = field_index(&all, i++);
		bool v6 = str_find(json_str(a), ':') >= 0;
		const char *bad = strcmp(type, "FQDN") == 0
					  ? validate_dns1123_subdomain(json_str(a))
					  : validate__ip(json_str(a));

		if (bad)
			field_invalid(e, &p, a, "%s", bad);
		else if (strcmp(type, "IPv4") == 0 && v6)
			field_invalid(e, &p, a, "must be a valid IPv4 address");
		else if (strcmp(type, "IPv6") == 0 && !v6)
			field_invalid(e, &p, a, "must be a valid IPv6 address");
		else if (strcmp(type, "FQDN") != 0 && validate__no_special_ip(json_str(a)))
			field_invalid(e, &p, a, "%s", validate__no_special_ip(json_str(a)));
	}
	if (json_str(json_getc(ep, "hostname")).n > 0)
		validate__name(e, at, ep, "hostname", validate_dns1123_label);
	if (json_str(json_getc(ep, "nodeName")).n > 0)
		validate__name(e, at, ep, "nodeName", validate_dns1123_subdomain);
}

static void slice_ports(struct field_errs *e, const struct json *list)
{
	struct field_path all = field_child(NULL, "ports");
	struct json *names = json_new_object(e->arena);
	size_t i = 0;

	if (json_len(list) > SLICE_MAX_PORTS)
		field_too_many(e, &all, json_len(list), SLICE_MAX_PORTS);
	JSON_ITEMS (p, list) {
		struct field_path at = field_index(&all, i++), name_path = field_child(&at, "name");
		struct str name = json_str(json_getc(p, "name"));
		const char *bad = name.n ? validate_dns1123_label(name) : NULL;

		if (bad)
			field_invalid_str(e, &name_path, name, "%s", bad);
		if (json_get(names, name))
			field_duplicate(e, &name_path, name);
		json_set(e->arena, names, name, p);
		validate__one_of(e, &at, p, "protocol", protocols);
	}
}

void validate__endpoint_slice(const struct validate__ctx *c)
{
	static const char *const types[] = {"FQDN", "IPv4", "IPv6", NULL};
	struct field_path all = field_child(NULL, "endpoints"),
			  type_path = field_child(NULL, "addressType");
	struct json *list = json_getc(c->obj, "endpoints"),
		    *type = json_getc(c->obj, "addressType");
	size_t i = 0;

	if (json_str(type).n == 0)
		field_required(c->errs, &type_path, "");
	else
		validate__one_of(c->errs, NULL, c->obj, "addressType", types);
	if (json_len(list) > SLICE_MAX_ENDPOINTS)
		field_too_many(c->errs, &all, json_len(list), SLICE_MAX_ENDPOINTS);
	JSON_ITEMS (ep, list) {
		struct field_path at = field_index(&all, i++);

		slice_endpoint(c->errs, &at, ep, json_cstr(type));
	}
	slice_ports(c->errs, json_getc(c->obj, "ports"));
	if (c->old)
		validate__immutable(c->errs, NULL, c->obj, c->old, "addressType");
}
