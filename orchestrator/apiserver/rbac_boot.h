/*
 * Writes the default roles and bindings (rbac_default.h) where they are missing or lack something: some side by side, so that
 * the log is synced a few times only. The leader's bootstrap runs it once.
 */
#ifndef ORCHESTRATOR_APISERVER_RBAC_BOOT_H
#define ORCHESTRATOR_APISERVER_RBAC_BOOT_H

#include <stdbool.h>

struct apiserver;
struct client;

/* done(arg, ok) follows once, not inside this call unless there is nothing to write; not ok: run it again. */
void rbac_boot(struct apiserver *, struct client *, void (*done)(void *arg, bool ok), void *arg);

#endif
