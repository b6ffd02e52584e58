/*
 * The forms in which a large list leaves object by object: head, objects, tail. What a form needs of all objects together
 * (protobuf: their length) is asked before the first. A table has rows instead.
 */
#ifndef ORCHESTRATOR_APISERVER_LIST_FORM_H
#define ORCHESTRATOR_APISERVER_LIST_FORM_H

#include "orchestrator/apiserver/request.h"
#include "proto/table.h"

struct codec_list_meta;
struct schema_type;

enum list_form_kind { FORM_JSON, FORM_PRETTY, FORM_YAML, FORM_PROTOBUF };

struct list_form {
	struct api_request *req;
	enum list_form_kind kind;
	bool table;
	bool partial; /* only the objects' metadata */
	const struct schema_type *type;
	enum table_include include;
	int64_t now;
	bool first;
	size_t slice; /* bytes that are made in about a millisecond */
};

/* False: what the request wants is made whole only. */
bool list_form_init(struct list_form *, struct api_request *);
/* `items`: the sum of list_form_size. */
void list_form_frame(const struct list_form *, const struct codec_list_meta *, size_t items, struct buf *head, struct buf *tail);
/* All objects have come: the tail, as list_form_frame made it, becomes that of a list without any if there were none. */
void list_form_end(const struct list_form *, struct buf *tail);
/* Bytes of this object in the list; 0 in forms that need not know. */
size_t list_form_size(const struct list_form *, struct arena *, struct str raw, uint64_t rv);
/* The arena is for this object alone. */
int list_form_add(struct list_form *, struct arena *, struct str raw, uint64_t rv, struct buf *out, struct err *);

#endif
