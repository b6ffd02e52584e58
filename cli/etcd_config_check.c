/* What the values mean, and whether they fit together: etcd's own rules, and what cannot be had here. */
#include <limits.h>
#include <string.h>

#include "base/util.h"
#include "cli/etcd_config.h"

#define MAX_ELECTION_MS 50000
/* Less room than a command may have: what a request grows by on its way. */
#define MAX_REQUEST ((uint64_t)5 << 19)
#define MAX_TXN_OPS 128
#define HOUR_MS 3600000

static int64_t number(const struct etcd_config *c, enum etcd_flag f)
{
	int64_t v = 0;

	str_to_i64(str_from(etcd_value(c, f)), &v);
	return v;
}

static const char *text(const struct etcd_config *c, enum etcd_flag f)
{
	const char *v = etcd_value(c, f);

	return *v ? v : NULL;
}

/* --- URLs ----------------------------------------------------------------------------------------------------------- */

static int check_host_port(struct str rest, struct str whole, struct err *e)
{
	ptrdiff_t colon = str_rfind(rest, ':');
	struct str port = colon < 0 ? STR_NULL : str_skip(rest, (size_t)colon + 1);
	int64_t n;

	if (colon <= 0 || !str_to_i64(port, &n) || n < 0 || n > 65535)
		return err_set(e, ERR_BAD_REQUEST, "URL \"%.*s\": must be of the form \"host:port\" behind the scheme", STR_FMT(whole));
	if (rest.p[0] != '[' && str_find(str_sub(rest, 0, (size_t)colon), ':') >= 0)
		return err_set(e, ERR_BAD_REQUEST, "URL \"%.*s\": put an IPv6 address into brackets", STR_FMT(whole));
	return 0;
}

int etcd_url_parse(struct arena *a, struct str s, struct etcd_url *ret, struct err *e)
{
	static const struct {
		const char *scheme;
		bool tls, is_unix;
	} schemes[] = {{"http://", false, false}, {"https://", true, false}, {"unix://", false, true}, {"unixs://", true, true}};
	struct str whole = str_trim(s), rest;
	size_t i = 0;
	int rc;

	for (size_t k = 0; k < whole.n; k++)
		if ((uint8_t)whole.p[k] <= ' ' || whole.p[k] == '|' || (uint8_t)whole.p[k] > '~')
			return err_set(e, ERR_BAD_REQUEST, "URL \"%.*s\": a URL is plain text without blanks", STR_FMT(whole));
	while (i < ARRAY_LEN(schemes) && !str_has_prefix(whole, str_from(schemes[i].scheme)))
		i++;
	if (i == ARRAY_LEN(schemes))
		return err_set(e, ERR_BAD_REQUEST, "URL \"%.*s\": the scheme must be http, https, unix or unixs", STR_FMT(whole));
	rest = str_skip(whole, strlen(schemes[i].scheme));
	if (rest.n > 0 && rest.p[rest.n - 1] == '/' && !schemes[i].is_unix)
		rest.n--;
	if (schemes[i].is_unix && rest.n == 0)
		return err_set(e, ERR_BAD_REQUEST, "URL \"%.*s\": it names no socket", STR_FMT(whole));
	if (!schemes[i].is_unix && str_find(rest, '/') >= 0)
		return err_set(e, ERR_BAD_REQUEST, "URL \"%.*s\": must not contain a path", STR_FMT(whole));
	rc = schemes[i].is_unix ? 0 : check_host_port(rest, whole, e);
	if (rc != 0)
		return rc;
	*ret = (struct etcd_url){.tls = schemes[i].tls, .is_unix = schemes[i].is_unix};
	ret->text = arena_printf(a, "%s%.*s", schemes[i].scheme, STR_FMT(rest));
	ret->address = arena_printf(a, "%s%.*s", ret->is_unix ? "unix:" : "", STR_FMT(rest));
	ret->host = ret->is_unix ? "" : arena_cstr(a, str_sub(rest, 0, (size_t)str_rfind(rest, ':')));
	return 0;
}

