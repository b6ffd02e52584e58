#include "orchestrator/apiserver/kms-priv.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/util.h"
#include "orchestrator/apiserver/kms_value.h"
#include "proto/pb.h"

#define STALE_MS (3 * 60 * 1000)
/* A source that could not be decrypted is asked for again after so long. */
#define FAILED_MS 1000
#define MAX_SOURCES 1024

static _Thread_local bool hurrying, missed;

/* --- Sources, under the lock ------------------------------------------------------------------------------------------ */

void kms__source_free(void *p)
{
	struct source *s = p;

	if (s->plain)
		memset(s->plain, 0, s->n);
	free(s->plain);
	free(s);
}

struct source *kms__source_put(struct kms *k, struct str ciphertext, enum source_state state, struct str plain)
{
	struct source *s = map_get(&k->sources, ciphertext);

	if (!s) {
		/* There are a few: one for each start of a server and each key. More is somebody's doing. */
		if (map_len(&k->sources) >= MAX_SOURCES) {
			map_fini_with(&k->sources, kms__source_free);
			map_init(&k->sources);
		}
		s = xcalloc(1, sizeof(*s));
		map_put(&k->sources, ciphertext, s);
	}
	free(s->plain);
	s->plain = plain.n ? str_dup(plain) : NULL;
	s->n = plain.n;
	s->state = state;
	s->since_ms = clock_mono_ms();
	return s;
}

/* --- For everybody -------------------------------------------------------------------------------------------------------- */

bool kms_hurry(bool on)
{
	bool was = hurrying;

	hurrying = on;
	return was;
}

bool kms_missed(void)
{
	bool was = missed;

	missed = false;
	return was;
}

static void deadline_of(unsigned ms, struct timespec *ts)
{
	clock_gettime(CLOCK_MONOTONIC, ts);
	ts->tv_sec += ms / 1000;
	ts->tv_nsec += (long)(ms % 1000) * 1000000;
	if (ts->tv_nsec >= 1000000000) {
		ts->tv_sec++;
		ts->tv_nsec -= 1000000000;
	}
}

/* For k->cond; false when the time is over, or this thread does not wait. */
static bool wait_for(struct kms *k, const struct timespec *until)
{
	missed |= hurrying;
	return !hurrying && pthread_cond_timedwait(&k->cond, &k->lock, until) == 0;
}

/* Asked for when it is not known. */
static struct source *source_find(struct kms *k, const Kms__EncryptedObject *o)
{
	struct str key = str_of(o->encrypted_dek_source.data, o->encrypted_dek_source.len);
	struct source *s = map_get(&k->sources, key);

	if (s && !(s->state == SOURCE_FAILED && clock_mono_ms() - s->since_ms >= FAILED_MS))
		return s;
	kms__ask_source(k, o);
	return kms__source_put(k, key, SOURCE_ASKED, STR_NULL);
}

static bool is_coming(const struct kms *k, const struct source *s)
{
	return s && s->state == SOURCE_ASKED && (k->healthy || !k->tried);
}

bool kms_ready(struct kms *k, struct str sealed)
{
	Kms__EncryptedObject *o;
	struct arena a;
	bool ready;

	arena_init(&a);
	o = kms_object_read(&a, sealed);
	pthread_mutex_lock(&k->lock);
	ready = !o || !is_coming(k, source_find(k, o));
	pthread_mutex_unlock(&k->lock);
	arena_fini(&a);
	return ready;
}

/* The plain form of its source, waited for if need be; in the arena. */
static bool source_of(struct kms *k, struct arena *a, const Kms__EncryptedObject *o, struct str *ret)
{
	struct str key = str_of(o->encrypted_dek_source.data, o->encrypted_dek_source.len);
	struct timespec until;
	struct source *s;
	bool ok, in_time = true;

	deadline_of(k->timeout_ms, &until);
	pthread_mutex_lock(&k->lock);
	s = source_find(k, o);
	while (in_time && is_coming(k, s)) {
		in_time = wait_for(k, &until);
		s = map_get(&k->sources, key);
	}
	ok = s && s->state == SOURCE_OPEN;
	if (ok)
		*ret = arena_str(a, str_of(s->plain, s->n));
	pthread_mutex_unlock(&k->lock);
	return ok;
}

int kms_seal(struct kms *k, struct str aad, struct str plain, struct buf *out, struct err *e)
{
	_cleanup_(buf_fini) struct buf data = BUF_INIT;
	Kms__EncryptedObject o = KMS__ENCRYPTED_OBJECT__INIT;
	struct timespec until;
	bool in_time = true;
	int rv = 0;

	deadline_of(k->timeout_ms, &until);
	pthread_mutex_lock(&k->lock);
	while (!k->tried && in_time)
		in_time = wait_for(k, &until);
	if (!k->key_id)
		rv = err_set(e, ERR_UNAVAILABLE, "the KMS plugin %s has no key yet: %s", k->name, k->tried ? k->why : "it does not answer");
	else if (clock_mono_ms() - k->well_ms >= STALE_MS)
		rv = err_set(e, ERR_UNAVAILABLE, "the KMS plugin %s has not been well for three minutes: %s", k->name, k->why);
	if (rv == 0) {
		kms_data_seal(str_of(k->seed, sizeof(k->seed)), aad, plain, &data);
		o.encrypted_data = (ProtobufCBinaryData){data.n, (uint8_t *)data.p};
		/* Messages are joined by writing one after the other: `wrapped` has all other fields. */
		pb_pack(&o, out);
		buf_adds(out, buf_str(&k->wrapped));
	}
	pthread_mutex_unlock(&k->lock);
	return rv;
}

bool kms_open(struct kms *k, struct str aad, struct str sealed, struct buf *out)
{
	Kms__EncryptedObject *o;
	struct str source;
	struct arena a;
	bool ok;

	arena_init(&a);
	o = kms_object_read(&a, sealed);
	ok = o && source_of(k, &a, o, &source) && kms_data_open(o, source, aad, out);
	arena_fini(&a);
	return ok;
}

bool kms_is_stale(struct kms *k, struct str sealed)
{
	Kms__EncryptedObject *o;
	struct arena a;
	bool stale;

	arena_init(&a);
	o = kms_object_read(&a, sealed);
	pthread_mutex_lock(&k->lock);
	stale = k->key_id && (!o || strcmp(o->key_id, k->key_id) != 0);
	pthread_mutex_unlock(&k->lock);
	arena_fini(&a);
	return stale;
}

int kms_health(struct kms *k, struct err *e)
{
	int rv = 0;

	pthread_mutex_lock(&k->lock);
	if (!k->healthy)
		rv = err_set(e, ERR_UNAVAILABLE, "%s", k->tried ? k->why : "not asked yet");
	pthread_mutex_unlock(&k->lock);
	return rv;
}

struct str kms_key_id(struct kms *k, struct arena *a)
{
	struct str id;

	pthread_mutex_lock(&k->lock);
	id = k->key_id ? arena_str(a, str_from(k->key_id)) : STR_NULL;
	pthread_mutex_unlock(&k->lock);
	return id;
}
