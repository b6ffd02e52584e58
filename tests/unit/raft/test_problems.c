/* What a person is told about a cluster: kv_problems. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/util.h"
#include "raft/problems.h"

static struct kv_status cluster(size_t voters)
{
	struct kv_status s = {.n_members = voters, .role.leader_id = 1, .commit_index = 100, .store_quota = 100 << 20, .store_used = 1 << 20};

	for (size_t i = 0; i < voters; i++) {
		s.members[i] = (struct kv_member){.id = i + 1, .started = true, .reachable = true, .self = i == 0, .applied_index = 100};
		snprintf(s.members[i].name, sizeof(s.members[i].name), "n%zu", i + 1);
	}
	return s;
}

static void says(const struct kv_status *s, size_t want, const char *text, bool warning)
{
	struct kv_problem p[KV_MAX_PROBLEMS];
	size_t n = kv_problems(s, p), found = 0;

	assert_int_equal(n, want);
	for (size_t i = 0; i < n; i++)
		found += text && strstr(p[i].text, text) && p[i].warning == warning;
	assert_int_equal(found, text ? 1 : 0);
}

static void test_problems(void **state _unused_)
{
	struct kv_status s = cluster(3);

	says(&s, 0, NULL, false);
	s = cluster(1);
	says(&s, 0, NULL, false);
	s = cluster(2);
	says(&s, 1, "quorum is lost when one dies", true);
	s.members[1].reachable = false;
	says(&s, 2, "only 1 of 2", false);
	s = cluster(3);
	s.members[2].reachable = false;
	says(&s, 2, "n3 does not answer", false);
	says(&s, 2, "2 of 3 voting members answer", true);
	s = cluster(3);
	s.role.leader_id = 0;
	says(&s, 1, "no leader", false);
	s = cluster(3);
	s.alarms = KV_ALARM_NOSPACE;
	says(&s, 1, "NOSPACE", false);
	s = cluster(3);
	s.members[0].alarms = KV_ALARM_DISK;
	snprintf(s.disk_error, sizeof(s.disk_error), "it is full");
	says(&s, 2, "n1 has trouble with its disk: it is full", false);
	s = cluster(2);
	s.members[0].alarms = KV_ALARM_DAMAGED;
	snprintf(s.damage, sizeof(s.damage), "the value of key k");
	says(&s, 2, "n1 is damaged: the value of key k: what is damaged is not served; the leader sends it", true);
	s.members[1].reachable = false;
	says(&s, 3, "no other voting member that answers has what it has", false);
	s = cluster(4);
	s.members[3].started = false;
	s.members[3].name[0] = '\0';
	s.members[3].role = KV_LEARNER;
	says(&s, 1, "nobody has come for it", true);
	s = cluster(3);
	s.commit_index = 20000;
	s.members[0].applied_index = s.members[1].applied_index = 20000;
	says(&s, 1, "n3 is 19900 entries behind", true);
	s = cluster(3);
	s.store_used = 90 << 20;
	says(&s, 1, "90 of 100 MiB", true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_problems)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
