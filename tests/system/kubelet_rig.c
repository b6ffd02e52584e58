/*
 * The kubelet without a cluster: a client that answers from memory, and pods from YAML files. For tests/system/test-kubelet.sh.
 *
 *	kubelet_rig --dir DIR [--images DIR] [--ip IP] [--cgroup PATH] [--cert C --key K --ca CA] FILE...
 *
 * Prints a line for each change of a pod's status and for each event; reads commands from stdin: "set FILE",
 * "delete NS/NAME", "refuse N" (as many statuses that say a pod is ready), "unready NS/NAME" (as the node controller says it),
 * "quit" (the pods stay), "teardown" (everything goes).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/map.h"
#include "base/util.h"
#include "io/loop.h"
#include "io/tls.h"
#include "net/cni.h"
#include "orchestrator/client/client.h"
#include "orchestrator/kubelet/containerd.h"
#include "orchestrator/kubelet/eviction-config.h"
#include "orchestrator/kubelet/fsutil.h"
#include "orchestrator/kubelet/kubelet.h"
#include "orchestrator/kubelet/pbutil.h"
#include "proto/authentication.pb-c.h"
#include "proto/codec.h"
#include "proto/resource.h"
#include "proto/yaml.h"

/* One object: its bytes by "plural/ns/name". */
struct object {
	struct buf bytes;
};

/* An answer on its way. */
struct answer {
	struct loop_timer timer;
	struct client_req *req;
};

static struct rig {
	struct client client;
	struct loop *loop;
	struct kubelet *kubelet;
	struct kubelet_cfg cfg;
	struct map objects;
	struct arena arena;
	uv_pipe_t in;
	struct buf line;
	bool teardown, synced;
	long n_refuse;
	const char *dir, *cgroup;
	uint64_t began_ms;
} rig;

static struct str key_of(const char *plural, const char *ns, const char *name)
{
	return arena_sprintf(&rig.arena, "%s/%s/%s", plural, nz(ns), nz(name));
}

static void put(struct str key, struct str bytes)
{
	struct object *o = map_get(&rig.objects, key);

	if (!o) {
		o = xcalloc(1, sizeof(*o));
		buf_init(&o->bytes, BUF_NO_LIMIT);
		map_put(&rig.objects, key, o);
	}
	buf_clear(&o->bytes);
	buf_adds(&o->bytes, bytes);
}

static void say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void say(const char *fmt, ...)
{
	va_list ap;

	printf("%6d ", (int)(clock_mono_ms() - rig.began_ms));
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
	fflush(stdout);
}

static void fail(struct client_req *r, enum err_code code)
{
	r->http_status = err_http_status(code);
	err_set(&r->err, code, "%s \"%s\": %s", r->resource->plural, nz(r->name), err_text(code));
}

static void give(struct client_req *r, struct str bytes)
{
	r->http_status = 200;
	r->answer = arena_str(&r->arena, bytes);
}

static void answer_token(struct client_req *r)
{
	Authentication__TokenRequest *t = pb_unpack(&r->arena, &authentication__token_request__descriptor, r->body);

	t->status = PB_NEW(&r->arena, Authentication__TokenRequestStatus, authentication__token_request_status);
	t->status->token = "a-token-of-the-rig";
	t->status->expiration_timestamp = PB_NEW(&r->arena, Meta__Time, meta__time);
	PB_SET(t->status->expiration_timestamp, seconds, clock_wall_s() + t->spec->expiration_seconds);
	r->answer = pb_pack_arena(t, &r->arena);
	r->http_status = 201;
}

static void answer_node(struct client_req *r)
{
	Core__Node *n = pb_unpack(&r->arena, &core__node__descriptor, r->body);

	n->spec->pod_cidr = "10.244.77.0/24";
	r->answer = pb_pack_arena(n, &r->arena);
	r->http_status = 200;
	for (size_t i = 0; i < n->status->n_conditions; i++)
		if (strcmp(n->status->conditions[i]->type, "Ready") == 0)
			say("node ready=%s %s", n->status->conditions[i]->status, n->status->conditions[i]->message);
}

