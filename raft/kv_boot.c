/* A member's start (files, identity, joining) and its stop. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/util.h"
#include "raft/addrs.h"
#include "raft/kv-priv.h"
#include "raft/repair.h"

/* --- Start --------------------------------------------------------------------------------------------------------------- */

static void booted(struct kv *kv, int rc)
{
	uv_mutex_lock(&kv->lock);
	kv->boot_rc = rc;
	kv->booted = true;
	uv_cond_signal(&kv->booted_cond);
	uv_mutex_unlock(&kv->lock);
}

static int make_dir(const char *path, struct err *e)
{
	char *copy = xstrdup(path);
	int rc = 0;

	for (char *p = copy + 1; rc == 0; p++)
		if (*p == '/' || *p == '\0') {
			char c = *p;

			*p = '\0';
			if (mkdir(copy, 0700) != 0 && errno != EEXIST)
				rc = err_set_errno(e, errno, "cannot make the directory %s", copy);
			*p = c;
			if (c == '\0')
				break;
		}
	free(copy);
	return rc;
}

static int open_files(struct kv *kv, struct err *e)
{
	char *dir = xasprintf("%s/raft", kv->data_dir), *lock = xasprintf("%s/raft/lock", kv->data_dir);
	int rc = make_dir(dir, e);

	if (rc == 0) {
		kv->lock_fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
		if (kv->lock_fd < 0)
			rc = err_set_errno(e, errno, "cannot open %s", lock);
		else if (flock(kv->lock_fd, LOCK_EX | LOCK_NB) != 0)
			rc = err_set(e, ERR_FAILED_PRECONDITION, "another process uses the data directory %s", kv->data_dir);
	}
	if (rc == 0) {
		int err = disk_posix_init(&kv->disk, dir, kv->cfg.nosync);

		kv->disk_open = err == 0;
		if (err < 0)
			rc = err_set_errno(e, -err, "cannot open the directory %s", dir);
	}
	if (rc == 0) {
		rc = stable_open(&kv->stable, &kv->disk.disk, e);
		kv->stable_open = rc == 0;
		if (rc != 0)
			err_prefix(e, "data directory %s", kv->data_dir);
	}
	free(dir);
	free(lock);
	return rc;
}

static int check_name(struct kv *kv, struct err *e)
{
	if (kv->stable.has_member && strcmp(kv->stable.name, kv->name) != 0)
		return err_set(e, ERR_FAILED_PRECONDITION, "the data directory %s belongs to member \"%s\", not to \"%s\"",
			       kv->data_dir, kv->stable.name, kv->name);
	return 0;
}

static int open_store(struct kv *kv, uint64_t cluster_id, uint64_t member_id, struct err *e)
{
	char *dir = xasprintf("%s/store", kv->data_dir);
	struct store_cfg cfg = {.dir = dir,
				.cluster_id = cluster_id,
				.member_id = member_id,
				.quota_bytes = kv->cfg.store_quota,
				.no_sync = kv->cfg.nosync};
	int rc = store_open(&cfg, &kv->store, e);

	free(dir);
	return rc;
}

static int start_transport(struct kv *kv, struct err *e)
{
	struct transport_cfg cfg = {.loop = kv->loop,
				    .listen = kv->listen,
				    .tls_server = kv->cfg.tls_server,
				    .tls_client = kv->cfg.tls_client,
				    .trust = {kv->cfg.foreign_peers, kv->cfg.peer_cns},
				    .cluster_id = kv->stable.cluster_id,
				    .member_id = kv->stable.member_id,
				    .name = kv->name,
				    .addr = kv->addr,
				    .election_ms = kv->cfg.election_ms};

	kv__transport_cfg(kv, &cfg);
	return kv->listen ? transport_new(&cfg, &kv->transport, e) : 0;
}

