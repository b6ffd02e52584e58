/* Resource arguments and manifests of the kubectl-like commands; declared in cli/kube.h. */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/util.h"
#include "cli/kube.h"
#include "cli/local.h"
#include "proto/json.h"
#include "proto/resource.h"
#include "proto/yaml.h"

#define MANIFEST_MAX ((size_t)64 << 20)

/* --- Targets ------------------------------------------------------------------------------------------------------- */

static void add_target(struct kube *k, struct kube_targets *t, const struct resource *r, const char *name)
{
	t->v = arena_grow(&k->arena, t->v, t->n * sizeof(*t->v), (t->n + 1) * sizeof(*t->v));
	t->v[t->n++] = (struct kube_target){r, name, NULL};
	t->several_kinds |= t->v[0].resource != r;
}

static int no_type(const char *word, struct err *e)
{
	return err_set(e, ERR_NOT_FOUND, "the server doesn't have a resource type \"%s\"", word);
}

/* A type or a category ("all"). */
static int add_type(struct kube *k, struct kube_targets *t, const char *word, const char *name, struct err *e)
{
	const struct resource *r = resource_by_name(word);
	size_t before = t->n;

	if (r && r->served) {
		add_target(k, t, r, name);
		return 0;
	}
	if (name == NULL)
		RESOURCE_FOR_EACH (c)
			if (c->served && resource_list_has(c->categories, str_from(word)))
				add_target(k, t, c, NULL);
	return t->n > before ? 0 : no_type(word, e);
}

int kube_targets_parse(struct kube *k, const char *const *args, size_t n, struct kube_targets *t, struct err *e)
{
	struct str rest, word;
	int rv = 0;

	memset(t, 0, sizeof(*t));
	if (n == 0)
		return err_set(e, ERR_BAD_REQUEST, "You must provide one or more resources by argument or filename.\n"
				"Example resource specifications include:\n   '-f rsrc.yaml'\n   '--filename=rsrc.json'\n"
				"   '<resource> <name>'\n   '<resource>'");
	if (strchr(args[0], '/')) {
		for (size_t i = 0; rv == 0 && i < n; i++) {
			if (!str_cut(str_from(args[i]), '/', &word, &rest))
				return err_set(e, ERR_BAD_REQUEST, "there is no need to specify a resource type as a separate argument when passing arguments in resource/name form");
			if (str_find(rest, '/') >= 0)
				return err_set(e, ERR_BAD_REQUEST, "arguments in resource/name form may not have more than one slash");
			if (word.n == 0 || rest.n == 0)
				return err_set(e, ERR_BAD_REQUEST, "arguments in resource/name form must have a single resource and name");
			rv = add_type(k, t, arena_cstr(&k->arena, word), arena_cstr(&k->arena, rest), e);
		}
		return rv;
	}
	rest = str_from(args[0]);
	while (rv == 0 && rest.n > 0) {
		const char *type;

		str_cut(rest, ',', &word, &rest);
		type = arena_cstr(&k->arena, word);
		if (n == 1)
			rv = add_type(k, t, type, NULL, e);
		for (size_t i = 1; rv == 0 && i < n; i++) {
			if (strchr(args[i], '/'))
				return err_set(e, ERR_BAD_REQUEST,
						"there is no need to specify a resource type as a separate argument when passing arguments in resource/name form (e.g. '%s' instead of '%s'",
						"kontiki get resource/<resource_name>", "kontiki get resource resource/<resource_name>");
			rv = add_type(k, t, type, args[i], e);
		}
	}
	return rv;
}

int kube_targets_read(struct kube *k, const struct opt_list *files, bool recursive, struct kube_targets *t, struct err *e)
{
	struct kube_docs docs;
	int rv = kube_read_manifests(k, files, recursive, &docs, e);

	memset(t, 0, sizeof(*t));
	for (size_t i = 0; rv == 0 && i < docs.n; i++) {
		const struct resource *r;
		const char *ns, *name;

		rv = kube_doc_target(k, docs.v[i], true, &r, &ns, &name, e);
		if (rv < 0)
			break;
		add_target(k, t, r, name);
		t->v[t->n - 1].ns = ns;
	}
	return rv;
}

