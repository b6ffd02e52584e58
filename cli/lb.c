/* kontiki lb: the balancer as a process of its own, for the kubeconfig's address on the host's loopback. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include "base/log.h"
#include "base/util.h"
#include "cli/cmd.h"
#include "io/balancer.h"
#include "io/loop.h"
#include "io/tls.h"
#include "net/netns.h"
#include "orchestrator/apiserver/apiserver.h"

struct lb_opts {
	const char *listen, *ca, *netns, *log_level;
	struct opt_list backends;
};

static const struct opt lb_rows[] = {
	{"listen", 0, OPT_STR, offsetof(struct lb_opts, listen), "IP:PORT", "address to listen on (default 127.0.0.1:6443)", NULL, NULL},
	{"backend", 0, OPT_LIST, offsetof(struct lb_opts, backends), "IP:PORT", "a server's API address; repeat for each", NULL, NULL},
	{"ca", 0, OPT_STR, offsetof(struct lb_opts, ca), "FILE", "the cluster's CA certificate, to check the servers' health over TLS", NULL, NULL},
	{"netns", 0, OPT_STR, offsetof(struct lb_opts, netns), "NAME", "network namespace in which the servers are reached", NULL, NULL},
	{"log-level", 0, OPT_STR, offsetof(struct lb_opts, log_level), "LEVEL", "error, warn, info or debug", "KONTIKI_LOG_LEVEL", NULL},
	OPT_END,
};

static const char lb_usage[] = "usage: kontiki lb --ca FILE --backend IP:PORT [--backend IP:PORT ...] [--listen IP:PORT]\n\n"
			       "Joins each connection to a healthy server; one that stops answering loses its connections at once.\n";

static void on_signal(uv_signal_t *h, int signum)
{
	loop_stop(h->data);
}

#define CA_LOOK_MS 1000

/* The CA may be replaced while we run. */
struct ca_watch {
	struct loop_timer timer;
	struct loop *loop;
	const char *path;
	struct tls_ctx *tls;
	struct timespec taken;
};

static void look_at_ca(struct loop_timer *t)
{
	struct ca_watch *w = container_of(t, struct ca_watch, timer);
	struct tls_config tc = {.server = false};
	struct err e = ERR_INIT;
	struct stat st;

	if (stat(w->path, &st) == 0 && (st.st_mtim.tv_sec != w->taken.tv_sec || st.st_mtim.tv_nsec != w->taken.tv_nsec)) {
		w->taken = st.st_mtim;
		if (tls_ctx_reload_files(w->tls, &tc, NULL, NULL, w->path, &e) < 0)
			log_warn("lb", "the CA has changed and cannot be read: %s", e.text);
		else
			log_info("lb", "took up a changed CA");
	}
	loop_timer_start(&w->timer, w->loop, CA_LOOK_MS, look_at_ca);
}

static void watch_ca(struct ca_watch *w, struct loop *loop, const char *path, struct tls_ctx *tls)
{
	struct stat st;

	*w = (struct ca_watch){.loop = loop, .path = path, .tls = tls};
	if (stat(path, &st) == 0)
		w->taken = st.st_mtim;
	loop_timer_start(&w->timer, loop, CA_LOOK_MS, look_at_ca);
}

static int run(const struct lb_opts *o, struct err *e)
{
	struct ca_watch ca;
	struct balancer_config cfg = {.listen = o->listen, .backends = o->backends.v, .n_backends = o->backends.n,
			.health_path = APISERVER_WELL_PATH, .interval_ms = 250, .timeout_ms = 1000};
	struct tls_config tc = {.server = false};
	struct tls_ctx *tls = NULL;
	struct loop *loop;
	struct balancer *b = NULL;
	uv_signal_t sigs[2];
	int ns = -1, rv = 0;

	if (o->backends.n == 0 || o->ca == NULL)
		return err_set(e, ERR_BAD_REQUEST, "--ca and at least one --backend are needed");
	rv = tls_ctx_new_files(&tc, NULL, NULL, o->ca, &tls, e);
	if (rv == 0 && o->netns) {
		ns = netns_open(o->netns, e);
		rv = MIN(ns, 0);
	}
	if (rv < 0) {
		tls_ctx_unref(tls);
		return rv;
	}
	loop = loop_new("lb");
	for (int i = 0; i < 2; i++) {
		uv_signal_init(loop_uv(loop), &sigs[i]);
		sigs[i].data = loop;
		uv_signal_start(&sigs[i], on_signal, i ? SIGTERM : SIGINT);
	}
	cfg.netns_fd = ns;
	cfg.tls = tls;
	watch_ca(&ca, loop, o->ca, tls);
	rv = balancer_start(loop, &cfg, &b, e);
	if (rv == 0) {
		log_info("lb", "listening address=%s backends=%zu", o->listen, o->backends.n);
		loop_run(loop);
		balancer_close(b, NULL, NULL);
	}
	loop_timer_stop(&ca.timer);
	for (int i = 0; i < 2; i++)
		uv_close((uv_handle_t *)&sigs[i], NULL);
	loop_free(loop);
	tls_ctx_unref(tls);
	closep(&ns);
	return rv;
}

int cmd_lb(int argc, char **argv)
{
	struct lb_opts o = {.listen = "127.0.0.1:6443"};
	struct opt_args args;
	struct err e = ERR_INIT;
	int rv;

	if (cmd_wants_help(argc, argv, lb_usage, lb_rows))
		return CMD_OK;
	if (opts_parse(lb_rows, &o, NULL, NULL, argc, argv, &args, &e) < 0)
		return cmd_usage("lb", &e);
	if (o.log_level && !log_set_level(o.log_level)) {
		err_set(&e, ERR_BAD_REQUEST, "unknown log level \"%s\"", o.log_level);
		return cmd_usage("lb", &e);
	}
	rv = run(&o, &e);
	opt_args_fini(&args);
	opt_list_fini(&o.backends);
	return rv < 0 ? cmd_fail(&e) : CMD_OK;
}
