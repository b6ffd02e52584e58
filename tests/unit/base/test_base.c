/* base/: strings, buffers, arenas, maps, heaps, errors, checksums. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/crc32c.h"
#include "base/err.h"
#include "base/heap.h"
#include "base/histogram.h"
#include "base/list.h"
#include "base/map.h"
#include "base/str.h"
#include "base/util.h"

static void test_str(void **state)
{
	struct str head, tail;
	int64_t i;
	uint64_t u;

	assert_true(str_cut(STR("a/b/c"), '/', &head, &tail));
	assert_true(str_eqc(head, "a") && str_eqc(tail, "b/c"));
	assert_false(str_cut(STR("abc"), '/', &head, &tail));
	assert_true(str_eqc(head, "abc") && tail.n == 0);
	assert_true(str_eqc(str_trim(STR(" \t x y \n")), "x y"));
	assert_true(str_cmp(STR("a"), STR("ab")) < 0 && str_cmp(STR("b"), STR("ab")) > 0);
	assert_int_equal(str_search(STR("hello"), STR("ll")), 2);
	assert_true(str_to_i64(STR("-9223372036854775808"), &i) && i == INT64_MIN);
	assert_false(str_to_i64(STR("9223372036854775808"), &i));
	assert_false(str_to_i64(STR("-"), &i));
	assert_true(str_to_u64(STR("18446744073709551615"), &u) && u == UINT64_MAX);
	assert_false(str_to_u64(STR("18446744073709551616"), &u));
	assert_false(str_to_u64(STR("1x"), &u));
}

static void test_buf(void **state)
{
	struct buf b;
	size_t n;
	char *p;

	buf_init(&b, 10);
	buf_addc(&b, "12345");
	buf_printf(&b, "%d", 67890);
	assert_true(buf_ok(&b));
	buf_add1(&b, 'x');
	assert_false(buf_ok(&b));
	assert_string_equal(b.p, "1234567890");
	buf_clear(&b);
	buf_addc(&b, "abc");
	buf_consume(&b, 1);
	p = buf_take(&b, &n);
	assert_string_equal(p, "bc");
	assert_int_equal(n, 2);
	free(p);
	buf_fini(&b);
}

static int hook_calls;
static void count_hook(void *data)
{
	hook_calls += *(int *)data;
}

/*
 * Blocks that are given back and taken again, of all sizes about those that are kept, far more than are kept: none is in use twice, and each
 * has the room that was asked for. Then what one thread made is freed by another, which ends.
 */
#define N_BLOCKS 2000

static size_t block_size(size_t i)
{
	return i * 7 % 1200;
}

static void *free_half(void *arg)
{
	char **blocks = arg;

	for (size_t i = 0; i < N_BLOCKS; i += 2) {
		xfree(blocks[i]);
		blocks[i] = xmalloc(block_size(i));
		memset(blocks[i], (int)(i % 251), block_size(i));
	}
	return NULL;
}

static void check_blocks(char **blocks)
{
	for (size_t i = 0; i < N_BLOCKS; i++)
		for (size_t k = 0; k < block_size(i); k++)
			assert_int_equal((unsigned char)blocks[i][k], i % 251);
}

static void test_blocks(void **state)
{
	static char *blocks[N_BLOCKS];
	char *zeros;
	pthread_t thread;

	xfree(NULL);
	for (unsigned round = 0; round < 3; round++) {
		for (size_t i = 0; i < N_BLOCKS; i++) {
			blocks[i] = round == 1 ? xcalloc(1, block_size(i)) : xmalloc(block_size(i));
			for (size_t k = 0; round == 1 && k < block_size(i); k++)
				assert_int_equal(blocks[i][k], 0);
			memset(blocks[i], (int)(i % 251), block_size(i));
		}
		check_blocks(blocks);
		assert_int_equal(pthread_create(&thread, NULL, free_half, blocks), 0);
		assert_int_equal(pthread_join(thread, NULL), 0);
		check_blocks(blocks);
		/* Either way, and some in between. */
		for (size_t i = 0; i < N_BLOCKS; i++)
			if (i % 3 == 0)
				free(blocks[i]);
			else
				xfree(blocks[i]);
	}
	zeros = xcalloc(10, 100);
	for (size_t k = 0; k < 1000; k++)
		assert_int_equal(zeros[k], 0);
	xfree(zeros);
}

