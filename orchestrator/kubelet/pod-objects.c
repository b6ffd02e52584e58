/* Fetching the config maps, secrets, tokens and claims of one pod: all at once, one request each; a bound claim's volume comes next. */
#include <stdlib.h>

#include "base/clock.h"
#include "base/util.h"
#include "orchestrator/kubelet/kubelet-priv.h"
#include "orchestrator/kubelet/pbutil.h"
#include "proto/authentication.pb-c.h"
#include "proto/resource.h"

struct fetch_one {
	struct objects_fetch *f;
	struct obj_ref *ref;
	struct client_req req;
};

struct objects_fetch {
	struct kubelet *k;
	struct objset *set;
	struct kept *pod;
	struct fetch_one *one;
	size_t waiting;
	struct loop_timer later;
	bool canceled;
	void (*done)(void *arg, struct objset *);
	void *arg;
};

static void finish(struct objects_fetch *f)
{
	if (f->canceled) {
		objset_fini(f->set);
		free(f->set);
	} else {
		f->done(f->arg, f->set);
	}
	kept_unref(f->pod);
	kubelet_idle(f->k);
	free(f->one);
	free(f);
}

static void on_later(struct loop_timer *t)
{
	finish(container_of(t, struct objects_fetch, later));
}

static void take_token(struct fetch_one *o)
{
	Authentication__TokenRequest *t = client_req_unpack(&o->req, &authentication__token_request__descriptor);
	struct obj_ref *r = o->ref;

	if (!t || !t->status || !is_set(t->status->token)) {
		err_set(&r->err, ERR_PROTOCOL, "the answer has no token");
		return;
	}
	r->token = arena_strdup(&o->f->set->arena, t->status->token);
	r->token_made_s = clock_wall_s();
	r->token_expires_s = t->status->expiration_timestamp && t->status->expiration_timestamp->has_seconds
					     ? t->status->expiration_timestamp->seconds
					     : r->token_made_s + r->seconds;
}

static void got(struct client_req *req);

/* True when its volume is asked for now. */
static bool take_claim(struct fetch_one *o)
{
	struct obj_ref *r = o->ref;
	struct arena *a = &o->f->set->arena;

	r->claim = pb_unpack(a, &core__persistent_volume_claim__descriptor, o->req.answer);
	if (!r->claim || !r->claim->metadata) {
		err_set(&r->err, ERR_PROTOCOL, "the answer is no claim");
		return false;
	}
	if (objset_claim_ok(o->f->pod->msg, r, &r->err) < 0 || o->f->canceled)
		return false;
	client_req_fini(&o->req);
	client_req_init(&o->req, CLIENT_GET, resource_find("", "v1", "persistentvolumes"));
	o->req.name = r->claim->spec->volume_name;
	o->req.done = got;
	r->done = false;
	client_do(o->f->k->client, &o->req);
	return true;
}

static void take_volume(struct fetch_one *o)
{
	struct obj_ref *r = o->ref;

	r->pv = pb_unpack(&o->f->set->arena, &core__persistent_volume__descriptor, o->req.answer);
	if (!r->pv || !r->pv->metadata || !r->pv->spec || !r->pv->spec->persistent_volume_source)
		err_set(&r->err, ERR_PROTOCOL, "the answer is no volume");
	else if (!r->pv->spec->claim_ref || !pb_streq(r->pv->spec->claim_ref->uid, r->claim->metadata->uid))
		err_set(&r->err, ERR_UNAVAILABLE, "volume \"%s\" is bound to another claim", r->claim->spec->volume_name);
}

/* What a pod uses stays what it is: a volume that was found is not asked for again. */
static bool keep_claim(struct obj_ref *r, struct objset *set, const struct objset *old)
{
	const struct obj_ref *o = old && r->kind == OBJ_CLAIM ? objset_find(old, OBJ_CLAIM, r->name, 0) : NULL;

	if (!o || !o->pv || o->err.code)
		return false;
	r->claim = pb_copy(&set->arena, o->claim);
	r->pv = pb_copy(&set->arena, o->pv);
	r->done = true;
	return true;
}

