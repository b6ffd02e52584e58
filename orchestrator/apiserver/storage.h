/*
 * How objects lie in the store: keys, the envelope, and the metadata read straight from the bytes.
 *
 * Keys are kube-apiserver's (/registry/pods/default/x); a value is `k8s\0` + runtime.Unknown{typeMeta, raw}. `raw`, the
 * plain protobuf of the object, holds no resourceVersion: that is the key's mod_revision, spliced in when the object is
 * read. Custom objects are stored as JSON; their raw form (proto/custom.h) is made when they are read. Bytes from a view are good until the view closes; storage_load copies into an arena.
 */
#ifndef ORCHESTRATOR_APISERVER_STORAGE_H
#define ORCHESTRATOR_APISERVER_STORAGE_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

struct custom_conversions;
struct json;
struct resource;
struct store;

struct str storage_key(struct arena *, const struct resource *, struct str ns, struct str name);
/* All objects of the resource, or those of one namespace; ends in '/'. */
struct str storage_prefix(struct arena *, const struct resource *, struct str ns);
/* The first key behind all that begin with prefix. */
struct str storage_end(struct arena *, struct str prefix);

/* The last bytes field of that number in a message. */
struct str storage_field(struct str msg, unsigned number);
/* False when the value is no such envelope. */
bool storage_unwrap(struct str value, struct str *ret_raw);
/* The same for what lies under `key`, which may be sealed (crypt.h); then raw is in the arena. */
bool storage_unwrap_key(struct arena *, struct str key, struct str value, struct str *ret_raw);
/*
 * And in the form of `res`, which may be another version than the stored one. Custom objects may have to be converted by a webhook: those
 * that `conv` (NULL: none) does not know give ERR_PENDING; see convert.h.
 */
int storage_unwrap_as(struct arena *, const struct resource *res, struct str key, struct str value, struct custom_conversions *conv,
		struct str *ret_raw, struct err *);
/* raw with metadata.resourceVersion = rv (0: none, as of what a dry run would make), appended to out. */
void storage_with_rv(struct buf *out, struct str raw, uint64_t rv);
/* How many bytes that appends. */
size_t storage_with_rv_size(struct str raw, uint64_t rv);

/* ObjectMeta as far as the registry needs it, borrowed from raw. */
struct storage_meta {
	struct str bytes; /* the encoded ObjectMeta */
	struct str name, ns, uid;
	int64_t generation;
	bool deleting;    /* deletionTimestamp is set */
	bool finalizers;  /* there are some */
};
bool storage_meta(struct str raw, struct storage_meta *ret);
/* A label's value from meta.bytes. */
bool storage_label(struct str meta_bytes, struct str key, struct str *ret_value);

/* An object of `res` in the form in which it is stored; *doc and *raw become what reading it will give. */
int storage_encode(struct arena *, const struct resource *res, struct custom_conversions *conv, struct json **doc, struct str *ret_raw,
		struct str *ret_stored, struct err *);

/* One object from a fresh local view; raw is copied, and as it is stored. ERR_NOT_FOUND when there is none. */
int storage_load(struct store *, struct arena *, struct str key, struct str *ret_raw, uint64_t *ret_rv, struct err *);

/* The same in the form of `res`, from a view that has applied `index` (store_view_open_at). */
int storage_load_as(struct store *, uint64_t index, struct arena *, const struct resource *res, struct str key,
		struct custom_conversions *conv, struct str *ret_raw, uint64_t *ret_rv, struct err *);
/* Whether there is an object. Nothing is decoded. */
int storage_exists(struct store *, struct str key, bool *ret, struct err *);

#endif
