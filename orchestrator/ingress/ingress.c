#include "orchestrator/ingress/ingress.h"

#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/map.h"
#include "base/util.h"
#include "io/loop.h"
#include "io/tls.h"
#include "io/x509.h"
#include "orchestrator/client/client.h"
#include "orchestrator/informer/informer.h"
#include "orchestrator/ingress/haproxy.h"
#include "orchestrator/ingress/ingress_routes.h"
#include "proto/pb.h"
#include "proto/resource.h"

#define GATHER_MS 50
#define MIN_INTERVAL_MS 1000 /* between two changes of what HAProxy reads: each costs a process */
#define RETRY_MS 15000
#define TELL_AGAIN_MS 3000
#define DEFAULT_PEM_MAX 65536

struct ingress {
	struct ingress_cfg cfg;
	struct informer *ingresses, *classes;
	struct informer_handler on_ingress, on_class, on_service, on_slice;
	struct map secrets; /* "ns/name" -> struct secret */
	struct haproxy *haproxy;
	struct haproxy_user haproxy_user;
	struct buf default_pem;
	char *socket;
	const char *user;
	struct loop_timer timer;
	bool dirty, applying, serves, stopping;
	uint64_t applied_ms;
	struct arena applied_arena;
	struct haproxy_files applied, pending; /* pending: in the arena below */
	struct arena pending_arena;
	char *refused; /* what was said in the log */
	/* What the Node says: NULL: not known. */
	const char *told;
	struct client_req tell;
	bool telling;
	struct loop_timer tell_timer;
	char ports[32];
	unsigned closing;
	void (*stopped)(void *arg);
	void *stopped_arg;
};

struct secret {
	struct ingress *in;
	char *ns, *name, *selector;
	struct informer *inf;
	struct informer_handler handler;
	bool wanted;
};

static void on_timer(struct loop_timer *t);

static void schedule(struct ingress *in, uint64_t ms)
{
	uint64_t now = clock_mono_ms();

	if (in->stopping || in->applying)
		return;
	if (in->applied_ms && now - in->applied_ms < MIN_INTERVAL_MS)
		ms = MAX(ms, MIN_INTERVAL_MS - (now - in->applied_ms));
	loop_timer_start(&in->timer, in->cfg.loop, ms, on_timer);
}

static void make_dirty(struct ingress *in)
{
	if (in->dirty)
		return;
	in->dirty = true;
	schedule(in, GATHER_MS);
}

/* --- Secrets ------------------------------------------------------------------------------------------------------------ */

static void on_secret(struct informer_handler *h, const struct informer_obj *old, const struct informer_obj *new)
{
	(void)old, (void)new;
	make_dirty(container_of(h, struct secret, handler)->in);
}

static void on_secret_synced(struct informer_handler *h)
{
	make_dirty(container_of(h, struct secret, handler)->in);
}

static void one_closed(struct ingress *in);

static void secret_gone(void *arg)
{
	struct secret *s = arg;
	struct ingress *in = s->in;

	free(s->ns);
	free(s->name);
	free(s->selector);
	free(s);
	one_closed(in);
}

static void secret_stop(struct secret *s)
{
	char *key = xasprintf("%s/%s", s->ns, s->name);

	map_del(&s->in->secrets, str_from(key));
	free(key);
	informer_stop(s->inf, secret_gone, s);
}

static void secret_watch(struct ingress *in, const char *ns, const char *name)
{
	char *key = xasprintf("%s/%s", ns, name);
	struct secret *s = map_get(&in->secrets, str_from(key));
	struct informer_cfg ic = {.client = in->cfg.client, .resource = resource_find("", "v1", "secrets"), .desc = &core__secret__descriptor,
			.ns = ns};

	if (!s) {
		s = xcalloc(1, sizeof(*s));
		s->in = in;
		s->ns = xstrdup(ns);
		s->name = xstrdup(name);
		s->selector = xasprintf("metadata.name=%s", name);
		ic.field_selector = s->selector;
		s->inf = informer_new(&ic);
		s->handler = (struct informer_handler){.changed = on_secret, .synced = on_secret_synced};
		informer_add_handler(s->inf, &s->handler);
		map_put(&in->secrets, str_from(key), s);
		in->closing++;
		informer_start(s->inf);
	}
	s->wanted = true;
	free(key);
}

