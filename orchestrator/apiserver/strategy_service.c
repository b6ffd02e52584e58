/*
 * Services: cluster addresses and node ports.
 *
 * What is given out is a key of its own, written in the transaction of the Service and removed in the transaction that
 * removes it: /registry/ranges/serviceips/<ip> and /registry/ranges/servicenodeports/<port>, value "<ns>/<name>". So two
 * servers can never give out the same one, and nothing has to be repaired after a crash: a lost race runs again.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/util.h"
#include "orchestrator/apiserver/apiserver-priv.h"
#include "orchestrator/apiserver/objects.h"
#include "orchestrator/apiserver/storage.h"
#include "orchestrator/apiserver/strategies.h"
#include "orchestrator/apiserver/txn.h"
#include "orchestrator/apiserver/write.h"
#include "proto/field_errs.h"
#include "store/view.h"

#define RANGE_IPS "/registry/ranges/serviceips/"
#define RANGE_PORTS "/registry/ranges/servicenodeports/"
/* Random tries before the range is searched in order. */
#define RANDOM_TRIES 32

static struct str ip_key(struct arena *a, struct str ip)
{
	return arena_sprintf(a, RANGE_IPS "%.*s", STR_FMT(ip));
}

static struct str port_key(struct arena *a, int64_t port)
{
	return arena_sprintf(a, RANGE_PORTS "%05lld", (long long)port);
}

static struct str owner_of(struct api_request *req)
{
	return arena_sprintf(&req->arena, "%.*s/%.*s", STR_FMT(req->at.ns), STR_FMT(api_name(req->obj ? req->obj : req->old)));
}

/* 0: free. 1: taken, by `*ret_mine` this very Service or another. */
static bool taken(struct api_request *req, struct store_view *v, struct str key, bool *ret_mine)
{
	struct store_kv kv;
	struct err e = ERR_INIT;

	*ret_mine = false;
	if (view_get(v, key, 0, &kv, &e) < 0)
		return false;
	*ret_mine = str_eq(kv.value, owner_of(req));
	return true;
}

static void claim(struct api_request *req, struct str key)
{
	txn_if_mod(req->txn, key, 0);
	txn_put(req->txn, key, owner_of(req), 0);
}

static enum step_result fail_ip(struct api_request *req, struct str ip, const char *why)
{
	struct field_errs errs;
	struct field_path spec = field_child(NULL, "spec"), f = field_child(&spec, "clusterIPs");

	field_errs_init(&errs, &req->arena);
	field_err_add(&errs, &f, FIELD_INVALID, "Invalid value: []string{\"%.*s\"}: failed to allocate IP %.*s: %s", STR_FMT(ip),
			STR_FMT(ip), why);
	return api_fail_invalid(req, &errs);
}

static enum step_result fail_port(struct api_request *req, int64_t port, const char *why)
{
	struct field_errs errs;
	struct field_path spec = field_child(NULL, "spec"), ports = field_child(&spec, "ports"), one, f;
	size_t i = 0;

	while (json_at(json_getp(req->obj, "spec.ports"), i) &&
			json_i64_or(json_getc(json_at(json_getp(req->obj, "spec.ports"), i), "nodePort"), 0) != port)
		i++;
	one = field_index(&ports, i);
	f = field_child(&one, "nodePort");
	field_errs_init(&errs, &req->arena);
	field_err_add(&errs, &f, FIELD_INVALID, "Invalid value: %lld: %s", (long long)port, why);
	return api_fail_invalid(req, &errs);
}

/* --- Cluster addresses ------------------------------------------------------------------------------------- */

static struct str ip_text(struct arena *a, uint32_t ip)
{
	return arena_sprintf(a, "%u.%u.%u.%u", ip >> 24, ip >> 16 & 255, ip >> 8 & 255, ip & 255);
}

static bool ip_free(struct api_request *req, struct store_view *v, uint32_t ip)
{
	bool mine;

	return !taken(req, v, ip_key(&req->arena, ip_text(&req->arena, ip)), &mine);
}

