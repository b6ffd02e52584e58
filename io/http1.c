#include "io/http1.h"

#include <string.h>

#include "base/util.h"

#define MAX_CHUNK_LINE 1024
#define MAX_CHUNK ((uint64_t)1 << 56)

ptrdiff_t http1_head_size(struct str b, size_t *scanned)
{
	for (size_t i = *scanned; i < b.n; i++) {
		if (b.p[i] == '\0')
			return -1;
		if (b.p[i] != '\n')
			continue;
		if (i == 0 || b.p[i - 1] != '\r')
			return -1;
		if (i >= 3 && b.p[i - 2] == '\n') {
			*scanned = 0;
			return (ptrdiff_t)i + 1;
		}
	}
	*scanned = b.n;
	return 0;
}

static bool is_token_char(unsigned char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

static bool is_token(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (!is_token_char((unsigned char)s.p[i]))
			return false;
	return s.n > 0;
}

/* The next line without its CRLF; false at the end. The head is known to have no bare LF. */
static bool next_line(struct str *rest, struct str *ret)
{
	ptrdiff_t i = str_search(*rest, STR("\r\n"));

	if (i < 0)
		return false;
	*ret = str_sub(*rest, 0, (size_t)i);
	*rest = str_skip(*rest, (size_t)i + 2);
	return true;
}

static int parse_field(struct str line, struct arena *a, struct http_header *ret, struct err *e)
{
	struct str name, value;
	char *p;

	if (!str_cut(line, ':', &name, &value) || !is_token(name))
		return err_set(e, ERR_BAD_REQUEST, "malformed header line");
	while (value.n > 0 && (value.p[0] == ' ' || value.p[0] == '\t'))
		value = str_skip(value, 1);
	while (value.n > 0 && (value.p[value.n - 1] == ' ' || value.p[value.n - 1] == '\t'))
		value.n--;
	for (size_t i = 0; i < value.n; i++) {
		unsigned char c = (unsigned char)value.p[i];

		if ((c < 0x20 && c != '\t') || c == 0x7f)
			return err_set(e, ERR_BAD_REQUEST, "control character in header %.*s",
				STR_FMT(name));
	}
	p = arena_cstr(a, name);
	for (size_t i = 0; i < name.n; i++)
		if (p[i] >= 'A' && p[i] <= 'Z')
			p[i] = (char)(p[i] - 'A' + 'a');
	ret->name = str_of(p, name.n);
	ret->value = arena_str(a, value);
	return 0;
}

static int parse_fields(struct str rest, struct arena *a, struct http_headers *ret, struct err *e)
{
	struct str line, count = rest;
	size_t n = 0;
	int rv;

	while (next_line(&count, &line) && line.n > 0)
		n++;
	if (n > HTTP1_MAX_HEADERS)
		return err_set(e, ERR_TOO_LARGE, "more than %d header fields", HTTP1_MAX_HEADERS);
	ret->h = arena_new_array(a, struct http_header, n);
	ret->n = 0;
	while (next_line(&rest, &line) && line.n > 0) {
		rv = parse_field(line, a, &ret->h[ret->n], e);
		if (rv != 0)
			return rv;
		ret->n++;
	}
	return 0;
}

static bool parse_version(struct str s, int *ret_minor)
{
	if (s.n != 8 || memcmp(s.p, "HTTP/1.", 7) != 0 || (s.p[7] != '0' && s.p[7] != '1'))
		return false;
	*ret_minor = s.p[7] - '0';
	return true;
}

/* Framing and connection, from the fields. */
static int read_framing(struct http1_head *h, struct err *e)
{
	bool has_length = false, has_coding = false;

	h->content_length = -1;
	for (size_t i = 0; i < h->headers.n; i++) {
		const struct http_header *f = &h->headers.h[i];
		uint64_t n;

		if (str_eqc(f->name, "content-length")) {
			if (has_length || f->value.n == 0 || f->value.p[0] < '0' ||
				f->value.p[0] > '9' || !str_to_u64(f->value, &n) || n > INT64_MAX)
				return err_set(e, ERR_BAD_REQUEST, "bad Content-Length");
			has_length = true;
			h->content_length = (int64_t)n;
		} else if (str_eqc(f->name, "transfer-encoding")) {
			if (has_coding || !str_ieq(f->value, STR("chunked")))
				return err_set(e, ERR_UNIMPLEMENTED,
					"transfer coding is not supported: %.*s",
					STR_FMT(f->value));
			has_coding = true;
		}
	}
	if (has_coding && (has_length || h->minor == 0))
		return err_set(
			e, ERR_BAD_REQUEST, "Transfer-Encoding with Content-Length or in HTTP/1.0");
	h->chunked = has_coding;
	h->keep_alive = h->minor == 1
				? !http_header_has_token(&h->headers, "connection", "close")
				: http_header_has_token(&h->headers, "connection", "keep-alive");
	h->expect_continue =
		h->minor == 1 && http_header_has_token(&h->headers, "expect", "100-continue");
	return 0;
}

/* origin-form, absolute-form, "*", or (CONNECT) an authority. */
static int split_target(struct http1_head *h, struct err *e)
{
	struct str t = h->target;

	for (size_t i = 0; i < t.n; i++)
		if ((unsigned char)t.p[i] <= 0x20 || t.p[i] == 0x7f || t.p[i] == '#')
			return err_set(e, ERR_BAD_REQUEST, "malformed request target");
	if (str_has_prefix(t, STR("http://")) || str_has_prefix(t, STR("https://"))) {
		struct str rest = str_skip(t, str_has_prefix(t, STR("http://")) ? 7 : 8);
		ptrdiff_t slash = str_find(rest, '/');

		h->authority = slash < 0 ? rest : str_sub(rest, 0, (size_t)slash);
		t = slash < 0 ? STR("/") : str_skip(rest, (size_t)slash);
	} else if (str_eqc(h->method, "CONNECT")) {
		h->authority = t;
	} else if (t.n == 0 ||
		   (t.p[0] != '/' && !(str_eqc(t, "*") && str_eqc(h->method, "OPTIONS")))) {
		return err_set(e, ERR_BAD_REQUEST, "malformed request target");
	}
	str_cut(t, '?', &h->path, &h->query);
	return 0;
}

static int read_host(struct http1_head *h, struct err *e)
{
	unsigned n = 0;

	for (size_t i = 0; i < h->headers.n; i++) {
		if (!str_eqc(h->headers.h[i].name, "host"))
			continue;
		if (n++ > 0)
			return err_set(e, ERR_BAD_REQUEST, "more than one Host header");
		if (h->authority.n == 0)
			h->authority = h->headers.h[i].value;
	}
	if (n == 0 && h->minor == 1)
		return err_set(e, ERR_BAD_REQUEST, "no Host header");
	return 0;
}

int http1_parse_request(struct str head, struct arena *a, struct http1_head *h, struct err *e)
{
	struct str rest = head, line, version;
	int rv;

	memset(h, 0, sizeof(*h));
	if (!next_line(&rest, &line) || !str_cut(line, ' ', &h->method, &line) ||
		!str_cut(line, ' ', &h->target, &version) || !is_token(h->method) ||
		h->target.n == 0)
		return err_set(e, ERR_BAD_REQUEST, "malformed request line");
	if (!parse_version(version, &h->minor))
		return err_set(e,
			str_has_prefix(version, STR("HTTP/")) ? ERR_PROTOCOL : ERR_BAD_REQUEST,
			"not an HTTP/1.1 request");
	h->method = arena_str(a, h->method);
	h->target = arena_str(a, h->target);
	rv = split_target(h, e);
	if (rv == 0)
		rv = parse_fields(rest, a, &h->headers, e);
	if (rv == 0)
		rv = read_framing(h, e);
	if (rv == 0)
		rv = read_host(h, e);
	return rv;
}

int http1_parse_response(struct str head, struct arena *a, struct http1_head *h, struct err *e)
{
	struct str rest = head, line, version, status, reason;
	uint64_t n;
	int rv;

	memset(h, 0, sizeof(*h));
	if (!next_line(&rest, &line))
		return err_set(e, ERR_PROTOCOL, "malformed status line");
	str_cut(line, ' ', &version, &line);
	str_cut(line, ' ', &status, &reason);
	if (!parse_version(version, &h->minor) || status.n != 3 || !str_to_u64(status, &n) ||
		n < 100 || n > 999)
		return err_set(e, ERR_PROTOCOL, "malformed status line");
	h->status = (int)n;
	rv = parse_fields(rest, a, &h->headers, e);
	if (rv == 0)
		rv = read_framing(h, e);
	if (rv != 0 && e != NULL)
		e->code = ERR_PROTOCOL;
	return rv != 0 ? -ERR_PROTOCOL : 0;
}

/* Bodies. */

enum { SIZE, EXTENSION, SIZE_LF, DATA, DATA_CR, DATA_LF, TRAILER, TRAILER_LF, DONE, TOLD };

static void body_init(struct http1_body *b, enum http1_body_kind kind, uint64_t left)
{
	memset(b, 0, sizeof(*b));
	buf_init(&b->trailer, HTTP1_MAX_HEAD);
	b->kind = kind;
	b->left = left;
	if (kind == HTTP1_BODY_NONE || (kind == HTTP1_BODY_LENGTH && left == 0))
		b->state = DONE;
}

void http1_body_of_request(const struct http1_head *h, struct http1_body *ret)
{
	if (h->chunked)
		body_init(ret, HTTP1_BODY_CHUNKED, 0);
	else if (h->content_length > 0)
		body_init(ret, HTTP1_BODY_LENGTH, (uint64_t)h->content_length);
	else
		body_init(ret, HTTP1_BODY_NONE, 0);
}

void http1_body_of_response(const struct http1_head *h, bool head_request, struct http1_body *ret)
{
	if (head_request || h->status < 200 || h->status == 204 || h->status == 304)
		body_init(ret, HTTP1_BODY_NONE, 0);
	else if (h->chunked)
		body_init(ret, HTTP1_BODY_CHUNKED, 0);
	else if (h->content_length >= 0)
		body_init(ret, HTTP1_BODY_LENGTH, (uint64_t)h->content_length);
	else
		body_init(ret, HTTP1_BODY_TO_END, 0);
}

void http1_body_fini(struct http1_body *b)
{
	buf_fini(&b->trailer);
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* One byte of chunk framing; false when it is wrong. */
static bool chunk_byte(struct http1_body *b, char c)
{
	int digit;

	switch (b->state) {
	case SIZE:
		digit = hex_digit(c);
		if (digit >= 0) {
			b->left = b->left << 4 | (unsigned)digit;
			b->has_digit = true;
			return b->left < MAX_CHUNK && ++b->n_line <= 16;
		}
		b->state = c == '\r' ? SIZE_LF : EXTENSION;
		return b->has_digit && (c == '\r' || c == ';');
	case EXTENSION:
		if (c == '\r')
			b->state = SIZE_LF;
		return (unsigned char)c >= 0x20 || c == '\t' ? ++b->n_line < MAX_CHUNK_LINE
							     : c == '\r';
	case SIZE_LF:
		b->n_line = 0;
		b->has_digit = false;
		b->state = b->left > 0 ? DATA : TRAILER;
		return c == '\n';
	case DATA_CR:
		b->state = DATA_LF;
		return c == '\r';
	case DATA_LF:
		b->state = SIZE;
		return c == '\n';
	case TRAILER:
		if (c == '\r')
			b->state = TRAILER_LF;
		else
			b->n_line = 1;
		buf_add1(&b->trailer, c);
		return c != '\n' && c != '\0' && buf_ok(&b->trailer);
	default: /* TRAILER_LF */
		buf_add1(&b->trailer, c);
		b->state = b->n_line == 0 ? DONE : TRAILER;
		b->n_line = 0;
		return c == '\n' && buf_ok(&b->trailer);
	}
}

int http1_body_feed(struct http1_body *b, struct str *bytes, struct str *ret_data)
{
	for (;;) {
		if (b->state == DONE) {
			b->state = TOLD;
			return HTTP1_END;
		}
		if (b->state == TOLD || bytes->n == 0)
			return HTTP1_MORE;
		if (b->kind == HTTP1_BODY_TO_END) {
			*ret_data = *bytes;
			*bytes = str_skip(*bytes, bytes->n);
			return HTTP1_DATA;
		}
		if (b->kind == HTTP1_BODY_LENGTH || b->state == DATA) {
			size_t n = b->left < bytes->n ? (size_t)b->left : bytes->n;

			*ret_data = str_sub(*bytes, 0, n);
			*bytes = str_skip(*bytes, n);
			b->left -= n;
			if (b->left == 0)
				b->state = b->kind == HTTP1_BODY_LENGTH ? DONE : DATA_CR;
			return HTTP1_DATA;
		}
		if (!chunk_byte(b, bytes->p[0]))
			return -ERR_BAD_REQUEST;
		*bytes = str_skip(*bytes, 1);
	}
}

int http1_body_trailers(
	struct http1_body *b, struct arena *a, struct http_headers *ret, struct err *e)
{
	ret->n = 0;
	if (b->trailer.n <= 2)
		return 0;
	return parse_fields(buf_str(&b->trailer), a, ret, e);
}

static void add_clean(struct buf *b, struct str s)
{
	size_t at = b->n;

	buf_adds(b, s);
	for (size_t i = at; i < b->n; i++)
		if ((unsigned char)b->p[i] < 0x20 && b->p[i] != '\t')
			b->p[i] = ' ';
}

void http1_add_header(struct buf *b, struct str name, struct str value)
{
	add_clean(b, name);
	buf_addc(b, ": ");
	add_clean(b, value);
	buf_addc(b, "\r\n");
}
