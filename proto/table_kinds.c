/* Rows in Tables, as table_rows.c, of the kinds beside pods, workloads, services and nodes. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "proto/duration.h"
#include "proto/quantity.h"
#include "proto/table-priv.h"

static void add_bool(struct table__row *r, bool v)
{
	table__add(r, json_new_bool(r->a, v));
}

static struct str lower(struct arena *a, const char *s)
{
	char *copy = arena_cstr(a, str_from(s));

	for (char *c = copy; *c; c++)
		*c = (char)tolower((unsigned char)*c);
	return str_from(copy);
}

static bool deleting(const struct json *obj)
{
	return !json_is_null(json_getp(obj, "metadata.deletionTimestamp"));
}

static const struct json *condition(const struct json *obj, const char *type)
{
	JSON_ITEMS (c, json_getp(obj, "status.conditions"))
		if (json_eqc(json_getc(c, "type"), type))
			return c;
	return NULL;
}

static bool condition_true(const struct json *obj, const char *type)
{
	return json_eqc(json_getc(condition(obj, type), "status"), "True");
}

/* A quantity or number as text, or `otherwise`. */
static struct str text_or(const struct json *v, const char *otherwise)
{
	if (json_is(v, JSON_NUMBER))
		return v->s;
	return json_str(v).n > 0 ? json_str(v) : str_from(otherwise);
}

/* ---- kinds that only tell when they were made ---- */

void table__row_created(struct table__row *r, const struct json *obj)
{
	table__add_name(r, obj);
	table__add_str(r, json_strp(obj, "metadata.creationTimestamp"));
}

/* ---- volumes ---- */

static void add_modes(struct table__row *r, const struct json *modes)
{
	static const char *const names[][2] = {{"ReadWriteOnce", "RWO"}, {"ReadOnlyMany", "ROX"},
		{"ReadWriteMany", "RWX"}, {"ReadWriteOncePod", "RWOP"}};
	struct buf b = BUF_INIT;

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		bool has = false;

		JSON_ITEMS (m, modes)
			has |= json_eqc(m, names[i][0]);
		if (!has)
			continue;
		table__comma(&b);
		buf_addc(&b, names[i][1]);
	}
	table__add_buf(r, &b, "");
}

static struct str storage_class(const struct json *obj)
{
	struct str old = json_str(json_getc(
		json_getp(obj, "metadata.annotations"), "volume.beta.kubernetes.io/storage-class"));

	return old.n ? old : json_strp(obj, "spec.storageClassName");
}

void table__row_pv(struct table__row *r, const struct json *pv)
{
	const struct json *claim = json_getp(pv, "spec.claimRef");

	table__add_name(r, pv);
	table__add_str(r, text_or(json_getp(pv, "spec.capacity.storage"), "0"));
	add_modes(r, json_getp(pv, "spec.accessModes"));
	table__add_str(r, json_strp(pv, "spec.persistentVolumeReclaimPolicy"));
	table__add_str(r, deleting(pv) ? STR("Terminating") : json_strp(pv, "status.phase"));
	if (json_is_null(claim))
		table__add_str(r, STR(""));
	else
		table__add(r, json_newf(r->a, "%s/%s", json_cstr(json_getc(claim, "namespace")),
				      json_cstr(json_getc(claim, "name"))));
	table__add_str(r, storage_class(pv));
	table__add_or(r, json_strp(pv, "spec.volumeAttributesClassName"), "<unset>");
	table__add_str(r, json_strp(pv, "status.reason"));
	table__add_age(r, pv);
	table__add_or(r, json_strp(pv, "spec.volumeMode"), "<unset>");
}

void table__row_pvc(struct table__row *r, const struct json *pvc)
{
	struct str volume = json_strp(pvc, "spec.volumeName");

	table__add_name(r, pvc);
	table__add_str(r, deleting(pvc) ? STR("Terminating") : json_strp(pvc, "status.phase"));
	table__add_str(r, volume);
	if (volume.n > 0) {
		table__add_str(r, text_or(json_getp(pvc, "status.capacity.storage"), "0"));
		add_modes(r, json_getp(pvc, "status.accessModes"));
	} else {
		table__add_str(r, STR(""));
		table__add_str(r, STR(""));
	}
	table__add_str(r, storage_class(pvc));
	table__add_or(r, json_strp(pvc, "spec.volumeAttributesClassName"), "<unset>");
	table__add_age(r, pvc);
	table__add_or(r, json_strp(pvc, "spec.volumeMode"), "<unset>");
}

