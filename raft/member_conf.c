/* Membership: who is in, and what is known of each. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "raft/member-priv.h"

/* --- Names, addresses, ids ---------------------------------------------------------------------------------------- */

/* The core keeps one string a server; ours says "name|addr|url|zone|flags|claim". */
void member__format_address(char out[MEMBER_ADDRESS_MAX], const struct kv_member *s)
{
	char claim[20] = "";

	if (s->claim)
		snprintf(claim, sizeof(claim), "%" PRIx64, s->claim);
	snprintf(out, MEMBER_ADDRESS_MAX, "%s|%s|%s|%s|%s%s|%s", s->name, s->addr, s->url, s->zone, s->learner ? "l" : "",
		 s->witness ? "w" : "", claim);
}

void member__copy(char *out, size_t size, struct str s)
{
	size_t n = MIN(s.n, size - 1);

	memcpy(out, s.p ? s.p : "", n);
	out[n] = '\0';
}

void member__parse_address(const char *address, struct kv_member *ret)
{
	struct str field[6], rest = str_from(address);

	for (size_t i = 0; i < ARRAY_LEN(field); i++)
		str_cut(rest, '|', &field[i], &rest);
	member__copy(ret->name, sizeof(ret->name), field[0]);
	member__copy(ret->addr, sizeof(ret->addr), field[1]);
	member__copy(ret->url, sizeof(ret->url), field[2]);
	member__copy(ret->zone, sizeof(ret->zone), field[3]);
	ret->started = ret->name[0] != '\0';
	ret->learner = str_find(field[4], 'l') >= 0;
	ret->witness = str_find(field[4], 'w') >= 0;
	ret->claim = 0;
	for (size_t i = 0; i < field[5].n; i++) {
		char c = field[5].p[i];

		ret->claim = ret->claim << 4 | (uint64_t)(c <= '9' ? c - '0' : c - 'a' + 10);
	}
}

static uint64_t mix(uint64_t h, const char *s)
{
	/* FNV-1a over the text and its end, so that "ab","c" and "a","bc" differ. */
	do
		h = (h ^ (uint8_t)*s) * 0x100000001b3ULL;
	while (*s++);
	h ^= h >> 32;
	return h * 0x9e3779b97f4a7c15ULL;
}

uint64_t member__as_id(uint64_t h)
{
	h &= INT64_MAX;
	return h ? h : 1;
}

uint64_t member_cluster_id(const struct kv_peer *peers, size_t n, const char *token)
{
	uint64_t sum = 0;

	/* The order of the list does not matter. */
	for (size_t i = 0; i < n; i++)
		sum += mix(mix(0xcbf29ce484222325ULL, peers[i].name), peers[i].addr);
	return member__as_id(sum ^ n ^ (token ? mix(0x84222325cbf29ce4ULL, token) : 0));
}

uint64_t member_initial_id(uint64_t cluster_id, const char *name)
{
	return member__as_id(mix(cluster_id ^ 0xcbf29ce484222325ULL, name));
}

/* --- Look-ups -------------------------------------------------------------------------------------------------------- */

const struct raft_server *member__server(const struct member *m, uint64_t id)
{
	for (unsigned i = 0; i < m->raft.configuration.n; i++)
		if (m->raft.configuration.servers[i].id == id)
			return &m->raft.configuration.servers[i];
	return NULL;
}

unsigned member__voters(const struct member *m)
{
	unsigned n = 0;

	for (unsigned i = 0; i < m->raft.configuration.n; i++)
		n += m->raft.configuration.servers[i].role == RAFT_VOTER;
	return n;
}

bool member__is_voter(const struct member *m, uint64_t id)
{
	const struct raft_server *s = member__server(m, id);

	return s && s->role == RAFT_VOTER;
}

struct peer_state *member__peer(struct member *m, uint64_t id)
{
	struct peer_state *stalest = NULL;

	for (size_t i = 0; i < m->n_peers; i++)
		if (m->peers[i].id == id)
			return &m->peers[i];
	if (m->n_peers < ARRAY_LEN(m->peers)) {
		m->peers[m->n_peers] = (struct peer_state){.id = id};
		return &m->peers[m->n_peers++];
	}
	/* Strangers may not grow the table: the one silent for longest goes. */
	for (size_t i = 0; i < m->n_peers; i++)
		if (!m->peers[i].snap && !member__server(m, m->peers[i].id) &&
		    (!stalest || m->peers[i].last_heard < stalest->last_heard))
			stalest = &m->peers[i];
	if (stalest)
		*stalest = (struct peer_state){.id = id};
	return stalest;
}

