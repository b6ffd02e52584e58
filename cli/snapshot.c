/* kontiki snapshot: a backup of the replicated store, taken, looked at, and made a cluster again. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/util.h"
#include "cli/cmd.h"
#include "cli/etcd_backup.h"
#include "cli/join.h"
#include "cli/local.h"
#include "cli/store_client.h"
#include "io/http_client.h"
#include "io/tls.h"
#include "raft/recover.h"
#include "store/snapfile.h"

struct snapshot_opts {
	struct store_client_opts where;
	const char *member, *address, *initial;
	int64_t port, peer_port, bump;
	bool mark;
};

/* No --bump-revision was given. */
#define BUMP_UNSAID (-1)

static const struct opt snapshot_rows[] = {
	STORE_CLIENT_ROWS(struct snapshot_opts, where),
	{"member", 0, OPT_STR, offsetof(struct snapshot_opts, member), "NAME", "restore: the server's name (default: the host's)", NULL, NULL},
	{"advertise-address", 0, OPT_STR, offsetof(struct snapshot_opts, address), "IP", "restore: the address that others reach it at", NULL, NULL},
	{"secure-port", 0, OPT_INT, offsetof(struct snapshot_opts, port), "PORT", "restore: the API's port (default 6443)", NULL, NULL},
	{"peer-port", 0, OPT_INT, offsetof(struct snapshot_opts, peer_port), "PORT", "restore: the port for other members (default 2380)", NULL, NULL},
	{"initial-cluster", 0, OPT_STR, offsetof(struct snapshot_opts, initial), "NAME=IP:PORT,...",
	 "restore: all members of the new cluster; the same file and list on each (default: this one alone)", NULL, NULL},
	{"bump-revision", 0, OPT_INT, offsetof(struct snapshot_opts, bump), "N",
	 "restore: raise the revision by so much, beyond all that clients have seen; the same on each member (default 1000000000, with --mark-compacted, for a server's snapshot and for an etcd's that holds Kubernetes' objects, /registry/; 0, as it was, for another one's)", NULL, NULL},
	{"mark-compacted", 0, OPT_BOOL, offsetof(struct snapshot_opts, mark), "",
	 "restore: what is older than that counts as compacted, so that watchers read anew; --bump-revision wants it", NULL, NULL},
	OPT_END,
};

static const char snapshot_usage[] =
	"usage: kontiki snapshot save FILE [--server IP:PORT]\n"
	"       kontiki snapshot status FILE\n"
	"       kontiki snapshot restore FILE --data-dir DIR --advertise-address IP [--member NAME] [--initial-cluster NAME=IP:PORT,...]\n"
	"                                     [--bump-revision N --mark-compacted]\n\n"
	"save gets one from a running server. status reads all of a file and checks it. restore makes the data directory of a server\n"
	"that holds what the file holds, as a member of a new cluster; keep the old pki/ in it, then start 'kontiki server' on it.\n"
	"status and restore take etcd's backups too (etcdctl snapshot save, or a stopped member's member/snap/db).\n";

/* --- save ------------------------------------------------------------------------------------------------------------ */

struct saving {
	struct http_call call;
	struct loop *loop;
	const char *path;
	int fd;
	struct buf error; /* what the server says instead of a snapshot */
	struct err err;
};

static void on_data(struct http_call *c, struct str bytes)
{
	struct saving *s = container_of(c, struct saving, call);

	if (c->status != 200) {
		buf_adds(&s->error, bytes);
		return;
	}
	while (bytes.n > 0 && s->err.code == ERR_OK) {
		ssize_t n = write(s->fd, bytes.p, bytes.n);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			err_set_errno(&s->err, n < 0 ? errno : EIO, "cannot write %s", s->path);
			http_call_cancel(c);
			return;
		}
		bytes = str_skip(bytes, (size_t)n);
	}
}

static void on_done(struct http_call *c, const struct err *e)
{
	struct saving *s = container_of(c, struct saving, call);

	if (e && s->err.code == ERR_OK)
		s->err = *e;
	else if (c->status != 200 && s->err.code == ERR_OK)
		err_set(&s->err, err_from_http(c->status), "%.*s", STR_FMT(str_trim(buf_str(&s->error))));
	http_call_fini(c);
	loop_stop(s->loop);
}

