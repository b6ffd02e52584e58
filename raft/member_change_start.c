/*
 * On the leader: what a request about members becomes. Each kind has one function, which looks at the present configuration and
 * either answers at once (it is done already, or refused for a reason that callers can tell apart) or submits one configuration
 * entry, after which the request is the one under way (member->change).
 *
 * A change is one edit of the present configuration: one member added, changed or left out. Nothing here makes the cluster
 * unable to go on: a voter leaves only if those that are left and answer are a majority, and a leader hands over before it
 * goes. A joiner with the name or address of a dead member takes its place, in two entries.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mutant.h"
#include "base/util.h"
#include "raft/addrs.h"
#include "raft/member-priv.h"

/* An operator may make a learner a voter when it lags at most this many entries behind. */
#define PROMOTE_LAG_ASKED 4096

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
	member__change_done(m, c, MSG_DONE, 0, &e);
}

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
		member__change_done(m, c, MSG_NOT_TAKEN, 0, &e);
		return false;
	}
	c->index = m->log.last;
	c->target = edit->id ? edit->id : edit->without;
	m->change = c;
	list_del(&c->link);
	return true;
}

static bool addr_of(const struct kv_member *a, const struct kv_member *b)
{
	return addrs_meet(str_from(a->addr), str_from(b->addr));
}

/* Others (not `except`) with one of these addresses or, unless it is empty, this name. */
static size_t namesakes(struct member *m, const struct kv_member *who, uint64_t except, struct kv_member *ret_first)
{
	size_t n = 0;

	for (unsigned i = 0; i < m->raft.configuration.n; i++) {
		struct kv_member o;

		member__fill(m, &m->raft.configuration.servers[i], &o);
		if (o.id == except ||
		    (!addr_of(&o, who) && (who->name[0] == '\0' || strcmp(o.name, who->name) != 0)))
			continue;
		if (n++ == 0)
			*ret_first = o;
	}
	return n;
}

static void refuse_namesake(struct member *m, struct change *c, const struct kv_member *o)
{
	refuse(m, c, ERR_ALREADY_EXISTS, addr_of(o, &c->who) ? KV_WHY_ADDR_EXISTS : KV_WHY_NAME_EXISTS,
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
		member__change_done(m, c, MSG_DONE, c->target, NULL);
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
		member__change_done(m, c, MSG_UNKNOWN, 0, &e); /* the joiner asks again */
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
			member__change_done(m, c, MSG_NOT_TAKEN, 0, &e);
	}
}

static void start_join(struct member *m, struct change *c)
{
	struct kv_member o;
	size_t n;

	for (unsigned i = 0; i < m->raft.configuration.n; i++) {
		member__fill(m, &m->raft.configuration.servers[i], &o);
		if (o.id == c->target || o.claim == c->target) {
			member__change_done(m, c, MSG_DONE, o.id, NULL);
			return;
		}
		if (!o.started && addr_of(&o, &c->who)) {
			claim(m, c, &o);
			return;
		}
	}
	n = namesakes(m, &c->who, 0, &o);
	if (n == 1 && c->again && strcmp(o.name, c->who.name) == 0 && addr_of(&o, &c->who)) {
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
		member__change_done(m, c, MSG_DONE, now.id, NULL);
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
		member__change_failed(m, c, ERR_UNAVAILABLE, "the leader cannot be removed: no other member has taken leadership over");
		return;
	}
	c->handed_over = true;
	t = member__change_new(m, MEMBER_TRANSFER, c->deadline);
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
		member__change_done(m, c, MSG_DONE, m->id, NULL);
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
		member__change_failed(m, c, ERR_UNAVAILABLE, raft_strerror(rv));
}

void member__change_start(struct member *m, struct change *c)
{
	static void (*const starts[])(struct member *, struct change *) = {
		[MEMBER_ADD] = start_add,	  [MEMBER_REMOVE] = start_remove, [MEMBER_TRANSFER] = start_transfer,
		[MEMBER_PROMOTE] = start_promote, [MEMBER_UPDATE] = start_update, [MEMBER_JOIN] = start_join,
	};

	if (c->op < ARRAY_LEN(starts) && starts[c->op])
		starts[c->op](m, c);
	else
		member__change_failed(m, c, ERR_UNIMPLEMENTED, "unknown request about members");
}
