#include "cli/rotate.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/util.h"
#include "cli/local.h"
#include "cli/pki.h"
#include "proto/json.h"

#define PATH "/kontiki/v1/pki"
#define LOOK_MS 1000
/* Servers tell within two seconds who came to them. */
#define SETTLE_S 4

/* What each step does, said before it is done. */
static const struct {
	const char *verb, *begin, *retire;
} texts[ROTATION_N] = {
	[ROTATION_CA] = {"rotate-ca",
		"Replaces the cluster's CA while everything runs, in two steps.\n\n"
		"The first step\n"
		"  1. makes a new CA. Every server and node is told to trust it beside the old one; so are pods, by kube-root-ca.crt.\n"
		"     Nothing uses it yet, and --cancel takes it back.\n"
		"  2. when all of them trust it, lets the new CA sign. Every server and node gets new keys and certificates, also for the members'\n"
		"     own connections; admin.kubeconfig and pki/join.token are written anew. The API shows its certificate with the new CA\n"
		"     signed by the old one, so that clients which know only the old CA go on, with the certificates that they have.\n"
		"The second step, --retire, ends the trust in the old CA. What then stops to work: kubeconfigs that hold the old CA or a\n"
		"certificate that it signed, and tokens to join with that were handed out before (take the new pki/join.token, or make\n"
		"others with `kontiki token create`). It refuses while a server or node has certificates of the old CA, or somebody has\n"
		"come with one in the last half minute.\n"
		"Nothing restarts. The command may be stopped at any time and given again: it goes on where the cluster stands.\n",
		"Ends the trust in the old CA: kubeconfigs that hold it, or a certificate that it signed, and tokens to join with from before\n"
		"stop working. Servers and nodes get certificates without its signature.\n"},
	[ROTATION_SA] = {"rotate-sa",
		"Replaces the key that signs service-account tokens while everything runs, in two steps.\n\n"
		"The first step\n"
		"  1. makes a new key; every server learns to accept its tokens, and publishes it (/openid/v1/jwks). --cancel takes it back.\n"
		"  2. when all of them do, lets it sign all new tokens. Kubelets renew their pods' tokens within the hour.\n"
		"The second step, --retire, ends the trust in the old key's tokens. It refuses for 70 minutes after the first one, and while somebody\n"
		"has come with such a token in the last half minute.\n"
		"Nothing restarts. The command may be stopped at any time and given again: it goes on where the cluster stands.\n",
		"Ends the trust in tokens that the old key signed. Those that were made for longer than an hour stop working.\n"},
};

struct rotate {
	const struct rotate_opts *o;
	enum rotation_kind kind;
	struct arena *a;
	struct json *state; /* of the kind, as last seen */
};

/* The administrator's certificate may be another one each time. */
static int call(struct rotate *r, const char *method, struct str body, struct str *ret, struct err *e)
{
	struct admin admin;
	int rv = admin_open(r->o->admin, r->a, &admin, e);

	if (rv < 0)
		return rv;
	rv = admin_call(&admin, r->a, method, PATH, body, ret, e);
	admin_close(&admin);
	return rv;
}

static int look(struct rotate *r, struct err *e)
{
	struct str text;
	struct json *j;

	if (call(r, "GET", STR_NULL, &text, e) < 0 || json_parse(r->a, text, NULL, &j, e) < 0)
		return -(int)e->code;
	r->state = json_getc(j, rotation_kind_name(r->kind));
	return 0;
}

static bool phase_is(const struct rotate *r, enum rotation_phase p)
{
	return json_eqc(json_getc(r->state, "phase"), rotation_phase_name(p));
}

static int step(struct rotate *r, const char *name, struct err *e)
{
	struct json *j = json_new_object(r->a);
	struct str text;

	json_setc(r->a, j, "kind", json_newc(r->a, rotation_kind_name(r->kind)));
	json_setc(r->a, j, "step", json_newc(r->a, name));
	json_setc(r->a, j, "force", json_new_bool(r->a, r->o->force));
	return call(r, "POST", json_text(r->a, j), &text, e);
}

/*
 * A local cluster's own folder is no server's: nobody but us keeps it up. From a server's folder, whose files are at least as new as
 * those here.
 */
static int follow_local(struct rotate *r, struct err *e)
{
	char to[LOCAL_PATH_MAX], from[LOCAL_PATH_MAX], path[LOCAL_PATH_MAX], url[64];
	struct buf b = BUF_INIT;
	struct local l;
	int rv;

	if (r->o->admin->data_dir)
		return 0;
	rv = local_load(&l, r->o->admin->name, r->o->admin->dir, e);
	if (rv < 0)
		return rv;
	local_path(&l, l.nodes[0].name, "pki", from);
	local_path(&l, NULL, "pki", to);
	rv = pki_copy_ca(from, to, e);
	if (rv == 0)
		rv = pki_ensure_admin(to, e);
	snprintf(url, sizeof(url), "https://127.0.0.1:%u", l.port);
	if (rv == 0)
		rv = pki_kubeconfig(to, "admin", l.name, url, &b, e);
	local_path(&l, NULL, "admin.kubeconfig", path);
	if (rv == 0)
		rv = file_put(path, buf_str(&b), 0600, true, e);
	buf_fini(&b);
	return rv;
}

/* Not who merely came with something old: these are waited for by whoever retires. */
static bool is_behind(struct str sentence)
{
	return str_has_prefix(sentence, STR("server ")) || str_has_prefix(sentence, STR("node "));
}

static size_t count_behind(const struct rotate *r)
{
	size_t n = 0;

	JSON_ITEMS (it, json_getc(r->state, "waiting"))
		n += is_behind(json_str(it));
	return n;
}

