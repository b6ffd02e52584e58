/* Where streams come from on a server: a listening socket, and the TLS handshakes under way. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/list.h"
#include "base/log.h"
#include "base/util.h"
#include "io/io-priv.h"
#include "io/stream-priv.h"

#define BACKLOG 1024
#define DEFAULT_HANDSHAKE_MS 10000
#define DEFAULT_HANDSHAKES 1024

struct listener {
	struct loop *loop;
	union {
		uv_handle_t handle;
		uv_stream_t stream;
		uv_tcp_t tcp;
		uv_pipe_t pipe;
	} u;
	bool tcp;
	uint16_t port;
	char *unix_path; /* removed when closed */
	struct listener_user *user;
	struct tls_ctx *tls;
	uint64_t handshake_ms;
	unsigned max_handshakes, n_handshakes;
	bool waiting; /* a connection was left in the kernel because of the limit */
	struct list handshakes;
	void (*close_cb)(void *arg);
	void *close_arg;
};

struct handshake {
	struct list link;
	struct listener *listener;
	struct stream *stream;
	struct loop_timer timer;
};

/* Making the socket. */

static int in_use(const char *address, int errnum, struct err *e)
{
	if (errnum == EADDRINUSE)
		return err_set(e, ERR_ALREADY_EXISTS,
			"cannot listen on %s: address already in use; stop the program that has it "
			"or choose another",
			address);
	return err_set_errno(e, errnum, "cannot listen on %s", address);
}

/* A socket file without a listener is left over from a process that died. */
static void remove_stale(const struct sockaddr_un *un)
{
	struct stat st;
	int fd;

	if (lstat(un->sun_path, &st) != 0 || !S_ISSOCK(st.st_mode))
		return;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return;
	if (connect(fd, (const struct sockaddr *)un, sizeof(*un)) != 0 && errno == ECONNREFUSED)
		unlink(un->sun_path);
	close(fd);
}

static int bind_unix(
	const struct listener_config *c, const struct io__address *a, int *ret, struct err *e)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	int fd;

	memcpy(un.sun_path, a->host, strlen(a->host));
	remove_stale(&un);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_set_errno(e, errno, "cannot make a unix socket");
	if (bind(fd, (struct sockaddr *)&un, sizeof(un)) != 0 ||
		chmod(a->host, c->mode ? c->mode : 0600) != 0) {
		int rv = in_use(c->address, errno, e);

		close(fd);
		return rv;
	}
	*ret = fd;
	return 0;
}

static int bind_ip(const struct listener_config *c, const struct sockaddr *sa, int *ret)
{
	int fd = socket_in_netns(
		c->netns_fd, sa->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int on = 1, off = 0, rv = 0;

	if (fd < 0)
		return fd;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (c->reuseport && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) != 0)
		rv = -errno;
	if (sa->sa_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
	if (rv == 0 && bind(fd, sa,
			       sa->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6)
							 : sizeof(struct sockaddr_in)) != 0)
		rv = -errno;
	if (rv != 0)
		close(fd);
	else
		*ret = fd;
	return rv;
}

static int bind_tcp(
	const struct listener_config *c, const struct io__address *a, int *ret, struct err *e)
{
	struct sockaddr_storage ss;
	const char *host = strcmp(a->host, "localhost") == 0 ? "127.0.0.1" : a->host;
	bool any = host[0] == '\0' || strcmp(host, "*") == 0;
	int rv;

	memset(&ss, 0, sizeof(ss));
	if (any)
		uv_ip6_addr("::", a->port, (struct sockaddr_in6 *)&ss);
	else if (uv_ip4_addr(host, a->port, (struct sockaddr_in *)&ss) != 0 &&
		 uv_ip6_addr(host, a->port, (struct sockaddr_in6 *)&ss) != 0)
		return err_set(
			e, ERR_INVALID, "cannot listen on %s: not an IP address", c->address);
	rv = bind_ip(c, (struct sockaddr *)&ss, ret);
	if (any && (rv == -EAFNOSUPPORT || rv == -EADDRNOTAVAIL)) {
		uv_ip4_addr("0.0.0.0", a->port, (struct sockaddr_in *)&ss);
		rv = bind_ip(c, (struct sockaddr *)&ss, ret);
	}
	return rv == 0 ? 0 : in_use(c->address, -rv, e);
}

int listener_probe(const struct listener_config *c, struct err *e)
{
	struct listener_config alone = *c;
	struct io__address a;
	int fd = -1, rv = io__parse_address(c->address, &a, e);

	alone.reuseport = false;
	if (rv != 0 || a.is_unix || a.port == 0)
		return rv;
	rv = bind_tcp(&alone, &a, &fd, e);
	if (rv == 0)
		close(fd);
	return rv;
}

/* Handing streams out. */

static void accept_one(struct listener *);

static void handshake_over(struct handshake *h)
{
	struct listener *l = h->listener;

	loop_timer_stop(&h->timer);
	list_del(&h->link);
	free(h);
	l->n_handshakes--;
	if (l->waiting) {
		l->waiting = false;
		accept_one(l);
	}
}

static void on_handshake(struct stream *s, void *arg, const struct err *e)
{
	struct handshake *h = arg;
	struct listener *l = h->listener;

	if (e != NULL) {
		log_debug("listener", "handshake failed peer=%s error=\"%s\"",
			stream_peer_address(s), e->text);
		stream_close(s, NULL, NULL);
		handshake_over(h);
		return;
	}
	/* The stream first: the user may close the listener in its callback. */
	handshake_over(h);
	l->user->on_stream(l->user, s);
}

