/* proto/patch.h: the three kinds of patch, and making them; random objects for the laws that
 * patches obey. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/util.h"
#include "proto/patch.h"
#include "proto/schema.h"
#include "tests/lib/json_words.h"

static struct arena arena;

static struct json *parse(const char *text)
{
	return json_must(&arena, str_from(text));
}

static void check_equal(const struct json *got, const char *want)
{
	if (!json_equal(got, parse(want)))
		fail_msg("got  %s\nwant %s", json_text(&arena, got).p, want);
}

/* The order of lists counts, that of members does not; `want` NULL: an error with this text. */
struct row {
	const char *doc, *patch, *want, *error;
};

static void test_json_patch(void **state)
{
	static const struct row rows[] = {
		{"{\"a\":1}",
			"[{\"op\":\"add\",\"path\":\"/"
			"b\",\"value\":[1]},{\"op\":\"add\",\"path\":\"/b/-\",\"value\":2}]",
			"{\"a\":1,\"b\":[1,2]}", NULL},
		{"{\"a\":[1,2,3]}",
			"[{\"op\":\"remove\",\"path\":\"/a/1\"},{\"op\":\"add\",\"path\":\"/a/"
			"0\",\"value\":0}]",
			"{\"a\":[0,1,3]}", NULL},
		{"{\"a\":[1,2,3]}", "[{\"op\":\"replace\",\"path\":\"/a/-1\",\"value\":9}]",
			"{\"a\":[1,2,9]}", NULL},
		{"{\"a/b\":1,\"m~n\":2}",
			"[{\"op\":\"remove\",\"path\":\"/a~1b\"},{\"op\":\"test\",\"path\":\"/"
			"m~0n\",\"value\":2}]",
			"{\"m~n\":2}", NULL},
		{"{\"a\":{\"b\":1}}",
			"[{\"op\":\"move\",\"from\":\"/a/b\",\"path\":\"/"
			"c\"},{\"op\":\"copy\",\"from\":\"/c\",\"path\":\"/a/d\"}]",
			"{\"a\":{\"d\":1},\"c\":1}", NULL},
		{"{\"a\":1}", "[{\"op\":\"replace\",\"path\":\"\",\"value\":{\"b\":2}}]",
			"{\"b\":2}", NULL},
		{"{\"a\":1}", "[{\"op\":\"replace\",\"path\":\"/b\",\"value\":1}]", NULL,
			"replace operation does not apply: doc is missing key: /b: missing value"},
		{"{\"a\":1}", "[{\"op\":\"add\",\"path\":\"/x/y\",\"value\":1}]", NULL,
			"add operation does not apply: doc is missing path: \"/x/y\": missing "
			"value"},
		{"{\"a\":1}", "[{\"op\":\"test\",\"path\":\"/a\",\"value\":2}]", NULL,
			"testing value /a failed: test failed"},
		{"{\"a\":1}", "[{\"op\":\"jump\",\"path\":\"/a\"}]", NULL, "Unexpected kind: jump"},
		{"{\"a\":[1]}", "[{\"op\":\"add\",\"path\":\"/a/2\",\"value\":1}]", NULL,
			"error in add for path: '/a/2': Unable to access invalid index: 2: invalid index referenced"},
		{"{\"a\":[1]}", "[{\"op\":\"remove\",\"path\":\"/a/x\"}]", NULL,
			"error in remove for path: '/a/x': strconv.Atoi: parsing \"x\": invalid syntax"},
		{"{\"a\":[1]}", "[{\"op\":\"add\",\"path\":\"/a/x\",\"value\":1}]", NULL,
			"error in add for path: '/a/x': value was not a proper array index: 'x': strconv.Atoi: parsing \"x\": invalid syntax"},
		{"{\"a\":{}}", "[{\"op\":\"remove\",\"path\":\"/a/b\"}]", NULL,
			"error in remove for path: '/a/b': Unable to remove nonexistent key: b: missing value"},
		{"{\"a\":{}}", "[{\"op\":\"move\",\"from\":\"/a/b\",\"path\":\"/c\"}]", NULL,
			"error in move for path: 'b': Unable to remove nonexistent key: b: missing value"},
		{"{\"a\":{}}", "[{\"op\":\"move\",\"from\":\"/x/b\",\"path\":\"/c\"}]", NULL,
			"move operation does not apply: doc is missing from path: /x/b: missing value"},
		{"{\"a\":{}}", "[{\"op\":\"copy\",\"from\":\"/a\",\"path\":\"/x/c\"}]", NULL,
			"copy operation does not apply: doc is missing destination path: /x/c: missing value"},
		{"{}", "[{\"op\":\"add\",\"value\":1}]", NULL, "add operation failed to decode path: missing value"},
		{"{}", "[{\"op\":\"move\",\"path\":\"/a\"}]", NULL,
			"move operation failed to decode from: operation missing from field: missing value"},
		{"{}", "{}", NULL, "a JSON patch must be an array of operations"},
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct json *doc = parse(rows[i].doc), *out;
		struct err e = ERR_INIT;
		int rc = patch_json(&arena, doc, parse(rows[i].patch), &out, &e);

		if (rows[i].want) {
			assert_int_equal(rc, 0);
			check_equal(out, rows[i].want);
		} else {
			assert_true(rc < 0);
			assert_string_equal(e.text, rows[i].error);
		}
		check_equal(doc, rows[i].doc);
	}
}

