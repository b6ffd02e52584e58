/* A webhook for tests: an HTTPS server on the rig's loop, with the rig's own certificate. */
#ifndef TESTS_UNIT_APISERVER_HOOK_RIG_H
#define TESTS_UNIT_APISERVER_HOOK_RIG_H

#include "io/http_server.h"

/* For a configuration's clientConfig, and of the rig's folder; set by hook_rig_start. */
extern char hook_rig_ca[8192], hook_rig_dir[128];

/* How long the server's requests may take, in milliseconds; set before the start. 0: as usual. */
extern unsigned hook_rig_request_ms;
/* Starts the rig too. */
void hook_rig_start(void (*on_request)(struct http_handler *, struct http_request *));
void hook_rig_stop(void);
unsigned hook_rig_port(void);
/* A request whose client goes away when *begun is set; back when *gone is. body NULL: a GET. */
void hook_rig_leave(const char *path, const char *body, int *begun, int *gone);

/* A rule of a configuration, for quoted(): lists without their brackets. */
#define RULE(ops, groups, versions, resources, scope)                                                                             \
	"{'operations':[" ops "],'apiGroups':[" groups "],'apiVersions':[" versions "],'resources':[" resources "],'scope':'" scope "'}"

#endif