static void watch_secrets(struct ingress *in, const Networking__IngressClass *const *classes, size_t n_classes)
{
	MAP_FOR_EACH (e, &in->secrets)
		((struct secret *)e->value)->wanted = false;
	INFORMER_FOR_EACH (o, in->ingresses) {
		const Networking__Ingress *i = o->msg;

		for (size_t k = 0; in->cfg.https_port && ingress_is_ours(i, classes, n_classes) && k < i->spec->n_tls; k++)
			if (pb_s(i->spec->tls[k]->secret_name)[0])
				secret_watch(in, o->meta->namespace_, i->spec->tls[k]->secret_name);
	}
	MAP_FOR_EACH (e, &in->secrets)
		if (!((struct secret *)e->value)->wanted)
			secret_stop(e->value);
}

static struct str datum(const Core__Secret *s, const char *key)
{
	Core__Secret__DataEntry *e = pb_map_find(s->data, s->n_data, key);

	return e ? str_of((const char *)e->value.data, e->value.len) : STR_NULL;
}

/* A bad one would spoil the whole configuration. */
static bool is_good(struct str cert, struct str key)
{
	struct tls_config tc = {.server = true, .cert_pem = cert, .key_pem = key};
	struct tls_ctx *ctx;

	if (cert.n == 0 || key.n == 0 || tls_ctx_new(&tc, &ctx, NULL) < 0)
		return false;
	tls_ctx_unref(ctx);
	return true;
}

static size_t good_secrets(struct ingress *in, struct arena *a, struct ingress_secret **ret)
{
	size_t n = 0;

	*ret = arena_new_array(a, struct ingress_secret, map_len(&in->secrets) + 1);
	MAP_FOR_EACH (e, &in->secrets) {
		struct secret *s = e->value;
		const Core__Secret *msg = informer_msg(informer_get(s->inf, s->ns, s->name));
		struct str cert = msg ? datum(msg, "tls.crt") : STR_NULL, key = msg ? datum(msg, "tls.key") : STR_NULL;

		if (is_good(cert, key))
			(*ret)[n++] = (struct ingress_secret){s->ns, s->name, cert, key};
	}
	return n;
}

/* --- What the node says ---------------------------------------------------------------------------------------------------- */

static void tell(struct loop_timer *t);

static void told(struct client_req *req)
{
	struct ingress *in = container_of(req, struct ingress, tell);
	bool ok = req->err.code == ERR_OK;

	in->telling = false;
	if (!ok)
		in->told = NULL;
	client_req_fini(req);
	if (in->stopping)
		one_closed(in);
	else
		loop_timer_start(&in->tell_timer, in->cfg.loop, ok ? 0 : TELL_AGAIN_MS, tell);
}

static void tell(struct loop_timer *t)
{
	struct ingress *in = container_of(t, struct ingress, tell_timer);
	const char *now = in->serves ? in->ports : "";
	struct client_req *req = &in->tell;

	if (in->telling || in->stopping || (in->told && strcmp(in->told, now) == 0))
		return;
	in->told = now;
	in->telling = true;
	client_req_init(req, CLIENT_PATCH, resource_find("", "v1", "nodes"));
	req->name = in->cfg.node_name;
	req->body = *now ? arena_sprintf(&req->arena, "{\"metadata\":{\"annotations\":{\"" INGRESS_ANNOTATION "\":\"%s\"}}}", now) :
			   STR("{\"metadata\":{\"annotations\":{\"" INGRESS_ANNOTATION "\":null}}}");
	req->content_type = CLIENT_MERGE_PATCH;
	req->done = told;
	client_do(in->cfg.client, req);
}

static void on_serving(struct haproxy_user *u, bool serving)
{
	struct ingress *in = container_of(u, struct ingress, haproxy_user);

	in->serves = serving;
	if (!in->stopping)
		loop_timer_start(&in->tell_timer, in->cfg.loop, 0, tell);
}

/* --- Compiling ----------------------------------------------------------------------------------------------------------------- */

static const void **messages(struct arena *a, const struct informer *inf, size_t *ret_n)
{
	const void **v = arena_new_array(a, const void *, informer_len(inf) + 1);

	*ret_n = 0;
	INFORMER_FOR_EACH (o, inf)
		v[(*ret_n)++] = o->msg;
	return v;
}

