/*
 * A world for tests of controllers and scheduler: a whole API server of one member in this process, with nodes and kubelets that
 * the test plays. `kubelet_turn` reports pods as running, ends those whose annotation test/exit says with which code, and removes
 * those that are to go.
 */
#ifndef TESTS_UNIT_ORCHESTRATOR_CONTROLLERS_WORLD_H
#define TESTS_UNIT_ORCHESTRATOR_CONTROLLERS_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/unit/orchestrator/apiserver/rig.h"

#define NS "/api/v1/namespaces/default"
#define APPS "/apis/apps/v1/namespaces/default"
#define BATCH "/apis/batch/v1/namespaces/default"

/* Fixtures of a cmocka group. */
int world_start(void **state);
int world_stop(void **state);
/* Calls that must succeed. */
struct json *get(const char *path);
struct json *post(const char *path, const char *body);
struct json *merge(const char *path, const char *body);
/* In the rig's arena. */
const char *fmt(const char *f, ...) __attribute__((format(printf, 1, 2)));
/* "" and 0 when there is none. */
const char *str(const struct json *, const char *path);
int64_t num(const struct json *, const char *path);
void add_node(const char *name, const char *cpu);
void renew(const char *node);
/* Every turn of the kubelets renews the leases, too, unless a test wants silent nodes. */
extern bool world_renews;
/* When a silent node is given up, set before the start: long, so that it is none only because the machine is busy. */
extern unsigned world_grace_s;
bool is_ready(const struct json *pod);
/* Those not on their way out; which may be NULL. */
size_t count_pods(const char *selector, bool (*which)(const struct json *));
void kubelet_turn(void);
/* Turn the world until what() holds. */
void world_wait(bool (*what)(void), const char *name);
#define WAIT(what) world_wait(what, #what)

#endif
