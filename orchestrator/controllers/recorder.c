#include "orchestrator/controllers/recorder.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/map.h"
#include "base/util.h"
#include "orchestrator/client/client.h"
#include "proto/pb.h"
#include "proto/resource.h"

#define SAME_FOR_S 3600
#define WRITE_S 60
#define MAX_KNOWN 4096
#define MAX_UNDER_WAY 32

struct known {
	char *name; /* of the object */
	int32_t count;
	int64_t first_s, last_s, written_s;
};

struct recorder {
	struct client *client;
	const char *account, *component;
	struct map known; /* "uid/reason/message" -> struct known */
	struct list writes;
	unsigned n_writes;
	bool stopping;
	void (*stopped)(void *arg);
	void *stopped_arg;
};

struct event_write {
	struct client_req req;
	struct list link;
	struct recorder *rec;
	char *key;
};

struct recorder *recorder_new(struct client *client, const char *account, const char *component)
{
	struct recorder *rec = xcalloc(1, sizeof(*rec));

	rec->client = client;
	rec->account = account;
	rec->component = component;
	map_init(&rec->known);
	list_init(&rec->writes);
	return rec;
}

static void known_free(void *p)
{
	struct known *k = p;

	if (k)
		free(k->name);
	free(k);
}

static void forget_old(struct recorder *rec, int64_t now_s)
{
	bool full = map_len(&rec->known) >= MAX_KNOWN;

	MAP_FOR_EACH (e, &rec->known) {
		struct known *k = e->value;

		if (!full && now_s - k->first_s < SAME_FOR_S)
			continue;
		map_del(&rec->known, e->key);
		known_free(k);
	}
}

static void end_if_over(struct recorder *rec)
{
	if (!rec->stopping || rec->n_writes > 0)
		return;
	map_fini_with(&rec->known, known_free);
	rec->stopped(rec->stopped_arg);
	free(rec);
}

static void written(struct client_req *req)
{
	struct event_write *w = container_of(req, struct event_write, req);
	struct recorder *rec = w->rec;

	if (req->err.code != ERR_OK) {
		/* It may be gone: the next one is a new object. */
		known_free(map_del(&rec->known, str_from(w->key)));
		log_debug("controllers", "event dropped: %s", req->err.text);
	}
	client_req_fini(req);
	list_del(&w->link);
	free(w->key);
	free(w);
	rec->n_writes--;
	end_if_over(rec);
}

void recorder_say(struct recorder *rec, enum view_id view, const Meta__ObjectMeta *about, bool warning, const char *reason, const char *message)
{
	char *key = xasprintf("%s/%s/%s", pb_s(about->uid), reason, message);
	struct known *k = map_get(&rec->known, str_from(key));
	int64_t now_s = clock_wall_s();
	struct event_write *w;
	Core__Event *ev;

	if (k) {
		k->count++;
		k->last_s = now_s;
	}
	if (rec->stopping || rec->n_writes >= MAX_UNDER_WAY || (k && now_s - k->written_s < WRITE_S)) {
		free(key);
		return;
	}
	w = xcalloc(1, sizeof(*w));
	w->rec = rec;
	w->key = key;
	client_req_init(&w->req, k ? CLIENT_UPDATE : CLIENT_CREATE, resource_find("", "v1", "events"));
	ev = event_about(&w->req.arena, now_s, rec->component, view, about, warning ? "Warning" : "Normal", reason, arena_strdup(&w->req.arena, message));
	if (k) {
		ev->metadata->name = arena_strdup(&w->req.arena, k->name);
		ev->count = k->count;
		ev->first_timestamp = time_now(&w->req.arena, k->first_s);
		w->req.name = ev->metadata->name;
	} else {
		forget_old(rec, now_s);
		k = xcalloc(1, sizeof(*k));
		*k = (struct known){.name = xstrdup(ev->metadata->name), .count = 1, .first_s = now_s, .last_s = now_s};
		map_put(&rec->known, str_from(key), k);
	}
	k->written_s = now_s;
	w->req.ns = ev->metadata->namespace_;
	w->req.msg = (const ProtobufCMessage *)ev;
	w->req.account = rec->account;
	w->req.done = written;
	list_add_tail(&rec->writes, &w->link);
	rec->n_writes++;
	client_do(rec->client, &w->req);
}

void recorder_stop(struct recorder *rec, void (*cb)(void *arg), void *arg)
{
	rec->stopping = true;
	rec->stopped = cb;
	rec->stopped_arg = arg;
	LIST_FOR_EACH (w, &rec->writes, struct event_write, link)
		client_cancel(&w->req);
	end_if_over(rec);
}