void table__row_storage_class(struct table__row *r, const struct json *sc)
{
	const struct json *notes = json_getp(sc, "metadata.annotations");
	bool is_default = json_eqc(json_getc(notes, "storageclass.kubernetes.io/is-default-class"), "true") ||
			  json_eqc(json_getc(notes, "storageclass.beta.kubernetes.io/is-default-class"), "true");

	table__add(r, json_newf(r->a, "%s%s", json_cstr(json_getp(sc, "metadata.name")), is_default ? " (default)" : ""));
	table__add_str(r, json_str(json_getc(sc, "provisioner")));
	table__add_or(r, json_str(json_getc(sc, "reclaimPolicy")), "Delete");
	table__add_or(r, json_str(json_getc(sc, "volumeBindingMode")), "Immediate");
	add_bool(r, json_true(json_getc(sc, "allowVolumeExpansion")));
	table__add_age(r, sc);
}

void table__row_csi_driver(struct table__row *r, const struct json *d)
{
	struct buf audiences = BUF_INIT, modes = BUF_INIT;
	const struct json *attach = json_getp(d, "spec.attachRequired");

	table__add_name(r, d);
	add_bool(r, json_is_null(attach) || json_true(attach));
	add_bool(r, json_true(json_getp(d, "spec.podInfoOnMount")));
	add_bool(r, json_true(json_getp(d, "spec.storageCapacity")));
	JSON_ITEMS (t, json_getp(d, "spec.tokenRequests")) {
		table__comma(&audiences);
		buf_adds(&audiences, json_str(json_getc(t, "audience")));
	}
	table__add_buf(r, &audiences, "<unset>");
	add_bool(r, json_true(json_getp(d, "spec.requiresRepublish")));
	table__print_strings(&modes, json_getp(d, "spec.volumeLifecycleModes"));
	table__add_buf(r, &modes, "<none>");
	table__add_age(r, d);
}

void table__row_csi_node(struct table__row *r, const struct json *n)
{
	table__add_name(r, n);
	table__add_int(r, (int64_t)json_len(json_getp(n, "spec.drivers")));
	table__add_age(r, n);
}

void table__row_volume_attachment(struct table__row *r, const struct json *va)
{
	table__add_name(r, va);
	table__add_str(r, json_strp(va, "spec.attacher"));
	table__add_str(r, json_strp(va, "spec.source.persistentVolumeName"));
	table__add_str(r, json_strp(va, "spec.nodeName"));
	add_bool(r, json_true(json_getp(va, "status.attached")));
	table__add_age(r, va);
}

void table__row_attributes_class(struct table__row *r, const struct json *c)
{
	table__add_name(r, c);
	table__add_str(r, json_str(json_getc(c, "driverName")));
	table__add_age(r, c);
}

/* ---- core's small ones ---- */

static int member_cmp(const void *a, const void *b)
{
	return str_cmp((*(const struct json_member *const *)a)->key, (*(const struct json_member *const *)b)->key);
}

/* "cpu: 1/4, pods: 2/10": requests in one cell, limits in the next. */
void table__row_quota(struct table__row *r, const struct json *q)
{
	struct json *hard = json_getp(q, "status.hard"), *used = json_getp(q, "status.used");
	const struct json_member **sorted = arena_new_array(r->a, const struct json_member *, json_len(hard));
	struct buf cells[2] = {BUF_INIT, BUF_INIT};
	size_t n = 0;

	JSON_MEMBERS (m, hard)
		sorted[n++] = m;
	if (n > 1)
		qsort(sorted, n, sizeof(*sorted), member_cmp);
	for (size_t i = 0; i < n; i++) {
		struct buf *b = &cells[str_has_prefix(sorted[i]->key, STR("limits.")) ? 1 : 0];

		buf_printf(b, "%s%.*s: %.*s/%.*s", b->n ? ", " : "", STR_FMT(sorted[i]->key),
			STR_FMT(text_or(json_get(used, sorted[i]->key), "0")), STR_FMT(text_or(sorted[i]->value, "0")));
	}
	table__add_name(r, q);
	table__add_age(r, q);
	table__add_buf(r, &cells[0], "");
	table__add_buf(r, &cells[1], "");
}

