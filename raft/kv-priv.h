/* The shell's state, shared by kv.c (running) and kv_boot.c (start and stop). */
#ifndef RAFT_KV_PRIV_H
#define RAFT_KV_PRIV_H

#include <stdatomic.h>
#include <uv.h>

#include "raft/disk.h"
#include "raft/kv.h"
#include "raft/member.h"
#include "raft/stable.h"
#include "raft/transport.h"
#include "store/store.h"

/* The shell around struct member: a thread with a loop, a thread that writes the WAL, sockets, and messages from other loops. */
struct kv {
	/* The configuration, copied. */
	char *data_dir, *name, *listen, *addr, *url, *zone;
	struct kv_cfg cfg;
	struct kv_peer *initial, alone;
	const struct kv_peer *first; /* the first configuration, should there be none: the list, or this member alone */
	size_t n_first;
	char **join;

	struct loop *loop;
	uv_check_t check;
	uv_idle_t idle;
	bool kicked;
	bool sends_due; /* transport_flush is due at the end of this turn */
	struct loop_timer timer, stop_timer;
	struct disk_posix disk;
	struct stable stable;
	int lock_fd;
	bool disk_open, stable_open;
	bool rejoins; /* in its own place, because its vote or identity was damaged */
	struct store *store;
	struct member *member;
	struct transport *transport;
	struct join joining;
	struct loop_msg view_wanted;
	atomic_bool view_wanted_posted;
	uint64_t n_work; /* worker jobs out */

	/* The writer thread. */
	uv_thread_t writer;
	bool writer_runs;
	uv_mutex_t writer_lock;
	uv_cond_t writer_wake;
	struct wal_batch *batch; /* to be written */
	bool writer_stop;
	struct loop_msg written;
	int written_rc;
	struct err written_err;

	/* The disk failed: kv_disk.c. */
	struct {
		struct loop_timer timer;
		uv_work_t work;
		int rc;
		struct err err;
		struct store_install *rebase;
		uint64_t since;
	} disk_repair;

	/* Start and stop. */
	struct loop_msg boot, stop;
	uv_mutex_t lock;
	uv_cond_t booted_cond;
	bool booted, stopping, closing, closed;
	int boot_rc;
	struct err boot_err;
	struct kv_admin transfer;

	struct histogram log_writes;
	struct loop_timer figures_timer;

	/* Published, under lock. */
	struct kv_figures figures;
	struct kv_status status;
	struct list watches;
};

/* kv.c */
extern const struct member_ops kv__ops;
void kv__publish(struct kv *);
void kv__figures_start(struct kv *);
void kv__on_check(uv_check_t *);
void kv__writer_main(void *);
void kv__view_wanted(void *);
void kv__transport_cfg(struct kv *, struct transport_cfg *);
void kv__join_reply(struct member *, uint64_t conn, struct str frame);

/* kv_disk.c */
void kv__disk_failed(struct member *, const struct err *);

/* kv_boot.c */
/* What a member of this kv is made with; `ids` has room for KV_MAX_MEMBERS. */
void kv__member_cfg(struct kv *, uint64_t *ids, struct member_cfg *);
/* The last step of a stop, once nothing of ours is on its way any more. */
void kv__maybe_close(struct kv *);

#endif
