/*
 * Requests about members, from their arrival to their answer. One comes from this process (member_admin), from another member that
 * is not the leader, or from a joiner that is no member yet; each is answered where it came from, once.
 *
 * On the leader they wait for their turn: one change at a time, and only while no configuration entry is uncommitted
 * (member_change_start.c makes the change). It is done when its entry is committed. On the others they go to the leader, and come
 * back into the queue when that is lost or refuses them, for all of them are safe to repeat: a second one finds what the first one did.
 * One that leadership was lost or time ran out for may have been made or not, and its answer says so.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/util.h"
#include "raft/addrs.h"
#include "raft/member-priv.h"

void member__change_done(struct member *m, struct change *c, enum msg_status status, uint64_t id, const struct err *e)
{
	struct msg out = {.kind = MSG_ADMIN_RESULT};

	if (c->admin) {
		err_clear(&c->admin->err);
		if (e)
			c->admin->err = *e;
		c->admin->id = id;
		c->admin->why = (enum kv_why)c->why;
		m->ops->admin_done(m, c->admin);
	} else if (c->peer || c->conn) {
		out.admin_result.id = c->id;
		out.admin_result.member = id;
		out.admin_result.status = (uint8_t)status;
		out.admin_result.why = c->why;
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

void member__change_failed(struct member *m, struct change *c, enum err_code code, const char *why)
{
	struct err e;

	err_set(&e, code, "%s", why);
	member__change_done(m, c, code == ERR_UNAVAILABLE ? MSG_UNKNOWN : MSG_DONE, 0, &e);
}

struct change *member__change_new(struct member *m, uint8_t op, uint64_t deadline)
{
	struct change *c = xcalloc(1, sizeof(*c));

	list_init(&c->link);
	c->op = op;
	c->deadline = deadline;
	member__arm_by(m, deadline);
	return c;
}

/* What a person or a joiner gives must survive the string that the core keeps for each server. */
static bool usable(struct change *c, struct err *e)
{
	const char *all[] = {c->who.name, c->who.addr, c->who.url, c->who.zone};
	bool adds = c->op == MEMBER_ADD || c->op == MEMBER_JOIN;

	c->why = KV_WHY_BAD_ADDR;
	if (adds && (c->who.addr[0] == '\0' || (c->op == MEMBER_JOIN && c->who.name[0] == '\0')))
		return err_set(e, ERR_INVALID, "a member needs a name and an address"), false;
	for (size_t i = 0; i < ARRAY_LEN(all); i++)
		for (const char *p = all[i]; *p; p++)
			if (*p == '|' || *p <= ' ' || *p > '~')
				return err_set(e, ERR_INVALID,
					       "a member's name, address, URL and zone are plain text without blanks or '|'"),
				       false;
	if (c->who.addr[0] && !addrs_ok(str_from(c->who.addr)))
		return err_set(e, ERR_INVALID, "\"%s\" is no list of addresses", c->who.addr), false;
	c->why = KV_WHY_NONE;
	return true;
}

static void take_peer(struct kv_member *out, const struct kv_peer *p)
{
	member__copy(out->name, sizeof(out->name), str_from(p->name));
	member__copy(out->addr, sizeof(out->addr), str_from(p->addr));
	member__copy(out->url, sizeof(out->url), str_from(p->url));
	member__copy(out->zone, sizeof(out->zone), str_from(p->zone));
	out->learner = p->learner;
	out->witness = p->witness;
}

static void enqueue(struct member *m, struct change *c)
{
	struct err e = ERR_INIT;

	list_add_tail(&m->changes, &c->link);
	if (m->stopped)
		member__change_failed(m, c, ERR_UNAVAILABLE, "this member has stopped");
	else if (!usable(c, &e))
		member__change_done(m, c, MSG_DONE, 0, &e);
	member__kick(m);
}

void member_admin(struct member *m, struct kv_admin *a)
{
	struct change *c;

	a->why = KV_WHY_NONE;
	if (a->op == MEMBER_DEFRAG) {
		member__defrag(m, a);
		return;
	}
	c = member__change_new(m, (uint8_t)a->op, a->deadline);
	c->admin = a;
	c->target = a->target;
	if (a->op == MEMBER_ADD || a->op == MEMBER_UPDATE)
		take_peer(&c->who, &a->peer);
	if (a->op == MEMBER_ADD)
		c->target = member__as_id((uint64_t)m->ops->random(m) << 32 ^ m->ops->random(m));
	enqueue(m, c);
}

void member__request(struct member *m, enum member_admin_op op, uint64_t deadline)
{
	enqueue(m, member__change_new(m, (uint8_t)op, deadline));
}

void member__request_update(struct member *m, const struct kv_peer *self, uint64_t deadline)
{
	struct change *c = member__change_new(m, MEMBER_UPDATE, deadline);

	take_peer(&c->who, self);
	c->target = m->id;
	enqueue(m, c);
}

static struct change *change_of_frame(struct member *m, const struct msg *msg)
{
	struct change *c = member__change_new(m, msg->admin.op, member__now(m) + MIN(msg->admin.timeout_ms, 600000u));

