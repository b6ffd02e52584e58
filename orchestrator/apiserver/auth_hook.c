#include "orchestrator/apiserver/auth_hook.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/map.h"
#include "base/util.h"
#include "io/http_client.h"
#include "orchestrator/apiserver/apiserver-priv.h"
#include "orchestrator/apiserver/hook_target.h"
#include "orchestrator/apiserver/objects.h"
#include "orchestrator/apiserver/service_clients.h"
#include "proto/json.h"
#include "proto/yaml.h"

#define FILE_MAX (1 << 20)
#define ANSWER_MAX (1 << 20)
#define TIMEOUT_MS 10000
/* Those who waited for the same get it, too, whatever it is. */
#define SHARED_MS 100
/* How often is looked whether others have their answer. */
#define OTHERS_MS 5
#define CACHE_MAX 4096

struct entry {
	char *text;
	size_t n;
	bool failed;
	uint64_t until_ms;
};

/* What the files say. Immutable; those before are kept, since loops may be reading them. */
struct conf {
	struct arena arena;
	struct service_server server;
	const char *path, *url;
	struct str token; /* bearer; empty: none */
	struct conf *before;
};

struct auth_hook {
	char *file;
	uint32_t timeout_ms;
	_Atomic(struct conf *) conf;
	pthread_mutex_t lock;
	struct map cache;   /* of struct entry */
	struct map flights; /* keys that are being asked about */
};

/* What a request has been told by now. In its arena. */
struct auth_said {
	const struct auth_hook *hook;
	struct str key;
	struct auth_answer answer;
	struct auth_said *next;
};

/* --- The file ------------------------------------------------------------------------------------------------------ */

static const struct json *named(const struct json *list, struct str name, const char *member)
{
	JSON_ITEMS (it, list)
		if (str_eq(json_str(json_getc(it, "name")), name))
			return json_getc(it, member);
	return NULL;
}

/* x-data, or the file that x names, which is relative to the folder of ours. */
static int pem_of(struct conf *h, const char *path, const struct json *j, const char *name, struct str *ret, struct err *e)
{
	struct str data = json_str(json_getc(j, arena_printf(&h->arena, "%s-data", name))), file = json_str(json_getc(j, name));
	_cleanup_(buf_fini) struct buf text = BUF_INIT;
	ptrdiff_t slash = str_rfind(str_from(path), '/');
	const char *full;

	*ret = STR("");
	if (data.n > 0)
		return api_base64_decode(&h->arena, data, ret) ? 0 : err_set(e, ERR_INVALID, "%s: %s-data is no base64", path, name);
	if (file.n == 0)
		return 0;
	full = file.p[0] == '/' || slash < 0 ? arena_cstr(&h->arena, file) : arena_printf(&h->arena, "%.*s/%.*s", (int)slash, path, STR_FMT(file));
	if (file_get(full, FILE_MAX, &text, e) < 0)
		return -(int)e->code;
	*ret = arena_str(&h->arena, buf_str(&text));
	return 0;
}

static int read_config(struct conf *h, const char *path, struct err *e)
{
	_cleanup_(buf_fini) struct buf text = BUF_INIT;
	const struct json *context, *cluster, *user;
	struct json *doc;
	struct str url, url_path;

	if (file_get(path, FILE_MAX, &text, e) < 0 || yaml_parse(&h->arena, buf_str(&text), &doc, e) < 0)
		return err_prefix(e, "webhook configuration %s", path);
	context = named(json_getc(doc, "contexts"), json_str(json_getc(doc, "current-context")), "context");
	cluster = named(json_getc(doc, "clusters"), json_str(json_getc(context, "cluster")), "cluster");
	user = named(json_getc(doc, "users"), json_str(json_getc(context, "user")), "user");
	if (!cluster)
		return err_set(e, ERR_INVALID, "%s: the current-context names no cluster: a webhook is configured like a kubeconfig", path);
	if (json_getc(user, "exec") || json_getc(user, "auth-provider") || json_getc(user, "tokenFile") || json_getc(user, "username") ||
			json_getc(cluster, "proxy-url"))
		return err_set(e, ERR_INVALID, "%s: exec, auth-provider, tokenFile, username and proxy-url are not supported: "
					       "use token or a client certificate", path);
	url = json_str(json_getc(cluster, "server"));
	if (!hook_url_parse(&h->arena, url, &h->server.address, &h->server.name, &url_path))
		return err_set(e, ERR_INVALID, "%s: server \"%.*s\": a webhook's URL must begin with https://", path, STR_FMT(url));
	if (json_str(json_getc(cluster, "tls-server-name")).n > 0)
		h->server.name = arena_cstr(&h->arena, json_str(json_getc(cluster, "tls-server-name")));
	h->server.insecure = json_true(json_getc(cluster, "insecure-skip-tls-verify"));
	h->path = arena_cstr(&h->arena, url_path);
	h->url = arena_cstr(&h->arena, url);
	h->token = arena_str(&h->arena, json_str(json_getc(user, "token")));
	if (pem_of(h, path, cluster, "certificate-authority", &h->server.ca_pem, e) < 0 ||
			pem_of(h, path, user, "client-certificate", &h->server.cert_pem, e) < 0 ||
			pem_of(h, path, user, "client-key", &h->server.key_pem, e) < 0)
		return -(int)e->code;
	if ((h->server.cert_pem.n == 0) != (h->server.key_pem.n == 0))
		return err_set(e, ERR_INVALID, "%s: client-certificate and client-key belong together", path);
	return 0;
}

