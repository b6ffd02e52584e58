#include "tests/unit/raft/raftest.h"

#include <ftw.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

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
	int rc;

	rt_put_command(&cmd, key, value);
	rc = kv_propose_wait(kv, buf_str(&cmd), NULL, NULL, e);
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

bool rt_wait(bool (*fn)(void *arg), void *arg, unsigned ms)
{
	for (unsigned i = 0; i < ms; i += 5) {
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
