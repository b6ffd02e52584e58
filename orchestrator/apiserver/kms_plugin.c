/*
 * The side of a KMS plugin that talks to it: one loop, with a thread of its own, for all of them, so that a slow plugin holds up no request's loop.
 *
 *	kms_get > on_start: channel > Status, every ten seconds, every second while it fails
 *	                               > another key_id: Encrypt of a new seed > the seed in use
 *	kms__ask_source (any thread)   > Decrypt > kms.c's map, and all who wait are woken
 *
 * What comes back is put under the plugin's lock, together with how it is, and its condition is signalled; nothing here waits. A plugin stays
 * until kms_stop_all, because values that it sealed may still be met after the configuration no longer names it.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/util.h"
#include "io/grpc.h"
#include "orchestrator/apiserver/kms-priv.h"
#include "orchestrator/apiserver/kms_value.h"
#include "proto/pb.h"

#define STATUS_MS 10000
#define RETRY_MS 1000

/* What is being asked of the plugin; on the loop. */
struct kms_call {
	struct grpc_call grpc;
	struct loop_msg msg;
	struct kms *kms;
	struct arena arena;
	struct str request;
	char *source; /* of a Decrypt: which one */
	size_t n_source;
};

static pthread_mutex_t registry_lock = PTHREAD_MUTEX_INITIALIZER;
static struct kms *registry;
static struct loop *loop;

static void look(struct loop_timer *t);

/* --- Calls ------------------------------------------------------------------------------------------------------------ */

static void set_health(struct kms *k, const char *why)
{
	bool was = k->healthy || !k->tried;

	pthread_mutex_lock(&k->lock);
	k->tried = true;
	k->healthy = why == NULL;
	if (why)
		snprintf(k->why, sizeof(k->why), "%s", why);
	else
		k->well_ms = clock_mono_ms();
	pthread_cond_broadcast(&k->cond);
	pthread_mutex_unlock(&k->lock);
	if (why && was)
		log_warn("kms", "plugin %s is not well: %s", k->name, why);
	else if (!why && !was)
		log_info("kms", "plugin %s is well again", k->name);
}

static struct kms_call *call_new(struct kms *k, const char *method, void (*done)(struct grpc_call *))
{
	struct kms_call *c = xcalloc(1, sizeof(*c));

	c->kms = k;
	arena_init(&c->arena);
	c->grpc.method = method;
	c->grpc.timeout_ms = k->timeout_ms;
	c->grpc.done = done;
	return c;
}

static void call_start(struct kms_call *c, const void *msg)
{
	c->kms->n_calls++;
	grpc_unary(c->kms->channel, &c->grpc, pb_pack_arena(msg, &c->arena));
}

static void gone(void *arg)
{
	struct kms *k = arg;

	k->channel = NULL;
}

static void call_free(struct kms_call *c)
{
	c->kms->n_calls--;
	grpc_call_fini(&c->grpc);
	arena_fini(&c->arena);
	free(c->source);
	free(c);
}

static void again(struct kms *k, uint64_t ms)
{
	if (!k->stopping)
		loop_timer_start(&k->timer, loop, ms, look);
}

static void failed(struct kms *k, const char *why)
{
	set_health(k, why);
	again(k, RETRY_MS);
}

static bool key_id_ok(const char *id)
{
	return id && *id && strlen(id) <= KMS_MAX_KEY_ID;
}

/* The new seed is in use, and known like any other. */
static void take_seed(struct kms *k, const Kms__EncryptResponse *r)
{
	Kms__EncryptedObject o = KMS__ENCRYPTED_OBJECT__INIT;
	struct str ciphertext = str_of(r->ciphertext.data, r->ciphertext.len);

	o.key_id = r->key_id;
	o.encrypted_dek_source = r->ciphertext;
	o.encrypted_dek_source_type = KMS__ENCRYPTED_OBJECT__SOURCE_TYPE__HKDF_SHA256_XNONCE_AES_GCM_SEED;
	o.n_annotations = r->n_annotations;
	o.annotations = (Kms__EncryptedObject__AnnotationsEntry **)r->annotations;
	pthread_mutex_lock(&k->lock);
	free(k->key_id);
	k->key_id = xstrdup(r->key_id);
	memcpy(k->seed, k->asked_seed, sizeof(k->seed));
	buf_clear(&k->wrapped);
	pb_pack(&o, &k->wrapped);
	kms__source_put(k, ciphertext, SOURCE_OPEN, str_of(k->seed, sizeof(k->seed)));
	pthread_mutex_unlock(&k->lock);
	log_info("kms", "plugin %s: values are sealed under key %s from now on", k->name, r->key_id);
	set_health(k, NULL);
	again(k, STATUS_MS);
}

