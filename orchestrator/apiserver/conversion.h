/*
 * ConversionReview (apiextensions.k8s.io/v1, v1beta1) as pure functions: the question to a webhook that converts custom objects
 * between versions, and the reading of its answer. convert.h asks.
 *
 * Objects are texts of JSON here, as they are stored. A webhook may change what it likes but kind, name, namespace, uid and the other
 * metadata: of that only labels and annotations are taken from its answer.
 */
#ifndef ORCHESTRATOR_APISERVER_CONVERSION_H
#define ORCHESTRATOR_APISERVER_CONVERSION_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

struct json;

/* Which version of the review is spoken with a webhook: the first of those it likes that we speak. */
bool conversion_is_v1beta1(const struct json *versions);

struct conversion {
	bool v1beta1;
	const char *uid;
	const char *to;  /* the version that is wanted: "example.com/v1" */
	const struct str *objects;
	size_t n;
};
void conversion_question(struct buf *out, const struct conversion *);

/*
 * ret[i]: the i-th object in the wanted version, as text in the arena. Else -1 with upstream's words for what is wrong (with the
 * webhook's own where it says why it failed).
 */
int conversion_answer(struct arena *, const struct conversion *, struct str body, struct str *ret, const char **ret_why);

/* "example.com/v1, Kind=Thing" of an object, for messages. */
const char *conversion_kind(struct arena *, const struct json *obj);

#endif
