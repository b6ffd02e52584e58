/*
 * How fast one core applies puts in batches, reads and lists, replays a watch, makes a checkpoint and a snapshot; and what
 * memory the store takes. store_bench [DIR [KEYS [VALUE-BYTES [BATCH]]]]; the directory is made and removed.
 */
#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/util.h"
#include "proto/raft.pb-c.h"
#include "store/store.h"
#include "store/view.h"

static char *dir;

static void must(int rc, const struct err *e)
{
	if (rc == 0)
		return;
	fprintf(stderr, "store_bench: %s\n", e->text);
	exit(1);
}

static void print_rate(const char *what, uint64_t n, uint64_t ns)
{
	printf("%-32s %10" PRIu64 " in %7.1f ms  %12.0f /s\n", what, n, (double)ns / 1e6, (double)n * 1e9 / (double)ns);
}

static void print_memory(const char *when)
{
	char line[256];
	FILE *f = fopen("/proc/self/status", "r");

	while (f != NULL && fgets(line, sizeof(line), f) != NULL)
		if (strncmp(line, "VmRSS", 5) == 0 || strncmp(line, "RssAnon", 7) == 0 || strncmp(line, "RssFile", 7) == 0)
			printf("%-32s %s", when, line);
	if (f != NULL)
		fclose(f);
}

static void cleanup(void)
{
	DIR *d = opendir(dir);
	struct dirent *ent;

	while (d != NULL && (ent = readdir(d)) != NULL)
		if (ent->d_name[0] != '.')
			(void)unlinkat(dirfd(d), ent->d_name, 0);
	if (d != NULL)
		closedir(d);
	(void)rmdir(dir);
}

static struct str put_command(struct buf *b, uint64_t key, struct str value)
{
	Raftpb__Command c = RAFTPB__COMMAND__INIT;
	Etcdserverpb__PutRequest p = ETCDSERVERPB__PUT_REQUEST__INIT;
	char name[64];

	snprintf(name, sizeof(name), "/registry/pods/default/pod-%08" PRIu64, key);
	c.op_case = RAFTPB__COMMAND__OP_PUT;
	c.put = &p;
	p.key = (ProtobufCBinaryData){strlen(name), (uint8_t *)name};
	p.value = (ProtobufCBinaryData){value.n, (uint8_t *)value.p};
	buf_clear(b);
	buf_reserve(b, protobuf_c_message_get_packed_size(&c.base));
	buf_advance(b, protobuf_c_message_pack(&c.base, (uint8_t *)b->p));
	return buf_str(b);
}

static void bench_puts(struct store *s, const char *what, uint64_t keys, struct str value, uint64_t batch, uint64_t *index)
{
	struct buf cmd = BUF_INIT, out = BUF_INIT;
	struct err e = ERR_INIT;
	uint64_t t = clock_mono_ns();

	for (uint64_t i = 0; i < keys;) {
		must(store_begin(s, &e), &e);
		for (uint64_t j = 0; j < batch && i < keys; j++, i++) {
			buf_clear(&out);
			must(store_apply(s, ++*index, 1, put_command(&cmd, i * 7919 % keys, value), &out, &e), &e);
		}
		must(store_commit(s, &e), &e);
		if (store_checkpoint_due(s))
			must(store_checkpoint(s, &e), &e);
	}
	print_rate(what, keys, clock_mono_ns() - t);
	buf_fini(&cmd);
	buf_fini(&out);
}

static void bench_reads(struct store *s, uint64_t keys)
{
	struct err e = ERR_INIT;
	struct store_view *v;
	struct view_iter it;
	struct store_kv kv;
	char name[64];
	int64_t n = 0;
	uint64_t t = clock_mono_ns();
	int rc;

	for (uint64_t i = 0; i < keys; i++) {
		must(store_view_open(s, &v, &e), &e);
		snprintf(name, sizeof(name), "/registry/pods/default/pod-%08" PRIu64, i * 31 % keys);
		must(view_get(v, str_from(name), 0, &kv, &e), &e);
		store_view_close(v);
	}
	print_rate("get, a view each", keys, clock_mono_ns() - t);
	must(store_view_open(s, &v, &e), &e);
	t = clock_mono_ns();
	view_iter_init(&it, v, STR("/registry/"), STR("/registry0"), 0, 0);
	while ((rc = view_iter_next(&it, &kv, &e)) == 1)
		n++;
	must(rc, &e);
	print_rate("list", (uint64_t)n, clock_mono_ns() - t);
	t = clock_mono_ns();
	must(view_count(v, STR("/registry/"), STR("/registry0"), 0, &n, &e), &e);
	print_rate("count", (uint64_t)n, clock_mono_ns() - t);
	store_view_close(v);
}

