#include "orchestrator/apiserver/service_fields.h"

#include "base/arena.h"
#include "base/util.h"
#include "proto/field_errs.h"
#include "proto/json.h"
#include "proto/validate.h"

static bool is_type(const struct json *spec, const char *type)
{
	return json_eqc(json_getc(spec, "type"), type);
}

bool service_has_address(const struct json *spec)
{
	return spec && !is_type(spec, "ExternalName");
}

bool service_has_ports(const struct json *spec)
{
	return is_type(spec, "NodePort") || is_type(spec, "LoadBalancer");
}

bool service_wants_ports(const struct json *spec)
{
	const struct json *allocate = json_getc(spec, "allocateLoadBalancerNodePorts");

	return is_type(spec, "NodePort") || (is_type(spec, "LoadBalancer") && (json_is_null(allocate) || json_true(allocate)));
}

bool service_wants_health_port(const struct json *spec)
{
	return is_type(spec, "LoadBalancer") && json_eqc(json_getc(spec, "externalTrafficPolicy"), "Local");
}

bool service_is_elsewhere(const struct json *spec)
{
	return json_eqc(json_getc(spec, "clusterIP"), "None") && json_len(json_getc(spec, "selector")) == 0;
}

static int64_t node_port(const struct json *port)
{
	return json_i64_or(json_getc(port, "nodePort"), 0);
}

static bool has_node_port(const struct json *spec, int64_t port)
{
	JSON_ITEMS (p, json_getc(spec, "ports"))
		if (node_port(p) == port)
			return true;
	return false;
}

bool service_uses_port(const struct json *spec, int64_t port)
{
	return has_node_port(spec, port) || json_i64_or(json_getc(spec, "healthCheckNodePort"), 0) == port;
}

int64_t service_port_beside(const struct json *spec, const struct json *port)
{
	JSON_ITEMS (p, json_getc(spec, "ports"))
		if (node_port(p) != 0 && json_equal(json_getc(p, "port"), json_getc(port, "port")))
			return node_port(p);
	return 0;
}

/* --- What was given out before ---------------------------------------------------------------------------------------------- */

/* By the name alone: whatever else of the port has changed. A number that stands elsewhere by now is not taken from there. */
static int64_t port_before(const struct json *spec, const struct json *old, const struct json *port)
{
	int64_t found = 0;

	JSON_ITEMS (o, json_getc(old, "ports"))
		if (str_eq(json_str(json_getc(o, "name")), json_str(json_getc(port, "name"))))
			found = node_port(o);
	return has_node_port(spec, found) ? 0 : found;
}

void service_keep(struct arena *a, struct json *spec, const struct json *old)
{
	if (!old)
		return;
	if (service_has_address(old) && service_has_address(spec)) {
		if (json_str(json_getc(spec, "clusterIP")).n == 0 && json_getc(old, "clusterIP"))
			json_setc(a, spec, "clusterIP", json_copy(a, json_getc(old, "clusterIP")));
		if (json_len(json_getc(spec, "clusterIPs")) == 0 && json_len(json_getc(old, "clusterIPs")) > 0)
			json_setc(a, spec, "clusterIPs", json_copy(a, json_getc(old, "clusterIPs")));
	}
	if (service_has_ports(old) && service_has_ports(spec)) {
		JSON_ITEMS (p, json_getc(spec, "ports")) {
			int64_t before = node_port(p) == 0 ? port_before(spec, old, p) : 0;

			if (before != 0)
				json_setc(a, p, "nodePort", json_new_int(a, before));
		}
	}
	if (service_wants_health_port(old) && service_wants_health_port(spec) && json_i64_or(json_getc(spec, "healthCheckNodePort"), 0) == 0 &&
			json_getc(old, "healthCheckNodePort"))
		json_setc(a, spec, "healthCheckNodePort", json_copy(a, json_getc(old, "healthCheckNodePort")));
}

static bool same(const struct json *spec, const struct json *old, const char *key)
{
	const struct json *x = json_getc(spec, key), *y = json_getc(old, key);

	return json_equal(x, y) || (json_is_null(x) && json_is_null(y));
}

