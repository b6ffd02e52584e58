/*
 * What an aggregated API server answers to a client in this process: pure functions. It speaks JSON; such a client wants protobuf, and of
 * resources that no table knows only the metadata.
 */
#ifndef ORCHESTRATOR_APISERVER_CLIENT_REMOTE_H
#define ORCHESTRATOR_APISERVER_CLIENT_REMOTE_H

#include "base/arena.h"
#include "base/err.h"
#include "orchestrator/client/client.h"

/* An object or a list as PartialObjectMetadata(List). */
int client_remote_answer(struct arena *, struct str json, struct str *ret_raw, struct err *);
/* One line of a watch. An event of the type ERROR fails with what its Status says. */
int client_remote_event(struct arena *, struct str line, enum client_event *ret_type, struct str *ret_raw, uint64_t *ret_rv, struct err *);
/* Why it was refused: the message of a Status, or the text as it is. */
void client_remote_refusal(struct arena *, int status, struct str body, struct err *);
/* Ask for metadata alone, where that is understood. list: of many. */
struct str client_remote_accept(bool list);

#endif
