/*
 * Objects that go away by themselves (Events): their keys are attached to a lease of the store, which the raft leader
 * revokes when its time is over. One lease serves all that is written within a part of their time.
 */
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/util.h"
#include "orchestrator/apiserver/apiserver-priv.h"
#include "orchestrator/apiserver/strategy.h"
#include "proto/wire.h"

#define LEASE_SHARED_MAX_MS 300000
#define LEASE_SHARED_PART 12 /* of the time that is asked for, at most */

static uint32_t shared_ms(uint32_t ttl_s)
{
	return MIN(ttl_s * (1000u / LEASE_SHARED_PART), (uint32_t)LEASE_SHARED_MAX_MS);
}

static void granted(struct kv_req *kvr)
{
	struct api_request *req = container_of(kvr, struct api_request, kvr);
	struct apiserver *srv = req->srv;

	req->pending--;
	if (kvr->err.code == 0) {
		atomic_store(&srv->event_lease, req->lease);
		atomic_store(&srv->event_lease_until, clock_mono_ms() + shared_ms(req->strat->ttl(req)));
	} else {
		/* An event that stays is better than none. */
		log_warn("apiserver", "no lease for events: %s", kvr->err.text);
		req->lease = 0;
	}
	free(TAKE(kvr->response));
	req->leased = true;
	api_wait_over(req);
}

enum step_result api__lease(struct api_request *req)
{
	uint32_t ttl = req->strat->ttl ? req->strat->ttl(req) : 0;
	size_t mark;

	if (ttl == 0 || req->leased || req->opt.dry_run)
		return STEP_NEXT;
	if (clock_mono_ms() < atomic_load(&req->srv->event_lease_until)) {
		req->lease = atomic_load(&req->srv->event_lease);
		return STEP_NEXT;
	}
	/* raftpb.Command {3: time_ms, 14: LeaseGrantRequest {1: TTL, 2: ID}} */
	req->lease = (int64_t)(random_u64() >> 1);
	buf_clear(&req->command);
	wire_add_uint(&req->command, 3, (uint64_t)(clock_wall_ns() / 1000000));
	mark = wire_open(&req->command, 14);
	wire_add_uint(&req->command, 1, ttl + (shared_ms(ttl) + 999) / 1000);
	wire_add_uint(&req->command, 2, (uint64_t)req->lease);
	wire_close(&req->command, mark);
	req->kvr.command = buf_str(&req->command);
	req->kvr.timeout_ms = api_store_timeout_ms(req);
	req->kvr.done = granted;
	req->pending++;
	kv_propose(req->srv->kv, &req->kvr);
	return STEP_WAIT;
}
