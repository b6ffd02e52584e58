/*
 * What members tell each other every second about themselves: positions, sizes, alarms, and the rolling hash of what they
 * applied. Equal indexes must show equal hashes; the leader raises the CORRUPT alarm when they do not.
 */
#include <inttypes.h>
#include <string.h>

#include "base/log.h"
#include "base/mutant.h"
#include "base/util.h"
#include "proto/raft.pb-c.h"
#include "raft/member-priv.h"

#define HEALTH_MS 1000
#define HEALTH_OLD_MS 5000

void member__note_hash(struct member *m, uint64_t index, uint64_t hash)
{
	if (index % MEMBER_HASH_EVERY != 0)
		return;
	m->hashes[index / MEMBER_HASH_EVERY % MEMBER_N_HASHES] = (struct hash_mark){index, hash};
	m->newest_hash = (struct hash_mark){index, hash};
}

void member__forget_hashes(struct member *m)
{
	memset(m->hashes, 0, sizeof(m->hashes));
	m->newest_hash = (struct hash_mark){0};
}

static void refresh(struct member *m, uint64_t now)
{
	const char *trouble = member__disk_trouble(m, now);
	struct store_stats s;
	unsigned alarms = trouble ? KV_ALARM_DISK : 0;

	/* A store that cannot be read will say so where it matters. */
	if (store_stats(m->store, &s, NULL) == 0) {
		m->stats = s;
		alarms |= (s.alarm_nospace ? KV_ALARM_NOSPACE : 0) | (s.alarm_corrupt ? KV_ALARM_CORRUPT : 0);
	}
	alarms |= (m->damage_since ? KV_ALARM_DAMAGED : 0) | (m->files.damaged ? KV_ALARM_LOG : 0);
	if ((alarms & KV_ALARM_DISK) && !(m->alarms & KV_ALARM_DISK) && !m->halted)
		log_warn("raft", "alarm=disk error=\"%s\"", trouble);
	if (!(alarms & KV_ALARM_DISK) && (m->alarms & KV_ALARM_DISK))
		log_info("raft", "alarm=disk is over");
	m->dirty = m->dirty || m->alarms != alarms;
	m->alarms = alarms;
	snprintf(m->disk_error, sizeof(m->disk_error), "%s", trouble ? trouble : "");
}

static void raise_corrupt(struct member *m, struct peer_state *p)
{
	Raftpb__Command cmd = RAFTPB__COMMAND__INIT;
	Etcdserverpb__AlarmRequest alarm = ETCDSERVERPB__ALARM_REQUEST__INIT;

	alarm.action = ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__ACTIVATE;
	alarm.alarm = ETCDSERVERPB__ALARM_TYPE__CORRUPT;
	alarm.memberid = p->id;
	cmd.op_case = RAFTPB__COMMAND__OP_ALARM;
	cmd.alarm = &alarm;
	member__propose_command(m, &cmd);
}

/*
 * Until the alarm is in the store it is raised again: a leader that saw the difference before it led, or lost its office with the
 * proposal under way, has not raised it. Once it was there it is not: an administrator who disarms it knows.
 */
static void raise_again(struct member *m)
{
	for (size_t i = 0; i < m->n_peers; i++) {
		struct peer_state *p = &m->peers[i];

		p->told = p->told || (p->differs && (m->alarms & KV_ALARM_CORRUPT));
		if (p->differs && !p->told && m->ready)
			raise_corrupt(m, p);
	}
}

static void compare(struct member *m, struct peer_state *p, struct hash_mark theirs)
{
	struct store_hash now = store_rolling_hash(m->store);
	struct hash_mark ours = m->hashes[theirs.index / MEMBER_HASH_EVERY % MEMBER_N_HASHES];

	if (now.index == theirs.index)
		ours = (struct hash_mark){now.index, now.hash};
	if (theirs.index == 0 || ours.index != theirs.index || ours.hash == theirs.hash || p->differs)
		return;
	p->differs = true;
	p->told = false;
	log_error("raft",
		  "member id=%016" PRIx64 " applied other changes than this one: at entry %" PRIu64 " its hash is %016" PRIx64
		  ", ours %016" PRIx64 "; find out which one agrees with the others, remove the other one and let it join anew",
		  p->id, theirs.index, theirs.hash, ours.hash);
	if (m->ready)
		raise_corrupt(m, p);
}

