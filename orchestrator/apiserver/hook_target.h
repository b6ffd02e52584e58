/*
 * Where a webhook is (its clientConfig: a url, or a service and whom to trust), and what goes wrong with a call of it in words.
 * Whoever asks webhooks shares this: admission (webhooks.h) and the conversion of custom objects (convert.h). Connections are
 * kept by service_clients.h.
 *
 *	hook_target_read(arena, json_getc(hook, "clientConfig"), &t);        once, for a configuration
 *	hook_target_find(arena, store, &t, timeout_s, &address, &e);         for each call: services' endpoints change
 */
#ifndef ORCHESTRATOR_APISERVER_HOOK_TARGET_H
#define ORCHESTRATOR_APISERVER_HOOK_TARGET_H

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"
#include "orchestrator/apiserver/service_clients.h"

struct http_call;
struct json;
struct store;

struct hook_target {
	struct str url, service, service_ns, path; /* a url, or a service */
	int64_t port;
	struct str ca_pem;
};
/* What is wrong (a validated configuration has none of it) is left empty. */
void hook_target_read(struct arena *, const struct json *client_config, struct hook_target *ret);

struct hook_address {
	struct service_server server;
	const char *path;    /* with the timeout as its query */
	const char *url;     /* as errors name it */
};
/* ret->url is set also when it fails. */
int hook_target_find(struct arena *, struct store *, const struct hook_target *, unsigned timeout_s, struct hook_address *ret,
		struct err *);

/* host:port, the host alone and the path of an https url; the port is 443 when it names none. */
bool hook_url_parse(struct arena *, struct str url, const char **ret_address, const char **ret_host, struct str *ret_path);

/* Why a call that is over has brought no answer, in the words of client-go; NULL: it has. */
const char *hook_call_failure(struct arena *, const struct http_call *, const char *url, const struct err *);
/* It is worth one more try: a kept connection that the server closed meanwhile says nothing about the server. */
bool hook_call_again(const struct http_call *, const struct err *);

#endif
