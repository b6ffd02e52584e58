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
#include "orchestrator/apiserver/service_fields.h"
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

static struct str ip_of(const struct json *obj)
{
	struct str ip = json_strp(obj, "spec.clusterIP");

	return str_eqc(ip, "None") ? STR_NULL : ip;
}

/* Only a Service that had none by its type, or is new, is given an address; whether it may have another one is for validation to say. */
static enum step_result allocate_ip(struct api_request *req, struct store_view *v)
{
	struct arena *a = &req->arena;
	struct json *spec = json_getc(req->obj, "spec"), *list;
	struct str want = json_str(json_getc(spec, "clusterIP")), had = req->old ? ip_of(req->old) : STR_NULL;
	uint32_t ip;

	if (!service_has_address(spec)) {
		if (had.n > 0)
			txn_delete(req->txn, ip_key(a, had));
		return STEP_NEXT;
	}
	if (str_eqc(want, "None") || (req->old && service_has_address(json_getc(req->old, "spec")) && want.n > 0))
		return STEP_NEXT;
	if (want.n > 0)
		return ip_claim_wanted(req, v, want);
	if (!ip_choose(req, v, &ip))
		return api_fail(req, ERR_INTERNAL, "Internal error occurred: failed to allocate a serviceIP: range is full");
	want = ip_text(a, ip);
	claim(req, ip_key(a, want));
	json_setc(a, spec, "clusterIP", json_new_str(a, want));
	list = json_new_array(a);
	json_push(a, list, json_new_str(a, want));
	json_setc(a, spec, "clusterIPs", list);
	return STEP_NEXT;
}

/* --- Node ports ------------------------------------------------------------------------------------------------ */

static int64_t port_choose(struct api_request *req, struct store_view *v)
{
	int64_t min = req->srv->cfg.node_port_min, n = req->srv->cfg.node_port_max - min + 1;
	int64_t start = (int64_t)(random_u64() % (uint64_t)n);
	bool mine;

	for (int64_t k = 0; k < n; k++) {
		int64_t port = min + (start + k) % n;

		if (!service_uses_port(json_getc(req->obj, "spec"), port) && !service_uses_port(json_getc(req->old, "spec"), port) &&
				!taken(req, v, port_key(&req->arena, port), &mine))
			return port;
	}
	return 0;
}

/* NULL: it is this Service's. Else why not; `*ret_stale`: a look behind a barrier may say otherwise. */
static const char *port_claim(struct api_request *req, struct store_view *v, int64_t port, bool *ret_stale)
{
	bool mine;

	*ret_stale = false;
	if (port < req->srv->cfg.node_port_min || port > req->srv->cfg.node_port_max)
		return arena_printf(&req->arena, "provided port is not in the valid range. The range of valid ports is %u-%u",
				req->srv->cfg.node_port_min, req->srv->cfg.node_port_max);
	if (!taken(req, v, port_key(&req->arena, port), &mine))
		claim(req, port_key(&req->arena, port));
	else if (!mine) {
		*ret_stale = true;
		return "provided port is already allocated";
	}
	return NULL;
}

struct numbers {
	int64_t v[128];
	size_t n;
};

static bool is_among(const struct numbers *seen, int64_t port)
{
	for (size_t i = 0; i < seen->n; i++)
		if (seen->v[i] == port)
			return true;
	return false;
}

/* TCP and UDP of one port may share the number, which is claimed once. */
static enum step_result keep_port(struct api_request *req, struct store_view *v, struct numbers *seen, int64_t port)
{
	const char *why;
	bool stale;

	if (is_among(seen, port) || service_uses_port(json_getc(req->old, "spec"), port))
		return STEP_NEXT;
	why = port_claim(req, v, port, &stale);
	if (why && stale && api_refresh(req))
		return STEP_WAIT;
	if (why)
		return fail_port(req, port, why);
	if (seen->n < ARRAY_LEN(seen->v))
		seen->v[seen->n++] = port;
	return STEP_NEXT;
}

static enum step_result allocate_ports(struct api_request *req, struct store_view *v)
{
	struct arena *a = &req->arena;
	struct json *spec = json_getc(req->obj, "spec");
	struct numbers seen = {.n = 0};
	enum step_result r = STEP_NEXT;