static void answer_event(struct client_req *r)
{
	Core__Event *e = pb_unpack(&r->arena, &core__event__descriptor, r->body);

	say("event %s/%s %s %s x%d: %s", e->involved_object->namespace_, e->involved_object->name, e->type, e->reason, e->count,
			e->message);
	give(r, r->body);
}

static Core__PodCondition *ready_of(const Core__Pod *pod)
{
	for (size_t i = 0; pod->status && i < pod->status->n_conditions; i++)
		if (strcmp(pod->status->conditions[i]->type, "Ready") == 0)
			return pod->status->conditions[i];
	return NULL;
}

static void answer_status(struct client_req *r)
{
	struct str key = key_of("pods", r->ns, r->name);
	struct object *o = map_get(&rig.objects, key);
	Core__Pod *now, *update = pb_unpack(&r->arena, &core__pod__descriptor, r->body);
	const Core__PodCondition *ready = ready_of(update);

	if (!o) {
		fail(r, ERR_NOT_FOUND);
		return;
	}
	if (rig.n_refuse > 0 && ready && strcmp(ready->status, "True") == 0) {
		rig.n_refuse--;
		say("refused %s/%s", r->ns, r->name);
		fail(r, ERR_UNAVAILABLE);
		return;
	}
	say("told %s/%s ready=%s", r->ns, r->name, ready ? ready->status : "");
	now = pb_unpack(&r->arena, &core__pod__descriptor, buf_str(&o->bytes));
	now->status = update->status;
	put(key, pb_pack_arena(now, &r->arena));
	give(r, buf_str(&o->bytes));
	kubelet_pod_set(rig.kubelet, now);
}

static void answer_delete(struct client_req *r)
{
	struct object *o = map_del(&rig.objects, key_of("pods", r->ns, r->name));
	Core__Pod *pod;

	if (!o) {
		fail(r, ERR_NOT_FOUND);
		return;
	}
	pod = pb_unpack(&r->arena, &core__pod__descriptor, buf_str(&o->bytes));
	say("deleted %s/%s", r->ns, r->name);
	r->http_status = 200;
	kubelet_pod_delete(rig.kubelet, pod->metadata->uid);
	buf_fini(&o->bytes);
	free(o);
}

static void answer(struct client_req *r)
{
	const char *plural = r->resource->plural;
	struct object *o = map_get(&rig.objects, key_of(plural, r->ns, r->name));

	if (strcmp(nz(r->sub), "token") == 0)
		answer_token(r);
	else if (strcmp(plural, "nodes") == 0 && r->verb != CLIENT_GET)
		answer_node(r);
	else if (strcmp(plural, "events") == 0)
		answer_event(r);
	else if (strcmp(plural, "pods") == 0 && r->verb == CLIENT_UPDATE)
		answer_status(r);
	else if (strcmp(plural, "pods") == 0 && r->verb == CLIENT_DELETE)
		answer_delete(r);
	else if (strcmp(plural, "leases") == 0 && r->verb != CLIENT_GET)
		give(r, r->body);
	else if (o)
		give(r, buf_str(&o->bytes));
	else
		fail(r, ERR_NOT_FOUND);
}

static void on_answer(struct loop_timer *t)
{
	struct answer *a = container_of(t, struct answer, timer);
	struct client_req *r = a->req;

	r->impl = NULL;
	free(a);
	if (r->err.code != ERR_CANCELED)
		answer(r);
	r->done(r);
}

static void rig_start(struct client *c, struct client_req *r)
{
	struct answer *a = xcalloc(1, sizeof(*a));

	a->req = r;
	r->impl = a;
	loop_timer_start(&a->timer, rig.loop, 1, on_answer);
}

static void rig_cancel(struct client *c, struct client_req *r)
{
	err_set(&r->err, ERR_CANCELED, "canceled");
}

static void rig_no_watch(struct client *c, struct client_watch *w)
{
	UNREACHABLE();
}

