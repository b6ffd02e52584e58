/* Base64 as encoding/base64 does it: the standard alphabet, padding, line breaks ignored. */
#include "proto/codec.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void codec_base64(struct buf *out, struct str bytes)
{
	const uint8_t *p = (const uint8_t *)bytes.p;
	size_t n = bytes.n, size = (n + 2) / 3 * 4;
	char *o = size ? buf_reserve(out, size) : NULL;

	if (!o)
		return;
	for (; n >= 3; n -= 3, p += 3) {
		*o++ = alphabet[p[0] >> 2];
		*o++ = alphabet[(p[0] & 3) << 4 | p[1] >> 4];
		*o++ = alphabet[(p[1] & 15) << 2 | p[2] >> 6];
		*o++ = alphabet[p[2] & 63];
	}
	if (n > 0) {
		*o++ = alphabet[p[0] >> 2];
		*o++ = alphabet[(p[0] & 3) << 4 | (n == 2 ? p[1] >> 4 : 0)];
		*o++ = n == 2 ? alphabet[(p[1] & 15) << 2] : '=';
		*o++ = '=';
	}
	buf_advance(out, size);
}

static int base64_value(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

ptrdiff_t codec_base64_parse(struct str text, struct buf *out)
{
	uint32_t bits = 0;
	unsigned n = 0;
	size_t i = 0;

	for (; i < text.n; i++) {
		int v = base64_value(text.p[i]);

		if (text.p[i] == '\n' || text.p[i] == '\r')
			continue;
		if (v < 0)
			break;
		bits = bits << 6 | (uint32_t)v;
		if (++n == 4) {
			buf_add(out, (char[]){(char)(bits >> 16), (char)(bits >> 8), (char)bits}, 3);
			bits = 0;
			n = 0;
		}
	}
	if (n == 0)
		return i == text.n ? -1 : (ptrdiff_t)i;
	if (n == 1)
		return (ptrdiff_t)i;
	for (unsigned pad = n; pad < 4; i++) {
		if (i == text.n || (text.p[i] != '=' && text.p[i] != '\n' && text.p[i] != '\r'))
			return (ptrdiff_t)i;
		pad += text.p[i] == '=';
	}
	for (; i < text.n; i++)
		if (text.p[i] != '\n' && text.p[i] != '\r')
			return (ptrdiff_t)i;
	if (n == 2)
		buf_add1(out, (char)(bits >> 4));
	else
		buf_add(out, (char[]){(char)(bits >> 10), (char)(bits >> 2)}, 2);
	return -1;
}
