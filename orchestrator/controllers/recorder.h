/*
 * struct recorder: events of a controller that looks again and again and may say the same each time. Equal ones within an hour are
 * counted in one object, which is written again once a minute at most. Best effort: what cannot be written is dropped.
 */
#ifndef ORCHESTRATOR_CONTROLLERS_RECORDER_H
#define ORCHESTRATOR_CONTROLLERS_RECORDER_H

#include "orchestrator/controllers/controller.h"

struct client;
struct recorder;

/* `account` and `component` are borrowed for ever: constants. */
struct recorder *recorder_new(struct client *, const char *account, const char *component);
void recorder_say(struct recorder *, enum view_id, const Meta__ObjectMeta *about, bool warning, const char *reason, const char *message);
/* cb is the last call; nothing may be said any more. */
void recorder_stop(struct recorder *, void (*cb)(void *arg), void *arg);

#endif