/* The lower band (at most 256 addresses) is left to Services that ask for an address, as upstream does. */
static bool ip_choose(struct api_request *req, struct store_view *v, uint32_t *ret)
{
	uint32_t net = req->srv->service_net, size = ~req->srv->service_mask;
	uint32_t band = MIN(MAX(16u, size / 16), 256u);

	if (size < 4)
		return false;
	if (band >= size)
		band = 1;
	for (int i = 0; i < RANDOM_TRIES; i++) {
		uint32_t ip = net + band + (uint32_t)(random_u64() % (size - band));

		if (ip_free(req, v, ip)) {
			*ret = ip;
			return true;
		}
	}
	for (uint32_t k = 0; k + 1 < size; k++) {
		uint32_t ip = net + 1 + (band + k) % (size - 1);

		if (ip_free(req, v, ip)) {
			*ret = ip;
			return true;
		}
	}
	return false;
}

static enum step_result ip_claim_wanted(struct api_request *req, struct store_view *v, struct str want)
{
	char text[INET_ADDRSTRLEN];
	struct in_addr in;
	uint32_t ip;
	bool mine;

	snprintf(text, sizeof(text), "%.*s", STR_FMT(want));
	if (inet_pton(AF_INET, text, &in) != 1)
		return fail_ip(req, want, "not a valid IPv4 address");
	ip = ntohl(in.s_addr);
	if ((ip & req->srv->service_mask) != req->srv->service_net || ip == req->srv->service_net)
		return fail_ip(req, want,
				arena_printf(&req->arena,
						"the provided IP (%.*s) is not in the valid range. The range of valid IPs is %s",
						STR_FMT(want), req->srv->cfg.service_cidr));
	if (taken(req, v, ip_key(&req->arena, want), &mine)) {
		if (mine)
			return STEP_NEXT;
		return api_refresh(req) ? STEP_WAIT :
					  fail_ip(req, want, "provided IP is already allocated");
	}
	claim(req, ip_key(&req->arena, want));
	return STEP_NEXT;
}

static bool wants_ip(const struct json *spec)
{
	return spec && !json_eqc(json_getc(spec, "type"), "ExternalName");
}

static struct str ip_of(const struct json *obj)
{
	struct str ip = json_strp(obj, "spec.clusterIP");

	return str_eqc(ip, "None") ? STR_NULL : ip;
}

/* `elsewhere`: neither address nor pods are ours, so endpoints of both families may be written by hand. */
static void families(struct arena *a, struct json *spec, bool elsewhere)
{
	struct json *list = json_new_array(a);

	if (json_is_null(json_getc(spec, "ipFamilyPolicy")))
		json_setc(a, spec, "ipFamilyPolicy", json_newc(a, elsewhere ? "RequireDualStack" : "SingleStack"));
	if (json_len(json_getc(spec, "ipFamilies")) > 0)
		return;
	json_push(a, list, json_newc(a, "IPv4"));
	if (elsewhere && !json_eqc(json_getc(spec, "ipFamilyPolicy"), "SingleStack"))
		json_push(a, list, json_newc(a, "IPv6"));
	json_setc(a, spec, "ipFamilies", list);
}

static enum step_result allocate_ip(struct api_request *req, struct store_view *v)
{
	struct arena *a = &req->arena;
	struct json *spec = json_getc(req->obj, "spec"), *list;
	struct str want = json_str(json_getc(spec, "clusterIP")), had = req->old ? ip_of(req->old) : STR_NULL;
	enum step_result r = STEP_NEXT;
	uint32_t ip;

