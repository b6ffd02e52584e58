#include "cli/rotation_store.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/util.h"
#include "orchestrator/apiserver/apiserver.h"
#include "orchestrator/apiserver/txn.h"
#include "proto/json.h"
#include "raft/kv.h"
#include "store/view.h"

#define KEYS "/kontiki/pki/"
#define WAIT_MS 2000
/* How finely the time of an old key's use is told: a report is a write. */
#define OLD_GRAIN_S 5

struct str rotation_key(enum rotation_kind k)
{
	return k == ROTATION_CA ? STR(KEYS "ca") : STR(KEYS "sa");
}

/* Empty when there is no such key. */
static int get(struct store *store, struct arena *a, struct str key, struct str *ret, uint64_t *ret_mod, struct err *e)
{
	struct store_view *v;
	struct store_kv kv;
	struct err why = ERR_INIT;
	int rv = store_view_open(store, &v, e);

	*ret = STR_NULL;
	*ret_mod = 0;
	if (rv < 0)
		return rv;
	rv = view_get(v, key, 0, &kv, &why);
	if (rv == 0) {
		*ret = arena_str(a, kv.value);
		*ret_mod = (uint64_t)kv.mod_revision;
	} else if (why.code == ERR_NOT_FOUND) {
		rv = 0;
	} else if (e) {
		*e = why;
	}
	store_view_close(v);
	return rv;
}

int rotation_load(struct store *store, struct arena *a, enum rotation_kind kind, struct rotation *ret, uint64_t *ret_mod, struct err *e)
{
	struct str text;
	int rv = get(store, a, rotation_key(kind), &text, ret_mod, e);

	return rv == 0 ? rotation_parse(a, kind, text, ret, e) : rv;
}

/* --- Following ------------------------------------------------------------------------------------------------------ */

static void complain(struct rotation_follower *f, const struct err *e)
{
	if (strcmp(f->complaint, e->text) == 0)
		return;
	snprintf(f->complaint, sizeof(f->complaint), "%s", e->text);
	log_error("server", "cannot follow the cluster's keys: %s", e->text);
}

bool rotation_look(struct rotation_follower *f)
{
	bool any = false;
	struct arena a;

	arena_init(&a);
	for (int k = 0; k < ROTATION_N; k++) {
		struct err e = ERR_INIT;
		struct rotation r;
		bool changed = false;
		uint64_t mod;

		if (rotation_load(kv_store(f->kv), &a, (enum rotation_kind)k, &r, &mod, &e) == 0 && r.generation != f->seen[k] &&
				rotation_follow(f->pki_dir, &r, &changed, &e) == 0) {
			log_info("server", "following the rotation kind=%s phase=%s generation=%lld", rotation_kind_name((enum rotation_kind)k),
					rotation_phase_name(r.phase), (long long)r.generation);
			f->seen[k] = r.generation;
		}
		if (e.code)
			complain(f, &e);
		any = any || changed;
	}
	arena_fini(&a);
	return any;
}

static void add_old(struct rotation_follower *f, struct arena *a, struct json *j, enum apiserver_old what, const char *name)
{
	char user[256];
	int64_t at = f->api ? apiserver_old_use(f->api, what, user) : 0;

	if (at == 0)
		return;
	json_setp(a, j, arena_printf(a, "%s.user", name), json_newc(a, user));
	json_setp(a, j, arena_printf(a, "%s.at", name), json_new_int(a, at / OLD_GRAIN_S * OLD_GRAIN_S));
}

/* A proposal that is waited for. */
struct waiting {
	struct kv_req req;
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool over;
};

static void proposed(struct kv_req *req)
{
	struct waiting *w = container_of(req, struct waiting, req);

	pthread_mutex_lock(&w->lock);
	w->over = true;
	pthread_cond_signal(&w->cond);
	pthread_mutex_unlock(&w->lock);
}

static void put(struct kv *kv, struct str key, struct str value)
{
	struct waiting w = {.req = {.timeout_ms = WAIT_MS, .done = proposed}, .lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};
	_cleanup_(buf_fini) struct buf command = BUF_INIT;
	struct api_txn txn;

	txn_init(&txn);
	txn_put(&txn, key, value, 0);
	txn_command(&txn, &command);
	txn_fini(&txn);
	w.req.command = buf_str(&command);
	kv_propose(kv, &w.req);
	pthread_mutex_lock(&w.lock);
	while (!w.over)
		pthread_cond_wait(&w.cond, &w.lock);
	pthread_mutex_unlock(&w.lock);
	free(w.req.response);
}

void rotation_report(struct rotation_follower *f, bool taken_up)
{
	struct json *j;
	struct str key, have, text;
	struct arena a;
	uint64_t mod;

	if (taken_up)
		memcpy(f->taken, f->seen, sizeof(f->taken));
	if (f->taken[ROTATION_CA] == 0 && f->taken[ROTATION_SA] == 0)
		return;
	arena_init(&a);
	j = json_new_object(&a);
	for (int k = 0; k < ROTATION_N; k++)
		json_setc(&a, j, rotation_kind_name((enum rotation_kind)k), json_new_int(&a, f->taken[k]));
	add_old(f, &a, j, APISERVER_OLD_CA, "oldCA");
	add_old(f, &a, j, APISERVER_OLD_TOKEN, "oldSA");
	text = json_text(&a, j);
	key = arena_sprintf(&a, KEYS "servers/%s", f->name);
	if (get(kv_store(f->kv), &a, key, &have, &mod, NULL) == 0 && !str_eq(have, text))
		put(f->kv, key, text);
	arena_fini(&a);
}
