/* Where the values come from: the command line, the environment, a file. What they mean: etcd_config_check.c. */
#include "cli/etcd_config.h"

#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#include "base/util.h"
#include "base/buf.h"
#include "proto/json.h"
#include "proto/yaml.h"

const struct etcd_flag_row etcd_flags[ETCD_N_FLAGS] = {
#define SECTION(title)
#define FLAG(id, name, kind, otherwise, use, text) [ETCD_FLAG_##id] = {name, ETCD_##kind, otherwise, ETCD_##use, text},
#include "cli/etcd_flags.def"
#undef FLAG
#undef SECTION
};

#define ENV_PREFIX "ETCD_"
#define NAME_SIZE 80

/* --- Small things ------------------------------------------------------------------------------------------------- */

void etcd_config_init(struct etcd_config *c)
{
	*c = (struct etcd_config){0};
	arena_init(&c->arena);
}

void etcd_config_fini(struct etcd_config *c)
{
	arena_fini(&c->arena);
}

void etcd_config_warn(struct etcd_config *c, const char *fmt, ...)
{
	va_list ap;

	if (c->n_warnings == ETCD_MAX_WARNINGS)
		return;
	va_start(ap, fmt);
	c->warnings[c->n_warnings++] = arena_vprintf(&c->arena, fmt, ap);
	va_end(ap);
}

const char *etcd_value(const struct etcd_config *c, enum etcd_flag f)
{
	return c->value[f] ? c->value[f] : etcd_flags[f].otherwise;
}

bool etcd_value_bool(const struct etcd_config *c, enum etcd_flag f)
{
	return strcmp(etcd_value(c, f), "true") == 0;
}

static int find_flag(struct str name)
{
	for (int i = 0; i < ETCD_N_FLAGS; i++)
		if (str_eqc(name, etcd_flags[i].name))
			return i;
	return -1;
}

/* "data-dir" is ETCD_DATA_DIR. */
static void env_name(const char *flag, char out[NAME_SIZE])
{
	size_t n = strlen(ENV_PREFIX);

	memcpy(out, ENV_PREFIX, n);
	for (const char *p = flag; *p && n < NAME_SIZE - 1; p++)
		out[n++] = (char)(*p == '-' ? '_' : *p >= 'a' && *p <= 'z' ? *p - 'a' + 'A' : *p);
	out[n] = '\0';
}

bool etcd_duration_parse(struct str s, uint64_t *ret_ms)
{
	static const struct {
		const char *unit;
		double ms;
	} units[] = {{"ms", 1}, {"us", 0.001}, {"ns", 0.000001}, {"h", 3600000}, {"m", 60000}, {"s", 1000}};
	double total = 0;

	if (str_eqc(s, "0")) {
		*ret_ms = 0;
		return true;
	}
	if (s.n == 0)
		return false;
	while (s.n > 0) {
		double v = 0, scale = 1;
		size_t i = 0, u = 0;
		bool point = false, digits = false;

		for (; i < s.n && ((s.p[i] >= '0' && s.p[i] <= '9') || (s.p[i] == '.' && !point)); i++) {
			if (s.p[i] == '.') {
				point = true;
				continue;
			}
			digits = true;
			v = v * 10 + (s.p[i] - '0');
			scale = point ? scale * 10 : scale;
		}
		s = str_skip(s, i);
		while (u < ARRAY_LEN(units) && !str_has_prefix(s, str_from(units[u].unit)))
			u++;
		if (!digits || u == ARRAY_LEN(units))
			return false;
		s = str_skip(s, strlen(units[u].unit));
		total += v / scale * units[u].ms;
	}
	if (total > 1e15)
		return false;
	*ret_ms = (uint64_t)total;
	return true;
}

/* Go's words for booleans, as "true" and "false". */
static const char *bool_word(const char *v)
{
	static const char *const yes[] = {"1", "t", "T", "true", "TRUE", "True"}, *const no[] = {"0", "f", "F", "false", "FALSE", "False"};

	for (size_t i = 0; i < ARRAY_LEN(yes); i++) {
		if (strcmp(v, yes[i]) == 0)
			return "true";
		if (strcmp(v, no[i]) == 0)
			return "false";
	}
	return NULL;
}

