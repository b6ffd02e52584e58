#include <string.h>

#include "base/util.h"
#include "proto/json.h"
#include "proto/selector.h"

/* ---- parsing: terms between commas; a backslash makes the next , = or \ plain ---- */

static int unescape(struct arena *a, struct str s, struct str *ret, struct err *e)
{
	char *to = arena_alloc(a, s.n + 1);
	size_t n = 0;

	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '\\') {
			i++;
			if (i == s.n || s.p[i] == '\0' || !strchr("\\,=", s.p[i]))
				return err_set(e, ERR_BAD_REQUEST,
					"invalid field selector: invalid escape sequence in "
					"\"%.*s\"",
					STR_FMT(s));
		} else if (s.p[i] == '=' || s.p[i] == ',') {
			return err_set(e, ERR_BAD_REQUEST,
				"invalid field selector: unescaped character in value: '%c'",
				s.p[i]);
		}
		to[n++] = s.p[i];
	}
	to[n] = '\0';
	*ret = str_of(to, n);
	return 0;
}

static int parse_term(struct arena *a, struct str s, struct field_term *ret, struct err *e)
{
	ptrdiff_t eq = -1;
	size_t skip = 1;

	for (size_t i = 0; i < s.n && eq < 0; i++)
		if (s.p[i] == '\\')
			i++;
		else if (s.p[i] == '=')
			eq = (ptrdiff_t)i;
	if (eq < 0)
		return err_set(e, ERR_BAD_REQUEST,
			"invalid selector: '%.*s'; can't understand '%.*s'", STR_FMT(s),
			STR_FMT(s));
	ret->equal = eq == 0 || s.p[eq - 1] != '!';
	if (ret->equal && (size_t)eq + 1 < s.n && s.p[eq + 1] == '=')
		skip = 2;
	ret->field = arena_str(a, str_sub(s, 0, (size_t)eq - (ret->equal ? 0 : 1)));
	return unescape(a, str_skip(s, (size_t)eq + skip), &ret->value, e);
}

int field_selector_parse(
	struct arena *a, struct str text, struct field_selector *ret, struct err *e)
{
	struct field_selector fs = {0};
	size_t start = 0, commas = 0;

	if (text.n > SELECTOR_MAX_SIZE)
		return err_set(e, ERR_BAD_REQUEST,
			"field selector of %zu bytes is over the limit of %u", text.n,
			SELECTOR_MAX_SIZE);
	for (size_t i = 0; i < text.n; i++)
		commas += text.p[i] == ',';
	fs.terms = arena_new_array(a, struct field_term, commas + 1);
	for (size_t i = 0; i <= text.n; i++) {
		int rc;

		if (i < text.n && text.p[i] == '\\') {
			i++;
			continue;
		}
		if (i < text.n && text.p[i] != ',')
			continue;
		/* An empty term is skipped, as upstream does. */
		if (i > start) {
			rc = parse_term(a, str_sub(text, start, i), &fs.terms[fs.n_terms], e);
			if (rc < 0)
				return rc;
			fs.n_terms++;
		}
		start = i + 1;
	}
	if (start < text.n) {
		int rc = parse_term(a, str_skip(text, start), &fs.terms[fs.n_terms], e);

		if (rc < 0)
			return rc;
		fs.n_terms++;
	}
	*ret = fs;
	return 0;
}

/* ---- matching ---- */

bool field_selector_matches(const struct field_selector *fs, field_lookup *get, const void *ctx)
{
	for (size_t i = 0; i < fs->n_terms; i++)
		if (str_eq(get(ctx, fs->terms[i].field), fs->terms[i].value) != fs->terms[i].equal)
			return false;
	return true;
}

bool field_selector_requires(const struct field_selector *fs, struct str field, struct str *ret)
{
	for (size_t i = 0; i < fs->n_terms; i++) {
		if (fs->terms[i].equal && str_eq(fs->terms[i].field, field)) {
			*ret = fs->terms[i].value;
			return true;
		}
	}
	return false;
}

void field_selector_print(struct buf *b, const struct field_selector *fs)
{
	for (size_t i = 0; i < fs->n_terms; i++) {
		struct str v = fs->terms[i].value;

		if (i > 0)
			buf_add1(b, ',');
		buf_adds(b, fs->terms[i].field);
		buf_addc(b, fs->terms[i].equal ? "=" : "!=");
		for (size_t k = 0; k < v.n; k++) {
			if (v.p[k] == ',' || v.p[k] == '=' || v.p[k] == '\\')
				buf_add1(b, '\\');
			buf_add1(b, v.p[k]);
		}
	}
}

