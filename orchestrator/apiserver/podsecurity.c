#include "orchestrator/apiserver/podsecurity.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/util.h"
#include "proto/json.h"

bool podsecurity_level(struct str name, enum podsecurity_level *ret)
{
	static const char *const names[] = {"privileged", "baseline", "restricted"};

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (str_eqc(name, names[i])) {
			*ret = (enum podsecurity_level)i;
			return true;
		}
	return false;
}

bool podsecurity_version_valid(struct str v)
{
	uint64_t n;

	return str_eqc(v, "latest") || (str_has_prefix(v, STR("v1.")) && str_to_u64(str_skip(v, 3), &n) &&
						       (v.n == 4 || v.p[3] != '0'));
}

/* --- Lists of names ------------------------------------------------------------------------------------------- */

#define MAX_NAMES 64
struct names {
	struct str v[MAX_NAMES]; /* more than that is not told */
	size_t n;
};

static void name_add(struct names *l, struct str s)
{
	for (size_t i = 0; i < l->n; i++)
		if (str_eq(l->v[i], s))
			return;
	if (l->n < MAX_NAMES)
		l->v[l->n++] = s;
}

static int by_text(const void *a, const void *b)
{
	return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

static void names_sort(struct names *l)
{
	qsort(l->v, l->n, sizeof(l->v[0]), by_text);
}

static void add_names(struct buf *out, const struct names *l, bool quoted)
{
	for (size_t i = 0; i < l->n; i++)
		buf_printf(out, "%s%s%.*s%s", i ? ", " : "", quoted ? "\"" : "", STR_FMT(l->v[i]), quoted ? "\"" : "");
}

/* `container "a"`, `containers "a", "b"` */
static void add_kind(struct buf *out, const char *one, const struct names *l)
{
	buf_printf(out, "%s%s ", one, l->n == 1 ? "" : "s");
	add_names(out, l, true);
}

/* --- What checks look at ---------------------------------------------------------------------------------------- */

struct pod {
	struct arena *arena;
	const struct json *meta, *spec;
	bool windows;
	struct buf detail;  /* what the check found; empty: nothing */
};

typedef void container_fn(struct pod *, const struct json *container, void *arg);

static void each_container(struct pod *p, container_fn *fn, void *arg)
{
	static const char *const lists[] = {"initContainers", "containers", "ephemeralContainers"};

	for (size_t i = 0; i < ARRAY_LEN(lists); i++)
		JSON_ITEMS (c, json_getc(p->spec, lists[i]))
			fn(p, c, arg);
}

static struct str name_of(const struct json *o)
{
	return json_str(json_getc(o, "name"));
}

static bool in_list(const char *const *list, struct str s)
{
	for (; *list; list++)
		if (str_eqc(s, *list))
			return true;
	return false;
}

static bool is_false(const struct json *j)
{
	return json_is(j, JSON_BOOL) && !json_true(j);
}

/* --- Baseline ---------------------------------------------------------------------------------------------------- */

#define APPARMOR "container.apparmor.security.beta.kubernetes.io/"

struct setters {
	struct names containers, values;
	bool pod;
};

/* "pod and container "a"" */
static void add_setters(struct buf *out, const struct setters *s)
{
	if (s->pod)
		buf_addc(out, s->containers.n ? "pod and " : "pod");
	if (s->containers.n)
		add_kind(out, "container", &s->containers);
}

static bool apparmor_bad(const struct json *profile, struct names *values)
{
	struct str type = json_str(json_getc(profile, "type"));

	if (!str_eqc(type, "Unconfined"))
		return false;
	name_add(values, type);
	return true;
}

static void apparmor_container(struct pod *p, const struct json *c, void *arg)
{
	struct setters *s = arg;

	(void)p;
	if (apparmor_bad(json_getp(c, "securityContext.appArmorProfile"), &s->values))
		name_add(&s->containers, name_of(c));
}

static void check_apparmor(struct pod *p)
{
	struct setters s = {.pod = false};

	s.pod = apparmor_bad(json_getp(p->spec, "securityContext.appArmorProfile"), &s.values);
	each_container(p, apparmor_container, &s);
	if (s.pod || s.containers.n) {
		add_setters(&p->detail, &s);
		buf_addc(&p->detail, " must not set AppArmor profile type to ");
		add_names(&p->detail, &s.values, true);
	}
	JSON_MEMBERS (m, json_getc(p->meta, "annotations")) {
		struct str v = json_str(m->value);

		if (!str_has_prefix(m->key, STR(APPARMOR)) || v.n == 0 || str_eqc(v, "runtime/default") ||
				str_has_prefix(v, STR("localhost/")))
			continue;
		buf_printf(&p->detail, "%sannotation \"%.*s\"=\"%.*s\"", p->detail.n ? ", " : "",
				STR_FMT(m->key), STR_FMT(v));
	}
}

static const char *const default_caps[] = {"AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD",
		"NET_BIND_SERVICE", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT", NULL};
static const char *const restricted_caps[] = {"NET_BIND_SERVICE", NULL};

struct caps {
	const char *const *allowed;
	struct names containers, values;
	struct names undropped;
};

static void caps_container(struct pod *p, const struct json *c, void *arg)
{
	struct caps *s = arg;
	bool bad = false, all = false;

	(void)p;
	JSON_ITEMS (cap, json_getp(c, "securityContext.capabilities.add"))
		if (!in_list(s->allowed, json_str(cap))) {
			name_add(&s->values, json_str(cap));
			bad = true;
		}
	if (bad)
		name_add(&s->containers, name_of(c));
	JSON_ITEMS (cap, json_getp(c, "securityContext.capabilities.drop"))
		all = all || json_eqc(cap, "ALL");
	if (!all)
		name_add(&s->undropped, name_of(c));
}

static void caps_added(struct pod *p, struct caps *s)
{
	if (s->containers.n == 0)
		return;
	names_sort(&s->values);
	if (p->detail.n)
		buf_addc(&p->detail, "; ");
	add_kind(&p->detail, "container", &s->containers);
	buf_addc(&p->detail, " must not include ");
	add_names(&p->detail, &s->values, true);
	buf_addc(&p->detail, " in securityContext.capabilities.add");
}

static void check_caps_baseline(struct pod *p)
{
	struct caps s = {.allowed = default_caps};

	each_container(p, caps_container, &s);
	caps_added(p, &s);
}

static void check_host_namespaces(struct pod *p)
{
	static const char *const flags[] = {"hostNetwork", "hostPID", "hostIPC"};

	for (size_t i = 0; i < ARRAY_LEN(flags); i++)
		if (json_true(json_getc(p->spec, flags[i])))
			buf_printf(&p->detail, "%s%s=true", p->detail.n ? ", " : "", flags[i]);
}

static void check_host_path(struct pod *p)
{
	struct names bad = {.n = 0};

	JSON_ITEMS (v, json_getc(p->spec, "volumes"))
		if (!json_is_null(json_getc(v, "hostPath")))
			name_add(&bad, name_of(v));
	if (bad.n)
		add_kind(&p->detail, "volume", &bad);
}

static void ports_container(struct pod *p, const struct json *c, void *arg)
{
	struct setters *s = arg;

	JSON_ITEMS (port, json_getc(c, "ports")) {
		int64_t n = json_i64_or(json_getc(port, "hostPort"), 0);

		if (n == 0)
			continue;
		name_add(&s->containers, name_of(c));
		name_add(&s->values, arena_sprintf(p->arena, "%lld", (long long)n));
	}
}

static void check_host_ports(struct pod *p)
{
	struct setters s = {.pod = false};

	each_container(p, ports_container, &s);
	if (s.containers.n == 0)
		return;
	names_sort(&s.values);
	add_kind(&p->detail, "container", &s.containers);
	buf_printf(&p->detail, " %s hostPort%s ", s.containers.n == 1 ? "uses" : "use", s.values.n == 1 ? "" : "s");
	add_names(&p->detail, &s.values, false);
}

static void probe_host(struct setters *s, const struct json *c, const struct json *handler)
{
	static const char *const actions[] = {"httpGet", "tcpSocket"};

	for (size_t i = 0; i < ARRAY_LEN(actions); i++) {
		struct str host = json_str(json_getc(json_getc(handler, actions[i]), "host"));

		if (host.n == 0)
			continue;
		name_add(&s->containers, name_of(c));
		name_add(&s->values, host);
	}
}

static void probes_container(struct pod *p, const struct json *c, void *arg)
{
	static const char *const handlers[] = {"livenessProbe", "readinessProbe", "startupProbe", "lifecycle.postStart",
			"lifecycle.preStop"};

	(void)p;
	for (size_t i = 0; i < ARRAY_LEN(handlers); i++)
		probe_host(arg, c, json_getp(c, handlers[i]));
}

static void check_host_probes(struct pod *p)
{
	struct setters s = {.pod = false};

	each_container(p, probes_container, &s);
	if (s.containers.n == 0)
		return;
	add_kind(&p->detail, "container", &s.containers);
	buf_printf(&p->detail, " %s probe or lifecycle host%s ", s.containers.n == 1 ? "uses" : "use",
			s.values.n == 1 ? "" : "s");
	add_names(&p->detail, &s.values, true);
}

static void privileged_container(struct pod *p, const struct json *c, void *arg)
{
	(void)p;
	if (json_true(json_getp(c, "securityContext.privileged")))
		name_add(arg, name_of(c));
}

static void check_privileged(struct pod *p)
{
	struct names bad = {.n = 0};

	each_container(p, privileged_container, &bad);
	if (bad.n == 0)
		return;
	add_kind(&p->detail, "container", &bad);
	buf_addc(&p->detail, " must not set securityContext.privileged=true");
}

static void proc_mount_container(struct pod *p, const struct json *c, void *arg)
{
	struct setters *s = arg;
	struct str v = json_str(json_getp(c, "securityContext.procMount"));

	(void)p;
	if (v.n == 0 || str_eqc(v, "Default"))
		return;
	name_add(&s->containers, name_of(c));
	name_add(&s->values, v);
}

static void check_proc_mount(struct pod *p)
{
	struct setters s = {.pod = false};

	each_container(p, proc_mount_container, &s);
	if (s.containers.n == 0)
		return;
	add_kind(&p->detail, "container", &s.containers);
	buf_addc(&p->detail, " must not set securityContext.procMount to ");
	add_names(&p->detail, &s.values, true);
}

struct selinux {
	struct setters who;
	struct names types;
	bool user, role;
};

static bool selinux_bad(struct selinux *s, const struct json *o)
{
	static const char *const allowed[] = {"", "container_t", "container_init_t", "container_kvm_t", "container_engine_t", NULL};
	struct str type = json_str(json_getc(o, "type"));
	bool bad = false;

	if (!in_list(allowed, type)) {
		name_add(&s->types, type);
		bad = true;
	}
	if (json_str(json_getc(o, "user")).n)
		bad = s->user = true;
	if (json_str(json_getc(o, "role")).n)
		bad = s->role = true;
	return bad;
}

static void selinux_container(struct pod *p, const struct json *c, void *arg)
{
	struct selinux *s = arg;

	(void)p;
	if (selinux_bad(s, json_getp(c, "securityContext.seLinuxOptions")))
		name_add(&s->who.containers, name_of(c));
}

static void check_selinux(struct pod *p)
{
	struct selinux s = {.user = false};
	const char *sep = "";

	s.who.pod = selinux_bad(&s, json_getp(p->spec, "securityContext.seLinuxOptions"));
	each_container(p, selinux_container, &s);
	if (!s.who.pod && s.who.containers.n == 0)
		return;
	add_setters(&p->detail, &s.who);
	buf_addc(&p->detail, " set forbidden securityContext.seLinuxOptions: ");
	if (s.types.n) {
		buf_printf(&p->detail, "type%s ", s.types.n == 1 ? "" : "s");
		add_names(&p->detail, &s.types, true);
		sep = "; ";
	}
	if (s.user) {
		buf_printf(&p->detail, "%suser may not be set", sep);
		sep = "; ";
	}
	if (s.role)
		buf_printf(&p->detail, "%srole may not be set", sep);
}

static bool seccomp_set(const struct json *ctx, struct str *ret_type)
{
	*ret_type = json_str(json_getp(ctx, "seccompProfile.type"));
	return ret_type->n > 0;
}

static bool seccomp_fine(struct str type)
{
	return str_eqc(type, "RuntimeDefault") || str_eqc(type, "Localhost");
}

struct seccomp {
	struct setters bad;
	struct names unset;
};

static void seccomp_container(struct pod *p, const struct json *c, void *arg)
{
	struct seccomp *s = arg;
	struct str type;

	(void)p;
	if (!seccomp_set(json_getc(c, "securityContext"), &type)) {
		name_add(&s->unset, name_of(c));
	} else if (!seccomp_fine(type)) {
		name_add(&s->bad.containers, name_of(c));
		name_add(&s->bad.values, type);
	}
}

static bool seccomp_explicit(struct pod *p, struct seccomp *s, struct str *ret_pod_type)
{
	if (seccomp_set(json_getc(p->spec, "securityContext"), ret_pod_type) && !seccomp_fine(*ret_pod_type)) {
		s->bad.pod = true;
		name_add(&s->bad.values, *ret_pod_type);
	}
	each_container(p, seccomp_container, s);
	if (!s->bad.pod && s->bad.containers.n == 0)
		return false;
	add_setters(&p->detail, &s->bad);
	buf_addc(&p->detail, " must not set securityContext.seccompProfile.type to ");
	add_names(&p->detail, &s->bad.values, true);
	return true;
}

static void check_seccomp_baseline(struct pod *p)
{
	struct seccomp s = {.bad.pod = false};
	struct str type;

	seccomp_explicit(p, &s, &type);
}

static void check_sysctls(struct pod *p)
{
	static const char *const allowed[] = {"kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range",
			"net.ipv4.ip_unprivileged_port_start", "net.ipv4.tcp_syncookies", "net.ipv4.ping_group_range",
			"net.ipv4.ip_local_reserved_ports", "net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_fin_timeout",
			"net.ipv4.tcp_keepalive_intvl", "net.ipv4.tcp_keepalive_probes", "net.ipv4.tcp_rmem",
			"net.ipv4.tcp_wmem", NULL};
	struct names bad = {.n = 0};

	JSON_ITEMS (s, json_getp(p->spec, "securityContext.sysctls"))
		if (!in_list(allowed, name_of(s)))
			name_add(&bad, name_of(s));
	add_names(&p->detail, &bad, false);
}

static void host_process_container(struct pod *p, const struct json *c, void *arg)
{
	struct setters *s = arg;

	(void)p;
	if (json_true(json_getp(c, "securityContext.windowsOptions.hostProcess")))
		name_add(&s->containers, name_of(c));
}

static void check_host_process(struct pod *p)
{
	struct setters s = {.pod = json_true(json_getp(p->spec, "securityContext.windowsOptions.hostProcess"))};

	each_container(p, host_process_container, &s);
	if (!s.pod && s.containers.n == 0)
		return;
	add_setters(&p->detail, &s);
	buf_addc(&p->detail, " must not set securityContext.windowsOptions.hostProcess=true");
}

/* --- Restricted --------------------------------------------------------------------------------------------------- */

static void escalation_container(struct pod *p, const struct json *c, void *arg)
{
	(void)p;
	if (!is_false(json_getp(c, "securityContext.allowPrivilegeEscalation")))
		name_add(arg, name_of(c));
}

static void check_escalation(struct pod *p)
{
	struct names bad = {.n = 0};

	if (p->windows)
		return;
	each_container(p, escalation_container, &bad);
	if (bad.n == 0)
		return;
	add_kind(&p->detail, "container", &bad);
	buf_addc(&p->detail, " must set securityContext.allowPrivilegeEscalation=false");
}

static void check_caps_restricted(struct pod *p)
{
	struct caps s = {.allowed = restricted_caps};

	if (p->windows)
		return;
	each_container(p, caps_container, &s);
	if (s.undropped.n) {
		add_kind(&p->detail, "container", &s.undropped);
		buf_addc(&p->detail, " must set securityContext.capabilities.drop=[\"ALL\"]");
	}
	caps_added(p, &s);
}

static void check_volumes(struct pod *p)
{
	static const char *const allowed[] = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image",
			"persistentVolumeClaim", "projected", "secret", "name", NULL};
	struct names bad = {.n = 0}, types = {.n = 0};

	JSON_ITEMS (v, json_getc(p->spec, "volumes"))
		JSON_MEMBERS (m, v)
			if (!in_list(allowed, m->key) && !json_is_null(m->value)) {
				name_add(&bad, name_of(v));
				name_add(&types, m->key);
			}
	if (bad.n == 0)
		return;
	names_sort(&types);
	add_kind(&p->detail, "volume", &bad);
	buf_printf(&p->detail, " %s restricted volume type%s ", bad.n == 1 ? "uses" : "use", types.n == 1 ? "" : "s");
	add_names(&p->detail, &types, true);
}

struct non_root {
	struct setters bad;
	struct names unset;
};

static void non_root_container(struct pod *p, const struct json *c, void *arg)
{
	struct non_root *s = arg;
	const struct json *v = json_getp(c, "securityContext.runAsNonRoot");

	(void)p;
	if (is_false(v))
		name_add(&s->bad.containers, name_of(c));
	else if (!json_true(v))
		name_add(&s->unset, name_of(c));
}

static void check_non_root(struct pod *p)
{
	const struct json *v = json_getp(p->spec, "securityContext.runAsNonRoot");
	struct non_root s = {.bad.pod = is_false(v)};

	each_container(p, non_root_container, &s);
	if (s.bad.pod || s.bad.containers.n) {
		add_setters(&p->detail, &s.bad);
		buf_addc(&p->detail, " must not set securityContext.runAsNonRoot=false");
	} else if (!json_true(v) && s.unset.n) {
		buf_addc(&p->detail, "pod or ");
		add_kind(&p->detail, "container", &s.unset);
		buf_addc(&p->detail, " must set securityContext.runAsNonRoot=true");
	}
}

static bool is_root(const struct json *ctx)
{
	return json_i64_or(json_getc(ctx, "runAsUser"), -1) == 0;
}

static void user_container(struct pod *p, const struct json *c, void *arg)
{
	struct setters *s = arg;

	(void)p;
	if (is_root(json_getc(c, "securityContext")))
		name_add(&s->containers, name_of(c));
}

static void check_user(struct pod *p)
{
	struct setters s = {.pod = is_root(json_getc(p->spec, "securityContext"))};

	each_container(p, user_container, &s);
	if (!s.pod && s.containers.n == 0)
		return;
	add_setters(&p->detail, &s);
	buf_addc(&p->detail, " must not set runAsUser=0");
}

static void check_seccomp_restricted(struct pod *p)
{
	struct seccomp s = {.bad.pod = false};
	struct str type;

	if (p->windows || seccomp_explicit(p, &s, &type))
		return;
	if (type.n > 0 || s.unset.n == 0)
		return;
	buf_addc(&p->detail, "pod or ");
	add_kind(&p->detail, "container", &s.unset);
	buf_addc(&p->detail, " must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\"");
}

/* --- The table ------------------------------------------------------------------------------------------------------ */

/* In the order in which findings are told. `until`: at restricted another row takes its place. */
static const struct {
	enum podsecurity_level from;
	bool until_restricted;
	const char *reason;
	void (*check)(struct pod *);
} checks[] = {
		{PODSECURITY_BASELINE, false, "forbidden AppArmor profile", check_apparmor},
		{PODSECURITY_BASELINE, true, "non-default capabilities", check_caps_baseline},
		{PODSECURITY_BASELINE, false, "host namespaces", check_host_namespaces},
		{PODSECURITY_BASELINE, true, "hostPath volumes", check_host_path},
		{PODSECURITY_BASELINE, false, "hostPort", check_host_ports},
		{PODSECURITY_BASELINE, false, "probe or lifecycle host", check_host_probes},
		{PODSECURITY_BASELINE, false, "privileged", check_privileged},
		{PODSECURITY_BASELINE, false, "procMount", check_proc_mount},
		{PODSECURITY_BASELINE, false, "seLinuxOptions", check_selinux},
		{PODSECURITY_BASELINE, true, "seccompProfile", check_seccomp_baseline},
		{PODSECURITY_BASELINE, false, "forbidden sysctls", check_sysctls},
		{PODSECURITY_BASELINE, false, "hostProcess", check_host_process},
		{PODSECURITY_RESTRICTED, false, "allowPrivilegeEscalation != false", check_escalation},
		{PODSECURITY_RESTRICTED, false, "unrestricted capabilities", check_caps_restricted},
		{PODSECURITY_RESTRICTED, false, "restricted volume types", check_volumes},
		{PODSECURITY_RESTRICTED, false, "runAsNonRoot != true", check_non_root},
		{PODSECURITY_RESTRICTED, false, "runAsUser=0", check_user},
		{PODSECURITY_RESTRICTED, false, "seccompProfile", check_seccomp_restricted},
};

static struct str findings(struct arena *a, enum podsecurity_level level, const struct json *meta, const struct json *spec, bool details)
{
	_cleanup_(buf_fini) struct buf out = BUF_INIT;
	struct pod p = {.arena = a, .meta = meta, .spec = spec, .detail = BUF_INIT,
			.windows = json_eqc(json_getp(spec, "os.name"), "windows")};

	for (size_t i = 0; i < ARRAY_LEN(checks); i++) {
		if (level < checks[i].from || (level == PODSECURITY_RESTRICTED && checks[i].until_restricted))
			continue;
		buf_clear(&p.detail);
		checks[i].check(&p);
		if (!p.detail.n)
			continue;
		buf_printf(&out, "%s%s", out.n ? ", " : "", checks[i].reason);
		if (details)
			buf_printf(&out, " (%.*s)", STR_FMT(buf_str(&p.detail)));
	}
	buf_fini(&p.detail);
	return arena_str(a, buf_str(&out));
}

struct str podsecurity_check(struct arena *a, enum podsecurity_level level, const struct json *meta, const struct json *spec)
{
	return findings(a, level, meta, spec, true);
}

/* --- Pods that are there already ---------------------------------------------------------------------------------- */

/* Pods with the same findings, named after the first of them. */
struct finding {
	struct str pod, why;
	size_t n;
};

static int by_pod(const void *a, const void *b)
{
	return str_cmp(((const struct finding *)a)->pod, ((const struct finding *)b)->pod);
}

size_t podsecurity_existing(struct arena *a, enum podsecurity_level level, struct json *const *pods, size_t n, struct str **ret)
{
	struct finding *f = arena_new_array(a, struct finding, n + 1);
	size_t n_f = 0, k;

	for (size_t i = 0; i < n; i++) {
		struct str why = findings(a, level, json_getc(pods[i], "metadata"), json_getc(pods[i], "spec"), false);

		if (why.n == 0)
			continue;
		for (k = 0; k < n_f && !str_eq(f[k].why, why); k++)
			continue;
		if (k == n_f)
			f[n_f++] = (struct finding){.pod = json_strp(pods[i], "metadata.name"), .why = why};
		f[k].n++;
	}
	if (n_f > 1)
		qsort(f, n_f, sizeof(*f), by_pod);
	*ret = arena_new_array(a, struct str, n_f + 1);
	for (k = 0; k < n_f; k++)
		(*ret)[k] = f[k].n == 1 ? arena_sprintf(a, "%.*s: %.*s", STR_FMT(f[k].pod), STR_FMT(f[k].why)) :
					  arena_sprintf(a, "%.*s (and %zu other pod%s): %.*s", STR_FMT(f[k].pod), f[k].n - 1,
							  f[k].n > 2 ? "s" : "", STR_FMT(f[k].why));
	return n_f;
}