const char *kube_target_ns(const struct kube *k, const struct kube_target *t)
{
	return !t->resource->namespaced ? NULL : t->ns ? t->ns : k->ns;
}

/* --- Manifests --------------------------------------------------------------------------------------------------- */

static void add_doc(struct kube *k, struct kube_docs *d, struct json *doc, const char *source)
{
	size_t n = d->n;

	if (json_is(json_getc(doc, "items"), JSON_ARRAY) && str_has_suffix(json_strp(doc, "kind"), STR("List"))) {
		JSON_ITEMS (item, json_getc(doc, "items"))
			add_doc(k, d, item, source);
		return;
	}
	d->v = arena_grow(&k->arena, d->v, n * sizeof(*d->v), (n + 1) * sizeof(*d->v));
	d->source = arena_grow(&k->arena, d->source, n * sizeof(*d->source), (n + 1) * sizeof(*d->source));
	d->v[n] = doc;
	d->source[n] = source;
	d->n++;
}

static int read_text(struct kube *k, struct str text, const char *source, struct kube_docs *d, struct err *e)
{
	struct yaml_stream *ys = yaml_open(&k->arena, text);
	struct json *doc;
	int rv;

	while ((rv = yaml_next(ys, &doc, e)) > 0) {
		if (json_is_null(doc))
			continue;
		if (!json_is(doc, JSON_OBJECT))
			return err_set(e, ERR_BAD_REQUEST, "%s: a document is no object", source);
		add_doc(k, d, doc, source);
	}
	return rv < 0 ? err_prefix(e, "error parsing %s: error converting YAML to JSON", source) : 0;
}

static int read_stdin(struct kube *k, struct kube_docs *d, struct err *e)
{
	struct buf b;
	char block[65536];
	ssize_t n;
	int rv;

	buf_init(&b, MANIFEST_MAX);
	while ((n = read(0, block, sizeof(block))) > 0)
		buf_add(&b, block, (size_t)n);
	if (n < 0)
		rv = err_set_errno(e, errno, "read standard input");
	else if (!buf_ok(&b))
		rv = err_set(e, ERR_TOO_LARGE, "standard input is over %zu bytes", MANIFEST_MAX);
	else
		rv = read_text(k, arena_str(&k->arena, buf_str(&b)), "STDIN", d, e);
	buf_fini(&b);
	return rv;
}

static int read_path(struct kube *k, const char *path, bool named, bool recursive, struct kube_docs *d, struct err *e);

static int read_folder(struct kube *k, const char *path, bool recursive, struct kube_docs *d, struct err *e)
{
	struct dirent **names;
	int n = scandir(path, &names, NULL, alphasort), rv = 0;

	if (n < 0)
		return err_set_errno(e, errno, "read folder %s", path);
	for (int i = 0; i < n; i++) {
		if (rv == 0 && strcmp(names[i]->d_name, ".") != 0 && strcmp(names[i]->d_name, "..") != 0)
			rv = read_path(k, arena_printf(&k->arena, "%s/%s", path, names[i]->d_name), false, recursive, d, e);
		free(names[i]);
	}
	free(names);
	return rv;
}

static bool is_manifest(const char *path)
{
	struct str s = str_from(path);

	return str_has_suffix(s, STR(".yaml")) || str_has_suffix(s, STR(".yml")) || str_has_suffix(s, STR(".json"));
}

static int read_path(struct kube *k, const char *path, bool named, bool recursive, struct kube_docs *d, struct err *e)
{
	struct stat st;
	char *text;
	int rv;

	if (stat(path, &st) < 0)
		return err_set(e, ERR_NOT_FOUND, "the path \"%s\" does not exist", path);
	if (S_ISDIR(st.st_mode))
		return named || recursive ? read_folder(k, path, recursive, d, e) : 0;
	if (!named && !is_manifest(path))
		return 0;
	text = file_read(path, MANIFEST_MAX, e);
	if (text == NULL)
		return -(int)ERR_IO;
	rv = read_text(k, arena_str(&k->arena, str_from(text)), path, d, e);
	free(text);
	return rv;
}

