/* Membership: who is in, adding, promoting, removing, handing leadership over. One change at a time, on the leader. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "base/log.h"
#include "base/util.h"
#include "raft/bytes.h"
#include "raft/member-priv.h"

/* A learner may become a voter when it lags at most this many entries behind. */
#define PROMOTE_LAG 256

/* --- Names, addresses, ids ---------------------------------------------------------------------------------------- */

/* The core keeps one string a server; ours says "name|addr|url". */
void member__format_address(char out[KV_NAME_MAX + 2 * KV_ADDR_MAX], const char *name, const char *addr, const char *url)
{
	snprintf(out, KV_NAME_MAX + 2 * KV_ADDR_MAX, "%s|%s|%s", name, addr, url ? url : "");
}

static void copy(char *out, size_t size, struct str s)
{
	size_t n = MIN(s.n, size - 1);

	memcpy(out, s.p ? s.p : "", n);
	out[n] = '\0';
}

void member__parse_address(const char *address, struct kv_member *ret)
{
	struct str name, rest, addr, url;

	str_cut(str_from(address), '|', &name, &rest);
	str_cut(rest, '|', &addr, &url);
	copy(ret->name, sizeof(ret->name), name);
	copy(ret->addr, sizeof(ret->addr), addr);
	copy(ret->url, sizeof(ret->url), url);
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

static uint64_t as_id(uint64_t h)
{
	h &= INT64_MAX;
	return h ? h : 1;
}

uint64_t member_cluster_id(const struct kv_peer *peers, size_t n)
{
	uint64_t sum = 0;

	/* The order of the list does not matter. */
	for (size_t i = 0; i < n; i++)
		sum += mix(mix(0xcbf29ce484222325ULL, peers[i].name), peers[i].addr);
	return as_id(sum ^ n);
}

uint64_t member_initial_id(uint64_t cluster_id, const char *name)
{
	return as_id(mix(cluster_id ^ 0xcbf29ce484222325ULL, name));
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

static void fill(struct member *m, const struct raft_server *s, struct kv_member *out)
{
	struct peer_state *p = member__peer(m, s->id);
	uint64_t now = member__now(m);
	raft_index match = 0;

	*out = (struct kv_member){.id = s->id, .role = kv_role(s->role)};
	member__parse_address(s->address, out);
	out->self = s->id == m->id;
	out->leader = s->id == m->leader;
	out->reachable = out->self || (p && p->last_heard && now - p->last_heard < 3 * m->cfg.election_ms);
	if (m->state == RAFT_LEADER && raft_match_index(&m->raft, s->id, &match) == 0)
		out->match_index = match;
}

void member__refresh_peers(struct member *m)
{
	struct kv_member list[KV_MAX_MEMBERS];
	size_t n = 0;

	for (unsigned i = 0; i < m->raft.configuration.n && n < KV_MAX_MEMBERS; i++)
		if (m->raft.configuration.servers[i].id != m->id)
			fill(m, &m->raft.configuration.servers[i], &list[n++]);
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
	out->state = m->stopped ? "stopped" : raft_state_name(m->state);
	if (!m->stopped && m->raft.configuration.n == 0)
		out->state = "joining";
	out->commit_index = m->commit;
	out->applied_index = m->applied;
	out->last_index = m->log.last;
	out->first_index = m->log.first;
	out->revision = (uint64_t)store_revision(m->store);
	out->wal_bytes = m->wal.bytes;
	for (unsigned i = 0; i < m->raft.configuration.n && out->n_members < KV_MAX_MEMBERS; i++)
		fill(m, &m->raft.configuration.servers[i], &out->members[out->n_members++]);
}

/* --- Requests ---------------------------------------------------------------------------------------------------------- */

static void change_done(struct member *m, struct change *c, enum msg_status status, uint64_t id, const struct err *e)
{
	struct msg out = {.kind = MSG_ADMIN_RESULT};

	if (c->admin) {
		err_clear(&c->admin->err);
		if (e)
			c->admin->err = *e;
		c->admin->id = id;
		m->ops->admin_done(m, c->admin);
	} else if (c->peer || c->conn) {
		out.admin_result.id = c->id;
		out.admin_result.member = id;
		out.admin_result.status = (uint8_t)status;
		out.admin_result.code = e ? (int)e->code : 0;
		out.admin_result.text = e ? str_from(e->text) : STR_NULL;
		if (c->peer) {
			member__send(m, c->peer, &out);
		} else if (m->join_reply) {
			buf_clear(&m->frame);
			msg_encode(&out, &m->frame);
			m->join_reply(m, c->conn, buf_str(&m->frame));
		}
	}
	list_del(&c->link);
	if (m->change == c)
		m->change = NULL;
	free(c);
}

static void change_failed(struct member *m, struct change *c, enum err_code code, const char *why)
{
	struct err e;

	err_set(&e, code, "%s", why);
	change_done(m, c, code == ERR_UNAVAILABLE ? MSG_UNKNOWN : MSG_DONE, 0, &e);
}

static struct change *change_new(struct member *m, uint8_t op, uint64_t deadline)
{
	struct change *c = xcalloc(1, sizeof(*c));

	list_init(&c->link);
	c->op = op;
	c->deadline = deadline;
	member__arm_by(m, deadline);
	return c;
}

/* What a person or a joiner gives must survive the "name|addr|url" string. */
static int check_peer(const struct change *c, struct err *e)
{
	const char *all[] = {c->name, c->addr, c->url};

	if (c->name[0] == '\0' || c->addr[0] == '\0')
		return err_set(e, ERR_INVALID, "a member needs a name and an address");
	for (size_t i = 0; i < ARRAY_LEN(all); i++)
		for (const char *p = all[i]; *p; p++)
			if (*p == '|' || *p <= ' ' || *p > '~')
				return err_set(e, ERR_INVALID, "a member's name, address and URL are plain text without blanks or '|'");
	return 0;
}

void member_admin(struct member *m, struct kv_admin *a)
{
	struct change *c = change_new(m, (uint8_t)a->op, a->deadline);

	c->admin = a;
	c->target = a->target;
	if (a->op == MEMBER_ADD) {
		copy(c->name, sizeof(c->name), str_from(a->peer.name));
		copy(c->addr, sizeof(c->addr), str_from(a->peer.addr));
		copy(c->url, sizeof(c->url), str_from(a->peer.url));
		c->target = as_id((uint64_t)m->ops->random(m) << 32 ^ m->ops->random(m));
		if (check_peer(c, &a->err) != 0) {
			struct err e = a->err;

			change_done(m, c, MSG_DONE, 0, &e);
			return;
		}
	}
	if (m->stopped) {
		change_failed(m, c, ERR_UNAVAILABLE, "this member has stopped");
		return;
	}
	list_add_tail(&m->changes, &c->link);
	member__kick(m);
}

static struct change *change_of_frame(struct member *m, const struct msg *msg)
{
	struct change *c = change_new(m, msg->admin.op, member__now(m) + MIN(msg->admin.timeout_ms, 600000u));

	c->id = msg->admin.id;
	c->target = msg->admin.target;
	copy(c->name, sizeof(c->name), msg->admin.name);
	copy(c->addr, sizeof(c->addr), msg->admin.addr);
	copy(c->url, sizeof(c->url), msg->admin.url);
	return c;
}

void member__admin_frame(struct member *m, uint64_t from, const struct msg *msg)
{
	struct change *c = change_of_frame(m, msg);

	c->peer = from;
	list_add_tail(&m->changes, &c->link);
	if (m->state != RAFT_LEADER)
		change_done(m, c, MSG_NOT_TAKEN, 0, NULL);
}

void member_join(struct member *m, struct str frame, uint64_t conn)
{
	struct err e = ERR_INIT;
	struct change *c;
	struct msg msg;

	if (m->stopped || msg_decode(frame, &msg, &e) != 0 || msg.kind != MSG_ADMIN || msg.admin.op != MEMBER_ADD)
		return;
	c = change_of_frame(m, &msg);
	c->conn = conn;
	list_add_tail(&m->changes, &c->link);
	if (c->target == 0 || c->target > INT64_MAX)
		change_failed(m, c, ERR_INVALID, "the join request has no member id");
	else if (check_peer(c, &e) != 0)
		change_done(m, c, MSG_DONE, 0, &e);
	member__kick(m);
}

void member_on_join_reply(struct member *m, void (*reply)(struct member *, uint64_t conn, struct str frame))
{
	m->join_reply = reply;
}

/* --- On the leader: from a request to a configuration entry --------------------------------------------------------------- */

static int submit_conf(struct member *m, struct raft_configuration *conf, struct err *e)
{
	struct raft_entry entry = {.type = RAFT_CHANGE, .term = raft_current_term(&m->raft)};
	struct raft_event ev = {.type = RAFT_SUBMIT, .submit = {&entry, 1}};
	struct proposal *none[1] = {NULL};
	int rv;

	ASSERT(raft_configuration_encode(conf, &entry.buf) == 0);
	entry.batch = entry.buf.base;
	m->submitting = none;
	rv = member__step(m, &ev);
	m->submitting = NULL;
	raft_free(entry.buf.base);
	if (rv != 0)
		return err_set(e, ERR_UNAVAILABLE, "the change of members cannot be made now: %s", raft_strerror(rv));
	return 0;
}

/* The present configuration without `except` (0: all), and with `role` instead for `promote`. */
static void copy_conf(const struct member *m, uint64_t except, uint64_t promote, struct raft_configuration *out)
{
	raft_configuration_init(out);
	for (unsigned i = 0; i < m->raft.configuration.n; i++) {
		const struct raft_server *s = &m->raft.configuration.servers[i];

		if (s->id != except)
			ASSERT(raft_configuration_add(out, s->id, s->address, s->id == promote ? RAFT_VOTER : s->role) == 0);
	}
}

static void start_add(struct member *m, struct change *c)
{
	char address[KV_NAME_MAX + 2 * KV_ADDR_MAX];
	struct raft_configuration conf;
	struct err e = ERR_INIT;
	int rc;

	/* A joiner chose its id itself: the same request again (an answer was lost) finds it done. */
	if (member__server(m, c->target)) {
		change_done(m, c, MSG_DONE, c->target, NULL);
		return;
	}
	for (unsigned i = 0; i < m->raft.configuration.n; i++) {
		struct kv_member other = {0};

		member__parse_address(m->raft.configuration.servers[i].address, &other);
		if (strcmp(other.name, c->name) != 0 && strcmp(other.addr, c->addr) != 0)
			continue;
		err_set(&e, ERR_ALREADY_EXISTS,
			"member \"%s\" (id %016" PRIx64 ", address %s) is there already: if it is lost for good, remove it "
			"first",
			other.name, (uint64_t)m->raft.configuration.servers[i].id, other.addr);
		change_done(m, c, MSG_DONE, 0, &e);
		return;
	}
	if (m->raft.configuration.n >= KV_MAX_MEMBERS) {
		change_failed(m, c, ERR_FAILED_PRECONDITION, "the cluster has as many members as it can have");
		return;
	}
	member__format_address(address, c->name, c->addr, c->url);
	copy_conf(m, 0, 0, &conf);
	ASSERT(raft_configuration_add(&conf, c->target, address, RAFT_STANDBY) == 0);
	rc = submit_conf(m, &conf, &e);
	raft_configuration_close(&conf);
	if (rc != 0) {
		change_done(m, c, MSG_NOT_TAKEN, 0, &e);
		return;
	}
	c->index = m->log.last;
	m->change = c;
	list_del(&c->link);
	log_info("raft", "adding member name=%s addr=%s id=%016" PRIx64, c->name, c->addr, c->target);
}

static void start_remove(struct member *m, struct change *c)
{
	const struct raft_server *s = member__server(m, c->target);
	struct raft_configuration conf;
	struct err e = ERR_INIT;
	int rc;

	if (!s) {
		err_set(&e, ERR_NOT_FOUND, "there is no member with id %016" PRIx64, c->target);
		change_done(m, c, MSG_DONE, 0, &e);
		return;
	}
	if (s->role == RAFT_VOTER && member__voters(m) == 1) {
		change_failed(m, c, ERR_FAILED_PRECONDITION, "the last voting member cannot be removed");
		return;
	}
	copy_conf(m, c->target, 0, &conf);
	rc = submit_conf(m, &conf, &e);
	raft_configuration_close(&conf);
	if (rc != 0) {
		change_done(m, c, MSG_NOT_TAKEN, 0, &e);
		return;
	}
	c->index = m->log.last;
	m->change = c;
	list_del(&c->link);
	log_info("raft", "removing member id=%016" PRIx64, c->target);
}

static void start_transfer(struct member *m, struct change *c)
{
	struct raft_event ev = {.type = RAFT_TRANSFER, .transfer = {c->target}};
	int rv;

	if (c->target == m->id) {
		change_done(m, c, MSG_DONE, m->id, NULL);
		return;
	}
	if (c->target && !member__is_voter(m, c->target)) {
		change_failed(m, c, ERR_NOT_FOUND, "leadership can only go to a voting member");
		return;
	}
	if (!c->target) {
		/* The reachable voter with the longest log. */
		uint64_t best = 0;

		for (unsigned i = 0; i < m->raft.configuration.n; i++) {
			struct kv_member other;

			fill(m, &m->raft.configuration.servers[i], &other);
			if (!other.self && other.role == KV_VOTER && other.reachable && (!c->target || other.match_index > best)) {
				c->target = other.id;
				best = other.match_index;
			}
		}
		ev.transfer.server_id = c->target;
	}
	if (!c->target) {
		change_failed(m, c, ERR_FAILED_PRECONDITION, "there is no other reachable voting member");
		return;
	}
	/* The step may end our leadership at once only through messages, so the request is noted first. */
	list_del(&c->link);
	m->change = c;
	rv = member__step(m, &ev);
	if (rv != 0 && m->change == c)
		change_failed(m, c, ERR_UNAVAILABLE, raft_strerror(rv));
}

static void start_change(struct member *m, struct change *c)
{
	switch (c->op) {
	case MEMBER_ADD:
		start_add(m, c);
		break;
	case MEMBER_REMOVE:
		start_remove(m, c);
		break;
	case MEMBER_TRANSFER:
		start_transfer(m, c);
		break;
	default:
		change_failed(m, c, ERR_UNIMPLEMENTED, "unknown request about members");
		break;
	}
}

static bool may_change(const struct member *m)
{
	return m->ready && !m->change && m->raft.configuration_uncommitted_index == 0 &&
	       raft_transferee(&m->raft) == 0;
}

/*
 * A learner that keeps up becomes a voter. The core's own catch-up rounds are not used: they end only when a new entry
 * arrives, so on an idle cluster they never do; and a standby gets the whole log without them.
 */
static void promote(struct member *m)
{
	struct raft_configuration conf;
	struct err e = ERR_INIT;

	for (unsigned i = 0; m->ready && i < m->raft.configuration.n; i++) {
		struct kv_member other;

		fill(m, &m->raft.configuration.servers[i], &other);
		if (other.role != KV_LEARNER)
			continue;
		member__arm_by(m, member__now(m) + m->cfg.heartbeat_ms);
		if (!may_change(m) || !other.reachable || other.match_index == 0 ||
		    other.match_index + PROMOTE_LAG < m->log.last)
			continue;
		copy_conf(m, 0, other.id, &conf);
		if (submit_conf(m, &conf, &e) == 0)
			log_info("raft", "promoting member name=%s id=%016" PRIx64 " to voter", other.name, other.id);
		raft_configuration_close(&conf);
		return;
	}
}

/* A leader whose disk hangs still sends heartbeats, and every write waits for the two others: better one of them leads. */
void member__resign_if_stuck(struct member *m, uint64_t now)
{
	uint64_t patience = MAX(8u * m->cfg.election_ms, 2000u);
	struct change *c;

	if (!m->ready || !m->writing || now - m->write_since < patience || m->change || member__voters(m) < 2 ||
	    now < m->resign_after)
		return;
	log_warn("raft", "the disk has not finished a write for %" PRIu64 " ms: handing leadership over", now - m->write_since);
	m->resign_after = now + 10 * patience;
	c = change_new(m, MEMBER_TRANSFER, now + 2 * m->cfg.election_ms);
	list_add_tail(&m->changes, &c->link);
}

static bool forward_change(struct member *m, struct change *c)
{
	struct msg out = {.kind = MSG_ADMIN};
	uint64_t now = member__now(m);

	out.admin.id = m->next_id++;
	out.admin.op = c->op;
	out.admin.target = c->target;
	out.admin.timeout_ms = (uint32_t)(c->deadline > now ? c->deadline - now : 0);
	out.admin.name = str_from(c->name);
	out.admin.addr = str_from(c->addr);
	out.admin.url = str_from(c->url);
	if (!member__send(m, m->leader, &out))
		return false;
	/* A joiner's own id stays what its answer carries: it waits for one answer on its connection only. */
	c->sent_to = m->leader;
	c->index = out.admin.id;
	list_del(&c->link);
	list_add_tail(&m->forwarded_changes, &c->link);
	return true;
}

void member__changes(struct member *m)
{
	struct change *c;

	if (m->state == RAFT_LEADER) {
		/* A transfer that the core has given up. */
		if (m->change && m->change->op == MEMBER_TRANSFER && raft_transferee(&m->raft) == 0)
			change_failed(m, m->change, ERR_UNAVAILABLE, "the member did not take leadership over in time");
		promote(m);
		while (!list_empty(&m->changes) && may_change(m)) {
			c = LIST_FIRST(&m->changes, struct change, link);
			start_change(m, c);
		}
		if (!list_empty(&m->changes) || (m->change && m->change->op == MEMBER_TRANSFER))
			member__arm_by(m, member__now(m) + m->cfg.heartbeat_ms);
		return;
	}
	LIST_FOR_EACH_SAFE (p, next, &m->changes, struct change, link)
		if (m->leader == 0 || m->leader == m->id || !forward_change(m, p)) {
			member__arm_by(m, member__now(m) + m->cfg.heartbeat_ms);
			break;
		}
}

void member__conf_committed(struct member *m, uint64_t index, struct raft_configuration *conf)
{
	struct raft_event ev = {.type = RAFT_CONFIGURATION, .configuration = {.index = index, .conf = *conf}};
	bool in = false;

	for (unsigned i = 0; i < conf->n; i++)
		in = in || conf->servers[i].id == m->id;
	/* The core takes the configuration over, and steps down if this leader is not in it. */
	member__step(m, &ev);
	if (m->change && m->change->index == index)
		change_done(m, m->change, MSG_DONE, m->change->target, NULL);
	member__refresh_peers(m);
	/* An entry from before our own admission, replayed by a joiner, does not mean we were removed. */
	if (!in && m->was_member && !member__server(m, m->id)) {
		struct err e;

		err_set(&e, ERR_FAILED_PRECONDITION,
			"this member (id %016" PRIx64 ") was removed from the cluster; to use the machine again, move the data "
			"directory away and join anew",
			m->id);
		member__fatal(m, &e);
	}
	m->was_member = m->was_member || in;
}

/* --- When things go wrong --------------------------------------------------------------------------------------------------- */

void member__changes_lost(struct member *m)
{
	struct change *c = m->change;

	if (c && c->op == MEMBER_TRANSFER)
		change_done(m, c, MSG_DONE, c->target, NULL);
	else if (c)
		change_failed(m, c, ERR_UNAVAILABLE, "leadership was lost before the change was committed; look at the members");
	LIST_FOR_EACH_SAFE (p, next, &m->changes, struct change, link)
		if (p->peer)
			change_done(m, p, MSG_NOT_TAKEN, 0, NULL);
}

void member__changes_peer_lost(struct member *m, uint64_t peer)
{
	LIST_FOR_EACH_SAFE (c, next, &m->forwarded_changes, struct change, link)
		if (c->sent_to == peer) {
			/* Adding is safe to repeat with the same id; removing and handing over say themselves when done. */
			list_del(&c->link);
			list_add_tail(&m->changes, &c->link);
		}
	member__kick(m);
}

void member__admin_result(struct member *m, uint64_t from, const struct msg *msg)
{
	struct err e = {.code = (enum err_code)msg->admin_result.code};

	LIST_FOR_EACH_SAFE (c, next, &m->forwarded_changes, struct change, link) {
		if (c->index != msg->admin_result.id || c->sent_to != from)
			continue;
		if (msg->admin_result.status == MSG_NOT_TAKEN) {
			list_del(&c->link);
			list_add_tail(&m->changes, &c->link);
			member__arm_by(m, member__now(m) + m->cfg.heartbeat_ms);
			return;
		}
		snprintf(e.text, sizeof(e.text), "%.*s", STR_FMT(msg->admin_result.text));
		if (e.code < ERR_OK || e.code >= ERR_N_CODES)
			e.code = ERR_INTERNAL;
		change_done(m, c, MSG_DONE, msg->admin_result.member, e.code ? &e : NULL);
		return;
	}
}

void member__changes_expire(struct member *m, uint64_t now, const struct err *all)
{
	struct list *lists[] = {&m->changes, &m->forwarded_changes};
	struct err e;

	err_set(&e, ERR_TIMEOUT, "the change of members was not done in time; look at the members before trying again");
	for (size_t i = 0; i < ARRAY_LEN(lists); i++)
		LIST_FOR_EACH_SAFE (c, next, lists[i], struct change, link) {
			if (all || c->deadline <= now)
				change_done(m, c, MSG_UNKNOWN, 0, all ? all : &e);
			else
				member__arm_by(m, c->deadline);
		}
	if (m->change && (all || m->change->deadline <= now))
		change_done(m, m->change, MSG_UNKNOWN, 0, all ? all : &e);
}
