#include "cli/control.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/util.h"
#include "cli/pki.h"
#include "io/loop.h"
#include "orchestrator/apiserver/apiserver.h"
#include "orchestrator/client/client.h"
#include "orchestrator/controllers/controller.h"
#include "orchestrator/scheduler/scheduler.h"
#include "raft/kv.h"

/*
 *	idle --lead--> running --deposed--> stopping --all closed--> idle (or running again, when it leads anew)
 */
enum state { IDLE, RUNNING, STOPPING };

struct control {
	struct control_cfg cfg;
	struct loop *loop;
	struct loop_msg start_msg, stop_msg;
	struct kv_role_watch role;
	struct loop_timer wait;
	enum state state;
	bool leads, ending, renewed; /* renewed: `next` is to be taken up */
	struct pki_ca ca, next;
	struct client *client, *scheduler_client; /* each with the user that upstream has */
	struct controllers *controllers;
	struct scheduler *scheduler;
};

/* What control_reload has read. */
struct reload {
	struct loop_msg msg;
	struct control *control;
	struct pki_ca ca;
};

/* The API of this server is looked at this often until it is ready. */
#define READY_MS 10

static void step(struct control *c);

static void start_all(struct control *c)
{
	struct controllers_cfg cfg = {.loop = c->loop, .cluster_cidr = c->cfg.cluster_cidr, .root_ca_pem = str_from(c->ca.trusted),
			.ca_cert = c->ca.cert, .ca_key = c->ca.key, .sa_key = c->ca.sa_key, .sign_s = c->cfg.sign_s};

	c->client = apiserver_client(c->cfg.api, c->loop, "system:kube-controller-manager");
	cfg.client = c->client;
	c->controllers = controllers_start(&cfg);
	c->scheduler_client = apiserver_client(c->cfg.api, c->loop, "system:kube-scheduler");
	c->scheduler = scheduler_start(c->loop, c->scheduler_client, controllers_view(c->controllers));
	c->state = RUNNING;
	log_info("control", "leading: controllers and scheduler run");
}

static void client_closed(void *arg)
{
	struct control *c = arg;

	c->client = NULL;
	c->state = IDLE;
	step(c);
}

static void controllers_stopped(void *arg)
{
	struct control *c = arg;

	client_close(c->client, client_closed, c);
}

static void scheduler_client_closed(void *arg)
{
	struct control *c = arg;

	controllers_stop(c->controllers, controllers_stopped, c);
}

static void scheduler_stopped(void *arg)
{
	struct control *c = arg;

	client_close(c->scheduler_client, scheduler_client_closed, c);
}

static void look_again(struct loop_timer *t)
{
	step(container_of(t, struct control, wait));
}

static void step(struct control *c)
{
	bool want = c->leads && !c->ending && !c->renewed;

	if (c->state == IDLE && c->renewed) {
		pki_ca_fini(&c->ca);
		c->ca = c->next;
		c->next = (struct pki_ca){0};
		c->renewed = false;
		step(c);
	} else if (c->state == IDLE && want && !apiserver_ready(c->cfg.api)) {
		/* The controllers' accounts may nothing before their roles are written. */
		loop_timer_start(&c->wait, c->loop, READY_MS, look_again);
	} else if (c->state == IDLE && want) {
		start_all(c);
	} else if (c->state == RUNNING && !want) {
		log_info("control", "not leading: controllers and scheduler stop");
		c->state = STOPPING;
		scheduler_stop(c->scheduler, scheduler_stopped, c);
	} else if (c->state == IDLE && c->ending) {
		loop_stop(c->loop);
	}
}

static void on_role(struct kv_role_watch *w, const struct kv_role *role)
{
	struct control *c = container_of(w, struct control, role);

	if (role->leader == c->leads)
		return;
	c->leads = role->leader;
	step(c);
}

static void on_start(struct loop_msg *m)
{
	struct control *c = container_of(m, struct control, start_msg);

	c->role.changed = on_role;
	kv_role_watch(c->cfg.kv, &c->role);
}

static void on_stop(struct loop_msg *m)
{
	struct control *c = container_of(m, struct control, stop_msg);

	kv_role_unwatch(&c->role);
	c->ending = true;
	step(c);
}

static void control_free(struct control *c)
{
	pki_ca_fini(&c->ca);
	pki_ca_fini(&c->next);
	free(c);
}

int control_start(const struct control_cfg *cfg, struct control **ret, struct err *e)
{
	struct control *c = xcalloc(1, sizeof(*c));

	c->cfg = *cfg;
	if (pki_ca_load_all(cfg->pki_dir, &c->ca, e) < 0) {
		control_free(c);
		return -(int)e->code;
	}
	c->loop = loop_new("control");
	loop_thread_start(c->loop);
	c->start_msg.run = on_start;
	loop_post(c->loop, &c->start_msg);
	*ret = c;
	return 0;
}

/* The CA is read by those who run with it: they start again with the new one, as after an election. */
static void on_reload(struct loop_msg *m)
{
	struct reload *r = container_of(m, struct reload, msg);
	struct control *c = r->control;

	pki_ca_fini(&c->next);
	c->next = r->ca;
	c->renewed = true;
	free(r);
	step(c);
}

int control_reload(struct control *c, struct err *e)
{
	struct reload *r = xcalloc(1, sizeof(*r));

	if (pki_ca_load_all(c->cfg.pki_dir, &r->ca, e) < 0) {
		pki_ca_fini(&r->ca);
		free(r);
		return -(int)e->code;
	}
	r->control = c;
	r->msg.run = on_reload;
	loop_post(c->loop, &r->msg);
	return 0;
}

void control_stop(struct control *c)
{
	c->stop_msg.run = on_stop;
	loop_post(c->loop, &c->stop_msg);
	loop_thread_join(c->loop);
	loop_free(c->loop);
	control_free(c);
}
