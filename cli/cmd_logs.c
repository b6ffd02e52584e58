/*
 * kontiki logs: what the containers of one or several pods have written.
 *
 * Followed logs run side by side, else one comes after the other. Of several at a time only whole lines are printed, so
 * that they do not mix.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "cli/kube.h"
#include "io/http_client.h"
#include "io/loop.h"
#include "proto/json.h"
#include "proto/resource.h"

#define LINE_MAX_SIZE (1u << 20)
#define DEFAULT_MAX_STREAMS 5
#define DEFAULT_SELECTOR_TAIL 10

struct logs_opts {
	const char *container, *since, *since_time, *selector;
	bool follow, previous, timestamps, all_containers, prefix, ignore_errors;
	int64_t tail, limit_bytes, max_streams;
};
#define O(member) offsetof(struct logs_opts, member)

static const struct opt rows[] = {
	{"container", 'c', OPT_STR, O(container), "NAME", "the container", NULL, NULL},
	{"follow", 'f', OPT_BOOL, O(follow), "", "go on as lines are written", NULL, NULL},
	{"previous", 'p', OPT_BOOL, O(previous), "", "of the container's run before this one", NULL, NULL},
	{"timestamps", 0, OPT_BOOL, O(timestamps), "", "with the time of each line", NULL, NULL},
	{"tail", 0, OPT_INT, O(tail), "N", "only the last N lines", NULL, NULL},
	{"since", 0, OPT_STR, O(since), "DURATION", "only lines newer than this (\"5m\")", NULL, NULL},
	{"since-time", 0, OPT_STR, O(since_time), "TIME", "only lines since this time (RFC 3339)", NULL, NULL},
	{"limit-bytes", 0, OPT_INT, O(limit_bytes), "N", "at most so much", NULL, NULL},
	{"all-containers", 0, OPT_BOOL, O(all_containers), "", "of all containers of the pod", NULL, NULL},
	{"selector", 'l', OPT_STR, O(selector), "QUERY", "of all pods with these labels (10 lines of each, unless --tail says otherwise)", NULL, NULL},
	{"prefix", 0, OPT_BOOL, O(prefix), "", "each line with its pod and container", NULL, NULL},
	{"max-log-requests", 0, OPT_INT, O(max_streams), "N", "how many logs to follow at a time (5)", NULL, NULL},
	{"ignore-errors", 0, OPT_BOOL, O(ignore_errors), "", "a log that cannot be had is no error", NULL, NULL},
	OPT_END,
};
static const char usage[] = "usage: kontiki logs POD [CONTAINER] | TYPE/NAME | -l QUERY  [-c CONTAINER] [OPTIONS]\n";

struct log_stream {
	struct http_call call;
	struct http_header auth;
	struct logs *l;
	const char *path, *prefix;
	struct buf held; /* an unfinished line, or the body of an error */
};

struct logs {
	struct kube k;
	struct logs_opts o;
	struct http_client *http;
	struct log_stream **v;
	size_t n, n_running;
	int rc;
};

/* ---- one container's log ---- */

static void print_line(struct log_stream *s, struct str line)
{
	if (s->prefix)
		fputs(s->prefix, stdout);
	fwrite(line.p, 1, line.n, stdout);
}

static void print_lines(struct log_stream *s, struct str bytes)
{
	ptrdiff_t end;

	while ((end = str_find(bytes, '\n')) >= 0) {
		buf_adds(&s->held, str_sub(bytes, 0, (size_t)end + 1));
		print_line(s, buf_str(&s->held));
		buf_clear(&s->held);
		bytes = str_skip(bytes, (size_t)end + 1);
	}
	if (s->held.n + bytes.n > LINE_MAX_SIZE) {
		print_line(s, buf_str(&s->held));
		buf_clear(&s->held);
	}
	buf_adds(&s->held, bytes);
}

static void on_data(struct http_call *c, struct str bytes)
{
	struct log_stream *s = container_of(c, struct log_stream, call);

	if (c->status != 200) {
		if (s->held.n < LINE_MAX_SIZE)
			buf_adds(&s->held, bytes);
	} else if (s->prefix || s->l->n_running > 1) {
		print_lines(s, bytes);
	} else {
		fwrite(bytes.p, 1, bytes.n, stdout);
	}
	fflush(stdout);
}

