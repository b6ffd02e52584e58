#include "tests/unit/store/common.h"

#include <dirent.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Directories of tests that failed half-way go at the end of the program. */
static char *made[256];
static size_t n_made;

static void remove_made(void)
{
	for (size_t i = 0; i < n_made; i++) {
		remove_tree(made[i]);
		free(made[i]);
	}
}

char *make_temp_dir(void)
{
	const char *base = getenv("TMPDIR");
	char *dir = xasprintf("%s/kontiki-store.XXXXXX", base ? base : "/tmp");

	assert_non_null(mkdtemp(dir));
	if (n_made == 0)
		atexit(remove_made);
	if (n_made < ARRAY_LEN(made))
		made[n_made++] = xstrdup(dir);
	return dir;
}

void remove_tree(const char *dir)
{
	DIR *d = opendir(dir);
	struct dirent *ent;

	if (d == NULL)
		return;
	while ((ent = readdir(d)) != NULL)
		if (strcmp(ent->d_name, ".") != 0 && strcmp(ent->d_name, "..") != 0)
			(void)unlinkat(dirfd(d), ent->d_name, 0);
	closedir(d);
	(void)rmdir(dir);
}

static struct store_cfg config(const struct fixture *f, const struct store_cfg *more)
{
	struct store_cfg cfg = more ? *more : (struct store_cfg){.no_sync = true};

	cfg.dir = f->dir;
	if (cfg.map_size == 0)
		cfg.map_size = (uint64_t)1 << 30;
	return cfg;
}

void fixture_open(struct fixture *f, const struct store_cfg *more)
{
	struct store_cfg cfg;

	*f = (struct fixture){.dir = make_temp_dir()};
	arena_init(&f->arena);
	cfg = config(f, more);
	OK(store_open(&cfg, &f->store, &e));
	f->index = store_applied(f->store).index;
}

void fixture_reopen(struct fixture *f, bool clean)
{
	struct store_cfg cfg = config(f, NULL);

	if (clean)
		store_close(f->store);
	else
		store_abandon(f->store);
	OK(store_open(&cfg, &f->store, &e));
	f->index = store_applied(f->store).index;
}

void fixture_close(struct fixture *f)
{
	store_close(f->store);
	arena_fini(&f->arena);
	remove_tree(f->dir);
	free(f->dir);
}

ProtobufCBinaryData bin(struct arena *a, const char *s)
{
	return s ? (ProtobufCBinaryData){strlen(s), (uint8_t *)arena_strdup(a, s)} : (ProtobufCBinaryData){0, NULL};
}

ProtobufCBinaryData bin_str(struct str s)
{
	return (ProtobufCBinaryData){s.n, (uint8_t *)s.p};
}

struct str encode(struct arena *a, const ProtobufCMessage *m)
{
	size_t n = protobuf_c_message_get_packed_size(m);
	uint8_t *p = arena_alloc(a, n + 1);

	protobuf_c_message_pack(m, p);
	return str_of(p, n);
}

static void *pb_alloc(void *arena, size_t size)
{
	return arena_alloc(arena, size);
}

static void pb_free(void *arena, void *p)
{
}

ProtobufCMessage *decode(struct arena *a, const ProtobufCMessageDescriptor *d, struct str s)
{
	ProtobufCAllocator alloc = {pb_alloc, pb_free, a};
	ProtobufCMessage *m = protobuf_c_message_unpack(d, &alloc, s.n, (const uint8_t *)s.p);

	assert_non_null(m);
	return m;
}

ProtobufCMessage *apply(struct fixture *f, Raftpb__Command *c, const ProtobufCMessageDescriptor *d, const char **ret_text)
{
	struct buf out = BUF_INIT;
	ProtobufCMessage *m = NULL;
	struct store_result r;
	struct err answer = ERR_INIT;

	OK(store_begin(f->store, &e));
	OK(store_apply(f->store, ++f->index, 1, encode(&f->arena, &c->base), &out, &e));
	if (f->index * 0x9e3779b97f4a7c15ULL % 100 < f->seal)
		store_seal(f->store);
	else
		OK(store_commit(f->store, &e));
	OK(store_result_parse(buf_str(&out), &r, &e));
	if (store_result_err(&r, &answer) == 0)
		m = decode(&f->arena, d, r.response);
	else if (ret_text != NULL)
		*ret_text = arena_strdup(&f->arena, answer.text);
	else
		fail_msg("refused: %s", answer.text);
	buf_fini(&out);
	return m;
}

int64_t put_lease(struct fixture *f, const char *key, const char *value, int64_t lease, const char **ret_text)
{
	Raftpb__Command c = RAFTPB__COMMAND__INIT;
	Etcdserverpb__PutRequest p = ETCDSERVERPB__PUT_REQUEST__INIT;
	Etcdserverpb__PutResponse *r;

	c.op_case = RAFTPB__COMMAND__OP_PUT;
	c.put = &p;
	p.key = bin(&f->arena, key);
	p.value = bin(&f->arena, value);
	p.lease = lease;
	r = (Etcdserverpb__PutResponse *)apply(f, &c, &etcdserverpb__put_response__descriptor, ret_text);
	return r ? r->header->revision : 0;
}

int64_t put(struct fixture *f, const char *key, const char *value)
{
	return put_lease(f, key, value, 0, NULL);
}

int64_t del(struct fixture *f, const char *key, const char *end, int64_t *ret_n)
{
	Raftpb__Command c = RAFTPB__COMMAND__INIT;
	Etcdserverpb__DeleteRangeRequest p = ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;
	Etcdserverpb__DeleteRangeResponse *r;

	c.op_case = RAFTPB__COMMAND__OP_DELETE_RANGE;
	c.delete_range = &p;
	p.key = bin(&f->arena, key);
	p.range_end = end && !end[0] ? bin_str(STR("\0")) : bin(&f->arena, end);
	r = (Etcdserverpb__DeleteRangeResponse *)apply(f, &c, &etcdserverpb__delete_range_response__descriptor, NULL);
	if (ret_n != NULL)
		*ret_n = r->deleted;
	return r->header->revision;
}

const char *compact(struct fixture *f, int64_t rev)
{
	Raftpb__Command c = RAFTPB__COMMAND__INIT;
	Etcdserverpb__CompactionRequest p = ETCDSERVERPB__COMPACTION_REQUEST__INIT;
	const char *text = NULL;

	c.op_case = RAFTPB__COMMAND__OP_COMPACTION;
	c.compaction = &p;
	p.revision = rev;
	(void)apply(f, &c, &etcdserverpb__compaction_response__descriptor, &text);
	return text;
}

const char *dump(struct fixture *f, const char *key, const char *end, int64_t rev)
{
	static char out[65536];
	struct store_view *v;
	struct view_iter it;
	struct store_kv kv;
	struct err bad = ERR_INIT;
	size_t n = 0;
	int rc;

	out[0] = '\0';
	OK(store_view_open(f->store, &v, &e));
	view_iter_init(&it, v, str_from(key), end ? (end[0] ? str_from(end) : STR("\0")) : STR_NULL, rev, 0);
	while ((rc = view_iter_next(&it, &kv, &bad)) == 1)
		n += (size_t)snprintf(out + n, sizeof(out) - n, "%s%.*s=%.*s", n ? " " : "", STR_FMT(kv.key), STR_FMT(kv.value));
	view_iter_fini(&it);
	store_view_close(v);
	if (rc < 0)
		snprintf(out, sizeof(out), "%s", bad.text);
	return out;
}