static void on_handshake_timeout(struct loop_timer *t)
{
	struct handshake *h = container_of(t, struct handshake, timer);

	log_debug("listener", "handshake timed out peer=%s", stream_peer_address(h->stream));
	stream_close(h->stream, NULL, NULL);
	handshake_over(h);
}

static void start_handshake(struct listener *l, struct stream *s)
{
	struct handshake *h = xcalloc(1, sizeof(*h));

	h->listener = l;
	h->stream = s;
	list_add_tail(&l->handshakes, &h->link);
	l->n_handshakes++;
	loop_timer_start(&h->timer, l->loop, l->handshake_ms, on_handshake_timeout);
	stream__tls_start(s, l->tls, NULL, on_handshake, h);
}

static void accept_one(struct listener *l)
{
	struct stream *s;

	if (uv_is_closing(&l->u.handle))
		return;
	if (l->n_handshakes >= l->max_handshakes) {
		/* libuv stops polling until it is taken. */
		l->waiting = true;
		return;
	}
	s = stream__new(l->loop, l->tcp);
	if (uv_accept(&l->u.stream, &s->u.stream) != 0) {
		stream_close(s, NULL, NULL);
		return;
	}
	if (l->tcp)
		stream__tcp_options(stream_fd(s));
	if (l->tls != NULL)
		start_handshake(l, s);
	else
		l->user->on_stream(l->user, s);
}

static void on_connection(uv_stream_t *u, int status)
{
	struct listener *l = u->data;

	if (status != 0) {
		log_warn("listener", "accept failed error=\"%s\"", uv_strerror(status));
		return;
	}
	accept_one(l);
}

static uint16_t port_of(int fd)
{
	struct sockaddr_storage ss;
	socklen_t n = sizeof(ss);

	if (getsockname(fd, (struct sockaddr *)&ss, &n) != 0)
		return 0;
	if (ss.ss_family == AF_INET)
		return ntohs(((struct sockaddr_in *)&ss)->sin_port);
	if (ss.ss_family == AF_INET6)
		return ntohs(((struct sockaddr_in6 *)&ss)->sin6_port);
	return 0;
}

static int socket_for(
	const struct listener_config *c, int *ret_fd, bool *ret_tcp, char **ret_path, struct err *e)
{
	struct io__address a;
	int rv;

	if (c->fd > 0) {
		int domain = 0;
		socklen_t n = sizeof(domain);

		if (getsockopt(c->fd, SOL_SOCKET, SO_DOMAIN, &domain, &n) != 0)
			return err_set_errno(e, errno, "fd %d", c->fd);
		*ret_fd = c->fd;
		*ret_tcp = domain != AF_UNIX;
		return 0;
	}
	rv = io__parse_address(c->address, &a, e);
	if (rv != 0)
		return rv;
	*ret_tcp = !a.is_unix;
	if (!a.is_unix)
		return bind_tcp(c, &a, ret_fd, e);
	rv = bind_unix(c, &a, ret_fd, e);
	if (rv == 0)
		*ret_path = xstrdup(a.host);
	return rv;
}

int listener_open(struct loop *loop, const struct listener_config *c, struct listener_user *user,
	struct listener **ret, struct err *e)
{
	struct listener *l;
	char *path = NULL;
	bool tcp;
	int fd, rv;

	rv = socket_for(c, &fd, &tcp, &path, e);
	if (rv != 0)
		return rv;
	l = xcalloc(1, sizeof(*l));
	l->loop = loop;
	l->tcp = tcp;
	l->unix_path = path;
	l->user = user;
	l->tls = tls_ctx_ref(c->tls);
	l->handshake_ms = c->handshake_timeout_ms ? c->handshake_timeout_ms : DEFAULT_HANDSHAKE_MS;
	l->max_handshakes = c->max_handshakes ? c->max_handshakes : DEFAULT_HANDSHAKES;
	list_init(&l->handshakes);
	l->port = port_of(fd);
	if (tcp)
		ASSERT(uv_tcp_init(loop_uv(loop), &l->u.tcp) == 0);
	else
		ASSERT(uv_pipe_init(loop_uv(loop), &l->u.pipe, 0) == 0);
	l->u.handle.data = l;
	rv = tcp ? uv_tcp_open(&l->u.tcp, fd) : uv_pipe_open(&l->u.pipe, fd);
	if (rv != 0)
		close(fd);
	else
		rv = uv_listen(&l->u.stream, BACKLOG, on_connection);
	if (rv != 0) {
		listener_close(l, NULL, NULL);
		return in_use(c->address ? c->address : "the given socket", -rv, e);
	}
	*ret = l;
	return 0;
}

uint16_t listener_port(const struct listener *l)
{
	return l->port;
}

static void on_closed(uv_handle_t *h)
{
	struct listener *l = h->data;
	void (*cb)(void *) = l->close_cb;
	void *arg = l->close_arg;

	tls_ctx_unref(l->tls);
	free(l->unix_path);
	free(l);
	if (cb)
		cb(arg);
}

void listener_close(struct listener *l, void (*cb)(void *arg), void *arg)
{
	l->close_cb = cb;
	l->close_arg = arg;
	l->waiting = false;
	LIST_FOR_EACH_SAFE (h, next, &l->handshakes, struct handshake, link) {
		stream_close(h->stream, NULL, NULL);
		handshake_over(h);
	}
	if (l->unix_path)
		unlink(l->unix_path);
	uv_close(&l->u.handle, on_closed);
}
