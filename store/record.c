#include "store/record.h"

#include <endian.h>
#include <inttypes.h>
#include <string.h>

#include "base/crc32c.h"
#include "base/mutant.h"
#include "base/util.h"

void put_be64(uint8_t *p, uint64_t v)
{
	v = htobe64(v);
	memcpy(p, &v, 8);
}

uint64_t get_be64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, 8);
	return be64toh(v);
}

void put_le64(uint8_t *p, uint64_t v)
{
	v = htole64(v);
	memcpy(p, &v, 8);
}

uint64_t get_le64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, 8);
	return le64toh(v);
}

void put_le32(uint8_t *p, uint32_t v)
{
	v = htole32(v);
	memcpy(p, &v, 4);
}

uint32_t get_le32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, 4);
	return le32toh(v);
}

void rev_key(struct rev r, uint8_t out[REV_KEY_SIZE])
{
	uint32_t sub = htobe32(r.sub);

	put_be64(out, (uint64_t)r.main);
	memcpy(out + 8, &sub, 4);
}

struct rev rev_from_key(const uint8_t *p)
{
	uint32_t sub;

	memcpy(&sub, p + 8, 4);
	return (struct rev){(int64_t)get_be64(p), be32toh(sub)};
}

uint32_t value_crc_of(struct str value)
{
	return crc32c(0, value.p, value.n);
}

int value_check(struct str key, struct str value, uint32_t crc, struct err *e)
{
	if (crc32c(0, value.p, value.n) == crc || MUTANT(rot_served))
		return 0;
	return err_set(e, ERR_CORRUPT, "store: the value of key \"%.*s\" does not match its checksum",
			(int)MIN(key.n, 200u), key.n ? key.p : "");
}

/* Offsets in a head. */
enum {
	H_CRC = 0,
	H_VCRC = 4,
	H_FLAGS = 8,
	H_SUB = 12,
	H_CREATE = 16,
	H_MOD = 24,
	H_VERSION = 32,
	H_LEASE = 40,
	H_VLEN = 48,
	H_KLEN = 52,
	H_FIXED = 56,
};
enum { F_DELETED = 1, F_KEY_INSIDE = 2 };

size_t head_size(const struct head *h)
{
	return H_FIXED + (h->key_inside ? h->key.n : 0) + h->value.n;
}

void head_encode(const struct head *h, uint8_t *out)
{
	size_t klen = h->key_inside ? h->key.n : 0;
	uint32_t crc;

	memset(out, 0, H_FIXED);
	put_le32(out + H_VCRC, h->value_crc);
	out[H_FLAGS] = (uint8_t)((h->deleted ? F_DELETED : 0) | (h->key_inside ? F_KEY_INSIDE : 0));
	put_le32(out + H_SUB, h->mod.sub);
	put_le64(out + H_CREATE, (uint64_t)h->create);
	put_le64(out + H_MOD, (uint64_t)h->mod.main);
	put_le64(out + H_VERSION, (uint64_t)h->version);
	put_le64(out + H_LEASE, (uint64_t)h->lease);
	put_le32(out + H_VLEN, (uint32_t)h->value.n);
	put_le32(out + H_KLEN, (uint32_t)klen);
	crc = crc32c(0, out + H_VCRC, H_FIXED - H_VCRC);
	crc = crc32c(crc, h->key.p, h->key.n);
	put_le32(out + H_CRC, crc);
	if (klen)
		memcpy(out + H_FIXED, h->key.p, klen);
	if (h->value.n)
		memcpy(out + H_FIXED + klen, h->value.p, h->value.n);
}

static int head_corrupt(struct str key, struct err *e)
{
	return err_set(e, ERR_CORRUPT, "store: the record of key \"%.*s\" does not match its checksum",
			(int)MIN(key.n, 200u), key.n ? key.p : "");
}