static void encrypted(struct grpc_call *g)
{
	struct kms_call *c = container_of(g, struct kms_call, grpc);
	struct kms *k = c->kms;
	Kms__EncryptResponse *r = g->code == GRPC_OK ? pb_unpack(&c->arena, &kms__encrypt_response__descriptor, buf_str(&g->message)) : NULL;

	if (g->code != GRPC_OK)
		failed(k, arena_printf(&c->arena, "Encrypt: %s: %.*s", grpc_code_name(g->code), STR_FMT(g->status)));
	else if (!r || !key_id_ok(r->key_id) || r->ciphertext.len == 0 || r->ciphertext.len > KMS_MAX_SOURCE)
		failed(k, "Encrypt: the answer lacks a key_id or a ciphertext, or they are larger than 1 KiB");
	else
		take_seed(k, r);
	call_free(c);
}

static void ask_seed(struct kms *k)
{
	struct kms_call *c = call_new(k, "/v2.KeyManagementService/Encrypt", encrypted);
	Kms__EncryptRequest msg = KMS__ENCRYPT_REQUEST__INIT;
	char uid[37];

	random_bytes(k->asked_seed, sizeof(k->asked_seed));
	random_uuid(uid);
	msg.plaintext = (ProtobufCBinaryData){sizeof(k->asked_seed), k->asked_seed};
	msg.uid = uid;
	call_start(c, &msg);
}

static void status_came(struct kms *k, const Kms__StatusResponse *r, struct arena *a)
{
	bool same;

	if (!r || !(pb_streq(r->version, "v2") || pb_streq(r->version, "v2beta1")))
		failed(k, arena_printf(a, "Status: the plugin speaks version \"%.40s\", not v2", r ? pb_s(r->version) : ""));
	else if (!pb_streq(r->healthz, "ok"))
		failed(k, arena_printf(a, "Status: healthz is \"%.100s\"", pb_s(r->healthz)));
	else if (!key_id_ok(r->key_id))
		failed(k, "Status: no key_id, or one larger than 1 KiB");
	else {
		pthread_mutex_lock(&k->lock);
		same = k->key_id && strcmp(k->key_id, r->key_id) == 0;
		pthread_mutex_unlock(&k->lock);
		if (!same) {
			ask_seed(k);
			return;
		}
		set_health(k, NULL);
		again(k, STATUS_MS);
	}
}

static void status_done(struct grpc_call *g)
{
	struct kms_call *c = container_of(g, struct kms_call, grpc);

	if (g->code != GRPC_OK)
		failed(c->kms, arena_printf(&c->arena, "Status: %s: %.*s", grpc_code_name(g->code), STR_FMT(g->status)));
	else
		status_came(c->kms, pb_unpack(&c->arena, &kms__status_response__descriptor, buf_str(&g->message)), &c->arena);
	call_free(c);
}

static void look(struct loop_timer *t)
{
	struct kms *k = container_of(t, struct kms, timer);
	Kms__StatusRequest msg = KMS__STATUS_REQUEST__INIT;

	call_start(call_new(k, "/v2.KeyManagementService/Status", status_done), &msg);
}

static void decrypted(struct grpc_call *g)
{
	struct kms_call *c = container_of(g, struct kms_call, grpc);
	struct kms *k = c->kms;
	struct str source = str_of(c->source, c->n_source);
	Kms__DecryptResponse *r = g->code == GRPC_OK ? pb_unpack(&c->arena, &kms__decrypt_response__descriptor, buf_str(&g->message)) : NULL;
	bool ok = r && r->plaintext.len > 0;

	pthread_mutex_lock(&k->lock);
	kms__source_put(k, source, ok ? SOURCE_OPEN : SOURCE_FAILED, ok ? str_of(r->plaintext.data, r->plaintext.len) : STR_NULL);
	pthread_cond_broadcast(&k->cond);
	pthread_mutex_unlock(&k->lock);
	if (!ok)
		log_warn("kms", "plugin %s cannot decrypt a seed: %s: %.*s", k->name, grpc_code_name(g->code), STR_FMT(g->status));
	call_free(c);
}

static void decrypt_posted(struct loop_msg *m)
{
	struct kms_call *c = container_of(m, struct kms_call, msg);

	c->kms->n_calls++;
	/* Without a channel nobody waits: the plugin was never well. */
	if (c->kms->stopping || !c->kms->channel)
		call_free(c);
	else
		grpc_unary(c->kms->channel, &c->grpc, c->request);
}

void kms__ask_source(struct kms *k, const Kms__EncryptedObject *o)
{
	struct kms_call *c = call_new(k, "/v2.KeyManagementService/Decrypt", decrypted);
	Kms__DecryptRequest msg = KMS__DECRYPT_REQUEST__INIT;
	struct str source = str_of(o->encrypted_dek_source.data, o->encrypted_dek_source.len);
	char uid[37];

	random_uuid(uid);
	msg.ciphertext = o->encrypted_dek_source;
	msg.key_id = o->key_id;
	msg.uid = uid;
	msg.n_annotations = o->n_annotations;
	msg.annotations = (Kms__DecryptRequest__AnnotationsEntry **)o->annotations;
	c->request = pb_pack_arena(&msg, &c->arena);
	c->source = str_dup(source);
	c->n_source = source.n;
	c->msg.run = decrypt_posted;
	loop_post(loop, &c->msg);
}