static void rig_close(struct client *c)
{
}

static const struct client_ops rig_ops = {"rig", rig_start, rig_cancel, rig_no_watch, rig_no_watch, rig_close};

/* --- input --------------------------------------------------------------------------------------------------------- */

static void take_object(struct str kind, struct str wire)
{
	struct arena *a = &rig.arena;
	Core__Pod *pod;

	if (str_eqc(kind, "Pod")) {
		struct object *old;
		Core__Pod *before;

		pod = pb_unpack(a, &core__pod__descriptor, wire);
		if (!is_set(pod->metadata->namespace_))
			pod->metadata->namespace_ = "default";
		pod->spec->node_name = rig.cfg.node_name;
		old = map_get(&rig.objects, key_of("pods", pod->metadata->namespace_, pod->metadata->name));
		before = old ? pb_unpack(a, &core__pod__descriptor, buf_str(&old->bytes)) : NULL;
		if (!is_set(pod->metadata->uid) && before) {
			pod->metadata->uid = before->metadata->uid;
			pod->status = before->status;
		} else if (!is_set(pod->metadata->uid)) {
			char *uid = arena_alloc(a, 37);

			random_uuid(uid);
			pod->metadata->uid = uid;
		}
		put(key_of("pods", pod->metadata->namespace_, pod->metadata->name), pb_pack_arena(pod, a));
		kubelet_pod_set(rig.kubelet, pod);
	} else if (str_eqc(kind, "ConfigMap")) {
		Core__ConfigMap *m = pb_unpack(a, &core__config_map__descriptor, wire);
		const char *ns = is_set(m->metadata->namespace_) ? m->metadata->namespace_ : "default";

		put(key_of("configmaps", ns, m->metadata->name), wire);
		kubelet_object_changed(rig.kubelet, ns, m->metadata->name);
	} else if (str_eqc(kind, "Secret")) {
		Core__Secret *s = pb_unpack(a, &core__secret__descriptor, wire);
		const char *ns = is_set(s->metadata->namespace_) ? s->metadata->namespace_ : "default";

		for (size_t i = 0; i < s->n_string_data; i++) {
			Core__Secret__DataEntry *d = pb_add(a, s, "data");
			struct str v = str_from(nz(s->string_data[i]->value));

			d->key = s->string_data[i]->key;
			PB_SET(d, value, ((ProtobufCBinaryData){.len = v.n, .data = (uint8_t *)arena_memdup(a, v.p, v.n)}));
		}
		put(key_of("secrets", ns, s->metadata->name), pb_pack_arena(s, a));
		kubelet_object_changed(rig.kubelet, ns, s->metadata->name);
	} else if (str_eqc(kind, "Service")) {
		kubelet_service_set(rig.kubelet, pb_unpack(a, &core__service__descriptor, wire));
	}
}

static void load(const char *path)
{
	struct buf text = BUF_INIT, wire = BUF_INIT;
	struct codec_errs errs;
	struct yaml_stream *ys;
	struct json *doc;
	struct err e = ERR_INIT;

	if (file_get(path, 1 << 20, &text, &e) < 0) {
		say("error %s", e.text);
		return;
	}
	ys = yaml_open(&rig.arena, arena_str(&rig.arena, buf_str(&text)));
	while (yaml_next(ys, &doc, &e) > 0) {
		struct str api = json_str(json_getc(doc, "apiVersion")), kind = json_str(json_getc(doc, "kind"));
		const struct schema_type *type = codec_type(api, kind);

		if (!type)
			continue;
		codec_errs_init(&errs, &rig.arena);
		buf_clear(&wire);
		codec_to_wire(&wire, type, doc, &errs);
		if (errs.n)
			say("error %s: %s", path, errs.items[0].message);
		take_object(kind, arena_str(&rig.arena, buf_str(&wire)));
	}
	if (e.code)
		say("error %s: %s", path, e.text);
	buf_fini(&text);
	buf_fini(&wire);
}

