/* Files that containers read: the atomic writer, volumes of all contents, and reading logs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/util.h"
#include "orchestrator/kubelet/atomic-writer.h"
#include "orchestrator/kubelet/containerd-priv.h"
#include "orchestrator/kubelet/crilog.h"
#include "orchestrator/kubelet/fsutil.h"
#include "orchestrator/kubelet/pbutil.h"
#include "orchestrator/kubelet/volumes.h"

static char dir[64];

static int setup(void **state)
{
	snprintf(dir, sizeof(dir), "/tmp/ktl-XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state)
{
	fs_unmount_below(dir);
	return fs_remove_tree(dir, NULL);
}

static void assert_file(const char *name, const char *want)
{
	char path[512];
	struct buf b = BUF_INIT;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	if (!want) {
		assert_int_equal(access(path, F_OK), -1);
		return;
	}
	assert_int_equal(file_get(path, 65536, &b, NULL), 0);
	assert_true(str_eqc(buf_str(&b), want));
	buf_fini(&b);
}

#define FILE_OF(p, d, m) {.path = (p), .data = STR_INIT(d), .mode = (m), .uid = (uid_t)-1}

static void test_atomic(void **state)
{
	struct aw_file one[] = {FILE_OF("a", "1", 0644), FILE_OF("sub/deep/b", "2", 0400)};
	struct aw_file two[] = {FILE_OF("a", "changed", 0644), FILE_OF("c", "", 0600)};
	struct aw_file bad[] = {FILE_OF("../evil", "x", 0644)};
	char path[512], before[512], after[512];
	struct err e = ERR_INIT;
	struct stat st;
	bool changed;
	ssize_t n;

	assert_int_equal(atomic_write(dir, one, 2, (gid_t)-1, &changed, &e), 0);
	assert_true(changed);
	assert_file("a", "1");
	assert_file("sub/deep/b", "2");
	snprintf(path, sizeof(path), "%s/sub/deep/b", dir);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0400);
	snprintf(path, sizeof(path), "%s/..data", dir);
	n = readlink(path, before, sizeof(before) - 1);
	assert_true(n > 0);
	before[n] = '\0';

	assert_int_equal(atomic_write(dir, one, 2, (gid_t)-1, &changed, &e), 0);
	assert_false(changed);

	assert_int_equal(atomic_write(dir, two, 2, (gid_t)-1, &changed, &e), 0);
	assert_true(changed);
	assert_file("a", "changed");
	assert_file("c", "");
	assert_file("sub", NULL);
	n = readlink(path, after, sizeof(after) - 1);
	assert_true(n > 0);
	after[n] = '\0';
	assert_string_not_equal(before, after);
	assert_file(before, NULL);

	assert_int_equal(atomic_write(dir, bad, 1, (gid_t)-1, &changed, &e), -ERR_INVALID);
	assert_file("a", "changed");
	assert_int_equal(atomic_write(dir, NULL, 0, (gid_t)-1, &changed, &e), 0);
	assert_file("a", NULL);
}

static void test_paths(void **state)
{
	assert_true(atomic_path_ok("a/b..c/d"));
	assert_false(atomic_path_ok(""));
	assert_false(atomic_path_ok("/a"));
	assert_false(atomic_path_ok("a/../b"));
	assert_false(atomic_path_ok("..data"));
	assert_false(atomic_path_ok("a/.."));
}

/* A pod with one projected volume of a config map, a secret, the downward API and a token. */
static Core__Pod *make_pod(struct arena *a)
{
	Core__Pod *pod = PB_NEW(a, Core__Pod, core__pod);
	Core__Volume *v;
	Core__ProjectedVolumeSource *p;
	Core__VolumeProjection *s;
	Core__DownwardAPIVolumeFile *f;
	Core__KeyToPath *k;

	pod->metadata = PB_NEW(a, Meta__ObjectMeta, meta__object_meta);
	pod->metadata->name = "p";
	pod->metadata->namespace_ = "ns";
	pb_map_set(a, pod->metadata, "labels", "app", "web\"1\"");
	pod->spec = PB_NEW(a, Core__PodSpec, core__pod_spec);
	v = pb_add(a, pod->spec, "volumes");
	v->name = "all";
	v->volume_source = PB_NEW(a, Core__VolumeSource, core__volume_source);
	p = v->volume_source->projected = PB_NEW(a, Core__ProjectedVolumeSource, core__projected_volume_source);
	s = pb_add(a, p, "sources");
	s->config_map = PB_NEW(a, Core__ConfigMapProjection, core__config_map_projection);
	s->config_map->local_object_reference = PB_NEW(a, Core__LocalObjectReference, core__local_object_reference);
	s->config_map->local_object_reference->name = "cm";
	s = pb_add(a, p, "sources");
	s->secret = PB_NEW(a, Core__SecretProjection, core__secret_projection);
	s->secret->local_object_reference = PB_NEW(a, Core__LocalObjectReference, core__local_object_reference);
	s->secret->local_object_reference->name = "sec";
	k = pb_add(a, s->secret, "items");
	k->key = "key";
	k->path = "in/secret";
	PB_SET(k, mode, 0400);
	s = pb_add(a, p, "sources");
	s->downward_api = PB_NEW(a, Core__DownwardAPIProjection, core__downward_apiprojection);
	f = pb_add(a, s->downward_api, "items");
	f->path = "labels";
	f->field_ref = PB_NEW(a, Core__ObjectFieldSelector, core__object_field_selector);
	f->field_ref->field_path = "metadata.labels";
	s = pb_add(a, p, "sources");
	s->service_account_token =
			PB_NEW(a, Core__ServiceAccountTokenProjection, core__service_account_token_projection);
	s->service_account_token->path = "token";
	return pod;
}

