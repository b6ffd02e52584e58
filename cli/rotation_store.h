/*
 * Where a rotation (rotation.h) stands, in the store: a record a kind, and a report of each server.
 *
 *	/kontiki/pki/ca  /kontiki/pki/sa        the records, changed only if they still are what was looked at
 *	/kontiki/pki/servers/NAME               what that server has taken up, and who last came to it with what the old key signed
 *
 * A server's main thread follows them (rotation_look) and reports; administrators move them over the API port.
 */
#ifndef CLI_ROTATION_STORE_H
#define CLI_ROTATION_STORE_H

#include "cli/rotation.h"

struct apiserver;
struct http_request;
struct kv;
struct store;

#define ROTATION_LOOK_S 2

/* *ret_mod: the record's revision; 0: there is none. */
int rotation_load(struct store *, struct arena *, enum rotation_kind, struct rotation *ret, uint64_t *ret_mod, struct err *);
struct str rotation_key(enum rotation_kind);

struct rotation_follower {
	struct kv *kv;
	const char *pki_dir, *name;   /* borrowed */
	struct apiserver *api;        /* NULL: none (a witness) */
	int64_t seen[ROTATION_N];     /* generations that the files are at */
	int64_t taken[ROTATION_N];    /* and that are in use */
	char complaint[512];          /* the last one, said once */
};
/* Bring pki/ to what the records say. True: files have changed, take them up. */
bool rotation_look(struct rotation_follower *);
/* All that is in pki/ is in use now; say so. Waits for the store, two seconds at most. */
void rotation_report(struct rotation_follower *, bool taken_up);

/*
 * For the API server's front, for administrators:
 *
 *	GET  /kontiki/v1/pki     {"ca": {phase, generation, since, old, new}, "sa": ..., "waiting": {"ca": [sentences], "sa": [...]}}
 *	POST /kontiki/v1/pki     {"kind": "ca", "step": "begin", "force": false}
 */
bool rotation_serve(struct kv *, const char *pki_dir, struct http_request *);

#endif
