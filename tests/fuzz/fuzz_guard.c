/*
 * What decides who may do what, fed with what strangers send or an administrator might write: tokens, certificates, signing
 * requests, roles, pods, audit policies, encryption configurations, pod specs, webhooks' answers and
 * configurations. The first byte chooses; the rest is the input.
 */
#include <stddef.h>
#include <stdint.h>

#include "base/util.h"
#include "io/x509.h"
#include "orchestrator/apiserver/audit_policy.h"
#include "orchestrator/apiserver/authz_hook.h"
#include "orchestrator/apiserver/conversion.h"
#include "orchestrator/apiserver/crypt.h"
#include "orchestrator/apiserver/jwt.h"
#include "orchestrator/apiserver/kms_value.h"
#include "orchestrator/apiserver/node_graph.h"
#include "orchestrator/apiserver/podsecurity.h"
#include "orchestrator/apiserver/rbac.h"
#include "orchestrator/apiserver/rbac_index.h"
#include "orchestrator/apiserver/request.h"
#include "orchestrator/apiserver/token_hook.h"
#include "orchestrator/apiserver/webhook.h"
#include "orchestrator/client/csr.h"
#include "proto/json.h"
#include "proto/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t size);

static void token(struct arena *a, struct str in)
{
	static struct x509_key *key;
	struct json *claims;
	struct err e = ERR_INIT;

	if (!key)
		ASSERT(x509_key_new(&key, NULL) == 0);
	/* Nobody guesses a signature. */
	ASSERT(jwt_verify(a, key, in, &claims, &e) < 0 && e.code != 0);
}

static void certificate(struct arena *a, struct str in)
{
	struct x509_cert *cert = NULL;
	struct x509_info info;
	struct err e = ERR_INIT;

	if (x509_info_from_der(in, a, &info, &e) == 0)
		for (size_t i = 0; i < info.n_orgs; i++)
			ASSERT(info.orgs[i].p);
	if (x509_cert_from_pem(in, &cert, &e) == 0)
		x509_info_of(cert, a, &info, &e);
	x509_cert_free(cert);
}

static void request(struct arena *a, struct str in)
{
	struct str usages[] = {STR("client auth"), STR("digital signature")};
	struct csr c = {.pem = in, .usages = usages, .n_usages = 2};
	struct x509_info info;

	for (enum csr_signer s = CSR_CLIENT; s <= CSR_OTHER; s++) {
		struct err e = ERR_INIT;

		if (csr_check(a, s, &c, &info, &e) == 0 && s == CSR_KUBELET_CLIENT)
			ASSERT(str_has_prefix(info.cn, STR("system:node:")) && info.n_dns + info.n_ips == 0);
		/* Who does not want to know why asks without. */
		ASSERT((csr_check(a, s, &c, &info, NULL) < 0) == (e.code != 0));
	}
}

/* What a role allows it also covers: the two ways of reading rules agree. */
static void role(struct arena *a, struct str in)
{
	struct authz_attrs at = {.is_resource = true, .verb = STR("get"), .resource = STR("pods"), .sub = STR("log"),
			.name = STR("x")};
	struct rbac_rules held = {0};
	struct str verb = at.verb, group = at.group, resource = STR("pods/log"), name = at.name;
	struct rbac_rule wanted = {.verbs = &verb, .groups = &group, .resources = &resource, .names = &name, .n_verbs = 1,
			.n_groups = 1, .n_resources = 1, .n_names = 1};
	struct rbac_index *ix = rbac_index_new();

	rbac_rules_add_role(a, &held, in);
	if (rbac_rules_allow(in, &at))
		ASSERT(rbac_missing(a, held.v, held.n, &wanted, 1).n == 0);
	rbac_missing(a, NULL, 0, held.v, MIN(held.n, 4));
	for (enum rbac_kind k = RBAC_ROLE; k < RBAC_N_KINDS; k++) {
		rbac_index_put(ix, k, STR("ns"), STR("n"), in);
		rbac_index_put(ix, k, STR("ns"), STR("n"), STR(""));
		rbac_index_put(ix, k, STR("ns"), STR("n"), in);
		rbac_index_del(ix, k, STR("ns"), STR("n"));
		ASSERT(rbac_index_len(ix, k) == 0);
	}
	rbac_index_free(ix);
}

static void pod(struct arena *a, struct str in)
{
	struct node_graph *g = node_graph_new();

	(void)a;
	node_graph_pod(g, STR("ns"), STR("p"), STR_NULL, in);
	node_graph_pod(g, STR("ns"), STR("p"), in, in);
	node_graph_pod(g, STR("ns"), STR("p"), in, STR_NULL);
	ASSERT(node_graph_edges(g) == 0);
	node_graph_free(g);
}

static void files(struct arena *a, struct str in)
{
	struct audit_policy *policy = NULL;
	struct crypt *c = NULL;
	struct err e = ERR_INIT;

	(void)a;
	if (audit_policy_parse(in, &policy, &e) == 0)
		audit_policy_free(policy);
	if (crypt_parse(in, &c, &e) == 0)
		crypt_free(c);
}

