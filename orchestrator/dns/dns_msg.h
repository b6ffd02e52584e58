/*
 * DNS messages (RFC 1035, EDNS(0) of RFC 6891): reading a query, writing a reply. No I/O, no state.
 *
 * Names are text without the last dot, in lower case, at most 253 characters; a label with a byte outside of letters, digits,
 * '-' and '_' makes the query one that we have no name for (q->odd), which is not an error.
 */
#ifndef ORCHESTRATOR_DNS_DNS_MSG_H
#define ORCHESTRATOR_DNS_DNS_MSG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/str.h"

#define DNS_NAME_MAX 256
#define DNS_HEADER_SIZE 12
#define DNS_UDP_DEFAULT 512u
#define DNS_UDP_MAX 1232u /* what passes every path without fragments */
#define DNS_TCP_MAX 65535u

enum { DNS_A = 1, DNS_NS = 2, DNS_CNAME = 5, DNS_SOA = 6, DNS_PTR = 12, DNS_TXT = 16, DNS_AAAA = 28, DNS_SRV = 33,
	DNS_OPT = 41, DNS_ANY = 255 };
enum { DNS_NOERROR = 0, DNS_FORMERR = 1, DNS_SERVFAIL = 2, DNS_NXDOMAIN = 3, DNS_NOTIMP = 4, DNS_REFUSED = 5 };
#define DNS_CLASS_IN 1

struct dns_query {
	uint16_t id;
	bool recursion_desired;
	bool edns;
	uint16_t udp_size;   /* what the client takes over UDP */
	uint16_t type, class;
	bool odd;            /* the name is not one of ours, and `name` is "" */
	char name[DNS_NAME_MAX];
	size_t question_end; /* offset in the packet */
};

/* False: not a query at all (too short, or an answer); drop it. Otherwise *ret_rcode is DNS_NOERROR, or what to reply at once. */
bool dns_query_parse(struct str packet, struct dns_query *ret, int *ret_rcode);

/* A reply under construction: header and question are copied from the query's packet. */
struct dns_reply {
	struct buf buf;
	const struct dns_query *query;
	size_t limit;
	uint16_t n_answers, n_authority, n_additional;
	bool truncated;
};

/* limit: the largest message that the client takes. */
void dns_reply_init(struct dns_reply *, const struct dns_query *, struct str packet, size_t limit);
/* Where records go, in this order. */
enum dns_section { DNS_ANSWER, DNS_AUTHORITY, DNS_ADDITIONAL };
/* Each appends one record. One that does not fit any more marks the reply as truncated (additional ones are just left out). */
void dns_reply_a(struct dns_reply *, enum dns_section, const char *name, uint32_t ttl, uint32_t addr);
void dns_reply_name(struct dns_reply *, enum dns_section, const char *name, uint16_t type, uint32_t ttl, const char *target);
void dns_reply_srv(struct dns_reply *, enum dns_section, const char *name, uint32_t ttl, uint16_t priority, uint16_t weight,
		uint16_t port, const char *target);
void dns_reply_txt(struct dns_reply *, enum dns_section, const char *name, uint32_t ttl, const char *text);
void dns_reply_soa(struct dns_reply *, const char *zone, uint32_t ttl, uint32_t serial);
/* Adds EDNS if the client spoke it, fills the header. The bytes are reply->buf. */
void dns_reply_finish(struct dns_reply *, int rcode, bool authoritative, bool recursion_available);
void dns_reply_fini(struct dns_reply *);

#endif
