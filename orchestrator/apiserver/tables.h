/*
 * metav1.Table answers: what kubectl get asks for. The rows are made by proto/table.h.
 */
#ifndef ORCHESTRATOR_APISERVER_TABLES_H
#define ORCHESTRATOR_APISERVER_TABLES_H

#include "orchestrator/apiserver/request.h"
#include "proto/codec.h"
#include "proto/table.h"

enum step_result api_answer_table(struct api_request *, int status, struct str raw, uint64_t rv);
/* A finished table document. */
enum step_result api_answer_table_doc(struct api_request *, int status, struct json *table);
void api_table_list_meta(struct arena *, struct json *table, const struct codec_list_meta *);
/* One object's table; the first of a watch has the columns, later ones not. */
struct json *api_table_of(struct arena *, struct api_request *, struct str raw, uint64_t rv, bool columns, struct err *);

/*
 * Answer with objects that are not stored, of the request's resource: the one that was asked for by name (404 when the list is
 * empty), or the list, as objects or as a Table.
 */
enum step_result api_answer_made(struct api_request *, struct json *items);

#endif