/* `where` is how the user wrote it: "--name", "ETCD_NAME", "name in FILE". */
static int set(struct etcd_config *c, int flag, const char *value, const char *where, struct err *e)
{
	int64_t number;
	uint64_t ms;

	switch (etcd_flags[flag].kind) {
	case ETCD_BOOL:
		if (bool_word(value) == NULL)
			return err_set(e, ERR_BAD_REQUEST, "invalid value \"%s\" for %s: must be true or false", value, where);
		value = bool_word(value);
		break;
	case ETCD_NUMBER:
		if (!str_to_i64(str_from(value), &number))
			return err_set(e, ERR_BAD_REQUEST, "invalid value \"%s\" for %s: must be a whole number", value, where);
		break;
	case ETCD_DURATION:
		if (!etcd_duration_parse(str_from(value), &ms))
			return err_set(e, ERR_BAD_REQUEST, "invalid value \"%s\" for %s: must be a duration such as 10s or 1h30m", value, where);
		break;
	default:
		break;
	}
	c->value[flag] = value;
	return 0;
}

/* --- The command line, as Go's flag package reads it ------------------------------------------------------------- */

/* "--name=value", "-name value"; a boolean takes its value only behind "=". *i is moved over what was used. */
static int read_flag(struct etcd_config *c, int argc, char **argv, int *i, struct err *e)
{
	const char *word = argv[*i], *value = strchr(word, '=');
	struct str name;
	int flag;

	word += 1 + (word[1] == '-');
	name = value ? str_of(word, (size_t)(value - word)) : str_from(word);
	value = value ? value + 1 : NULL;
	if (str_eqc(name, "h") || str_eqc(name, "help")) {
		c->help = true;
		return 0;
	}
	if (str_eqc(name, "version")) {
		c->version = value == NULL || bool_word(value) == NULL || strcmp(bool_word(value), "true") == 0;
		return 0;
	}
	flag = find_flag(name);
	if (flag < 0 && !str_eqc(name, "config-file"))
		return err_set(e, ERR_BAD_REQUEST, "flag provided but not defined: --%.*s", STR_FMT(name));
	if (value == NULL && flag >= 0 && etcd_flags[flag].kind == ETCD_BOOL)
		value = "true";
	if (value == NULL) {
		if (*i + 1 >= argc)
			return err_set(e, ERR_BAD_REQUEST, "flag needs an argument: --%.*s", STR_FMT(name));
		value = argv[++*i];
	}
	if (flag < 0) {
		c->file = value;
		return 0;
	}
	return set(c, flag, value, arena_printf(&c->arena, "--%.*s", STR_FMT(name)), e);
}

static int read_args(struct etcd_config *c, int argc, char **argv, struct err *e)
{
	int rc = 0;

	for (int i = 0; rc == 0 && i < argc && !c->help && !c->version; i++) {
		const char *w = argv[i];

		if (w[0] != '-' || w[1] == '\0' || strcmp(w, "--") == 0)
			return err_set(e, ERR_BAD_REQUEST, "\"%s\" is not a valid flag", w);
		rc = read_flag(c, argc, argv, &i, e);
	}
	return rc;
}

/* --- The environment ------------------------------------------------------------------------------------------------ */

static int read_env(struct etcd_config *c, char *const *env, struct err *e)
{
	for (; *env; env++) {
		const char *eq = strchr(*env, '=');
		char want[NAME_SIZE];
		struct str name;
		int rc, flag = -1;

		if (eq == NULL || eq[1] == '\0' || strncmp(*env, ENV_PREFIX, strlen(ENV_PREFIX)) != 0)
			continue;
		name = str_of(*env, (size_t)(eq - *env));
		for (int i = 0; i < ETCD_N_FLAGS && flag < 0; i++) {
			env_name(etcd_flags[i].name, want);
			flag = str_eqc(name, want) ? i : -1;
		}
		if (str_eqc(name, "ETCD_CONFIG_FILE")) {
			c->file = c->file ? c->file : eq + 1;
			continue;
		}
		if (flag < 0) {
			/* Kubernetes puts ETCD_SERVICE_HOST and the like into pods: not ours to refuse. */
			etcd_config_warn(c, "unrecognized environment variable %.*s", STR_FMT(name));
		} else if (c->value[flag] != NULL) {
			etcd_config_warn(c, "%.*s in the environment is not looked at: --%s is on the command line", STR_FMT(name),
					etcd_flags[flag].name);
		} else {
			rc = set(c, flag, eq + 1, arena_cstr(&c->arena, name), e);
			if (rc != 0)
				return rc;
		}
	}
	return 0;
}