static void on_done(struct http_call *c, const struct err *why)
{
	struct log_stream *s = container_of(c, struct log_stream, call);
	struct logs *l = s->l;
	struct err e;

	if (why || c->status != 200) {
		err_set(&e, why ? why->code : err_from_http(c->status), "%s", why ? why->text : "no log");
		if (why && c->response_begun)
			cmd_fail(&e); /* the server went away in the middle */
		else
			kube_fail_answer(&l->k, c->status, buf_str(&s->held), &e, NULL);
		if (!l->o.ignore_errors)
			l->rc = CMD_FAILED;
	} else if (s->held.n) {
		print_line(s, buf_str(&s->held));
	}
	buf_clear(&s->held);
	fflush(stdout);
	if (--l->n_running == 0)
		loop_stop(l->k.loop);
}

static void start(struct log_stream *s)
{
	s->call.method = "GET";
	s->call.path = s->path;
	s->call.headers = &s->auth;
	s->call.n_headers = kube_auth_header(&s->l->k, &s->auth);
	s->call.header_timeout_ms = s->l->k.timeout_ms;
	s->call.on_data = on_data;
	s->call.done = on_done;
	s->l->n_running++;
	http_call_start(s->l->http, &s->call);
}

static int run_all(struct logs *l)
{
	if (l->o.follow && (int64_t)l->n > l->o.max_streams) {
		fprintf(stderr,
				"error: you are attempting to follow %zu log streams, but maximum allowed concurrency is %" PRId64
				", use --max-log-requests to increase the limit\n",
				l->n, l->o.max_streams);
		return CMD_FAILED;
	}
	for (size_t i = 0; i < l->n; i++) {
		start(l->v[i]);
		if (!l->o.follow || i + 1 == l->n)
			while (l->n_running > 0)
				loop_run(l->k.loop);
		if (l->rc != CMD_OK && !l->o.follow)
			break;
	}
	return l->rc;
}

/* ---- which ones ---- */

static void add_query(struct logs *l, const char *container, struct buf *b)
{
	int64_t ms;

	buf_printf(b, "?container=%s", kube_escape(&l->k, container));
	if (l->o.follow)
		buf_addc(b, "&follow=true");
	if (l->o.previous)
		buf_addc(b, "&previous=true");
	if (l->o.timestamps)
		buf_addc(b, "&timestamps=true");
	if (l->o.tail >= 0)
		buf_printf(b, "&tailLines=%" PRId64, l->o.tail);
	if (l->o.limit_bytes > 0)
		buf_printf(b, "&limitBytes=%" PRId64, l->o.limit_bytes);
	if (l->o.since && kube_duration_ms(l->o.since, &ms) && ms > 0)
		buf_printf(b, "&sinceSeconds=%" PRId64, MAX((ms + 999) / 1000, (int64_t)1));
	if (l->o.since_time)
		buf_printf(b, "&sinceTime=%s", kube_escape(&l->k, l->o.since_time));
}

static void add_stream(struct logs *l, const char *ns, const char *pod, const char *container)
{
	struct log_stream *s = arena_new_of(&l->k.arena, struct log_stream);
	struct buf b = BUF_INIT;

	buf_printf(&b, "/api/v1/namespaces/%s/pods/%s/log", kube_escape(&l->k, ns), kube_escape(&l->k, pod));
	add_query(l, container, &b);
	s->l = l;
	s->path = arena_cstr(&l->k.arena, buf_str(&b));
	s->prefix = l->o.prefix ? arena_printf(&l->k.arena, "[pod/%s/%s] ", pod, container) : NULL;
	buf_init(&s->held, 2 * LINE_MAX_SIZE);
	buf_fini(&b);
	l->v = arena_grow(&l->k.arena, l->v, l->n * sizeof(*l->v), (l->n + 1) * sizeof(*l->v));
	l->v[l->n++] = s;
}

static int add_pod(struct logs *l, const struct json *pod)
{
	static const char *const lists[] = {"spec.initContainers", "spec.containers", "spec.ephemeralContainers"};
	const char *ns = json_cstr(json_getp(pod, "metadata.namespace")), *name = json_cstr(json_getp(pod, "metadata.name"));
	const char *container;

	for (size_t i = 0; l->o.all_containers && i < ARRAY_LEN(lists); i++)
		JSON_ITEMS (c, json_getp(pod, lists[i]))
			add_stream(l, ns, name, json_cstr(json_getc(c, "name")));
	if (l->o.all_containers)
		return CMD_OK;
	if (l->o.container && !kube_has_container(pod, l->o.container)) {
		fprintf(stderr, "error: container %s is not valid for pod %s\n", l->o.container, name);
		return CMD_FAILED;
	}
	container = kube_pick_container(&l->k, pod, l->o.container, false);
	add_stream(l, ns, name, container);
	return CMD_OK;
}

