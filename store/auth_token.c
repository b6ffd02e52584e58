/*
 * Tokens in memory. Applying has no clock, so a new token's time begins when anybody next tells one; a token that nobody
 * uses for its time to live is forgotten then, too.
 */
#include <pthread.h>
#include <stdlib.h>

#include "base/map.h"
#include "base/util.h"
#include "store/auth-priv.h"

#define TTL_MS 300000
/* Tokens at one time: somebody who logs in for every request must not eat the memory. The oldest go. */
#define TOKENS_MAX 65536
#define SWEEP_MS 1000

struct token {
	struct list link; /* least recently used first */
	char *token, *user;
	uint64_t used_at; /* 0: not told the time yet */
};

struct auth_tokens {
	pthread_mutex_t lock;
	struct map map;
	struct list order;
	uint64_t ttl, swept_at;
};

struct auth_tokens *store__tokens_new(void)
{
	struct auth_tokens *t = xcalloc(1, sizeof(*t));

	pthread_mutex_init(&t->lock, NULL);
	map_init(&t->map);
	list_init(&t->order);
	t->ttl = TTL_MS;
	return t;
}

static void drop(struct auth_tokens *t, struct token *k)
{
	map_del(&t->map, str_from(k->token));
	list_del(&k->link);
	free(k->token);
	free(k->user);
	free(k);
}

void store__tokens_free(struct auth_tokens *t)
{
	if (t == NULL)
		return;
	store__tokens_drop(t, NULL);
	map_fini(&t->map);
	pthread_mutex_destroy(&t->lock);
	free(t);
}

void store__tokens_add(struct auth_tokens *t, struct str token, struct str user)
{
	struct token *k;

	pthread_mutex_lock(&t->lock);
	k = map_get(&t->map, token);
	if (k != NULL)
		drop(t, k);
	while (map_len(&t->map) >= TOKENS_MAX)
		drop(t, LIST_FIRST(&t->order, struct token, link));
	k = xcalloc(1, sizeof(*k));
	k->token = str_dup(token);
	k->user = str_dup(user);
	map_put(&t->map, token, k);
	list_add_tail(&t->order, &k->link);
	pthread_mutex_unlock(&t->lock);
}

void store__tokens_drop(struct auth_tokens *t, const char *user)
{
	pthread_mutex_lock(&t->lock);
	LIST_FOR_EACH_SAFE (k, next, &t->order, struct token, link)
		if (user == NULL || strcmp(k->user, user) == 0)
			drop(t, k);
	pthread_mutex_unlock(&t->lock);
}

static void sweep(struct auth_tokens *t, uint64_t now)
{
	if (now < t->swept_at + SWEEP_MS)
		return;
	t->swept_at = now;
	LIST_FOR_EACH_SAFE (k, next, &t->order, struct token, link) {
		if (k->used_at == 0)
			k->used_at = now;
		else if (now - k->used_at >= t->ttl)
			drop(t, k);
	}
}

void store_tokens_ttl(struct store *s, uint64_t ms)
{
	pthread_mutex_lock(&s->tokens->lock);
	s->tokens->ttl = ms ? ms : TTL_MS;
	pthread_mutex_unlock(&s->tokens->lock);
}

bool store_token_user(struct store *s, struct str token, uint64_t now_ms, struct arena *a, struct str *ret)
{
	struct auth_tokens *t = s->tokens;
	struct token *k;

	pthread_mutex_lock(&t->lock);
	sweep(t, now_ms);
	k = map_get(&t->map, token);
	if (k != NULL && k->used_at != 0 && now_ms > k->used_at && now_ms - k->used_at >= t->ttl) {
		drop(t, k);
		k = NULL;
	}
	if (k != NULL) {
		k->used_at = MAX(k->used_at, now_ms);
		list_del(&k->link);
		list_add_tail(&t->order, &k->link);
		*ret = arena_str(a, str_from(k->user));
	}
	pthread_mutex_unlock(&t->lock);
	return k != NULL;
}
