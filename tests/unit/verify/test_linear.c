/* The checker of histories, on calls: the good histories pass, each bad one fails for its own reason. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/util.h"
#include "tests/unit/verify/by_hand.h"

/* --- Single keys --------------------------------------------------------------------------------------------------- */

static void test_sequence(void **state _unused_)
{
	put(1, 2, "a", "1", 2);
	get(3, 4, "a", "1", 2, 2, 1, 2);
	put(5, 6, "a", "2", 3);
	get(7, 8, "a", "2", 2, 3, 2, 3);
	del(9, 10, "a", 1, 4);
	get(11, 12, "a", NULL, 0, 0, 0, 4);
	put(13, 14, "a", "3", 5);
	get(15, 16, "a", "3", 5, 5, 1, 5);
	good();
}

static void test_concurrent(void **state _unused_)
{
	/* The read began before the second write ended: both answers are right. */
	put(1, 2, "a", "1", 2);
	put(3, 9, "a", "2", 3);
	get(4, 5, "a", "1", 2, 2, 1, 2);
	get(4, 6, "a", "2", 2, 3, 2, 3);
	good();
}

static void test_stale_read(void **state _unused_)
{
	put(1, 2, "a", "1", 2);
	put(3, 4, "a", "2", 3);
	get(5, 6, "a", "1", 2, 2, 1, 2);
	bad("stale read");
}

static void test_stale_read_after_read(void **state _unused_)
{
	put(1, 2, "a", "1", 2);
	put(3, 0, "a", "2", 0);
	get(4, 5, "a", "2", 2, 3, 2, 3);
	get(6, 7, "a", "1", 2, 2, 1, 2);
	bad("stale read");
}

static void test_serializable(void **state _unused_)
{
	put(1, 2, "a", "1", 2);
	put(3, 4, "a", "2", 3);
	get(5, 6, "a", "1", 2, 2, 1, 2)->serializable = true;
	good();
}

static void test_serializable_must_be_a_state(void **state _unused_)
{
	put(1, 2, "a", "1", 2);
	put(3, 4, "a", "2", 3);
	get(5, 6, "a", "2", 2, 3, 2, 2)->serializable = true;
	bad("wrong answer");
}

static void test_lost_write(void **state _unused_)
{
	put(1, 2, "a", "1", 2);
	put(3, 4, "a", "2", 3);
	put(5, 6, "b", "3", 4);
	get(7, 8, "a", "1", 2, 2, 1, 4);
	bad("wrong answer");
}

static void test_same_revision_twice(void **state _unused_)
{
	put(1, 2, "a", "1", 2);
	put(1, 2, "b", "2", 2);
	bad("two writes");
}

static void test_revision_back(void **state _unused_)
{
	put(1, 2, "a", "1", 3);
	put(3, 4, "b", "2", 2);
	bad("order of writes");
}

static void test_unexplained(void **state _unused_)
{
	put(1, 2, "a", "1", 2);
	put(3, 4, "a", "2", 4);
	bad("made by no call");
}

static void test_shared(void **state _unused_)
{
	history_shared(h, true);
	put(1, 2, "a", "1", 2);
	put(3, 4, "a", "2", 9);
	get(5, 6, "a", "2", 2, 9, 2, 12);
	good();
}

static void test_start(void **state _unused_)
{
	history_start(h, 100);
	put(1, 2, "a", "1", 101);
	good();
}

static void test_deleted_count(void **state _unused_)
{
	put(1, 2, "a", "1", 2);
	del(3, 4, "a", 1, 3);
	del(5, 6, "a", 1, 4);
	bad("deleted 1 keys");
}

/* --- Outcomes ------------------------------------------------------------------------------------------------------ */

static void test_unknown_happened(void **state _unused_)
{
	put(1, 2, "a", "1", 2);
	put(3, 0, "a", "2", 0);
	put(4, 0, "b", "9", 0);
	put(5, 6, "a", "3", 4);
	get(7, 8, "a", "3", 2, 4, 3, 4);
	good();
}

static void test_unknown_did_not_happen(void **state _unused_)
{
	put(1, 2, "a", "1", 2);
	put(3, 0, "a", "2", 0);
	put(5, 6, "a", "3", 3);
	get(7, 8, "a", "3", 2, 3, 2, 3);
	good();
}

/* Which of two it was shows only later: the first guess must be taken back. */
static void test_unknown_guess(void **state _unused_)
{
	put(1, 0, "a", "1", 0);
	put(1, 0, "b", "1", 0);
	put(3, 4, "c", "2", 3);
	put(5, 6, "c", "3", 4);
	get(7, 8, "a", NULL, 0, 0, 0, 4);
	put(9, 10, "b", "4", 5);
	get(11, 12, "b", "4", 2, 5, 2, 5);
	good();
}