	c->id = msg->admin.id;
	c->target = msg->admin.target;
	member__copy(c->who.name, sizeof(c->who.name), msg->admin.name);
	member__copy(c->who.addr, sizeof(c->who.addr), msg->admin.addr);
	member__copy(c->who.url, sizeof(c->who.url), msg->admin.url);
	member__copy(c->who.zone, sizeof(c->who.zone), msg->admin.zone);
	c->who.learner = (msg->admin.flags & MEMBER_FLAG_LEARNER) != 0;
	c->who.witness = (msg->admin.flags & MEMBER_FLAG_WITNESS) != 0;
	c->again = (msg->admin.flags & MEMBER_FLAG_AGAIN) != 0;
	return c;
}

void member__admin_frame(struct member *m, uint64_t from, const struct msg *msg)
{
	struct change *c = change_of_frame(m, msg);

	c->peer = from;
	if (m->state == RAFT_LEADER) {
		enqueue(m, c);
		return;
	}
	list_add_tail(&m->changes, &c->link);
	member__change_done(m, c, MSG_NOT_TAKEN, 0, NULL);
}

void member_join(struct member *m, struct str frame, uint64_t conn)
{
	struct err e = ERR_INIT;
	struct change *c;
	struct msg msg;

	if (m->stopped || msg_decode(frame, &msg, &e) != 0 || msg.kind != MSG_ADMIN || msg.admin.op != MEMBER_JOIN)
		return;
	c = change_of_frame(m, &msg);
	c->conn = conn;
	if (c->target == 0 || c->target > INT64_MAX) {
		list_add_tail(&m->changes, &c->link);
		member__change_failed(m, c, ERR_INVALID, "the join request has no member id");
		return;
	}
	enqueue(m, c);
}

void member_on_join_reply(struct member *m, void (*reply)(struct member *, uint64_t conn, struct str frame))
{
	m->join_reply = reply;
}

bool member__may_change(const struct member *m)
{
	return m->ready && !m->change && m->raft.configuration_uncommitted_index == 0 &&
	       raft_transferee(&m->raft) == 0;
}

static bool forward_change(struct member *m, struct change *c)
{
	struct msg out = {.kind = MSG_ADMIN};
	uint64_t now = member__now(m);

	out.admin.id = m->next_id++;
	out.admin.op = c->op;
	out.admin.target = c->target;
	out.admin.timeout_ms = (uint32_t)(c->deadline > now ? c->deadline - now : 0);
	out.admin.name = str_from(c->who.name);
	out.admin.addr = str_from(c->who.addr);
	out.admin.url = str_from(c->who.url);
	out.admin.zone = str_from(c->who.zone);
	out.admin.flags = (uint8_t)((c->who.learner ? MEMBER_FLAG_LEARNER : 0) | (c->who.witness ? MEMBER_FLAG_WITNESS : 0) |
				     (c->again ? MEMBER_FLAG_AGAIN : 0));
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
			member__change_failed(m, m->change, ERR_UNAVAILABLE, "the member did not take leadership over in time");
		member__keep_roles(m);
		while (!list_empty(&m->changes) && member__may_change(m)) {
			c = LIST_FIRST(&m->changes, struct change, link);
			member__change_start(m, c);
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
		member__change_done(m, m->change, MSG_DONE, m->change->target, NULL);
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

void member__changes_lost(struct member *m)
{
	struct change *c = m->change;

	if (c && c->op == MEMBER_TRANSFER)
		member__change_done(m, c, MSG_DONE, c->target, NULL);
	else if (c) {
		c->why = KV_WHY_LOST_LEADER;
		member__change_failed(m, c, ERR_UNAVAILABLE, "leadership was lost before the change was committed; look at the members");
	}
	LIST_FOR_EACH_SAFE (p, next, &m->changes, struct change, link)
		if (p->peer)
			member__change_done(m, p, MSG_NOT_TAKEN, 0, NULL);
}

void member__changes_peer_lost(struct member *m, uint64_t peer)
{
	LIST_FOR_EACH_SAFE (c, next, &m->forwarded_changes, struct change, link)
		if (c->sent_to == peer) {
			/* All are safe to repeat: a second one finds what the first one did. */
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
		c->why = msg->admin_result.why <= KV_WHY_LOST_LEADER ? msg->admin_result.why : KV_WHY_NONE;
		snprintf(e.text, sizeof(e.text), "%.*s", STR_FMT(msg->admin_result.text));
		if (e.code < ERR_OK || e.code >= ERR_N_CODES)
			e.code = ERR_INTERNAL;
		member__change_done(m, c, msg->admin_result.status == MSG_UNKNOWN ? MSG_UNKNOWN : MSG_DONE, msg->admin_result.member,
			    e.code ? &e : NULL);
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
				member__change_done(m, c, MSG_UNKNOWN, 0, all ? all : &e);
			else
				member__arm_by(m, c->deadline);
		}
	if (m->change && (all || m->change->deadline <= now))
		member__change_done(m, m->change, MSG_UNKNOWN, 0, all ? all : &e);
}