int head_decode(struct str key, struct str bytes, struct head *ret, struct err *e)
{
	const uint8_t *p = (const uint8_t *)bytes.p;
	struct head h = {.key = key};
	size_t klen, vlen;
	uint32_t crc;

	if (bytes.n < H_FIXED)
		return head_corrupt(key, e);
	klen = get_le32(p + H_KLEN);
	vlen = get_le32(p + H_VLEN);
	if (klen + vlen != bytes.n - H_FIXED)
		return head_corrupt(key, e);
	h.key_inside = (p[H_FLAGS] & F_KEY_INSIDE) != 0;
	if (h.key_inside)
		h.key = str_of(p + H_FIXED, klen);
	crc = crc32c(0, p + H_VCRC, H_FIXED - H_VCRC);
	crc = crc32c(crc, h.key.p, h.key.n);
	if (crc != get_le32(p + H_CRC))
		return head_corrupt(key, e);
	h.deleted = (p[H_FLAGS] & F_DELETED) != 0;
	h.mod = (struct rev){(int64_t)get_le64(p + H_MOD), get_le32(p + H_SUB)};
	h.create = (int64_t)get_le64(p + H_CREATE);
	h.version = (int64_t)get_le64(p + H_VERSION);
	h.lease = (int64_t)get_le64(p + H_LEASE);
	h.value = str_of(p + H_FIXED + klen, vlen);
	h.value_crc = get_le32(p + H_VCRC);
	*ret = h;
	return 0;
}

/* Offsets in a change. */
enum {
	C_CRC = 0,
	C_VCRC = 4,
	C_FLAGS = 8,
	C_PREV_SUB = 12,
	C_PREV = 16,
	C_CREATE = 24,
	C_VERSION = 32,
	C_LEASE = 40,
	C_VLEN = 48,
	C_KLEN = 52,
	C_FIXED = 56,
};

size_t change_size(const struct change *c)
{
	return C_FIXED + c->key.n + c->value.n;
}

static uint32_t change_crc(struct rev at, const uint8_t *p, struct str key)
{
	uint8_t k[REV_KEY_SIZE];
	uint32_t crc;

	rev_key(at, k);
	crc = crc32c(0, k, sizeof(k));
	crc = crc32c(crc, p + C_VCRC, C_FIXED - C_VCRC);
	return crc32c(crc, key.p, key.n);
}

void change_encode(const struct change *c, uint8_t *out)
{
	memset(out, 0, C_FIXED);
	put_le32(out + C_VCRC, c->value_crc);
	out[C_FLAGS] = c->deleted ? F_DELETED : 0;
	put_le64(out + C_PREV, (uint64_t)c->prev.main);
	put_le64(out + C_CREATE, (uint64_t)c->create);
	put_le64(out + C_VERSION, (uint64_t)c->version);
	put_le64(out + C_LEASE, (uint64_t)c->lease);
	put_le32(out + C_PREV_SUB, c->prev.sub);
	put_le32(out + C_VLEN, (uint32_t)c->value.n);
	put_le32(out + C_KLEN, (uint32_t)c->key.n);
	put_le32(out + C_CRC, change_crc(c->at, out, c->key));
	memcpy(out + C_FIXED, c->key.p, c->key.n);
	if (c->value.n)
		memcpy(out + C_FIXED + c->key.n, c->value.p, c->value.n);
}

int change_decode(struct rev at, struct str bytes, struct change *ret, struct err *e)
{
	const uint8_t *p = (const uint8_t *)bytes.p;
	struct change c = {.at = at};
	size_t klen, vlen;

	if (bytes.n < C_FIXED)
		goto corrupt;
	klen = get_le32(p + C_KLEN);
	vlen = get_le32(p + C_VLEN);
	if (klen + vlen != bytes.n - C_FIXED)
		goto corrupt;
	c.key = str_of(p + C_FIXED, klen);
	if (change_crc(at, p, c.key) != get_le32(p + C_CRC))
		goto corrupt;
	c.deleted = (p[C_FLAGS] & F_DELETED) != 0;
	c.prev = (struct rev){(int64_t)get_le64(p + C_PREV), get_le32(p + C_PREV_SUB)};
	c.create = (int64_t)get_le64(p + C_CREATE);
	c.version = (int64_t)get_le64(p + C_VERSION);
	c.lease = (int64_t)get_le64(p + C_LEASE);
	c.value = str_of(p + C_FIXED + klen, vlen);
	c.value_crc = get_le32(p + C_VCRC);
	*ret = c;
	return 0;
corrupt:
	return err_set(e, ERR_CORRUPT, "store: the change at revision %" PRId64 ".%" PRIu32 " does not match its checksum",
			at.main, at.sub);
}
