/*
 * Maintenance.Snapshot: a backup in etcd's own file format (store/bolt.h), streamed from one view, with the SHA-256 of all
 * bytes behind it, as etcdctl expects.
 *
 *	begin > [readers' thread: make some pages] > send them > client has room? > make some more ... > checksum > end
 *
 * The view is opened, used and closed on the readers' thread. While a client reads slowly it keeps the store from using
 * pages again, as in etcd; a client that does not read at all is cut by the connection's write timeout.
 */
#include <openssl/evp.h>
#include <stdlib.h>

#include "base/util.h"
#include "orchestrator/etcd/etcd-priv.h"
#include "proto/wire.h"
#include "store/bolt.h"
#include "store/view.h"

/* As etcd: a message's blob. */
#define BLOB (32u << 10)
#define SUM_SIZE 32

struct snapshot {
	struct etcd_job job;
	struct etcd_call *call;  /* NULL: the client is gone; the next job cleans up */
	struct store *store;
	/* The readers' thread's. */
	struct store_view *view;
	struct bolt_out *out;
	EVP_MD_CTX *sum;
	/* Handed over with the job. */
	struct buf pages;
	uint64_t size, sent;
	bool working, last;
	struct err err;
};

/* --- On the readers' thread ----------------------------------------------------------------------------------------- */

static int begin(struct snapshot *s)
{
	int rc = store_view_open(s->store, &s->view, &s->err);

	if (rc == 0)
		rc = bolt_out_new(s->view, &s->out, &s->err);
	if (rc != 0)
		return rc;
	s->size = bolt_out_size(s->out);
	s->sum = EVP_MD_CTX_new();
	ASSERT(s->sum != NULL && EVP_DigestInit_ex(s->sum, EVP_sha256(), NULL) == 1);
	return 0;
}

static void add_sum(struct snapshot *s)
{
	char *p = buf_reserve(&s->pages, SUM_SIZE);

	ASSERT(EVP_DigestFinal_ex(s->sum, (unsigned char *)p, NULL) == 1);
	buf_advance(&s->pages, SUM_SIZE);
}

static void run(struct etcd_job *job)
{
	struct snapshot *s = container_of(job, struct snapshot, job);

	buf_clear(&s->pages);
	if (s->out == NULL && begin(s) != 0)
		return;
	if (bolt_out_next(s->out, &s->pages, &s->last, &s->err) != 0)
		return;
	ASSERT(EVP_DigestUpdate(s->sum, s->pages.p, s->pages.n) == 1);
	if (s->last)
		add_sum(s);
}

static void clean_up(struct etcd_job *job)
{
	struct snapshot *s = container_of(job, struct snapshot, job);

	bolt_out_free(s->out);
	EVP_MD_CTX_free(s->sum);
	store_view_close(s->view);
}

static void cleaned_up(struct etcd_job *job)
{
	struct snapshot *s = container_of(job, struct snapshot, job);

	buf_fini(&s->pages);
	free(s);
}

/* --- On the loop ---------------------------------------------------------------------------------------------------- */

static void work(struct snapshot *s);

/* The call is over; what it held is let go of where it was taken. */
static void let_go(struct snapshot *s)
{
	s->call = NULL;
	if (s->working)
		return;
	s->job.run = clean_up;
	s->job.done = cleaned_up;
	if (s->view == NULL) {
		cleaned_up(&s->job);
	} else if (!etcd__work(s->job.el->srv->readers, s->job.el, &s->job)) {
		clean_up(&s->job);
		cleaned_up(&s->job);
	}
}

static void send_blob(struct snapshot *s, struct str blob, uint64_t remaining)
{
	struct buf frame;

	etcd__frame_init(&frame);
	etcd__header(s->call->el, &frame, 0);
	if (remaining > 0)
		wire_add_uint(&frame, 2, remaining);
	wire_add_bytes(&frame, 3, blob);
	wire_add_bytes(&frame, 4, STR(ETCD_VERSION));
	etcd__send(s->call, &frame);
}

static void send_pages(struct snapshot *s)
{
	struct str rest = buf_str(&s->pages), sum = STR_NULL;

	if (s->last) {
		sum = str_skip(rest, rest.n - SUM_SIZE);
		rest.n -= SUM_SIZE;
	}
	while (rest.n > 0) {
		size_t n = MIN(rest.n, BLOB);

		s->sent += n;
		send_blob(s, str_of(rest.p, n), s->size - s->sent);
		rest = str_skip(rest, n);
	}
	if (s->last)
		send_blob(s, sum, 0);
}

static void worked(struct etcd_job *job)
{
	struct snapshot *s = container_of(job, struct snapshot, job);
	struct etcd_call *c = s->call;

	s->working = false;
	if (c == NULL) {
		let_go(s);
		return;
	}
	if (s->err.code != ERR_OK) {
		struct err e = s->err;

		let_go(s);
		etcd__fail_err(c, &e);
		return;
	}
	send_pages(s);
	if (s->last) {
		let_go(s);
		etcd__finish(c, GRPC_OK, "");
	} else if (c->via->queued(c) <= ETCD_SEND_HIGH) {
		work(s);
	} /* else on_drain goes on */
}

static void on_drain(struct etcd_call *c)
{
	struct snapshot *s = c->state;

	if (!s->working)
		work(s);
}

static void canceled(struct etcd_call *c)
{
	let_go(c->state);
	etcd__fail(c, ETCD_ERR_CANCELED);
}

static void work(struct snapshot *s)
{
	struct etcd_call *c = s->call;

	s->working = etcd__work(c->el->srv->readers, c->el, &s->job);
	if (s->working)
		return;
	let_go(s);
	etcd__fail(c, ETCD_ERR_TOO_MANY_REQUESTS);
}

void etcd__snapshot(struct etcd_call *c, struct str request _unused_)
{
	struct snapshot *s;

	s = xcalloc(1, sizeof(*s));
	s->call = c;
	s->store = c->el->srv->store;
	s->job.run = run;
	s->job.done = worked;
	buf_init(&s->pages, BUF_NO_LIMIT);
	c->state = s;
	c->on_cancel = canceled;
	c->on_drain = on_drain;
	work(s);
}
