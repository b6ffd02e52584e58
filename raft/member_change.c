/* Requests about members: adding, claiming, promoting, removing, handing leadership over. One change at a time, on the leader. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mutant.h"
#include "base/util.h"
#include "raft/member-priv.h"

/* An operator may make a learner a voter when it lags at most this many entries behind. */
#define PROMOTE_LAG_ASKED 4096

/* --- Requests ---------------------------------------------------------------------------------------------------------- */

static void change_done(struct member *m, struct change *c, enum msg_status status, uint64_t id, const struct err *e)
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

static void change_failed(struct member *m, struct change *c, enum err_code code, const char *why)
{
	struct err e;

	err_set(&e, code, "%s", why);
	change_done(m, c, code == ERR_UNAVAILABLE ? MSG_UNKNOWN : MSG_DONE, 0, &e);
}

/* Refused for good, for a reason that callers can tell apart. */
__attribute__((format(printf, 5, 6))) static void refuse(struct member *m, struct change *c, enum err_code code,
							 enum kv_why why, const char *fmt, ...)
{
	char text[256];
	struct err e;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	err_set(&e, code, "%s", text);
	c->why = (uint8_t)why;
	change_done(m, c, MSG_DONE, 0, &e);
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
		change_failed(m, c, ERR_UNAVAILABLE, "this member has stopped");
	else if (!usable(c, &e))
		change_done(m, c, MSG_DONE, 0, &e);
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
	c = change_new(m, (uint8_t)a->op, a->deadline);
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
	enqueue(m, change_new(m, (uint8_t)op, deadline));
}

void member__request_update(struct member *m, const struct kv_peer *self, uint64_t deadline)
{
	struct change *c = change_new(m, MEMBER_UPDATE, deadline);

	take_peer(&c->who, self);
	c->target = m->id;
	enqueue(m, c);
}

static struct change *change_of_frame(struct member *m, const struct msg *msg)
{
	struct change *c = change_new(m, msg->admin.op, member__now(m) + MIN(msg->admin.timeout_ms, 600000u));

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
	change_done(m, c, MSG_NOT_TAKEN, 0, NULL);
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
		change_failed(m, c, ERR_INVALID, "the join request has no member id");
		return;
	}
	enqueue(m, c);
}

void member_on_join_reply(struct member *m, void (*reply)(struct member *, uint64_t conn, struct str frame))
{
	m->join_reply = reply;
}

/* --- On the leader: from a request to a configuration entry --------------------------------------------------------------- */

/* The present configuration with one edit. */
static void edited_conf(const struct member *m, const struct conf_edit *edit, struct raft_configuration *out)
{
	raft_configuration_init(out);
	for (unsigned i = 0; i < m->raft.configuration.n; i++) {
		const struct raft_server *s = &m->raft.configuration.servers[i];
		bool this = s->id == edit->id;

		if (s->id == edit->without)
			continue;
		ASSERT(raft_configuration_add(out, s->id, this && edit->address ? edit->address : s->address,
					      this && edit->role >= 0 ? edit->role : s->role) == 0);
	}
	if (edit->id && !member__server(m, edit->id))
		ASSERT(raft_configuration_add(out, edit->id, edit->address, edit->role) == 0);
}

int member__submit_conf(struct member *m, const struct conf_edit *edit, struct err *e)
{
	struct raft_entry entry = {.type = RAFT_CHANGE, .term = raft_current_term(&m->raft)};
	struct raft_event ev = {.type = RAFT_SUBMIT, .submit = {&entry, 1}};
	struct proposal *none[1] = {NULL};
	struct raft_configuration conf;
	int rv;

	ASSERT(!edit->without || !edit->id);
	edited_conf(m, edit, &conf);
	ASSERT(raft_configuration_encode(&conf, &entry.buf) == 0);
	raft_configuration_close(&conf);
	entry.batch = entry.buf.base;
	m->submitting = none;
	rv = member__step(m, &ev);
	m->submitting = NULL;
	raft_free(entry.buf.base);
	if (rv != 0)
		return err_set(e, ERR_UNAVAILABLE, "the change of members cannot be made now: %s", raft_strerror(rv));
	return 0;
}