	if (!service_has_ports(spec))
		return STEP_NEXT;
	JSON_ITEMS (p, json_getc(spec, "ports")) {
		int64_t port = json_i64_or(json_getc(p, "nodePort"), 0);

		if (port == 0 && !service_wants_ports(spec))
			continue;
		if (port == 0 && !req->old)
			port = service_port_beside(spec, p);
		if (port == 0)
			port = port_choose(req, v);
		if (port == 0)
			return api_fail(req, ERR_INTERNAL, "Internal error occurred: failed to allocate a nodePort: range is full");
		json_setc(a, p, "nodePort", json_new_int(a, port));
		r = keep_port(req, v, &seen, port);
		if (r != STEP_NEXT)
			return r;
	}
	return STEP_NEXT;
}

static enum step_result allocate_health_port(struct api_request *req, struct store_view *v)
{
	struct json *spec = json_getc(req->obj, "spec");
	const struct json *old = json_getc(req->old, "spec");
	int64_t port = json_i64_or(json_getc(spec, "healthCheckNodePort"), 0);
	const char *why;
	bool stale;

	if (!service_wants_health_port(spec))
		return STEP_NEXT;
	if (port != 0 && service_wants_health_port(old) && json_i64_or(json_getc(old, "healthCheckNodePort"), 0) != 0)
		return STEP_NEXT;
	if (port == 0) {
		port = port_choose(req, v);
		if (port == 0)
			return api_fail(req, ERR_INTERNAL, "Internal error occurred: failed to allocate a HealthCheck NodePort 0: range is full");
		json_setc(&req->arena, spec, "healthCheckNodePort", json_new_int(&req->arena, port));
	}
	why = port_claim(req, v, port, &stale);
	if (why && stale && api_refresh(req))
		return STEP_WAIT;
	return why ? api_fail(req, ERR_INTERNAL, "Internal error occurred: failed to allocate requested HealthCheck NodePort %lld: %s", (long long)port, why) : STEP_NEXT;
}

static void release_port(struct api_request *req, const struct json *number)
{
	int64_t port = json_i64_or(number, 0);

	if (port > 0 && !service_uses_port(json_getc(req->obj, "spec"), port))
		txn_delete(req->txn, port_key(&req->arena, port));
}

/* The ports of before that the Service of now does not have; without one, all. */
static void release_ports(struct api_request *req)
{
	JSON_ITEMS (p, json_getp(req->old, "spec.ports"))
		release_port(req, json_getc(p, "nodePort"));
	release_port(req, json_getp(req->old, "spec.healthCheckNodePort"));
}

/* --- Hooks --------------------------------------------------------------------------------------------------------- */

enum step_result strategy_service_create(struct api_request *req)
{
	json_setp(&req->arena, req->obj, "status.loadBalancer", json_new_object(&req->arena));
	return STEP_NEXT;
}

enum step_result strategy_service_admit(struct api_request *req)
{
	struct json *spec = json_getc(req->obj, "spec");
	const struct json *old = json_getc(req->old, "spec");
	struct field_errs errs;
	struct store_view *v;
	struct err e = ERR_INIT;
	enum step_result r;

	if (req->subres || !json_is(spec, JSON_OBJECT))
		return STEP_NEXT;
	field_errs_init(&errs, &req->arena);
	service_keep(&req->arena, spec, old);
	service_sync_addresses(&req->arena, spec, old);
	service_families(&req->arena, spec, old, &errs);
	if (errs.n > 0)
		return api_fail_invalid(req, &errs);
	service_drop(&req->arena, req->obj, req->old);
	if (store_view_open(req->srv->store, &v, &e) < 0)
		return api_fail_err(req, &e);
	r = allocate_ip(req, v);
	if (r == STEP_NEXT)
		r = allocate_ports(req, v);
	if (r == STEP_NEXT)
		r = allocate_health_port(req, v);
	store_view_close(v);
	if (r == STEP_NEXT)
		release_ports(req);
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
	if (json_i64_or(json_getp(req->old, "spec.healthCheckNodePort"), 0) > 0)
		txn_delete(req->txn, port_key(&req->arena, json_i64_or(json_getp(req->old, "spec.healthCheckNodePort"), 0)));
	return STEP_NEXT;
}