static void got(struct client_req *req)
{
	struct fetch_one *o = container_of(req, struct fetch_one, req);
	struct objects_fetch *f = o->f;
	struct obj_ref *r = o->ref;

	r->done = true;
	r->err = req->err;
	if (!req->err.code && r->kind == OBJ_CONFIG_MAP)
		r->config_map = pb_unpack(&f->set->arena, &core__config_map__descriptor, req->answer);
	else if (!req->err.code && r->kind == OBJ_SECRET)
		r->secret = pb_unpack(&f->set->arena, &core__secret__descriptor, req->answer);
	else if (!req->err.code && r->kind == OBJ_CLAIM && !r->claim) {
		if (take_claim(o))
			return;
	} else if (!req->err.code && r->kind == OBJ_CLAIM)
		take_volume(o);
	else if (r->claim)
		err_set(&r->err, ERR_UNAVAILABLE, "volume \"%s\": %s", r->claim->spec->volume_name, req->err.text);
	else if (!req->err.code)
		take_token(o);
	client_req_fini(req);
	if (--f->waiting == 0)
		finish(f);
}

static void ask_token(struct fetch_one *o)
{
	struct arena *a = &o->req.arena;
	const Core__Pod *pod = o->f->pod->msg;
	Authentication__TokenRequest *t = PB_NEW(a, Authentication__TokenRequest, authentication__token_request);
	Authentication__BoundObjectReference *b =
			PB_NEW(a, Authentication__BoundObjectReference, authentication__bound_object_reference);

	t->spec = PB_NEW(a, Authentication__TokenRequestSpec, authentication__token_request_spec);
	if (*o->ref->name)
		PB_ADD(a, t->spec, audiences, o->ref->name);
	PB_SET(t->spec, expiration_seconds, o->ref->seconds);
	b->kind = "Pod";
	b->api_version = "v1";
	b->name = pod->metadata->name;
	b->uid = pod->metadata->uid;
	t->spec->bound_object_ref = b;
	o->req.verb = CLIENT_CREATE;
	o->req.resource = resource_find("", "v1", "serviceaccounts");
	o->req.name = is_set(pod->spec->service_account_name) ? pod->spec->service_account_name : "default";
	o->req.sub = "token";
	o->req.body = pb_pack_arena(t, a);
}

/* A token that is not due for renewal is kept. */
static bool keep_token(struct obj_ref *r, struct objset *set, const struct objset *old)
{
	const struct obj_ref *o = old ? objset_find(old, OBJ_TOKEN, r->name, r->seconds) : NULL;

	if (r->kind != OBJ_TOKEN || !o || !o->token || clock_wall_s() >= objset_renew_at(old))
		return false;
	r->token = arena_strdup(&set->arena, o->token);
	r->token_made_s = o->token_made_s;
	r->token_expires_s = o->token_expires_s;
	r->done = true;
	return true;
}

struct objects_fetch *objects_fetch_start(struct kubelet *k, const Core__Pod *pod, const struct objset *old,
		void (*done)(void *arg, struct objset *), void *arg)
{
	static const char *const plurals[] = {[OBJ_CONFIG_MAP] = "configmaps", [OBJ_SECRET] = "secrets", [OBJ_TOKEN] = "configmaps",
		[OBJ_CLAIM] = "persistentvolumeclaims"};
	struct objects_fetch *f = xcalloc(1, sizeof(*f));

	f->k = k;
	f->done = done;
	f->arg = arg;
	f->pod = kept_new(pod);
	f->set = xcalloc(1, sizeof(*f->set));
	objset_collect(f->set, f->pod->msg);
	/* The names must live as long as the set does. */
	for (size_t i = 0; i < f->set->n_refs; i++)
		f->set->refs[i].name = arena_strdup(&f->set->arena, f->set->refs[i].name);
	f->one = xcalloc(f->set->n_refs + 1, sizeof(*f->one));
	kubelet_busy(k);
	for (size_t i = 0; i < f->set->n_refs; i++) {
		struct fetch_one *o = &f->one[i];

		o->f = f;
		o->ref = &f->set->refs[i];
		if (keep_token(o->ref, f->set, old) || keep_claim(o->ref, f->set, old))
			continue;
		client_req_init(&o->req, CLIENT_GET, resource_find("", "v1", plurals[o->ref->kind]));
		o->req.ns = ((Core__Pod *)f->pod->msg)->metadata->namespace_;
		o->req.name = o->ref->name;
		o->req.done = got;
		if (o->ref->kind == OBJ_TOKEN)
			ask_token(o);
		f->waiting++;
		client_do(k->client, &o->req);
	}
	if (f->waiting == 0)
		loop_timer_start(&f->later, k->loop, 0, on_later);
	return f;
}

void objects_fetch_cancel(struct objects_fetch *f)
{
	f->canceled = true;
	for (size_t i = 0; i < f->set->n_refs; i++)
		if (f->one[i].f && !f->one[i].ref->done)
			client_cancel(&f->one[i].req);
}