static void test_arena(void **state)
{
	struct arena a;
	int two = 2;
	char *p;

	arena_init(&a);
	arena_on_free(&a, count_hook, &two);
	for (int i = 0; i < 1000; i++) {
		p = arena_alloc(&a, (size_t)i * 37 % 5000);
		assert_int_equal((uintptr_t)p % 16, 0);
		memset(p, i, (size_t)i * 37 % 5000);
	}
	p = arena_printf(&a, "%s-%d", "x", 7);
	assert_string_equal(p, "x-7");
	p = arena_grow(&a, p, 4, 9000);
	assert_string_equal(p, "x-7");
	arena_fini(&a);
	assert_int_equal(hook_calls, 2);
	assert_int_equal(a.used, 0);
}

static void test_map(void **state)
{
	struct map m = MAP_INIT;
	char key[16];
	size_t n = 0;

	for (uintptr_t i = 1; i <= 5000; i++) {
		snprintf(key, sizeof(key), "k%zu", (size_t)i);
		assert_null(map_put(&m, str_from(key), (void *)i));
	}
	for (uintptr_t i = 1; i <= 5000; i += 2) {
		snprintf(key, sizeof(key), "k%zu", (size_t)i);
		assert_int_equal((uintptr_t)map_del(&m, str_from(key)), i);
	}
	assert_int_equal(map_len(&m), 2500);
	MAP_FOR_EACH (e, &m) {
		assert_int_equal((uintptr_t)e->value % 2, 0);
		n++;
	}
	assert_int_equal(n, 2500);
	assert_null(map_get(&m, STR("k1")));
	assert_int_equal((uintptr_t)map_put(&m, STR("k2"), &n), 2);
	assert_ptr_equal(map_get(&m, STR("k2")), &n);
	/* Churn must not fill the table with graves. */
	for (uintptr_t i = 0; i < 100000; i++) {
		map_put(&m, STR("churn"), &n);
		map_del(&m, STR("churn"));
	}
	assert_true(m.n_slots <= 16384);
	map_fini(&m);
}

static void test_heap(void **state)
{
	struct heap h = HEAP_INIT;
	struct heap_node nodes[200] = {0};
	uint64_t last = 0;

	for (unsigned i = 0; i < 200; i++)
		heap_insert(&h, &nodes[i], (i * 7919u) % 1000u);
	for (unsigned i = 0; i < 200; i += 3)
		heap_remove(&h, &nodes[i]);
	heap_remove(&h, &nodes[0]);
	for (unsigned n = 0; h.n > 0; n++) {
		struct heap_node *min = heap_min(&h);

		assert_true(min->key >= last);
		last = min->key;
		heap_remove(&h, min);
		assert_false(heap_has(min));
	}
	heap_fini(&h);
}

struct item {
	int v;
	struct list link;
};

static void test_list(void **state)
{
	struct list a, b;
	struct item items[4];
	int sum = 0;

	list_init(&a);
	list_init(&b);
	for (int i = 0; i < 4; i++) {
		items[i].v = 1 << i;
		list_add_tail(i < 2 ? &a : &b, &items[i].link);
	}
	list_splice(&a, &b);
	assert_true(list_empty(&b));
	LIST_FOR_EACH_SAFE (it, next, &a, struct item, link) {
		sum = sum * 10 + it->v;
		if (it->v == 2)
			list_del(&it->link);
	}
	assert_int_equal(sum, 1248);
	assert_int_equal(list_len(&a), 3);
	assert_ptr_equal(list_pop(&a), &items[0].link);
}

static void test_err(void **state)
{
	struct err e = ERR_INIT;

	assert_int_equal(err_set(&e, ERR_CONFLICT, "pods \"%s\"", "a"), -ERR_CONFLICT);
	assert_string_equal(e.text, "pods \"a\"");
	err_prefix(&e, "update");
	assert_string_equal(e.text, "update: pods \"a\"");
	assert_int_equal(err_http_status(ERR_CONFLICT), 409);
	assert_string_equal(err_reason(ERR_GONE), "Gone");
	assert_int_equal(err_from_http(404), ERR_NOT_FOUND);
	assert_int_equal(err_set_errno(&e, 2, "open x"), -ERR_NOT_FOUND);
	assert_string_equal(e.text, "open x: No such file or directory");
	assert_int_equal(err_set(NULL, ERR_IO, "x"), -ERR_IO);
}

static void test_crc_and_clock(void **state)
{
	char text[CLOCK_RFC3339_SIZE], uuid[37];

	/* The check value of CRC-32C. */
	assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283u);
	assert_int_equal(crc32c(crc32c(0, "1234", 4), "56789", 5), 0xe3069283u);
	clock_rfc3339(1700000000, text);
	assert_string_equal(text, "2023-11-14T22:13:20Z");
	clock_rfc3339_micro(1700000000, 123456789, text);
	assert_string_equal(text, "2023-11-14T22:13:20.123456Z");
	random_uuid(uuid);
	assert_int_equal(strlen(uuid), 36);
	assert_int_equal(uuid[14], '4');
}

