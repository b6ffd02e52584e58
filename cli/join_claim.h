/*
 * Whose a node's name is. Whoever has a token could ask for a certificate in the name of a node that is there, and read what its pods
 * may read; so a machine that joins shows a password of its own, which it keeps (pki/node.password), and the cluster keeps the hash
 * under /kontiki/nodes/NAME. The name is the last comer's until there is a Node of that name, and then his for as long as there is; after
 * `kubectl delete node` it is free. A Node that came otherwise (with a certificate that was made by hand, or before there were passwords) is
 * nobody's to come back as.
 */
#ifndef CLI_JOIN_CLAIM_H
#define CLI_JOIN_CLAIM_H

#include <stdbool.h>

#include "base/err.h"
#include "base/str.h"

struct http_request;
struct kv;

enum join_claim { JOIN_CLAIM_HIS, JOIN_CLAIM_TAKE /* it is free: his from now on */, JOIN_CLAIM_REFUSED };
/* kept: the hash, or empty; given: the password, or empty (a joiner that knows of none). Pure. */
enum join_claim join_claim_judge(struct str kept, struct str given, bool node_exists);

/* done(request, NULL) when the name is his; the error says why not. Not when the request is gone, which it sees to. It may come inside this call,
 * which is the last act of whoever makes it. */
void join_claim(struct kv *, struct http_request *, struct str name, struct str password, void (*done)(struct http_request *, const struct err *));

#endif
