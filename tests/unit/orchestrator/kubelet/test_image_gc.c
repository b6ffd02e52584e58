/* When images have to go, which of them, in what order, and which the Node's status names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/util.h"
#include "orchestrator/kubelet/image-gc.h"
#include "orchestrator/kubelet/pbutil.h"
#include "tests/lib/test_arena.h"

#define GI ((int64_t)1 << 30)

static void test_wanted(void **state)
{
	static const struct {
		int high, low;
		int64_t capacity, available, wanted;
		int percent;
	} rows[] = {
		{85, 80, 100 * GI, 16 * GI, 0, 84},
		{85, 80, 100 * GI, 15 * GI, 5 * GI, 85},
		{85, 80, 100 * GI, 0, 20 * GI, 100},
		{85, 80, 100 * GI, 200 * GI, 0, 0},  /* more is free than there is */
		{85, 80, 0, 0, 0, 0},                /* nothing is known of it */
		{100, 80, 100 * GI, 0, 0, 0},        /* never */
		{1, 0, 100 * GI, 40 * GI, 60 * GI, 60},
		{85, 80, INT64_MAX, 0, INT64_MAX / 5, 100}, /* no overflow */
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct image_gc_cfg c = {rows[i].high, rows[i].low, 0};
		int percent;

		assert_int_equal(image_gc_wanted(&c, rows[i].capacity, rows[i].available, &percent), rows[i].wanted);
		assert_int_equal(percent, rows[i].percent);
	}
}

static const char *order(const struct gc_image *im, size_t n, int64_t now)
{
	size_t *at, k = image_gc_order(&a, &(struct image_gc_cfg){85, 80, 1000}, im, n, now, &at);
	const char *text = "";

	for (size_t i = 0; i < k; i++)
		text = arena_printf(&a, "%s%s ", text, im[at[i]].id);
	return text;
}

static void test_order(void **state)
{
	const struct gc_image im[] = {
		{"used-lately", 1, 10, 5000, false, false},
		{"used-before", 1, 10, 4000, false, false},
		{"never-younger", 1, 20, 0, false, false},
		{"never-older", 1, 10, 0, false, false},
		{"pinned", 1, 10, 0, true, false},
		{"in-use", 1, 10, 0, false, true},
		{"new", 1, 9500, 0, false, false},
	};

	(void)state;
	assert_string_equal(order(im, ARRAY_LEN(im), 10000), "never-older never-younger used-before used-lately ");
	assert_string_equal(order(im, ARRAY_LEN(im), 10500), "never-older never-younger new used-before used-lately ");
	assert_string_equal(order(im, 0, 10000), "");
}

static void test_check(void **state)
{
	static const struct {
		struct image_gc_cfg c;
		const char *error;
	} rows[] = {
		{{85, 80, 120000}, ""},
		{{100, 99, 0}, ""},
		{{80, 80, 0}, "--image-gc-low-threshold 80: must be less than --image-gc-high-threshold 80"},
		{{85, 80, -1}, "--minimum-image-ttl-duration: must not be negative"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct err e = ERR_INIT;

		assert_int_equal(image_gc_check(&rows[i].c, &e) == 0, *rows[i].error == '\0');
		assert_string_equal(e.text, rows[i].error);
	}
}

static Runtime__Image *image(const char *id, uint64_t size, size_t n_digests, size_t n_tags)
{
	Runtime__Image *im = PB_NEW(&a, Runtime__Image, runtime__image);

	im->id = id;
	im->size = size;
	for (size_t i = 0; i < n_digests; i++)
		PB_ADD(&a, im, repo_digests, arena_printf(&a, "%s@%zu", id, i));
	for (size_t i = 0; i < n_tags; i++)
		PB_ADD(&a, im, repo_tags, arena_printf(&a, "%s:%zu", id, i));
	return im;
}

static void test_tell(void **state)
{
	Runtime__ListImagesResponse *l = PB_NEW(&a, Runtime__ListImagesResponse, runtime__list_images_response);
	Core__NodeStatus *s = PB_NEW(&a, Core__NodeStatus, core__node_status);

	(void)state;
	image_gc_tell(&a, NULL, s);
	image_gc_tell(&a, l, s);
	assert_int_equal(s->n_images, 0);
	for (uint64_t i = 0; i < 60; i++)
		PB_ADD(&a, l, images, image(arena_printf(&a, "i%02d", (int)i), 1000 + i, 2, 7));
	image_gc_tell(&a, l, s);
	assert_int_equal(s->n_images, 50);
	assert_int_equal(s->images[0]->size_bytes, 1059);
	assert_int_equal(s->images[49]->size_bytes, 1010);
	assert_int_equal(s->images[0]->n_names, 5);
	assert_string_equal(s->images[0]->names[0], "i59@0");
	assert_string_equal(s->images[0]->names[2], "i59:0");
}

static void test_names(void **state)
{
	Runtime__Image *im = image("sha256:1", 1, 1, 1);

	(void)state;
	assert_true(image_is(im, "sha256:1"));
	assert_true(image_is(im, "sha256:1@0"));
	assert_true(image_is(im, "sha256:1:0"));
	assert_false(image_is(im, "sha256:1:1"));
	assert_false(image_is(im, ""));
	assert_false(image_is(im, NULL));
	assert_string_equal(image_gc_size(&a, 1023), "1023 B");
	assert_string_equal(image_gc_size(&a, 28346784973), "26.4 GiB");
	assert_string_equal(image_gc_size(&a, INT64_MAX), "8.0 EiB");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_wanted),
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_check),
		cmocka_unit_test(test_tell),
		cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests(tests, test_arena_init, test_arena_fini);
}