/* --- The file ------------------------------------------------------------------------------------------------------- */

/* etcd's names within client-transport-security and peer-transport-security. */
static const struct {
	const char *key;
	enum etcd_flag client, peer;
} tls_keys[] = {
	{"cert-file", ETCD_FLAG_CERT_FILE, ETCD_FLAG_PEER_CERT_FILE},
	{"key-file", ETCD_FLAG_KEY_FILE, ETCD_FLAG_PEER_KEY_FILE},
	{"client-cert-file", ETCD_FLAG_CLIENT_CERT_FILE, ETCD_FLAG_PEER_CLIENT_CERT_FILE},
	{"client-key-file", ETCD_FLAG_CLIENT_KEY_FILE, ETCD_FLAG_PEER_CLIENT_KEY_FILE},
	{"client-cert-auth", ETCD_FLAG_CLIENT_CERT_AUTH, ETCD_FLAG_PEER_CLIENT_CERT_AUTH},
	{"trusted-ca-file", ETCD_FLAG_TRUSTED_CA_FILE, ETCD_FLAG_PEER_TRUSTED_CA_FILE},
	{"auto-tls", ETCD_FLAG_AUTO_TLS, ETCD_FLAG_PEER_AUTO_TLS},
	{"crl-file", ETCD_FLAG_CLIENT_CRL_FILE, ETCD_FLAG_PEER_CRL_FILE},
	{"skip-client-san-verification", ETCD_FLAG_PEER_SKIP_SAN, ETCD_FLAG_PEER_SKIP_SAN},
	{"allowed-cn", ETCD_N_FLAGS, ETCD_FLAG_PEER_CERT_ALLOWED_CN},
	{"allowed-cns", ETCD_N_FLAGS, ETCD_FLAG_PEER_CERT_ALLOWED_CN},
	{"allowed-hostname", ETCD_FLAG_CLIENT_CERT_ALLOWED_HOSTNAME, ETCD_FLAG_PEER_CERT_ALLOWED_HOSTNAME},
	{"allowed-hostnames", ETCD_FLAG_CLIENT_CERT_ALLOWED_HOSTNAME, ETCD_FLAG_PEER_CERT_ALLOWED_HOSTNAME},
};

/* A scalar as the text that a flag would have; a list becomes one with commas. NULL: not that. */
static const char *yaml_text(struct etcd_config *c, const struct json *v)
{
	struct buf b = BUF_INIT;
	const char *text;

	switch (v->type) {
	case JSON_BOOL:
		return v->b ? "true" : "false";
	case JSON_NUMBER:
	case JSON_STRING:
		return memchr(v->s.p ? v->s.p : "", '\0', v->s.n) ? NULL : arena_cstr(&c->arena, v->s);
	case JSON_ARRAY:
		for (uint32_t i = 0; i < v->n; i++) {
			const char *one = v->items[i]->type == JSON_ARRAY ? NULL : yaml_text(c, v->items[i]);

			if (one == NULL) {
				buf_fini(&b);
				return NULL;
			}
			buf_addc(&b, i ? "," : "");
			buf_addc(&b, one);
		}
		text = arena_strdup(&c->arena, b.p ? b.p : "");
		buf_fini(&b);
		return text;
	default:
		return NULL;
	}
}

static int set_yaml(struct etcd_config *c, int flag, const char *section, struct str key, const struct json *v, struct err *e)
{
	const char *where = arena_printf(&c->arena, "%s%.*s in the configuration file", section, STR_FMT(key)), *text;
	int64_t ns;

	if (v->type == JSON_NULL)
		return 0;
	text = yaml_text(c, v);
	if (text == NULL)
		return err_set(e, ERR_BAD_REQUEST, "%s: must be a plain value or a list of them", where);
	/* In a file etcd counts durations in nanoseconds. */
	if (etcd_flags[flag].kind == ETCD_DURATION && v->type == JSON_NUMBER)
		text = str_to_i64(str_from(text), &ns) && ns >= 0 ? arena_printf(&c->arena, "%" PRId64 "ms", ns / 1000000) : text;
	/* etcd writes an empty text for "not set". */
	return *text == '\0' ? 0 : set(c, flag, text, where, e);
}

