/*
 * PodSecurity: a namespace's labels pod-security.kubernetes.io/{enforce,audit,warn} say which level its pods must keep. What breaks
 * "enforce" is refused; "warn" warns, of workloads with a pod template too. podsecurity.h decides.
 */
#include <string.h>

#include "base/util.h"
#include "orchestrator/apiserver/admission.h"
#include "orchestrator/apiserver/objects.h"
#include "orchestrator/apiserver/podsecurity.h"
#include "orchestrator/apiserver/write.h"
#include "proto/field_errs.h"
#include "proto/json.h"
#include "proto/resource.h"

#define LABEL "pod-security.kubernetes.io/"

enum mode { MODE_ENFORCE, MODE_AUDIT, MODE_WARN };
static const char *const modes[] = {"enforce", "audit", "warn"};

struct policy {
	enum podsecurity_level level;
	const char *level_name, *version;
};

static void policy_of(struct arena *a, const struct json *ns, enum mode m, struct policy *p)
{
	struct str level = admission_label(ns, arena_printf(a, LABEL "%s", modes[m]));
	struct str version = admission_label(ns, arena_printf(a, LABEL "%s-version", modes[m]));

	*p = (struct policy){PODSECURITY_PRIVILEGED, "privileged", "latest"};
	if (level.n == 0)
		return;
	/* A label that slipped in before we looked: the strictest reading. */
	if (!podsecurity_level(level, &p->level)) {
		p->level = PODSECURITY_RESTRICTED;
		level = STR("restricted");
	}
	p->level_name = arena_cstr(a, level);
	if (version.n > 0)
		p->version = arena_cstr(a, version);
}

static bool says_something(struct str raw)
{
	return str_search(raw, STR(LABEL)) >= 0;
}

/* NULL when it has no such labels: then everything is allowed, and nothing needs to be decoded. */
static enum step_result namespace_of(struct api_request *req, struct json **ret)
{
	return admission_object_if(req, "", "namespaces", STR_NULL, req->at.ns, says_something, ret);
}

static struct str violations(struct api_request *req, const struct policy *p, const struct json *meta, const struct json *spec)
{
	if (p->level == PODSECURITY_PRIVILEGED)
		return STR_NULL;
	return podsecurity_check(&req->arena, p->level, meta, spec);
}

static void warn(struct api_request *req, const struct json *ns, const struct json *meta, const struct json *spec)
{
	struct policy p;
	struct str why;

	policy_of(&req->arena, ns, MODE_WARN, &p);
	why = violations(req, &p, meta, spec);
	if (why.n > 0)
		api_warn(req, "would violate PodSecurity \"%s:%s\": %.*s", p.level_name, p.version, STR_FMT(why));
	policy_of(&req->arena, ns, MODE_AUDIT, &p);
	why = violations(req, &p, meta, spec);
	if (why.n > 0)
		api_audit_note(req, LABEL "audit-violations",
				arena_sprintf(&req->arena, "would violate PodSecurity \"%s:%s\": %.*s", p.level_name, p.version,
						STR_FMT(why)));
}

enum step_result admit_pod_security(struct api_request *req)
{
	const struct json *meta = json_getc(req->obj, "metadata"), *spec = json_getc(req->obj, "spec");
	struct json *ns;
	struct policy p;
	struct str why;
	enum step_result r = namespace_of(req, &ns);

	if (r != STEP_NEXT || !ns)
		return r;
	policy_of(&req->arena, ns, MODE_ENFORCE, &p);
	why = violations(req, &p, meta, spec);
	if (p.level != PODSECURITY_PRIVILEGED)
		api_audit_note(req, LABEL "enforce-policy", arena_sprintf(&req->arena, "%s:%s", p.level_name, p.version));
	if (why.n > 0)
		return api_fail_forbidden(req, req->res, api_name(req->obj), "violates PodSecurity \"%s:%s\": %.*s", p.level_name,
				p.version, STR_FMT(why));
	warn(req, ns, meta, spec);
	return STEP_NEXT;
}

