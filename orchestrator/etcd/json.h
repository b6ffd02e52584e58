/*
 * Messages as JSON and back, by protobuf-c's descriptors: the mapping of protobuf, as etcd's gateway has it. Names are those
 * of the .proto file going out, and those or camelCase coming in; 64-bit integers are strings, bytes are base64, enums go by
 * their names; what is zero is left out. Pure functions.
 */
#ifndef ORCHESTRATOR_ETCD_JSON_H
#define ORCHESTRATOR_ETCD_JSON_H

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

/* Append the message as JSON; ERR_CORRUPT: the bytes are not of this type. */
int etcd_json_print(struct buf *out, const ProtobufCMessageDescriptor *, struct str wire, struct err *);
/* Append the wire form of one JSON object; empty text is an empty message. ERR_BAD_REQUEST says what is wrong and where. */
int etcd_json_parse(struct buf *wire, const ProtobufCMessageDescriptor *, struct str text, struct err *);

/*
 * Where the first JSON object of a stream ends, looked for in pieces: keep the struct (all-zero at first) with the bytes. The
 * size of the object with the white space before it; 0: it is not complete yet; -1: what is there is no object.
 */
struct etcd_json_scan {
	size_t at;    /* looked at so far */
	int depth;
	bool in_string, escaped, begun;
};
ptrdiff_t etcd_json_next(struct etcd_json_scan *, struct str bytes);

#endif
