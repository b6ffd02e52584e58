#include "orchestrator/kubelet/eviction-config.h"

#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "base/util.h"
#include "proto/duration.h"
#include "proto/quantity.h"

#define HARD_DEFAULT "memory.available<100Mi,nodefs.available<10%,nodefs.inodesFree<5%,imagefs.available<15%,imagefs.inodesFree<5%"
#define TRANSITION_MS 300000

static const char *const names[N_SIGNALS] = {
	[SIG_MEMORY] = "memory.available",
	[SIG_NODEFS] = "nodefs.available",
	[SIG_NODEFS_INODES] = "nodefs.inodesFree",
	[SIG_IMAGEFS] = "imagefs.available",
	[SIG_IMAGEFS_INODES] = "imagefs.inodesFree",
	[SIG_PID] = "pid.available",
};

const char *signal_name(enum signal s)
{
	return names[s];
}

static bool signal_find(struct str name, enum signal *ret)
{
	for (int i = 0; i < N_SIGNALS; i++)
		if (str_eqc(name, names[i])) {
			*ret = (enum signal)i;
			return true;
		}
	return false;
}

int64_t amount_of(const struct amount *a, int64_t capacity)
{
	return a->fraction > 0 ? (int64_t)((double)capacity * (double)a->fraction) : a->value;
}

/* "10%" or a quantity. *ret_none: 0% and 100% stand for nothing. */
static int parse_amount(const char *flag, struct str text, bool may_be_zero, struct amount *ret, bool *ret_none, struct err *e)
{
	struct quantity q;
	char number[32], *end;
	double percent;

	*ret = (struct amount){0};
	*ret_none = false;
	if (str_has_suffix(text, STR("%"))) {
		struct str digits = str_sub(text, 0, text.n - 1);

		if (digits.n == 0 || digits.n >= sizeof(number))
			return err_set(e, ERR_BAD_REQUEST, "--%s: \"%.*s\" is no percentage", flag, STR_FMT(text));
		memcpy(number, digits.p, digits.n);
		number[digits.n] = '\0';
		percent = strtod(number, &end);
		if (*end || strspn(number, "0123456789.") != digits.n || percent > 100)
			return err_set(e, ERR_BAD_REQUEST, "--%s: \"%.*s\" is no percentage from 0%% to 100%%", flag, STR_FMT(text));
		ret->fraction = (float)percent / 100;
		*ret_none = percent <= 0 || percent >= 100;
		return 0;
	}
	if (quantity_parse(text, &q, e) < 0) {
		err_prefix(e, "--%s: \"%.*s\"", flag, STR_FMT(text));
		return -(int)e->code;
	}
	ret->value = quantity_value(q);
	if (ret->value < 0 || (ret->value == 0 && !may_be_zero))
		return err_set(e, ERR_BAD_REQUEST, "--%s: \"%.*s\" must be positive", flag, STR_FMT(text));
	return 0;
}

/* "SIGNAL<VALUE,SIGNAL<VALUE": each is given to fn. */
typedef int pair_fn(const char *flag, enum signal, struct str value, struct eviction_cfg *, struct err *);

static int each_pair(const char *flag, const char *text, char sep, pair_fn *fn, struct eviction_cfg *c, struct err *e)
{
	struct str rest = str_from(text ? text : ""), one, name, value;
	enum signal s;
	int rc = 0;

	while (rc == 0 && rest.n > 0) {
		str_cut(rest, ',', &one, &rest);
		one = str_trim(one);
		if (one.n == 0)
			continue;
		if (!str_cut(one, sep, &name, &value))
			return err_set(e, ERR_BAD_REQUEST, "--%s: \"%.*s\": give SIGNAL%cVALUE", flag, STR_FMT(one), sep);
		if (!signal_find(str_trim(name), &s))
			return err_set(e, ERR_BAD_REQUEST, "--%s: unsupported eviction signal %.*s", flag, STR_FMT(str_trim(name)));
		rc = fn(flag, s, str_trim(value), c, e);
	}
	return rc;
}

