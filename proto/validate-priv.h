/* Shared between the validate files only. */
#ifndef PROTO_VALIDATE_PRIV_H
#define PROTO_VALIDATE_PRIV_H

#include <stddef.h>

#include "proto/field_errs.h"
#include "proto/json.h"
#include "proto/validate.h"

struct schema_type;

/* One object under validation. */
struct validate__ctx {
	const struct resource *res;
	const char *sub; /* "" or the subresource */
	const struct json *obj;
	const struct json *old; /* NULL: create */
	struct field_errs *errs;
};

typedef void validate__fn(const struct validate__ctx *);

/* ---- scalars (validate_scalar.c) ---- */

/* "field: Required value" when the string is missing or empty; returns whether it is there. */
bool validate__required(
	struct field_errs *, const struct field_path *up, const struct json *obj, const char *key);
/* A string that must be one of `values` (NULL at the end); an empty one is Required. */
void validate__one_of(struct field_errs *, const struct field_path *up, const struct json *obj,
	const char *key, const char *const *values);
/* The same, but nothing when it is missing or empty. */
void validate__one_of_opt(struct field_errs *, const struct field_path *up, const struct json *obj,
	const char *key, const char *const *values);
/* A number that is there must not be negative. */
void validate__nonneg(
	struct field_errs *, const struct field_path *up, const struct json *obj, const char *key);
void validate__port_number(
	struct field_errs *, const struct field_path *path, const struct json *port);
/* A port number, or a port's name. */
void validate__port_or_name(
	struct field_errs *, const struct field_path *path, const struct json *port);
/* A percentage or a number that is not negative. */
void validate__int_or_percent(
	struct field_errs *, const struct field_path *path, const struct json *v);
/* Whether the value is zero: 0, "0%". */
bool validate__is_zero(const struct json *v);
/* A name by one of the syntax functions of validate.h. */
void validate__name(struct field_errs *, const struct field_path *up, const struct json *obj,
	const char *key, const char *(*syntax)(struct str));
/* "field is immutable" when new and old differ. */
void validate__immutable(struct field_errs *, const struct field_path *up, const struct json *obj,
	const struct json *old, const char *key);
const char *validate__ip(struct str);
/* NULL also for what is no address: what endpoints may not be. */
const char *validate__no_special_ip(struct str);
const char *validate__config_key(struct str);
const char *validate__port_name(struct str);
const char *validate__env_name(struct str);
const char *validate__qualified_name(struct str);
bool validate__is_cidr(struct str);
/* A LabelSelector object. */
void validate__label_selector(
	struct field_errs *, const struct field_path *path, const struct json *sel);
/* Go's printing of a map: map[string]string{"a":"b"}. */
const char *validate__go_map(struct arena *, const struct json *map);

/* And of an IntOrString: intstr.IntOrString{Type:0, IntVal:1, StrVal:""}. */
const char *validate__go_int_or_string(struct arena *, const struct json *v);
/* And of a list of strings: []string{"a", "b"}. */
const char *validate__go_strings(struct arena *, const struct json *list);
/* fn for each element of the list at obj.key. */
void validate__each(struct field_errs *, const struct field_path *up, const struct json *obj,
	const char *key,
	void (*fn)(struct field_errs *, const struct field_path *, const struct json *));
/* The errors of field_errs.h at obj.key, with its value. */
void validate__bad(struct field_errs *, const struct field_path *up, const struct json *obj,
	const char *key, const char *fmt, ...) __attribute__((format(printf, 5, 6)));
/* The same for a number that is 0 when it is missing. */
void validate__bad_count(struct field_errs *, const struct field_path *up, const struct json *obj,
	const char *key, const char *text);
void validate__missing(
	struct field_errs *, const struct field_path *up, const char *key, const char *detail);
void validate__forbid(struct field_errs *, const struct field_path *up, const char *key,
	const char *fmt, ...) __attribute__((format(printf, 4, 5)));
/* A number that is there must be within min and max; `text` says so. */
void validate__range(struct field_errs *, const struct field_path *up, const struct json *obj,
	const char *key, int64_t min, int64_t max, const char *text);
/* As validate__name, but nothing when the string is empty. */
void validate__name_opt(struct field_errs *, const struct field_path *up, const struct json *obj,
	const char *key, const char *(*syntax)(struct str));
/* "Duplicate value" at at.key when an object with the same, not empty one came before; `seen` remembers. */
void validate__once(struct field_errs *, struct json *seen, const struct field_path *at,
	const struct json *obj, const char *key);
/* Strings of the list at obj.key that stand there twice. */
void validate__no_doubles(
	struct field_errs *, const struct field_path *up, const struct json *obj, const char *key);
/* A percentage of at most 100, or a number that is not negative. */
void validate__part_of_all(
	struct field_errs *, const struct field_path *path, const struct json *v);
/* {name, namespace, path, port} of a webhook's service, and its url. */
void validate__hook_service(
	struct field_errs *, const struct field_path *path, const struct json *service);
void validate__review_versions(struct field_errs *, const struct field_path *, const struct json *hook, const char *key, const char *wanted);
void validate__hook_url(
	struct field_errs *, const struct field_path *up, const struct json *config);
