/* orchestrator/apiserver/zones.h: which files become time zones, and by which names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "orchestrator/apiserver/zones.h"

static char dir[] = "/tmp/kontiki-zones-XXXXXX";

static const char *at(const char *name)
{
	static char path[256];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return path;
}

static void put(const char *name, const char *data, size_t n)
{
	FILE *f = fopen(at(name), "w");

	assert_non_null(f);
	assert_int_equal(fwrite(data, 1, n, f), n);
	fclose(f);
}

static bool knows(const struct zones *z, const char *name, const char *want)
{
	struct str data = zones_find(z, str_from(name));

	return want ? data.n == strlen(want) && memcmp(data.p, want, data.n) == 0 : data.p == NULL;
}

static void test_load(void **state)
{
	static const char *const dirs[] = {"A", "A/B", "A/B/C", "posix"};
	static char large[(64 << 10) + 1] = "TZif";
	struct zones z;
	char cmd[64];

	(void)state;
	assert_non_null(mkdtemp(dir));
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(mkdir(at(dirs[i]), 0755), 0);
	put("Top", "TZif-top", 8);
	put("A/B/Deep", "TZif-deep", 9);
	put("A/B/C/TooDeep", "TZif-x", 6);
	put("posix/Top", "TZif-x", 6);
	put("zone.tab", "no zone", 7);
	put("Empty", "", 0);
	put(".hidden", "TZif-x", 6);
	put("Large", large, sizeof(large));
	assert_int_equal(symlink("Top", at("Link")), 0);
	assert_int_equal(symlink("nowhere", at("Dangling")), 0);
	/* A link to what holds it: its end is the depth. */
	assert_int_equal(symlink("..", at("A/Loop")), 0);
	zones_load(&z, dir);
	assert_true(knows(&z, "Top", "TZif-top"));
	assert_true(knows(&z, "Link", "TZif-top"));
	assert_true(knows(&z, "A/B/Deep", "TZif-deep"));
	assert_true(knows(&z, "A/B/C/TooDeep", NULL));
	assert_true(knows(&z, "posix/Top", NULL));
	assert_true(knows(&z, "zone.tab", NULL));
	assert_true(knows(&z, "Empty", NULL));
	assert_true(knows(&z, ".hidden", NULL));
	assert_true(knows(&z, "Large", NULL));
	assert_true(knows(&z, "A/../Top", NULL));
	assert_true(knows(&z, "A//B/Deep", NULL));
	assert_true(knows(&z, at("Top"), NULL));
	zones_fini(&z);
	snprintf(cmd, sizeof(cmd), "rm -r %s", dir);
	assert_int_equal(system(cmd), 0);
	zones_load(&z, dir);
	assert_true(knows(&z, "Top", NULL));
	zones_fini(&z);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
			cmocka_unit_test(test_load),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