/* ---- the fields of each kind ---- */

static const struct kind_fields {
	const char *api_version, *kind;
	const char *fields; /* with spaces around each */
} kinds[] = {
	{"v1", "Pod",
		" spec.nodeName spec.restartPolicy spec.schedulerName spec.serviceAccountName "
		"spec.hostNetwork status.phase"
		" status.podIP status.podIPs status.nominatedNodeName "},
	{"v1", "Node", " spec.unschedulable "},
	{"v1", "Namespace", " status.phase "},
	{"v1", "Secret", " type "},
	{"v1", "Service", " spec.clusterIP spec.type "},
	{"v1", "Event",
		" involvedObject.kind involvedObject.namespace involvedObject.name "
		"involvedObject.uid"
		" involvedObject.apiVersion involvedObject.resourceVersion "
		"involvedObject.fieldPath reason"
		" reportingComponent source type "},
	{"events.k8s.io/v1", "Event",
		" regarding.kind regarding.namespace regarding.name regarding.uid "
		"regarding.apiVersion"
		" regarding.resourceVersion regarding.fieldPath reason reportingController type "},
	{"v1", "ReplicationController", " status.replicas "},
	{"apps/v1", "ReplicaSet", " status.replicas "},
	{"batch/v1", "Job", " status.successful "},
	{"certificates.k8s.io/v1", "CertificateSigningRequest", " spec.signerName "},
	{"resource.k8s.io/v1", "ResourceSlice", " spec.driver spec.nodeName "},
};

static bool kind_has(const struct kind_fields *k, struct str field)
{
	struct str rest = str_from(k->fields), word;
	bool more = true;

	while (more) {
		more = str_cut(rest, ' ', &word, &rest);
		if (word.n > 0 && str_eq(word, field))
			return true;
	}
	return false;
}

int field_selector_check(const struct field_selector *fs, const char *api_version, const char *kind,
	bool namespaced, struct err *e)
{
	const struct kind_fields *row = NULL;

	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		if (strcmp(kinds[i].api_version, api_version) == 0 &&
			strcmp(kinds[i].kind, kind) == 0)
			row = &kinds[i];
	for (size_t i = 0; i < fs->n_terms; i++) {
		struct str f = fs->terms[i].field;

		if (str_eqc(f, "metadata.name") ||
			(namespaced && str_eqc(f, "metadata.namespace")) ||
			(row && kind_has(row, f)))
			continue;
		if (row)
			return err_set(
				e, ERR_BAD_REQUEST, "field label not supported: %.*s", STR_FMT(f));
		return err_set(e, ERR_BAD_REQUEST,
			"\"%.*s\" is not a known field selector: only \"metadata.name\", "
			"\"metadata.namespace\"",
			STR_FMT(f));
	}
	return 0;
}

static struct str tree_field(const void *ctx, struct str field)
{
	const struct json *obj = ctx, *v;
	char path[128];

	if (field.n >= sizeof(path))
		return STR("");
	memcpy(path, field.p, field.n);
	path[field.n] = '\0';
	/* An event's source is its component; older and newer writers use different fields. */
	if (strcmp(path, "source") == 0) {
		struct str s = json_strp(obj, "source.component");

		return s.n ? s : json_strp(obj, "reportingComponent");
	}
	v = json_getp(obj, strcmp(path, "status.successful") == 0 ? "status.succeeded" : path);
	switch (json_type(v)) {
	case JSON_STRING:
	case JSON_NUMBER:
		return v->s;
	case JSON_BOOL:
		return v->b ? STR("true") : STR("false");
	default:
		if (strcmp(path, "spec.unschedulable") == 0 ||
			strcmp(path, "spec.hostNetwork") == 0)
			return STR("false");
		return strcmp(path, "status.replicas") == 0 ||
				       strcmp(path, "status.successful") == 0
			       ? STR("0")
			       : STR("");
	}
}

bool field_selector_matches_json(const struct field_selector *fs, const struct json *obj)
{
	return field_selector_matches(fs, tree_field, obj);
}
