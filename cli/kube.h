/*
 * What the kubectl-like commands share: kubectl's options and kubeconfig, calls to the API that wait for their answer, resource
 * arguments, manifests and printers.
 *
 * A command is a short program: everything lives in kube->arena, every call runs the loop until it is done, and an error is
 * printed as kubectl prints it and ends in exit status 1.
 *
 *	struct kube k;
 *	if (kube_open(&k, &opts, &e) < 0) return cmd_fail(&e);
 *	client_req_init(&req, CLIENT_GET, resource); ...
 *	if (kube_do(&k, &req) < 0) rc = kube_fail(&req);
 *	client_req_fini(&req);
 *	kube_close(&k);
 */
#ifndef CLI_KUBE_H
#define CLI_KUBE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "cli/cmd.h"
#include "cli/kube_config.h"
#include "orchestrator/client/client.h"

struct http_client;
struct http_header;
struct json;
struct loop;
struct resource;
struct tls_ctx;

/* --- The connection --------------------------------------------------------------------------------------------- */

struct kube {
	struct loop *loop;
	struct client *client;
	struct tls_ctx *tls;
	struct arena arena;
	const char *ns;         /* of -n or the context; "default" */
	bool ns_given;          /* -n was given */
	const char *address;    /* "127.0.0.1:6443" */
	const char *server_name; /* host of the server's URL */
	const char *token;      /* or NULL */
	uint32_t timeout_ms;    /* 0: none given */
	bool waiting;
};

int kube_open(struct kube *, const struct kube_opts *, struct err *e);
void kube_close(struct kube *);
/*
 * All of that: the command runs between the two, and `args` is given back in any case. The exit status. What else the command has it finds
 * around the struct kube.
 */
int kube_run(struct kube *, const struct kube_opts *, struct opt_args *args, int (*run)(struct kube *, const struct opt_args *));
/* Run it to the end. 0, or -req->err.code. */
int kube_do(struct kube *, struct client_req *);
/* Between these two, memory comes from an arena that ends with them: for loops that may go on for days. */
void kube_scratch_begin(struct kube *, struct arena *kept);
void kube_scratch_end(struct kube *, const struct arena *kept);
/* Run the loop for so long. */
void kube_pause(struct kube *, uint64_t ms);
/* GET as a JSON tree in kube->arena; NULL and *ret_status 404 when absent, NULL with the error printed else. */
struct json *kube_get(struct kube *, const struct resource *, const char *ns, const char *name, int *ret_status);
/* Print what went wrong on stderr, as kubectl words it; returns CMD_FAILED. */
int kube_fail(struct kube *, const struct client_req *);
/* The same with what was being done: "error when creating \"x.yaml\"". */
int kube_fail_when(struct kube *, const struct client_req *, const char *when);
/* The same for a call that is none of struct client's; http_status 0: no answer came. */
int kube_fail_answer(struct kube *, int http_status, struct str answer, const struct err *, const char *when);
/* The answer of a request that asked for JSON. NULL with the error printed. */
struct json *kube_answer(struct kube *, const struct client_req *);
#define KUBE_ACCEPT_JSON "application/json"
#define KUBE_ACCEPT_TABLE "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"

/* Calls that stream, over HTTP/1.1 connections of their own. */
int kube_http(struct kube *, struct http_client **ret, struct err *e);
void kube_http_close(struct kube *, struct http_client *);
/* 0 or 1 header. */
size_t kube_auth_header(struct kube *, struct http_header *out);

/* The namespace to send for a resource: NULL when it has none. */
const char *kube_ns(const struct kube *, const struct resource *);
/* "deployment.apps" */
const char *kube_kind_word(struct kube *, const struct resource *);
/* For a path or a query. */
const char *kube_escape(struct kube *, const char *);
/* "5s", "1m30s", "2h", "10" (seconds); false when it is none of these. */
bool kube_duration_ms(const char *text, int64_t *ret_ms);

/* --- Arguments --------------------------------------------------------------------------------------------------- */

/* TYPE[,TYPE] [NAME...] or TYPE/NAME...: rows of a resource, and a name or NULL for all. */
struct kube_target {
	const struct resource *resource;
	const char *name;
	const char *ns; /* of a manifest's object; NULL: kube->ns where the resource has namespaces */
};
struct kube_targets {
	struct kube_target *v;
	size_t n;
	bool several_kinds;
};
/* `verb` must be among the resource's ("all" and other categories stand for several). */
int kube_targets_parse(struct kube *, const char *const *args, size_t n, struct kube_targets *ret, struct err *e);
/* The objects that manifests name. */
int kube_targets_read(struct kube *, const struct opt_list *files, bool recursive, struct kube_targets *ret, struct err *e);
/* NULL for a resource without namespaces. */
const char *kube_target_ns(const struct kube *, const struct kube_target *);
/* Whether the pod has a container of that name, of any kind. */
bool kube_has_container(const struct json *pod, const char *name);
/* A pod from "NAME", "pod/NAME" or "deploy/NAME" and the like (then its first running pod). NULL with the error printed. */
const char *kube_find_pod(struct kube *, const char *arg);
/* The container to talk to: `wanted`, or the default one, which is told on stderr when there are others. */
const char *kube_pick_container(struct kube *, const struct json *pod, const char *wanted, bool quiet);
/* Prints that it is not there; returns CMD_FAILED. */
int kube_not_found(const char *resource, const char *name);

/* --- Manifests ----------------------------------------------------------------------------------------------------- */

struct kube_docs {
	struct json **v;
	const char **source;
	size_t n;
};
/* Files, folders (*.yaml *.yml *.json, not deeper unless recursive) and "-"; lists are taken apart. */
int kube_read_manifests(struct kube *, const struct opt_list *files, bool recursive, struct kube_docs *ret, struct err *e);
/* The resource and namespace of a document; an error when the kind is not known, the name is missing, or -n says otherwise. */
int kube_doc_target(struct kube *, const struct json *doc, bool need_name, const struct resource **ret, const char **ret_ns,
		const char **ret_name, struct err *e);

/* --- Printing ------------------------------------------------------------------------------------------------------- */

enum kube_output { OUT_TABLE, OUT_WIDE, OUT_JSON, OUT_YAML, OUT_NAME, OUT_JSONPATH, OUT_COLUMNS };
struct kube_printer {
	enum kube_output kind;
	const char *text; /* the template of jsonpath= and custom-columns= */
};
/* -o's value; NULL is the table. */
int kube_printer_parse(struct kube *, const char *o, struct kube_printer *, struct err *e);
/* An object or a list, to stdout; not for tables. no_headers is for custom columns. */
int kube_print(struct kube *, const struct kube_printer *, struct json *, bool no_headers, struct err *e);
void kube_write(const struct buf *);

#endif