static void bench_snapshot(struct store *s)
{
	struct err e = ERR_INIT;
	struct store_snapshot *sn;
	struct buf chunk = BUF_INIT;
	uint64_t t = clock_mono_ns(), bytes = 0;
	bool last = false;

	must(store_checkpoint(s, &e), &e);
	print_rate("checkpoint", 1, clock_mono_ns() - t);
	t = clock_mono_ns();
	must(store_snapshot_open(s, &sn, &e), &e);
	for (uint64_t n = 0; !last; n++) {
		buf_clear(&chunk);
		must(store_snapshot_chunk(sn, n, &chunk, &last, &e), &e);
		bytes += chunk.n;
	}
	store_snapshot_close(sn);
	print_rate("snapshot bytes", bytes, clock_mono_ns() - t);
	buf_fini(&chunk);
}

static void bench_compaction(struct store *s, uint64_t *index)
{
	Raftpb__Command c = RAFTPB__COMMAND__INIT;
	Etcdserverpb__CompactionRequest k = ETCDSERVERPB__COMPACTION_REQUEST__INIT;
	struct store_stats before, after;
	struct err e = ERR_INIT;
	uint8_t cmd[64];
	uint64_t t, slowest = 0;
	bool more = true;
	size_t n;

	c.op_case = RAFTPB__COMMAND__OP_COMPACTION;
	c.compaction = &k;
	k.revision = store_revision(s);
	n = protobuf_c_message_pack(&c.base, cmd);
	must(store_stats(s, &before, &e), &e);
	must(store_begin(s, &e), &e);
	must(store_apply(s, ++*index, 1, str_of(cmd, n), NULL, &e), &e);
	must(store_commit(s, &e), &e);
	t = clock_mono_ns();
	while (more) {
		uint64_t t1 = clock_mono_ns();

		must(store_work(s, &more, &e), &e);
		slowest = MAX(slowest, clock_mono_ns() - t1);
	}
	must(store_stats(s, &after, &e), &e);
	print_rate("changes compacted", before.n_log - after.n_log, clock_mono_ns() - t);
	printf("%-32s %10.2f ms\n", "slowest slice", (double)slowest / 1e6);
	printf("%-32s %10.1f MiB, %.1f MiB in use\n", "file", (double)after.file_bytes / 1048576, (double)after.in_use_bytes / 1048576);
}

int main(int argc, char **argv)
{
	uint64_t keys = argc > 2 ? strtoull(argv[2], NULL, 10) : 100000;
	size_t size = argc > 3 ? strtoull(argv[3], NULL, 10) : 256;
	uint64_t batch = argc > 4 ? strtoull(argv[4], NULL, 10) : 256, index = 0;
	char *value = xmalloc(size + 1);
	struct store_cfg cfg = {0};
	struct store *s;
	struct err e = ERR_INIT;

	dir = argc > 1 ? argv[1] : xstrdup("/tmp/kontiki-bench.XXXXXX");
	if (argc <= 1)
		ASSERT(mkdtemp(dir) != NULL);
	atexit(cleanup);
	memset(value, 'v', size);
	cfg.dir = dir;
	print_memory("before");
	must(store_open(&cfg, &s, &e), &e);
	print_memory("empty store");
	bench_puts(s, "put, new keys", keys, str_of(value, size), batch, &index);
	bench_puts(s, "put, over old ones", keys, str_of(value, size), batch, &index);
	bench_puts(s, "put, one a commit", keys / 10, str_of(value, size), 1, &index);
	bench_reads(s, keys);
	bench_snapshot(s);
	bench_compaction(s, &index);
	print_memory("afterwards");
	store_close(s);
	free(value);
	return 0;
}