/* Copies into itself grow without end; both size and depth are bounded. */
static void test_json_patch_bomb(void **state)
{
	struct json *ops = json_new_array(&arena), *out;
	struct err e = ERR_INIT;

	for (int i = 0; i < 600; i++)
		json_push(
			&arena, ops, parse("{\"op\":\"copy\",\"from\":\"/a\",\"path\":\"/a/b\"}"));
	assert_true(patch_json(&arena, parse("{\"a\":{\"x\":1}}"), ops, &out, &e) < 0);
}

static void test_merge(void **state)
{
	check_equal(patch_merge(&arena, parse("{\"a\":{\"b\":1,\"c\":2},\"d\":[1]}"),
			    parse("{\"a\":{\"b\":null,\"e\":{\"f\":null,\"g\":1}},\"d\":[2]}")),
		"{\"a\":{\"c\":2,\"e\":{\"g\":1}},\"d\":[2]}");
	check_equal(patch_make_merge(&arena, parse("{\"a\":{\"b\":1,\"c\":2},\"d\":1}"),
			    parse("{\"a\":{\"b\":1,\"x\":3}}")),
		"{\"a\":{\"c\":null,\"x\":3},\"d\":null}");
}

static void test_strategic(void **state)
{
	static const struct row rows[] = {
		/* New elements come before those of the document. */
		{"{\"spec\":{\"containers\":[{\"name\":\"a\",\"image\":\"1\",\"args\":[\"x\"]}]}}",
			"{\"spec\":{\"containers\":[{\"name\":\"b\",\"image\":\"2\"},{\"name\":"
			"\"a\",\"args\":[\"y\",\"z\"]}]}}",
			"{\"spec\":{\"containers\":[{\"name\":\"b\",\"image\":\"2\"},{\"name\":"
			"\"a\",\"image\":\"1\",\"args\":[\"y\",\"z\"]}]}}",
			NULL},
		{"{\"spec\":{\"containers\":[{\"name\":\"a\"},{\"name\":\"b\"},{\"name\":\"c\"}]}}",
			"{\"spec\":{\"containers\":[{\"name\":\"b\",\"$patch\":\"delete\"}]}}",
			"{\"spec\":{\"containers\":[{\"name\":\"a\"},{\"name\":\"c\"}]}}", NULL},
		{"{\"spec\":{\"containers\":[{\"name\":\"a\"},{\"name\":\"b\"}]}}",
			"{\"spec\":{\"containers\":[{\"name\":\"z\",\"image\":null},{\"$patch\":"
			"\"replace\"}]}}",
			"{\"spec\":{\"containers\":[{\"name\":\"z\"}]}}", NULL},
		{"{\"spec\":{\"containers\":[{\"name\":\"a\"},{\"name\":\"b\"},{\"name\":\"c\"}]}}",
			"{\"spec\":{\"$setElementOrder/"
			"containers\":[{\"name\":\"c\"},{\"name\":\"n\"},{\"name\":\"a\"}],"
			"\"containers\":[{\"name\":\"n\",\"image\":\"i\"}]}}",
			"{\"spec\":{\"containers\":[{\"name\":\"b\"},{\"name\":\"c\"},{\"name\":"
			"\"n\",\"image\":\"i\"},{\"name\":\"a\"}]}}",
			NULL},
		{"{\"spec\":{\"nodeSelector\":{\"a\":\"1\",\"b\":\"2\"}}}",
			"{\"spec\":{\"nodeSelector\":{\"$patch\":\"replace\",\"c\":\"3\"}}}",
			"{\"spec\":{\"nodeSelector\":{\"c\":\"3\"}}}", NULL},
		{"{\"spec\":{\"nodeSelector\":{\"a\":\"1\"}}}",
			"{\"spec\":{\"nodeSelector\":{\"$patch\":\"delete\"}}}",
			"{\"spec\":{\"nodeSelector\":{}}}", NULL},
		{"{\"metadata\":{\"finalizers\":[\"a\",\"b\"]}}",
			"{\"metadata\":{\"finalizers\":[\"c\",\"a\"],\"$deleteFromPrimitiveList/"
			"finalizers\":[\"b\"]}}",
			"{\"metadata\":{\"finalizers\":[\"c\",\"a\"]}}", NULL},
		{"{\"spec\":{\"volumes\":[{\"name\":\"v\",\"emptyDir\":{}}]}}",
			"{\"spec\":{\"volumes\":[{\"name\":\"v\",\"$retainKeys\":[\"name\","
			"\"hostPath\"],\"hostPath\":{\"path\":\"/x\"}}]}}",
			"{\"spec\":{\"volumes\":[{\"name\":\"v\",\"hostPath\":{\"path\":\"/"
			"x\"}}]}}",
			NULL},
		{"{\"metadata\":{\"labels\":{\"a\":\"1\"}}}",
			"{\"metadata\":{\"labels\":{\"a\":null,\"b\":\"2\"}}}",
			"{\"metadata\":{\"labels\":{\"b\":\"2\"}}}", NULL},
		{"{\"spec\":{\"tolerations\":[{\"key\":\"a\"}]}}",
			"{\"spec\":{\"tolerations\":[{\"key\":\"b\"}]}}",
			"{\"spec\":{\"tolerations\":[{\"key\":\"b\"}]}}", NULL},
		{"{\"spec\":{\"containers\":[{\"name\":\"a\"}]}}",
			"{\"spec\":{\"containers\":[{\"image\":\"x\"}]}}", NULL,
			"map: map[image:x] does not contain declared merge key: name"},
		/* An order that the patch's own list contradicts, or does not have all of. */
		{"{\"spec\":{\"containers\":[{\"name\":\"a\"}]}}",
			"{\"spec\":{\"$setElementOrder/containers\":[{\"name\":\"a\"},{\"name\":\"b\"}],"
			"\"containers\":[{\"name\":\"b\",\"image\":\"i\"},{\"name\":\"a\"}]}}",
			NULL,
			"The order in patch list:\n[map[image:i name:b] map[name:a]]\n doesn't match "
			"$setElementOrder list:\n[map[name:a] map[name:b]]\n"},
		{"{\"metadata\":{\"finalizers\":[\"x\"]}}",
			"{\"metadata\":{\"$setElementOrder/finalizers\":[\"x\"],\"finalizers\":[\"x\",\"y\"]}}",
			NULL, "The order in patch list:\n[x y]\n doesn't match $setElementOrder list:\n[x]\n"},
		/* What is deleted need not be named. */
		{"{\"spec\":{\"containers\":[{\"name\":\"a\"},{\"name\":\"b\"}]}}",
			"{\"spec\":{\"$setElementOrder/containers\":[{\"name\":\"b\"}],"
			"\"containers\":[{\"name\":\"a\",\"$patch\":\"delete\"},{\"name\":\"b\"}]}}",
			"{\"spec\":{\"containers\":[{\"name\":\"b\"}]}}", NULL},
		{"{\"spec\":{}}", "{\"spec\":{\"$patch\":\"frob\"}}", NULL,
			"unknown patch type found: frob"},
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct json *doc = parse(rows[i].doc), *out;
		struct err e = ERR_INIT;
		int rc = patch_strategic(&arena, schema_type_find("core.v1.Pod"), doc,
			parse(rows[i].patch), &out, &e);

		if (rows[i].want) {
			assert_string_equal(e.text, "");
			check_equal(out, rows[i].want);
		} else {
			assert_true(rc < 0);
			assert_string_equal(e.text, rows[i].error);
		}
		check_equal(doc, rows[i].doc);
	}
}