void kv__member_cfg(struct kv *kv, uint64_t *ids, struct member_cfg *cfg)
{
	/* One that joined has no list: an empty log waits for the leader, it begins nothing. */
	size_t n = kv->stable.joined ? 0 : kv->n_first;

	*cfg = (struct member_cfg){.ops = &kv__ops,
				   .disk = &kv->disk.disk,
				   .stable = &kv->stable,
				   .store = kv->store,
				   .initial = kv->first,
				   .initial_ids = ids,
				   .n_initial = n,
				   .self = {.addr = kv->cfg.keeps_address ? NULL : kv->addr, .url = kv->url, .zone = kv->zone},
				   .voters = kv->cfg.voters,
				   .dead_ms = kv->cfg.dead_ms,
				   .replace_ms = kv->cfg.replace_ms,
				   .places_only = kv->cfg.places_only,
				   .election_ms = kv->cfg.election_ms,
				   .heartbeat_ms = kv->cfg.heartbeat_ms,
				   .compact_keep_ms = kv->cfg.compact_keep_ms,
				   .lease_checkpoint_ms = kv->cfg.lease_checkpoint_ms,
				   .scrub_ms = kv->cfg.scrub_ms,
				   .compact_keep_revisions = kv->cfg.compact_keep_revisions,
				   .checkpoint_bytes = kv->cfg.checkpoint_bytes};
	for (size_t i = 0; i < n; i++)
		ids[i] = member_initial_id(kv->stable.cluster_id, kv->first[i].name);
}

static int put_state_aside(struct kv *kv, struct err *e)
{
	_cleanup_(freep) char *dir = xasprintf("%s/store", kv->data_dir);

	store_abandon(TAKE(kv->store));
	return repair_state(&kv->disk.disk, dir, kv->stable.member_id, e);
}

static int make_member(struct kv *kv, struct err *e)
{
	uint64_t ids[KV_MAX_MEMBERS];
	struct member_cfg cfg;

	kv__member_cfg(kv, ids, &cfg);
	return member_new(&cfg, kv, &kv->member, e);
}

/* Identity is settled: store, transport, member. What is damaged is put aside if others have it (raft/repair.h). */
static int start_member(struct kv *kv, struct err *e)
{
	int rc = open_store(kv, kv->stable.cluster_id, kv->stable.member_id, e);

	if (rc == -(int)ERR_CORRUPT) {
		rc = put_state_aside(kv, e);
		if (rc == 0)
			rc = open_store(kv, kv->stable.cluster_id, kv->stable.member_id, e);
	}
	if (rc == 0)
		store_on_wanted(kv->store, kv__view_wanted, kv);
	if (rc == 0)
		rc = start_transport(kv, e);
	if (rc != 0)
		return rc;
	uv_mutex_lock(&kv->lock);
	snprintf(kv->status.addr, sizeof(kv->status.addr), "%s", kv->addr);
	uv_mutex_unlock(&kv->lock);
	ASSERT(uv_thread_create(&kv->writer, kv__writer_main, kv) == 0);
	kv->writer_runs = true;
	rc = make_member(kv, e);
	if (rc == -(int)ERR_CORRUPT) {
		rc = put_state_aside(kv, e);
		if (rc == 0)
			rc = open_store(kv, kv->stable.cluster_id, kv->stable.member_id, e);
		if (rc == 0)
			rc = make_member(kv, e);
	}
	if (rc == 0) {
		member_on_join_reply(kv->member, kv__join_reply);
		/* What member_new asked for came before there was a member to answer for it. */
		kv__publish(kv);
		kv__figures_start(kv);
	}
	return rc;
}

static int boot_initial(struct kv *kv, struct err *e)
{
	const struct kv_peer *list = kv->first;
	size_t n = kv->n_first;
	bool found = false;
	uint64_t cluster;

	for (size_t i = 0; i < n; i++)
		found = found || strcmp(list[i].name, kv->name) == 0;
	if (!found && !(kv->stable.has_member && n == 0))
		return err_set(e, ERR_INVALID, "this member, \"%s\", is not in the list of initial members", kv->name);
	if (n > 1 && !kv->listen)
		return err_set(e, ERR_INVALID, "a cluster of several members needs a peer address to listen on");
	if (!kv->stable.has_member) {
		cluster = n > 1 ? member_cluster_id(list, n, kv->cfg.cluster_token) : random_u64() >> 1 | 1;
		if (stable_save_member(&kv->stable, cluster, member_initial_id(cluster, kv->name), kv->name, false, e) !=
		    0)
			return -(int)e->code;
	}
	return start_member(kv, e);
}