void service_sync_addresses(struct arena *a, struct json *spec, const struct json *old)
{
	struct str ip = json_str(json_getc(spec, "clusterIP"));
	struct json *list;

	if (old ? str_eq(ip, json_str(json_getc(old, "clusterIP"))) || !same(spec, old, "clusterIPs") : json_len(json_getc(spec, "clusterIPs")) > 0)
		return;
	if (ip.n == 0) {
		json_delc(spec, "clusterIPs");
		return;
	}
	list = json_new_array(a);
	json_push(a, list, json_new_str(a, ip));
	json_setc(a, spec, "clusterIPs", list);
}

/* --- Families ---------------------------------------------------------------------------------------------------------------- */

static bool has_policy(const struct json *spec, const char *policy)
{
	return json_eqc(json_getc(spec, "ipFamilyPolicy"), policy);
}

/* Prefers two families and stays as it is: what the cluster has by now does not change it. */
static bool is_settled(const struct json *spec, const struct json *old)
{
	return old && has_policy(spec, "PreferDualStack") && has_policy(old, "PreferDualStack") && same(spec, old, "type") &&
	       same(spec, old, "clusterIPs") && same(spec, old, "ipFamilies");
}

static void default_policy(struct arena *a, struct json *spec, const struct json *old)
{
	if (!json_is_null(json_getc(spec, "ipFamilyPolicy")))
		return;
	if (!json_is_null(json_getc(old, "ipFamilyPolicy")))
		json_setc(a, spec, "ipFamilyPolicy", json_copy(a, json_getc(old, "ipFamilyPolicy")));
	else
		json_setc(a, spec, "ipFamilyPolicy", json_newc(a, service_is_elsewhere(spec) ? "RequireDualStack" : "SingleStack"));
}

static void first_only(struct arena *a, struct json *spec, const struct json *old, const char *key)
{
	struct json *one, *list = json_getc(spec, key);

	if (!same(spec, old, key) || json_len(list) < 2)
		return;
	one = json_new_array(a);
	json_push(a, one, json_at(list, 0));
	json_setc(a, spec, key, one);
}

/* Fewer than before are meant only by who says SingleStack; whoever says that and changes nothing else means it. */
static void fewer(struct arena *a, struct json *spec, const struct json *old, const struct field_path *policy, struct field_errs *e)
{
	static const struct {
		const char *key, *what;
	} lists[] = {{"clusterIPs", "cluster IP"}, {"ipFamilies", "IP family"}};

	for (size_t i = 0; i < ARRAY_LEN(lists) && old; i++) {
		size_t now = json_len(json_getc(spec, lists[i].key));

		if (has_policy(spec, "SingleStack"))
			first_only(a, spec, old, lists[i].key);
		else if (now > 0 && now < json_len(json_getc(old, lists[i].key)))
			field_invalid(e, policy, json_getc(spec, "ipFamilyPolicy"), "must be 'SingleStack' to release the secondary %s",
					lists[i].what);
	}
	for (size_t i = 0; i < ARRAY_LEN(lists) && has_policy(spec, "SingleStack"); i++)
		if (json_len(json_getc(spec, lists[i].key)) == 2)
			field_invalid(e, policy, json_getc(spec, "ipFamilyPolicy"),
					"must be 'RequireDualStack' or 'PreferDualStack' when multiple %s are specified",
					i == 0 ? "cluster IPs" : "IP families");
}

static struct json *family_list(struct arena *a, struct json *spec)
{
	struct json *list = json_getc(spec, "ipFamilies");

	if (!json_is(list, JSON_ARRAY)) {
		list = json_new_array(a);
		json_setc(a, spec, "ipFamilies", list);
	}
	return list;
}

/* What an address says of its family, where that is not said. */
static void infer(struct arena *a, struct json *spec, const struct field_path *ips, struct field_errs *e)
{
	const struct json *list = json_getc(spec, "clusterIPs");

	for (size_t i = 0; i < json_len(list) && !json_eqc(json_at(list, i), "None"); i++) {
		struct field_path at = field_index(ips, i);

		if (i < json_len(json_getc(spec, "ipFamilies")))
			continue;
		if (str_find(json_str(json_at(list, i)), ':') >= 0)
			field_err_add(e, &at, FIELD_INVALID, "Invalid value: []string{\"%s\"}: IPv6 is not configured on this cluster",
					json_cstr(json_at(list, i)));
		else
			json_push(a, family_list(a, spec), json_newc(a, "IPv4"));
	}
}