static int add_url(struct etcd_config *c, struct str one, struct etcd_urls *urls, const char *what, struct err *e)
{
	struct etcd_url u;
	int rc = etcd_url_parse(&c->arena, one, &u, e);

	if (rc != 0)
		return err_prefix(e, "%s", what);
	for (size_t i = 0; i < urls->n; i++)
		if (strcmp(urls->v[i].text, u.text) == 0)
			return 0;
	if (urls->n == ETCD_MAX_URLS)
		return err_set(e, ERR_BAD_REQUEST, "%s: at most %d URLs", what, ETCD_MAX_URLS);
	urls->v[urls->n++] = u;
	return 0;
}

static int read_urls(struct etcd_config *c, enum etcd_flag f, struct etcd_urls *urls, struct err *e)
{
	struct str rest = str_from(etcd_value(c, f)), one;
	const char *what = arena_printf(&c->arena, "--%s", etcd_flags[f].name);
	bool more = rest.n > 0;
	int rc = 0;

	urls->n = 0;
	while (rc == 0 && more) {
		more = str_cut(rest, ',', &one, &rest);
		rc = add_url(c, one, urls, what, e);
	}
	return rc;
}

/* An address to bind is one, not a name that might be anybody's. */
static int check_bind(const struct etcd_urls *urls, const char *what, struct err *e)
{
	for (size_t i = 0; i < urls->n; i++) {
		const char *host = urls->v[i].host;
		size_t digits = strspn(host, "0123456789.");

		if (urls->v[i].is_unix || host[0] == '[' || strcmp(host, "localhost") == 0 || (host[0] && host[digits] == '\0'))
			continue;
		return err_set(e, ERR_BAD_REQUEST, "--%s \"%s\": expected an IP address or localhost to listen on", what, urls->v[i].text);
	}
	return 0;
}

static int check_urls(struct etcd_config *c, struct err *e)
{
	struct etcd_urls more = {.n = 0};
	int rc = read_urls(c, ETCD_FLAG_LISTEN_CLIENT_URLS, &c->listen_client, e);

	if (rc == 0)
		rc = read_urls(c, ETCD_FLAG_LISTEN_CLIENT_HTTP_URLS, &more, e);
	for (size_t i = 0; rc == 0 && i < more.n; i++)
		rc = add_url(c, str_from(more.v[i].text), &c->listen_client, "--listen-client-http-urls", e);
	if (rc == 0)
		rc = read_urls(c, ETCD_FLAG_LISTEN_PEER_URLS, &c->listen_peer, e);
	if (rc == 0)
		rc = read_urls(c, ETCD_FLAG_LISTEN_METRICS_URLS, &c->listen_metrics, e);
	if (rc == 0)
		rc = read_urls(c, ETCD_FLAG_ADVERTISE_CLIENT_URLS, &c->advertise_client, e);
	if (rc == 0)
		rc = read_urls(c, ETCD_FLAG_INITIAL_ADVERTISE_PEER_URLS, &c->advertise_peer, e);
	if (rc == 0)
		rc = check_bind(&c->listen_client, "listen-client-urls", e);
	if (rc == 0)
		rc = check_bind(&c->listen_peer, "listen-peer-urls", e);
	if (rc == 0)
		rc = check_bind(&c->listen_metrics, "listen-metrics-urls", e);
	if (rc != 0)
		return rc;
	if (c->value[ETCD_FLAG_LISTEN_CLIENT_URLS] && !c->value[ETCD_FLAG_ADVERTISE_CLIENT_URLS])
		return err_set(e, ERR_BAD_REQUEST, "--advertise-client-urls is required when --listen-client-urls is set explicitly");
	if (c->listen_client.n + c->listen_metrics.n > ETCD_MAX_URLS)
		return err_set(e, ERR_BAD_REQUEST, "at most %d URLs to listen on for clients and metrics", ETCD_MAX_URLS);
	for (size_t i = 0; i < c->listen_peer.n; i++)
		if (c->listen_peer.v[i].is_unix || c->listen_peer.v[i].tls != c->listen_peer.v[0].tls)
			return err_set(e, ERR_BAD_REQUEST, "--listen-peer-urls: give http URLs, or https URLs, not both and no sockets");
	if (c->listen_peer.n == 0)
		return err_set(e, ERR_BAD_REQUEST, "--listen-peer-urls: give a URL");
	return 0;
}