static int download(const struct snapshot_opts *o, const char *path, int fd, struct arena *a, struct err *e)
{
	struct saving s = {.path = path, .fd = fd, .loop = loop_new("snapshot")};
	struct http_client_config cfg = {.proto = HTTP_PROTO_1, .connect_timeout_ms = 5000};
	struct http_client *client = NULL;
	struct fetch f = {0};
	int rv = store_client_connect(&o->where, &f, a, e);

	buf_init(&s.error, 65536);
	cfg.address = f.address;
	cfg.tls = f.tls;
	if (rv == 0)
		rv = http_client_new(s.loop, &cfg, &client, e);
	if (rv == 0) {
		s.call = (struct http_call){.method = "GET", .path = "/kontiki/v1/snapshot", .header_timeout_ms = 30000, .on_data = on_data, .done = on_done};
		http_call_start(client, &s.call);
		loop_run(s.loop);
		http_client_close(client, NULL, NULL);
		if (s.err.code != ERR_OK) {
			*e = s.err;
			rv = -(int)s.err.code;
		}
	}
	tls_ctx_unref(f.tls);
	buf_fini(&s.error);
	loop_free(s.loop);
	return rv;
}

static void print_info(const char *path, const struct snapfile_info *i)
{
	time_t t = (time_t)(i->created_ms / 1000);
	struct tm tm;
	char when[32];

	gmtime_r(&t, &tm);
	strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", &tm);
	printf("%s: revision %" PRId64 ", %" PRIu64 " records, %" PRIu64 " bytes in %" PRIu64 " chunks, taken %s from cluster %016" PRIx64 "; every checksum matches\n",
	       path, i->revision, i->records, i->bytes, i->chunks, when, i->cluster_id);
}

static int save(const struct snapshot_opts *o, const char *path, struct arena *a, struct err *e)
{
	const char *part = arena_printf(a, "%s.part", path);
	int fd = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600), rv;
	struct snapfile_info info;

	if (fd < 0)
		return err_set_errno(e, errno, "cannot create %s", part);
	rv = download(o, part, fd, a, e);
	if (rv == 0 && fsync(fd) != 0)
		rv = err_set_errno(e, errno, "cannot sync %s", part);
	close(fd);
	/* What came is read back before it gets its name: a backup that was never read is none. */
	if (rv == 0)
		rv = snapfile_check(part, &info, e);
	if (rv == 0 && rename(part, path) != 0)
		rv = err_set_errno(e, errno, "cannot rename %s to %s", part, path);
	if (rv != 0) {
		(void)unlink(part);
		return rv;
	}
	print_info(path, &info);
	return 0;
}

/* --- restore ---------------------------------------------------------------------------------------------------------- */

/* As etcdutl has it: both or none of the two. Of an etcd's backup the default is chosen when it has been read. */
static int choose_bump(const struct snapshot_opts *o, bool of_etcd, int64_t *ret, struct err *e)
{
	bool said = o->bump != BUMP_UNSAID;

	*ret = said ? o->bump : of_etcd ? 0 : KV_BUMP_DEFAULT;
	if (said && o->bump < 0)
		return err_set(e, ERR_BAD_REQUEST, "--bump-revision is %" PRId64 ": it can only be raised", o->bump);
	if (said && o->bump > 0 && !o->mark)
		return err_set(e, ERR_BAD_REQUEST, "--bump-revision wants --mark-compacted with it: watchers of older revisions would miss what was lost");
	if (o->mark && *ret == 0)
		return err_set(e, ERR_BAD_REQUEST, "--mark-compacted wants a --bump-revision above 0 with it");
	return 0;
}

static void print_bump(int64_t was, int64_t by, bool kubernetes)
{
	if (by > 0 && kubernetes)
		printf("The backup holds the objects of a Kubernetes API server (/registry/), whose clients go on from revisions that they have seen.\n");
	if (by > 0)
		printf("Its revision goes on at %" PRId64 ", raised by %" PRId64 ", and what is older counts as compacted: clients that have seen later\n"
		       "revisions than the backup's read everything anew (--bump-revision 0: as it was)\n", was + by, by);
	else
		printf("Its revision goes on at %" PRId64 ". Clients that have seen later ones miss changes until they are restarted; if there are any, restore\n"
		       "with --bump-revision %d --mark-compacted\n", was, KV_BUMP_DEFAULT);
}