void table__row_pod_template(struct table__row *r, const struct json *t)
{
	struct buf labels = BUF_INIT;

	table__add_name(r, t);
	table__add_containers(r, json_getp(t, "template.spec.containers"));
	table__print_labels(r, &labels, json_getp(t, "template.metadata.labels"));
	table__add_buf(r, &labels, "<none>");
}

void table__row_component_status(struct table__row *r, const struct json *s)
{
	const char *state = "Unknown";
	struct str message = STR(""), error = STR("");

	JSON_ITEMS (c, json_getc(s, "conditions")) {
		if (!json_eqc(json_getc(c, "type"), "Healthy"))
			continue;
		state = json_eqc(json_getc(c, "status"), "True") ? "Healthy" : "Unhealthy";
		message = json_str(json_getc(c, "message"));
		error = json_str(json_getc(c, "error"));
	}
	table__add_name(r, s);
	table__add_str(r, str_from(state));
	table__add_str(r, message);
	table__add_str(r, error);
}

void table__row_controller_revision(struct table__row *r, const struct json *rev)
{
	const char *owner = "<none>";

	JSON_ITEMS (o, json_getp(rev, "metadata.ownerReferences")) {
		struct str group, version;

		if (!json_true(json_getc(o, "controller")))
			continue;
		if (!str_cut(json_str(json_getc(o, "apiVersion")), '/', &group, &version))
			group = STR("");
		owner = arena_printf(r->a, "%.*s%s%.*s/%s", STR_FMT(lower(r->a, json_cstr(json_getc(o, "kind")))),
			group.n ? "." : "", STR_FMT(group), json_cstr(json_getc(o, "name")));
	}
	table__add_name(r, rev);
	table__add_str(r, str_from(owner));
	table__add_int(r, table__count_of(rev, "revision"));
	table__add_age(r, rev);
}

/* ---- batch ---- */

static const char *job_state(const struct json *job)
{
	static const char *const rest[] = {"Suspended", "FailureTarget", "SuccessCriteriaMet"};

	if (condition_true(job, "Complete"))
		return "Complete";
	if (condition_true(job, "Failed"))
		return "Failed";
	if (deleting(job))
		return "Terminating";
	for (size_t i = 0; i < ARRAY_LEN(rest); i++)
		if (condition_true(job, rest[i]))
			return rest[i];
	return "Running";
}

void table__row_job(struct table__row *r, const struct json *job)
{
	struct str start = json_strp(job, "status.startTime"), end = json_strp(job, "status.completionTime");
	long long done = (long long)table__count_of(job, "status.succeeded");
	char took[DURATION_SIZE] = "";
	int64_t from, to = r->now;

	table__add_name(r, job);
	table__add_str(r, str_from(job_state(job)));
	if (!json_is_null(json_getp(job, "spec.completions")))
		table__add(r, json_newf(r->a, "%lld/%lld", done, (long long)table__count_of(job, "spec.completions")));
	else if (table__count_of(job, "spec.parallelism") > 1)
		table__add(r, json_newf(r->a, "%lld/1 of %lld", done,
				      (long long)table__count_of(job, "spec.parallelism")));
	else
		table__add(r, json_newf(r->a, "%lld/1", done));
	if (time_parse(start, &from, NULL) && (end.n == 0 || time_parse(end, &to, NULL)))
		duration_human(to - from, took);
	table__add_str(r, arena_str(r->a, str_from(took)));
	table__add_age(r, job);
	table__add_containers(r, json_getp(job, "spec.template.spec.containers"));
	table__add_selector(r, json_getp(job, "spec.selector"));
}

