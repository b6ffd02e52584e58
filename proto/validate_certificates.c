#include <string.h>

#include "base/util.h"
#include "proto/codec.h"
#include "proto/validate-priv.h"

#define EXPIRATION_MIN 600
#define SIGNER_MAX (253u + 1 + 253)

/* Go's printing of bytes: []byte{0x61, 0x62}. */
static const char *go_bytes(struct arena *a, struct str bytes)
{
	struct buf b = BUF_INIT;
	const char *text;

	buf_addc(&b, "[]byte{");
	for (size_t i = 0; i < bytes.n; i++)
		buf_printf(&b, "%s0x%x", i ? ", " : "", (unsigned char)bytes.p[i]);
	buf_add1(&b, '}');
	text = arena_cstr(a, buf_str(&b));
	buf_fini(&b);
	return text;
}

static void request(struct field_errs *e, const struct field_path *up, const struct json *spec)
{
	struct field_path path = field_child(up, "request");
	struct buf b = BUF_INIT;

	codec_base64_parse(json_str(json_getc(spec, "request")), &b);
	if (str_search(buf_str(&b), STR("-----BEGIN CERTIFICATE REQUEST-----")) < 0)
		field_err_add(e, &path, FIELD_INVALID, "Invalid value: %s: PEM block type must be CERTIFICATE REQUEST",
			go_bytes(e->arena, buf_str(&b)));
	buf_fini(&b);
}

static void usages(struct field_errs *e, const struct field_path *up, const struct json *spec)
{
	static const char *const known[] = {"any", "cert sign", "client auth", "code signing",
		"content commitment", "crl sign", "data encipherment", "decipher only",
		"digital signature", "email protection", "encipher only", "ipsec end system",
		"ipsec tunnel", "ipsec user", "key agreement", "key encipherment", "microsoft sgc",
		"netscape sgc", "ocsp signing", "s/mime", "server auth", "signing", "timestamping",
		NULL};
	struct field_path path = field_child(up, "usages");
	struct json *list = json_getc(spec, "usages"), *seen = json_new_object(e->arena);
	size_t i = 0;

	if (json_len(list) == 0)
		field_required(e, &path, "");
	JSON_ITEMS (u, list) {
		struct field_path at = field_index(&path, i++);
		size_t k = 0;

		while (known[k] && !json_eqc(u, known[k]))
			k++;
		if (!known[k])
			field_not_supported(e, &at, json_str(u), known);
		if (json_get(seen, json_str(u)))
			field_duplicate(e, &at, json_str(u));
		json_set(e->arena, seen, json_str(u), u);
	}
}

/* domain/path, the path of names between dots. */
static void signer(struct field_errs *e, const struct field_path *up, const struct json *spec)
{
	struct field_path path = field_child(up, "signerName");
	struct str name = json_str(json_getc(spec, "signerName")), domain, rest, part;
	const char *bad;
	bool more = true;

	if (name.n == 0) {
		field_required(e, &path, "");
		return;
	}
	if (!str_cut(name, '/', &domain, &rest) || str_find(rest, '/') >= 0) {
		field_invalid_str(e, &path, name,
			"must be a fully qualified domain and path of the form 'example.com/signer-name'");
		return;
	}
	bad = validate_dns1123_subdomain(domain);
	if (bad)
		field_invalid_str(e, &path, domain, "validating label \"%.*s\": %s", STR_FMT(domain), bad);
	while (more) {
		more = str_cut(rest, '.', &part, &rest);
		bad = validate_dns1123_subdomain(part);
		if (bad)
			field_invalid_str(e, &path, name, "validating label \"%.*s\": %s", STR_FMT(part), bad);
	}
	if (str_find(domain, '.') < 0)
		field_invalid_str(e, &path, domain, "should be a domain with at least two segments separated by dots");
	if (name.n > SIGNER_MAX)
		field_too_long(e, &path, SIGNER_MAX);
}

static const struct json *condition(const struct json *obj, const char *type)
{
	JSON_ITEMS (c, json_getp(obj, "status.conditions"))
		if (json_eqc(json_getc(c, "type"), type))
			return c;
	return NULL;
}

/* A verdict is final, and there is one at most. */
static void conditions(const struct validate__ctx *c)
{
	static const char *const verdicts[] = {"Approved", "Denied", "Failed"};
	static const char *const statuses[] = {"True", "False", "Unknown", NULL};
	struct field_path status = field_child(NULL, "status"), all = field_child(&status, "conditions");
	struct json *seen = json_new_object(c->errs->arena);
	size_t i = 0;

	JSON_ITEMS (x, json_getp(c->obj, "status.conditions")) {
		struct field_path at = field_index(&all, i++), value = field_child(&at, "status"),
				  type_path = field_child(&at, "type");
		struct str type = json_str(json_getc(x, "type"));

		if (type.n == 0)
			field_required(c->errs, &type_path, "");
		validate__one_of(c->errs, &at, x, "status", statuses);
		for (size_t k = 0; k < ARRAY_LEN(verdicts); k++)
			if (str_eqc(type, verdicts[k]) && !json_eqc(json_getc(x, "status"), "True") &&
				json_str(json_getc(x, "status")).n > 0)
				field_not_supported(c->errs, &value, json_str(json_getc(x, "status")),
					(const char *const[]){"True", NULL});
		if (json_get(seen, type))
			field_duplicate(c->errs, &type_path, type);
		json_set(c->errs->arena, seen, type, x);
	}
	if (condition(c->obj, "Approved") && condition(c->obj, "Denied"))
		field_invalid_str(c->errs, &all, STR("Approved"), "Approved and Denied conditions are mutually exclusive");
	for (size_t k = 0; c->old && k < ARRAY_LEN(verdicts); k++)
		if (condition(c->old, verdicts[k]) && !condition(c->obj, verdicts[k]))
			field_forbidden(c->errs, &all, "updates may not remove a condition of type \"%s\"", verdicts[k]);
	if (c->old && strcmp(c->sub, "approval") != 0)
		for (size_t k = 0; k < 2; k++)
			if (condition(c->obj, verdicts[k]) && !condition(c->old, verdicts[k]))
				field_forbidden(c->errs, &all, "updates may not add a condition of type \"%s\"",
					verdicts[k]);
}

void validate__csr(const struct validate__ctx *c)
{
	struct field_path spec = field_child(NULL, "spec"), expiration = field_child(&spec, "expirationSeconds");
	const struct json *s = json_getc(c->obj, "spec");
	struct json *seconds = json_getc(s, "expirationSeconds");

	conditions(c);
	if (c->old)
		return;
	request(c->errs, &spec, s);
	usages(c->errs, &spec, s);
	signer(c->errs, &spec, s);
	if (json_is(seconds, JSON_NUMBER) && json_i64_or(seconds, 0) < EXPIRATION_MIN)
		field_invalid(c->errs, &expiration, seconds,
			"may not specify a duration less than 600 seconds (10 minutes)");
}
