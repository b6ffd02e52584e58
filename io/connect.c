/* Making streams as a client: resolve, connect to each address in turn, shake hands. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/util.h"
#include "io/io-priv.h"
#include "io/stream-priv.h"
#include "io/tls-priv.h"

#define MAX_ADDRESSES 8
#define DEFAULT_TIMEOUT_MS 10000

int socket_in_netns(int netns_fd, int domain, int type, int protocol)
{
	int old, fd, saved;

	if (netns_fd <= 0) {
		fd = socket(domain, type, protocol);
		return fd >= 0 ? fd : -errno;
	}
	old = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	if (old < 0)
		return -errno;
	if (setns(netns_fd, CLONE_NEWNET) != 0) {
		saved = errno;
		close(old);
		return -saved;
	}
	fd = socket(domain, type, protocol);
	saved = errno;
	/* A thread that stays in a foreign network would do everything else there, too. */
	ASSERT(setns(old, CLONE_NEWNET) == 0);
	close(old);
	return fd >= 0 ? fd : -saved;
}

int io__parse_address(const char *address, struct io__address *ret, struct err *e)
{
	struct str a = str_from(address), host, port;
	ptrdiff_t colon;
	uint64_t n;

	memset(ret, 0, sizeof(*ret));
	if (str_has_prefix(a, STR("unix:")) || (a.n > 0 && a.p[0] == '/')) {
		struct str path = a.p[0] == '/' ? a : str_skip(a, 5);

		if (str_has_prefix(path, STR("//")))
			path = str_skip(path, 2);
		if (path.n == 0 || path.n >= sizeof(((struct sockaddr_un *)0)->sun_path))
			return err_set(e, ERR_INVALID,
				"\"%s\": a unix socket's path has 1 to %zu bytes", address,
				sizeof(((struct sockaddr_un *)0)->sun_path) - 1);
		ret->is_unix = true;
		memcpy(ret->host, path.p, path.n);
		return 0;
	}
	colon = str_rfind(a, ':');
	if (colon < 0)
		return err_set(e, ERR_INVALID, "address \"%s\" has no port", address);
	host = str_sub(a, 0, (size_t)colon);
	port = str_skip(a, (size_t)colon + 1);
	if (host.n >= 2 && host.p[0] == '[' && host.p[host.n - 1] == ']')
		host = str_sub(host, 1, host.n - 1);
	else if (str_find(host, ':') >= 0)
		return err_set(e, ERR_INVALID, "address \"%s\": an IPv6 address goes in brackets",
			address);
	if (!str_to_u64(port, &n) || n > 65535)
		return err_set(e, ERR_INVALID, "address \"%s\": bad port", address);
	if (host.n >= sizeof(ret->host))
		return err_set(e, ERR_INVALID, "address \"%s\": host name is too long", address);
	if (host.n > 0)
		memcpy(ret->host, host.p, host.n);
	ret->port = (uint16_t)n;
	return 0;
}

struct connecting {
	struct stream_connect *req; /* NULL once done has run */
	struct loop *loop;
	char *address;
	char *server_name; /* NULL: the host */
	const char *alpn;
	struct io__address where;
	struct tls_ctx *tls;
	int netns_fd;
	struct sockaddr_storage addrs[MAX_ADDRESSES];
	unsigned n_addrs, i;
	struct stream *stream;
	struct loop_timer step, timeout;
	uv_getaddrinfo_t resolve_req;
	uv_connect_t connect_req;
	bool resolving, connecting; /* libuv has the request */
	struct err err;
};

static void maybe_free(struct connecting *c)
{
	if (c->req != NULL || c->resolving || c->connecting)
		return;
	tls_ctx_unref(c->tls);
	free(c->server_name);
	free(c->address);
	free(c);
}

static void finish(struct connecting *c, const struct err *why)
{
	struct stream_connect *req = TAKE(c->req);
	struct stream *s = TAKE(c->stream);

	loop_timer_stop(&c->step);
	loop_timer_stop(&c->timeout);
	req->priv = NULL;
	if (why != NULL && s != NULL)
		stream_close(TAKE(s), NULL, NULL);
	if (c->resolving)
		uv_cancel((uv_req_t *)&c->resolve_req);
	req->done(req, s, why);
	maybe_free(c);
}

static void fail(struct connecting *c)
{
	struct err e = c->err;

	if (e.code == ERR_OK)
		err_set(&e, ERR_UNAVAILABLE, "no address");
	err_prefix(&e, "cannot connect to %s", c->address);
	finish(c, &e);
}

static void on_handshake(struct stream *s, void *arg, const struct err *e)
{
	struct connecting *c = arg;

	if (e == NULL) {
		finish(c, NULL);
		return;
	}
	c->err = *e;
	fail(c);
}

static void connected(struct connecting *c)
{
	const char *name = c->server_name     ? c->server_name
			   : c->where.is_unix ? NULL
					      : c->where.host;

	if (c->tls == NULL) {
		finish(c, NULL);
		return;
	}
	stream__tls_start(c->stream, c->tls, name, on_handshake, c);
	if (c->alpn != NULL)
		tls__set_alpn(c->stream->tls->ssl, c->alpn);
}

static void try_address(struct connecting *c);