void table__row_cron_job(struct table__row *r, const struct json *cj)
{
	const struct json *suspend = json_getp(cj, "spec.suspend");
	struct str last = json_strp(cj, "status.lastScheduleTime");

	table__add_name(r, cj);
	table__add_str(r, json_strp(cj, "spec.schedule"));
	table__add_or(r, json_strp(cj, "spec.timeZone"), "<none>");
	table__add_str(r, !json_is(suspend, JSON_BOOL) ? STR("<unset>") : json_true(suspend) ? STR("True") : STR("False"));
	table__add_int(r, (int64_t)json_len(json_getp(cj, "status.active")));
	table__add_str(r, last.n ? table__since(r, last) : STR("<none>"));
	table__add_age(r, cj);
	table__add_containers(r, json_getp(cj, "spec.jobTemplate.spec.template.spec.containers"));
	table__add_selector(r, json_getp(cj, "spec.jobTemplate.spec.selector"));
}

/* ---- autoscaling ---- */

/*
 * What of a metric is asked for, and how it is now: the same keys in `target` and `current`. An average is said to be
 * one where the metric could have a plain value, too.
 */
static void print_metric(struct buf *b, const struct json *target, const struct json *current, bool only_averages)
{
	static const char *const keys[] = {"averageValue", "value"};

	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		const struct json *want = json_getc(target, keys[i]);

		if (json_is_null(want))
			continue;
		buf_printf(b, "%.*s/%.*s%s", STR_FMT(text_or(json_getc(current, keys[i]), "<unknown>")),
			STR_FMT(text_or(want, "")), i == 0 && !only_averages ? " (avg)" : "");
		return;
	}
	if (json_is(json_getc(current, "averageUtilization"), JSON_NUMBER))
		buf_printf(b, "%lld%%/", (long long)table__count_of(current, "averageUtilization"));
	else
		buf_addc(b, "<unknown>/");
	if (json_is(json_getc(target, "averageUtilization"), JSON_NUMBER))
		buf_printf(b, "%lld%%", (long long)table__count_of(target, "averageUtilization"));
	else
		buf_addc(b, "<auto>");
}

static void add_metrics(struct table__row *r, const struct json *hpa)
{
	static const struct {
		const char *type, *key;
		bool named, only_averages;
	} rows[] = {{"Resource", "resource", true, true}, {"ContainerResource", "containerResource", true, true},
		{"Pods", "pods", false, true}, {"Object", "object", false, false},
		{"External", "external", false, false}};
	struct json *specs = json_getp(hpa, "spec.metrics"), *now = json_getp(hpa, "status.currentMetrics");
	struct buf b = BUF_INIT;

	for (size_t i = 0; i < json_len(specs) && i < 2; i++) {
		const struct json *spec = json_at(specs, i), *status = json_at(now, i);

		buf_addc(&b, i ? ", " : "");
		for (size_t k = 0; k < ARRAY_LEN(rows); k++) {
			const struct json *source = json_getc(spec, rows[k].key);

			if (!json_eqc(json_getc(spec, "type"), rows[k].type))
				continue;
			if (rows[k].named)
				buf_printf(&b, "%s: ", json_cstr(json_getc(source, "name")));
			print_metric(&b, json_getc(source, "target"), json_getc(json_getc(status, rows[k].key), "current"),
				rows[k].only_averages);
		}
	}
	if (json_len(specs) > 2)
		buf_printf(&b, " + %zu more...", json_len(specs) - 2);
	table__add_buf(r, &b, "<none>");
}

static void add_cpu(struct table__row *r, const struct json *hpa)
{
	struct buf b = BUF_INIT;
	const struct json *target = json_getp(hpa, "spec.targetCPUUtilizationPercentage"),
			  *now = json_getp(hpa, "status.currentCPUUtilizationPercentage");

	if (json_is(target, JSON_NUMBER))
		buf_printf(&b, "cpu: %s%s/%s%%", json_is(now, JSON_NUMBER) ? arena_cstr(r->a, now->s) : "<unknown>",
			json_is(now, JSON_NUMBER) ? "%" : "", arena_cstr(r->a, target->s));
	table__add_buf(r, &b, "<none>");
}

/* Of both versions. */
void table__row_hpa(struct table__row *r, const struct json *hpa)
{
	table__add_name(r, hpa);
	table__add(r, json_newf(r->a, "%s/%s", json_cstr(json_getp(hpa, "spec.scaleTargetRef.kind")),
			      json_cstr(json_getp(hpa, "spec.scaleTargetRef.name"))));
	if (json_getp(hpa, "spec.metrics"))
		add_metrics(r, hpa);
	else
		add_cpu(r, hpa);
	table__add_str(r, text_or(json_getp(hpa, "spec.minReplicas"), "<unset>"));
	table__add_int(r, table__count_of(hpa, "spec.maxReplicas"));
	table__add_int(r, table__count_of(hpa, "status.currentReplicas"));
	table__add_age(r, hpa);
}

