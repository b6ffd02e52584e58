/* kontiki chaos run: see cli/chaos.h. */
#include "cli/chaos.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include "base/util.h"
#include "cli/cmd.h"
#include "cli/opts.h"

#define DEFAULT_SUBNET "10.78.0.0/24"
#define BACK_S 60 /* after the last fault, on however busy a machine, clients are answered again; and after that each watch has heard of all */

static const struct opt rows[] = {
	{"servers", 0, OPT_INT, offsetof(struct chaos_opts, servers), "N", "members of the cluster, 1 to 9 (default 3)", NULL, NULL},
	{"duration", 0, OPT_INT, offsetof(struct chaos_opts, duration_s), "SECONDS", "how long faults are made (default 60)", NULL, NULL},
	{"seed", 0, OPT_INT, offsetof(struct chaos_opts, seed), "N", "of the schedule of faults (default: from the clock; it is printed)", NULL, NULL},
	{"clients", 0, OPT_INT, offsetof(struct chaos_opts, clients), "N", "clients, spread over the members (default 8)", NULL, NULL},
	{"fault", 0, OPT_STR, offsetof(struct chaos_opts, only), "NAME", "only this kind of fault; `list` shows them", NULL, NULL},
	{"picture", 0, OPT_STR, offsetof(struct chaos_opts, picture), "FILE.svg", "write a timeline: writes, latency, leader, faults", NULL, NULL},
	{"name", 0, OPT_STR, offsetof(struct chaos_opts, name), "NAME", "the cluster's name (default chaos)", NULL, NULL},
	{"dir", 0, OPT_STR, offsetof(struct chaos_opts, dir), "DIR", "its folder (default " LOCAL_DEFAULT_ROOT "/NAME)", NULL, NULL},
	{"subnet", 0, OPT_STR, offsetof(struct chaos_opts, subnet), "CIDR", "its network (default " DEFAULT_SUBNET ")", NULL, NULL},
	{"keep", 0, OPT_BOOL, offsetof(struct chaos_opts, keep), "", "leave the members' data and logs in the folder", NULL, NULL},
	OPT_END,
};

static volatile sig_atomic_t interrupted;

static void on_signal(int sig _unused_)
{
	interrupted = 1;
}

uint64_t chaos_now(const struct chaos *c)
{
	return clock_mono_ns() / 1000 - c->began_us;
}

uint64_t chaos_random(struct chaos *c, uint64_t n)
{
	uint64_t z = (c->rng += 0x9e3779b97f4a7c15ULL);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	z ^= z >> 31;
	return n ? z % n : 0;
}

static int check(struct chaos_opts *o, struct err *e)
{
	if (o->servers < 1 || o->servers > CHAOS_NODES_MAX)
		return err_set(e, ERR_BAD_REQUEST, "--servers: from 1 to %d", CHAOS_NODES_MAX);
	if (o->duration_s < 1 || o->duration_s > 86400)
		return err_set(e, ERR_BAD_REQUEST, "--duration: from 1 to 86400 seconds");
	if (o->clients < 1 || o->clients > 256)
		return err_set(e, ERR_BAD_REQUEST, "--clients: from 1 to 256");
	if (o->only && !chaos_fault_known(o->only))
		return err_set(e, ERR_BAD_REQUEST, "--fault: there is no fault \"%s\"; `kontiki chaos run --fault list` shows them", o->only);
	if (geteuid() != 0)
		return err_set(e, ERR_FORBIDDEN, "chaos makes network namespaces: run it as root");
	return 0;
}

static int plan(struct chaos *c, struct err *e)
{
	struct ip4_net subnet;
	int rv = ip4_net_parse(str_from(c->o.subnet), &subnet) ? 0 : err_set(e, ERR_BAD_REQUEST, "--subnet %s is no network", c->o.subnet);

	if (rv == 0)
		rv = local_plan(&c->l, c->o.name, c->o.dir, (unsigned)c->o.servers, 0, &subnet, 1, e);
	/* The folder is removed at the end: it must be ours. */
	if (rv == 0 && access(c->l.dir, F_OK) == 0)
		rv = err_set(e, ERR_ALREADY_EXISTS, "%s exists: another run uses it, or was killed; take another --name, or remove it", c->l.dir);
	return rv;
}