/* --- The first cluster ------------------------------------------------------------------------------------------------ */

static struct etcd_member *member_named(struct etcd_config *c, struct str name)
{
	for (size_t i = 0; i < c->n_initial; i++)
		if (str_eqc(name, c->initial[i].name))
			return &c->initial[i];
	return NULL;
}

static int add_initial(struct etcd_config *c, struct str one, struct err *e)
{
	struct etcd_member *m;
	struct str name, url;

	if (!str_cut(one, '=', &name, &url) || str_trim(name).n == 0)
		return err_set(e, ERR_BAD_REQUEST, "--initial-cluster: \"%.*s\" is not of the form NAME=URL", STR_FMT(one));
	name = str_trim(name);
	m = member_named(c, name);
	if (m == NULL) {
		if (c->n_initial == ETCD_MAX_INITIAL)
			return err_set(e, ERR_BAD_REQUEST, "--initial-cluster: at most %d members", ETCD_MAX_INITIAL);
		m = &c->initial[c->n_initial++];
		*m = (struct etcd_member){.name = arena_cstr(&c->arena, name)};
	}
	return add_url(c, url, &m->peer, "--initial-cluster", e);
}

static bool has_url(const struct etcd_urls *urls, const char *text)
{
	for (size_t i = 0; i < urls->n; i++)
		if (strcmp(urls->v[i].text, text) == 0)
			return true;
	return false;
}

static int check_own_entry(struct etcd_config *c, struct err *e)
{
	struct etcd_member *self = member_named(c, str_from(c->name));

	if (self == NULL)
		return err_set(e, ERR_BAD_REQUEST, "couldn't find local name \"%s\" in the initial cluster configuration", c->name);
	if (c->advertise_peer.n == 0)
		return err_set(e, ERR_BAD_REQUEST, "--initial-advertise-peer-urls is empty");
	for (size_t i = 0; i < self->peer.n; i++)
		if (!has_url(&c->advertise_peer, self->peer.v[i].text))
			return err_set(e, ERR_BAD_REQUEST, "--initial-cluster has %s=%s but it is missing from --initial-advertise-peer-urls=%s",
					c->name, self->peer.v[i].text, etcd_value(c, ETCD_FLAG_INITIAL_ADVERTISE_PEER_URLS));
	for (size_t i = 0; i < c->advertise_peer.n; i++)
		if (!has_url(&self->peer, c->advertise_peer.v[i].text))
			return err_set(e, ERR_BAD_REQUEST, "--initial-advertise-peer-urls has %s but it is missing from --initial-cluster=%s",
					c->advertise_peer.v[i].text, etcd_value(c, ETCD_FLAG_INITIAL_CLUSTER));
	return 0;
}