static int add_selected(struct logs *l)
{
	struct client_req req;
	struct json *list;
	int rc = CMD_OK;

	client_req_init(&req, CLIENT_LIST, resource_find("", "v1", "pods"));
	req.ns = l->k.ns;
	req.label_selector = l->o.selector;
	req.accept = KUBE_ACCEPT_JSON;
	list = kube_do(&l->k, &req) == 0 ? kube_answer(&l->k, &req) : (kube_fail(&l->k, &req), NULL);
	client_req_fini(&req);
	if (list == NULL)
		return CMD_FAILED;
	if (json_len(json_getc(list, "items")) == 0)
		fprintf(stderr, "No resources found in %s namespace.\n", l->k.ns);
	JSON_ITEMS (pod, json_getc(list, "items"))
		rc |= add_pod(l, pod);
	return rc;
}

static int add_named(struct logs *l, const char *arg)
{
	const char *name = kube_find_pod(&l->k, arg);
	struct json *pod;
	int status;

	if (name == NULL)
		return CMD_FAILED;
	pod = kube_get(&l->k, resource_find("", "v1", "pods"), l->k.ns, name, &status);
	if (pod)
		return add_pod(l, pod);
	if (status == 404)
		fprintf(stderr, "error: error from server (NotFound): pods \"%s\" not found in namespace \"%s\"\n", name, l->k.ns);
	return CMD_FAILED;
}

/* ---- the command ---- */

static int check(struct logs *l, const struct opt_args *args, struct err *e)
{
	int64_t ms;

	if (args->n == 0 && !l->o.selector)
		return err_set(e, ERR_BAD_REQUEST, "expected 'logs [-f] [-p] (POD | TYPE/NAME) [-c CONTAINER]'.\nPOD or TYPE/NAME is a required argument for the logs command");
	if (args->n > 0 && l->o.selector)
		return err_set(e, ERR_BAD_REQUEST, "only a selector (-l) or a POD name is allowed");
	if (args->n > 2 || (args->n == 2 && l->o.container))
		return err_set(e, ERR_BAD_REQUEST, "only one of -c or an inline [CONTAINER] arg is allowed");
	if (l->o.tail < -1)
		return err_set(e, ERR_BAD_REQUEST, "--tail must be greater than or equal to -1");
	if (l->o.since && l->o.since_time)
		return err_set(e, ERR_BAD_REQUEST, "at most one of `sinceTime` or `sinceSeconds` may be specified");
	if (l->o.since && !kube_duration_ms(l->o.since, &ms))
		return err_set(e, ERR_BAD_REQUEST, "invalid argument \"%s\" for \"--since\" flag: it is no duration such as 5m", l->o.since);
	return 0;
}

static int run(struct kube *k, const struct opt_args *args)
{
	struct logs *l = container_of(k, struct logs, k);
	struct err e;
	int rc;

	if (args->n == 2)
		l->o.container = args->v[1];
	if (l->o.selector && l->o.tail < 0)
		l->o.tail = DEFAULT_SELECTOR_TAIL;
	rc = l->o.selector ? add_selected(l) : add_named(l, args->v[0]);
	if (rc != CMD_OK || l->n == 0)
		return rc;
	if (kube_http(&l->k, &l->http, &e) < 0)
		return cmd_fail(&e);
	rc = run_all(l);
	for (size_t i = 0; i < l->n; i++) {
		http_call_fini(&l->v[i]->call);
		buf_fini(&l->v[i]->held);
	}
	kube_http_close(&l->k, l->http);
	return rc;
}

int cmd_logs(int argc, char **argv)
{
	struct logs l = {.o = {.tail = -1, .max_streams = DEFAULT_MAX_STREAMS}};
	struct kube_opts ko = {0};
	struct opt_args args = {0};
	struct err e;

	if (cmd_wants_help(argc, argv, usage, rows))
		return CMD_OK;
	if (opts_parse(rows, &l.o, kube_rows, &ko, argc, argv, &args, &e) < 0)
		return cmd_usage("logs", &e);
	if (check(&l, &args, &e) < 0) {
		opt_args_fini(&args);
		return cmd_fail(&e);
	}
	return kube_run(&l.k, &ko, &args, run);
}
