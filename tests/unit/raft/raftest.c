#include "tests/unit/raft/raftest.h"

#include <arpa/inet.h>
#include <ftw.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "io/tls.h"
#include "io/x509.h"
#include "proto/raft.pb-c.h"
#include "store/view.h"

char *rt_dir(void)
{
	const char *base = getenv("TMPDIR");
	char *dir = xasprintf("%s/kontiki-raft.XXXXXX", base ? base : "/tmp");

	if (!mkdtemp(dir))
		abort();
	return dir;
}

static int remove_one(const char *path, const struct stat *st _unused_, int type _unused_, struct FTW *ftw _unused_)
{
	return remove(path);
}

void rt_dir_free(char *dir)
{
	nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	free(dir);
}

void rt_put_command(struct buf *out, const char *key, const char *value)
{
	Raftpb__Command cmd = RAFTPB__COMMAND__INIT;
	Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
	size_t size;

	put.key = (ProtobufCBinaryData){strlen(key), (uint8_t *)(uintptr_t)key};
	put.value = (ProtobufCBinaryData){strlen(value), (uint8_t *)(uintptr_t)value};
	cmd.op_case = RAFTPB__COMMAND__OP_PUT;
	cmd.put = &put;
	size = protobuf_c_message_get_packed_size(&cmd.base);
	protobuf_c_message_pack(&cmd.base, (uint8_t *)buf_reserve(out, size));
	buf_advance(out, size);
}

int rt_put(struct kv *kv, const char *key, const char *value, struct err *e)
{
	struct buf cmd = BUF_INIT;
	struct err why;
	int rc;

	rt_put_command(&cmd, key, value);
	/* On a machine that stands still at times another leads in between: nobody knows then, and it is put again, as clients do. */
	do {
		why = (struct err)ERR_INIT;
		rc = kv_propose_wait(kv, buf_str(&cmd), NULL, NULL, &why);
	} while (rc != 0 && strstr(why.text, "leadership was lost"));
	if (rc != 0 && e)
		*e = why;
	buf_fini(&cmd);
	return rc;
}

char *rt_get(struct kv *kv, const char *key)
{
	struct store_view *view;
	struct store_kv found;
	char *value = NULL;

	if (store_view_open(kv_store(kv), &view, NULL) != 0)
		return NULL;
	if (view_get(view, str_from(key), 0, &found, NULL) == 0)
		value = str_dup(found.value);
	store_view_close(view);
	return value;
}

#define RT_WAIT_MS 60000

bool rt_wait(bool (*fn)(void *arg), void *arg)
{
	for (unsigned i = 0; i < RT_WAIT_MS; i += 5) {
		if (fn(arg))
			return true;
		nanosleep(&(struct timespec){0, 5000000}, NULL);
	}
	return fn(arg);
}

void rt_tls(struct tls_ctx **server, struct tls_ctx **client, const char *org)
{
	static struct x509_key *ca_key;
	static struct x509_cert *ca;
	static struct buf ca_pem = BUF_INIT;
	struct x509_key *key;
	struct x509_cert *cert;
	struct buf key_pem = BUF_INIT, cert_pem = BUF_INIT;
	struct x509_spec spec = {.cn = "member",
				 .orgs = (const char *const[]){org, NULL},
				 .sans = (const char *const[]){"127.0.0.1", NULL},
				 .server = true,
				 .client = true};
	struct tls_config cfg = {.verify = TLS_VERIFY_REQUIRED};

	if (!ca) {
		OK(x509_key_new(&ca_key, &e));
		OK(x509_ca_new("test-ca", 1, ca_key, &ca, &e));
		OK(x509_cert_to_pem(ca, &ca_pem, &e));
	}
	OK(x509_key_new(&key, &e));
	OK(x509_sign(&spec, key, ca, ca_key, &cert, &e));
	OK(x509_key_to_pem(key, &key_pem, &e));
	OK(x509_cert_to_pem(cert, &cert_pem, &e));
	cfg.cert_pem = buf_str(&cert_pem);
	cfg.key_pem = buf_str(&key_pem);
	cfg.ca_pem = buf_str(&ca_pem);
	OK(tls_ctx_new(&cfg, client, &e));
	cfg.server = true;
	OK(tls_ctx_new(&cfg, server, &e));
	x509_key_free(key);
	x509_cert_free(cert);
	buf_fini(&key_pem);
	buf_fini(&cert_pem);
}