/* ---- certificates ---- */

void table__row_csr(struct table__row *r, const struct json *csr)
{
	const struct json *seconds = json_getp(csr, "spec.expirationSeconds");
	char lifetime[DURATION_SIZE] = "<none>";

	table__add_name(r, csr);
	table__add_age(r, csr);
	table__add_or(r, json_strp(csr, "spec.signerName"), "<none>");
	table__add_str(r, json_strp(csr, "spec.username"));
	if (json_is(seconds, JSON_NUMBER))
		duration_human(json_i64_or(seconds, 0), lifetime);
	table__add_str(r, arena_str(r->a, str_from(lifetime)));
	table__add(r, json_newf(r->a, "%s%s%s",
			      condition(csr, "Denied")     ? "Denied"
			      : condition(csr, "Approved") ? "Approved"
							   : "Pending",
			      condition(csr, "Failed") ? ",Failed" : "",
			      json_strp(csr, "status.certificate").n > 0 ? ",Issued" : ""));
}

/* ---- networking ---- */

#define HOSTS_SHOWN 3u
#define BALANCER_WIDTH 16u

void table__row_ingress(struct table__row *r, const struct json *in)
{
	struct buf hosts = BUF_INIT, addresses = BUF_INIT;
	size_t n = 0;

	table__add_name(r, in);
	table__add_or(r, json_strp(in, "spec.ingressClassName"), "<none>");
	JSON_ITEMS (rule, json_getp(in, "spec.rules")) {
		struct str host = json_str(json_getc(rule, "host"));

		if (host.n == 0 || n++ >= HOSTS_SHOWN)
			continue;
		table__comma(&hosts);
		buf_adds(&hosts, host);
	}
	if (n > HOSTS_SHOWN)
		buf_printf(&hosts, " + %zu more...", n - HOSTS_SHOWN);
	table__add_buf(r, &hosts, "*");
	JSON_ITEMS (at, json_getp(in, "status.loadBalancer.ingress")) {
		struct str ip = json_str(json_getc(at, "ip"));

		table__comma(&addresses);
		buf_adds(&addresses, ip.n ? ip : json_str(json_getc(at, "hostname")));
	}
	if (addresses.n > BALANCER_WIDTH)
		table__add(r, json_newf(r->a, "%.*s...", STR_FMT(str_sub(buf_str(&addresses), 0, BALANCER_WIDTH - 3))));
	else
		table__add_str(r, buf_str(&addresses));
	buf_fini(&addresses);
	table__add_str(r, json_len(json_getp(in, "spec.tls")) > 0 ? STR("80, 443") : STR("80"));
	table__add_age(r, in);
}

void table__row_ingress_class(struct table__row *r, const struct json *ic)
{
	const struct json *p = json_getp(ic, "spec.parameters");
	struct str group = json_str(json_getc(p, "apiGroup"));

	table__add_name(r, ic);
	table__add_str(r, json_strp(ic, "spec.controller"));
	if (json_is_null(p))
		table__add_str(r, STR("<none>"));
	else
		table__add(r, json_newf(r->a, "%s%s%.*s/%s", json_cstr(json_getc(p, "kind")), group.n ? "." : "",
				      STR_FMT(group), json_cstr(json_getc(p, "name"))));
	table__add_age(r, ic);
}

void table__row_network_policy(struct table__row *r, const struct json *np)
{
	table__add_name(r, np);
	table__add_selector(r, json_getp(np, "spec.podSelector"));
	table__add_age(r, np);
}

void table__row_ip_address(struct table__row *r, const struct json *ip)
{
	const struct json *p = json_getp(ip, "spec.parentRef");
	struct str group = json_str(json_getc(p, "group")), ns = json_str(json_getc(p, "namespace"));

	table__add_name(r, ip);
	if (json_is_null(p))
		table__add_str(r, STR("<none>"));
	else
		table__add_str(r, lower(r->a, arena_printf(r->a, "%s%s%.*s/%.*s%s%s", json_cstr(json_getc(p, "resource")),
						      group.n ? "." : "", STR_FMT(group), STR_FMT(ns), ns.n ? "/" : "",
						      json_cstr(json_getc(p, "name")))));
	table__add_age(r, ip);
}