int etcd_config_check_initial(struct etcd_config *c, struct err *e)
{
	const char *state = etcd_value(c, ETCD_FLAG_INITIAL_CLUSTER_STATE);
	struct str rest = str_from(etcd_value(c, ETCD_FLAG_INITIAL_CLUSTER)), one;
	bool more = rest.n > 0;
	int rc = 0;

	if (strcmp(state, "new") != 0 && strcmp(state, "existing") != 0)
		return err_set(e, ERR_BAD_REQUEST, "--initial-cluster-state \"%s\": must be new or existing", state);
	c->existing = strcmp(state, "existing") == 0;
	c->token = etcd_value(c, ETCD_FLAG_INITIAL_CLUSTER_TOKEN);
	while (rc == 0 && more) {
		more = str_cut(rest, ',', &one, &rest);
		rc = add_initial(c, one, e);
	}
	if (rc == 0 && c->n_initial == 0) {
		c->n_initial = 1;
		c->initial[0] = (struct etcd_member){.name = c->name, .peer = c->advertise_peer};
	}
	for (size_t i = 0; rc == 0 && i < c->n_initial; i++)
		for (size_t j = 0; rc == 0 && j < c->initial[i].peer.n; j++)
			if (c->initial[i].peer.v[j].tls != c->listen_peer.v[0].tls)
				rc = err_set(e, ERR_BAD_REQUEST, "--initial-cluster: %s is not %s, as --listen-peer-urls is", c->initial[i].peer.v[j].text,
						c->listen_peer.v[0].tls ? "https" : "http");
	return rc ? rc : check_own_entry(c, e);
}

/* --- TLS -------------------------------------------------------------------------------------------------------------- */

struct tls_flags {
	enum etcd_flag cert, key, ca, verify, automatic;
	const char *prefix;
};

static int check_tls(struct etcd_config *c, const struct tls_flags *f, bool wanted, struct etcd_tls *t, struct err *e)
{
	*t = (struct etcd_tls){.cert = text(c, f->cert), .key = text(c, f->key), .ca = text(c, f->ca)};
	t->verify = etcd_value_bool(c, f->verify) || t->ca != NULL;
	t->self_signed = etcd_value_bool(c, f->automatic) && t->cert == NULL && t->key == NULL;
	if ((t->cert == NULL) != (t->key == NULL))
		return err_set(e, ERR_BAD_REQUEST, "--%scert-file and --%skey-file must both be present, or both be absent", f->prefix, f->prefix);
	if (etcd_value_bool(c, f->automatic) && !t->self_signed)
		etcd_config_warn(c, "--%sauto-tls is not looked at: certificate and key files are given", f->prefix);
	if (!wanted) {
		if (t->cert != NULL)
			etcd_config_warn(c, "--%scert-file and --%skey-file are not looked at: no %sURL is https", f->prefix, f->prefix,
					*f->prefix ? "peer " : "client ");
		return 0;
	}
	if (t->cert == NULL && !t->self_signed)
		return err_set(e, ERR_BAD_REQUEST, "cannot listen with TLS: --%scert-file and --%skey-file are not given", f->prefix, f->prefix);
	if (t->verify && t->ca == NULL && t->self_signed)
		return err_set(e, ERR_BAD_REQUEST, "--%sclient-cert-auth needs --%strusted-ca-file", f->prefix, f->prefix);
	return 0;
}

static bool any_tls(const struct etcd_urls *urls)
{
	for (size_t i = 0; i < urls->n; i++)
		if (urls->v[i].tls)
			return true;
	return false;
}

static const char *const *words(struct etcd_config *c, const char *list)
{
	struct str rest = str_from(list), one;
	const char **v = arena_new_array(&c->arena, const char *, strlen(list) + 2);
	size_t n = 0;
	bool more = rest.n > 0;

	while (more) {
		more = str_cut(rest, ',', &one, &rest);
		one = str_trim(one);
		if (one.n > 0)
			v[n++] = arena_cstr(&c->arena, one);
	}
	return n ? v : NULL;
}

static int tls_version(struct etcd_config *c, enum etcd_flag f, int *ret, struct err *e)
{
	const char *v = etcd_value(c, f);

	*ret = strcmp(v, "TLS1.2") == 0 ? 12 : strcmp(v, "TLS1.3") == 0 ? 13 : 0;
	if (*ret == 0 && *v)
		return err_set(e, ERR_BAD_REQUEST, "--%s \"%s\": must be TLS1.2 or TLS1.3", etcd_flags[f].name, v);
	return 0;
}