/* Every kind of day, against the C library's calendar. */
static void test_calendar(void **state _unused_)
{
	char text[CLOCK_RFC3339_SIZE], want[CLOCK_RFC3339_SIZE];

	/* Eleven hours and a few seconds apart, from the year 1 to 9999. */
	for (int64_t t = -62135596800; t <= 253402300799; t += 39600 * 97 + 7) {
		time_t at = (time_t)t;
		struct tm tm;
		size_t n;

		gmtime_r(&at, &tm);
		n = (size_t)snprintf(want, sizeof(want), "%04u", (unsigned)(tm.tm_year + 1900) % 10000);
		strftime(want + n, sizeof(want) - n, "-%m-%dT%H:%M:%SZ", &tm);
		clock_rfc3339(t, text);
		assert_string_equal(text, want);
	}
	clock_rfc3339(951782399, text);
	assert_string_equal(text, "2000-02-28T23:59:59Z");
	clock_rfc3339(951782400, text);
	assert_string_equal(text, "2000-02-29T00:00:00Z");
	clock_rfc3339(253402300799, text);
	assert_string_equal(text, "9999-12-31T23:59:59Z");
}

/* No two alike; a child of the process gives other names than its parent would have given. */
static void test_names(void **state _unused_)
{
	char first[37], mine[37], theirs[37] = "";
	int fds[2], status;
	pid_t pid;

	random_uuid(first);
	assert_int_equal(pipe(fds), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		random_uuid(theirs);
		_exit(write(fds[1], theirs, 36) == 36 ? 0 : 1);
	}
	random_uuid(mine);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(read(fds[0], theirs, 36), 36);
	assert_string_not_equal(first, mine);
	assert_string_not_equal(mine, theirs);
	for (int i = 0; i < 1000; i++) {
		random_uuid(theirs);
		assert_string_not_equal(theirs, mine);
	}
	close(fds[0]);
	close(fds[1]);
}

static void test_join(void **state _unused_)
{
	_cleanup_(arena_fini) struct arena a;
	struct buf b = BUF_INIT;
	char *text, room[STR_U64_SIZE];

	arena_init(&a);
	assert_string_equal(ARENA_JOIN(&a, STR("a"), STR(""), STR_NULL, STR("bc")).p, "abc");
	assert_int_equal(arena_join(&a, NULL, 0).n, 0);
	/* Longer than what is printed at once. */
	for (int n = 250; n < 260; n++) {
		text = arena_printf(&a, "%0*d|", n, 7);
		assert_int_equal(strlen(text), n + 1);
		assert_string_equal(text + n - 1, "7|");
		buf_clear(&b);
		buf_printf(&b, "%0*d|", n, 7);
		assert_string_equal(b.p, text);
	}
	buf_fini(&b);
	assert_true(str_eqc(str_u64(0, room), "0"));
	assert_true(str_eqc(str_u64(1234567890, room), "1234567890"));
	assert_true(str_eqc(str_u64(UINT64_MAX, room), "18446744073709551615"));
}

static void test_histogram(void **state _unused_)
{
	struct histogram h;

	histogram_init(&h, 0.001, 3); /* 1, 2, 4 ms, more */
	histogram_add(&h, 0);
	histogram_add(&h, 0.001);
	histogram_add(&h, 0.0015);
	histogram_add(&h, 0.004);
	histogram_add(&h, 7);
	assert_int_equal(histogram_upto(&h, 0), 2);
	assert_int_equal(histogram_upto(&h, 1), 3);
	assert_int_equal(histogram_upto(&h, 2), 4);
	assert_int_equal(histogram_upto(&h, 3), 5);
	assert_true(histogram_bound(&h, 2) == 0.004);
	assert_true(histogram_sum(&h) > 7.0064 && histogram_sum(&h) < 7.0066);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_str),
		cmocka_unit_test(test_buf),
		cmocka_unit_test(test_arena),
		cmocka_unit_test(test_map),
		cmocka_unit_test(test_heap),
		cmocka_unit_test(test_list),
		cmocka_unit_test(test_err),
		cmocka_unit_test(test_crc_and_clock),
		cmocka_unit_test(test_calendar),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_join),
		cmocka_unit_test(test_histogram),
		cmocka_unit_test(test_blocks),
	};
	return cmocka_run_group_tests_name("base", tests, NULL, NULL);
}
