#include "raft/problems.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/util.h"

/* A member that lags by so many entries does not just have a slow moment. */
#define LAG_MANY 10000

struct list_of {
	struct kv_problem *out;
	size_t n;
};

__attribute__((format(printf, 3, 4))) static void add(struct list_of *l, bool warning, const char *fmt, ...)
{
	va_list ap;

	if (l->n == KV_MAX_PROBLEMS)
		return;
	l->out[l->n].warning = warning;
	va_start(ap, fmt);
	vsnprintf(l->out[l->n++].text, sizeof(l->out[0].text), fmt, ap);
	va_end(ap);
}

static const char *name_of(const struct kv_member *m, char buf[32])
{
	if (m->name[0])
		return m->name;
	snprintf(buf, 32, "%016" PRIx64, m->id);
	return buf;
}

/* Those that answer and are whole: one of them can lead, and give this one what it lost. */
static unsigned other_voters(const struct kv_status *s, const struct kv_member *m)
{
	unsigned n = 0;

	for (size_t i = 0; i < s->n_members; i++) {
		const struct kv_member *o = &s->members[i];

		n += o->id != m->id && o->role == KV_VOTER && (o->reachable || o->self) && !(o->alarms & (KV_ALARM_DISK | KV_ALARM_DAMAGED));
	}
	return n;
}

static void look_at_member(struct list_of *l, const struct kv_status *s, const struct kv_member *m)
{
	char buf[32];

	if (!m->started)
		add(l, true, "a place for a member at %s was made, and nobody has come for it: start a server there with --join, or remove %016" PRIx64,
		    m->addr, m->id);
	else if (!m->reachable && !m->self)
		add(l, m->role != KV_VOTER, "member %s does not answer: start it again, or replace it (start an empty server under its name with --join)",
		    name_of(m, buf));
	if (m->alarms & KV_ALARM_DISK)
		add(l, false, "member %s has trouble with its disk%s%s", name_of(m, buf), m->self && s->disk_error[0] ? ": " : "; its log says what",
		    m->self ? s->disk_error : "");
	if (m->alarms & KV_ALARM_DAMAGED)
		add(l, other_voters(s, m) > 0, "the store of member %s is damaged%s%s: what is damaged is not served; %s", name_of(m, buf),
		    m->self && s->damage[0] ? ": " : "", m->self ? s->damage : "",
		    other_voters(s, m) > 0 ? "the leader sends it the whole state, which mends it by itself"
					   : "no other voting member that answers has what it has: bring one back, or restore a snapshot ('kontiki snapshot restore')");
	if (m->alarms & KV_ALARM_LOG)
		add(l, true, "a closed segment of the log of member %s is damaged%s%s: it is dropped as soon as the store's checkpoint has what it held",
		    name_of(m, buf), m->self && s->damage[0] ? ": " : "", m->self ? s->damage : "");
	if (m->alarms & KV_ALARM_CORRUPT)
		add(l, false, "member %s holds other data than this one: find out which of them agrees with the rest, and replace the other one",
		    name_of(m, buf));
	if (m->started && m->applied_index && m->applied_index + LAG_MANY < s->commit_index)
		add(l, true, "member %s is %" PRIu64 " entries behind", name_of(m, buf), s->commit_index - m->applied_index);
}

static void look_at_voters(struct list_of *l, const struct kv_status *s)
{
	unsigned voters = 0, alive = 0;

	for (size_t i = 0; i < s->n_members; i++) {
		voters += s->members[i].role == KV_VOTER;
		alive += s->members[i].role == KV_VOTER && (s->members[i].reachable || s->members[i].self) &&
			 !(s->members[i].alarms & KV_ALARM_DISK);
	}
	if (voters > 0 && alive <= voters / 2)
		add(l, false, "only %u of %u voting members answer: nothing can be written until %u do", alive, voters, voters / 2 + 1);
	else if (voters == 2)
		add(l, true, "of two voting members none may fail, the quorum is lost when one dies: add a third server, or a witness (--witness)");
	else if (voters > 2 && alive == voters / 2 + 1)
		add(l, true, "%u of %u voting members answer: the next one that fails takes the quorum with it", alive, voters);
}

size_t kv_problems(const struct kv_status *s, struct kv_problem out[KV_MAX_PROBLEMS])
{
	struct list_of l = {.out = out};

	if (s->role.leader_id == 0)
		add(&l, false, "no leader is known here: nothing can be written");
	look_at_voters(&l, s);
	if (s->alarms & KV_ALARM_NOSPACE)
		add(&l, false, "alarm NOSPACE: the store is over its quota, and writes are refused: delete, compact, defragment, then disarm the alarm");
	if (s->alarms & KV_ALARM_CORRUPT)
		add(&l, false, "alarm CORRUPT: members hold different data; reads and writes are refused until the alarm is disarmed");
	for (size_t i = 0; i < s->n_members; i++)
		look_at_member(&l, s, &s->members[i]);
	if (s->store_quota && s->store_used > s->store_quota / 10 * 8 && !(s->alarms & KV_ALARM_NOSPACE))
		add(&l, true, "the store uses %" PRIu64 " of %" PRIu64 " MiB: writes are refused when it is full", s->store_used >> 20,
		    s->store_quota >> 20);
	return l.n;
}