/* Wait until clients get answers. */
static int wait_ready(struct chaos *c, struct err *e)
{
	for (int i = 0; i < 300 && !interrupted; i++) {
		if (chaos_load_ok(c) >= 20)
			return 0;
		usleep(100000);
	}
	return err_set(e, ERR_TIMEOUT, "the cluster does not answer within 30 s; look at the logs in %s", c->l.dir);
}

static int run(struct chaos *c, bool *ret_good, struct err *e)
{
	struct verdict v;
	uint64_t before;
	bool caught_up = false, progress = false;
	int rv = chaos_cluster_up(c, e);

	if (rv == 0)
		rv = chaos_load_start(c, e);
	if (rv == 0)
		rv = wait_ready(c, e);
	if (rv == 0)
		rv = chaos_faults_run(c, e);
	if (rv != 0)
		return rv;
	before = chaos_load_ok(c);
	for (int i = 0; i < BACK_S * 10 && !progress; i++) {
		usleep(100000);
		progress = chaos_load_ok(c) >= before + 50;
	}
	caught_up = chaos_load_finish(c, BACK_S * 1000);
	*ret_good = history_check(chaos_load_history(c), &v) && caught_up && progress;
	if (!progress)
		printf("the cluster did not come back within %d s after the last fault\n", BACK_S);
	chaos_report(c, &v, caught_up, stdout);
	if (c->o.picture && (rv = chaos_picture(c, c->o.picture, e)) == 0)
		printf("timeline: %s\n", c->o.picture);
	return rv;
}

bool chaos_interrupted(void);
bool chaos_interrupted(void)
{
	return interrupted;
}

int cmd_chaos(int argc, char **argv)
{
	struct chaos *c = xcalloc(1, sizeof(*c));
	struct opt_args args = {0};
	struct err e = ERR_INIT;
	bool good = false;
	int rv;

	if (cmd_wants_help(argc, argv, "kontiki chaos run [OPTIONS]", rows))
		return CMD_OK;
	c->o = (struct chaos_opts){.name = "chaos", .subnet = DEFAULT_SUBNET, .servers = 3, .duration_s = 60, .clients = 8,
				   .seed = clock_wall_s() % 1000000};
	rv = opts_parse(rows, &c->o, NULL, NULL, argc, argv, &args, &e);
	if (rv == 0 && (args.n != 1 || strcmp(args.v[0], "run") != 0))
		rv = err_set(&e, ERR_BAD_REQUEST, "what to do? `kontiki chaos run`");
	opt_args_fini(&args);
	if (rv == 0 && c->o.only && strcmp(c->o.only, "list") == 0) {
		chaos_faults_list(stdout);
		free(c);
		return CMD_OK;
	}
	if (rv == 0)
		rv = check(&c->o, &e);
	if (rv == 0)
		rv = plan(c, &e);
	if (rv != 0) {
		free(c);
		return cmd_usage("chaos", &e);
	}
	signal(SIGINT, on_signal);
	signal(SIGTERM, on_signal);
	log_set_level("error");
	c->rng = (uint64_t)c->o.seed;
	c->began_us = clock_mono_ns() / 1000;
	printf("seed %lld, %lld members, %lld clients, faults for %lld s\n", (long long)c->o.seed, (long long)c->o.servers,
	       (long long)c->o.clients, (long long)c->o.duration_s);
	rv = run(c, &good, &e);
	chaos_load_free(c);
	c->o.keep = c->o.keep || rv != 0 || !good;
	chaos_cluster_down(c);
	if (c->o.keep)
		printf("the members' data and logs: %s\n", c->l.dir);
	free(c);
	return rv != 0 ? cmd_fail(&e) : good ? CMD_OK : CMD_FAILED;
}