static void security(struct arena *a, struct str in)
{
	struct json *doc;

	if (json_parse(a, in, NULL, &doc, NULL) < 0)
		return;
	ASSERT(podsecurity_check(a, PODSECURITY_PRIVILEGED, json_getc(doc, "metadata"), json_getc(doc, "spec")).n == 0);
	podsecurity_check(a, PODSECURITY_BASELINE, json_getc(doc, "metadata"), json_getc(doc, "spec"));
	podsecurity_check(a, PODSECURITY_RESTRICTED, json_getc(doc, "metadata"), json_getc(doc, "spec"));
}

/* An answer of a webhook, or a configuration. */
static void webhook(struct arena *a, struct str in)
{
	struct webhook_target t = {.op = WEBHOOK_CREATE, .group = STR(""), .version = STR("v1"), .resource = STR("pods"), .sub = STR("log")};
	const char *address, *host;
	struct webhook_answer ans;
	struct err e = ERR_INIT;
	struct str text;
	struct webhook *h;
	struct json *doc;
	size_t n;

	for (int mutating = 0; mutating < 2; mutating++)
		if (webhook_answer_read(a, in, false, mutating, STR("u"), &ans, &e) == 0) {
			int code = webhook_refusal(a, STR("w"), ans.status, &text);

			ASSERT(code >= 400 && code < 600 && text.n > 0 && (mutating || !ans.patch));
		}
	webhook_answer_read(a, in, true, true, STR("u"), &ans, NULL);
	if (json_parse(a, in, NULL, &doc, NULL) < 0)
		return;
	webhook_compile(a, doc, &h, &n);
	for (size_t i = 0; i < n; i++) {
		webhook_rules_match(&h[i].match, &t);
		webhook_objects_match(&h[i].match, doc, NULL);
		hook_url_parse(a, h[i].target.url, &address, &host, &text);
	}
}

/* The answer of a webhook that converts: what it gives is an object in the wanted version, of whom it was. */
static void conversion(struct arena *a, struct str in)
{
	static const struct str object = STR_INIT("{\"apiVersion\":\"e.com/v1\",\"kind\":\"X\",\"metadata\":{\"name\":\"n\",\"uid\":\"1\"}}");
	struct conversion c = {.uid = "u", .to = "e.com/v2", .objects = &object, .n = 1};
	const char *why = NULL;
	struct json *doc;
	struct str out;

	for (int beta = 0; beta < 2; beta++) {
		c.v1beta1 = beta;
		if (conversion_answer(a, &c, in, &out, &why) < 0) {
			ASSERT(why);
			continue;
		}
		ASSERT(json_parse(a, out, NULL, &doc, NULL) == 0 && json_eqc(json_getc(doc, "apiVersion"), "e.com/v2") &&
				json_eqc(json_getp(doc, "metadata.uid"), "1"));
	}
}

/* What lies in the store behind a KMS prefix, which whoever can write to the store may have made. */
static void sealed(struct arena *a, struct str in)
{
	static const uint8_t seed[KMS_SEED_SIZE] = "a seed that nobody knows";
	struct str source = str_of(seed, sizeof(seed));
	Kms__EncryptedObject *o = kms_object_read(a, in);
	struct buf out = BUF_INIT;

	/* Nobody guesses a seed. */
	if (o)
		ASSERT(o->encrypted_data.len > 0 && !kms_data_open(o, source, STR("/registry/secrets/a/b"), &out));
	/* What we seal we open, there and nowhere else. */
	if (o && o->encrypted_dek_source_type == KMS__ENCRYPTED_OBJECT__SOURCE_TYPE__HKDF_SHA256_XNONCE_AES_GCM_SEED) {
		struct buf data = BUF_INIT;

		kms_data_seal(source, STR("/a"), in, &data);
		o->encrypted_data = (ProtobufCBinaryData){data.n, (uint8_t *)data.p};
		ASSERT(!kms_data_open(o, source, STR("/b"), &out));
		ASSERT(kms_data_open(o, source, STR("/a"), &out) && str_eq(buf_str(&out), in));
		buf_fini(&data);
	}
	buf_fini(&out);
}

/* What a webhook answers that knows tokens, or rights. */
static void who(struct arena *a, struct str in)
{
	struct str audience = STR("api");
	struct api_user u;
	struct err e = ERR_INIT;

	if (authz_hook_answer(a, in, NULL) == AUTHZ_YES)
		ASSERT(str_search(in, STR("allowed")) >= 0);
	token_hook_is_answer(in);
	if (token_hook_answer(a, in, audience, &audience, 1, &u, &e) == 0)
		ASSERT(u.name.n > 0 && u.n_groups > 0 && str_eqc(u.groups[u.n_groups - 1], "system:authenticated"));
	else
		ASSERT(e.code == ERR_UNAUTHORIZED && e.text[0]);
	ASSERT(!str_eq(token_hook_key(a, in, NULL, 0), token_hook_key(a, in, &audience, 1)));
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t size)
{
	static void (*const parts[])(struct arena *, struct str) = {token, certificate, request, role, pod, files, security,
			webhook, conversion, sealed, who};
	struct arena a;

	if (size == 0)
		return 0;
	arena_init(&a);
	parts[(unsigned)(uint8_t)(p[0] - '0') % ARRAY_LEN(parts)](&a, str_of(p + 1, size - 1));
	arena_fini(&a);
	return 0;
}