void validate__tolerations(
	struct field_errs *, const struct field_path *up, const struct json *spec);
/* The syntax of a label's value. */
void validate__label_value(
	struct field_errs *, const struct field_path *up, const struct json *obj, const char *key);

/* ---- parts of objects ---- */

void validate__meta(const struct validate__ctx *, const struct field_path *path);
/* metadata of a pod template: labels and annotations only. */
void validate__template_meta(
	struct field_errs *, const struct field_path *path, const struct json *meta);
void validate__pod_spec(struct field_errs *, const struct field_path *path, const struct json *spec,
	const struct json *meta);
/* What is let through but told goes to `warnings`, when there is such a list. */
void validate__warn(struct field_errs *, const struct field_path *, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* Those of a new object of a built-in kind, and of a changed template of pods. */
void validate__warnings(const struct validate__ctx *);
/* Adds every volume's name to `names` (an object in the arena). */
void validate__volumes(struct field_errs *, const struct field_path *path,
	const struct json *volumes, struct json *names);
/* Containers of all three kinds; `volumes` holds the names that may be mounted. */
void validate__containers(struct field_errs *, const struct field_path *up, const struct json *spec,
	const struct json *volumes);
/* The rules of ephemeral containers alone; as containers validate__containers has looked at them. */
void validate__ephemeral_containers(
	struct field_errs *, const struct field_path *up, const struct json *spec);
/* An update of the subresource: only additions. */
void validate__ephemeral_update(const struct validate__ctx *);
/* What a container says about being resized; `never`: the pod's restartPolicy. */
void validate__resize_policy(
	struct field_errs *, const struct field_path *up, const struct json *container, bool never);
/* An update of the subresource resize: amounts only. */
void validate__resize_update(const struct validate__ctx *);
/* Absent, null, false, 0, "" and empty containers: one and the same for a comparison of specs. */
bool validate__is_nothing(const struct json *);
/* The path of the first difference into `where`; false when there is none. */
bool validate__differ(const struct json *, const struct json *, struct buf *where);
/* A map of quantities, none of them negative. */
void validate__quantities(
	struct field_errs *, const struct field_path *path, const struct json *map);
/* Of a container: names too, and requests that its limits allow. */
void validate__resources(
	struct field_errs *, const struct field_path *path, const struct json *res);
/* Of a pod spec as a whole: as of a container, and enough for its containers. */
void validate__pod_resources(struct field_errs *, const struct field_path *up, const struct json *spec);
/* A resourceFieldRef: which resource, in which unit. */
void validate__resource_ref(struct field_errs *, const struct field_path *path, const struct json *ref);
/* securityContext of a container at `up`, and of a pod spec. */
void validate__container_security(struct field_errs *, const struct field_path *up, const struct json *sc);
void validate__pod_security(struct field_errs *, const struct field_path *up, const struct json *spec);
/* The path at obj.key leads down, as far as it says anything; false: it has "..". */
bool validate__below(struct field_errs *, const struct field_path *up, const struct json *obj, const char *key);

void validate__node_selector(
	struct field_errs *, const struct field_path *path, const struct json *selector);
/* The source `name` of a volume, as far as it is looked into. */
void validate__volume_source(struct field_errs *, const struct field_path *path, struct str name,
	const struct json *source);
void validate__pv_spec(
	struct field_errs *, const struct field_path *path, const struct json *spec);
void validate__claim_spec(
	struct field_errs *, const struct field_path *path, const struct json *spec);
/*
 * template and selector of a workload whose pods run for ever. `what`: its name in the message for
 * an empty selector; `kind`: in the one for activeDeadlineSeconds.
 */
void validate__template_and_selector(struct field_errs *, const struct field_path *path,
	const struct json *spec, const char *what, const char *kind);
void validate__selector_update(const struct validate__ctx *, const struct field_path *spec);
/* Go's printing of a LabelSelector. */
const char *validate__go_selector(struct arena *, const struct json *sel);
void validate__affinity(
	struct field_errs *, const struct field_path *up, const struct json *affinity);

/* ---- kinds ---- */

validate__fn validate__pod, validate__deployment, validate__replica_set, validate__service,
	validate__node, validate__namespace, validate__config_map, validate__secret,
	validate__endpoints, validate__endpoint_slice, validate__lease, validate__event,
	validate__csr,
	validate__role, validate__cluster_role, validate__role_binding, validate__cluster_role_binding,
	validate__priority_class, validate__runtime_class, validate__pdb, validate__webhooks,
	validate__admission_policy, validate__admission_binding, validate__api_service,
	validate__flow_schema, validate__priority_level,
	validate__pv, validate__pvc, validate__storage_class, validate__attributes_class,
	validate__csi_driver, validate__csi_node, validate__volume_attachment,
	validate__storage_capacity, validate__ingress, validate__ingress_class,
	validate__network_policy, validate__ip_address, validate__service_cidr, validate__job,
	validate__cron_job, validate__hpa, validate__quota, validate__limit_range,
	validate__daemon_set, validate__stateful_set, validate__replication_controller,
	validate__pod_template, validate__controller_revision, validate__crd,
	validate__resource_claim, validate__resource_claim_template, validate__device_class, validate__resource_slice;

#endif
