/* The client inside the server's process: calls, accounts, watches, and giving up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/util.h"
#include "orchestrator/apiserver/apiserver.h"
#include "orchestrator/client/client.h"
#include "proto/core.pb-c.h"
#include "proto/pb.h"
#include "proto/resource.h"
#include "tests/unit/orchestrator/apiserver/words.h"

struct local {
	struct client *client;
	struct client_req req;
	struct client_watch watch;
	int done, ended, n_events;
	enum client_event last;
	enum err_code end_code;
};

static void local_done(struct client_req *req)
{
	container_of(req, struct local, req)->done = 1;
}

static void local_event(struct client_watch *w, enum client_event type, struct str object, uint64_t rv)
{
	struct local *l = container_of(w, struct local, watch);
	Core__ConfigMap *cm = pb_unpack(&rig_arena, &core__config_map__descriptor, object);

	assert_non_null(cm);
	assert_true(rv > 0);
	assert_true(cm->metadata && cm->metadata->resource_version);
	l->last = type;
	l->n_events++;
}

static void local_end(struct client_watch *w, const struct err *e)
{
	struct local *l = container_of(w, struct local, watch);

	l->end_code = e->code;
	l->ended = 1;
}

static void local_closed(void *arg)
{
	((struct local *)arg)->done = 1;
}

static void local_wait(struct local *l)
{
	l->done = 0;
	client_do(l->client, &l->req);
	assert_int_equal(l->done, 0); /* never inside the call */
	rig_until(&l->done);
}

static void test_local_client(void **state)
{
	const struct resource *res = resource_find("", "v1", "configmaps");
	struct local l = {.done = 0};
	Core__ConfigMap *cm = pb_new_of(&rig_arena, core__config_map, Core__ConfigMap), *got;
	struct client_list_meta meta;
	struct err e = ERR_INIT;
	struct str item;
	size_t pos = 0, n = 0;

	(void)state;
	l.client = apiserver_client(rig_server, rig_loop, "test");
	client_watch_init(&l.watch, res);
	l.watch.ns = "kube-public";
	l.watch.event = local_event;
	l.watch.end = local_end;
	client_watch_start(l.client, &l.watch);
	pb_sub(&rig_arena, cm, "metadata");
	cm->metadata->name = "local";
	pb_map_set(&rig_arena, cm, "data", "k", "v");
	client_req_init(&l.req, CLIENT_CREATE, res);
	l.req.ns = "kube-public";
	l.req.msg = &cm->base;
	l.req.done = local_done;
	local_wait(&l);
	assert_int_equal(l.req.err.code, 0);
	got = client_req_unpack(&l.req, &core__config_map__descriptor);
	assert_non_null(got);
	assert_string_equal(got->metadata->name, "local");
	assert_non_null(got->metadata->resource_version);
	client_req_fini(&l.req);

	client_req_init(&l.req, CLIENT_CREATE, res);
	l.req.ns = "kube-public";
	l.req.msg = &cm->base;
	l.req.done = local_done;
	local_wait(&l);
	assert_int_equal(l.req.err.code, ERR_ALREADY_EXISTS);
	client_req_fini(&l.req);

	/* As a controller's account: what its role grants, and no more. */
	for (int i = 0; i < 2; i++) {
		cm->metadata->name = i ? "published" : "refused";
		client_req_init(&l.req, CLIENT_CREATE, res);
		l.req.ns = "kube-public";
		l.req.account = i ? "root-ca-cert-publisher" : "job-controller";
		l.req.dry_run = true;
		l.req.msg = &cm->base;
		l.req.done = local_done;
		local_wait(&l);
		assert_int_equal(l.req.err.code, i ? 0 : ERR_FORBIDDEN);
		if (i == 0)
			assert_non_null(strstr(l.req.err.text, "User \"system:serviceaccount:kube-system:job-controller\" cannot create"));
		else
			assert_string_equal(((Core__ConfigMap *)client_req_unpack(&l.req, &core__config_map__descriptor))
							    ->metadata->managed_fields[0]->manager, "test");
		client_req_fini(&l.req);
	}

	client_req_init(&l.req, CLIENT_LIST, res);
	l.req.ns = "kube-public";
	l.req.done = local_done;
	local_wait(&l);
	assert_int_equal(client_list_meta(l.req.answer, &meta, &e), 0);
	assert_true(meta.resource_version.n > 0);
	while (client_list_next(l.req.answer, &pos, &item))
		n++;
	assert_int_equal(n, 1);
	client_req_fini(&l.req);

	client_req_init(&l.req, CLIENT_DELETE, res);
	l.req.ns = "kube-public";
	l.req.name = "local";
	l.req.precondition_uid = "wrong";
	l.req.done = local_done;
	local_wait(&l);
	assert_int_equal(l.req.err.code, ERR_CONFLICT);
	client_req_fini(&l.req);
	client_req_init(&l.req, CLIENT_DELETE, res);
	l.req.ns = "kube-public";
	l.req.name = "local";
	l.req.done = local_done;
	local_wait(&l);
	assert_int_equal(l.req.err.code, 0);
	client_req_fini(&l.req);
	while (l.n_events < 2)
		loop_turn(rig_loop, 10);
	assert_int_equal(l.last, CLIENT_DELETED);

	client_req_init(&l.req, CLIENT_GET, res);
	l.req.ns = "kube-public";
	l.req.name = "local";
	l.req.done = local_done;
	l.done = 0;
	client_do(l.client, &l.req);
	client_cancel(&l.req);
	rig_until(&l.done);
	assert_int_equal(l.req.err.code, ERR_CANCELED);
	client_req_fini(&l.req);
	client_watch_stop(&l.watch);
	rig_until(&l.ended);
	assert_int_equal(l.end_code, ERR_CANCELED);
	l.done = 0;
	client_close(l.client, local_closed, &l);
	rig_until(&l.done);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
			cmocka_unit_test(test_local_client),
	};

	return cmocka_run_group_tests(tests, with_server, without_server);
}