static void test_three_way(void **state)
{
	const struct schema_type *t = schema_type_find("apps.v1.Deployment");
	struct json *original =
		parse("{\"metadata\":{\"labels\":{\"a\":\"1\",\"b\":\"2\"}},\"spec\":{\"replicas\":"
		      "2,\"template\":{\"spec\":{\"containers\":["
		      "{\"name\":\"x\",\"image\":\"1\"},{\"name\":\"y\",\"image\":\"1\"}]}}}}");
	struct json *live =
		parse("{\"metadata\":{\"labels\":{\"a\":\"1\",\"b\":\"2\",\"live\":\"y\"}},"
		      "\"spec\":{\"replicas\":5,\"paused\":true,\"template\":{\"spec\":{"
		      "\"containers\":[{\"name\":\"x\",\"image\":\"1\",\"imagePullPolicy\":"
		      "\"Always\"},{\"name\":\"y\",\"image\":\"1\"},"
		      "{\"name\":\"side\",\"image\":\"s\"}]}}}}");
	struct json *modified =
		parse("{\"metadata\":{\"labels\":{\"a\":\"9\"},\"creationTimestamp\":null},"
		      "\"spec\":{\"template\":{\"spec\":{\"containers\":["
		      "{\"name\":\"x\",\"image\":\"2\"}]}}}}");
	struct json *patch, *out;
	struct err e = ERR_INIT;

	assert_int_equal(patch_make_three_way(&arena, t, original, modified, live, &patch, &e), 0);
	check_equal(patch, "{\"metadata\":{\"labels\":{\"a\":\"9\",\"b\":null}},\"spec\":{"
			   "\"replicas\":null,\"template\":{\"spec\":{"
			   "\"$setElementOrder/"
			   "containers\":[{\"name\":\"x\"}],\"containers\":[{\"name\":\"x\","
			   "\"image\":\"2\"},{\"name\":\"y\",\"$patch\":\"delete\"}]}}}}");
	assert_int_equal(patch_strategic(&arena, t, live, patch, &out, &e), 0);
	check_equal(out, "{\"metadata\":{\"labels\":{\"a\":\"9\",\"live\":\"y\"}},\"spec\":{"
			 "\"paused\":true,\"template\":{\"spec\":{"
			 "\"containers\":[{\"name\":\"x\",\"image\":\"2\",\"imagePullPolicy\":"
			 "\"Always\"},{\"name\":\"side\",\"image\":\"s\"}]}}}}");
	assert_int_equal(patch_make_three_way(&arena, t, modified, modified, out, &patch, &e), 0);
	check_equal(patch, "{}");
	assert_int_equal(
		patch_make_three_way(&arena, NULL, parse("{\"a\":1,\"b\":1}"), parse("{\"b\":2}"),
			parse("{\"a\":1,\"b\":1,\"c\":3}"), &patch, &e),
		0);
	check_equal(patch, "{\"a\":null,\"b\":2}");
}