static int read_tls_section(struct etcd_config *c, const struct json_member *m, bool peer, struct err *e)
{
	const char *section = peer ? "peer-transport-security." : "client-transport-security.";
	int rc = 0;

	if (m->value->type == JSON_NULL)
		return 0;
	if (m->value->type != JSON_OBJECT)
		return err_set(e, ERR_BAD_REQUEST, "%.*s in the configuration file: must be a section", STR_FMT(m->key));
	for (uint32_t i = 0; rc == 0 && i < m->value->n; i++) {
		struct str key = m->value->members[i].key;
		int flag = ETCD_N_FLAGS;

		for (size_t k = 0; k < ARRAY_LEN(tls_keys); k++)
			if (str_eqc(key, tls_keys[k].key))
				flag = (int)(peer ? tls_keys[k].peer : tls_keys[k].client);
		if (flag == ETCD_N_FLAGS)
			return err_set(e, ERR_BAD_REQUEST, "unknown key %s%.*s in the configuration file", section, STR_FMT(key));
		rc = set_yaml(c, flag, section, key, m->value->members[i].value, e);
	}
	return rc;
}

int etcd_config_read_yaml(struct etcd_config *c, struct str text, struct err *e)
{
	struct json *doc;
	int rc = yaml_parse(&c->arena, text, &doc, e);

	if (rc != 0)
		return rc;
	if (doc->type == JSON_NULL)
		return 0;
	if (doc->type != JSON_OBJECT)
		return err_set(e, ERR_BAD_REQUEST, "the configuration file must have lines such as \"name: value\"");
	for (uint32_t i = 0; rc == 0 && i < doc->n; i++) {
		const struct json_member *m = &doc->members[i];
		int flag = find_flag(m->key);

		if (str_eqc(m->key, "client-transport-security") || str_eqc(m->key, "peer-transport-security"))
			rc = read_tls_section(c, m, m->key.p[0] == 'p', e);
		else if (flag < 0)
			rc = err_set(e, ERR_BAD_REQUEST, "unknown key %.*s in the configuration file", STR_FMT(m->key));
		else
			rc = set_yaml(c, flag, "", m->key, m->value, e);
	}
	return rc;
}

int etcd_config_read(struct etcd_config *c, int argc, char **argv, char *const *env, struct err *e)
{
	int rc = read_args(c, argc, argv, e);
	bool flags = false;

	for (int i = 0; i < ETCD_N_FLAGS; i++)
		flags = flags || c->value[i];
	if (rc != 0 || c->help || c->version)
		return rc;
	rc = read_env(c, env, e);
	if (rc != 0 || c->file == NULL)
		return rc;
	c->n_warnings = 0;
	if (flags)
		etcd_config_warn(c, "the other flags and the environment are not looked at: the configuration file %s is all", c->file);
	memset(c->value, 0, sizeof(c->value));
	return 0;
}

/* --- Help ----------------------------------------------------------------------------------------------------------- */

static void print_row(FILE *out, const struct etcd_flag_row *r)
{
	char left[100];

	snprintf(left, sizeof(left), "--%s '%s'", r->name, r->otherwise);
	if (r->use == ETCD_USED)
		fprintf(out, "  %-50s %s\n", left, r->text);
	else if (r->use == ETCD_QUIET)
		fprintf(out, "  %-50s (accepted; it changes nothing)\n", left);
	else
		fprintf(out, "  %-50s (%s: %s)\n", left, r->use == ETCD_WARNED ? "accepted with a warning" : "refused", r->text);
}

void etcd_config_print_help(FILE *out)
{
	fprintf(out, "usage: kontiki etcd [FLAGS]\n\n"
		     "The replicated store alone, in place of the etcd program: its flags, its ETCD_ environment variables\n"
		     "(ETCD_DATA_DIR for --data-dir), its configuration file, its API. See doc/etcd-program.md.\n\n"
		     "  --config-file FILE   take everything from this YAML file and nothing from flags and environment\n"
		     "  --version            print the version and exit\n");
#define SECTION(title) fprintf(out, "\n%s\n", title);
#define FLAG(id, name, kind, otherwise, use, text) print_row(out, &etcd_flags[ETCD_FLAG_##id]);
#include "cli/etcd_flags.def"
#undef FLAG
#undef SECTION
}