	if (want.n == 0)
		want = json_str(json_at(json_getc(spec, "clusterIPs"), 0));
	if (!wants_ip(spec)) {
		if (had.n > 0)
			txn_delete(req->txn, ip_key(a, had));
		json_delc(spec, "clusterIP");
		json_delc(spec, "clusterIPs");
		return STEP_NEXT;
	}
	/* PUT without the address keeps it. */
	if (want.n == 0 && had.n > 0)
		want = had;
	if (want.n == 0) {
		if (!ip_choose(req, v, &ip))
			return api_fail(req, ERR_INTERNAL, "failed to allocate a serviceIP: range is full");
		want = ip_text(a, ip);
		claim(req, ip_key(a, want));
	} else if (!str_eqc(want, "None") && !str_eq(want, had)) {
		r = ip_claim_wanted(req, v, want);
	}
	if (r != STEP_NEXT)
		return r;
	if (had.n > 0 && !str_eq(had, want))
		txn_delete(req->txn, ip_key(a, had));
	json_setc(a, spec, "clusterIP", json_new_str(a, want));
	list = json_new_array(a);
	json_push(a, list, json_new_str(a, want));
	json_setc(a, spec, "clusterIPs", list);
	families(a, spec, str_eqc(want, "None") && json_len(json_getc(spec, "selector")) == 0);
	return STEP_NEXT;
}

/* --- Node ports ------------------------------------------------------------------------------------------------ */

static bool wants_ports(const struct json *spec)
{
	const struct json *type = json_getc(spec, "type");

	if (json_eqc(type, "LoadBalancer"))
		return !json_getc(spec, "allocateLoadBalancerNodePorts") ||
		       json_true(json_getc(spec, "allocateLoadBalancerNodePorts"));
	return json_eqc(type, "NodePort");
}

static bool has_port(const struct json *obj, int64_t port)
{
	JSON_ITEMS (p, json_getp(obj, "spec.ports"))
		if (json_i64_or(json_getc(p, "nodePort"), 0) == port)
			return true;
	return false;
}

/* Ports of the old object with the same name (or number and protocol) keep their node port. */
static int64_t port_before(const struct json *old, const struct json *p)
{
	JSON_ITEMS (o, json_getp(old, "spec.ports"))
		if (str_eq(json_str(json_getc(o, "name")), json_str(json_getc(p, "name"))) &&
				str_eq(json_str(json_getc(o, "protocol")), json_str(json_getc(p, "protocol"))) &&
				json_equal(json_getc(o, "port"), json_getc(p, "port")))
			return json_i64_or(json_getc(o, "nodePort"), 0);
	return 0;
}

static int64_t port_choose(struct api_request *req, struct store_view *v)
{
	int64_t min = req->srv->cfg.node_port_min, n = req->srv->cfg.node_port_max - min + 1;
	int64_t start = (int64_t)(random_u64() % (uint64_t)n);
	bool mine;

	for (int64_t k = 0; k < n; k++) {
		int64_t port = min + (start + k) % n;

		if (!has_port(req->obj, port) && !(req->old && has_port(req->old, port)) &&
				!taken(req, v, port_key(&req->arena, port), &mine))
			return port;
	}
	return 0;
}

static enum step_result port_claim(struct api_request *req, struct store_view *v, int64_t port)
{
	bool mine;

	if (port < req->srv->cfg.node_port_min || port > req->srv->cfg.node_port_max)
		return fail_port(req, port,
				arena_printf(&req->arena, "provided port is not in the valid range. The range of valid ports "
							  "is %u-%u",
						req->srv->cfg.node_port_min, req->srv->cfg.node_port_max));
	if (taken(req, v, port_key(&req->arena, port), &mine)) {
		if (mine)
			return STEP_NEXT;
		return api_refresh(req) ? STEP_WAIT :
					  fail_port(req, port, "provided port is already allocated");
	}
	claim(req, port_key(&req->arena, port));
	return STEP_NEXT;
}

static enum step_result allocate_ports(struct api_request *req, struct store_view *v)
{
	struct arena *a = &req->arena;
	struct json *spec = json_getc(req->obj, "spec");
	bool wanted = wants_ports(spec), may_have = wanted || json_eqc(json_getc(spec, "type"), "LoadBalancer");
	int64_t seen[64];
	size_t n_seen = 0;