static void on_connect(uv_connect_t *req, int status)
{
	struct connecting *c = container_of(req, struct connecting, connect_req);

	c->connecting = false;
	if (c->req == NULL) {
		maybe_free(c);
		return;
	}
	if (status == 0) {
		connected(c);
		return;
	}
	c->req->refused = status == UV_ECONNREFUSED;
	err_set(&c->err, ERR_UNAVAILABLE, "%s", uv_strerror(status));
	stream_close(TAKE(c->stream), NULL, NULL);
	c->i++;
	try_address(c);
}

static void connect_unix(struct connecting *c)
{
	c->stream = stream__new(c->loop, false);
	c->connecting = true;
	uv_pipe_connect(&c->connect_req, &c->stream->u.pipe, c->where.host, on_connect);
}

static int start_tcp(struct connecting *c, const struct sockaddr *sa)
{
	int fd = socket_in_netns(
		    c->netns_fd, sa->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0),
	    rv;

	if (fd < 0)
		return fd;
	c->stream = stream__new(c->loop, true);
	rv = uv_tcp_open(&c->stream->u.tcp, fd);
	if (rv != 0) {
		close(fd);
		return rv;
	}
	stream__tcp_options(fd);
	rv = uv_tcp_connect(&c->connect_req, &c->stream->u.tcp, sa, on_connect);
	c->connecting = rv == 0;
	return rv;
}

static void try_address(struct connecting *c)
{
	for (; c->i < c->n_addrs; c->i++) {
		int rv = start_tcp(c, (struct sockaddr *)&c->addrs[c->i]);

		if (rv == 0)
			return;
		c->req->refused = rv == UV_ECONNREFUSED;
		err_set(&c->err, ERR_UNAVAILABLE, "%s", uv_strerror(rv));
		if (c->stream != NULL)
			stream_close(TAKE(c->stream), NULL, NULL);
	}
	fail(c);
}

static void on_resolved(uv_getaddrinfo_t *req, int status, struct addrinfo *res)
{
	struct connecting *c = container_of(req, struct connecting, resolve_req);

	c->resolving = false;
	if (c->req == NULL) {
		uv_freeaddrinfo(res);
		maybe_free(c);
		return;
	}
	for (struct addrinfo *a = res; status == 0 && a != NULL && c->n_addrs < MAX_ADDRESSES;
		a = a->ai_next)
		if (a->ai_addrlen <= sizeof(c->addrs[0]))
			memcpy(&c->addrs[c->n_addrs++], a->ai_addr, a->ai_addrlen);
	uv_freeaddrinfo(res);
	if (status != 0)
		err_set(&c->err, ERR_UNAVAILABLE, "cannot resolve \"%s\": %s", c->where.host,
			uv_strerror(status));
	try_address(c);
}

static void add_address(struct connecting *c, const char *ip)
{
	struct sockaddr_storage *ss = &c->addrs[c->n_addrs];

	if (uv_ip4_addr(ip, c->where.port, (struct sockaddr_in *)ss) == 0 ||
		uv_ip6_addr(ip, c->where.port, (struct sockaddr_in6 *)ss) == 0)
		c->n_addrs++;
}

static void resolve(struct connecting *c)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_family = AF_UNSPEC};
	char port[8];
	int rv;

	if (strcmp(c->where.host, "localhost") == 0) {
		add_address(c, "127.0.0.1");
		add_address(c, "::1");
	} else {
		add_address(c, c->where.host);
	}
	if (c->n_addrs > 0) {
		try_address(c);
		return;
	}
	snprintf(port, sizeof(port), "%u", c->where.port);
	rv = uv_getaddrinfo(
		loop_uv(c->loop), &c->resolve_req, on_resolved, c->where.host, port, &hints);
	c->resolving = rv == 0;
	if (rv != 0) {
		err_set(&c->err, ERR_UNAVAILABLE, "cannot resolve \"%s\": %s", c->where.host,
			uv_strerror(rv));
		fail(c);
	}
}

static void on_start(struct loop_timer *t)
{
	struct connecting *c = container_of(t, struct connecting, step);

	if (io__parse_address(c->address, &c->where, &c->err) != 0)
		fail(c);
	else if (c->where.is_unix)
		connect_unix(c);
	else
		resolve(c);
}

static void on_timeout(struct loop_timer *t)
{
	struct connecting *c = container_of(t, struct connecting, timeout);

	err_set(&c->err, ERR_TIMEOUT, "%s took too long",
		c->resolving    ? "resolving the name"
		: c->connecting ? "connecting"
				: "the TLS handshake");
	fail(c);
}

static void on_cancel(struct loop_timer *t)
{
	struct connecting *c = container_of(t, struct connecting, step);

	err_set(&c->err, ERR_CANCELED, "canceled");
	fail(c);
}

void stream_connect(struct stream_connect *req)
{
	struct connecting *c = xcalloc(1, sizeof(*c));

	c->req = req;
	c->loop = req->loop;
	c->address = xstrdup(req->address);
	c->server_name = req->server_name ? xstrdup(req->server_name) : NULL;
	c->alpn = req->alpn;
	c->tls = tls_ctx_ref(req->tls);
	c->netns_fd = req->netns_fd;
	req->priv = c;
	loop_timer_start(&c->step, c->loop, 0, on_start);
	loop_timer_start(&c->timeout, c->loop,
		req->timeout_ms ? req->timeout_ms : DEFAULT_TIMEOUT_MS, on_timeout);
}

void stream_connect_cancel(struct stream_connect *req)
{
	struct connecting *c = req->priv;

	if (c != NULL)
		loop_timer_start(&c->step, c->loop, 0, on_cancel);
}
