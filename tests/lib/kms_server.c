#include "tests/lib/kms_server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "io/aead.h"
#include "io/grpc.h"
#include "io/http_server.h"
#include "io/loop.h"
#include "io/x509.h"
#include "proto/kms.pb-c.h"
#include "proto/pb.h"

#define SERVICE "/v2.KeyManagementService/"

struct kms_server {
	struct loop *loop;
	struct http_handler handler;
	struct http_server *http;
	struct loop_msg stop;
	const char *key_file;
	atomic_uint n_decrypts, n_encrypts;
	atomic_bool held;
};

struct call {
	struct grpc_server_call grpc;
	struct kms_server *server;
	struct loop_timer timer; /* while it is held */
	const Kms__DecryptRequest *decrypt;
};

static void key_name(const struct kms_server *s, char out[64])
{
	FILE *f = fopen(s->key_file, "re");

	out[0] = '\0';
	if (f && fgets(out, 64, f))
		out[strcspn(out, "\n")] = '\0';
	if (f)
		fclose(f);
}

static void key_of(const char *name, uint8_t key[32])
{
	x509_hmac_sha256(STR("a key for tests"), str_from(name), key);
}

static void finish(struct call *c, const void *msg)
{
	grpc_finish_unary(&c->grpc, pb_pack_arena(msg, &c->grpc.req->arena));
}

static void refuse(struct call *c, int code, const char *why)
{
	grpc_finish(&c->grpc, code, why);
}

static void status(struct call *c)
{
	Kms__StatusResponse r = KMS__STATUS_RESPONSE__INIT;
	char name[64];

	key_name(c->server, name);
	r.version = "v2";
	r.healthz = strcmp(name, "sick") == 0 ? "no key today" : "ok";
	r.key_id = name;
	finish(c, &r);
}

static void encrypt(struct call *c, const Kms__EncryptRequest *req)
{
	_cleanup_(buf_fini) struct buf out = BUF_INIT;
	Kms__EncryptResponse r = KMS__ENCRYPT_RESPONSE__INIT;
	Kms__EncryptResponse__AnnotationsEntry note = KMS__ENCRYPT_RESPONSE__ANNOTATIONS_ENTRY__INIT, *notes[] = {&note};
	uint8_t key[32];
	char name[64];

	atomic_fetch_add(&c->server->n_encrypts, 1);
	key_name(c->server, name);
	key_of(name, key);
	aead_seal(str_of(key, 32), str_from(name), str_of(req->plaintext.data, req->plaintext.len), &out);
	note.key = "test.kontiki.io";
	note.value = (ProtobufCBinaryData){4, (uint8_t *)"note"};
	r.ciphertext = (ProtobufCBinaryData){out.n, (uint8_t *)out.p};
	r.key_id = name;
	r.n_annotations = 1;
	r.annotations = notes;
	finish(c, &r);
}

static void decrypt(struct call *c, const Kms__DecryptRequest *req);

static void look_again(struct loop_timer *t)
{
	struct call *c = container_of(t, struct call, timer);

	decrypt(c, c->decrypt);
}

static void decrypt(struct call *c, const Kms__DecryptRequest *req)
{
	_cleanup_(buf_fini) struct buf out = BUF_INIT;
	Kms__DecryptResponse r = KMS__DECRYPT_RESPONSE__INIT;
	uint8_t key[32];

	if (atomic_load(&c->server->held)) {
		c->decrypt = req;
		loop_timer_start(&c->timer, c->server->loop, 5, look_again);
		return;
	}
	atomic_fetch_add(&c->server->n_decrypts, 1);
	key_of(pb_s(req->key_id), key);
	/* The annotations must have come back. */
	if (req->n_annotations != 1 || !pb_streq(req->annotations[0]->key, "test.kontiki.io") ||
			!aead_open(str_of(key, 32), str_from(pb_s(req->key_id)), str_of(req->ciphertext.data, req->ciphertext.len), &out)) {
		refuse(c, GRPC_INVALID_ARGUMENT, "this was not encrypted here");
		return;
	}
	r.plaintext = (ProtobufCBinaryData){out.n, (uint8_t *)out.p};
	finish(c, &r);
}

static void on_message(struct grpc_server_call *g, struct str message)
{
	struct call *c = container_of(g, struct call, grpc);
	struct arena *a = &g->req->arena;
	struct str path = g->req->path;
	void *req;

	if (str_eqc(path, SERVICE "Status"))
		status(c);
	else if (str_eqc(path, SERVICE "Encrypt") && (req = pb_unpack(a, &kms__encrypt_request__descriptor, message)))
		encrypt(c, req);
	else if (str_eqc(path, SERVICE "Decrypt") && (req = pb_unpack(a, &kms__decrypt_request__descriptor, message)))
		decrypt(c, req);
	else
		refuse(c, GRPC_UNIMPLEMENTED, "no such method, or no such message");
}

static void on_half_close(struct grpc_server_call *g)
{
}

static void on_cancel(struct grpc_server_call *g)
{
	loop_timer_stop(&container_of(g, struct call, grpc)->timer);
	grpc_finish(g, GRPC_CANCELLED, NULL);
}

static void on_request(struct http_handler *h, struct http_request *r)
{
	struct call *c = arena_new_of(&r->arena, struct call);

	if (!grpc_is_call(r)) {
		http_respond_abort(r);
		return;
	}
	c->server = container_of(h, struct kms_server, handler);
	c->grpc.on_message = on_message;
	c->grpc.on_half_close = on_half_close;
	c->grpc.on_cancel = on_cancel;
	grpc_accept(&c->grpc, r, 0);
}

int kms_server_start(const char *socket, const char *key, struct kms_server **ret, struct err *e)
{
	struct kms_server *s = xcalloc(1, sizeof(*s));
	_cleanup_(freep) char *address = xasprintf("unix:%s", socket);
	struct http_server_config hc = {.address = address};

	s->key_file = key;
	s->loop = loop_new("kms-test");
	s->handler.on_request = on_request;
	if (http_server_new(s->loop, &hc, &s->handler, &s->http, e) < 0) {
		loop_free(s->loop);
		free(s);
		return -(int)e->code;
	}
	loop_thread_start(s->loop);
	*ret = s;
	return 0;
}

static void closed(void *arg)
{
	struct kms_server *s = arg;

	loop_stop(s->loop);
}

static void on_stop(struct loop_msg *m)
{
	struct kms_server *s = container_of(m, struct kms_server, stop);

	http_server_close(s->http, 0, closed, s);
}

void kms_server_stop(struct kms_server *s)
{
	s->stop.run = on_stop;
	loop_post(s->loop, &s->stop);
	loop_thread_join(s->loop);
	loop_free(s->loop);
	free(s);
}

void kms_server_hold(struct kms_server *s, bool on)
{
	atomic_store(&s->held, on);
}

unsigned kms_server_decrypts(const struct kms_server *s)
{
	return atomic_load(&s->n_decrypts);
}

unsigned kms_server_encrypts(const struct kms_server *s)
{
	return atomic_load(&s->n_encrypts);
}