/* The request's configuration entry goes into the log; it is done when that is committed. `target` is what it is about. */
static bool submit_change(struct member *m, struct change *c, const struct conf_edit *edit)
{
	struct err e = ERR_INIT;

	if (member__submit_conf(m, edit, &e) != 0) {
		change_done(m, c, MSG_NOT_TAKEN, 0, &e);
		return false;
	}
	c->index = m->log.last;
	c->target = edit->id ? edit->id : edit->without;
	m->change = c;
	list_del(&c->link);
	return true;
}

/* Others (not `except`) with this address or, unless it is empty, this name. */
static size_t namesakes(struct member *m, const struct kv_member *who, uint64_t except, struct kv_member *ret_first)
{
	size_t n = 0;

	for (unsigned i = 0; i < m->raft.configuration.n; i++) {
		struct kv_member o;

		member__fill(m, &m->raft.configuration.servers[i], &o);
		if (o.id == except ||
		    (strcmp(o.addr, who->addr) != 0 && (who->name[0] == '\0' || strcmp(o.name, who->name) != 0)))
			continue;
		if (n++ == 0)
			*ret_first = o;
	}
	return n;
}

static void refuse_namesake(struct member *m, struct change *c, const struct kv_member *o)
{
	refuse(m, c, ERR_ALREADY_EXISTS, strcmp(o->addr, c->who.addr) == 0 ? KV_WHY_ADDR_EXISTS : KV_WHY_NAME_EXISTS,
	       "member \"%s\" (id %016" PRIx64 ", address %s) is there already: if it is lost for good, remove it first",
	       o->name, o->id, o->addr);
}

static void add_anew(struct member *m, struct change *c)
{
	char address[MEMBER_ADDRESS_MAX];

	if (m->raft.configuration.n >= KV_MAX_MEMBERS) {
		refuse(m, c, ERR_FAILED_PRECONDITION, KV_WHY_TOO_MANY, "the cluster has as many members as it can have");
		return;
	}
	member__format_address(address, &c->who);
	if (submit_change(m, c, &(struct conf_edit){.id = c->target, .address = address, .role = RAFT_STANDBY}))
		log_info("raft", "adding member name=%s addr=%s id=%016" PRIx64, c->who.name, c->who.addr, c->target);
}

static void start_add(struct member *m, struct change *c)
{
	struct kv_member o;

	/* The same request again (an answer was lost) finds it done. */
	if (member__server(m, c->target))
		change_done(m, c, MSG_DONE, c->target, NULL);
	else if (namesakes(m, &c->who, 0, &o) > 0)
		refuse_namesake(m, c, &o);
	else
		add_anew(m, c);
}

/* Would the voters that are left without this one be able to go on? */
static bool healthy_without(struct member *m, uint64_t id)
{
	unsigned voters = 0, alive = 0;

	for (unsigned i = 0; i < m->raft.configuration.n; i++) {
		struct kv_member o;

		member__fill(m, &m->raft.configuration.servers[i], &o);
		if (o.role != KV_VOTER || o.id == id)
			continue;
		voters++;
		alive += o.reachable && !(o.alarms & KV_ALARM_DISK);
	}
	return alive > voters / 2;
}

/* A member that starts with an empty directory takes the place that was made for its address. */
static void claim(struct member *m, struct change *c, const struct kv_member *place)
{
	char address[MEMBER_ADDRESS_MAX];
	struct kv_member who = c->who, o;

	if (namesakes(m, &who, place->id, &o) > 0) {
		refuse_namesake(m, c, &o);
		return;
	}
	who.learner = place->learner;
	who.witness = who.witness || place->witness;
	/* Once only: the same joiner again is known by its number, another one is refused. */
	who.claim = c->target;
	if (who.zone[0] == '\0')
		memcpy(who.zone, place->zone, sizeof(who.zone));
	member__format_address(address, &who);
	if (submit_change(m, c, &(struct conf_edit){.id = place->id, .address = address, .role = -1}))
		log_info("raft", "member name=%s takes the place of id=%016" PRIx64 " addr=%s", who.name, place->id, who.addr);
}