static void conf_free(struct conf *c)
{
	arena_fini(&c->arena);
	free(c);
}

static bool same_conf(const struct conf *a, const struct conf *b)
{
	return strcmp(a->url, b->url) == 0 && strcmp(a->server.name, b->server.name) == 0 && a->server.insecure == b->server.insecure &&
	       str_eq(a->token, b->token) && str_eq(a->server.ca_pem, b->server.ca_pem) && str_eq(a->server.cert_pem, b->server.cert_pem) &&
	       str_eq(a->server.key_pem, b->server.key_pem);
}

int auth_hook_reload(struct auth_hook *h, bool *ret_changed, struct err *e)
{
	struct conf *c = xcalloc(1, sizeof(*c));

	*ret_changed = false;
	arena_init(&c->arena);
	if (read_config(c, h->file, e) < 0) {
		conf_free(c);
		return -(int)e->code;
	}
	c->before = atomic_load(&h->conf);
	*ret_changed = !c->before || !same_conf(c, c->before);
	if (*ret_changed)
		atomic_store(&h->conf, c);
	else
		conf_free(c);
	return 0;
}

int auth_hook_open(const char *path, uint32_t timeout_ms, struct auth_hook **ret, struct err *e)
{
	struct auth_hook *h = xcalloc(1, sizeof(*h));
	bool changed;

	h->file = xstrdup(path);
	h->timeout_ms = timeout_ms ? timeout_ms : TIMEOUT_MS;
	map_init(&h->cache);
	map_init(&h->flights);
	pthread_mutex_init(&h->lock, NULL);
	if (auth_hook_reload(h, &changed, e) < 0) {
		auth_hook_free(h);
		return -(int)e->code;
	}
	*ret = h;
	return 0;
}

static void entry_free(void *p)
{
	struct entry *x = p;

	free(x->text);
	free(x);
}

void auth_hook_free(struct auth_hook *h)
{
	if (!h)
		return;
	map_fini_with(&h->cache, entry_free);
	map_fini(&h->flights);
	pthread_mutex_destroy(&h->lock);
	for (struct conf *c = atomic_load(&h->conf), *before; c; c = before) {
		before = c->before;
		conf_free(c);
	}
	free(h->file);
	free(h);
}

/* --- What is known ---------------------------------------------------------------------------------------------------- */

bool auth_hook_find(struct auth_hook *h, struct api_request *req, struct str key, struct auth_answer *ret)
{
	struct entry *x;
	bool found;

	*ret = (struct auth_answer){0};
	for (const struct auth_said *s = req->hooks_said; s; s = s->next)
		if (s->hook == h && str_eq(s->key, key)) {
			*ret = s->answer;
			return true;
		}
	pthread_mutex_lock(&h->lock);
	x = map_get(&h->cache, key);
	found = x && clock_mono_ms() < x->until_ms;
	if (found && x->failed)
		ret->failure = arena_str(&req->arena, str_of(x->text, x->n));
	else if (found)
		ret->body = arena_str(&req->arena, str_of(x->text, x->n));
	pthread_mutex_unlock(&h->lock);
	return found;
}

/* All steps of the request that ask this again are told the same. */
static void tell(struct auth_hook *h, struct api_request *req, struct str key, struct auth_answer answer)
{
	struct auth_said *s = arena_new_of(&req->arena, struct auth_said);

	*s = (struct auth_said){.hook = h, .key = key, .next = req->hooks_said,
			.answer = {arena_str(&req->arena, answer.body), arena_str(&req->arena, answer.failure)}};
	req->hooks_said = s;
}

static void drop_old(struct auth_hook *h, uint64_t now)
{
	struct map fresh;

	map_init(&fresh);
	MAP_FOR_EACH (it, &h->cache) {
		struct entry *x = it->value;

		if (x->until_ms > now)
			map_put(&fresh, it->key, x);
		else
			entry_free(x);
	}
	map_fini(&h->cache);
	h->cache = fresh;
	if (map_len(&h->cache) < CACHE_MAX)
		return;
	map_fini_with(&h->cache, entry_free);
	map_init(&h->cache);
}