static int check_versions(struct etcd_config *c, struct err *e)
{
	int rc = tls_version(c, ETCD_FLAG_TLS_MIN_VERSION, &c->tls_min, e);

	if (rc == 0)
		rc = tls_version(c, ETCD_FLAG_TLS_MAX_VERSION, &c->tls_max, e);
	if (rc == 0 && c->tls_max && c->tls_max < c->tls_min)
		rc = err_set(e, ERR_BAD_REQUEST, "--tls-min-version is above --tls-max-version");
	return rc;
}

static int check_security(struct etcd_config *c, struct err *e)
{
	static const struct tls_flags client = {ETCD_FLAG_CERT_FILE, ETCD_FLAG_KEY_FILE, ETCD_FLAG_TRUSTED_CA_FILE,
			ETCD_FLAG_CLIENT_CERT_AUTH, ETCD_FLAG_AUTO_TLS, ""};
	static const struct tls_flags peer = {ETCD_FLAG_PEER_CERT_FILE, ETCD_FLAG_PEER_KEY_FILE, ETCD_FLAG_PEER_TRUSTED_CA_FILE,
			ETCD_FLAG_PEER_CLIENT_CERT_AUTH, ETCD_FLAG_PEER_AUTO_TLS, "peer-"};
	int rc = check_tls(c, &client, any_tls(&c->listen_client) || any_tls(&c->listen_metrics), &c->client, e);

	if (rc == 0)
		rc = check_tls(c, &peer, any_tls(&c->listen_peer), &c->peer, e);
	if (rc != 0)
		return rc;
	c->peer.dial_cert = text(c, ETCD_FLAG_PEER_CLIENT_CERT_FILE);
	c->peer.dial_key = text(c, ETCD_FLAG_PEER_CLIENT_KEY_FILE);
	if ((c->peer.dial_cert == NULL) != (c->peer.dial_key == NULL))
		return err_set(e, ERR_BAD_REQUEST, "--peer-client-cert-file and --peer-client-key-file must both be present, or both be absent");
	c->peer.cns = words(c, etcd_value(c, ETCD_FLAG_PEER_CERT_ALLOWED_CN));
	if (c->peer.cns && !c->peer.verify)
		return err_set(e, ERR_BAD_REQUEST, "--peer-cert-allowed-cn needs --peer-client-cert-auth and --peer-trusted-ca-file");
	c->peer.hosts = words(c, etcd_value(c, ETCD_FLAG_PEER_CERT_ALLOWED_HOSTNAME));
	c->client.hosts = words(c, etcd_value(c, ETCD_FLAG_CLIENT_CERT_ALLOWED_HOSTNAME));
	c->peer.crl = text(c, ETCD_FLAG_PEER_CRL_FILE);
	c->client.crl = text(c, ETCD_FLAG_CLIENT_CRL_FILE);
	if ((c->peer.hosts || c->peer.crl) && !c->peer.verify)
		return err_set(e, ERR_BAD_REQUEST, "--peer-cert-allowed-hostname and --peer-crl-file need --peer-client-cert-auth and --peer-trusted-ca-file");
	if ((c->client.hosts || c->client.crl) && !c->client.verify)
		return err_set(e, ERR_BAD_REQUEST, "--client-cert-allowed-hostname and --client-crl-file need --client-cert-auth and --trusted-ca-file");
	if (c->peer.hosts && c->peer.cns)
		return err_set(e, ERR_BAD_REQUEST, "--peer-cert-allowed-cn and --peer-cert-allowed-hostname cannot be used at once");
	c->ciphers = words(c, etcd_value(c, ETCD_FLAG_CIPHER_SUITES));
	rc = check_versions(c, e);
	if (rc != 0)
		return rc;
	c->cert_years = (unsigned)number(c, ETCD_FLAG_SELF_SIGNED_CERT_VALIDITY);
	if (c->cert_years < 1 || c->cert_years > 100)
		return err_set(e, ERR_BAD_REQUEST, "--self-signed-cert-validity: 1 to 100 years");
	return 0;
}

