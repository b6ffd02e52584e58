/* bbolt's pages (little-endian), shared by what writes them and what reads them. */
#ifndef STORE_BOLT_PRIV_H
#define STORE_BOLT_PRIV_H

#include <stdint.h>

#include "base/str.h"
#include "store/bolt.h"
#include "store/store-priv.h"

#define BOLT_PAGE 4096u
#define BOLT_HEAD 16u    /* id u64, flags u16, count u16, overflow u32 */
#define BOLT_ELEMENT 16u /* leaf: flags, pos, ksize, vsize u32; branch: pos, ksize u32, page u64 */
#define BOLT_MAGIC 0xED0CDAEDu
#define BOLT_VERSION 2u
#define BOLT_META_SIZE 64u
#define BOLT_IS_BUCKET 1u
#define BOLT_BUCKET_SIZE 16u /* root page u64, sequence u64 */

enum bolt_page_flags { BOLT_BRANCH = 1, BOLT_LEAF = 2, BOLT_META = 4, BOLT_FREELIST = 16 };

/* FNV-1a, what guards a meta page. */
uint64_t bolt__checksum(const uint8_t *p, size_t n);

struct bolt_item {
	struct str key, value;
};

/* --- bolt_items.c: what stands in the buckets ------------------------------------------------------------------------- */

enum bolt_bucket {
	BOLT_ALARM,
	BOLT_AUTH,
	BOLT_AUTH_ROLES,
	BOLT_AUTH_USERS,
	BOLT_CLUSTER,
	BOLT_KEY,
	BOLT_LEASE,
	BOLT_MEMBERS,
	BOLT_MEMBERS_REMOVED,
	BOLT_METADATA,
	BOLT_N_BUCKETS,
};
/* In the order of their names. */
extern const char *const bolt__buckets[BOLT_N_BUCKETS];

struct bolt_items;
int bolt__items_new(struct store_view *, struct bolt_items **ret, struct err *);
void bolt__items_free(struct bolt_items *);
/* Go to the first item of a bucket; then 1 and an item (good until the next call), 0 at the end, or an error. */
int bolt__items_begin(struct bolt_items *, enum bolt_bucket, struct err *);
int bolt__items_next(struct bolt_items *, struct bolt_item *ret, struct err *);

#endif