static void test_unknown_once(void **state _unused_)
{
	put(1, 0, "a", "1", 0);
	put(3, 4, "b", "2", 3);
	put(5, 6, "b", "3", 5);
	bad("made by no call");
}

static void test_unknown_not_before_it_began(void **state _unused_)
{
	put(1, 2, "b", "2", 3);
	put(5, 0, "a", "1", 0);
	bad("made by no call");
}

static void test_failed_is_seen(void **state _unused_)
{
	put(1, 2, "a", "1", 2);
	put(3, 4, "a", "2", 0)->outcome = HIST_FAILED;
	get(5, 6, "a", "2", 2, 3, 2, 3);
	bad("has the write of");
}

static void test_failed_with_revision(void **state _unused_)
{
	put(1, 2, "a", "1", 2);
	put(3, 4, "a", "2", 0)->outcome = HIST_FAILED;
	put(5, 6, "a", "3", 4);
	bad("made by no call");
}

static void test_known(void **state _unused_)
{
	struct hist_event e = {.kv = {.key = STR("a"), .value = STR("2"), .mod = 3}};

	put(1, 2, "a", "1", 2);
	put(3, 4, "a", "2", 3);
	history_evidence(h, &e);
	history_evidence(h, &(struct hist_event){.kv = {.key = STR("a"), .value = STR("1"), .mod = 2}});
	history_known(h, 2, 4);
	put(3, 0, "a", "3", 0);
	bad("no change was seen there");
}

static void test_contradiction(void **state _unused_)
{
	put(1, 2, "a", "1", 2);
	history_evidence(h, &(struct hist_event){.kv = {.key = STR("a"), .value = STR("7"), .mod = 2}});
	bad("others saw");
}

static void test_two_histories(void **state _unused_)
{
	history_evidence(h, &(struct hist_event){.kv = {.key = STR("a"), .value = STR("7"), .mod = 2}});
	history_evidence(h, &(struct hist_event){.kv = {.key = STR("a"), .value = STR("8"), .mod = 2}});
	bad("two different changes");
}

/* --- Transactions -------------------------------------------------------------------------------------------------- */

static struct hist_call *cas(unsigned from, unsigned to, const char *key, int64_t mod, const char *value, bool succeeded,
			     int64_t header)
{
	struct hist_call *c = put(from, to, key, value, header);

	c->compares = arena_new_of(history_arena(h), struct hist_compare);
	c->n_compares = 1;
	*c->compares = (struct hist_compare){.key = str_from(key), .target = HIST_MOD, .number = mod};
	c->succeeded = succeeded;
	return c;
}

static void test_cas(void **state _unused_)
{
	cas(1, 2, "a", 0, "1", true, 2);
	cas(3, 4, "a", 0, "2", false, 2);
	cas(3, 4, "a", 2, "3", true, 3);
	cas(5, 0, "a", 2, "4", true, 0);
	get(6, 7, "a", "3", 2, 3, 2, 3);
	good();
}

static void test_cas_lost_update(void **state _unused_)
{
	cas(1, 2, "a", 0, "1", true, 2);
	cas(3, 6, "a", 2, "2", true, 3);
	cas(3, 6, "a", 2, "3", true, 4);
	bad("its compares");
}

static void test_cas_wrong_refusal(void **state _unused_)
{
	cas(1, 2, "a", 0, "1", true, 2);
	cas(3, 4, "a", 2, "2", false, 2);
	bad("its compares");
}

static struct hist_op *all(unsigned from, unsigned to, int64_t header)
{
	struct hist_op *op = one(call(HIST_TXN, from, to, header), HIST_RANGE, "a");

	op->end = str_from("z");
	return op;
}

static void test_txn_whole(void **state _unused_)
{
	struct hist_op *op;

	both(1, 2, "1", 2);
	both(3, 0, "2", 0);
	op = all(5, 6, 3);
	shows(op, kv("a", "2", 2, 3, 2));
	shows(op, kv("b", "2", 2, 3, 2));
	good();
}

static void test_txn_torn(void **state _unused_)
{
	struct hist_op *op;

	both(1, 2, "1", 2);
	both(3, 9, "2", 3);
	op = all(5, 6, 3);
	shows(op, kv("a", "2", 2, 3, 2));
	shows(op, kv("b", "1", 2, 2, 1));
	bad("wrong answer");
}