static void test_render(void **state)
{
	struct arena a;
	struct objset set;
	struct vol_ctx ctx = {.pod_dir = dir};
	struct aw_file *files;
	struct err e = ERR_INIT;
	Core__ConfigMap *cm;
	Core__Secret *sec;
	Core__Secret__DataEntry *d;
	Core__Pod *pod;
	size_t n;

	arena_init(&a);
	pod = make_pod(&a);
	/* It has no name: there is nothing to look for. */
	pb_add(&a, pod->spec, "image_pull_secrets");
	objset_collect(&set, pod);
	assert_int_equal(set.n_refs, 3);
	ctx.env.pod = pod;
	ctx.env.objects = &set;
	assert_int_equal(volume_render(&a, &ctx, pod->spec->volumes[0], &files, &n, &e), -ERR_NOT_FOUND);
	assert_string_equal(e.text, "configmap \"cm\" not found");

	cm = PB_NEW(&a, Core__ConfigMap, core__config_map);
	pb_map_set(&a, cm, "data", "conf", "x=1");
	set.refs[0].config_map = cm;
	sec = PB_NEW(&a, Core__Secret, core__secret);
	d = pb_add(&a, sec, "data");
	d->key = "key";
	d->value = (ProtobufCBinaryData){.len = 3, .data = (uint8_t *)"s\0t"};
	set.refs[1].secret = sec;
	set.refs[2].token = "tok";
	set.refs[2].token_made_s = 1000;
	set.refs[2].token_expires_s = 4600;
	assert_int_equal(objset_renew_at(&set), 1000 + 3600 * 8 / 10);
	assert_int_equal(volume_render(&a, &ctx, pod->spec->volumes[0], &files, &n, &e), 0);
	assert_int_equal(n, 4);
	assert_string_equal(files[0].path, "conf");
	assert_int_equal(files[1].data.n, 3);
	assert_int_equal(files[1].mode, 0400);
	assert_true(str_eqc(files[2].data, "app=\"web\\\"1\\\"\""));
	assert_true(str_eqc(files[3].data, "tok"));
	objset_fini(&set);
	arena_fini(&a);
}

/* A link in a volume must not lead a subPath out of it. */
static void test_subpath(void **state)
{
	struct arena a;
	struct err e = ERR_INIT;
	char vol[128], out[128], *path;

	if (geteuid() != 0)
		skip();
	arena_init(&a);
	snprintf(vol, sizeof(vol), "%s/vol", dir);
	snprintf(out, sizeof(out), "%s/vol/link", dir);
	assert_int_equal(mkdir(vol, 0755), 0);
	assert_int_equal(symlink("/etc", out), 0);
	assert_true(volume_subpath(&a, dir, vol, "../x", "c", 0, &path, &e) < 0);
	if (volume_subpath(&a, dir, vol, "new/dir", "c", 1, &path, &e) < 0)
		fail_msg("%s", e.text);
	snprintf(out, sizeof(out), "%s/vol/new/dir", dir);
	assert_int_equal(access(out, F_OK), 0);
	assert_true(fs_is_mount_point(path));
	/* Inside the volume "/etc" means the volume's own etc, which is not there. */
	assert_true(volume_subpath(&a, dir, vol, "link/passwd", "c", 2, &path, &e) < 0 ||
			access(arena_printf(&a, "%s/shadow", path), F_OK) != 0);
	fs_unmount_below(dir);
	arena_fini(&a);
}