static Core__Pod *find_pod(const char *key)
{
	struct str ns, name;
	struct object *o;

	str_cut(str_from(key), '/', &ns, &name);
	o = map_get(&rig.objects, key_of("pods", arena_cstr(&rig.arena, ns), arena_cstr(&rig.arena, name)));
	if (!o)
		say("error no pod %s", key);
	return o ? pb_unpack(&rig.arena, &core__pod__descriptor, buf_str(&o->bytes)) : NULL;
}

static void delete_pod(const char *key)
{
	Core__Pod *pod = find_pod(key);

	if (!pod)
		return;
	PB_SET(pod->metadata, deletion_grace_period_seconds, PB_OR(pod->spec, termination_grace_period_seconds, 30));
	pod->metadata->deletion_timestamp = PB_NEW(&rig.arena, Meta__Time, meta__time);
	PB_SET(pod->metadata->deletion_timestamp, seconds, clock_wall_s());
	put(key_of("pods", pod->metadata->namespace_, pod->metadata->name), pb_pack_arena(pod, &rig.arena));
	kubelet_pod_set(rig.kubelet, pod);
}

static void unready(const char *key)
{
	Core__Pod *pod = find_pod(key);

	if (!pod || !ready_of(pod))
		return;
	ready_of(pod)->status = "False";
	put(key_of("pods", pod->metadata->namespace_, pod->metadata->name), pb_pack_arena(pod, &rig.arena));
	kubelet_pod_set(rig.kubelet, pod);
}

static void on_stopped(void *arg)
{
	say("stopped");
	loop_stop(rig.loop);
}

static void on_pipe_closed(uv_handle_t *h)
{
	kubelet_stop(rig.kubelet, on_stopped, NULL);
}

static void quit(void)
{
	if (!uv_is_closing((uv_handle_t *)&rig.in))
		uv_close((uv_handle_t *)&rig.in, on_pipe_closed);
}

static void command(char *line)
{
	char *arg = strchr(line, ' ');

	if (arg)
		*arg++ = '\0';
	say("command %s %s", line, arg ? arg : "");
	if (strcmp(line, "set") == 0 && arg)
		load(arg);
	else if (strcmp(line, "delete") == 0 && arg)
		delete_pod(arg);
	else if (strcmp(line, "refuse") == 0 && arg)
		rig.n_refuse = strtol(arg, NULL, 10);
	else if (strcmp(line, "unready") == 0 && arg)
		unready(arg);
	else if (strcmp(line, "teardown") == 0)
		rig.teardown = true, quit();
	else if (strcmp(line, "quit") == 0)
		quit();
	else
		say("error unknown command %s", line);
}

static void on_alloc(uv_handle_t *h, size_t want, uv_buf_t *buf)
{
	*buf = uv_buf_init(loop_scratch(rig.loop), LOOP_SCRATCH_SIZE);
}

static void on_input(uv_stream_t *s, ssize_t n, const uv_buf_t *buf)
{
	if (n < 0) {
		quit();
		return;
	}
	buf_add(&rig.line, buf->base, (size_t)n);
	for (;;) {
		char *nl = rig.line.n ? memchr(rig.line.p, '\n', rig.line.n) : NULL, *line;

		if (!nl)
			return;
		line = xstrndup(rig.line.p, (size_t)(nl - rig.line.p));
		buf_consume(&rig.line, (size_t)(nl - rig.line.p) + 1);
		command(line);
		free(line);
	}
}

/* --- output -------------------------------------------------------------------------------------------------------- */

static void print_state(struct buf *b, const Core__ContainerStatus *c)
{
	buf_printf(b, " %s=", c->name);
	if (c->state->running)
		buf_addc(b, c->ready ? "ready" : "running");
	else if (c->state->terminated)
		buf_printf(b, "%s(%d)", c->state->terminated->reason, c->state->terminated->exit_code);
	else
		buf_addc(b, c->state->waiting->reason);
	buf_printf(b, "/%d", c->restart_count);
}