static void joined(struct join *j, uint64_t cluster_id, const struct err *e)
{
	struct kv *kv = container_of(j, struct kv, joining);
	int rc = e ? -(int)e->code : 0;

	if (e)
		kv->boot_err = *e;
	else if (kv->stopping)
		rc = err_set(&kv->boot_err, ERR_CANCELED, "stopped while joining");
	if (rc == 0)
		rc = stable_save_member(&kv->stable, cluster_id, j->member_id, kv->name, true, &kv->boot_err);
	if (rc == 0 && kv->rejoins)
		rc = repair_rejoined(&kv->disk.disk, &kv->boot_err);
	if (rc == 0)
		rc = start_member(kv, &kv->boot_err);
	booted(kv, rc);
}

static void start_join(struct kv *kv)
{
	kv->joining = (struct join){.loop = kv->loop,
				    .addrs = (const char *const *)kv->join,
				    .n_addrs = kv->cfg.n_join,
				    .again = kv->rejoins,
				    .tls = kv->cfg.tls_client,
				    .trust = {kv->cfg.foreign_peers, kv->cfg.peer_cns},
				    .member_id = (random_u64() >> 1) | 1,
				    .name = kv->name,
				    .addr = kv->addr,
				    .url = kv->url,
				    .zone = kv->zone,
				    .witness = kv->cfg.witness,
				    .timeout_ms = kv->cfg.join_ms ? kv->cfg.join_ms : 30000,
				    .done = joined};
	join_start(&kv->joining);
}

/* One address after the other is asked, whosever it is. */
static void add_seeds(struct kv *kv, struct str list)
{
	for (size_t i = 0; i < addrs_n(list); i++) {
		kv->join = xrealloc(kv->join, (kv->cfg.n_join + 1) * sizeof(*kv->join));
		kv->join[kv->cfg.n_join++] = str_dup(addrs_at(list, i));
	}
}

/* Whom to ask for admission is what the damaged member knew of the others. */
static void join_the_others(struct kv *kv)
{
	char addrs[KV_MAX_MEMBERS][KV_ADDR_MAX];
	size_t n = repair_addresses(&kv->disk.disk, kv->name, addrs);

	for (size_t i = 0; i < kv->cfg.n_join; i++)
		free(kv->join[i]);
	kv->cfg.n_join = 0;
	for (size_t i = 0; i < n; i++)
		add_seeds(kv, str_from(addrs[i]));
	kv->rejoins = true;
}

/* Identity or vote are damaged, or were the last time, and that has not come to its end. */
static int rejoin(struct kv *kv, struct err *e)
{
	_cleanup_(freep) char *dir = xasprintf("%s/store", kv->data_dir);
	int rc;

	if (kv->stable_open)
		stable_close(&kv->stable);
	kv->stable_open = false;
	rc = repair_identity(&kv->disk.disk, dir, kv->name, e);
	if (rc == 0) {
		rc = stable_open(&kv->stable, &kv->disk.disk, e);
		kv->stable_open = rc == 0;
	}
	if (rc == 0)
		join_the_others(kv);
	return rc;
}

static void run_boot(struct loop_msg *msg)
{
	struct kv *kv = container_of(msg, struct kv, boot);
	int rc = open_files(kv, &kv->boot_err);

	if ((rc == 0 && repair_rejoins(&kv->disk.disk)) || (rc == -(int)ERR_CORRUPT && kv->disk_open))
		rc = rejoin(kv, &kv->boot_err);
	if (rc == 0)
		rc = check_name(kv, &kv->boot_err);
	if (rc == 0 && !kv->stable.has_member && kv->cfg.n_join > 0) {
		start_join(kv);
		return;
	}
	/*
	 * A member that crashed between its identity and its first entry begins again with the same list. A joiner that did
	 * has no list: it waits for its leader, as it did before.
	 */
	if (rc == 0 && kv->stable.has_member && kv->stable.joined)
		rc = start_member(kv, &kv->boot_err);
	else if (rc == 0)
		rc = boot_initial(kv, &kv->boot_err);
	booted(kv, rc);
}

static char *dup_or_null(const char *s)
{
	return s ? xstrdup(s) : NULL;
}

