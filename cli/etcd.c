/*
 * kontiki etcd: the replicated store and its API alone, started as the etcd program is. doc/etcd-program.md says what is the same.
 *
 *	configuration > TLS contexts > kv (raft and store) > etcd_server (the API) > signals
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/util.h"
#include "cli/cmd.h"
#include "cli/etcd_config.h"
#include "cli/etcd_tls.h"
#include "cli/local.h"
#include "cli/notify.h"
#include "io/jws.h"
#include "orchestrator/etcd/etcd.h"
#include "raft/kv.h"
#include "store/auth.h"

/* How often the certificates' files are looked at, and whether there is a leader yet. */
#define LOOK_MS 5000
#define READY_POLL_MS 20
#define CONFIG_LIMIT (1 << 20)

extern char **environ;

struct etcd_program {
	struct etcd_config c;
	struct etcd_tls_set tls;
	struct jws_key *token_key; /* NULL: simple tokens */
	struct kv *kv;
	struct etcd_server *server;
	const char *joined[ETCD_MAX_INITIAL]; /* peers to join through */
};

/* --- Start ---------------------------------------------------------------------------------------------------------- */

static int open_log(struct etcd_program *p, struct err *e)
{
	const char *to = p->c.log_output;
	int fd;

	log_set_level(p->c.log_level);
	if (strcmp(to, "default") == 0 || strcmp(to, "stderr") == 0 || strcmp(to, "systemd/journal") == 0)
		return 0;
	if (strcmp(to, "stdout") == 0) {
		log_set_fd(STDOUT_FILENO);
		return 0;
	}
	fd = open(to, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_set_errno(e, errno, "--log-outputs: open %s", to);
	log_set_fd(fd);
	return 0;
}

/* What etcd itself left there is not ours to read, and to write beside it would hide it. */
static int check_data_dir(struct etcd_program *p, struct err *e)
{
	if (access(arena_printf(&p->c.arena, "%s/member/snap", p->c.data_dir), F_OK) != 0)
		return 0;
	return err_set(e, ERR_FAILED_PRECONDITION,
			"the data directory %s is an etcd program's: take another one, and mirror the data over (etcdctl make-mirror)",
			p->c.data_dir);
}

/* localhost as an address to bind. */
static const char *bind_address(struct etcd_program *p, const struct etcd_url *u)
{
	if (strcmp(u->host, "localhost") != 0)
		return u->address;
	return arena_printf(&p->c.arena, "127.0.0.1%s", u->address + strlen("localhost"));
}

/* With commas; `texts`: as URLs, else as addresses. */
static int join_urls(struct etcd_program *p, const struct etcd_urls *urls, bool texts, const char *flag, const char **ret, struct err *e)
{
	struct buf b = BUF_INIT;
	int rc = 0;

	for (size_t i = 0; i < urls->n; i++) {
		buf_addc(&b, i ? "," : "");
		buf_addc(&b, texts ? urls->v[i].text : urls->v[i].address);
	}
	if (b.n >= KV_ADDR_MAX)
		rc = err_set(e, ERR_BAD_REQUEST, "%s: all URLs of a member together must be shorter than %d characters", flag, KV_ADDR_MAX);
	*ret = arena_strdup(&p->c.arena, b.p ? b.p : "");
	buf_fini(&b);
	return rc;
}

static void on_fatal(void *arg _unused_, const struct err *e)
{
	log_error("etcd", "stopping: %s", e->text);
	_exit(1);
}

/* All addresses for the other members, with commas. */
static const char *peer_addresses(struct etcd_program *p)
{
	const char *all = bind_address(p, &p->c.listen_peer.v[0]);

	for (size_t i = 1; i < p->c.listen_peer.n; i++)
		all = arena_printf(&p->c.arena, "%s,%s", all, bind_address(p, &p->c.listen_peer.v[i]));
	return all;
}

static int by_text(const void *a, const void *b)
{
	return strcmp(((const struct etcd_url *)a)->text, ((const struct etcd_url *)b)->text);
}

/* A member that begins, or one that joins, or (the directory is one already) whatever it was. */
static int set_members(struct etcd_program *p, struct kv_cfg *cfg, struct err *e)
{
	struct etcd_config *c = &p->c;
	struct kv_peer *initial = arena_new_array(&c->arena, struct kv_peer, c->n_initial + 1);

	for (size_t i = 0; i < c->n_initial; i++) {
		struct etcd_urls sorted = c->initial[i].peer;
		int rc;

		/* In whatever order it was given: everybody has the same list. */
		qsort(sorted.v, sorted.n, sizeof(sorted.v[0]), by_text);
		initial[i] = (struct kv_peer){.name = c->initial[i].name};
		rc = join_urls(p, &sorted, false, "--initial-cluster", &initial[i].addr, e);
		if (rc != 0)
			return rc;
		if (strcmp(initial[i].name, c->name) == 0)
			cfg->advertise = initial[i].addr;
		else if (c->existing)
			p->joined[cfg->n_join++] = initial[i].addr;
	}
	if (c->existing && cfg->n_join > 0) {
		cfg->join = p->joined;
		return 0;
	}
	cfg->initial = initial;
	cfg->n_initial = c->n_initial;
	return 0;
}

static int start_kv(struct etcd_program *p, struct err *e)
{
	struct etcd_config *c = &p->c;
	struct kv_cfg cfg = {
		.data_dir = c->data_dir,
		.name = c->name,
		.listen = peer_addresses(p),
		.tls_server = p->tls.peer_server.ctx,
		.tls_client = p->tls.peer_client.ctx,
		.foreign_peers = true,
		.peer_cns = c->peer.cns,
		.places_only = true,
		/* As in etcd, where this flag's default is for the first start only. */
		.keeps_address = c->value[ETCD_FLAG_INITIAL_ADVERTISE_PEER_URLS] == NULL || c->n_initial == 0,
		.cluster_token = c->token,
		.election_ms = c->election_ms,
		.heartbeat_ms = c->heartbeat_ms,
		.compact_keep_ms = c->keep_ms ? (unsigned)MIN(c->keep_ms, UINT_MAX - 1) : UINT_MAX,
		.compact_keep_revisions = c->keep_revisions,
		.store_quota = c->quota,
		.lease_checkpoint_ms = c->lease_checkpoints ? 300000 : 0,
		.scrub_ms = (unsigned)MIN(c->scrub_ms, UINT_MAX - 1),
		/* Who votes is what operators say, as in etcd. */
		.voters = KV_MAX_MEMBERS,
		.dead_ms = UINT_MAX,
		.nosync = c->no_sync,
		.on_fatal = on_fatal,
	};
	int rc = join_urls(p, &c->advertise_client, true, "--advertise-client-urls", &cfg.url, e);

	if (rc == 0)
		rc = set_members(p, &cfg, e);
	return rc ? rc : kv_start(&cfg, &p->kv, e);
}

static int start_server(struct etcd_program *p, struct err *e)
{
	struct etcd_config *c = &p->c;
	struct etcd_listen at[ETCD_MAX_LISTEN];
	size_t n = 0;
	struct etcd_server_cfg cfg = {
		.listen = at,
		.max_request_bytes = c->max_request,
		.progress_ms = (unsigned)c->progress_ms,
		.election_ms = c->election_ms,
		.max_txn_ops = c->max_txn_ops,
		.max_learners = c->max_learners,
		.bcrypt_cost = c->bcrypt_cost,
		.cert_users = etcd_value_bool(c, ETCD_FLAG_CLIENT_CERT_AUTH),
		.token_key = p->token_key,
		.token_ms = c->jwt.ttl_ms,
		.peer_tls = p->tls.peer_server.ctx != NULL,
	};

	for (size_t i = 0; i < c->listen_client.n; i++)
		at[n++] = (struct etcd_listen){.address = bind_address(p, &c->listen_client.v[i]),
				.tls = c->listen_client.v[i].tls ? p->tls.client.ctx : NULL};
	for (size_t i = 0; i < c->listen_metrics.n; i++)
		at[n++] = (struct etcd_listen){.address = bind_address(p, &c->listen_metrics.v[i]),
				.tls = c->listen_metrics.v[i].tls ? p->tls.client.ctx : NULL,
				.metrics_only = true};
	cfg.n_listen = n;
	store_tokens_ttl(kv_store(p->kv), c->token_ttl_ms);
	return etcd_server_start(&cfg, p->kv, &p->server, e);
}

static int open_token_key(struct etcd_program *p, struct err *e)
{
	const struct etcd_jwt *j = &p->c.jwt;
	char *private = NULL, *public = NULL;
	int rc = 0;

	if (j->method == NULL)
		return 0;
	if (j->private_path != NULL && (private = file_read(j->private_path, CONFIG_LIMIT, e)) == NULL)
		rc = -(int)e->code;
	if (rc == 0 && j->public_path != NULL && (public = file_read(j->public_path, CONFIG_LIMIT, e)) == NULL)
		rc = -(int)e->code;
	if (rc == 0)
		rc = jws_key_new(j->method, str_from(private), str_from(public), &p->token_key, e);
	if (private != NULL)
		explicit_bzero(private, strlen(private));
	free(private);
	free(public);
	return rc ? err_prefix(e, "--auth-token") : 0;
}

static int start(struct etcd_program *p, struct err *e)
{
	int rc = check_data_dir(p, e);

	if (rc == 0)
		rc = dir_make(p->c.data_dir, 0700, e);
	if (rc == 0)
		rc = open_token_key(p, e);
	if (rc == 0)
		rc = etcd_tls_open(&p->tls, &p->c, e);
	if (rc == 0)
		rc = start_kv(p, e);
	return rc ? rc : start_server(p, e);
}

/* --- Running ---------------------------------------------------------------------------------------------------------- */

/* The lines are those that scripts wait for. */
static void tell_ready(struct etcd_program *p)
{
	log_info("etcd", "ready to serve client requests name=%s", p->c.name);
	for (size_t i = 0; i < p->c.listen_client.n; i++) {
		const struct etcd_url *u = &p->c.listen_client.v[i];

		if (u->tls)
			log_info("etcd", "serving client traffic securely address=%s", u->address);
		else
			log_info("etcd", "serving client traffic insecurely; this is strongly discouraged! address=%s", u->address);
	}
	notify_service("READY=1");
}

static void run(struct etcd_program *p, const sigset_t *set)
{
	uint64_t look_at = clock_mono_ms() + LOOK_MS;
	struct kv_status status;
	bool ready = false;
	int sig;

	do {
		struct timespec wait = {ready ? LOOK_MS / 1000 : 0, ready ? 0 : READY_POLL_MS * 1000000L};

		sig = sigtimedwait(set, NULL, &wait);
		if (!ready) {
			kv_status(p->kv, &status);
			ready = status.role.leader_id != 0;
			if (ready)
				tell_ready(p);
		}
		if (sig == SIGHUP || clock_mono_ms() >= look_at) {
			etcd_tls_look(&p->tls);
			look_at = clock_mono_ms() + LOOK_MS;
		}
	} while (sig != SIGINT && sig != SIGTERM);
	log_info("etcd", "stopping signal=%s", sig == SIGINT ? "SIGINT" : "SIGTERM");
	notify_service("STOPPING=1");
}

/* A directory that is a member needs no list; one that fits it may have, which is for one that has not got beyond its identity. */
static int load_initial(struct etcd_config *c, struct err *e)
{
	int rc = etcd_config_check_initial(c, e);

	if (rc == 0 || access(arena_printf(&c->arena, "%s/raft/member", c->data_dir), F_OK) != 0)
		return rc;
	etcd_config_warn(c, "%s is a member's already, so this is not looked at: %s", c->data_dir, e->text);
	err_clear(e);
	c->n_initial = 0;
	c->existing = false;
	return 0;
}

static int load(struct etcd_config *c, int argc, char **argv, struct err *e)
{
	int rc = etcd_config_read(c, argc, argv, environ, e);
	char *text;

	if (rc != 0 || c->help || c->version)
		return rc;
	if (c->file) {
		text = file_read(c->file, CONFIG_LIMIT, e);
		rc = text ? etcd_config_read_yaml(c, str_from(arena_strdup(&c->arena, text)), e) : -(int)e->code;
		free(text);
		if (rc != 0)
			return err_prefix(e, "configuration file %s", c->file);
	}
	rc = etcd_config_check(c, e);
	return rc ? rc : load_initial(c, e);
}

static int serve(struct etcd_program *p, struct err *e)
{
	sigset_t set;
	int rc = open_log(p, e);

	if (rc != 0)
		return rc;
	/* Before any thread starts, so that all inherit it. */
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	for (size_t i = 0; i < p->c.n_warnings; i++)
		log_warn("etcd", "%s", p->c.warnings[i]);
	log_info("etcd", "starting name=%s data-dir=%s version=%s", p->c.name, p->c.data_dir, ETCD_VERSION);
	rc = start(p, e);
	if (rc == 0)
		run(p, &set);
	else
		log_error("etcd", "cannot start: %s", e->text);
	etcd_server_stop(p->server);
	kv_stop(p->kv);
	etcd_tls_close(&p->tls);
	jws_key_free(p->token_key);
	return rc;
}

int cmd_etcd(int argc, char **argv)
{
	struct etcd_program p = {.kv = NULL};
	struct err e = ERR_INIT;
	int rc;

	etcd_config_init(&p.c);
	if (load(&p.c, argc, argv, &e) != 0) {
		etcd_config_fini(&p.c);
		return cmd_usage("etcd", &e);
	}
	if (p.c.help || p.c.version) {
		if (p.c.help)
			etcd_config_print_help(stdout);
		else
			printf("etcd Version: %s\nkontiki %s\n", ETCD_VERSION, PACKAGE_VERSION);
		etcd_config_fini(&p.c);
		return CMD_OK;
	}
	rc = serve(&p, &e);
	etcd_config_fini(&p.c);
	return rc == 0 ? CMD_OK : cmd_fail(&e);
}