/* Somebody starts with the name or address of a member: instead of it, if that is dead. */
static void replace(struct member *m, struct change *c, const struct kv_member *old)
{
	struct err e = ERR_INIT;

	if (member__answers(m, old->id) || (old->role == KV_VOTER && !healthy_without(m, old->id))) {
		refuse_namesake(m, c, old);
	} else if (member__silent_ms(m, old->id) < m->cfg.replace_ms) {
		err_set(&e, ERR_ALREADY_EXISTS, "member \"%s\" (id %016" PRIx64 ") is there already and may still be alive",
			old->name, old->id);
		c->why = KV_WHY_NAME_EXISTS;
		change_done(m, c, MSG_UNKNOWN, 0, &e); /* the joiner asks again */
	} else {
		/* In two entries; the request waits for the first. The core takes a configuration with as many servers as
		 * before for one with the same servers, and would mix up who has which entries. */
		c->vacated = true;
		if (c->again) {
			c->who.learner = old->learner;
			c->who.witness = old->witness;
		}
		if (member__submit_conf(m, &(struct conf_edit){.without = old->id, .role = -1}, &e) == 0)
			log_info("raft", "member name=%s id=%016" PRIx64 " is dead and is replaced", old->name, old->id);
		else
			change_done(m, c, MSG_NOT_TAKEN, 0, &e);
	}
}

static void start_join(struct member *m, struct change *c)
{
	struct kv_member o;
	size_t n;

	for (unsigned i = 0; i < m->raft.configuration.n; i++) {
		member__fill(m, &m->raft.configuration.servers[i], &o);
		if (o.id == c->target || o.claim == c->target) {
			change_done(m, c, MSG_DONE, o.id, NULL);
			return;
		}
		if (!o.started && strcmp(o.addr, c->who.addr) == 0) {
			claim(m, c, &o);
			return;
		}
	}
	n = namesakes(m, &c->who, 0, &o);
	if (n == 1 && c->again && strcmp(o.name, c->who.name) == 0 && strcmp(o.addr, c->who.addr) == 0) {
		/* The place was made for it once, and its certificate lets it in. */
		replace(m, c, &o);
		return;
	}
	if (n == 0 && m->cfg.places_only && !c->vacated)
		refuse(m, c, ERR_FORBIDDEN, KV_WHY_NOT_FOUND,
		       "no place was made for a member at %s: add it first (etcdctl member add)", c->who.addr);
	else if (n == 0)
		add_anew(m, c);
	else if (n == 1 && !m->cfg.places_only)
		replace(m, c, &o);
	else
		refuse_namesake(m, c, &o);
}

static const struct raft_server *find(struct member *m, struct change *c)
{
	const struct raft_server *s = member__server(m, c->target);

	if (!s)
		refuse(m, c, ERR_NOT_FOUND, KV_WHY_NOT_FOUND, "there is no member with id %016" PRIx64, c->target);
	return s;
}

static void start_promote(struct member *m, struct change *c)
{
	const struct raft_server *s = find(m, c);
	char address[MEMBER_ADDRESS_MAX];
	struct kv_member o;

	if (!s)
		return;
	member__fill(m, s, &o);
	if (o.role == KV_VOTER) {
		refuse(m, c, ERR_FAILED_PRECONDITION, KV_WHY_NOT_LEARNER, "member \"%s\" votes already", o.name);
		return;
	}
	if (!o.started || !o.reachable || o.match_index + PROMOTE_LAG_ASKED < m->log.last || o.match_index == 0) {
		refuse(m, c, ERR_FAILED_PRECONDITION, KV_WHY_LEARNER_LAGS,
		       "member %016" PRIx64 " cannot vote yet: %s", o.id,
		       !o.started ? "it has not started" : !o.reachable ? "it does not answer" : "it has not caught up");
		return;
	}
	o.learner = false;
	member__format_address(address, &o);
	if (submit_change(m, c, &(struct conf_edit){.id = o.id, .address = address, .role = RAFT_VOTER}))
		log_info("raft", "promoting member name=%s id=%016" PRIx64 " to voter, as asked", o.name, o.id);
}

static void start_update(struct member *m, struct change *c)
{
	const struct raft_server *s = find(m, c);
	char address[MEMBER_ADDRESS_MAX];
	struct kv_member now, other;

	if (!s)
		return;
	member__fill(m, s, &now);
	if (c->who.addr[0])
		memcpy(now.addr, c->who.addr, sizeof(now.addr));
	if (c->who.url[0])
		memcpy(now.url, c->who.url, sizeof(now.url));
	if (c->who.zone[0])
		memcpy(now.zone, c->who.zone, sizeof(now.zone));
	if (namesakes(m, &now, now.id, &other) > 0) {
		refuse_namesake(m, c, &other);
		return;
	}
	member__format_address(address, &now);
	if (strcmp(address, s->address) == 0)
		change_done(m, c, MSG_DONE, now.id, NULL);
	else if (submit_change(m, c, &(struct conf_edit){.id = now.id, .address = address, .role = -1}))
		log_info("raft", "member name=%s id=%016" PRIx64 " is at addr=%s now", now.name, now.id, now.addr);
}