static void keep(struct auth_hook *h, struct str key, struct str text, bool failed, uint64_t ms)
{
	struct entry *x = xcalloc(1, sizeof(*x)), *before;
	uint64_t now = clock_mono_ms();

	*x = (struct entry){.text = str_dup(text), .n = text.n, .failed = failed, .until_ms = now + MAX(ms, SHARED_MS)};
	pthread_mutex_lock(&h->lock);
	if (map_len(&h->cache) >= CACHE_MAX)
		drop_old(h, now);
	before = map_put(&h->cache, key, x);
	if (before)
		entry_free(before);
	pthread_mutex_unlock(&h->lock);
}

/* --- Asking --------------------------------------------------------------------------------------------------------------- */

/* In the request's arena, which stays while the call is pending. */
struct auth_call {
	struct http_call http;
	struct http_header headers[3];
	struct auth_hook *hook;
	struct api_request *req;
	const struct conf *conf;
	struct service_client *client;
	struct str key;
	uint64_t (*keep_ms)(struct api_request *, struct str body);
	bool again;
};

static void canceled(struct api_request *req)
{
	struct auth_call *c = req->stream;

	http_call_cancel(&c->http);
}

static void land(struct auth_hook *h, struct str key)
{
	pthread_mutex_lock(&h->lock);
	map_del(&h->flights, key);
	pthread_mutex_unlock(&h->lock);
}

static void over(struct http_call *http, const struct err *e)
{
	struct auth_call *c = container_of(http, struct auth_call, http);
	struct api_request *req = c->req;
	struct str body = buf_str(&http->body_in);
	const char *why;

	if (hook_call_again(http, e) && !c->again) {
		c->again = true;
		http_call_fini(http);
		http_call_start(c->client->http, http);
		return;
	}
	why = hook_call_failure(&req->arena, http, c->conf->url, e);
	if (why && !api_is_over(req))
		log_warn("apiserver", "webhook: %s", why);
	tell(c->hook, req, c->key, why ? (struct auth_answer){.failure = str_from(why)} : (struct auth_answer){.body = body});
	/* Who went away is no reason to refuse who waits for the same. */
	if (!api_is_over(req))
		keep(c->hook, c->key, why ? str_from(why) : body, why != NULL, why ? 0 : c->keep_ms(req, body));
	land(c->hook, c->key);
	http_call_fini(http);
	service_client_put(c->client);
	req->pending--;
	req->on_cancel = NULL;
	req->stream = NULL;
	api_wait_over(req);
}

static void resume_soon(struct loop_timer *t)
{
	struct api_request *req = container_of(t, struct api_request, nap);

	api_request_resume(req);
}

/* Somebody, on some loop, is asking this: his answer will be there, or his failure leaves it to us to ask. */
enum flight { FLIGHT_OURS, FLIGHT_OTHERS, FLIGHT_TOO_MANY };
static enum flight take_off(struct auth_hook *h, struct str key)
{
	enum flight f = FLIGHT_OURS;

	pthread_mutex_lock(&h->lock);
	if (map_get(&h->flights, key))
		f = FLIGHT_OTHERS;
	else if (map_len(&h->flights) >= AUTH_HOOK_CALLS)
		f = FLIGHT_TOO_MANY;
	else
		map_put(&h->flights, key, h);
	pthread_mutex_unlock(&h->lock);
	return f;
}

bool auth_hook_ask(struct auth_hook *h, struct api_request *req, struct str key, struct str body, uint64_t (*keep_ms)(struct api_request *, struct str body))
{
	struct auth_call *c;
	struct err e = ERR_INIT;

	switch (take_off(h, key)) {
	case FLIGHT_TOO_MANY: return false;
	case FLIGHT_OTHERS: loop_timer_start(&req->nap, req->al->loop, OTHERS_MS, resume_soon); return true;
	case FLIGHT_OURS: break;
	}
	c = arena_new_of(&req->arena, struct auth_call);
	c->hook = h;
	c->conf = atomic_load(&h->conf);
	c->req = req;
	c->key = arena_str(&req->arena, key);
	c->keep_ms = keep_ms;
	if (service_client_get(api__services(req->al), &c->conf->server, &c->client, &e) < 0) {
		tell(h, req, c->key, (struct auth_answer){.failure = str_from(e.text)});
		land(h, c->key);
		loop_timer_start(&req->nap, req->al->loop, 0, resume_soon);
		return true;
	}
	c->headers[0] = (struct http_header){STR("Content-Type"), STR("application/json")};
	c->headers[1] = (struct http_header){STR("Accept"), STR("application/json, */*")};
	c->headers[2] = (struct http_header){STR("Authorization"), arena_sprintf(&req->arena, "Bearer %.*s", STR_FMT(c->conf->token))};
	c->http.method = "POST";
	c->http.path = c->conf->path;
	c->http.headers = c->headers;
	c->http.n_headers = c->conf->token.n > 0 ? 3 : 2;
	c->http.body = arena_str(&req->arena, body);
	c->http.max_body = ANSWER_MAX;
	c->http.timeout_ms = h->timeout_ms;
	c->http.done = over;
	req->pending++;
	req->stream = c;
	req->on_cancel = canceled;
	http_call_start(c->client->http, &c->http);
	return true;
}
