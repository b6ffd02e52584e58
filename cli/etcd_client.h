/*
 * kontiki status and kontiki member against an etcd API (`kontiki etcd`, or an etcd): what `--endpoints` asks for, through the JSON
 * gateway under /v3/. Answers have the form that a server's own /kontiki/v1/ has, so that they are printed by the same code.
 */
#ifndef CLI_ETCD_CLIENT_H
#define CLI_ETCD_CLIENT_H

#include "cli/store_client.h"

struct json;

/* As GET /kontiki/v1/status: asks every member for its own state. */
int etcd_client_status(const struct store_client_opts *, struct arena *, struct json **ret, struct err *);
/* As GET /kontiki/v1/members. */
int etcd_client_members(const struct store_client_opts *, struct arena *, struct json **ret, struct err *);
/* verb: add (who NULL), remove, promote, update, transfer; who is a name or an id. *ret_id: of a new member. */
int etcd_client_change(const struct store_client_opts *, const char *verb, const char *who, const char *address, bool learner, struct arena *,
		struct str *ret_id, struct err *);

#endif