/*
 * A leader that is to leave hands over first. The core neither campaigns nor votes any more when its log says that it is out; if
 * that entry were in its log alone, of two voters the other one would need its vote for ever.
 */
static void hand_over_first(struct member *m, struct change *c)
{
	struct change *t;

	if (c->handed_over) {
		change_failed(m, c, ERR_UNAVAILABLE, "the leader cannot be removed: no other member has taken leadership over");
		return;
	}
	c->handed_over = true;
	t = change_new(m, MEMBER_TRANSFER, c->deadline);
	list_add_head(&m->changes, &t->link);
}

static void start_remove(struct member *m, struct change *c)
{
	const struct raft_server *s = find(m, c);
	uint64_t id = c->target;

	if (!s)
		return;
	if (s->role == RAFT_VOTER && member__voters(m) == 1)
		refuse(m, c, ERR_FAILED_PRECONDITION, KV_WHY_LAST_VOTER, "the last voting member cannot be removed");
	else if (s->role == RAFT_VOTER && !healthy_without(m, id))
		refuse(m, c, ERR_FAILED_PRECONDITION, KV_WHY_UNHEALTHY,
		       "without this member the voters that answer would be no majority; bring the others back first");
	else if (id == m->id && !MUTANT(leaves_first))
		hand_over_first(m, c);
	else if (submit_change(m, c, &(struct conf_edit){.without = id, .role = -1}))
		log_info("raft", "removing member id=%016" PRIx64, id);
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
		refuse(m, c, ERR_NOT_FOUND, KV_WHY_BAD_TRANSFEREE, "leadership can only go to a voting member");
		return;
	}
	if (!c->target) {
		/* The reachable voter with the longest log; a witness, or one with a damaged store, only if there is no other. */
		uint64_t best = 0;
		bool poor = true;

		for (unsigned i = 0; i < m->raft.configuration.n; i++) {
			struct kv_member other;
			bool poorer;

			member__fill(m, &m->raft.configuration.servers[i], &other);
			poorer = other.witness || (other.alarms & KV_ALARM_DAMAGED);
			if (!other.self && other.role == KV_VOTER && other.reachable && !(other.alarms & KV_ALARM_DISK) &&
			    (!c->target || (poor && !poorer) || (poor == poorer && other.match_index > best))) {
				c->target = other.id;
				best = other.match_index;
				poor = poorer;
			}
		}
		ev.transfer.server_id = c->target;
	}
	if (!c->target) {
		refuse(m, c, ERR_FAILED_PRECONDITION, KV_WHY_BAD_TRANSFEREE, "there is no other reachable voting member");
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
	static void (*const starts[])(struct member *, struct change *) = {
		[MEMBER_ADD] = start_add,	  [MEMBER_REMOVE] = start_remove, [MEMBER_TRANSFER] = start_transfer,
		[MEMBER_PROMOTE] = start_promote, [MEMBER_UPDATE] = start_update, [MEMBER_JOIN] = start_join,
	};

	if (c->op < ARRAY_LEN(starts) && starts[c->op])
		starts[c->op](m, c);
	else
		change_failed(m, c, ERR_UNIMPLEMENTED, "unknown request about members");
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
			change_failed(m, m->change, ERR_UNAVAILABLE, "the member did not take leadership over in time");
		member__keep_roles(m);
		while (!list_empty(&m->changes) && member__may_change(m)) {
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
	else if (c) {
		c->why = KV_WHY_LOST_LEADER;
		change_failed(m, c, ERR_UNAVAILABLE, "leadership was lost before the change was committed; look at the members");
	}
	LIST_FOR_EACH_SAFE (p, next, &m->changes, struct change, link)
		if (p->peer)
			change_done(m, p, MSG_NOT_TAKEN, 0, NULL);
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
		change_done(m, c, msg->admin_result.status == MSG_UNKNOWN ? MSG_UNKNOWN : MSG_DONE, msg->admin_result.member,
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
				change_done(m, c, MSG_UNKNOWN, 0, all ? all : &e);
			else
				member__arm_by(m, c->deadline);
		}
	if (m->change && (all || m->change->deadline <= now))
		change_done(m, m->change, MSG_UNKNOWN, 0, all ? all : &e);
}