static void print_waiting(const struct rotate *r)
{
	JSON_ITEMS (it, json_getc(r->state, "waiting"))
		printf("    %.*s\n", STR_FMT(json_str(it)));
}

/* Until all servers and nodes have done what the present phase asks of them. */
static int wait_for_all(struct rotate *r, struct err *e)
{
	uint64_t end = clock_mono_ms() + (uint64_t)r->o->wait_s * 1000;
	size_t last = 0;

	for (;;) {
		struct arena mine, *keep = r->a;
		size_t n = 0;
		int rv;

		arena_init(&mine);
		r->a = &mine;
		rv = look(r, e);
		if (rv == 0)
			n = count_behind(r);
		if (rv == 0 && n != last && n > 0) {
			printf("  waiting for %zu:\n", n);
			print_waiting(r);
			fflush(stdout);
		}
		last = n;
		arena_fini(&mine);
		r->a = keep;
		r->state = NULL;
		if (rv == 0 && n == 0)
			return look(r, e);
		/* A server that changes its certificate, or has just lost the lead, answers the next time. */
		if (clock_mono_ms() >= end)
			return rv < 0 ? rv : err_set(e, ERR_TIMEOUT,
							      "not all have followed within %" PRId64 " seconds. Nothing is lost: give the same command again, "
							      "or put right who is behind",
							      r->o->wait_s);
		err_clear(e);
		usleep(LOOK_MS * 1000);
	}
}

static int run_first(struct rotate *r, struct err *e)
{
	int rv = 0;

	if (phase_is(r, ROTATION_NONE) || phase_is(r, ROTATION_DONE)) {
		rv = step(r, "begin", e);
		if (rv == 0)
			printf("made a new %s\n", r->kind == ROTATION_CA ? "CA" : "key");
		if (rv == 0)
			rv = look(r, e);
	}
	if (rv == 0 && phase_is(r, ROTATION_TRUST)) {
		if (!r->o->force)
			rv = wait_for_all(r, e);
		if (rv == 0)
			printf("it is trusted by all\n");
		if (rv == 0)
			rv = step(r, "switch", e);
	}
	if (rv == 0)
		rv = wait_for_all(r, e);
	if (rv == 0)
		rv = follow_local(r, e);
	if (rv == 0)
		printf("it signs now, and every server and node has what it signed\n\n"
		       "The old one is still trusted. When nobody needs it any more: kontiki cert %s --retire --yes\n",
				texts[r->kind].verb);
	return rv;
}

static int run_retire(struct rotate *r, struct err *e)
{
	int rv = 0;

	if (phase_is(r, ROTATION_DONE)) {
		printf("nothing to retire: the old one is no longer trusted\n");
		return 0;
	}
	/* Ours must not be the certificate that it waits for; and what came a moment ago has to be told first. */
	if (phase_is(r, ROTATION_SWITCH)) {
		rv = follow_local(r, e);
		if (rv == 0 && !r->o->force)
			sleep(SETTLE_S);
		if (rv == 0)
			rv = look(r, e);
	}
	if (rv == 0)
		rv = step(r, "finish", e);
	if (rv < 0) {
		print_waiting(r);
		return rv;
	}
	if (r->o->force)
		sleep(SETTLE_S);
	else
		rv = wait_for_all(r, e);
	if (rv == 0)
		rv = follow_local(r, e);
	if (rv == 0)
		printf("the old one is no longer trusted\n");
	return rv;
}

static int run_cancel(struct rotate *r, struct err *e)
{
	int rv = step(r, "cancel", e);

	if (rv == 0)
		printf("cancelled: the new one is forgotten\n");
	return rv;
}

static void print_state(const struct rotate *r)
{
	static const struct {
		enum rotation_phase phase;
		const char *text;
	} rows[] = {
		{ROTATION_TRUST, "the new one is being made known, the old one signs"},
		{ROTATION_SWITCH, "the new one signs, the old one is still trusted"},
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (phase_is(r, rows[i].phase)) {
			printf("Rotation of the %s under way: %s (old %.*s, new %.*s).\n", r->kind == ROTATION_CA ? "CA" : "service-account key", rows[i].text,
					STR_FMT(json_str(json_getc(r->state, "old"))), STR_FMT(json_str(json_getc(r->state, "new"))));
			if (json_len(json_getc(r->state, "waiting")) > 0)
				printf("  what stands against the next step:\n");
			print_waiting(r);
		}
}

int rotate_run(const struct rotate_opts *o, enum rotation_kind kind, struct err *e)
{
	struct rotate r = {.o = o, .kind = kind};
	struct arena a;
	int rv;

	arena_init(&a);
	r.a = &a;
	rv = look(&r, e);
	if (rv == 0 && !o->yes) {
		printf("%s\n", o->retire ? texts[kind].retire : texts[kind].begin);
		print_state(&r);
		printf("Nothing has been changed. To do it: kontiki cert %s %s--yes\n", texts[kind].verb, o->retire ? "--retire " : o->cancel ? "--cancel " : "");
	} else if (rv == 0) {
		rv = o->cancel ? run_cancel(&r, e) : o->retire ? run_retire(&r, e) : run_first(&r, e);
	}
	arena_fini(&a);
	return rv;
}

void rotate_print_state(const struct admin_opts *admin)
{
	const struct rotate_opts o = {.admin = admin};
	struct arena a;

	arena_init(&a);
	for (int k = 0; k < ROTATION_N; k++) {
		struct rotate r = {.o = &o, .kind = (enum rotation_kind)k, .a = &a};
		struct err e = ERR_INIT;

		if (look(&r, &e) < 0)
			break;
		print_state(&r);
	}
	arena_fini(&a);
}