/* Once for the same. */
static void say_refused(struct ingress *in, const struct ingress_routes *r)
{
	struct buf b = BUF_INIT;

	for (size_t i = 0; i < r->n_refused; i++)
		buf_printf(&b, "%s%s", i ? "; " : "", r->refused[i]);
	buf_add1(&b, '\0');
	if (!in->refused || strcmp(in->refused, b.p) != 0) {
		free(in->refused);
		in->refused = xstrdup(b.p);
		if (r->n_refused)
			log_warn("ingress", "not served: %s", in->refused);
	}
	buf_fini(&b);
}

static struct ingress_routes *compile(struct ingress *in, struct arena *a)
{
	struct ingress_input input = {.n_secrets = 0};
	struct ingress_secret *secrets;

	input.ingresses = (const Networking__Ingress *const *)messages(a, in->ingresses, &input.n_ingresses);
	input.classes = (const Networking__IngressClass *const *)messages(a, in->classes, &input.n_classes);
	input.services = (const Core__Service *const *)messages(a, in->cfg.services, &input.n_services);
	input.slices = (const Discovery__EndpointSlice *const *)messages(a, in->cfg.slices, &input.n_slices);
	watch_secrets(in, input.classes, input.n_classes);
	input.n_secrets = good_secrets(in, a, &secrets);
	input.secrets = secrets;
	return ingress_routes_new(&input);
}

/* All that is needed has been listed; a Secret that cannot be read holds up nobody. */
static bool is_ready(const struct ingress *in)
{
	return informer_synced(in->ingresses) && informer_synced(in->classes) && informer_synced(in->cfg.services) &&
	       informer_synced(in->cfg.slices);
}

static void look(struct ingress *in)
{
	struct haproxy_options o = {.address = "0.0.0.0", .http_port = in->cfg.http_port, .https_port = in->cfg.https_port, .socket = in->socket,
			.user = in->user, .default_pem = buf_str(&in->default_pem)};
	struct ingress_routes *r;
	struct arena a;

	in->dirty = false;
	arena_init(&a);
	r = compile(in, &a);
	if (r->n_ingresses == 0) {
		if (in->applied.n > 0) {
			log_info("ingress", "no Ingress is left");
			haproxy_rest(in->haproxy);
			in->applied.n = 0;
		}
	} else {
		say_refused(in, r);
		arena_fini(&in->pending_arena);
		arena_init(&in->pending_arena);
		haproxy_files(&in->pending_arena, r, &o, &in->pending);
		if (!haproxy_files_equal(&in->pending, &in->applied)) {
			in->applying = true;
			haproxy_apply(in->haproxy, &in->pending);
		}
	}
	ingress_routes_free(r);
	arena_fini(&a);
}

static void on_timer(struct loop_timer *t)
{
	struct ingress *in = container_of(t, struct ingress, timer);

	if (is_ready(in))
		look(in);
	else
		schedule(in, GATHER_MS);
}

static void on_applied(struct haproxy_user *u, const struct err *e)
{
	struct ingress *in = container_of(u, struct ingress, haproxy_user);
	struct arena old = in->applied_arena;

	in->applying = false;
	in->applied_ms = clock_mono_ms();
	if (e) {
		log_error("ingress", "Ingresses are not served%s: %s%s", in->applied.n ? " as they are now" : " on this node", e->text,
				e->code == ERR_NOT_FOUND ? " (is Debian's package haproxy installed?)" : "");
		/* A change may mend it sooner. */
		schedule(in, in->dirty ? GATHER_MS : RETRY_MS);
		return;
	}
	in->applied = in->pending;
	in->applied_arena = in->pending_arena;
	in->pending_arena = old;
	if (in->dirty)
		schedule(in, GATHER_MS);
}

/* --- Life ----------------------------------------------------------------------------------------------------------------------- */

#define ON(name)                                                                                                             \
	static void changed_##name(struct informer_handler *h, const struct informer_obj *old, const struct informer_obj *new) \
	{                                                                                                                    \
		(void)old, (void)new;                                                                                        \
		make_dirty(container_of(h, struct ingress, name));                                                           \
	}
ON(on_ingress)
ON(on_class)
ON(on_service)
ON(on_slice)