static void test_range_misses(void **state _unused_)
{
	both(1, 2, "1", 2);
	shows(all(5, 6, 2), kv("a", "1", 2, 2, 1));
	bad("does not show b");
}

/* --- Old revisions, compaction ------------------------------------------------------------------------------------- */

static void test_old_revision(void **state _unused_)
{
	put(1, 2, "a", "1", 2);
	put(3, 4, "a", "2", 3);
	get(5, 6, "a", "1", 2, 2, 1, 3)->then->revision = 2;
	good();
}

static void test_old_revision_wrong(void **state _unused_)
{
	put(1, 2, "a", "1", 2);
	put(3, 4, "a", "2", 3);
	get(5, 6, "a", "2", 2, 3, 2, 3)->then->revision = 2;
	bad("old revision");
}

static void test_compacted(void **state _unused_)
{
	struct hist_call *c;

	put(1, 2, "a", "1", 2);
	put(3, 4, "a", "2", 3);
	call(HIST_COMPACT, 5, 6, 3)->revision = 3;
	c = get(7, 8, "a", NULL, 0, 0, 0, 0);
	c->then->revision = 2;
	c->outcome = HIST_COMPACTED;
	good();
}

static void test_compacted_for_no_reason(void **state _unused_)
{
	struct hist_call *c;

	put(1, 2, "a", "1", 2);
	put(3, 4, "a", "2", 3);
	c = get(7, 8, "a", NULL, 0, 0, 0, 0);
	c->then->revision = 2;
	c->outcome = HIST_COMPACTED;
	bad("nobody had asked for");
}

static void test_answered_though_compacted(void **state _unused_)
{
	put(1, 2, "a", "1", 2);
	put(3, 4, "a", "2", 3);
	call(HIST_COMPACT, 5, 6, 3)->revision = 3;
	get(7, 8, "a", "1", 2, 2, 1, 3)->then->revision = 2;
	bad("was compacted before");
}

/* --- Leases -------------------------------------------------------------------------------------------------------- */

static void test_revoked(void **state _unused_)
{
	grant(1, 2, 10);
	put(3, 4, "a", "1", 2)->then->lease = 7;
	put(5, 6, "b", "1", 3)->then->lease = 7;
	call(HIST_REVOKE, 7, 8, 4)->lease = 7;
	all(9, 10, 4);
	good();
}

static void test_revoked_half(void **state _unused_)
{
	struct hist_kv b = kv("b", "1", 3, 3, 1);

	grant(1, 2, 10);
	b.lease = 7;
	put(3, 4, "a", "1", 2)->then->lease = 7;
	put(5, 6, "b", "1", 3)->then->lease = 7;
	call(HIST_REVOKE, 7, 8, 4)->lease = 7;
	shows(all(9, 10, 4), b);
	bad("is not there");
}

static void test_expired(void **state _unused_)
{
	grant(1, 2, 3);
	put(3, 4, "a", "1", 2)->then->lease = 7;
	get(3500, 3501, "a", NULL, 0, 0, 0, 3);
	good();
}

static void test_expired_early(void **state _unused_)
{
	struct hist_call *c;

	grant(1, 2, 3);
	put(3, 4, "a", "1", 2)->then->lease = 7;
	c = call(HIST_RENEW, 2000, 2001, 0);
	c->lease = 7;
	c->ttl = 3;
	get(3500, 3501, "a", NULL, 0, 0, 0, 3);
	bad("before its time was over");
}

static void test_put_after_end(void **state _unused_)
{
	grant(1, 2, 3);
	put(3, 4, "a", "1", 2)->then->lease = 7;
	get(3500, 3501, "a", NULL, 0, 0, 0, 3);
	put(3502, 3503, "a", "2", 4)->then->lease = 7;
	bad("which had ended");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(sequence), T(concurrent), T(stale_read), T(stale_read_after_read), T(serializable),
		T(serializable_must_be_a_state), T(lost_write), T(same_revision_twice), T(revision_back), T(unexplained),
		T(shared), T(start), T(deleted_count), T(unknown_happened), T(unknown_did_not_happen), T(unknown_guess),
		T(unknown_once), T(unknown_not_before_it_began), T(failed_is_seen), T(failed_with_revision), T(known),
		T(contradiction), T(two_histories), T(cas), T(cas_lost_update), T(cas_wrong_refusal), T(txn_whole),
		T(txn_torn), T(range_misses), T(old_revision), T(old_revision_wrong), T(compacted),
		T(compacted_for_no_reason), T(answered_though_compacted), T(revoked), T(revoked_half), T(expired),
		T(expired_early), T(put_after_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
