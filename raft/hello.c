#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "io/x509.h"
#include "raft/bytes.h"
#include "raft/hello-priv.h"

static void end_frame(struct buf *b, size_t start)
{
	put_u32(b->p + start, (uint32_t)(b->n - start - 4));
}

void transport__encode_hello(struct buf *b, const struct hello *h)
{
	size_t start = b->n;

	add_u32(b, 0);
	add_u32(b, HELLO_MAGIC);
	add_u32(b, h->version);
	add_u64(b, h->cluster_id);
	add_u64(b, h->from);
	add_u64(b, h->to);
	add_u8(b, h->channel);
	add_bytes(b, h->name);
	add_bytes(b, h->addr);
	end_frame(b, start);
}

void transport__encode_answer(struct buf *b, const struct hello_answer *a)
{
	size_t start = b->n;

	add_u32(b, 0);
	add_u32(b, HELLO_MAGIC);
	add_u32(b, HELLO_VERSION);
	add_u8(b, a->ok);
	add_u64(b, a->cluster_id);
	add_u64(b, a->member_id);
	add_bytes(b, a->text);
	end_frame(b, start);
}

int64_t transport__hello_size(struct str bytes)
{
	if (bytes.n < 8)
		return 0;
	if (get_u32(bytes.p) > HELLO_MAX || get_u32(bytes.p + 4) != HELLO_MAGIC)
		return -1;
	return (int64_t)get_u32(bytes.p) + 4;
}

bool transport__decode_hello(struct str frame, struct hello *h)
{
	struct reader r = reader_of(str_skip(frame, 8));

	*h = (struct hello){.version = read_u32(&r)};
	if (h->version != HELLO_VERSION)
		return reader_ok(&r, false);
	h->cluster_id = read_u64(&r);
	h->from = read_u64(&r);
	h->to = read_u64(&r);
	h->channel = read_u8(&r);
	h->name = read_bytes(&r);
	h->addr = read_bytes(&r);
	return reader_ok(&r, true);
}

bool transport__decode_answer(struct str frame, struct hello_answer *a)
{
	struct reader r = reader_of(str_skip(frame, 8));

	a->version = read_u32(&r);
	a->ok = read_u8(&r) != 0;
	a->cluster_id = read_u64(&r);
	a->member_id = read_u64(&r);
	a->text = read_bytes(&r);
	/* A later version may add fields behind. */
	return reader_ok(&r, false);
}

int transport__check_version(uint32_t version, struct err *e)
{
	if (version == HELLO_VERSION)
		return 0;
	return err_set(e, ERR_FORBIDDEN,
		       "it speaks version %" PRIu32 " of the protocol between members, and this one version %u: run the same program on all servers",
		       version, HELLO_VERSION);
}

int transport__let_in(const struct hello_answer *a, struct err *e)
{
	if (!a->ok)
		return err_set(e, ERR_FORBIDDEN, "it refuses us: %.*s", STR_FMT(a->text));
	return transport__check_version(a->version, e);
}

static int check_foreign(struct stream *s, const struct x509_info *cert, const char *const *cns, struct err *e)
{
	if (cns == NULL)
		return 0;
	for (; cert && stream_peer_verified(s) && *cns; cns++)
		if (str_eqc(cert->cn, *cns))
			return 0;
	return err_set(e, ERR_FORBIDDEN, "its certificate's common name \"%.*s\" is not one that members may have",
		       STR_FMT(cert ? cert->cn : STR_NULL));
}

int transport__check_cert(struct stream *s, const struct peer_trust *trust, struct err *e)
{
	const struct x509_info *cert;

	if (!stream_is_tls(s))
		return 0;
	cert = stream_peer_cert(s);
	if (trust->foreign)
		return check_foreign(s, cert, trust->cns, e);
	for (size_t i = 0; cert && stream_peer_verified(s) && i < cert->n_orgs; i++)
		if (str_eq(cert->orgs[i], STR(PEER_ORG)))
			return 0;
	return err_set(e, ERR_FORBIDDEN, "its certificate is not one of a member (O=" PEER_ORG " of this cluster's CA)");
}

void transport__tune(struct stream *s, unsigned dead_ms)
{
	int one = 1, idle = 10, interval = 5, count = 3;
	int fd = stream_fd(s);

	/* One that only listens learns of a dead peer by probes. */
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof(interval));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(count));

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &dead_ms, sizeof(dead_ms));
}
