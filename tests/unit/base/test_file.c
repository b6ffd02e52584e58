/* Whole files: what was put is got, in one step, with its mode; what cannot be put leaves nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/file.h"
#include "base/util.h"

static char dir[64], path[128];

static int setup(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/kontiki-file-XXXXXX");
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/f", dir);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	unlink(path);
	rmdir(path);
	return rmdir(dir); /* nothing else may be left */
}

static unsigned mode_of(void)
{
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	return st.st_mode & 07777;
}

static void test_put_and_get(void **state)
{
	char big[10000] = "x";
	struct err e = ERR_INIT;
	struct buf b;
	mode_t was = umask(0077);

	(void)state;
	for (int durable = 0; durable < 2; durable++) {
		assert_int_equal(file_put(path, str_of(big, sizeof(big)), 0644, durable, &e), 0);
		assert_int_equal(mode_of(), 0644);
		assert_int_equal(file_get(path, sizeof(big), &b, &e), 0);
		assert_true(str_eq(buf_str(&b), str_of(big, sizeof(big))));
		buf_fini(&b);
		/* Shorter, and for the owner alone. */
		assert_int_equal(file_put(path, STR("short"), 0600, durable, &e), 0);
		assert_int_equal(mode_of(), 0600);
		assert_int_equal(file_get(path, 5, &b, &e), 0);
		assert_true(str_eqc(buf_str(&b), "short"));
		buf_fini(&b);
	}
	umask(was);
	assert_int_equal(file_put(path, STR_NULL, 0600, true, &e), 0);
	assert_int_equal(file_get(path, 0, &b, &e), 0);
	assert_int_equal(b.n, 0);
	buf_fini(&b);
}

static void test_refused(void **state)
{
	char text[256];
	struct err e = ERR_INIT;
	struct buf b;

	(void)state;
	assert_int_equal(file_get(path, 10, &b, &e), -ERR_NOT_FOUND);
	snprintf(text, sizeof(text), "cannot open %s: No such file or directory", path);
	assert_string_equal(e.text, text);
	buf_fini(&b);
	assert_int_equal(file_put(path, STR("12345"), 0600, false, &e), 0);
	assert_int_equal(file_get(path, 4, &b, &e), -ERR_TOO_LARGE);
	assert_true(str_eqc(buf_str(&b), "1234"));
	buf_fini(&b);
	unlink(path);
	/* A folder cannot be replaced: the new bytes are gone again, the folder is not. */
	assert_int_equal(mkdir(path, 0700), 0);
	assert_true(file_put(path, STR("x"), 0600, false, &e) < 0);
	assert_int_equal(access(path, F_OK), 0);
	snprintf(text, sizeof(text), "%s/none/f", dir);
	assert_int_equal(file_put(text, STR("x"), 0600, false, &e), -ERR_NOT_FOUND);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
			cmocka_unit_test_setup_teardown(test_put_and_get, setup, teardown),
			cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
