/*
 * Which requests are written to the audit log, and how much of each: an audit policy (audit.k8s.io/v1 Policy) as pure data and one
 * question. The first rule that matches counts; none: nothing is written.
 *
 * Source: "Auditing" of the Kubernetes documentation.
 */
#ifndef ORCHESTRATOR_APISERVER_AUDIT_POLICY_H
#define ORCHESTRATOR_APISERVER_AUDIT_POLICY_H

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"
#include "orchestrator/apiserver/rbac.h"

struct api_user;
struct audit_policy;

enum audit_level { AUDIT_NONE, AUDIT_METADATA, AUDIT_REQUEST, AUDIT_REQUEST_RESPONSE };
enum audit_stage { AUDIT_REQUEST_RECEIVED, AUDIT_RESPONSE_STARTED, AUDIT_RESPONSE_COMPLETE, AUDIT_PANIC, AUDIT_N_STAGES };
extern const char *const audit_level_names[], *const audit_stage_names[AUDIT_N_STAGES];

/* From the text of a policy file (YAML or JSON). */
int audit_policy_parse(struct str text, struct audit_policy **ret, struct err *);
void audit_policy_free(struct audit_policy *);
/* *ret_stages: bit 1 << stage is set for each stage that is written. */
enum audit_level audit_policy_level(const struct audit_policy *, const struct api_user *, const struct authz_attrs *,
		unsigned *ret_stages);

#endif