/* --- Figures ------------------------------------------------------------------------------------------------------------ */

static int in_range(const struct etcd_config *c, enum etcd_flag f, int64_t min, int64_t max, struct err *e)
{
	int64_t v = number(c, f);

	if (v >= min && v <= max)
		return 0;
	return err_set(e, ERR_BAD_REQUEST, "--%s=%lld: must be from %lld to %lld", etcd_flags[f].name, (long long)v, (long long)min,
			(long long)max);
}

static int check_timing(struct etcd_config *c, struct err *e)
{
	int rc = in_range(c, ETCD_FLAG_HEARTBEAT_INTERVAL, 1, MAX_ELECTION_MS, e);

	if (rc == 0)
		rc = in_range(c, ETCD_FLAG_ELECTION_TIMEOUT, 1, MAX_ELECTION_MS, e);
	if (rc != 0)
		return rc;
	c->heartbeat_ms = (unsigned)number(c, ETCD_FLAG_HEARTBEAT_INTERVAL);
	c->election_ms = (unsigned)number(c, ETCD_FLAG_ELECTION_TIMEOUT);
	/* Our defaults are quicker than etcd's; who gives one of the two for a slow network gets the other one to match. */
	if (c->value[ETCD_FLAG_HEARTBEAT_INTERVAL] && !c->value[ETCD_FLAG_ELECTION_TIMEOUT])
		c->election_ms = MIN(MAX(c->election_ms, 10 * c->heartbeat_ms), MAX_ELECTION_MS);
	if (c->value[ETCD_FLAG_ELECTION_TIMEOUT] && !c->value[ETCD_FLAG_HEARTBEAT_INTERVAL])
		c->heartbeat_ms = MAX(MIN(c->election_ms / 5, 100), 1);
	if (5 * c->heartbeat_ms > c->election_ms)
		return err_set(e, ERR_BAD_REQUEST, "--election-timeout[%ums] should be at least as 5 times as --heartbeat-interval[%ums]",
				c->election_ms, c->heartbeat_ms);
	return 0;
}

static int check_compaction(struct etcd_config *c, struct err *e)
{
	const char *mode = etcd_value(c, ETCD_FLAG_AUTO_COMPACTION_MODE), *keep = etcd_value(c, ETCD_FLAG_AUTO_COMPACTION_RETENTION);
	int64_t n = 0;
	bool plain = str_to_i64(str_from(keep), &n);

	if (strcmp(mode, "periodic") != 0 && strcmp(mode, "revision") != 0)
		return err_set(e, ERR_BAD_REQUEST, "--auto-compaction-mode \"%s\": must be periodic or revision", mode);
	if (plain ? n < 0 || n > INT64_MAX / HOUR_MS / 2 : !etcd_duration_parse(str_from(keep), &c->keep_ms) || mode[0] == 'r')
		return err_set(e, ERR_BAD_REQUEST, "--auto-compaction-retention \"%s\": must be %s", keep,
				mode[0] == 'p' ? "hours, or a duration such as 5m" : "a number of revisions");
	if (plain && mode[0] == 'p')
		c->keep_ms = (uint64_t)n * HOUR_MS;
	else if (plain)
		c->keep_revisions = n;
	return 0;
}