/* Whoever asks for a name that no certificate is for gets this one, and a warning in the browser. */
static int load_default(struct ingress *in, struct err *e)
{
	char *path = xasprintf("%s/default.pem", in->cfg.dir);
	struct x509_key *key = NULL;
	struct x509_cert *cert = NULL;
	int r = 0;

	if (file_get(path, DEFAULT_PEM_MAX, &in->default_pem, NULL) < 0 || !is_good(buf_str(&in->default_pem), buf_str(&in->default_pem))) {
		buf_fini(&in->default_pem);
		in->default_pem = (struct buf)BUF_INIT;
		r = x509_key_new(&key, e);
		if (r == 0)
			r = x509_ca_new("Kontiki Ingress default certificate", 3650, key, &cert, e);
		if (r == 0)
			r = x509_cert_to_pem(cert, &in->default_pem, e);
		if (r == 0)
			r = x509_key_to_pem(key, &in->default_pem, e);
		if (r == 0)
			r = file_put(path, buf_str(&in->default_pem), 0600, true, e);
	}
	x509_cert_free(cert);
	x509_key_free(key);
	free(path);
	return r;
}

static void free_all(struct ingress *in)
{
	map_fini(&in->secrets);
	buf_fini(&in->default_pem);
	arena_fini(&in->applied_arena);
	arena_fini(&in->pending_arena);
	free(in->socket);
	free(in->refused);
	free(in);
}

static void one_closed(struct ingress *in)
{
	void (*cb)(void *) = in->stopped;
	void *arg = in->stopped_arg;

	if (--in->closing > 0 || !in->stopping)
		return;
	free_all(in);
	cb(arg);
}

static void informer_gone(void *arg)
{
	one_closed(arg);
}

static void haproxy_gone(struct haproxy_user *u)
{
	one_closed(container_of(u, struct ingress, haproxy_user));
}

static struct informer *watch(struct ingress *in, const char *plural, const ProtobufCMessageDescriptor *desc, struct informer_handler *h)
{
	struct informer_cfg ic = {.client = in->cfg.client, .resource = resource_find("networking.k8s.io", "v1", plural), .desc = desc};
	struct informer *inf = informer_new(&ic);

	informer_add_handler(inf, h);
	in->closing++;
	informer_start(inf);
	return inf;
}

struct ingress *ingress_start(const struct ingress_cfg *cfg, struct err *e)
{
	struct ingress *in = xcalloc(1, sizeof(*in));

	in->cfg = *cfg;
	in->haproxy_user = (struct haproxy_user){on_applied, on_serving, haproxy_gone};
	in->socket = xasprintf("%s/admin.sock", cfg->dir);
	in->user = getpwnam("haproxy") ? "haproxy" : NULL;
	snprintf(in->ports, sizeof(in->ports), "%d,%d", cfg->http_port, cfg->https_port);
	map_init(&in->secrets);
	arena_init(&in->applied_arena);
	arena_init(&in->pending_arena);
	in->haproxy = haproxy_new(cfg->loop, cfg->dir, &in->haproxy_user, e);
	if (!in->haproxy) {
		free_all(in);
		return NULL;
	}
	in->closing = 1;
	in->on_ingress.changed = changed_on_ingress;
	in->on_class.changed = changed_on_class;
	in->on_service.changed = changed_on_service;
	in->on_slice.changed = changed_on_slice;
	in->ingresses = watch(in, "ingresses", &networking__ingress__descriptor, &in->on_ingress);
	in->classes = watch(in, "ingressclasses", &networking__ingress_class__descriptor, &in->on_class);
	informer_add_handler(cfg->services, &in->on_service);
	informer_add_handler(cfg->slices, &in->on_slice);
	if (cfg->https_port && load_default(in, e) < 0)
		log_error("ingress", "the default certificate: %s", e->text);
	/* What a former life of this node said may be over. */
	loop_timer_start(&in->tell_timer, cfg->loop, TELL_AGAIN_MS, tell);
	return in;
}

void ingress_stop(struct ingress *in, void (*cb)(void *arg), void *arg)
{
	in->stopping = true;
	in->stopped = cb;
	in->stopped_arg = arg;
	loop_timer_stop(&in->timer);
	loop_timer_stop(&in->tell_timer);
	if (in->telling) {
		in->closing++;
		client_cancel(&in->tell);
	}
	MAP_FOR_EACH (e, &in->secrets)
		secret_stop(e->value);
	informer_stop(in->ingresses, informer_gone, in);
	informer_stop(in->classes, informer_gone, in);
	haproxy_stop(in->haproxy);
}
