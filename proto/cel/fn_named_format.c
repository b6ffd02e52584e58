/* format.named("dns1123Label").validate(text): Kubernetes' own names for what a text may be. */
#include <string.h>

#include "proto/cel/opaque-priv.h"
#include "proto/selector.h"
#include "proto/structural.h"
#include "proto/validate.h"

/* The length of govalidator's and strfmt's expressions, by which upstream counts costs. */
#define URL_REGEX 1120
#define UUID_REGEX 70
#define BASE64_REGEX 84
#define DATETIME_REGEX 71

static const char *dns1123_label(struct arena *a, struct str s)
{
	(void)a;
	return validate_dns1123_label(s);
}

static const char *dns1123_subdomain(struct arena *a, struct str s)
{
	(void)a;
	return validate_dns1123_subdomain(s);
}

static const char *dns1035_label(struct arena *a, struct str s)
{
	(void)a;
	return validate_dns1035_label(s);
}

/* A prefix may end in '-', where something is put behind it. */
static struct str completed(struct arena *a, struct str s)
{
	if (s.n > 1 && s.p[s.n - 1] == '-')
		return arena_sprintf(a, "%.*sa", (int)s.n - 1, s.p);
	return s;
}

static const char *dns1123_label_prefix(struct arena *a, struct str s)
{
	return validate_dns1123_label(completed(a, s));
}

static const char *dns1123_subdomain_prefix(struct arena *a, struct str s)
{
	return validate_dns1123_subdomain(completed(a, s));
}

static const char *dns1035_label_prefix(struct arena *a, struct str s)
{
	return validate_dns1035_label(completed(a, s));
}

static const char *qualified_name(struct arena *a, struct str s)
{
	return label_key_error(a, s);
}

static const char *label_value(struct arena *a, struct str s)
{
	return label_value_error(a, s);
}

static const char *uri(struct arena *a, struct str s)
{
	return cel__url_parse(a, s, NULL);
}

static const char *uuid(struct arena *a, struct str s)
{
	(void)a;
	return structural_format_ok(STR("uuid"), s) ? NULL : "does not match the UUID format";
}

static const char *byte(struct arena *a, struct str s)
{
	(void)a;
	return s.n > 0 && structural_format_ok(STR("byte"), s) ? NULL : "invalid base64";
}

static const char *date(struct arena *a, struct str s)
{
	(void)a;
	return structural_format_ok(STR("date"), s) ? NULL : "invalid date";
}

static const char *datetime(struct arena *a, struct str s)
{
	(void)a;
	return structural_format_ok(STR("datetime"), s) ? NULL : "invalid datetime";
}

#define FORMAT(name, shown, size, fn) {{OPAQUE_FORMAT}, name, shown, size, fn}
static const struct cel__format formats[] = {
	FORMAT("dns1123Label", "DNS1123Label", 30, dns1123_label),
	FORMAT("dns1123Subdomain", "DNS1123Subdomain", 60, dns1123_subdomain),
	FORMAT("dns1035Label", "DNS1035Label", 30, dns1035_label),
	FORMAT("qualifiedName", "QualifiedName", 60, qualified_name),
	FORMAT("dns1123LabelPrefix", "DNS1123LabelPrefix", 30, dns1123_label_prefix),
	FORMAT("dns1123SubdomainPrefix", "DNS1123SubdomainPrefix", 60, dns1123_subdomain_prefix),
	FORMAT("dns1035LabelPrefix", "DNS1035LabelPrefix", 30, dns1035_label_prefix),
	FORMAT("labelValue", "LabelValue", 40, label_value),
	FORMAT("uri", "URI", URL_REGEX, uri),
	FORMAT("uuid", "uuid", UUID_REGEX, uuid),
	FORMAT("byte", "byte", BASE64_REGEX, byte),
	FORMAT("date", "date", DATETIME_REGEX, date),
	FORMAT("datetime", "datetime", DATETIME_REGEX, datetime),
};

static struct cel_value named(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	(void)n;
	for (size_t i = 0; i < ARRAY_LEN(formats); i++)
		if (str_eqc(a[0].s, formats[i].name))
			return cel_some(v->a, cel__opaque(&formats[i].o));
	return cel_none();
}

static struct cel_value validate(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	const char *why = ((const struct cel__format *)a[0].opaque)->validate(v->a, a[1].s);
	struct cel_value text;

	(void)n;
	if (why == NULL)
		return cel_none();
	text = cel_value_str(str_from(why));
	return cel_some(v->a, cel__list_new(v->a, &text, 1));
}

#define CONSTANT(name, i)                                                                                                       \
	static struct cel_value get_##name(struct cel__eval *v, const struct cel_value *a, unsigned n)                          \
	{                                                                                                                       \
		(void)v;                                                                                                        \
		(void)a;                                                                                                        \
		(void)n;                                                                                                        \
		return cel__opaque(&formats[i].o);                                                                              \
	}
#define CONSTANTS(X)                                                                                                            \
	X(dns1123Label, 0)                                                                                                      \
	X(dns1123Subdomain, 1)                                                                                                  \
	X(dns1035Label, 2)                                                                                                      \
	X(qualifiedName, 3)                                                                                                     \
	X(dns1123LabelPrefix, 4)                                                                                                \
	X(dns1123SubdomainPrefix, 5)                                                                                            \
	X(dns1035LabelPrefix, 6)                                                                                                \
	X(labelValue, 7)                                                                                                        \
	X(uri, 8)                                                                                                               \
	X(uuid, 9)                                                                                                              \
	X(byte, 10)                                                                                                             \
	X(date, 11)                                                                                                             \
	X(datetime, 12)
CONSTANTS(CONSTANT)

#define ROW(name, i) {"format." #name, "format." #name, ":F", false, get_##name},
static const struct cel__overload overloads[] = {
	{"format.named", "format-named", "s:OF", false, named},
	{"validate", "format-validate", "Fs:OLs", true, validate},
	CONSTANTS(ROW)};

extern const struct cel__library cel__lib_named_format;
const struct cel__library cel__lib_named_format = {CEL_LIB_FORMAT, overloads, ARRAY_LEN(overloads)};
