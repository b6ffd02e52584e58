/*
 * The audit log: one line of JSON (audit.k8s.io/v1 Event) for each stage of a request that the policy asks for (audit_policy.h),
 * appended to a file that is rotated by size. Writing is a plain write(2) under a lock: the page cache takes it in microseconds, and
 * an event is in the kernel's hands before its answer can be acted upon by the next.
 */
#ifndef ORCHESTRATOR_APISERVER_AUDIT_H
#define ORCHESTRATOR_APISERVER_AUDIT_H

#include "orchestrator/apiserver/audit_policy.h"
#include "orchestrator/apiserver/request.h"

struct audit;

struct audit_cfg {
	const char *policy_file, *log_path; /* "-": standard output */
	unsigned max_mb, max_backups, max_days; /* 0: 100 MB, all, for ever */
};
int audit_open(const struct audit_cfg *, struct audit **ret, struct err *);
void audit_close(struct audit *);

/* The id of a request, the client's (Audit-Id) or a new one; each answer names it, also without an audit log. */
struct str audit_id(struct api_request *);
/* The level is decided once the user is known; all of these do nothing without an audit log. */
api_step_fn api__audit_begin;
void audit_event(struct api_request *, enum audit_stage);
/* A JSON answer's body, for level RequestResponse. */
void audit_keep_answer(struct api_request *, struct str json);

#endif