static void copy_cfg(struct kv *kv, const struct kv_cfg *cfg)
{
	kv->cfg = *cfg;
	kv->data_dir = xstrdup(cfg->data_dir);
	kv->name = xstrdup(cfg->name);
	kv->listen = dup_or_null(cfg->listen);
	kv->addr = xstrdup(cfg->advertise ? cfg->advertise : cfg->listen ? cfg->listen : "local");
	kv->url = dup_or_null(cfg->url);
	kv->zone = dup_or_null(cfg->zone);
	if (cfg->initial) {
		kv->initial = xcalloc(cfg->n_initial, sizeof(*kv->initial));
		for (size_t i = 0; i < cfg->n_initial; i++)
			kv->initial[i] = (struct kv_peer){.name = xstrdup(cfg->initial[i].name),
							  .addr = xstrdup(cfg->initial[i].addr),
							  .url = dup_or_null(cfg->initial[i].url),
							  .zone = dup_or_null(cfg->initial[i].zone),
							  .witness = cfg->initial[i].witness};
	}
	kv->alone = (struct kv_peer){.name = kv->name, .addr = kv->addr, .url = kv->url, .zone = kv->zone};
	kv->first = kv->initial ? kv->initial : &kv->alone;
	kv->n_first = kv->initial ? cfg->n_initial : 1;
	kv->cfg.n_join = 0;
	for (size_t i = 0; i < cfg->n_join; i++)
		add_seeds(kv, str_from(cfg->join[i]));
	kv->cfg.election_ms = cfg->election_ms ? cfg->election_ms : 300;
	kv->cfg.heartbeat_ms = cfg->heartbeat_ms ? cfg->heartbeat_ms : 50;
	kv->cfg.request_ms = cfg->request_ms ? cfg->request_ms : 10000;
}

static void free_kv(struct kv *kv)
{
	for (size_t i = 0; kv->initial && i < kv->cfg.n_initial; i++) {
		free((char *)(uintptr_t)kv->initial[i].name);
		free((char *)(uintptr_t)kv->initial[i].addr);
		free((char *)(uintptr_t)kv->initial[i].url);
		free((char *)(uintptr_t)kv->initial[i].zone);
	}
	for (size_t i = 0; i < kv->cfg.n_join; i++)
		free(kv->join[i]);
	free(kv->initial);
	free(kv->join);
	free(kv->data_dir);
	free(kv->name);
	free(kv->listen);
	free(kv->addr);
	free(kv->url);
	free(kv->zone);
	uv_mutex_destroy(&kv->lock);
	uv_mutex_destroy(&kv->writer_lock);
	uv_cond_destroy(&kv->writer_wake);
	uv_cond_destroy(&kv->booted_cond);
	free(kv);
}

static int check_cfg(const struct kv_cfg *cfg, struct err *e)
{
	if (!cfg->name || cfg->name[0] == '\0' || strlen(cfg->name) >= KV_NAME_MAX || strpbrk(cfg->name, "| \t\n"))
		return err_set(e, ERR_INVALID, "a member needs a name of at most %d characters without blanks", KV_NAME_MAX - 1);
	if (cfg->n_initial > KV_MAX_MEMBERS)
		return err_set(e, ERR_INVALID, "a cluster has at most %d members", KV_MAX_MEMBERS);
	if (cfg->initial && cfg->n_join > 0)
		return err_set(e, ERR_INVALID, "a member begins a cluster or joins one, not both");
	if ((cfg->n_join > 0 || cfg->n_initial > 1) && !cfg->listen)
		return err_set(e, ERR_INVALID, "a cluster of several members needs a peer address to listen on");
	if (cfg->heartbeat_ms && cfg->election_ms && cfg->heartbeat_ms * 2 > cfg->election_ms)
		return err_set(e, ERR_INVALID, "the heartbeat interval must be at most half the election timeout");
	return 0;
}