void table__row_service_cidr(struct table__row *r, const struct json *sc)
{
	struct buf b = BUF_INIT;

	table__add_name(r, sc);
	table__print_strings(&b, json_getp(sc, "spec.cidrs"));
	table__add_buf(r, &b, "");
	table__add_age(r, sc);
}

/* ---- who may do what ---- */

static void print_subjects(struct table__row *r, const struct json *subjects, const char *kind)
{
	struct buf b = BUF_INIT;

	JSON_ITEMS (s, subjects) {
		struct str ns = json_str(json_getc(s, "namespace"));

		if (!json_eqc(json_getc(s, "kind"), kind))
			continue;
		buf_addc(&b, b.n ? ", " : "");
		if (strcmp(kind, "ServiceAccount") == 0)
			buf_printf(&b, "%.*s/", STR_FMT(ns));
		buf_adds(&b, json_str(json_getc(s, "name")));
	}
	table__add_buf(r, &b, "");
}

void table__row_binding(struct table__row *r, const struct json *rb)
{
	table__add_name(r, rb);
	table__add(r, json_newf(r->a, "%s/%s", json_cstr(json_getp(rb, "roleRef.kind")),
			      json_cstr(json_getp(rb, "roleRef.name"))));
	table__add_age(r, rb);
	print_subjects(r, json_getc(rb, "subjects"), "User");
	print_subjects(r, json_getc(rb, "subjects"), "Group");
	print_subjects(r, json_getc(rb, "subjects"), "ServiceAccount");
}

/* ---- policies, classes ---- */

void table__row_pdb(struct table__row *r, const struct json *pdb)
{
	table__add_name(r, pdb);
	table__add_str(r, text_or(json_getp(pdb, "spec.minAvailable"), "N/A"));
	table__add_str(r, text_or(json_getp(pdb, "spec.maxUnavailable"), "N/A"));
	table__add_int(r, table__count_of(pdb, "status.disruptionsAllowed"));
	table__add_age(r, pdb);
}

void table__row_priority_class(struct table__row *r, const struct json *pc)
{
	table__add_name(r, pc);
	table__add_int(r, table__count_of(pc, "value"));
	add_bool(r, json_true(json_getc(pc, "globalDefault")));
	table__add_age(r, pc);
	table__add_str(r, json_str(json_getc(pc, "preemptionPolicy")));
}

void table__row_runtime_class(struct table__row *r, const struct json *rc)
{
	table__add_name(r, rc);
	table__add_str(r, json_str(json_getc(rc, "handler")));
	table__add_age(r, rc);
}

/* ---- what the API server is told to call ---- */

void table__row_webhooks(struct table__row *r, const struct json *c)
{
	table__add_name(r, c);
	table__add_int(r, (int64_t)json_len(json_getc(c, "webhooks")));
	table__add_age(r, c);
}

void table__row_admission_policy(struct table__row *r, const struct json *p)
{
	const struct json *rules = json_getp(p, "spec.mutations"), *kind = json_getp(p, "spec.paramKind");

	table__add_name(r, p);
	table__add_int(r, (int64_t)json_len(rules ? rules : json_getp(p, "spec.validations")));
	if (json_is_null(kind))
		table__add_str(r, STR("<unset>"));
	else
		table__add(r, json_newf(r->a, "%s/%s", json_cstr(json_getc(kind, "apiVersion")),
				      json_cstr(json_getc(kind, "kind"))));
	table__add_age(r, p);
}

void table__row_admission_binding(struct table__row *r, const struct json *b)
{
	const struct json *ref = json_getp(b, "spec.paramRef");
	struct str ns = json_str(json_getc(ref, "namespace"));

	table__add_name(r, b);
	table__add_str(r, json_strp(b, "spec.policyName"));
	if (json_is_null(ref))
		table__add_str(r, STR("<unset>"));
	else
		table__add(r, json_newf(r->a, "%.*s%s%s", STR_FMT(ns), ns.n ? "/" : "", json_cstr(json_getc(ref, "name"))));
	table__add_age(r, b);
}

