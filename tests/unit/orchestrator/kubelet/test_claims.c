/* What a claim is bound to, on its node: where it is, what is made, what is refused, and that removing touches nothing else. */
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

#include "base/util.h"
#include "orchestrator/kubelet/claims.h"
#include "orchestrator/kubelet/fsutil.h"
#include "proto/pb.h"

static char dir[64];
static struct arena a;
static struct claims_ctx ctx;

static int setup(void **state)
{
	(void)state;
	arena_init(&a);
	snprintf(dir, sizeof(dir), "/tmp/ktc-XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	ctx = (struct claims_ctx){"n1", arena_printf(&a, "%s/volumes", dir)};
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	arena_fini(&a);
	return fs_remove_tree(dir, NULL);
}

static const char *at(const char *name)
{
	return arena_printf(&a, "%s/%s", dir, name);
}

static void touch(const char *path)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fclose(f);
}

static bool there(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0;
}

static Core__PersistentVolume *volume(const char *name, struct obj_ref *ret)
{
	Core__PersistentVolume *v = pb_new_of(&a, core__persistent_volume, Core__PersistentVolume);

	((Meta__ObjectMeta *)pb_sub(&a, v, "metadata"))->name = name;
	pb_sub(&a, pb_sub(&a, v, "spec"), "persistent_volume_source");
	*ret = (struct obj_ref){.kind = OBJ_CLAIM, .name = "c", .pv = v};
	return v;
}

static Core__PersistentVolume *ours(const char *name, const char *node, struct obj_ref *ret)
{
	Core__PersistentVolume *v = volume(name, ret);

	pb_map_set(&a, v->metadata, "annotations", "pv.kubernetes.io/provisioned-by", "kontiki.dev/local-path");
	pb_map_set(&a, v->metadata, "annotations", "kontiki.dev/node", node);
	((Core__LocalVolumeSource *)pb_sub(&a, v->spec->persistent_volume_source, "local"))->path = "/not/used";
	return v;
}

static void test_ours(void **state)
{
	struct err e = ERR_INIT;
	struct obj_ref r;
	struct stat st;

	(void)state;
	ours("pvc-1", "n1", &r);
	for (int i = 0; i < 2; i++)
		if (claim_setup(&ctx, &r, at("pods/u/v"), &e) < 0)
			fail_msg("%s", e.text);
	assert_int_equal(stat(at("volumes/pvc-1"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0777);
	touch(at("pods/u/v/file"));
	assert_true(there(at("volumes/pvc-1/file")));
	/* The pod goes, the data stay. */
	assert_int_equal(fs_remove_tree(at("pods/u"), &e), 0);
	assert_true(there(at("volumes/pvc-1/file")));
}

static void test_refuses(void **state)
{
	static const char *const names[] = {"..", ".", "", "../x", "a/b", ".removed-x", "A", "/etc"};
	struct err e = ERR_INIT;
	struct obj_ref r;
	Core__PersistentVolume *v;
	const char *path;

	(void)state;
	ours("pvc-1", "n2", &r);
	assert_true(claim_setup(&ctx, &r, at("l"), &e) < 0);
	assert_string_equal(e.text, "volume \"pvc-1\" is on node \"n2\", not here on \"n1\"");
	assert_false(there(at("volumes/pvc-1")));
	v = volume("n", &r);
	pb_sub(&a, v->spec->persistent_volume_source, "nfs");
	assert_int_equal(claim_source(&a, &ctx, &r, &path, &e), -ERR_UNIMPLEMENTED);
	assert_string_equal(e.text, "volume \"n\" is nfs, which is not supported: local and hostPath volumes are");
	v = volume("l", &r);
	((Core__LocalVolumeSource *)pb_sub(&a, v->spec->persistent_volume_source, "local"))->path = at("absent");
	assert_int_equal(claim_setup(&ctx, &r, at("l"), &e), -ERR_NOT_FOUND);
	assert_false(there(at("absent")));
	v->spec->volume_mode = "Block";
	assert_int_equal(claim_source(&a, &ctx, &r, &path, &e), -ERR_UNIMPLEMENTED);
	r.pv = NULL;
	assert_int_equal(claim_source(&a, &ctx, &r, &path, &e), -ERR_UNAVAILABLE);
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		ours(names[i], "n1", &r);
		assert_true(claim_setup(&ctx, &r, at("l"), &e) < 0);
		assert_int_equal(claims_remove(ctx.folder, names[i], &e), -ERR_BAD_REQUEST);
	}
}

static void test_host_path(void **state)
{
	struct err e = ERR_INIT;
	struct obj_ref r;
	Core__PersistentVolume *v = volume("h", &r);
	Core__HostPathVolumeSource *h = pb_sub(&a, v->spec->persistent_volume_source, "host_path");

	(void)state;
	h->path = at("host/dir");
	h->type = "Directory";
	assert_int_equal(claim_setup(&ctx, &r, at("l"), &e), -ERR_NOT_FOUND);
	h->type = "DirectoryOrCreate";
	assert_int_equal(claim_setup(&ctx, &r, at("l"), &e), 0);
	touch(at("l/x"));
	assert_true(there(at("host/dir/x")));
	/* The pod gets another volume of that name. */
	h->path = at("host/other");
	assert_int_equal(claim_setup(&ctx, &r, at("l"), &e), 0);
	assert_false(there(at("l/x")));
	h->path = at("host/dir/x");
	assert_int_equal(claim_setup(&ctx, &r, at("l"), &e), -ERR_INVALID);
}

static void test_remove(void **state)
{
	struct err e = ERR_INIT;
	struct obj_ref r;

	(void)state;
	assert_int_equal(claims_remove(ctx.folder, "pvc-0", &e), 0);
	ours("pvc-1", "n1", &r);
	assert_int_equal(claim_setup(&ctx, &r, at("one"), &e), 0);
	ours("pvc-2", "n1", &r);
	assert_int_equal(claim_setup(&ctx, &r, at("two"), &e), 0);
	assert_int_equal(mkdir(at("outside"), 0755), 0);
	touch(at("outside/file"));
	touch(at("two/file"));
	/* Links lead nowhere when it is deleted. */
	assert_int_equal(symlink(at("outside"), at("one/link")), 0);
	assert_int_equal(symlink(at("volumes/pvc-2"), at("one/neighbour")), 0);
	assert_int_equal(claims_remove(ctx.folder, "pvc-1", &e), 0);
	assert_false(there(at("volumes/pvc-1")));
	claims_sweep(ctx.folder);
	assert_true(there(at("outside/file")));
	assert_true(there(at("volumes/pvc-2/file")));
	assert_int_equal(rmdir(at("volumes")), -1);
	/* Nothing of it is left: with the other one gone the folder is empty. */
	assert_int_equal(claims_remove(ctx.folder, "pvc-2", &e), 0);
	claims_sweep(ctx.folder);
	assert_int_equal(rmdir(at("volumes")), 0);
	claims_sweep(ctx.folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_ours, setup, teardown),
		cmocka_unit_test_setup_teardown(test_refuses, setup, teardown),
		cmocka_unit_test_setup_teardown(test_host_path, setup, teardown),
		cmocka_unit_test_setup_teardown(test_remove, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
