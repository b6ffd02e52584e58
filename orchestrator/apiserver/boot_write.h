/*
 * struct boot_write: writes objects that a cluster has by itself, some side by side, so that the log is synced a few times only.
 * `next` is asked for more whenever there is room: it calls boot_write_put as often as it likes and returns false when it has
 * nothing more to look at.
 *
 *	struct boot { struct boot_write w; ... };
 *	b->w = (struct boot_write){.srv = srv, .client = client, .next = next, .done = done, .what = "default roles"};
 *	boot_write_start(&b->w);
 */
#ifndef ORCHESTRATOR_APISERVER_BOOT_WRITE_H
#define ORCHESTRATOR_APISERVER_BOOT_WRITE_H

#include "base/arena.h"
#include "orchestrator/client/client.h"

struct apiserver;
struct boot_write;
struct json;
struct resource;

struct boot_write {
	struct apiserver *srv;
	struct client *client;
	const char *what, *manager; /* for the log; the field manager, NULL: the user's */
	bool (*next)(struct boot_write *);
	/* Follows once, also inside boot_write_start when there is nothing to write; the struct's memory is the callee's. */
	void (*done)(struct boot_write *, bool ok);
	struct arena arena;
	unsigned pending, written;
	bool failed, ended; /* failed: run it again */
};

void boot_write_start(struct boot_write *);
/* verb: create, update or delete; sub may be NULL, doc too for a delete. A create that finds the object there is fine. */
void boot_write_put(struct boot_write *, enum client_verb, const struct resource *, const char *ns, const char *name, const char *sub,
		struct json *doc);
/* What is stored, with its resourceVersion; NULL: nothing that can be read. The arena is the writer's. */
struct json *boot_write_have(struct boot_write *, const struct resource *, const char *ns, const char *name);

#endif
