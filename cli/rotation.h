/*
 * Replacing one of the cluster's two keys while the cluster runs: the CA, or the key that signs service-account tokens.
 *
 * Where a rotation stands is one record in the store; every server brings its pki/ folder to it (renew.h) and reports what it has
 * taken up. So a crash of anybody, anywhere, loses nothing: what was decided is in the store, and each step on disk is one
 * file that is replaced.
 *
 *	          begin                  switch                          finish
 *	(nothing) -----> TRUST: both are -----> SWITCH: the new one signs, -----> DONE: only the new one
 *	          <----- trusted, the           the old one is still              is trusted
 *	          cancel old one signs          trusted
 *
 *	                 trusted                 signs             beside them
 *	CA               ca.crt, a bundle        ca.key            ca-cross.crt while SWITCH: the new CA signed by the old one, sent with the
 *	                                                           API's certificate, so that who trusts only the old CA is served too
 *	token key        sa.key + sa-trusted.pem sa.key
 *	the next key waits in ca-next.key, sa-next.key
 *
 * The certificate in ca.crt that belongs to ca.key is the one that signs, whatever its place; the first one is what tokens to join
 * with name. The new private key travels inside the record, sealed with a key that is derived from ca.key: only who had
 * the CA's key already can read it.
 */
#ifndef CLI_ROTATION_H
#define CLI_ROTATION_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

struct json;

enum rotation_kind { ROTATION_CA, ROTATION_SA, ROTATION_N };
enum rotation_phase { ROTATION_NONE, ROTATION_TRUST, ROTATION_SWITCH, ROTATION_DONE };
enum rotation_step { ROTATION_BEGIN, ROTATION_SWITCH_OVER, ROTATION_FINISH, ROTATION_CANCEL, ROTATION_STEPS };

struct rotation {
	enum rotation_kind kind;
	enum rotation_phase phase;
	int64_t generation; /* grows with each step, over all rotations */
	int64_t since_s;    /* wall clock of the last step */
	struct str old_pem, new_pem; /* certificates or public keys; DONE: old_pem is empty */
	struct str cross_pem;        /* CA, until DONE */
	struct str sealed;           /* the new private key; until DONE */
};

const char *rotation_kind_name(enum rotation_kind);   /* "ca", "sa" */
const char *rotation_phase_name(enum rotation_phase); /* "none", "trust", "switch", "done" */
bool rotation_kind_find(struct str name, enum rotation_kind *ret);
bool rotation_step_find(struct str name, enum rotation_step *ret); /* "begin", "switch", "finish", "cancel" */

/* The record's text and back; an empty text is none. Strings in the arena. */
struct str rotation_print(struct arena *, const struct rotation *);
int rotation_parse(struct arena *, enum rotation_kind, struct str text, struct rotation *ret, struct err *);

/* Sixteen hex digits that name a key, from a private key, a public key or a certificate. False: none of these. */
#define ROTATION_ID 17
bool rotation_id(struct str pem, char out[ROTATION_ID]);

/* A new key beside the present one in pki/. `r` is what there was; it becomes TRUST. */
int rotation_begin(const char *pki_dir, struct arena *, int64_t now_s, struct rotation *r, struct err *);
/* The other steps; ERR_FAILED_PRECONDITION when the phase is another. */
int rotation_advance(enum rotation_step, int64_t now_s, struct rotation *r, struct err *);

/* Bring a server's pki/ to what the record says. *ret_changed: files are others than before. Safe to repeat, and to be cut off anywhere. */
int rotation_follow(const char *pki_dir, const struct rotation *, bool *ret_changed, struct err *);

/* --- Who is not there yet (pure) ---- */

/* What a member reports; generation 0: nothing yet. */
struct rotation_server {
	struct str name;
	int64_t generation;       /* of this kind, as taken up */
	struct str old_user;      /* who last came with what the old key signed; empty: nobody */
	int64_t old_s;            /* and when */
};
/* What a node's annotations say: names of keys (rotation_id), by commas. */
struct rotation_node {
	struct str name, trusted, used;
};
#define ROTATION_QUIET_S 30
/* Tokens that kubelets renew live an hour. */
#define ROTATION_TOKENS_S 4200

/* Everything that stands against the step, a sentence each, appended to an array; none: it may be made. */
void rotation_obstacles(struct arena *, const struct rotation *, enum rotation_step, int64_t now_s, const struct rotation_server *, size_t n_servers,
		const struct rotation_node *, size_t n_nodes, struct json *ret_list);

#endif
