/*
 * The codecs: API objects between protobuf and JSON, by the schema tables. One interpreter each, none per type.
 *
 * Three forms of an object: `wire` is its protobuf message alone; `stored` is the wire form in the envelope of storage
 * and of application/vnd.kubernetes.protobuf (four bytes "k8s\0", then runtime.Unknown with kind and apiVersion); JSON
 * is text or a DOM. JSON comes out exactly as the API server writes it: fields in the same order, the same empty
 * values shown or left out, times, quantities, base64, maps sorted by key, <>& escaped.
 *
 * What codec_to_wire writes is canonical: the same object gives the same bytes. Fields ascend by number, zero values of
 * plain (non-pointer) fields are left out - but plain structs are always written, so that whoever unpacks a message
 * finds pod->metadata, pod->spec and container->resources not NULL, as in Go.
 *
 *	codec_stored_to_json(&out, stored, NULL, &e);                               a GET
 *	codec_to_wire(&out, type, dom, &errs);  if (errs.n) ...                     a POST
 *	codec_wrap(&stored, "v1", "Pod", wire);
 *
 * All functions append to `out`; on an error the appended part is to be thrown away. Nothing here keeps state.
 */
#ifndef PROTO_CODEC_H
#define PROTO_CODEC_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"
#include "proto/json.h"
#include "proto/schema.h"

/* Messages may nest this deep; more is an error. */
#define CODEC_MAX_DEPTH 96

/* --- The envelope -------------------------------------------------------------------------------------------- */

struct codec_envelope {
	struct str api_version, kind; /* borrowed from the stored bytes */
	struct str wire;
};

bool codec_is_wrapped(struct str bytes);
/* Errors: ERR_BAD_REQUEST when it is no envelope, or one of another content type. */
int codec_unwrap(struct str stored, struct codec_envelope *ret, struct err *);
void codec_wrap(struct buf *out, const char *api_version, const char *kind, struct str wire);
/* The type of a kind, whether it is a resource or only sent around (Status, DeleteOptions, PodList); NULL if unknown. */
const struct schema_type *codec_type(struct str api_version, struct str kind);

/* --- To JSON --------------------------------------------------------------------------------------------------- */

struct codec_opts {
	/* Shown as metadata.resourceVersion instead of what the bytes hold; empty: leave as is. */
	struct str resource_version;
	/* Leave kind and apiVersion out: an item of a list. */
	bool bare;
	/* Shown as kind and apiVersion; NULL: the type's own. */
	const char *api_version, *kind;
};

/* opts may be NULL. Errors: ERR_CORRUPT when the bytes are not of this type. */
int codec_wire_to_json(struct buf *out, const struct schema_type *, struct str wire, const struct codec_opts *opts,
		       struct err *);
int codec_stored_to_json(struct buf *out, struct str stored, const struct codec_opts *opts, struct err *);
/* The same as a DOM. Also refuses strings that are not UTF-8 and raw JSON that is none, so use it on what clients send. */
int codec_wire_to_dom(struct arena *, const struct schema_type *, struct str wire, const struct codec_opts *opts,
		      struct json **ret, struct err *);
int codec_stored_to_dom(struct arena *, struct str stored, const struct codec_opts *opts, struct json **ret,
			struct err *);

/* --- From JSON --------------------------------------------------------------------------------------------------- */

enum codec_err_kind {
	CODEC_UNKNOWN_FIELD, /* strict validation refuses it, else it is dropped */
	CODEC_WRONG_TYPE,    /* never accepted */
	CODEC_WRONG_VALUE,   /* a quantity, time or base64 string that is none: never accepted */
};

struct codec_err {
	enum codec_err_kind kind;
	const char *path;    /* "spec.containers[0].image" */
	const char *message; /* as the API server words it: unknown field "spec.foo" */
};

/* Errors are collected up to this many. */
#define CODEC_MAX_ERRS 100

struct codec_errs {
	struct arena *arena; /* for paths and messages; set by codec_errs_init */
	struct codec_err items[CODEC_MAX_ERRS];
	size_t n;
	size_t n_hard; /* of them, those that are not unknown fields */
	bool more;     /* there were more than fit */
};

void codec_errs_init(struct codec_errs *, struct arena *);
/* The first hard error, or NULL. */
const struct codec_err *codec_errs_hard(const struct codec_errs *);
/* strict decoding error: FIRST, unknown field "a", unknown field "b": `first` are messages, of what was found before. */
void codec_errs_strict_message(const struct codec_errs *, const struct str *first, size_t n_first, struct buf *out);

/* Encode all that is right and collect what is not; kind and apiVersion of `dom` are not looked at. */
void codec_to_wire(struct buf *out, const struct schema_type *, const struct json *dom, struct codec_errs *errs);

/* --- Lists and watches --------------------------------------------------------------------------------------------- */

/* What stands in ListMeta; empty strings and negative numbers are left out. */
struct codec_list_meta {
	struct str resource_version;
	struct str continue_token;
	int64_t remaining; /* remainingItemCount */
};
#define CODEC_LIST_META_INIT {STR_INIT(""), STR_INIT(""), -1}

/* {"kind":"PodList","apiVersion":"v1","metadata":{...},"items":[   then items with commas between them, then   ]} */
void codec_json_list_begin(struct buf *out, const char *list_kind, const char *api_version,
			   const struct codec_list_meta *);
/* One item from its wire form; `first` says whether a comma is due and is cleared. */
int codec_json_list_item(struct buf *out, const struct schema_type *, struct str wire, struct str resource_version,
			 bool *first, struct err *);
void codec_json_list_end(struct buf *out);

/*
 * A list message without its envelope: begin, items, then codec_wrap the whole. An item is copied as it is, with a
 * fragment behind it that sets metadata.resourceVersion (protobuf merges the two).
 */
void codec_wire_list_begin(struct buf *out, const struct codec_list_meta *);
void codec_wire_list_item(struct buf *out, struct str wire, struct str resource_version);
/* The fragment alone: metadata { resourceVersion }. */
void codec_wire_resource_version(struct buf *out, struct str resource_version);

/* One watch event with its newline; `object` is JSON text. */
void codec_json_watch_event(struct buf *out, const char *type, struct str object);
/* One frame: four bytes of length (big endian), then WatchEvent; `object` is in its envelope. */
void codec_wire_watch_event(struct buf *out, const char *type, struct str object);
/*
 * Take one such frame off the front of *in. 1: *ret_type and *ret_object are set (borrowed); 0: not yet complete;
 * negative: broken, or over `limit` bytes.
 */
int codec_wire_watch_next(struct str *in, size_t limit, struct str *ret_type, struct str *ret_object, struct err *);

/* --- Base64 -------------------------------------------------------------------------------------------------------- */

void codec_base64(struct buf *out, struct str bytes);
/* Standard alphabet with padding, line breaks ignored, as Go. -1 when right, else the offset of the illegal byte. */
ptrdiff_t codec_base64_parse(struct str text, struct buf *out);

#endif
