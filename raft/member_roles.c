/* What the leader does about roles by itself: votes given and taken by raft/roles.h, leadership handed on. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/util.h"
#include "raft/member-priv.h"
#include "raft/roles.h"

/* A stand-by may vote when it lags at most this many entries behind. */
#define PROMOTE_LAG 256

uint64_t member__silent_ms(struct member *m, uint64_t id)
{
	struct peer_state *p = member__peer(m, id);
	uint64_t now = member__now(m), heard = p ? MAX(p->last_heard, m->lead_since) : now;

	return id == m->id || now < heard ? 0 : now - heard;
}

bool member__answers(struct member *m, uint64_t id)
{
	struct peer_state *p = member__peer(m, id);

	return id == m->id || (p && !p->lost && member__silent_ms(m, id) < 4 * m->cfg.heartbeat_ms);
}

/*
 * The core's own catch-up rounds are not used: they end only when a new entry arrives, so on an idle cluster they never
 * do; and a standby gets the whole log without them.
 */
static size_t look(struct member *m, struct kv_member *all, struct role_member *out, bool *ret_waiting)
{
	size_t n = MIN(m->raft.configuration.n, KV_MAX_MEMBERS);

	*ret_waiting = false;
	for (size_t i = 0; i < n; i++) {
		struct kv_member *o = &all[i];

		member__fill(m, &m->raft.configuration.servers[i], o);
		out[i] = (struct role_member){
			.id = o->id,
			.zone = o->zone,
			.voter = o->role == KV_VOTER,
			.learner = o->learner,
			.witness = o->witness,
			.silent_ms = member__silent_ms(m, o->id),
			.able = o->self || (o->reachable && !(o->alarms & KV_ALARM_DISK)),
			.ready = o->started && o->reachable && o->match_index > 0 && !(o->alarms & KV_ALARM_DISK) &&
				 o->match_index + PROMOTE_LAG >= m->log.last,
		};
		*ret_waiting = *ret_waiting || (!out[i].voter && !o->learner && o->started);
	}
	return n;
}

void member__keep_roles(struct member *m)
{
	struct kv_member all[KV_MAX_MEMBERS];
	struct role_member members[KV_MAX_MEMBERS];
	struct role_view v = {.members = members, .leader = m->id, .voters = m->cfg.voters, .dead_ms = m->cfg.dead_ms};
	uint64_t now = member__now(m);
	struct role_change c;
	struct err e = ERR_INIT;
	bool waiting;

	if (!m->ready)
		return;
	/* This process was stopped for a while: it has not listened, so the others' silence means nothing. */
	if (now > m->roles_at + m->cfg.election_ms)
		m->lead_since = now;
	m->roles_at = now;
	v.n = look(m, all, members, &waiting);
	if (waiting)
		member__arm_by(m, now + m->cfg.heartbeat_ms);
	c = role_plan(&v);
	if (c.kind == ROLE_NOTHING || !member__may_change(m))
		return;
	for (size_t i = 0; i < v.n; i++)
		if (all[i].id == c.id &&
		    member__submit_conf(m, &(struct conf_edit){.id = c.id,
							       .role = c.kind == ROLE_PROMOTE ? RAFT_VOTER : RAFT_STANDBY},
					&e) == 0)
			log_info("raft", "member name=%s id=%016" PRIx64 " becomes %s: %s", all[i].name, c.id,
				 c.kind == ROLE_PROMOTE ? "a voter" : "stand-by", c.why);
}

static void resign(struct member *m, uint64_t now, uint64_t pause)
{
	m->resign_after = now + pause;
	member__request(m, MEMBER_TRANSFER, now + 2 * m->cfg.election_ms);
}

/* Somebody else has to lead, for the sake of a member that this leader cannot serve. */
void member__resign_for(struct member *m, uint64_t peer)
{
	uint64_t now = member__now(m);

	if (m->change || now < m->resign_after || member__voters(m) < 3)
		return;
	log_info("raft", "member id=%016" PRIx64 " lost a part of its log: another leader can give it back", peer);
	resign(m, now, 10u * m->cfg.election_ms);
}

/* Only another leader can send this one the state that mends its store. */
void member__resign_damaged(struct member *m, uint64_t now)
{
	bool other = false;

	if (!m->ready || m->change || now < m->resign_after)
		return;
	for (unsigned i = 0; i < m->raft.configuration.n; i++) {
		struct kv_member o;

		member__fill(m, &m->raft.configuration.servers[i], &o);
		other = other || (!o.self && o.role == KV_VOTER && o.reachable && !(o.alarms & (KV_ALARM_DISK | KV_ALARM_DAMAGED)));
	}
	if (!other)
		return;
	log_info("raft", "handing leadership over, so that the store can be mended");
	resign(m, now, 10u * m->cfg.election_ms);
}

/* A leader whose disk hangs still sends heartbeats, and every write waits for the two others: better one of them leads.
 * One whose disk is about to be full hands over while it still can. */
void member__resign_if_stuck(struct member *m, uint64_t now)
{
	uint64_t patience = MAX(8u * m->cfg.election_ms, 2000u);

	if (!m->ready || m->change || member__voters(m) < 2 || now < m->resign_after)
		return;
	if (m->writing && now - m->write_since >= patience)
		log_warn("raft", "the disk has not finished a write for %" PRIu64 " ms: handing leadership over",
			 now - m->write_since);
	else if (m->wal.reserve < 0)
		log_warn("raft", "the disk has no room for the next segment of the log: handing leadership over");
	else
		return;
	resign(m, now, 10 * patience);
}

/* A witness leads only while nobody else can. */
void member__resign_if_witness(struct member *m, uint64_t now)
{
	bool other = false;

	if (!m->ready || m->change || now < m->resign_after)
		return;
	for (unsigned i = 0; i < m->raft.configuration.n; i++) {
		struct kv_member o;

		member__fill(m, &m->raft.configuration.servers[i], &o);
		if (o.self && !o.witness)
			return;
		other = other || (!o.self && !o.witness && o.role == KV_VOTER && o.reachable && o.match_index >= m->commit);
	}
	if (other)
		resign(m, now, 10u * m->cfg.election_ms);
}

/* Its address, URL or zone are others than the cluster knows: it says so, whoever leads. */
void member__announce_self(struct member *m, uint64_t now)
{
	const struct raft_server *s = member__server(m, m->id);
	const struct kv_peer *self = &m->cfg.self;
	struct kv_member known = {0};

	if (!s || m->leader == 0 || now < m->announce_after)
		return;
	member__parse_address(s->address, &known);
	if ((!self->addr || strcmp(known.addr, self->addr) == 0) && (!self->url || strcmp(known.url, self->url) == 0) &&
	    (!self->zone || strcmp(known.zone, self->zone) == 0))
		return;
	m->announce_after = now + 5000;
	log_info("raft", "telling the cluster that this member is at addr=%s now", self->addr ? self->addr : known.addr);
	member__request_update(m, self, now + 4000);
}
