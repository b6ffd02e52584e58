/*
 * The configuration of `kontiki etcd`: etcd's flags, its ETCD_ environment variables or its configuration file, with
 * etcd's precedence, become a struct etcd_config. Pure: it opens nothing and starts nothing.
 *
 *	etcd_config_init(&c);
 *	rc = etcd_config_read(&c, argc, argv, environ, &e);
 *	if (rc == 0 && c.file) rc = etcd_config_read_yaml(&c, the file's text, &e);
 *	if (rc == 0) rc = etcd_config_check(&c, &e);
 *	if (rc == 0 && c.data_dir is no member) rc = etcd_config_check_initial(&c, &e);
 *	... c.name, c.listen_client.n ...
 *	etcd_config_fini(&c);
 *
 * A configuration file, given by flag or environment, is the only source when there is one; otherwise flags win over the
 * environment. What each flag is good for is in etcd_flags.def. Warnings are collected; whoever starts logs them.
 */
#ifndef CLI_ETCD_CONFIG_H
#define CLI_ETCD_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

enum etcd_flag {
#define SECTION(title)
#define FLAG(id, name, kind, otherwise, use, text) ETCD_FLAG_##id,
#include "cli/etcd_flags.def"
#undef FLAG
#undef SECTION
	ETCD_N_FLAGS,
};

#define ETCD_MAX_URLS 8
#define ETCD_MAX_WARNINGS 64

/* http://10.0.0.1:2379, unix:///run/x.sock */
struct etcd_url {
	bool tls;
	bool is_unix;
	const char *text;    /* as others are to see it */
	const char *address; /* "10.0.0.1:2379", "unix:/run/x.sock" */
	const char *host;    /* "10.0.0.1"; "" for unix */
};

struct etcd_urls {
	struct etcd_url v[ETCD_MAX_URLS];
	size_t n;
};

struct etcd_member {
	const char *name;
	struct etcd_urls peer;
};

#define ETCD_MAX_INITIAL 16

struct etcd_tls {
	const char *cert, *key, *ca; /* files; NULL: none */
	const char *dial_cert, *dial_key; /* for connections it makes; NULL: the same */
	bool verify;                 /* the other side must have a certificate of `ca` */
	bool self_signed;
	const char *const *cns;      /* that it may have, NULL-terminated; NULL: any */
	const char *const *hosts;    /* its certificate must be for one of these; NULL: any */
	const char *crl;             /* revocation list, a file; NULL: none */
};

/* --auth-token jwt,... */
struct etcd_jwt {
	const char *method, *private_path, *public_path; /* method NULL: simple tokens */
	uint64_t ttl_ms;
};

struct etcd_config {
	/* What was set, by flag; NULL: not set. */
	const char *value[ETCD_N_FLAGS];
	const char *file; /* the configuration file, or NULL */
	bool help, version;

	/* What follows from it. */
	const char *name, *data_dir, *token, *log_output, *log_level;
	struct etcd_urls listen_client, listen_peer, listen_metrics, advertise_client, advertise_peer;
	struct etcd_member initial[ETCD_MAX_INITIAL];
	size_t n_initial;
	bool existing;
	struct etcd_tls client, peer;
	const char *const *ciphers; /* IANA's names, NULL-terminated; NULL: the default */
	int tls_min, tls_max; /* 12, 13; 0: any */
	struct etcd_jwt jwt;
	unsigned heartbeat_ms, election_ms, max_txn_ops, max_learners, bcrypt_cost, cert_years;
	uint64_t quota, max_request, token_ttl_ms, progress_ms;
	uint64_t scrub_ms; /* 0: the default */
	bool lease_checkpoints;
	/* One of both, or none. */
	uint64_t keep_ms;
	int64_t keep_revisions;
	bool no_sync;

	const char *warnings[ETCD_MAX_WARNINGS];
	size_t n_warnings;
	struct arena arena;
};

void etcd_config_init(struct etcd_config *);
void etcd_config_fini(struct etcd_config *);
/*
 * Flags and environment (`env`: NULL-terminated "NAME=value") into c->value. With c->help or c->version set nothing more is
 * looked at. With c->file set the values are empty: they come from that file.
 */
int etcd_config_read(struct etcd_config *, int argc, char **argv, char *const *env, struct err *);
int etcd_config_read_yaml(struct etcd_config *, struct str text, struct err *);
/* c->value into the rest. */
int etcd_config_check(struct etcd_config *, struct err *);
/* After that, the flags that say with whom a member begins or whom it joins: for a directory that is none yet. */
int etcd_config_check_initial(struct etcd_config *, struct err *);
int etcd_url_parse(struct arena *, struct str text, struct etcd_url *ret, struct err *);
/* "1h30m", "500ms"; false for anything else. */
bool etcd_duration_parse(struct str text, uint64_t *ret_ms);
void etcd_config_warn(struct etcd_config *, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

enum etcd_kind_of_flag { ETCD_TEXT, ETCD_BOOL, ETCD_NUMBER, ETCD_URLS, ETCD_DURATION };
enum etcd_use_of_flag { ETCD_USED, ETCD_QUIET, ETCD_WARNED, ETCD_REFUSED };
struct etcd_flag_row {
	const char *name;
	enum etcd_kind_of_flag kind;
	const char *otherwise; /* the default */
	enum etcd_use_of_flag use;
	const char *text;
};
extern const struct etcd_flag_row etcd_flags[ETCD_N_FLAGS];
/* The value, or the default. */
const char *etcd_value(const struct etcd_config *, enum etcd_flag);
bool etcd_value_bool(const struct etcd_config *, enum etcd_flag);
void etcd_config_print_help(FILE *);

#endif
