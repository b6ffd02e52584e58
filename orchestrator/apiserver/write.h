/*
 * Writing: the steps of create, update and patch, and what deletes share with them.
 *
 *	load or load_parent > prepare_create, or update_merge/patch_apply > prepare_update > commit > encode_written
 *	  write_load.c          write.c, with write_stamp.c and write_complete.c        write_commit.c
 *
 * A request decides on what it loaded, and its transaction compares the versions of all of that. Who loses the race begins anew, on
 * the newer state, from what the client sent.
 */
#ifndef ORCHESTRATOR_APISERVER_WRITE_H
#define ORCHESTRATOR_APISERVER_WRITE_H

#include "orchestrator/apiserver/request.h"

/* The transaction of this try, empty, in the request's arena. */
struct api_txn *api_txn_new(struct api_request *);
/* Encode req->obj into new_bytes and add compare and put for it. old_rv 0: it must not exist. */
enum step_result api_txn_put_object(struct api_request *);
/* req->obj from the view the client sent or patched. */
enum step_result api_take_view(struct api_request *, struct json *view);
/* 422 with all of them. */
struct field_errs;
enum step_result api_fail_invalid(struct api_request *, struct field_errs *);
/* The same for what is not of the request's resource: a review, a token request. */
enum step_result api_fail_invalid_as(struct api_request *, const char *group, const char *kind, struct field_errs *);
/* Load req->key into old, old_bytes, old_rv. *ret_found; a stale miss makes it wait. */
enum step_result api_load_key(struct api_request *, bool *ret_found);
/* Another object's bytes for admission; STEP_NEXT with raw.p NULL when it does not exist (in fresh state). */
enum step_result api_lookup(struct api_request *, const char *group, const char *plural, struct str ns, struct str name,
		struct str *ret_raw, uint64_t *ret_rv);

#endif