void table__row_api_service(struct table__row *r, const struct json *s)
{
	const struct json *svc = json_getp(s, "spec.service"), *c = condition(s, "Available");

	table__add_name(r, s);
	if (json_is_null(svc))
		table__add_str(r, STR("Local"));
	else
		table__add(r, json_newf(r->a, "%s/%s", json_cstr(json_getc(svc, "namespace")),
				      json_cstr(json_getc(svc, "name"))));
	if (!c)
		table__add_str(r, STR("Unknown"));
	else if (json_eqc(json_getc(c, "status"), "True"))
		table__add_str(r, STR("True"));
	else
		table__add(r, json_newf(r->a, "%s (%s)", json_cstr(json_getc(c, "status")),
				      json_cstr(json_getc(c, "reason"))));
	table__add_age(r, s);
}

/* ---- flow control ---- */

void table__row_flow_schema(struct table__row *r, const struct json *fs)
{
	table__add_name(r, fs);
	table__add_str(r, json_strp(fs, "spec.priorityLevelConfiguration.name"));
	table__add_int(r, table__count_of(fs, "spec.matchingPrecedence"));
	table__add_or(r, json_strp(fs, "spec.distinguisherMethod.type"), "<none>");
	table__add_age(r, fs);
	table__add_or(r, json_str(json_getc(condition(fs, "Dangling"), "status")), "?");
}

void table__row_priority_level(struct table__row *r, const struct json *pl)
{
	static const char *const queuing[] = {"queues", "handSize", "queueLengthLimit"};
	const struct json *limited = json_getp(pl, "spec.limited"), *q = json_getp(limited, "limitResponse.queuing");

	table__add_name(r, pl);
	table__add_str(r, json_strp(pl, "spec.type"));
	if (json_is(json_getc(limited, "nominalConcurrencyShares"), JSON_NUMBER))
		table__add_int(r, table__count_of(limited, "nominalConcurrencyShares"));
	else
		table__add_str(r, STR("<none>"));
	for (size_t i = 0; i < ARRAY_LEN(queuing); i++) {
		if (json_is_null(q))
			table__add_str(r, STR("<none>"));
		else
			table__add_int(r, table__count_of(q, queuing[i]));
	}
	table__add_age(r, pl);
}

/* ---- devices ---- */

void table__row_claim(struct table__row *r, const struct json *c)
{
	bool gone = deleting(c), allocated = !json_is_null(json_getp(c, "status.allocation"));
	struct buf b = BUF_INIT;

	table__add_name(r, c);
	if (gone)
		buf_addc(&b, "deleted");
	if (allocated) {
		table__comma(&b);
		buf_addc(&b, "allocated");
		if (json_len(json_getp(c, "status.reservedFor")) > 0)
			buf_addc(&b, ",reserved");
		else if (gone)
			buf_addc(&b, ",deallocating");
	} else if (!gone) {
		buf_addc(&b, "pending");
	}
	table__add_buf(r, &b, "");
	table__add_age(r, c);
}

void table__row_slice(struct table__row *r, const struct json *s)
{
	table__add_name(r, s);
	table__add_str(r, json_strp(s, "spec.nodeName"));
	table__add_str(r, json_strp(s, "spec.driver"));
	table__add_str(r, json_strp(s, "spec.pool.name"));
	table__add_age(r, s);
}

/* ---- what is used ---- */

/* Of nodes and of pods: theirs is the sum of their containers'. */
void table__row_metrics(struct table__row *r, const struct json *m)
{
	static const char *const names[] = {"cpu", "memory"};

	table__add_name(r, m);
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		struct quantity sum = quantity_of(json_cstr(json_getc(json_getc(m, "usage"), names[i])));
		char text[QUANTITY_SIZE];

		JSON_ITEMS (c, json_getc(m, "containers"))
			sum = quantity_add(sum, quantity_of(json_cstr(json_getc(json_getc(c, "usage"), names[i]))));
		quantity_print(sum, text);
		table__add_str(r, arena_str(r->a, str_from(text)));
	}
	table__add_str(r, json_str(json_getc(m, "window")));
}