static int check_figures(struct etcd_config *c, struct err *e)
{
	int rc = check_timing(c, e);

	if (rc == 0)
		rc = check_compaction(c, e);
	if (rc == 0)
		rc = in_range(c, ETCD_FLAG_MAX_REQUEST_BYTES, 1, MAX_REQUEST, e);
	if (rc == 0)
		rc = in_range(c, ETCD_FLAG_MAX_TXN_OPS, 1, MAX_TXN_OPS, e);
	if (rc == 0)
		rc = in_range(c, ETCD_FLAG_BCRYPT_COST, 4, 31, e);
	if (rc == 0)
		rc = in_range(c, ETCD_FLAG_AUTH_TOKEN_TTL, 1, INT_MAX, e);
	if (rc == 0)
		rc = in_range(c, ETCD_FLAG_MAX_LEARNERS, 1, ETCD_MAX_INITIAL, e);
	if (rc == 0)
		rc = in_range(c, ETCD_FLAG_X_MAX_LEARNERS, 1, ETCD_MAX_INITIAL, e);
	if (rc != 0)
		return rc;
	c->max_request = (uint64_t)number(c, ETCD_FLAG_MAX_REQUEST_BYTES);
	c->max_txn_ops = (unsigned)number(c, ETCD_FLAG_MAX_TXN_OPS);
	c->bcrypt_cost = (unsigned)number(c, ETCD_FLAG_BCRYPT_COST);
	c->token_ttl_ms = (uint64_t)number(c, ETCD_FLAG_AUTH_TOKEN_TTL) * 1000;
	c->max_learners = (unsigned)number(c, c->value[ETCD_FLAG_X_MAX_LEARNERS] ? ETCD_FLAG_X_MAX_LEARNERS : ETCD_FLAG_MAX_LEARNERS);
	/* etcd takes a negative quota for "none". */
	c->quota = number(c, ETCD_FLAG_QUOTA_BACKEND_BYTES) < 0 ? UINT64_MAX : (uint64_t)number(c, ETCD_FLAG_QUOTA_BACKEND_BYTES);
	etcd_duration_parse(str_from(etcd_value(c, c->value[ETCD_FLAG_X_WATCH_PROGRESS] ? ETCD_FLAG_X_WATCH_PROGRESS
											: ETCD_FLAG_WATCH_PROGRESS_NOTIFY_INTERVAL)),
			&c->progress_ms);
	if (c->progress_ms < 100 || c->progress_ms > UINT_MAX)
		return err_set(e, ERR_BAD_REQUEST, "--watch-progress-notify-interval: must be 100ms or more");
	return 0;
}

/* --- The rest ----------------------------------------------------------------------------------------------------------- */

static bool is_default(const struct etcd_flag_row *r, const char *value)
{
	uint64_t ms, otherwise;

	if (r->kind == ETCD_DURATION && etcd_duration_parse(str_from(value), &ms) && etcd_duration_parse(str_from(r->otherwise), &otherwise))
		return ms == otherwise;
	return strcmp(value, r->otherwise) == 0;
}

static int check_uses(struct etcd_config *c, struct err *e)
{
	for (int i = 0; i < ETCD_N_FLAGS; i++) {
		const struct etcd_flag_row *r = &etcd_flags[i];

		if (c->value[i] == NULL || is_default(r, c->value[i]))
			continue;
		if (r->use == ETCD_REFUSED)
			return err_set(e, ERR_BAD_REQUEST, "--%s cannot be had: %s", r->name, r->text);
		if (r->use == ETCD_WARNED)
			etcd_config_warn(c, "--%s=%s changes nothing: %s", r->name, c->value[i], r->text);
	}
	return 0;
}