static void on_status(struct kubelet_cfg *cfg, const Core__Pod *pod, const Core__PodStatus *s)
{
	struct buf b = BUF_INIT;

	for (size_t i = 0; i < s->n_init_container_statuses; i++)
		print_state(&b, s->init_container_statuses[i]);
	for (size_t i = 0; i < s->n_container_statuses; i++)
		print_state(&b, s->container_statuses[i]);
	say("status %s/%s %s %s%s", pod->metadata->namespace_, pod->metadata->name, s->phase, nz(s->pod_ip), nz(b.p));
	buf_fini(&b);
}

static const char *option(int argc, char **argv, const char *name)
{
	for (int i = 1; i + 1 < argc; i++)
		if (strcmp(argv[i], name) == 0)
			return argv[i + 1];
	return NULL;
}

int main(int argc, char **argv)
{
	const char *cert = option(argc, argv, "--cert"), *level = option(argc, argv, "--log");
	struct tls_config tc = {.server = true, .verify = TLS_VERIFY_OPTIONAL, .alpn = "http/1.1"};
	struct eviction_flags thresholds = {.hard = getenv("KONTIKI_EVICTION_HARD")};
	struct eviction_cfg eviction;
	struct err e = ERR_INIT;
	int rc = 0;

	if (cni_wanted(argv[0]))
		return cni_main(argv[0]);
	rig.dir = option(argc, argv, "--dir");
	rig.cgroup = option(argc, argv, "--cgroup");
	if (!rig.dir)
		return 2;
	if (level)
		log_set_level(level);
	arena_init(&rig.arena);
	map_init(&rig.objects);
	buf_init(&rig.line, 1 << 20);
	rig.began_ms = clock_mono_ms();
	rig.loop = loop_new("rig");
	rig.client = (struct client){.ops = &rig_ops, .loop = rig.loop};
	rig.cfg = (struct kubelet_cfg){
		.loop = rig.loop,
		.client = &rig.client,
		.node_name = "rig",
		.node_ip = option(argc, argv, "--ip") ? option(argc, argv, "--ip") : "127.0.0.1",
		.dir = rig.dir,
		.images_dir = option(argc, argv, "--images"),
		.cgroup_root = rig.cgroup,
		.version = "v1.32.0-rig",
		.register_node = true,
		.port = option(argc, argv, "--port") ? (int)strtol(option(argc, argv, "--port"), NULL, 10) : -1,
		.healthz_port = -1,
		.on_status = on_status,
	};
	rc = eviction_config(&thresholds, &eviction, &e);
	rig.cfg.eviction = &eviction;
	if (rc == 0 && cert)
		rc = tls_ctx_new_files(&tc, cert, option(argc, argv, "--key"), option(argc, argv, "--ca"), &rig.cfg.tls, &e);
	if (rc == 0)
		rc = kubelet_start(&rig.cfg, &rig.kubelet, &e);
	if (rc < 0) {
		say("error %s", e.text);
		return 1;
	}
	for (int i = 1; i < argc; i++) {
		if (strncmp(argv[i], "--", 2) == 0)
			i++;
		else
			load(argv[i]);
	}
	kubelet_pods_synced(rig.kubelet);
	say("started port=%d", kubelet_port(rig.kubelet));
	uv_pipe_init(loop_uv(rig.loop), &rig.in, 0);
	uv_pipe_open(&rig.in, 0);
	uv_read_start((uv_stream_t *)&rig.in, on_alloc, on_input);
	loop_run(rig.loop);
	loop_free(rig.loop);
	tls_ctx_unref(rig.cfg.tls);
	if (rig.teardown) {
		char *containerd = arena_printf(&rig.arena, "%s/containerd", rig.dir);

		rc = containerd_teardown(containerd, rig.cgroup, &e);
		say("teardown %s", rc < 0 ? e.text : "done");
	}
	MAP_FOR_EACH (o, &rig.objects) {
		buf_fini(&((struct object *)o->value)->bytes);
		free(o->value);
	}
	map_fini(&rig.objects);
	buf_fini(&rig.line);
	arena_fini(&rig.arena);
	return rc < 0;
}