/* --- Life --------------------------------------------------------------------------------------------------------------------- */

int kms_endpoint_parse(struct arena *a, struct str endpoint, const char **ret, struct err *e)
{
	static const char scheme[] = "unix://";
	struct str path = str_skip(endpoint, strlen(scheme));

	if (!str_has_prefix(endpoint, str_from(scheme)) || path.n < 2 || path.p[0] != '/')
		return err_set(e, ERR_INVALID, "kms: endpoint \"%.*s\": must be unix:///PATH", STR_FMT(endpoint));
	if (path.p[1] == '@' || path.n > 100)
		return err_set(e, ERR_INVALID, "kms: endpoint \"%.*s\": abstract sockets and paths of more than 100 bytes are not supported",
				STR_FMT(endpoint));
	*ret = arena_printf(a, "unix:%.*s", STR_FMT(path));
	return 0;
}

static void on_start(struct loop_msg *m)
{
	struct kms *k = container_of(m, struct kms, start_msg);
	struct grpc_channel_config cfg = {.address = k->address, .max_message = 1 << 20, .connect_timeout_ms = k->timeout_ms};
	struct err e = ERR_INIT;

	if (grpc_channel_new(loop, &cfg, &k->channel, &e) < 0) {
		set_health(k, e.text);
		return;
	}
	look(&k->timer);
}

static void kms_free(struct kms *k)
{
	map_fini_with(&k->sources, kms__source_free);
	buf_fini(&k->wrapped);
	memset(k->seed, 0, sizeof(k->seed));
	pthread_mutex_destroy(&k->lock);
	pthread_cond_destroy(&k->cond);
	free(k->key_id);
	free(k->name);
	free(k->address);
	free(k);
}

static struct kms *kms_new(struct str name, const char *address, unsigned timeout_ms)
{
	struct kms *k = xcalloc(1, sizeof(*k));
	pthread_condattr_t attr;

	k->name = str_dup(name);
	k->address = xstrdup(address);
	k->timeout_ms = timeout_ms ? timeout_ms : KMS_DEFAULT_TIMEOUT_MS;
	map_init(&k->sources);
	buf_init(&k->wrapped, BUF_NO_LIMIT);
	pthread_mutex_init(&k->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&k->cond, &attr);
	pthread_condattr_destroy(&attr);
	return k;
}

/* The configuration was read again: look at once, unless that is under way. */
struct kick {
	struct loop_msg msg;
	struct kms *kms;
};

static void on_kick(struct loop_msg *m)
{
	struct kick *kick = container_of(m, struct kick, msg);

	if (loop_timer_active(&kick->kms->timer) && !kick->kms->stopping) {
		loop_timer_stop(&kick->kms->timer);
		look(&kick->kms->timer);
	}
	free(kick);
}

static void kick_it(struct kms *k)
{
	struct kick *kick = xcalloc(1, sizeof(*kick));

	kick->kms = k;
	kick->msg.run = on_kick;
	loop_post(loop, &kick->msg);
}

int kms_get(struct str name, const char *address, unsigned timeout_ms, struct kms **ret, struct err *e)
{
	struct kms *k;

	pthread_mutex_lock(&registry_lock);
	for (k = registry; k; k = k->next)
		if (str_eqc(name, k->name) && strcmp(k->address, address) == 0)
			break;
	if (k) {
		kick_it(k);
	} else {
		if (!loop) {
			loop = loop_new("kms");
			loop_thread_start(loop);
		}
		k = kms_new(name, address, timeout_ms);
		k->next = registry;
		registry = k;
		k->start_msg.run = on_start;
		loop_post(loop, &k->start_msg);
	}
	pthread_mutex_unlock(&registry_lock);
	*ret = k;
	return 0;
}

static void stop_step(struct loop_timer *t)
{
	struct kms *k = container_of(t, struct kms, timer);
	bool all = true;

	for (struct kms *i = registry; i; i = i->next)
		all = all && !i->channel && i->n_calls == 0;
	if (all)
		loop_stop(loop);
	else
		loop_timer_start(&k->timer, loop, 1, stop_step);
}

static void on_stop(struct loop_msg *m)
{
	struct kms *first = container_of(m, struct kms, stop_msg);

	for (struct kms *k = registry; k; k = k->next) {
		k->stopping = true;
		loop_timer_stop(&k->timer);
		if (k->channel)
			grpc_channel_close(k->channel, gone, k);
	}
	stop_step(&first->timer);
}

void kms_stop_all(void)
{
	struct kms *k, *next;

	if (!registry)
		return;
	registry->stop_msg.run = on_stop;
	loop_post(loop, &registry->stop_msg);
	loop_thread_join(loop);
	loop_free(loop);
	loop = NULL;
	for (k = registry; k; k = next) {
		next = k->next;
		kms_free(k);
	}
	registry = NULL;
}