void check_value(struct kv *kv, const char *key, const char *want)
{
	char *value = rt_get(kv, key);

	if (!want) {
		assert_null(value);
		return;
	}
	assert_non_null(value);
	assert_string_equal(value, want);
	free(value);
}

/* --- Three members ----------------------------------------------------------------------------------------- */

void free_port(char out[32])
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t n = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&a, n), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &n), 0);
	snprintf(out, 32, "127.0.0.1:%d", ntohs(a.sin_port));
	close(fd);
}

static void on_fatal(void *arg, const struct err *e)
{
	struct cluster *c = arg;

	pthread_mutex_lock(&c->lock);
	c->fatal = *e;
	pthread_mutex_unlock(&c->lock);
}

int member_try(struct cluster *c, int i, bool join, struct err *e)
{
	const char *seeds[] = {c->addrs[0], c->addrs[1], c->addrs[2]};
	struct kv_cfg cfg = {.data_dir = c->dirs[i],
			     .name = c->names[i],
			     .listen = c->addrs[i],
			     .tls_server = c->server,
			     .tls_client = c->client,
			     .initial = join ? NULL : c->peers,
			     .n_initial = join ? 0 : 3,
			     .join = join ? seeds : NULL,
			     .n_join = join ? 3 : 0,
			     .replace_ms = 300,
			     .zone = c->zone,
			     .places_only = c->places_only,
			     .nosync = true,
			     .on_fatal = on_fatal,
			     .on_fatal_arg = c};

	return kv_start(&cfg, &c->kv[i], e);
}

/* On a machine that stands still at times, the others may take long to agree that who is replaced is dead. */
void member_start(struct cluster *c, int i, bool join)
{
	uint64_t end = clock_mono_ms() + RT_WAIT_MS;
	struct err why;
	int rv;

	do {
		why = (struct err)ERR_INIT;
		rv = member_try(c, i, join, &why);
	} while (rv == -(int)ERR_UNAVAILABLE && clock_mono_ms() < end);
	if (rv != 0)
		fail_msg("%s: %s", c->names[i], why.text);
}

void cluster_start(struct cluster *c)
{
	memset(c, 0, sizeof(*c));
	pthread_mutex_init(&c->lock, NULL);
	rt_tls(&c->server, &c->client, "kontiki:peers");
	for (int i = 0; i < 4; i++) {
		c->dirs[i] = rt_dir();
		free_port(c->addrs[i]);
		snprintf(c->names[i], sizeof(c->names[i]), "n%d", i + 1);
	}
	for (int i = 0; i < 3; i++)
		c->peers[i] = (struct kv_peer){.name = c->names[i], .addr = c->addrs[i]};
	for (int i = 0; i < 3; i++)
		member_start(c, i, false);
}

void cluster_stop(struct cluster *c)
{
	for (int i = 0; i < 4; i++) {
		kv_stop(c->kv[i]);
		rt_dir_free(c->dirs[i]);
	}
	tls_ctx_unref(c->server);
	tls_ctx_unref(c->client);
}

static int leader_now(struct cluster *c)
{
	for (int i = 0; i < 4; i++) {
		struct kv_status s;

		if (!c->kv[i])
			continue;
		kv_status(c->kv[i], &s);
		if (s.role.leader)
			return i;
	}
	return -1;
}

bool has_leader(void *arg)
{
	return leader_now(arg) >= 0;
}

int leader_of(struct cluster *c)
{
	int i = -1;

	/* On a busy machine leadership may be on its way from one to the next. */
	assert_true(rt_wait(has_leader, c));
	while ((i = leader_now(c)) < 0)
		usleep(1000);
	return i;
}

bool has_voters(void *arg)
{
	struct expect *x = arg;
	struct kv_status s;
	size_t n = 0;

	kv_status(x->kv, &s);
	for (size_t i = 0; i < s.n_members; i++)
		n += s.members[i].role == KV_VOTER;
	return n == x->voters && s.n_members == x->voters;
}
