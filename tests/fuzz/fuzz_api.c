/*
 * What the API server reads of strangers before it knows who they are, and of the store: targets and queries, Accept headers,
 * tokens, the metadata of stored objects, lists. Lines of the input: method, target, Accept; the rest is bytes.
 */
#include <stddef.h>
#include <stdint.h>

#include "base/util.h"
#include "io/x509.h"
#include "orchestrator/apiserver/answer.h"
#include "orchestrator/apiserver/attrs.h"
#include "orchestrator/apiserver/jwt.h"
#include "orchestrator/apiserver/request.h"
#include "orchestrator/apiserver/storage.h"
#include "orchestrator/apiserver/txn.h"
#include "orchestrator/client/client.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t size);

static void request_line(struct arena *a, struct str method, struct str target, struct str accept)
{
	struct http_header h[] = {{STR("accept"), accept}, {STR("user-agent"), method}};
	struct api_request req = {.headers = {h, 2}, .method = method, .target = target};
	struct err e = ERR_INIT;

	if (api_target_parse(a, target, &req.path, &req.query, &e) < 0) {
		ASSERT(e.code == ERR_BAD_REQUEST);
		return;
	}
	api_attrs_parse(a, method, req.path, &req.query, &req.at);
	ASSERT(req.at.verb <= API_OTHER && api_verb_name(req.at.verb));
	ASSERT(!req.at.is_resource || req.at.version.n > 0);
	api_accept_default(&req);
	api_accept_parse(&req, &e);
	ASSERT(req.accept.as != AS_TABLE || req.accept.media != MEDIA_PROTOBUF);
	api_options_parse(&req.query, &req.opt, &e);
}

static void stored(struct arena *a, struct str bytes)
{
	struct client_list_meta lm;
	struct storage_meta m;
	struct str raw, value;
	struct buf out = BUF_INIT;
	size_t pos = 0;

	if (storage_unwrap(bytes, &raw))
		storage_meta(raw, &m);
	if (storage_meta(bytes, &m))
		storage_label(m.bytes, STR("a"), &value);
	/* What reads as an object reads as one with a version, too. */
	storage_with_rv(&out, bytes, 7);
	ASSERT(buf_ok(&out));
	buf_fini(&out);
	client_list_meta(bytes, &lm, NULL);
	while (client_list_next(bytes, &pos, &raw))
		ASSERT(raw.p >= bytes.p && raw.p + raw.n <= bytes.p + bytes.n);
	txn_succeeded(bytes);
	(void)a;
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t size)
{
	static struct x509_key *key;
	struct str in = str_of(p, size), method, target, accept, rest;
	struct json *claims;
	struct arena a;

	if (!key)
		ASSERT(x509_key_new(&key, NULL) == 0);
	arena_init(&a);
	str_cut(in, '\n', &method, &rest);
	str_cut(rest, '\n', &target, &rest);
	str_cut(rest, '\n', &accept, &rest);
	request_line(&a, method, target, accept);
	ASSERT(jwt_verify(&a, key, rest, &claims, NULL) != 0);
	stored(&a, rest);
	arena_fini(&a);
	return 0;
}
