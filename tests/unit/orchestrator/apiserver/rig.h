/*
 * A server of one member in this process, and a client to it over TLS that waits for its answers.
 *
 *	rig_start();
 *	struct json *o = rig_call("POST", "/api/v1/namespaces", "{...}", 201);
 *	rig_stop();
 */
#ifndef TESTS_UNIT_APISERVER_RIG_H
#define TESTS_UNIT_APISERVER_RIG_H

#include "base/arena.h"
#include "io/loop.h"
#include "proto/json.h"

struct apiserver;
struct apiserver_cfg;
struct http_client;
struct store;

extern struct arena rig_arena;
extern struct loop *rig_loop;
extern struct apiserver *rig_server;

/* Set before rig_start: changes what the server is started with. `dir` is the test's own folder. */
extern void (*rig_configure)(const char *dir, struct apiserver_cfg *);
struct store *rig_store(void);
/* The client that asks, for calls that nothing here makes. */
struct http_client *rig_client(void);

void rig_start(void);
void rig_stop(void);

/* Who asks: "admin", "node1", "jane" (certificates), NULL: nobody. */
void rig_as(const char *who);
/* For the next call only. */
void rig_header(const char *name, const char *value);
/* The body's media type for the next call; application/json otherwise. */
void rig_type(const char *media);
/* Fails the test when the status is not `want` (0: any will do). Answers that are no JSON come as a string. */
struct json *rig_call(const char *method, const char *path, const char *body, int want);

/* A header of the last answer; "": none. */
const char *rig_answer_header(const char *name);
/* The Warning headers of the last answer, a line each. */
struct str rig_warnings(void);

/* Forget the history before now. */
void rig_compact(void);

/* The same with any bytes; {NULL, 0}: no body. */
struct str rig_raw(const char *method, const char *path, struct str body, int want);

/* The answer to a GET begins, and does not come to its end. */
bool rig_breaks_off(const char *path);

/* Go away from a GET, with its headers, once *when is not 0. */
void rig_leave(const char *path, const int *when);

/* A watch whose events are collected. */
struct rig_watch;
struct rig_watch *rig_watch(const char *path);
/* The same over WebSocket: one message an event. */
struct rig_watch *rig_ws_watch(const char *path);
/* Wait until the server has begun to answer: what comes later is seen. */
void rig_watch_begun(struct rig_watch *);
/* Wait for the n-th event (from 0): {type, object}. */
struct json *rig_event(struct rig_watch *, size_t n);
/* Wait until the server has ended it; number of events. */
size_t rig_watch_end(struct rig_watch *);
/* The same, but it is left: no time limit of its own can come too early on a busy machine. */
size_t rig_watch_stop(struct rig_watch *);
/* Turn the loop until *flag is not 0; fails after ten seconds. */
void rig_until(const int *flag);

#endif
