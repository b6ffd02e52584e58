/* Thresholds as flags say them, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/util.h"
#include "orchestrator/kubelet/eviction-config.h"

/* "nodefs.available<10% soft 60000+5": percentages in thousandths. */
static const char *dump(const struct eviction_cfg *c)
{
	static struct buf b;

	buf_fini(&b);
	buf_init(&b, BUF_NO_LIMIT);
	for (size_t i = 0; i < c->n; i++) {
		const struct threshold *t = &c->t[i];

		buf_printf(&b, "%s%s<", i ? " " : "", signal_name(t->signal));
		if (t->value.fraction > 0)
			buf_printf(&b, "%d%%", (int)(t->value.fraction * 100000 + 0.5f) / 1000);
		else
			buf_printf(&b, "%lld", (long long)t->value.value);
		if (t->soft)
			buf_printf(&b, "/%lld", (long long)t->grace_ms);
		if (t->reclaim.fraction > 0 || t->reclaim.value)
			buf_printf(&b, "+%lld", (long long)amount_of(&t->reclaim, 1000));
	}
	return b.p ? b.p : "";
}

static void test_parse(void **state)
{
	static const struct {
		struct eviction_flags f;
		const char *is;
	} rows[] = {
		{{0}, "memory.available<104857600 nodefs.available<10% nodefs.inodesFree<5% imagefs.available<15% imagefs.inodesFree<5%"},
		/* What is given replaces all of the defaults. */
		{{.hard = "memory.available<1Gi"}, "memory.available<1073741824"},
		{{.hard = " nodefs.available < 10% , pid.available<100,"}, "nodefs.available<10% pid.available<100"},
		{{.hard = "memory.available<0%,nodefs.available<100%"}, ""},
		{{.hard = ""}, ""},
		{{.hard = "", .soft = "memory.available<2Gi", .soft_grace = "memory.available=1m30s"}, "memory.available<2147483648/90000"},
		{{.hard = "nodefs.available<5", .minimum_reclaim = "nodefs.available=10%"}, "nodefs.available<5+100"},
		{{.hard = "nodefs.available<5", .minimum_reclaim = "nodefs.available=7"}, "nodefs.available<5+7"},
		{{.hard = "nodefs.available<5", .minimum_reclaim = "imagefs.available=7"}, "nodefs.available<5"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct eviction_cfg c;
		struct err e = ERR_INIT;

		assert_int_equal(eviction_config(&rows[i].f, &c, &e), 0);
		assert_string_equal(dump(&c), rows[i].is);
		assert_int_equal(c.transition_ms, 300000);
	}
}

static void test_refused(void **state)
{
	static const struct {
		struct eviction_flags f;
		const char *error;
	} rows[] = {
		{{.hard = "memory.available"}, "--eviction-hard: \"memory.available\": give SIGNAL<VALUE"},
		{{.hard = "memory.free<1Gi"}, "--eviction-hard: unsupported eviction signal memory.free"},
		{{.hard = "memory.available<lots"}, "--eviction-hard: \"lots\": quantities must match"},
		{{.hard = "memory.available<-1"}, "--eviction-hard: \"-1\" must be positive"},
		{{.hard = "memory.available<0"}, "--eviction-hard: \"0\" must be positive"},
		{{.hard = "memory.available<101%"}, "--eviction-hard: \"101%\" is no percentage from 0% to 100%"},
		{{.hard = "memory.available<%"}, "--eviction-hard: \"%\" is no percentage"},
		{{.hard = "memory.available<nan%"}, "--eviction-hard: \"nan%\" is no percentage"},
		{{.hard = "memory.available<1e1%"}, "--eviction-hard: \"1e1%\" is no percentage"},
		{{.hard = "pid.available<1,pid.available<2"}, "--eviction-hard: pid.available is given twice"},
		{{.soft = "pid.available<1"}, "--eviction-soft-grace-period: must be given for the soft eviction threshold pid.available"},
		{{.soft = "pid.available<1", .soft_grace = "pid.available=-1s"}, "--eviction-soft-grace-period: \"-1s\": give a positive duration"},
		{{.minimum_reclaim = "pid.available<1"}, "--eviction-minimum-reclaim: \"pid.available<1\": give SIGNAL=VALUE"},
		{{.transition = "soon"}, "--eviction-pressure-transition-period \"soon\": give a duration"},
		{{.max_pod_grace_s = -1}, "--eviction-max-pod-grace-period: must not be negative"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct eviction_cfg c;
		struct err e = ERR_INIT;

		assert_int_equal(eviction_config(&rows[i].f, &c, &e), -ERR_BAD_REQUEST);
		if (strncmp(e.text, rows[i].error, strlen(rows[i].error)) != 0)
			assert_string_equal(e.text, rows[i].error);
	}
}

/* As upstream, which keeps percentages as floats: its messages have such numbers. */
static void test_amounts(void **state)
{
	struct eviction_cfg c;

	(void)state;
	eviction_defaults(&c);
	assert_int_equal(eviction_reserve(&c, SIG_MEMORY, 1000), 104857600);
	assert_int_equal(eviction_reserve(&c, SIG_PID, 1000), 0);
	assert_int_equal(eviction_reserve(&c, SIG_NODEFS, 469934917870), 46993492487);
	assert_int_equal(amount_of(&(struct amount){0.05f, 0}, 1000000), 50000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_amounts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
