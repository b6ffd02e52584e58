/*
 * Who may use the kubelet's port. The API server's own certificate and administrators are known by sight; everybody else, with a
 * client certificate of the cluster or a bearer token, is asked about: TokenReview says who it is, SubjectAccessReview whether he may,
 * on nodes/SUBRESOURCE. Nobody else gets further than here.
 *
 *	begin --certificate--> may he? --yes--> serve
 *	  '---token--> who? ------^
 *
 * Source: "Kubelet authentication/authorization" of the Kubernetes documentation.
 */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/util.h"
#include "io/x509.h"
#include "orchestrator/client/client.h"
#include "orchestrator/kubelet/server-priv.h"
#include "proto/authentication.pb-c.h"
#include "proto/authorization.pb-c.h"
#include "proto/pb.h"
#include "proto/resource.h"

#define API_CLIENT "kube-apiserver-kubelet-client"

struct auth {
	struct client_req req;
	struct kubelet *k;
	struct http_request *http; /* NULL: gone */
	void (*allowed)(void *arg, struct http_request *);
	void *arg;
	struct arena arena; /* who it is */
	const char *user, **groups;
	size_t n_groups;
};

/* What a path is as a subresource of the node; the rest is "proxy". */
static const struct {
	const char *path, *sub;
} subresources[] = {{"/stats", "stats"}, {"/metrics", "metrics"}, {"/logs", "log"}, {"/pods", "pods"}, {"/runningPods", "pods"},
	{"/healthz", "healthz"}, {"/configz", "configz"}, {"/checkpoint", "checkpoint"}};

const char *server_auth_subresource(struct str path)
{
	for (size_t i = 0; i < ARRAY_LEN(subresources); i++) {
		struct str p = str_from(subresources[i].path);

		if (str_has_prefix(path, p) && (path.n == p.n || path.p[p.n] == '/'))
			return subresources[i].sub;
	}
	return "proxy";
}

/* What runs a program in a container, or speaks to one, also when a WebSocket begins it with a GET. */
static bool acts(struct str path)
{
	static const char *const acting[] = {"/exec/", "/attach/", "/portForward/", "/run/"};

	for (size_t i = 0; i < ARRAY_LEN(acting); i++)
		if (str_has_prefix(path, str_from(acting[i])))
			return true;
	return false;
}

const char *server_auth_verb(struct str method, struct str path)
{
	static const struct {
		const char *method, *verb;
	} verbs[] = {{"POST", "create"}, {"PUT", "update"}, {"PATCH", "patch"}, {"DELETE", "delete"}};

	for (size_t i = 0; i < ARRAY_LEN(verbs); i++)
		if (str_eqc(method, verbs[i].method))
			return verbs[i].verb;
	return acts(path) ? "create" : "get";
}

static void auth_free(struct auth *au)
{
	client_req_fini(&au->req);
	arena_fini(&au->arena);
	free(au);
}

/* The request, to be answered now; NULL when it is gone. The auth is over. */
static struct http_request *release(struct auth *au)
{
	struct http_request *r = au->http;

	if (r) {
		r->user = NULL;
		r->on_cancel = NULL;
	}
	return r;
}

static void refused(struct auth *au, int status)
{
	struct http_request *r = release(au);

	if (r && status == 401)
		respond_text(r, 401, "Unauthorized\n");
	else if (r && status == 403)
		respond_text(r, 403, "Forbidden (user=%s, verb=%s, resource=nodes, subresource(s)=[%s])\n", au->user,
				server_auth_verb(r->method, r->path), server_auth_subresource(r->path));
	else if (r)
		respond_text(r, 503, "the API server cannot be asked about this request\n");
	auth_free(au);
}

static void reviewed(struct client_req *req)
{
	struct auth *au = container_of(req, struct auth, req);
	const Authorization__SubjectAccessReview *sar =
			req->err.code ? NULL : client_req_unpack(req, &authorization__subject_access_review__descriptor);
	void (*allowed)(void *, struct http_request *) = au->allowed;
	void *arg = au->arg;
	struct http_request *r;

	if (!sar || !sar->status || !sar->status->allowed) {
		refused(au, sar ? 403 : 503);
		return;
	}
	r = release(au);
	auth_free(au);
	if (r)
		allowed(arg, r);
}

