/*
 * struct custom: one version of a custom resource, made at run time from a CustomResourceDefinition, in the shape of the
 * built-in ones: a struct resource, schema types for apply, columns, subresources. What the tables are to a built-in kind, this is
 * to a custom one; code that goes by struct resource and struct schema_type does not see the difference.
 *
 * A type of kind SCHEMA_CUSTOM has a wire form of its own, so that whoever reads metadata from the bytes, splices a version in
 * or cuts all but the metadata off needs to know nothing either:
 *
 *	1: ObjectMeta, as in every object    2: all other members as one JSON object, without kind and apiVersion
 *
 * codec_to_wire drops (and reports) what the schema does not know. Stored is JSON, as upstream stores it (custom_store).
 *
 *	struct custom_def *d;
 *	if (custom_def_new(crd, &d, &e) == 0)
 *		res = &d->versions[0].res;
 *	custom_def_unref(d);
 *
 * A definition is never changed once it is made. It is counted, and belongs to one thread.
 */
#ifndef PROTO_CUSTOM_H
#define PROTO_CUSTOM_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "proto/json.h"
#include "proto/resource.h"
#include "proto/schema.h"

struct custom_def;
struct structural;

/* What a column of resource.columns shows. */
struct custom_column {
	const char *path; /* JSONPath; NULL: the name */
	const char *description;
};

struct custom {
	struct resource res;
	struct schema_type type, list_type;
	const struct structural *schema;
	const struct json *openapi; /* openAPIV3Schema as it was written */
	const struct custom_def *def;
	const struct resource_sub *subs;
	const struct resource_column *columns;
	const struct custom_column *column_paths; /* one a column */
	size_t n_subs, n_columns;
	bool has_status;
	/* The scale subresource: dotted paths ("spec.replicas"); label_selector may be NULL. */
	const char *spec_replicas, *status_replicas, *label_selector;
	const struct json *selectable; /* selectableFields */
	const char *deprecated;        /* what to warn of; NULL: nothing */
};

struct custom_def {
	struct arena arena;
	unsigned refs;
	const char *group, *plural, *name;
	const char *stored_api_version;
	struct custom *versions; /* those that are served, in the order of discovery, then the others */
	size_t n_versions;       /* served */
	size_t n_known;          /* all of them */
	const struct json *spec;
	const struct json *webhook; /* spec.conversion.webhook; NULL: versions differ in their name only */
	bool established, terminating;
};

/*
 * Objects in other versions, of a definition whose webhook converts. Who embeds it asks the webhook about what was wanted and not there,
 * and then tries again.
 */
struct custom_conversions {
	/* `text`, an object of `def` as JSON, in the version wanted: as JSON. False: not known yet; it is noted as wanted. */
	bool (*find)(struct custom_conversions *, const struct custom_def *def, struct str text, const char *to, struct str *ret);
};
/*
 * Nobody is asked: objects stay in the version in which they lie. For who looks at their metadata only, and who writes an object in the
 * version in which it was read (custom_lies_as).
 */
extern struct custom_conversions custom_as_it_lies;

/* Errors: ERR_INVALID with the first thing that is wrong. The definition must have passed validation once. */
int custom_def_new(const struct json *crd, struct custom_def **ret, struct err *);
/* The same resources in all respects; `terminating` does not count. */
bool custom_def_same(const struct custom_def *, const struct custom_def *);
struct custom_def *custom_def_ref(struct custom_def *);
/* Served or not; NULL: there is none of that name ("example.com/v1"). */
const struct custom *custom_def_version(const struct custom_def *, struct str api_version);
void custom_def_unref(struct custom_def *);

/*
 * The stored form: canonical JSON text in the version that is stored. ERR_PENDING: a conversion is wanted first. Without conversions (NULL)
 * versions differ in their name only.
 */
int custom_store(struct arena *, const struct custom *, const struct json *obj, struct custom_conversions *, struct str *ret, struct err *);
/* The stored form as a document, with defaults; likewise. */
int custom_load(struct arena *, const struct custom *, struct str stored, struct custom_conversions *, struct json **ret, struct err *);
/*
 * An object of version `from` in version `to`, as reading would give it there but for defaults; likewise. For who is told of requests in
 * a version of his own.
 */
int custom_convert(struct arena *, const struct custom *from, const struct custom *to, const struct json *obj, struct custom_conversions *conv,
		struct json **ret, struct err *);
/* The version of the definition in which the stored form is; NULL: of none. */
const struct custom *custom_lies_as(const struct custom_def *, struct str stored);
/* The stored form is of another version than what is stored now. */
bool custom_is_stale(const struct custom *, struct str stored);

/* The definition of the object for OpenAPI. */
struct json *custom_openapi(struct arena *, const struct custom *, bool v3);

/* v2 before v1 before v1beta2 before v1beta1 before v1alpha1, then others by name: < 0 when a comes first. */
int custom_version_cmp(const char *a, const char *b);

/* The cells of a row. now: Unix seconds. */
void custom_cells(struct arena *, const struct custom *, const struct json *obj, int64_t now, struct json *cells);

/* The text of a selectable field (".spec.color" without the dot); STR("") when absent. */
bool custom_selectable(const struct custom *, struct str field);
struct str custom_field(struct arena *, const struct json *obj, struct str field);

#endif
