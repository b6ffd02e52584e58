#include <arpa/inet.h>
#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/util.h"
#include "io/stream.h"

/* Address and port of one end, as inet_diag wants them. */
static bool endpoint(const struct sockaddr_storage *a, __be32 ret_addr[4], __be16 *ret_port)
{
	memset(ret_addr, 0, 4 * sizeof(ret_addr[0]));
	if (a->ss_family == AF_INET) {
		const struct sockaddr_in *in = (const struct sockaddr_in *)a;

		ret_addr[0] = in->sin_addr.s_addr;
		*ret_port = in->sin_port;
		return true;
	}
	if (a->ss_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)a;

		memcpy(ret_addr, &in6->sin6_addr, 16);
		*ret_port = in6->sin6_port;
		return true;
	}
	return false;
}

/* Ask the kernel (NETLINK_SOCK_DIAG, see sock_diag(7)) for one socket by its addresses. */
static int tcp_owner(const struct sockaddr_storage *theirs, const struct sockaddr_storage *ours, uid_t *ret)
{
	struct {
		struct nlmsghdr head;
		struct inet_diag_req_v2 req;
	} ask = {
		.head = {.nlmsg_len = sizeof(ask), .nlmsg_type = SOCK_DIAG_BY_FAMILY, .nlmsg_flags = NLM_F_REQUEST},
		.req = {.sdiag_family = (uint8_t)theirs->ss_family, .sdiag_protocol = IPPROTO_TCP, .idiag_states = ~0u,
			.id = {.idiag_cookie = {INET_DIAG_NOCOOKIE, INET_DIAG_NOCOOKIE}}},
	};
	char answer[4096] __attribute__((aligned(NLMSG_ALIGNTO)));
	const struct nlmsghdr *head = (const struct nlmsghdr *)answer;
	struct timeval patience = {.tv_sec = 1};
	_cleanup_(closep) int fd = -1;
	ssize_t n;

	if (!endpoint(theirs, ask.req.id.idiag_src, &ask.req.id.idiag_sport) ||
	    !endpoint(ours, ask.req.id.idiag_dst, &ask.req.id.idiag_dport))
		return -EAFNOSUPPORT;
	fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
	if (fd < 0)
		return -errno;
	/* The kernel answers within the send; the time is only there so that nothing can hang a loop. */
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	if (send(fd, &ask, sizeof(ask), 0) < 0)
		return -errno;
	n = recv(fd, answer, sizeof(answer), 0);
	if (n < 0)
		return -errno;
	if (!NLMSG_OK(head, (size_t)n) || head->nlmsg_type != SOCK_DIAG_BY_FAMILY ||
	    head->nlmsg_len < NLMSG_LENGTH(sizeof(struct inet_diag_msg)))
		return -ENOENT;
	*ret = ((const struct inet_diag_msg *)NLMSG_DATA(head))->idiag_uid;
	return 0;
}

int stream_peer_uid(const struct stream *s, uid_t *ret)
{
	struct sockaddr_storage theirs = {0}, ours = {0};
	socklen_t n_theirs = sizeof(theirs), n_ours = sizeof(ours);
	int fd = stream_fd(s);

	if (getpeername(fd, (struct sockaddr *)&theirs, &n_theirs) != 0 ||
	    getsockname(fd, (struct sockaddr *)&ours, &n_ours) != 0)
		return -errno;
	if (ours.ss_family == AF_UNIX) {
		struct ucred c;
		socklen_t n = sizeof(c);

		if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &c, &n) != 0)
			return -errno;
		*ret = c.uid;
		return 0;
	}
	return tcp_owner(&theirs, &ours, ret);
}