/* ---- laws ---- */

static unsigned seed;

static unsigned rnd(unsigned n)
{
	seed = seed * 1103515245u + 12345u;
	return (seed >> 16) % n;
}

static struct json *random_map(void)
{
	struct json *j = json_new_object(&arena);

	for (unsigned i = rnd(4); i > 0; i--)
		json_setc(&arena, j, (const char *const[]){"a", "b/c", "d~e", "f~1"}[rnd(4)],
			json_newf(&arena, "%u", rnd(3)));
	return j;
}

/* A list with distinct ids in random order. */
static struct json *random_list(const char *key, struct json *(*make)(void))
{
	struct json *list = json_new_array(&arena);

	for (unsigned taken = 0, i = rnd(4); i > 0; i--) {
		unsigned id = rnd(5);
		struct json *v;

		if (taken & 1u << id)
			continue;
		taken |= 1u << id;
		v = key ? make() : json_newf(&arena, "f%u", id);
		if (key)
			json_setc(&arena, v, key, json_newf(&arena, "n%u", id));
		json_push(&arena, list, v);
	}
	return list;
}

static struct json *random_env(void)
{
	struct json *j = json_new_object(&arena);

	json_setc(&arena, j, "value", json_newf(&arena, "%u", rnd(3)));
	return j;
}