static enum kv_member_role kv_role(int role)
{
	return role == RAFT_VOTER ? KV_VOTER : role == RAFT_STANDBY ? KV_LEARNER : KV_SPARE;
}

void member__fill(struct member *m, const struct raft_server *s, struct kv_member *out)
{
	struct peer_state *p = member__peer(m, s->id);
	uint64_t now = member__now(m), patience = 3 * m->cfg.election_ms;
	raft_index match = 0;

	/*
	 * A leader hears all with each heartbeat; followers hear of each other every second only (member_health.c), or that the
	 * connection has broken.
	 */
	if (m->state != RAFT_LEADER)
		patience = p && p->lost ? 0 : MAX(patience, 2500);
	*out = (struct kv_member){.id = s->id, .role = kv_role(s->role)};
	member__parse_address(s->address, out);
	out->self = s->id == m->id;
	out->leader = s->id == m->leader;
	out->reachable = out->self || (p && p->last_heard && now - p->last_heard < patience);
	member__fill_health(m, out);
	if (m->state == RAFT_LEADER && raft_match_index(&m->raft, s->id, &match) == 0)
		out->match_index = match;
}

void member__refresh_peers(struct member *m)
{
	struct kv_member list[KV_MAX_MEMBERS];
	size_t n = 0;

	for (unsigned i = 0; i < m->raft.configuration.n && n < KV_MAX_MEMBERS; i++)
		if (m->raft.configuration.servers[i].id != m->id)
			member__fill(m, &m->raft.configuration.servers[i], &list[n++]);
	m->ops->peers(m, list, n);
	m->dirty = true;
}

void member_role(struct member *m, struct kv_role *out)
{
	const struct raft_server *s = m->raft_open && m->leader ? member__server(m, m->leader) : NULL;
	struct kv_member leader = {0};

	*out = (struct kv_role){.leader = m->ready, .term = m->raft_open ? raft_current_term(&m->raft) : 0};
	/* One's own leadership counts only when it is complete, for the others' view as well. */
	if (!s || (m->leader == m->id && !m->ready))
		return;
	member__parse_address(s->address, &leader);
	out->leader_id = m->leader;
	memcpy(out->leader_name, leader.name, sizeof(out->leader_name));
	memcpy(out->leader_url, leader.url, sizeof(out->leader_url));
}

void member_status(struct member *m, struct kv_status *out)
{
	*out = (struct kv_status){.cluster_id = m->cluster_id, .member_id = m->id};
	snprintf(out->name, sizeof(out->name), "%s", m->stable->name);
	member_role(m, &out->role);
	out->state = m->stopped ? "stopped" : m->halted ? "disk failed" : raft_state_name(m->state);
	if (member__runs(m) && m->raft.configuration.n == 0)
		out->state = "joining";
	out->commit_index = m->commit;
	out->applied_index = m->applied;
	out->last_index = m->log.last;
	out->first_index = m->log.first;
	out->revision = (uint64_t)store_revision(m->store);
	out->wal_bytes = m->wal.bytes;
	out->store_bytes = m->stats.file_bytes;
	out->store_used = m->stats.in_use_bytes;
	out->store_quota = m->stats.quota_bytes;
	out->alarms = m->alarms;
	out->scrubbed_at = m->scrub.last_wall;
	out->scrub_began_at = m->scrub.begun_wall;
	out->scrub_pages = m->scrub.at.pages;
	if (m->damage_since) {
		struct err e = ERR_INIT;

		if (store_damage(m->store, &e))
			snprintf(out->damage, sizeof(out->damage), "%s", e.text);
	} else {
		snprintf(out->damage, sizeof(out->damage), "%s", m->files.text);
	}
	memcpy(out->disk_error, m->disk_error, sizeof(out->disk_error));
	for (unsigned i = 0; i < m->raft.configuration.n && out->n_members < KV_MAX_MEMBERS; i++)
		member__fill(m, &m->raft.configuration.servers[i], &out->members[out->n_members++]);
}

