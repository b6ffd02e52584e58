/*
 * The shell's part when a disk fails: try it until it takes writes again, then open the files anew and put a new struct
 * member in the place of the halted one. See member_disk.c for what is promised.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/util.h"
#include "raft/kv-priv.h"

#define RETRY_MS 1000
/* So much must be free before it is worth while: a segment of the log, its reserve, and some pages of the store. */
#define PROBE_BYTES (24u << 20)

static void on_retry(struct loop_timer *t);

static void retry_later(struct kv *kv)
{
	loop_timer_start(&kv->disk_repair.timer, kv->loop, RETRY_MS, on_retry);
}

void kv__disk_failed(struct member *m, const struct err *e)
{
	struct kv *kv = member_arg(m);

	log_error("raft",
		  "alarm=disk error=\"%s\": this member does not take part, and tries again every second: look at the kernel's "
		  "log, at free space and at how the file system of %s is mounted",
		  e->text, kv->data_dir);
	kv->disk_repair.since = clock_mono_ms();
	retry_later(kv);
}

/* Does this directory take a write, for good? */
static int probe_dir(const char *data_dir, const char *name, struct err *e)
{
	_cleanup_(freep) char *path = xasprintf("%s/%s/probe", data_dir, name);
	static const char bytes[4096] = "a test whether the disk works";
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600), rc = 0;

	if (fd < 0)
		return err_set_errno(e, errno, "cannot create %s", path);
	if (fallocate(fd, 0, 0, PROBE_BYTES) != 0 && errno != EOPNOTSUPP && errno != ENOSYS)
		rc = err_set_errno(e, errno, "cannot allocate %u MiB in %s", PROBE_BYTES >> 20, path);
	else if (write(fd, bytes, sizeof(bytes)) != (ssize_t)sizeof(bytes) || fdatasync(fd) != 0)
		rc = err_set_errno(e, errno ? errno : EIO, "cannot write %s", path);
	close(fd);
	(void)unlink(path);
	return rc;
}

static void try_disk(uv_work_t *w)
{
	struct kv *kv = container_of(w, struct kv, disk_repair.work);
	struct err *e = &kv->disk_repair.err;

	err_clear(e);
	kv->disk_repair.rc = probe_dir(kv->data_dir, "raft", e);
	if (kv->disk_repair.rc == 0)
		kv->disk_repair.rc = probe_dir(kv->data_dir, "store", e);
	/* The member is halted, so nobody writes to the store. */
	if (kv->disk_repair.rc == 0 && store_needs_rebase(kv->store))
		kv->disk_repair.rc = store_rebase_begin(kv->store, &kv->disk_repair.rebase, e);
}

static int new_member(struct kv *kv, struct err *e)
{
	struct member *old = kv->member, *member;
	struct stable before = kv->stable;
	uint64_t ids[KV_MAX_MEMBERS];
	struct member_cfg cfg;
	struct stable stable;
	int rc;

	if (kv->disk_repair.rebase) {
		rc = store_install_finish(TAKE(kv->disk_repair.rebase), e);
		if (rc != 0)
			return rc;
	}
	rc = stable_open(&stable, &kv->disk.disk, e);
	if (rc != 0)
		return rc;
	kv->stable = stable;
	kv__member_cfg(kv, ids, &cfg);
	cfg.distrust = true;
	cfg.trust_lsn = member_durable_lsn(old);
	rc = member_new(&cfg, kv, &member, e);
	if (rc != 0) {
		stable_close(&kv->stable);
		kv->stable = before;
		return rc;
	}
	kv->member = member;
	member_stop(old);
	member_free(old);
	stable_close(&before);
	member_on_join_reply(member, kv__join_reply);
	kv__publish(kv);
	return 0;
}

static void tried(uv_work_t *w, int status _unused_)
{
	struct kv *kv = container_of(w, struct kv, disk_repair.work);
	struct err e = kv->disk_repair.err;
	int rc = kv->disk_repair.rc;

	kv->n_work--;
	if (kv->closing) {
		store_install_abort(TAKE(kv->disk_repair.rebase));
		kv__maybe_close(kv);
		return;
	}
	if (rc == 0)
		rc = new_member(kv, &e);
	if (rc == 0) {
		log_info("raft", "the disk works again after %" PRIu64 " ms: this member takes part again",
			 clock_mono_ms() - kv->disk_repair.since);
	} else if (e.code == ERR_CORRUPT || e.code == ERR_FAILED_PRECONDITION) {
		kv__ops.fatal(kv->member, &e);
	} else {
		log_debug("raft", "the disk still fails: %s", e.text);
		retry_later(kv);
	}
}

static void on_retry(struct loop_timer *t)
{
	struct kv *kv = container_of(t, struct kv, disk_repair.timer);

	if (kv->closing)
		return;
	/* A write or a worker is still out: the disk hangs. */
	if (!member_idle(kv->member)) {
		retry_later(kv);
		return;
	}
	kv->n_work++;
	ASSERT(uv_queue_work(loop_uv(kv->loop), &kv->disk_repair.work, try_disk, tried) == 0);
}