/* "jwt,sign-method=RS256,priv-key=FILE,pub-key=FILE,ttl=5m" */
static int check_token(struct etcd_config *c, struct err *e)
{
	const char *text = etcd_value(c, ETCD_FLAG_AUTH_TOKEN);
	struct str rest = str_from(text), one, name, value;
	bool more = str_cut(rest, ',', &one, &rest);

	c->jwt = (struct etcd_jwt){.ttl_ms = 300000};
	if (str_eqc(one, "simple") && !more)
		return 0;
	if (!str_eqc(one, "jwt"))
		return err_set(e, ERR_BAD_REQUEST, "--auth-token \"%s\": must be simple, or jwt with its options", text);
	while (more) {
		more = str_cut(rest, ',', &one, &rest);
		if (!str_cut(one, '=', &name, &value) || value.n == 0)
			return err_set(e, ERR_BAD_REQUEST, "--auth-token: \"%.*s\" is not of the form NAME=VALUE", STR_FMT(one));
		if (str_eqc(name, "sign-method"))
			c->jwt.method = arena_cstr(&c->arena, value);
		else if (str_eqc(name, "priv-key"))
			c->jwt.private_path = arena_cstr(&c->arena, value);
		else if (str_eqc(name, "pub-key"))
			c->jwt.public_path = arena_cstr(&c->arena, value);
		else if (!str_eqc(name, "ttl"))
			return err_set(e, ERR_BAD_REQUEST, "--auth-token: jwt has no option \"%.*s\"", STR_FMT(name));
		else if (!etcd_duration_parse(value, &c->jwt.ttl_ms) || c->jwt.ttl_ms < 1000)
			return err_set(e, ERR_BAD_REQUEST, "--auth-token: ttl=%.*s must be a duration of a second or more, such as 5m", STR_FMT(value));
	}
	if (c->jwt.method == NULL)
		return err_set(e, ERR_BAD_REQUEST, "--auth-token: jwt needs sign-method");
	if (c->jwt.private_path == NULL && c->jwt.public_path == NULL)
		return err_set(e, ERR_BAD_REQUEST, "--auth-token: jwt needs priv-key to make tokens, or pub-key to check those of other members");
	return 0;
}

static int check_words(struct etcd_config *c, struct err *e)
{
	static const char *const levels[] = {"debug", "info", "warn", "error", "dpanic", "panic", "fatal"};
	static const char *const ours[] = {"debug", "info", "warn", "error", "error", "error", "error"};
	const char *level = etcd_value(c, ETCD_FLAG_LOG_LEVEL), *comma;

	c->name = etcd_value(c, ETCD_FLAG_NAME);
	c->data_dir = text(c, ETCD_FLAG_DATA_DIR);
	if (c->data_dir == NULL)
		c->data_dir = arena_printf(&c->arena, "%s.etcd", c->name);
	for (size_t i = 0; i < ARRAY_LEN(levels); i++)
		c->log_level = strcmp(level, levels[i]) == 0 ? ours[i] : c->log_level;
	if (c->log_level == NULL)
		return err_set(e, ERR_BAD_REQUEST, "--log-level \"%s\": must be debug, info, warn, error, panic or fatal", level);
	if (etcd_value_bool(c, ETCD_FLAG_DEBUG))
		c->log_level = "debug";
	c->log_output = etcd_value(c, ETCD_FLAG_LOG_OUTPUTS);
	comma = strchr(c->log_output, ',');
	if (comma != NULL) {
		etcd_config_warn(c, "--log-outputs: only the first, of \"%s\", is written", c->log_output);
		c->log_output = arena_cstr(&c->arena, str_of(c->log_output, (size_t)(comma - c->log_output)));
	}
	c->lease_checkpoints = etcd_value_bool(c, ETCD_FLAG_X_LEASE_CHECKPOINT);
	(void)etcd_duration_parse(str_from(etcd_value(c, c->value[ETCD_FLAG_X_CORRUPT_CHECK_TIME] ? ETCD_FLAG_X_CORRUPT_CHECK_TIME
												: ETCD_FLAG_CORRUPT_CHECK_TIME)),
				  &c->scrub_ms);
	c->no_sync = etcd_value_bool(c, ETCD_FLAG_UNSAFE_NO_FSYNC);
	return check_token(c, e);
}

int etcd_config_check(struct etcd_config *c, struct err *e)
{
	int rc = check_uses(c, e);

	if (rc == 0)
		rc = check_words(c, e);
	if (rc == 0)
		rc = check_urls(c, e);
	if (rc == 0)
		rc = check_security(c, e);
	return rc ? rc : check_figures(c, e);
}