int kv_start(const struct kv_cfg *cfg, struct kv **ret, struct err *e)
{
	struct kv *kv;
	int rc = check_cfg(cfg, e);

	if (rc != 0)
		return rc;
	kv = xcalloc(1, sizeof(*kv));
	copy_cfg(kv, cfg);
	kv->lock_fd = -1;
	kv->disk.root_fd = -1;
	list_init(&kv->watches);
	histogram_init(&kv->log_writes, 0.001, 14);
	uv_mutex_init(&kv->lock);
	uv_mutex_init(&kv->writer_lock);
	uv_cond_init(&kv->writer_wake);
	uv_cond_init(&kv->booted_cond);
	kv->status.state = "starting";
	kv->loop = loop_new("raft");
	uv_check_init(loop_uv(kv->loop), &kv->check);
	uv_idle_init(loop_uv(kv->loop), &kv->idle);
	kv->check.data = kv;
	uv_check_start(&kv->check, kv__on_check);
	kv->boot.run = run_boot;
	loop_post(kv->loop, &kv->boot);
	loop_thread_start(kv->loop);
	uv_mutex_lock(&kv->lock);
	while (!kv->booted)
		uv_cond_wait(&kv->booted_cond, &kv->lock);
	uv_mutex_unlock(&kv->lock);
	rc = kv->boot_rc;
	if (rc != 0) {
		if (e)
			*e = kv->boot_err;
		kv_stop(kv);
		return rc;
	}
	*ret = kv;
	return 0;
}

/* --- Stop ------------------------------------------------------------------------------------------------------------------ */

static void stop_writer(struct kv *kv)
{
	if (!kv->writer_runs)
		return;
	uv_mutex_lock(&kv->writer_lock);
	kv->writer_stop = true;
	uv_cond_signal(&kv->writer_wake);
	uv_mutex_unlock(&kv->writer_lock);
	uv_thread_join(&kv->writer);
	kv->writer_runs = false;
}

static void transport_closed(void *arg)
{
	struct kv *kv = arg;

	kv->transport = NULL;
	kv__maybe_close(kv);
}

/* The last step: nothing of ours is on its way any more. */
void kv__maybe_close(struct kv *kv)
{
	if (!kv->closing || kv->closed || kv->transport || kv->n_work > 0 || (kv->member && !member_idle(kv->member)))
		return;
	kv->closed = true;
	member_free(TAKE(kv->member));
	stop_writer(kv);
	loop_timer_stop(&kv->timer);
	loop_timer_stop(&kv->stop_timer);
	loop_timer_stop(&kv->figures_timer);
	loop_timer_stop(&kv->disk_repair.timer);
	uv_close((uv_handle_t *)&kv->check, NULL);
	uv_close((uv_handle_t *)&kv->idle, NULL);
	loop_stop(kv->loop);
}

static void close_all(struct kv *kv)
{
	struct transport *t = kv->transport;

	if (kv->closing)
		return;
	kv->closing = true;
	if (kv->member)
		member_stop(kv->member);
	if (t)
		transport_close(t, transport_closed);
	else
		kv__maybe_close(kv);
}

static void on_stop_timer(struct loop_timer *t)
{
	close_all(container_of(t, struct kv, stop_timer));
}

static void transfer_done(struct kv_admin *a)
{
	close_all(container_of(a, struct kv, transfer));
}

static void run_stop(struct loop_msg *msg)
{
	struct kv *kv = container_of(msg, struct kv, stop);

	kv->stopping = true;
	if (!kv->member || !member_is_leader(kv->member) || kv->status.n_members < 2) {
		close_all(kv);
		return;
	}
	/* The others then need not find out by themselves. */
	kv->transfer.done = transfer_done;
	kv->transfer.kv = kv;
	kv->transfer.loop = kv->loop;
	kv->transfer.op = MEMBER_TRANSFER;
	kv->transfer.deadline = clock_mono_ms() + kv->cfg.election_ms;
	loop_timer_start(&kv->stop_timer, kv->loop, kv->cfg.election_ms + 50, on_stop_timer);
	member_admin(kv->member, &kv->transfer);
}

void kv_stop(struct kv *kv)
{
	if (!kv)
		return;
	kv->stop.run = run_stop;
	loop_post(kv->loop, &kv->stop);
	loop_thread_join(kv->loop);
	loop_free(kv->loop);
	stop_writer(kv);
	store_close(kv->store);
	if (kv->stable_open)
		stable_close(&kv->stable);
	if (kv->disk_open)
		disk_posix_fini(&kv->disk);
	if (kv->lock_fd >= 0)
		close(kv->lock_fd);
	free_kv(kv);
}
