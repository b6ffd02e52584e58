#include <arpa/inet.h>
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "proto/selector.h"
#include "proto/validate-priv.h"

/* ---- names ---- */

static bool is_lower_alnum(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

/* [a-z0-9]([-a-z0-9]*[a-z0-9])? */
static bool is_label(struct str s)
{
	if (s.n == 0 || !is_lower_alnum(s.p[0]) || !is_lower_alnum(s.p[s.n - 1]))
		return false;
	for (size_t i = 0; i < s.n; i++)
		if (!is_lower_alnum(s.p[i]) && s.p[i] != '-')
			return false;
	return true;
}

const char *validate_dns1123_label(struct str s)
{
	if (s.n > 63)
		return "must be no more than 63 bytes";
	/* What would do as a subdomain has nothing wrong with it but the dots. */
	if (str_find(s, '.') >= 0 && validate_dns1123_subdomain(s) == NULL)
		return "must not contain dots";
	return is_label(s) ? NULL
			   : "a lowercase RFC 1123 label must consist of lower case alphanumeric "
			     "characters or '-', and must start "
			     "and end with an alphanumeric character (e.g. 'my-name',  or "
			     "'123-abc', regex used for validation is "
			     "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
}

const char *validate_dns1123_subdomain(struct str s)
{
	struct str rest = s, part;
	bool more = true, good = s.n > 0;

	if (s.n > 253)
		return "must be no more than 253 bytes";
	while (more && good) {
		more = str_cut(rest, '.', &part, &rest);
		good = is_label(part);
	}
	return good ? NULL
		    : "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric "
		      "characters, '-' or '.', and must "
		      "start and end with an alphanumeric character (e.g. 'example.com', regex "
		      "used for validation is "
		      "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
}

const char *validate_dns1035_label(struct str s)
{
	if (s.n > 63)
		return "must be no more than 63 bytes";
	return is_label(s) && !isdigit((unsigned char)s.p[0])
		       ? NULL
		       : "a DNS-1035 label must consist of lower case alphanumeric characters or "
			 "'-', start with an alphabetic "
			 "character, and end with an alphanumeric character (e.g. 'my-name',  or "
			 "'abc-123', regex used for "
			 "validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
}

const char *validate_path_segment(struct str s)
{
	if (str_eqc(s, "."))
		return "may not be '.'";
	if (str_eqc(s, ".."))
		return "may not be '..'";
	if (str_find(s, '/') >= 0)
		return "may not contain '/'";
	return str_find(s, '%') >= 0 ? "may not contain '%'" : NULL;
}

const char *validate__qualified_name(struct str s)
{
	return label_key_error(NULL, s);
}

/* [-._a-zA-Z0-9]+ */
const char *validate__config_key(struct str s)
{
	bool good = s.n > 0;

	if (s.n > 253)
		return "must be no more than 253 bytes";
	for (size_t i = 0; i < s.n; i++)
		good &= isalnum((unsigned char)s.p[i]) || s.p[i] == '-' || s.p[i] == '_' ||
			s.p[i] == '.';
	if (!good)
		return "a valid config key must consist of alphanumeric characters, '-', '_' or "
		       "'.' (e.g. 'key.name',  or 'KEY_NAME',  or "
		       "'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";
	if (str_eqc(s, "."))
		return "must not be '.'";
	return str_has_prefix(s, STR("..")) ? "must not start with '..'" : NULL;
}

/* An IANA service name. */
const char *validate__port_name(struct str s)
{
	bool letter = false;

	if (s.n > 15)
		return "must be no more than 15 characters";
	for (size_t i = 0; i < s.n; i++) {
		if (!is_lower_alnum(s.p[i]) && s.p[i] != '-')
			return "must contain only alpha-numeric characters (a-z, 0-9), and hyphens "
			       "(-)";
		letter |= !isdigit((unsigned char)s.p[i]) && s.p[i] != '-';
	}
	if (!letter)
		return "must contain at least one letter (a-z)";
	if (str_search(s, STR("--")) >= 0)
		return "must not contain consecutive hyphens";
	return s.p[0] == '-' || s.p[s.n - 1] == '-' ? "must not begin or end with a hyphen" : NULL;
}

/* Any printable ASCII but '='. */
const char *validate__env_name(struct str s)
{
	bool good = s.n > 0;

	for (size_t i = 0; i < s.n; i++)
		good &= s.p[i] >= ' ' && s.p[i] < 0x7f && s.p[i] != '=';
	return good ? NULL
		    : "a valid environment variable name must consist only of printable ASCII "
		      "characters other than '='";
}

/* ---- addresses ---- */

static bool parse_ip(struct str s, bool *ret_v6)
{
	char text[64], bytes[16];

	if (s.n == 0 || s.n >= sizeof(text))
		return false;
	memcpy(text, s.p, s.n);
	text[s.n] = '\0';
	*ret_v6 = str_find(s, ':') >= 0;
	return inet_pton(*ret_v6 ? AF_INET6 : AF_INET, text, bytes) == 1;
}

const char *validate__ip(struct str s)
{
	bool v6;

	return parse_ip(s, &v6) ? NULL
				: "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
}

const char *validate__no_special_ip(struct str s)
{
	struct in_addr v4;
	struct in6_addr v6;
	char text[INET6_ADDRSTRLEN + 1];
	bool four, six;

	if (s.n >= sizeof(text))
		return NULL;
	memcpy(text, s.p, s.n);
	text[s.n] = '\0';
	four = inet_pton(AF_INET, text, &v4) == 1;
	six = !four && inet_pton(AF_INET6, text, &v6) == 1;
	if (four)
		v4.s_addr = ntohl(v4.s_addr);
	if ((four && v4.s_addr == 0) || (six && IN6_IS_ADDR_UNSPECIFIED(&v6)))
		return "may not be unspecified (0.0.0.0 or ::)";
	if ((four && v4.s_addr >> 24 == 127) || (six && IN6_IS_ADDR_LOOPBACK(&v6)))
		return "may not be in the loopback range (127.0.0.0/8, ::1/128)";
	if ((four && v4.s_addr >> 16 == 0xa9fe) || (six && IN6_IS_ADDR_LINKLOCAL(&v6)))
		return "may not be in the link-local range (169.254.0.0/16, fe80::/10)";
	if ((four && v4.s_addr >> 8 == 0xe00000) || (six && IN6_IS_ADDR_MC_LINKLOCAL(&v6)))
		return "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)";
	return NULL;
}

bool validate__is_cidr(struct str s)
{
	struct str ip, bits;
	uint64_t n;
	bool v6;

	return str_cut(s, '/', &ip, &bits) && parse_ip(ip, &v6) && str_to_u64(bits, &n) &&
	       n <= (v6 ? 128 : 32) && (bits.n == 1 || bits.p[0] != '0');
}

/* ---- fields ---- */

bool validate__required(
	struct field_errs *e, const struct field_path *up, const struct json *obj, const char *key)
{
	struct field_path path = field_child(up, key);

	if (json_str(json_getc(obj, key)).n > 0)
		return true;
	field_required(e, &path, "");
	return false;
}

void validate__one_of_opt(struct field_errs *e, const struct field_path *up, const struct json *obj,
	const char *key, const char *const *values)
{
	struct field_path path = field_child(up, key);
	struct str s = json_str(json_getc(obj, key));

	if (s.n == 0)
		return;
	for (size_t i = 0; values[i]; i++)
		if (str_eqc(s, values[i]))
			return;
	field_not_supported(e, &path, s, values);
}

void validate__one_of(struct field_errs *e, const struct field_path *up, const struct json *obj,
	const char *key, const char *const *values)
{
	if (validate__required(e, up, obj, key))
		validate__one_of_opt(e, up, obj, key, values);
}

void validate__nonneg(
	struct field_errs *e, const struct field_path *up, const struct json *obj, const char *key)
{
	struct field_path path = field_child(up, key);
	struct json *v = json_getc(obj, key);

	if (json_i64_or(v, 0) < 0)
		field_invalid(e, &path, v, "must be greater than or equal to 0");
}

void validate__port_number(
	struct field_errs *e, const struct field_path *path, const struct json *port)
{
	int64_t n = json_i64_or(port, 0);

	if (n < 1 || n > 65535)
		field_invalid(e, path, port ? port : json_new_int(e->arena, 0),
			"must be between 1 and 65535, inclusive");
}

void validate__port_or_name(
	struct field_errs *e, const struct field_path *path, const struct json *port)
{
	const char *bad;

	if (!json_is(port, JSON_STRING)) {
		validate__port_number(e, path, port);
		return;
	}
	bad = validate__port_name(port->s);
	if (bad)
		field_invalid(e, path, port, "%s", bad);
}

static bool percent(const struct json *v, int64_t *ret)
{
	struct str s = json_str(v);

	return s.n > 1 && s.p[s.n - 1] == '%' && str_to_i64(str_sub(s, 0, s.n - 1), ret);
}

void validate__part_of_all(
	struct field_errs *e, const struct field_path *path, const struct json *v)
{
	int64_t n;

	if (json_is_null(v))
		return;
	validate__int_or_percent(e, path, v);
	if (json_is(v, JSON_STRING) && percent(v, &n) && n > 100)
		field_err_add(e, path, FIELD_INVALID,
			"Invalid value: %s: must not be greater than 100%%",
			validate__go_int_or_string(e->arena, v));
}

bool validate__is_zero(const struct json *v)
{
	int64_t n;

	return json_is(v, JSON_STRING) ? percent(v, &n) && n == 0 : json_i64_or(v, 0) == 0;
}

void validate__int_or_percent(
	struct field_errs *e, const struct field_path *path, const struct json *v)
{
	int64_t n;

	if (json_is(v, JSON_STRING)) {
		if (!percent(v, &n) || n < 0)
			field_err_add(e, path, FIELD_INVALID,
				"Invalid value: %s: a valid percent string must be a numeric "
				"string followed by an ending '%%' "
				"(e.g. '1%%',  or '93%%', regex used for validation is '[0-9]+%%')",
				validate__go_int_or_string(e->arena, v));
	} else if (json_i64_or(v, 0) < 0) {
		field_invalid(e, path, v, "must be greater than or equal to 0");
	}
}

void validate__name(struct field_errs *e, const struct field_path *up, const struct json *obj,
	const char *key, const char *(*syntax)(struct str))
{
	struct field_path path = field_child(up, key);
	struct str s = json_str(json_getc(obj, key));
	const char *bad = syntax(s);

	if (bad)
		field_invalid_str(e, &path, s, "%s", bad);
}

void validate__name_opt(struct field_errs *e, const struct field_path *up, const struct json *obj,
	const char *key, const char *(*syntax)(struct str))
{
	if (json_str(json_getc(obj, key)).n > 0)
		validate__name(e, up, obj, key, syntax);
}

void validate__each(struct field_errs *e, const struct field_path *up, const struct json *obj,
	const char *key,
	void (*fn)(struct field_errs *, const struct field_path *, const struct json *))
{
	struct field_path all = field_child(up, key);
	size_t i = 0;

	JSON_ITEMS (it, json_getc(obj, key)) {
		struct field_path at = field_index(&all, i++);

		fn(e, &at, it);
	}
}

void validate__bad(struct field_errs *e, const struct field_path *up, const struct json *obj,
	const char *key, const char *fmt, ...)
{
	struct field_path path = field_child(up, key);
	struct json *v = json_getc(obj, key);
	va_list ap;
	char *text;

	va_start(ap, fmt);
	text = arena_vprintf(e->arena, fmt, ap);
	va_end(ap);
	if (json_is(v, JSON_ARRAY))
		field_err_add(e, &path, FIELD_INVALID, "Invalid value: %s: %s",
			validate__go_strings(e->arena, v), text);
	else
		field_invalid(e, &path, v, "%s", text);
}

void validate__bad_count(struct field_errs *e, const struct field_path *up, const struct json *obj,
	const char *key, const char *text)
{
	struct field_path path = field_child(up, key);
	struct json *v = json_getc(obj, key);

	field_invalid(e, &path, v ? v : json_new_int(e->arena, 0), "%s", text);
}

void validate__missing(
	struct field_errs *e, const struct field_path *up, const char *key, const char *detail)
{
	struct field_path path = field_child(up, key);

	field_required(e, &path, detail);
}

void validate__forbid(
	struct field_errs *e, const struct field_path *up, const char *key, const char *fmt, ...)
{
	struct field_path path = field_child(up, key);
	va_list ap;
	char *text;

	va_start(ap, fmt);
	text = arena_vprintf(e->arena, fmt, ap);
	va_end(ap);
	field_forbidden(e, &path, "%s", text);
}

void validate__range(struct field_errs *e, const struct field_path *up, const struct json *obj,
	const char *key, int64_t min, int64_t max, const char *text)
{
	struct json *v = json_getc(obj, key);
	int64_t n = json_i64_or(v, 0);

	if (json_is(v, JSON_NUMBER) && (n < min || n > max))
		validate__bad(e, up, obj, key, "%s", text);
}

void validate__once(struct field_errs *e, struct json *seen, const struct field_path *at,
	const struct json *obj, const char *key)
{
	struct field_path path = field_child(at, key);
	struct str v = json_str(json_getc(obj, key));

	if (v.n > 0 && json_get(seen, v))
		field_duplicate(e, &path, v);
	json_set(e->arena, seen, v, json_new_null(e->arena));
}

void validate__no_doubles(
	struct field_errs *e, const struct field_path *up, const struct json *obj, const char *key)
{
	struct field_path all = field_child(up, key);
	struct json *seen = json_new_object(e->arena);
	size_t i = 0;

	JSON_ITEMS (it, json_getc(obj, key)) {
		struct field_path at = field_index(&all, i++);

		if (json_get(seen, json_str(it)))
			field_duplicate(e, &at, json_str(it));
		json_set(e->arena, seen, json_str(it), it);
	}
}

void validate__immutable(struct field_errs *e, const struct field_path *up, const struct json *obj,
	const struct json *old, const char *key)
{
	struct field_path path = field_child(up, key);
	struct json *now = json_getc(obj, key), *was = json_getc(old, key);

	if (json_is_null(now) && json_is_null(was))
		return;
	if (!json_equal(now, was))
		field_invalid(e, &path, now, "field is immutable");
}

void validate__label_selector(
	struct field_errs *e, const struct field_path *path, const struct json *sel)
{
	struct field_path labels = field_child(path, "matchLabels"),
			  list = field_child(path, "matchExpressions");
	size_t i = 0;

	validate_labels(json_getc(sel, "matchLabels"), &labels, e);
	JSON_ITEMS (x, json_getc(sel, "matchExpressions")) {
		struct field_path at = field_index(&list, i++), key = field_child(&at, "key"),
				  op_path = field_child(&at, "operator");
		struct field_path values = field_child(&at, "values");
		struct json *op = json_getc(x, "operator");
		bool set = json_eqc(op, "In") || json_eqc(op, "NotIn");
		const char *bad = validate__qualified_name(json_str(json_getc(x, "key")));

		if (set && json_len(json_getc(x, "values")) == 0)
			field_required(
				e, &values, "must be specified when `operator` is 'In' or 'NotIn'");
		else if ((json_eqc(op, "Exists") || json_eqc(op, "DoesNotExist")) &&
			 json_len(json_getc(x, "values")) > 0)
			field_forbidden(e, &values,
				"may not be specified when `operator` is 'Exists' or "
				"'DoesNotExist'");
		else if (!set && !json_eqc(op, "Exists") && !json_eqc(op, "DoesNotExist"))
			field_invalid_str(
				e, &op_path, json_str(op), "not a valid selector operator");
		if (bad)
			field_invalid_str(e, &key, json_str(json_getc(x, "key")), "%s", bad);
	}
}

static int member_cmp(const void *a, const void *b)
{
	return str_cmp(((const struct json_member *)a)->key, ((const struct json_member *)b)->key);
}

const char *validate__go_map(struct arena *a, const struct json *map)
{
	struct buf b = BUF_INIT;
	size_t n = json_len(map);
	struct json_member *sorted = n ? arena_memdup(a, map->members, n * sizeof(*sorted)) : NULL;
	const char *text;

	if (n > 1)
		qsort(sorted, n, sizeof(*sorted), member_cmp);
	buf_addc(&b, map ? "map[string]string{" : "map[string]string(nil)");
	for (size_t i = 0; i < n; i++) {
		buf_addc(&b, i ? ", " : "");
		json_print_string(&b, sorted[i].key, JSON_RAW_HTML);
		buf_add1(&b, ':');
		json_print_string(&b, json_str(sorted[i].value), JSON_RAW_HTML);
	}
	if (map)
		buf_add1(&b, '}');
	text = arena_cstr(a, buf_str(&b));
	buf_fini(&b);
	return text;
}

const char *validate__go_strings(struct arena *a, const struct json *list)
{
	struct buf b = BUF_INIT;
	const char *text;

	buf_addc(&b, "[]string{");
	for (size_t i = 0; i < json_len(list); i++) {
		buf_addc(&b, i ? ", " : "");
		json_print_string(&b, json_str(json_at(list, i)), JSON_RAW_HTML);
	}
	buf_add1(&b, '}');
	text = arena_cstr(a, buf_str(&b));
	buf_fini(&b);
	return text;
}

const char *validate__go_int_or_string(struct arena *a, const struct json *v)
{
	bool text = json_is(v, JSON_STRING);

	return arena_printf(a, "intstr.IntOrString{Type:%d, IntVal:%lld, StrVal:\"%s\"}", text,
		(long long)json_i64_or(v, 0), json_cstr(v));
}

void validate__label_value(
	struct field_errs *e, const struct field_path *up, const struct json *obj, const char *key)
{
	struct field_path path = field_child(up, key);
	const char *bad = label_value_error(e->arena, json_str(json_getc(obj, key)));

	if (bad)
		field_invalid_str(e, &path, json_str(json_getc(obj, key)), "%s", bad);
}