static void review(struct auth *au)
{
	Authorization__SubjectAccessReview *sar;
	Authorization__ResourceAttributes *at;

	if (!au->http) {
		auth_free(au);
		return;
	}
	client_req_init(&au->req, CLIENT_CREATE, resource_find("authorization.k8s.io", "v1", "subjectaccessreviews"));
	sar = pb_new_of(&au->req.arena, authorization__subject_access_review, Authorization__SubjectAccessReview);
	pb_sub(&au->req.arena, sar, "spec");
	at = pb_sub(&au->req.arena, sar->spec, "resource_attributes");
	at->verb = server_auth_verb(au->http->method, au->http->path);
	at->resource = "nodes";
	at->name = au->k->cfg->node_name;
	at->subresource = server_auth_subresource(au->http->path);
	sar->spec->user = au->user;
	sar->spec->groups = au->groups;
	sar->spec->n_groups = au->n_groups;
	au->req.msg = &sar->base;
	au->req.done = reviewed;
	client_do(au->k->cfg->client, &au->req);
}

static void identified(struct client_req *req)
{
	struct auth *au = container_of(req, struct auth, req);
	const Authentication__TokenReview *tr =
			req->err.code ? NULL : client_req_unpack(req, &authentication__token_review__descriptor);
	const Authentication__UserInfo *u = tr && tr->status && tr->status->authenticated ? tr->status->user : NULL;

	if (!u) {
		refused(au, tr ? 401 : 503);
		return;
	}
	au->user = arena_strdup(&au->arena, pb_s(u->username));
	au->n_groups = u->n_groups;
	au->groups = arena_new_array(&au->arena, const char *, u->n_groups + 1);
	for (size_t i = 0; i < u->n_groups; i++)
		au->groups[i] = arena_strdup(&au->arena, u->groups[i]);
	client_req_fini(&au->req);
	review(au);
}

static void identify(struct auth *au, struct str token)
{
	Authentication__TokenReview *tr;

	client_req_init(&au->req, CLIENT_CREATE, resource_find("authentication.k8s.io", "v1", "tokenreviews"));
	tr = pb_new_of(&au->req.arena, authentication__token_review, Authentication__TokenReview);
	pb_sub(&au->req.arena, tr, "spec");
	tr->spec->token = arena_cstr(&au->req.arena, token);
	au->req.msg = &tr->base;
	au->req.done = identified;
	client_do(au->k->cfg->client, &au->req);
}

static bool known_by_sight(const struct x509_info *peer)
{
	if (str_eqc(peer->cn, API_CLIENT))
		return true;
	for (size_t i = 0; i < peer->n_orgs; i++)
		if (str_eqc(peer->orgs[i], "system:masters"))
			return true;
	return false;
}

static void canceled(struct http_request *r)
{
	struct auth *au = r->user;

	au->http = NULL;
	http_respond_abort(r);
}

static struct auth *auth_new(struct kubelet *k, struct http_request *r, void (*allowed)(void *, struct http_request *), void *arg)
{
	struct auth *au = xcalloc(1, sizeof(*au));

	arena_init(&au->arena);
	client_req_init(&au->req, CLIENT_CREATE, NULL);
	client_req_fini(&au->req);
	au->k = k;
	au->http = r;
	au->allowed = allowed;
	au->arg = arg;
	r->user = au;
	r->on_cancel = canceled;
	return au;
}

void server_auth(struct kubelet *k, struct http_request *r, void (*allowed)(void *arg, struct http_request *), void *arg)
{
	struct str header = str_trim(http_request_header(r, "authorization")), scheme, token;
	const struct x509_info *peer = r->peer_verified ? r->peer : NULL;
	struct auth *au;

	str_cut(header, ' ', &scheme, &token);
	token = str_trim(token);
	if (peer && peer->cn.n > 0 && known_by_sight(peer)) {
		allowed(arg, r);
	} else if (peer && peer->cn.n > 0) {
		au = auth_new(k, r, allowed, arg);
		au->user = arena_cstr(&au->arena, peer->cn);
		au->groups = arena_new_array(&au->arena, const char *, peer->n_orgs + 1);
		for (size_t i = 0; i < peer->n_orgs; i++)
			au->groups[au->n_groups++] = arena_cstr(&au->arena, peer->orgs[i]);
		au->groups[au->n_groups++] = "system:authenticated";
		review(au);
	} else if (str_ieq(scheme, STR("bearer")) && token.n > 0) {
		identify(auth_new(k, r, allowed, arg), token);
	} else {
		respond_text(r, 401, "Unauthorized\n");
	}
}