static int add_threshold(const char *flag, enum signal s, struct str value, struct eviction_cfg *c, bool soft, struct err *e)
{
	struct threshold t = {.signal = s, .soft = soft};
	bool none;
	int rc = parse_amount(flag, value, false, &t.value, &none, e);

	for (size_t i = 0; rc == 0 && i < c->n; i++)
		if (c->t[i].signal == s && c->t[i].soft == soft)
			return err_set(e, ERR_BAD_REQUEST, "--%s: %s is given twice", flag, names[s]);
	if (rc == 0 && !none)
		c->t[c->n++] = t;
	return rc;
}

static int add_hard(const char *flag, enum signal s, struct str value, struct eviction_cfg *c, struct err *e)
{
	return add_threshold(flag, s, value, c, false, e);
}

static int add_soft(const char *flag, enum signal s, struct str value, struct eviction_cfg *c, struct err *e)
{
	return add_threshold(flag, s, value, c, true, e);
}

static int set_grace(const char *flag, enum signal s, struct str value, struct eviction_cfg *c, struct err *e)
{
	int64_t ns;

	if (!duration_parse(value, &ns) || ns <= 0)
		return err_set(e, ERR_BAD_REQUEST, "--%s: \"%.*s\": give a positive duration such as 1m30s", flag, STR_FMT(value));
	for (size_t i = 0; i < c->n; i++)
		if (c->t[i].signal == s && c->t[i].soft)
			c->t[i].grace_ms = MAX(ns / 1000000, (int64_t)1);
	return 0;
}

static int set_reclaim(const char *flag, enum signal s, struct str value, struct eviction_cfg *c, struct err *e)
{
	struct amount a;
	bool none;
	int rc = parse_amount(flag, value, true, &a, &none, e);

	for (size_t i = 0; rc == 0 && i < c->n; i++)
		if (c->t[i].signal == s)
			c->t[i].reclaim = a;
	return rc;
}

int eviction_config(const struct eviction_flags *f, struct eviction_cfg *ret, struct err *e)
{
	struct eviction_cfg c = {.transition_ms = TRANSITION_MS, .max_pod_grace_s = f->max_pod_grace_s};
	int64_t ns;

	if (each_pair("eviction-hard", f->hard ? f->hard : HARD_DEFAULT, '<', add_hard, &c, e) < 0 ||
			each_pair("eviction-soft", f->soft, '<', add_soft, &c, e) < 0 ||
			each_pair("eviction-soft-grace-period", f->soft_grace, '=', set_grace, &c, e) < 0 ||
			each_pair("eviction-minimum-reclaim", f->minimum_reclaim, '=', set_reclaim, &c, e) < 0)
		return -(int)e->code;
	for (size_t i = 0; i < c.n; i++)
		if (c.t[i].soft && !c.t[i].grace_ms)
			return err_set(e, ERR_BAD_REQUEST, "--eviction-soft-grace-period: must be given for the soft eviction threshold %s",
					names[c.t[i].signal]);
	if (f->transition) {
		if (!duration_parse(str_from(f->transition), &ns) || ns < 0)
			return err_set(e, ERR_BAD_REQUEST, "--eviction-pressure-transition-period \"%s\": give a duration such as 5m", f->transition);
		c.transition_ms = ns / 1000000;
	}
	if (c.max_pod_grace_s < 0)
		return err_set(e, ERR_BAD_REQUEST, "--eviction-max-pod-grace-period: must not be negative");
	*ret = c;
	return 0;
}

void eviction_defaults(struct eviction_cfg *c)
{
	struct err e = ERR_INIT;
	int rc = eviction_config(&(struct eviction_flags){0}, c, &e);

	ASSERT(rc == 0);
}

int64_t eviction_reserve(const struct eviction_cfg *c, enum signal s, int64_t capacity)
{
	for (size_t i = 0; i < c->n; i++)
		if (c->t[i].signal == s && !c->t[i].soft)
			return amount_of(&c->t[i].value, capacity);
	return 0;
}