void member__health_frame(struct member *m, uint64_t from, const struct msg *msg)
{
	struct peer_state *p = member__peer(m, from);

	if (!p)
		return;
	m->dirty = m->dirty || p->health.alarms != msg->health.alarms;
	p->health = msg->health;
	p->health_at = member__now(m);
	if (!member__runs(m))
		return;
	compare(m, p, (struct hash_mark){msg->health.applied, msg->health.hash});
	compare(m, p, (struct hash_mark){msg->health.mark, msg->health.mark_hash});
	if (m->ready && (msg->health.alarms & KV_ALARM_DAMAGED) && !m->damage_since)
		member__snap_wanted(m, from);
	if (m->ready && msg->health.forget_term >= raft_current_term(&m->raft))
		member__resign_for(m, from);
}

static void tell(struct member *m)
{
	struct store_hash h = store_rolling_hash(m->store);
	struct msg out = {.kind = MSG_HEALTH};

	out.health.alarms = (uint8_t)m->alarms;
	out.health.forget_term = m->forgetful ? m->forget_term : 0;
	out.health.applied = h.index;
	out.health.hash = h.hash;
	out.health.mark = m->newest_hash.index;
	out.health.mark_hash = m->newest_hash.hash;
	out.health.last = m->log.last;
	out.health.store_bytes = m->stats.file_bytes;
	out.health.store_used = m->stats.in_use_bytes;
	out.health.wal_bytes = m->wal.bytes;
	for (unsigned i = 0; i < m->raft.configuration.n; i++)
		if (m->raft.configuration.servers[i].id != m->id)
			member__send(m, m->raft.configuration.servers[i].id, &out);
	/* One that lost its whole state knows no members, but whom it hears leading. */
	if (m->leader && m->leader != m->id && !member__server(m, m->leader) && !MUTANT(forgets_silently))
		member__send(m, m->leader, &out);
}

void member__health_tick(struct member *m, uint64_t now)
{
	if (now < m->health_at) {
		member__arm_by(m, m->health_at);
		return;
	}
	m->health_at = now + HEALTH_MS;
	member__arm_by(m, m->health_at);
	/* The figures are read from the store. When it cannot commit, this member has halted, and says so. */
	if (member__runs(m) && !MUTANT(undone_unseen))
		(void)member__settle(m);
	refresh(m, now);
	if (member__runs(m))
		raise_again(m);
	tell(m);
	/* Sizes and lags in the status, at least. */
	m->dirty = true;
}

void member__fill_health(struct member *m, struct kv_member *out)
{
	struct peer_state *p = member__peer(m, out->id);

	if (out->self) {
		out->alarms = m->alarms & (KV_ALARM_DISK | KV_ALARM_DAMAGED | KV_ALARM_LOG);
		out->applied_index = m->applied;
		out->store_bytes = m->stats.file_bytes;
		out->store_used = m->stats.in_use_bytes;
		out->wal_bytes = m->wal.bytes;
	} else if (p && p->health_at && member__now(m) - p->health_at < HEALTH_OLD_MS) {
		out->alarms = p->health.alarms & (KV_ALARM_DISK | KV_ALARM_DAMAGED | KV_ALARM_LOG);
		out->applied_index = p->health.applied;
		out->store_bytes = p->health.store_bytes;
		out->store_used = p->health.store_used;
		out->wal_bytes = p->health.wal_bytes;
	}
	if (p && p->differs)
		out->alarms |= KV_ALARM_CORRUPT;
}