	JSON_ITEMS (p, json_getc(spec, "ports")) {
		int64_t port = json_i64_or(json_getc(p, "nodePort"), 0);
		bool again = false;

		/* Of a type without them those of before go; one that was asked for stays, for validation to refuse it. */
		if (!may_have) {
			if (port == 0 || (req->old && has_port(req->old, port)))
				json_delc(p, "nodePort");
			continue;
		}
		if (port == 0 && req->old)
			port = port_before(req->old, p);
		if (port == 0 && !wanted)
			continue;
		if (port == 0)
			port = port_choose(req, v);
		if (port == 0)
			return api_fail(req, ERR_INTERNAL, "failed to allocate a nodePort: range is full");
		json_setc(a, p, "nodePort", json_new_int(a, port));
		/* TCP and UDP of one port may share the number. */
		for (size_t i = 0; i < n_seen; i++)
			again = again || seen[i] == port;
		if (!again && !(req->old && has_port(req->old, port))) {
			enum step_result r = port_claim(req, v, port);

			if (r != STEP_NEXT)
				return r;
		}
		if (!again && n_seen < ARRAY_LEN(seen))
			seen[n_seen++] = port;
	}
	JSON_ITEMS (o, json_getp(req->old, "spec.ports")) {
		int64_t port = json_i64_or(json_getc(o, "nodePort"), 0);

		if (port > 0 && !has_port(req->obj, port))
			txn_delete(req->txn, port_key(a, port));
	}
	return STEP_NEXT;
}

/* --- Hooks --------------------------------------------------------------------------------------------------------- */

enum step_result strategy_service_create(struct api_request *req)
{
	json_setp(&req->arena, req->obj, "status.loadBalancer", json_new_object(&req->arena));
	return STEP_NEXT;
}

/* A change of type takes along what only the old type could have, unless the client changed that too. */
enum step_result strategy_service_update(struct api_request *req)
{
	static const char *const external[] = {"externalTrafficPolicy", "healthCheckNodePort",
			"allocateLoadBalancerNodePorts", "loadBalancerClass"};
	static const char *const internal[] = {"ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy"};
	struct json *spec = json_getc(req->obj, "spec");
	const struct json *old = json_getc(req->old, "spec");
	bool outside = json_eqc(json_getc(spec, "type"), "NodePort") || json_eqc(json_getc(spec, "type"), "LoadBalancer");

	if (req->subres || !spec || str_eq(json_str(json_getc(spec, "type")), json_str(json_getc(old, "type"))))
		return STEP_NEXT;
	for (size_t i = 0; i < ARRAY_LEN(external) && !outside; i++)
		if (json_equal(json_getc(spec, external[i]), json_getc(old, external[i])))
			json_delc(spec, external[i]);
	for (size_t i = 0; i < ARRAY_LEN(internal) && !wants_ip(spec); i++)
		if (json_equal(json_getc(spec, internal[i]), json_getc(old, internal[i])))
			json_delc(spec, internal[i]);
	if (wants_ip(spec) && json_equal(json_getc(spec, "externalName"), json_getc(old, "externalName")))
		json_delc(spec, "externalName");
	return STEP_NEXT;
}

enum step_result strategy_service_admit(struct api_request *req)
{
	struct store_view *v;
	struct err e = ERR_INIT;
	enum step_result r;

	if (req->subres || !json_is(json_getc(req->obj, "spec"), JSON_OBJECT))
		return STEP_NEXT;
	if (store_view_open(req->srv->store, &v, &e) < 0)
		return api_fail_err(req, &e);
	r = allocate_ip(req, v);
	if (r == STEP_NEXT)
		r = allocate_ports(req, v);
	store_view_close(v);
	return r;
}

enum step_result strategy_service_released(struct api_request *req)
{
	struct str ip = ip_of(req->old);

	if (ip.n > 0)
		txn_delete(req->txn, ip_key(&req->arena, ip));
	JSON_ITEMS (p, json_getp(req->old, "spec.ports")) {
		int64_t port = json_i64_or(json_getc(p, "nodePort"), 0);

		if (port > 0)
			txn_delete(req->txn, port_key(&req->arena, port));
	}
	return STEP_NEXT;
}