static void test_tail(void **state)
{
	char path[128];
	struct err e = ERR_INIT;
	struct buf b = BUF_INIT;
	FILE *f;
	int fd;

	snprintf(path, sizeof(path), "%s/log", dir);
	f = fopen(path, "w");
	for (int i = 0; i < 5000; i++)
		fprintf(f, "2020-01-01T00:00:00.000000000Z stdout F line %d\n", i);
	fclose(f);
	fd = open(path, O_RDONLY);
	assert_int_equal(crilog_tail_offset(fd, 0, &e), lseek(fd, 0, SEEK_END));
	assert_int_equal(crilog_tail_offset(fd, 100000, &e), 0);
	close(fd);
	assert_int_equal(crilog_last_text(path, 2, 1000, &b, &e), 0);
	assert_true(str_eqc(buf_str(&b), "line 4998\nline 4999\n"));
	buf_fini(&b);
	assert_int_equal(crilog_last_text(path, 3000, 10, &b, &e), 0);
	assert_true(str_eqc(buf_str(&b), "line 4999\n"));
	buf_fini(&b);
}

static void test_config(void **state)
{
	struct containerd_config cfg = {.dir = "/x/containerd", .pause_image = "pause:1"};
	struct buf b = BUF_INIT;
	struct containerd_event ev;
	/* Envelope {timestamp {}, namespace "k8s.io", topic "/tasks/exit", event {type_url "t", value {"abc", "def", pid 5}}} */
	struct str envelope = STR("\x0a\x00\x12\x06k8s.io\x1a\x0b/tasks/exit\x22\x11\x0a\x01t\x12\x0c\x0a\x03" "abc\x12\x03" "def\x18\x05");

	containerd_print_config(&cfg, true, false, &b);
	assert_true(str_search(buf_str(&b), STR("restrict_oom_score_adj = true")) > 0);
	assert_true(str_search(buf_str(&b), STR("snapshotter = \"native\"")) > 0);
	assert_true(str_search(buf_str(&b), STR("address = \"/x/containerd/containerd.sock\"")) > 0);
	buf_fini(&b);
	assert_true(containerd__event_parse(envelope, &ev));
	assert_string_equal(ev.topic, "/tasks/exit");
	assert_string_equal(ev.container_id, "abc");
	assert_string_equal(ev.id, "def");
	assert_false(containerd__event_parse(STR("\x1a\xff\xff"), &ev));
	assert_false(containerd__event_parse(STR(""), &ev));
}

static void put_file(const char *path, size_t n)
{
	char *text = xcalloc(1, n + 1);

	memset(text, 'x', n);
	assert_int_equal(file_put(path, str_of(text, n), 0600, false, NULL), 0);
	free(text);
}

/* What a tree takes: blocks, not lengths; each file once; nothing behind links. */
static void test_tree_use(void **state)
{
	char path[512], other[512];
	struct fs_use empty, use;
	atomic_bool stop = false;
	int fd;

	snprintf(path, sizeof(path), "%s/t", dir);
	assert_int_equal(fs_tree_use(path, NULL).inodes, 0);
	assert_int_equal(fs_mkdir_all(path, 0755, NULL), 0);
	empty = fs_tree_use(path, &stop);
	assert_int_equal(empty.inodes, 1);
	snprintf(other, sizeof(other), "%s/outside", dir);
	put_file(other, 1 << 20);
	snprintf(path, sizeof(path), "%s/t/link", dir);
	assert_int_equal(symlink(other, path), 0);
	snprintf(path, sizeof(path), "%s/t/up", dir);
	assert_int_equal(symlink("..", path), 0);
	snprintf(path, sizeof(path), "%s/t/a/b/c", dir);
	assert_int_equal(fs_mkdir_all(path, 0755, NULL), 0);
	snprintf(other, sizeof(other), "%s/t/a/b/c/f", dir);
	put_file(other, 300000);
	snprintf(path, sizeof(path), "%s/t/again", dir);
	assert_int_equal(link(other, path), 0);
	snprintf(path, sizeof(path), "%s/t/hole", dir);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0 && ftruncate(fd, 1 << 30) == 0);
	close(fd);
	snprintf(path, sizeof(path), "%s/t", dir);
	use = fs_tree_use(path, &stop);
	assert_int_equal(use.inodes, 8); /* t, link, up, a, b, c, f, hole */
	assert_in_range(use.bytes, 300000, 600000);
	/* One that is told to end does. */
	atomic_store(&stop, true);
	assert_int_equal(fs_tree_use(path, &stop).inodes, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_atomic, setup, teardown),
		cmocka_unit_test(test_paths),
		cmocka_unit_test_setup_teardown(test_render, setup, teardown),
		cmocka_unit_test_setup_teardown(test_subpath, setup, teardown),
		cmocka_unit_test_setup_teardown(test_tail, setup, teardown),
		cmocka_unit_test(test_config),
		cmocka_unit_test_setup_teardown(test_tree_use, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
