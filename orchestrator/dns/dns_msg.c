#include "orchestrator/dns/dns_msg.h"

#include <stdio.h>
#include <string.h>

#include "base/util.h"

#define FLAG_QR 0x8000u
#define FLAG_AA 0x0400u
#define FLAG_TC 0x0200u
#define FLAG_RD 0x0100u
#define FLAG_RA 0x0080u

static uint16_t get16(const char *p)
{
	return (uint16_t)((uint8_t)p[0] << 8 | (uint8_t)p[1]);
}

/* --- Reading --------------------------------------------------------------------------------------------- */

static bool plain(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

/* The name at *pos (not compressed: nothing precedes a question's name that could be pointed to). */
static bool read_name(struct str packet, size_t *pos, struct dns_query *q)
{
	size_t n = 0, total = 0;

	for (;;) {
		size_t label;

		if (*pos >= packet.n)
			return false;
		label = (uint8_t)packet.p[(*pos)++];
		total += label + 1;
		if (label > 63 || total > 255 || packet.n - *pos < label)
			return false;
		if (label == 0)
			break;
		if (n > 0)
			q->name[n++] = '.';
		for (size_t i = 0; i < label; i++) {
			char c = packet.p[*pos + i];

			if (c >= 'A' && c <= 'Z')
				c = (char)(c - 'A' + 'a');
			q->odd |= !plain(c);
			q->name[n++] = c;
		}
		*pos += label;
	}
	q->name[q->odd ? 0 : n] = '\0';
	return true;
}

/* Skip a record's name, which may end in a pointer. */
static bool skip_name(struct str packet, size_t *pos)
{
	while (*pos < packet.n) {
		uint8_t c = (uint8_t)packet.p[(*pos)++];

		if (c == 0)
			return true;
		if (c >= 0xc0)
			return (*pos)++ < packet.n;
		if (c > 63 || packet.n - *pos < c)
			return false;
		*pos += c;
	}
	return false;
}

/* Look through the records for EDNS. A query has few of them. */
static bool read_edns(struct str packet, size_t pos, unsigned n, struct dns_query *q)
{
	for (unsigned i = 0; i < n; i++) {
		size_t data;

		if (!skip_name(packet, &pos) || packet.n < pos || packet.n - pos < 10)
			return false;
		data = get16(packet.p + pos + 8);
		if (get16(packet.p + pos) == DNS_OPT) {
			q->edns = true;
			q->udp_size = MAX(get16(packet.p + pos + 2), (uint16_t)DNS_UDP_DEFAULT);
		}
		pos += 10;
		if (packet.n - pos < data)
			return false;
		pos += data;
	}
	return true;
}

bool dns_query_parse(struct str packet, struct dns_query *q, int *ret_rcode)
{
	size_t pos = DNS_HEADER_SIZE;
	uint16_t flags;

	memset(q, 0, sizeof(*q));
	q->udp_size = DNS_UDP_DEFAULT;
	if (packet.n < DNS_HEADER_SIZE)
		return false;
	flags = get16(packet.p + 2);
	if (flags & FLAG_QR)
		return false;
	q->id = get16(packet.p);
	q->recursion_desired = flags & FLAG_RD;
	q->question_end = DNS_HEADER_SIZE;
	*ret_rcode = DNS_FORMERR;
	if ((flags >> 11 & 15) != 0) {
		*ret_rcode = DNS_NOTIMP;
		return true;
	}
	if (get16(packet.p + 4) != 1 || !read_name(packet, &pos, q) || packet.n - pos < 4) {
		q->name[0] = '\0';
		return true;
	}
	q->type = get16(packet.p + pos);
	q->class = get16(packet.p + pos + 2);
	q->question_end = pos + 4;
	if (!read_edns(packet, q->question_end,
			    (unsigned)get16(packet.p + 6) + get16(packet.p + 8) + get16(packet.p + 10), q))
		return true;
	*ret_rcode = DNS_NOERROR;
	return true;
}

/* --- Writing --------------------------------------------------------------------------------------------- */

static void put16(struct buf *b, unsigned v)
{
	buf_add1(b, (char)(v >> 8));
	buf_add1(b, (char)v);
}

static void put32(struct buf *b, uint32_t v)
{
	put16(b, v >> 16);
	put16(b, v & 0xffff);
}

static void put_name(struct dns_reply *r, const char *name)
{
	struct str rest = str_from(name), label;

	/* The question's name is where every question's name is. */
	if (r->query->name[0] && strcmp(name, r->query->name) == 0) {
		put16(&r->buf, 0xc000 | DNS_HEADER_SIZE);
		return;
	}
	while (rest.n > 0) {
		str_cut(rest, '.', &label, &rest);
		ASSERT(label.n > 0 && label.n < 64);
		buf_add1(&r->buf, (char)label.n);
		buf_adds(&r->buf, label);
	}
	buf_add1(&r->buf, '\0');
}

void dns_reply_init(struct dns_reply *r, const struct dns_query *q, struct str packet, size_t limit)
{
	memset(r, 0, sizeof(*r));
	r->query = q;
	r->limit = limit;
	buf_init(&r->buf, BUF_NO_LIMIT);
	buf_adds(&r->buf, str_sub(packet, 0, q->question_end));
}

void dns_reply_fini(struct dns_reply *r)
{
	buf_fini(&r->buf);
}

/* Room for the EDNS record is kept to the end. */
static bool fits(const struct dns_reply *r)
{
	return r->buf.n + (r->query->edns ? 11 : 0) <= r->limit;
}

static size_t begin(struct dns_reply *r, const char *name, uint16_t type, uint32_t ttl)
{
	put_name(r, name);
	put16(&r->buf, type);
	put16(&r->buf, DNS_CLASS_IN);
	put32(&r->buf, ttl);
	put16(&r->buf, 0);
	return r->buf.n;
}

/* `from` is where the record began, `data` where its data did. */
static void end(struct dns_reply *r, enum dns_section section, size_t from, size_t data)
{
	size_t n = r->buf.n - data;

	if (!fits(r) || r->truncated) {
		r->buf.n = from;
		if (section == DNS_ANSWER)
			r->truncated = true;
		return;
	}
	r->buf.p[data - 2] = (char)(n >> 8);
	r->buf.p[data - 1] = (char)n;
	if (section == DNS_ANSWER)
		r->n_answers++;
	else if (section == DNS_AUTHORITY)
		r->n_authority++;
	else
		r->n_additional++;
}

void dns_reply_a(struct dns_reply *r, enum dns_section section, const char *name, uint32_t ttl, uint32_t addr)
{
	size_t from = r->buf.n, data = begin(r, name, DNS_A, ttl);

	put32(&r->buf, addr);
	end(r, section, from, data);
}

void dns_reply_name(struct dns_reply *r, enum dns_section section, const char *name, uint16_t type, uint32_t ttl,
		const char *target)
{
	size_t from = r->buf.n, data = begin(r, name, type, ttl);

	put_name(r, target);
	end(r, section, from, data);
}

void dns_reply_srv(struct dns_reply *r, enum dns_section section, const char *name, uint32_t ttl, uint16_t priority,
		uint16_t weight, uint16_t port, const char *target)
{
	size_t from = r->buf.n, data = begin(r, name, DNS_SRV, ttl);

	put16(&r->buf, priority);
	put16(&r->buf, weight);
	put16(&r->buf, port);
	put_name(r, target);
	end(r, section, from, data);
}

void dns_reply_txt(struct dns_reply *r, enum dns_section section, const char *name, uint32_t ttl, const char *text)
{
	size_t from = r->buf.n, data = begin(r, name, DNS_TXT, ttl), n = MIN(strlen(text), (size_t)255);

	buf_add1(&r->buf, (char)n);
	buf_add(&r->buf, text, n);
	end(r, section, from, data);
}

void dns_reply_soa(struct dns_reply *r, const char *zone, uint32_t ttl, uint32_t serial)
{
	size_t from = r->buf.n, data = begin(r, zone, DNS_SOA, ttl);
	char name[DNS_NAME_MAX + 16];

	snprintf(name, sizeof(name), "ns.dns.%s", zone);
	put_name(r, name);
	snprintf(name, sizeof(name), "hostmaster.%s", zone);
	put_name(r, name);
	put32(&r->buf, serial);
	put32(&r->buf, 7200);  /* refresh */
	put32(&r->buf, 1800);  /* retry */
	put32(&r->buf, 86400); /* expire */
	put32(&r->buf, ttl);   /* how long a "no" may be kept */
	end(r, DNS_AUTHORITY, from, data);
}

void dns_reply_finish(struct dns_reply *r, int rcode, bool authoritative, bool recursion_available)
{
	unsigned flags = FLAG_QR | (authoritative ? FLAG_AA : 0) | (r->truncated ? FLAG_TC : 0) |
			(r->query->recursion_desired ? FLAG_RD : 0) | (recursion_available ? FLAG_RA : 0) | (unsigned)rcode;
	char *h;

	if (r->query->edns) {
		buf_add1(&r->buf, '\0');
		put16(&r->buf, DNS_OPT);
		put16(&r->buf, DNS_UDP_MAX);
		put32(&r->buf, 0);
		put16(&r->buf, 0);
		r->n_additional++;
	}
	h = r->buf.p;
	h[2] = (char)(flags >> 8);
	h[3] = (char)flags;
	h[4] = 0;
	h[5] = r->query->question_end > DNS_HEADER_SIZE;
	h[6] = (char)(r->n_answers >> 8);
	h[7] = (char)r->n_answers;
	h[8] = (char)(r->n_authority >> 8);
	h[9] = (char)r->n_authority;
	h[10] = (char)(r->n_additional >> 8);
	h[11] = (char)r->n_additional;
}