static const struct {
	const char *group, *plural, *path;
} templates[] = {
		{"", "replicationcontrollers", "spec.template"},
		{"", "podtemplates", "template"},
		{"apps", "replicasets", "spec.template"},
		{"apps", "deployments", "spec.template"},
		{"apps", "statefulsets", "spec.template"},
		{"apps", "daemonsets", "spec.template"},
		{"batch", "jobs", "spec.template"},
		{"batch", "cronjobs", "spec.jobTemplate.spec.template"},
};

/* A workload is not refused, since the pods will be: but who made it should hear of it now. */
enum step_result admit_pod_security_template(struct api_request *req)
{
	for (size_t i = 0; i < ARRAY_LEN(templates); i++) {
		const struct json *t;
		struct json *ns;
		enum step_result r;

		if (strcmp(templates[i].plural, req->res->plural) != 0 || strcmp(templates[i].group, req->res->group) != 0)
			continue;
		t = json_getp(req->obj, templates[i].path);
		if (req->old && t && json_equal(t, json_getp(req->old, templates[i].path)))
			return STEP_NEXT;
		r = namespace_of(req, &ns);
		if (r == STEP_NEXT && ns)
			warn(req, ns, json_getc(t, "metadata"), json_getc(t, "spec"));
		return r;
	}
	return STEP_NEXT;
}

#define MAX_EXISTING 3000

/* Nothing happens to pods that are there when a stricter level comes. Whoever sets it should hear which could not be made again. */
static enum step_result look_at_existing(struct api_request *req)
{
	struct admission_list pods;
	struct policy new, old;
	struct str *lines;
	enum step_result r;
	size_t n, checked;

	if (!req->old)
		return STEP_NEXT;
	policy_of(&req->arena, req->obj, MODE_ENFORCE, &new);
	policy_of(&req->arena, req->old, MODE_ENFORCE, &old);
	if (new.level == PODSECURITY_PRIVILEGED || (strcmp(new.version, old.version) == 0 && new.level <= old.level))
		return STEP_NEXT;
	r = admission_objects(req, resource_find("", "v1", "pods"), api_name(req->obj), &pods);
	if (r != STEP_NEXT)
		return r;
	checked = MIN(pods.n, MAX_EXISTING);
	n = podsecurity_existing(&req->arena, new.level, pods.v, checked, &lines);
	if (checked < pods.n)
		api_warn(req, "new PodSecurity enforce level only checked against the first %zu of %zu existing pods", checked, pods.n);
	if (n > 0)
		api_warn(req, "existing pods in namespace \"%.*s\" violate the new PodSecurity enforce level \"%s:%s\"", STR_FMT(api_name(req->obj)),
				new.level_name, new.version);
	for (size_t i = 0; i < n; i++)
		api_warn(req, "%.*s", STR_FMT(lines[i]));
	return STEP_NEXT;
}

/* The labels themselves: what cannot be understood is refused when it is written, if it is new. */
enum step_result admit_pod_security_namespace(struct api_request *req)
{
	static const char *const levels[] = {"privileged", "baseline", "restricted", NULL};
	struct field_path meta = field_child(NULL, "metadata"), labels = field_child(&meta, "labels");
	struct field_errs errs;
	enum podsecurity_level level;

	field_errs_init(&errs, &req->arena);
	for (size_t i = 0; i < ARRAY_LEN(modes); i++) {
		struct str key = arena_sprintf(&req->arena, LABEL "%s", modes[i]);
		struct str vkey = arena_sprintf(&req->arena, LABEL "%s-version", modes[i]);
		struct str v = admission_label(req->obj, key.p), version = admission_label(req->obj, vkey.p);
		struct field_path at = field_key(&labels, key), vat = field_key(&labels, vkey);

		if (v.n > 0 && !str_eq(v, admission_label(req->old, key.p)) && !podsecurity_level(v, &level))
			field_invalid_str(&errs, &at, v, "must be one of %s, %s, %s", levels[0], levels[1], levels[2]);
		if (version.n > 0 && !str_eq(version, admission_label(req->old, vkey.p)) && !podsecurity_version_valid(version))
			field_invalid_str(&errs, &vat, version, "must be \"latest\" or \"v1.x\"");
	}
	return errs.n > 0 ? api_fail_invalid(req, &errs) : look_at_existing(req);
}