static struct json *random_container(void)
{
	struct json *j = json_new_object(&arena);

	if (rnd(2))
		json_setc(&arena, j, "image", json_newf(&arena, "i%u", rnd(3)));
	if (rnd(2))
		json_setc(&arena, j, "env", random_list("name", random_env));
	if (rnd(2))
		json_setc(&arena, j, "args", random_list(NULL, NULL));
	return j;
}

static struct json *random_volume(void)
{
	struct json *j = json_new_object(&arena);

	json_setp(&arena, j,
		(const char *const[]){"emptyDir.medium", "hostPath.path", "configMap.name"}[rnd(3)],
		json_newf(&arena, "%u", rnd(3)));
	return j;
}

static struct json *random_pod(void)
{
	struct json *j = json_new_object(&arena);

	if (rnd(3))
		json_setp(&arena, j, "metadata.labels", random_map());
	if (rnd(3))
		json_setp(&arena, j, "metadata.finalizers", random_list(NULL, NULL));
	if (rnd(4))
		json_setp(&arena, j, "spec.containers", random_list("name", random_container));
	if (rnd(2))
		json_setp(&arena, j, "spec.volumes", random_list("name", random_volume));
	if (rnd(2))
		json_setp(&arena, j, "spec.nodeName", json_newf(&arena, "n%u", rnd(3)));
	return j;
}

static void push_op(struct json *ops, const char *op, struct str path, struct json *value)
{
	struct json *o = json_new_object(&arena);

	json_setc(&arena, o, "op", json_newc(&arena, op));
	json_setc(&arena, o, "path", json_new_str(&arena, path));
	if (value)
		json_setc(&arena, o, "value", value);
	json_push(&arena, ops, o);
}

static struct str below(struct str path, struct str key)
{
	struct buf b = BUF_INIT;
	struct str out;

	buf_adds(&b, path);
	buf_add1(&b, '/');
	for (size_t i = 0; i < key.n; i++)
		if (key.p[i] == '~' || key.p[i] == '/')
			buf_addc(&b, key.p[i] == '~' ? "~0" : "~1");
		else
			buf_add1(&b, key.p[i]);
	out = arena_str(&arena, buf_str(&b));
	buf_fini(&b);
	return out;
}

/* The operations that make `now` of `was`; lists are emptied from one end and filled at the other, so that their indexes
 * are gone through. */
static void json_ops(struct json *ops, struct str path, const struct json *was, struct json *now)
{
	if (json_is(was, JSON_OBJECT) && json_is(now, JSON_OBJECT)) {
		JSON_MEMBERS (m, was) {
			if (json_get(now, m->key))
				json_ops(ops, below(path, m->key), m->value, json_get(now, m->key));
			else
				push_op(ops, "remove", below(path, m->key), NULL);
		}
		JSON_MEMBERS (m, now)
			if (json_get(was, m->key) == NULL)
				push_op(ops, "add", below(path, m->key), m->value);
	} else if (json_is(was, JSON_ARRAY) && json_is(now, JSON_ARRAY)) {
		for (size_t i = 0; i < json_len(was); i++)
			push_op(ops, "remove",
				arena_sprintf(&arena, "%.*s/%u", STR_FMT(path), rnd((unsigned)(json_len(was) - i))), NULL);
		for (size_t i = json_len(now); i > 0; i--)
			push_op(ops, "add", arena_sprintf(&arena, "%.*s/0", STR_FMT(path)), json_at(now, i - 1));
	} else if (!json_equal(was, now)) {
		push_op(ops, "replace", path, now);
	}
}