static int restore(const struct snapshot_opts *o, const char *path, struct arena *a, struct err *e)
{
	char host[256] = "";
	struct kv_restore_cfg cfg = {.data_dir = o->where.data_dir, .name = o->member};
	struct kv_peer *initial = NULL;
	struct snapfile_info info;
	const char *import, *file = path;
	bool converted = false, kubernetes = false, of_etcd = etcd_backup_is(path);
	int rv = 0;

	if (!o->where.data_dir || !o->address)
		return err_set(e, ERR_BAD_REQUEST, "restore needs --data-dir and --advertise-address, as the server will be started with");
	if (!cfg.name && (gethostname(host, sizeof(host) - 1) < 0 || !host[0]))
		return err_set(e, ERR_BAD_REQUEST, "the host has no name; give --member");
	cfg.name = cfg.name ? cfg.name : host;
	cfg.addr = arena_printf(a, "%s:%d", o->address, (int)o->peer_port);
	cfg.url = arena_printf(a, "https://%s:%d", o->address, (int)o->port);
	if (o->initial)
		rv = members_parse(o->initial, (int)o->port, cfg.name, a, &initial, &cfg.n_initial, e);
	cfg.initial = initial;
	import = arena_printf(a, "%s.import", o->where.data_dir);
	if (rv == 0)
		rv = choose_bump(o, of_etcd, &cfg.bump, e);
	if (rv == 0 && of_etcd) {
		rv = etcd_backup_convert(path, import, a, &file, &kubernetes, e);
		converted = e->code != ERR_ALREADY_EXISTS;
	}
	/* What clients of an API server have seen is always taken care of. */
	if (kubernetes && o->bump == BUMP_UNSAID)
		cfg.bump = KV_BUMP_DEFAULT;
	if (rv == 0)
		rv = kv_restore(&cfg, file, &info, e);
	if (converted)
		(void)dir_remove(import, NULL);
	if (rv < 0)
		return rv;
	if (!of_etcd)
		print_info(path, &info);
	print_bump(info.revision, cfg.bump, kubernetes && o->bump == BUMP_UNSAID);
	printf("%s is now member \"%s\" of a new cluster%s: start %s with --data-dir %s --name %s there%s\n", cfg.data_dir, cfg.name,
	       cfg.n_initial > 1 ? " of several" : "", of_etcd ? "'kontiki etcd' (or 'kontiki server')" : "'kontiki server'", cfg.data_dir, cfg.name,
	       cfg.n_initial > 1 ? ", and the others that were made from this file" : "");
	return 0;
}

static int run(const struct snapshot_opts *o, const struct opt_args *args, struct arena *a, struct err *e)
{
	const char *verb = args->n ? args->v[0] : "";
	struct snapfile_info info;

	if (strcmp(verb, "save") != 0 && strcmp(verb, "status") != 0 && strcmp(verb, "restore") != 0)
		return err_set(e, ERR_BAD_REQUEST, "say what to do: save, status or restore");
	if (args->n != 2)
		return err_set(e, ERR_BAD_REQUEST, "which file?");
	if (strcmp(verb, "save") == 0)
		return save(o, args->v[1], a, e);
	if (strcmp(verb, "restore") == 0)
		return restore(o, args->v[1], a, e);
	if (etcd_backup_is(args->v[1]))
		return etcd_backup_status(args->v[1], e);
	if (snapfile_check(args->v[1], &info, e) != 0)
		return -(int)e->code;
	print_info(args->v[1], &info);
	return 0;
}

int cmd_snapshot(int argc, char **argv)
{
	struct snapshot_opts o = {.where.name = LOCAL_DEFAULT_NAME, .port = 6443, .peer_port = 2380, .bump = BUMP_UNSAID};
	struct opt_args args;
	struct err e = ERR_INIT;
	struct arena a;
	int rv;

	if (cmd_wants_help(argc, argv, snapshot_usage, snapshot_rows))
		return CMD_OK;
	if (opts_parse(snapshot_rows, &o, NULL, NULL, argc, argv, &args, &e) < 0)
		return cmd_usage("snapshot", &e);
	arena_init(&a);
	rv = run(&o, &args, &a, &e);
	opt_args_fini(&args);
	arena_fini(&a);
	return rv < 0 ? cmd_fail(&e) : CMD_OK;
}