static void two_families(struct arena *a, struct json *spec)
{
	struct json *list = family_list(a, spec);

	if (json_len(list) == 0)
		json_push(a, list, json_newc(a, "IPv4"));
	if (json_len(list) < 2 && !has_policy(spec, "SingleStack"))
		json_push(a, list, json_newc(a, json_eqc(json_at(list, 0), "IPv4") ? "IPv6" : "IPv4"));
}

static void one_family(struct arena *a, struct json *spec, const struct field_path *path, struct field_errs *e)
{
	struct field_path all = field_child(path, "ipFamilies"), policy = field_child(path, "ipFamilyPolicy");
	struct json *list = family_list(a, spec);
	size_t i = 0;

	if (has_policy(spec, "RequireDualStack"))
		field_invalid(e, &policy, json_getc(spec, "ipFamilyPolicy"), "this cluster is not configured for dual-stack services");
	JSON_ITEMS (f, list) {
		struct field_path at = field_index(&all, i++);

		if (!json_eqc(f, "IPv4"))
			field_invalid(e, &at, f, "not configured on this cluster");
	}
	if (json_len(list) == 0)
		json_push(a, list, json_newc(a, "IPv4"));
}

void service_families(struct arena *a, struct json *spec, const struct json *old, struct field_errs *e)
{
	struct field_path path = field_child(NULL, "spec"), ips = field_child(&path, "clusterIPs"), policy = field_child(&path, "ipFamilyPolicy");

	if (!service_has_address(spec) || is_settled(spec, old))
		return;
	default_policy(a, spec, old);
	validate_service_addresses(spec, e);
	if (e->n > 0)
		return;
	fewer(a, spec, old, &policy, e);
	infer(a, spec, &ips, e);
	if (e->n > 0)
		return;
	if (service_is_elsewhere(spec))
		two_families(a, spec);
	else
		one_family(a, spec, &path, e);
}

/* --- What goes with a type --------------------------------------------------------------------------------------------------- */

static void drop_same(struct json *spec, const struct json *old, const char *key)
{
	if (same(spec, old, key))
		json_delc(spec, key);
}

static bool is_outside(const struct json *spec)
{
	return service_has_ports(spec) || (is_type(spec, "ClusterIP") && json_len(json_getc(spec, "externalIPs")) > 0);
}

static bool asks_no_new_port(const struct json *spec, const struct json *old)
{
	JSON_ITEMS (p, json_getc(spec, "ports"))
		if (node_port(p) != 0 && !has_node_port(old, node_port(p)))
			return false;
	return true;
}

void service_drop(struct arena *a, struct json *obj, const struct json *old_obj)
{
	struct json *spec = json_getc(obj, "spec");
	const struct json *old = json_getc(old_obj, "spec");

	if (!old)
		return;
	if (service_has_address(old) && !service_has_address(spec)) {
		if (same(spec, old, "clusterIP") && same(spec, old, "clusterIPs")) {
			json_delc(spec, "clusterIP");
			json_delc(spec, "clusterIPs");
		}
		drop_same(spec, old, "ipFamilies");
		drop_same(spec, old, "ipFamilyPolicy");
	}
	if (service_has_ports(old) && !service_has_ports(spec) && asks_no_new_port(spec, old)) {
		JSON_ITEMS (p, json_getc(spec, "ports"))
			json_delc(p, "nodePort");
	}
	if (service_wants_health_port(old) && !service_wants_health_port(spec))
		drop_same(spec, old, "healthCheckNodePort");
	if (is_type(old, "LoadBalancer") && !is_type(spec, "LoadBalancer")) {
		drop_same(spec, old, "allocateLoadBalancerNodePorts");
		drop_same(spec, old, "loadBalancerClass");
	}
	if (is_outside(old) && !is_outside(spec))
		drop_same(spec, old, "externalTrafficPolicy");
	if (!is_type(spec, "LoadBalancer") && json_len(json_getp(obj, "status.loadBalancer")) > 0)
		json_setp(a, obj, "status.loadBalancer", json_new_object(a));
}