static void check_json_patch(struct json *a, struct json *b)
{
	struct json *ops = json_new_array(&arena), *out;
	struct json *before = json_copy(&arena, a);
	struct err e = ERR_INIT;

	json_ops(ops, STR(""), a, b);
	push_op(ops, "test", STR(""), b);
	if (patch_json(&arena, a, ops, &out, &e) < 0 || !json_equal(out, b))
		fail_msg("a     %s\nb     %s\npatch %s\n%s", json_text(&arena, a).p, json_text(&arena, b).p,
			json_text(&arena, ops).p, e.text);
	assert_true(json_equal(a, before));
}

static void test_laws(void **state)
{
	const struct schema_type *t = schema_type_find("core.v1.Pod");

	for (seed = 1; seed < 4000; seed += 1) {
		unsigned run = seed;
		struct json *a = random_pod(), *b = random_pod(), *patch, *out, *again;
		struct err e = ERR_INIT;

		/* Applying the difference gives the other object. */
		check_json_patch(a, b);
		patch = patch_make_merge(&arena, a, b);
		assert_true(json_equal(patch_merge(&arena, a, patch), b));
		assert_true(json_equal(patch_merge(&arena, b, patch), b));
		assert_int_equal(patch_make_strategic(&arena, t, a, b, &patch, &e), 0);
		if (patch_strategic(&arena, t, a, patch, &out, &e) < 0)
			fail_msg("seed %u\na     %s\nb     %s\npatch %s\n%s", run, json_text(&arena, a).p,
				json_text(&arena, b).p, json_text(&arena, patch).p, e.text);
		if (!json_equal(out, b))
			fail_msg("seed %u\na     %s\nb     %s\npatch %s\ngot   %s", run,
				json_text(&arena, a).p, json_text(&arena, b).p,
				json_text(&arena, patch).p, json_text(&arena, out).p);
		/* A second time changes nothing. */
		assert_int_equal(patch_strategic(&arena, t, out, patch, &again, &e), 0);
		assert_true(json_equal(again, out));
		/* Apply on what was last applied is the two-way case; then there is nothing left to
		 * apply. */
		assert_int_equal(patch_make_three_way(&arena, t, a, b, a, &patch, &e), 0);
		if (patch_strategic(&arena, t, a, patch, &out, &e) < 0)
			fail_msg("three-way seed %u\na     %s\nb     %s\npatch %s\n%s", run, json_text(&arena, a).p,
				json_text(&arena, b).p, json_text(&arena, patch).p, e.text);
		if (!json_equal(out, b))
			fail_msg("three-way seed %u\na     %s\nb     %s\npatch %s\ngot   %s", run,
				json_text(&arena, a).p, json_text(&arena, b).p,
				json_text(&arena, patch).p, json_text(&arena, out).p);
		assert_int_equal(patch_make_three_way(&arena, t, b, b, out, &patch, &e), 0);
		assert_int_equal(json_len(patch), 0);
		arena_fini(&arena);
		seed = run;
	}
}

static int setup(void **state)
{
	arena_init(&arena);
	return 0;
}

static int teardown(void **state)
{
	arena_fini(&arena);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_json_patch, setup, teardown),
		cmocka_unit_test_setup_teardown(test_json_patch_bomb, setup, teardown),
		cmocka_unit_test_setup_teardown(test_merge, setup, teardown),
		cmocka_unit_test_setup_teardown(test_strategic, setup, teardown),
		cmocka_unit_test_setup_teardown(test_three_way, setup, teardown),
		cmocka_unit_test_setup_teardown(test_laws, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
