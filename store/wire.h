/*
 * Writing protobuf straight into a buf: answers are made from database memory without building messages first.
 * Fields that hold zero or nothing are left out, as proto3 does.
 */
#ifndef STORE_WIRE_H
#define STORE_WIRE_H

#include <stdint.h>

#include "base/buf.h"
#include "base/str.h"

struct store_kv;
struct store_view;

void wire_varint(struct buf *, unsigned field, uint64_t v);
void wire_bytes(struct buf *, unsigned field, struct str s);
/* A nested message: what is appended between begin and end. */
size_t wire_begin(struct buf *, unsigned field);
void wire_end(struct buf *, size_t mark);
/* mvccpb.KeyValue */
void wire_kv(struct buf *, unsigned field, const struct store_kv *);
/* etcdserverpb.ResponseHeader as field 1; inner ones carry the revision only. */
void wire_header(struct buf *, const struct store_view *, bool whole);

#endif