int kube_read_manifests(struct kube *k, const struct opt_list *files, bool recursive, struct kube_docs *d, struct err *e)
{
	int rv = 0;

	memset(d, 0, sizeof(*d));
	for (size_t i = 0; rv == 0 && i < files->n; i++) {
		const char *f = files->v[i];

		if (strncmp(f, "http://", 7) == 0 || strncmp(f, "https://", 8) == 0)
			rv = err_set(e, ERR_BAD_REQUEST, "%s: fetch it first (curl -L ... | kontiki apply -f -)", f);
		else
			rv = strcmp(f, "-") == 0 ? read_stdin(k, d, e) : read_path(k, f, true, recursive, d, e);
	}
	return rv;
}

int kube_doc_target(struct kube *k, const struct json *doc, bool need_name, const struct resource **ret, const char **ret_ns,
		const char **ret_name, struct err *e)
{
	const char *version = json_cstr(json_getc(doc, "apiVersion")), *kind = json_cstr(json_getc(doc, "kind"));
	const char *ns = json_cstr(json_getp(doc, "metadata.namespace")), *name = json_cstr(json_getp(doc, "metadata.name"));
	const struct resource *r;

	if (*kind == '\0' || *version == '\0') {
		struct str text = json_text(&k->arena, doc);

		return err_set(e, ERR_BAD_REQUEST, "unable to decode a manifest: Object '%s' is missing in '%.*s'", *kind ? "apiVersion" : "Kind",
				(int)MIN(text.n, (size_t)200), text.p);
	}
	r = resource_find_kind(version, kind);
	if (r == NULL || !r->served)
		return err_set(e, ERR_NOT_FOUND, "no matches for kind \"%s\" in version \"%s\"", kind, version);
	if (need_name && *name == '\0')
		return err_set(e, ERR_BAD_REQUEST, "%s: resource name may not be empty", kind);
	if (*ns && k->ns_given && r->namespaced && strcmp(ns, k->ns) != 0)
		return err_set(e, ERR_BAD_REQUEST,
				"the namespace from the provided object \"%s\" does not match the namespace \"%s\". You must pass '--namespace=%s' to perform this operation.",
				ns, k->ns, ns);
	*ret = r;
	*ret_ns = !r->namespaced ? NULL : *ns ? ns : k->ns;
	*ret_name = name;
	return 0;
}

/* --- Texts ---------------------------------------------------------------------------------------------------------- */

bool kube_duration_ms(const char *text, int64_t *ret_ms)
{
	double total = 0;
	const char *p = text;

	if (*p == '\0')
		return false;
	while (*p) {
		char *end;
		double v = strtod(p, &end);

		if (end == p || v < 0)
			return false;
		p = end;
		if (strncmp(p, "ms", 2) == 0)
			total += v, p += 2;
		else if (*p == 's' || *p == '\0')
			total += v * 1000, p += *p == 's';
		else if (*p == 'm')
			total += v * 60000, p++;
		else if (*p == 'h')
			total += v * 3600000, p++;
		else
			return false;
	}
	*ret_ms = (int64_t)total;
	return total < 1e15;
}

const char *kube_ns(const struct kube *k, const struct resource *r)
{
	return r->namespaced ? k->ns : NULL;
}

const char *kube_kind_word(struct kube *k, const struct resource *r)
{
	return *r->group ? arena_printf(&k->arena, "%s.%s", r->singular, r->group) : r->singular;
}

const char *kube_escape(struct kube *k, const char *text)
{
	struct buf b = BUF_INIT;
	const char *out;

	for (const char *p = text; *p; p++) {
		unsigned char c = (unsigned char)*p;

		if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || strchr("-._~", c))
			buf_add1(&b, *p);
		else
			buf_printf(&b, "%%%02X", c);
	}
	out = arena_cstr(&k->arena, buf_str(&b));
	buf_fini(&b);
	return out;
}
