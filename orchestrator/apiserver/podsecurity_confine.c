/* Checks of what confines a container (podsecurity.h): profiles, capabilities, privileges, users. */
#include "orchestrator/apiserver/podsecurity-priv.h"

#include "base/buf.h"
#include "proto/json.h"

#define APPARMOR "container.apparmor.security.beta.kubernetes.io/"

static bool apparmor_bad(const struct json *profile, struct ps_names *values)
{
	struct str type = json_str(json_getc(profile, "type"));

	if (!str_eqc(type, "Unconfined"))
		return false;
	podsecurity__add(values, type);
	return true;
}

static void apparmor_container(struct ps_pod *p, const struct json *c, void *arg)
{
	struct ps_setters *s = arg;

	(void)p;
	if (apparmor_bad(json_getp(c, "securityContext.appArmorProfile"), &s->values))
		podsecurity__add(&s->containers, podsecurity__name_of(c));
}

void podsecurity__apparmor(struct ps_pod *p)
{
	struct ps_setters s = {.pod = false};

	s.pod = apparmor_bad(json_getp(p->spec, "securityContext.appArmorProfile"), &s.values);
	podsecurity__each(p, apparmor_container, &s);
	if (s.pod || s.containers.n) {
		podsecurity__tell_setters(&p->detail, &s);
		buf_addc(&p->detail, " must not set AppArmor profile type to ");
		podsecurity__tell(&p->detail, &s.values, true);
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
	struct ps_names containers, values;
	struct ps_names undropped;
};

static void caps_container(struct ps_pod *p, const struct json *c, void *arg)
{
	struct caps *s = arg;
	bool bad = false, all = false;

	(void)p;
	JSON_ITEMS (cap, json_getp(c, "securityContext.capabilities.add"))
		if (!podsecurity__in_list(s->allowed, json_str(cap))) {
			podsecurity__add(&s->values, json_str(cap));
			bad = true;
		}
	if (bad)
		podsecurity__add(&s->containers, podsecurity__name_of(c));
	JSON_ITEMS (cap, json_getp(c, "securityContext.capabilities.drop"))
		all = all || json_eqc(cap, "ALL");
	if (!all)
		podsecurity__add(&s->undropped, podsecurity__name_of(c));
}

static void caps_added(struct ps_pod *p, struct caps *s)
{
	if (s->containers.n == 0)
		return;
	podsecurity__sort(&s->values);
	if (p->detail.n)
		buf_addc(&p->detail, "; ");
	podsecurity__tell_kind(&p->detail, "container", &s->containers);
	buf_addc(&p->detail, " must not include ");
	podsecurity__tell(&p->detail, &s->values, true);
	buf_addc(&p->detail, " in securityContext.capabilities.add");
}

void podsecurity__caps_baseline(struct ps_pod *p)
{
	struct caps s = {.allowed = default_caps};

	podsecurity__each(p, caps_container, &s);
	caps_added(p, &s);
}

static void privileged_container(struct ps_pod *p, const struct json *c, void *arg)
{
	(void)p;
	if (json_true(json_getp(c, "securityContext.privileged")))
		podsecurity__add(arg, podsecurity__name_of(c));
}

void podsecurity__privileged(struct ps_pod *p)
{
	struct ps_names bad = {.n = 0};

	podsecurity__each(p, privileged_container, &bad);
	if (bad.n == 0)
		return;
	podsecurity__tell_kind(&p->detail, "container", &bad);
	buf_addc(&p->detail, " must not set securityContext.privileged=true");
}

static void proc_mount_container(struct ps_pod *p, const struct json *c, void *arg)
{
	struct ps_setters *s = arg;
	struct str v = json_str(json_getp(c, "securityContext.procMount"));

	(void)p;
	if (v.n == 0 || str_eqc(v, "Default"))
		return;
	podsecurity__add(&s->containers, podsecurity__name_of(c));
	podsecurity__add(&s->values, v);
}

void podsecurity__proc_mount(struct ps_pod *p)
{
	struct ps_setters s = {.pod = false};

	podsecurity__each(p, proc_mount_container, &s);
	if (s.containers.n == 0)
		return;
	podsecurity__tell_kind(&p->detail, "container", &s.containers);
	buf_addc(&p->detail, " must not set securityContext.procMount to ");
	podsecurity__tell(&p->detail, &s.values, true);
}

struct selinux {
	struct ps_setters who;
	struct ps_names types;
	bool user, role;
};

static bool selinux_bad(struct selinux *s, const struct json *o)
{
	static const char *const allowed[] = {"", "container_t", "container_init_t", "container_kvm_t", "container_engine_t", NULL};
	struct str type = json_str(json_getc(o, "type"));
	bool bad = false;

	if (!podsecurity__in_list(allowed, type)) {
		podsecurity__add(&s->types, type);
		bad = true;
	}
	if (json_str(json_getc(o, "user")).n)
		bad = s->user = true;
	if (json_str(json_getc(o, "role")).n)
		bad = s->role = true;
	return bad;
}

static void selinux_container(struct ps_pod *p, const struct json *c, void *arg)
{
	struct selinux *s = arg;

	(void)p;
	if (selinux_bad(s, json_getp(c, "securityContext.seLinuxOptions")))
		podsecurity__add(&s->who.containers, podsecurity__name_of(c));
}

void podsecurity__selinux(struct ps_pod *p)
{
	struct selinux s = {.user = false};
	const char *sep = "";

	s.who.pod = selinux_bad(&s, json_getp(p->spec, "securityContext.seLinuxOptions"));
	podsecurity__each(p, selinux_container, &s);
	if (!s.who.pod && s.who.containers.n == 0)
		return;
	podsecurity__tell_setters(&p->detail, &s.who);
	buf_addc(&p->detail, " set forbidden securityContext.seLinuxOptions: ");
	if (s.types.n) {
		buf_printf(&p->detail, "type%s ", s.types.n == 1 ? "" : "s");
		podsecurity__tell(&p->detail, &s.types, true);
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
	struct ps_setters bad;
	struct ps_names unset;
};

static void seccomp_container(struct ps_pod *p, const struct json *c, void *arg)
{
	struct seccomp *s = arg;
	struct str type;

	(void)p;
	if (!seccomp_set(json_getc(c, "securityContext"), &type)) {
		podsecurity__add(&s->unset, podsecurity__name_of(c));
	} else if (!seccomp_fine(type)) {
		podsecurity__add(&s->bad.containers, podsecurity__name_of(c));
		podsecurity__add(&s->bad.values, type);
	}
}

static bool seccomp_explicit(struct ps_pod *p, struct seccomp *s, struct str *ret_pod_type)
{
	if (seccomp_set(json_getc(p->spec, "securityContext"), ret_pod_type) && !seccomp_fine(*ret_pod_type)) {
		s->bad.pod = true;
		podsecurity__add(&s->bad.values, *ret_pod_type);
	}
	podsecurity__each(p, seccomp_container, s);
	if (!s->bad.pod && s->bad.containers.n == 0)
		return false;
	podsecurity__tell_setters(&p->detail, &s->bad);
	buf_addc(&p->detail, " must not set securityContext.seccompProfile.type to ");
	podsecurity__tell(&p->detail, &s->bad.values, true);
	return true;
}

void podsecurity__seccomp_baseline(struct ps_pod *p)
{
	struct seccomp s = {.bad.pod = false};
	struct str type;

	seccomp_explicit(p, &s, &type);
}

static void escalation_container(struct ps_pod *p, const struct json *c, void *arg)
{
	(void)p;
	if (!podsecurity__is_false(json_getp(c, "securityContext.allowPrivilegeEscalation")))
		podsecurity__add(arg, podsecurity__name_of(c));
}

void podsecurity__escalation(struct ps_pod *p)
{
	struct ps_names bad = {.n = 0};

	if (p->windows)
		return;
	podsecurity__each(p, escalation_container, &bad);
	if (bad.n == 0)
		return;
	podsecurity__tell_kind(&p->detail, "container", &bad);
	buf_addc(&p->detail, " must set securityContext.allowPrivilegeEscalation=false");
}

void podsecurity__caps_restricted(struct ps_pod *p)
{
	struct caps s = {.allowed = restricted_caps};

	if (p->windows)
		return;
	podsecurity__each(p, caps_container, &s);
	if (s.undropped.n) {
		podsecurity__tell_kind(&p->detail, "container", &s.undropped);
		buf_addc(&p->detail, " must set securityContext.capabilities.drop=[\"ALL\"]");
	}
	caps_added(p, &s);
}

struct non_root {
	struct ps_setters bad;
	struct ps_names unset;
};

static void non_root_container(struct ps_pod *p, const struct json *c, void *arg)
{
	struct non_root *s = arg;
	const struct json *v = json_getp(c, "securityContext.runAsNonRoot");

	(void)p;
	if (podsecurity__is_false(v))
		podsecurity__add(&s->bad.containers, podsecurity__name_of(c));
	else if (!json_true(v))
		podsecurity__add(&s->unset, podsecurity__name_of(c));
}

void podsecurity__non_root(struct ps_pod *p)
{
	const struct json *v = json_getp(p->spec, "securityContext.runAsNonRoot");
	struct non_root s = {.bad.pod = podsecurity__is_false(v)};

	podsecurity__each(p, non_root_container, &s);
	if (s.bad.pod || s.bad.containers.n) {
		podsecurity__tell_setters(&p->detail, &s.bad);
		buf_addc(&p->detail, " must not set securityContext.runAsNonRoot=false");
	} else if (!json_true(v) && s.unset.n) {
		buf_addc(&p->detail, "pod or ");
		podsecurity__tell_kind(&p->detail, "container", &s.unset);
		buf_addc(&p->detail, " must set securityContext.runAsNonRoot=true");
	}
}

static bool is_root(const struct json *ctx)
{
	return json_i64_or(json_getc(ctx, "runAsUser"), -1) == 0;
}

static void user_container(struct ps_pod *p, const struct json *c, void *arg)
{
	struct ps_setters *s = arg;

	(void)p;
	if (is_root(json_getc(c, "securityContext")))
		podsecurity__add(&s->containers, podsecurity__name_of(c));
}

void podsecurity__user(struct ps_pod *p)
{
	struct ps_setters s = {.pod = is_root(json_getc(p->spec, "securityContext"))};

	podsecurity__each(p, user_container, &s);
	if (!s.pod && s.containers.n == 0)
		return;
	podsecurity__tell_setters(&p->detail, &s);
	buf_addc(&p->detail, " must not set runAsUser=0");
}

void podsecurity__seccomp_restricted(struct ps_pod *p)
{
	struct seccomp s = {.bad.pod = false};
	struct str type;

	if (p->windows || seccomp_explicit(p, &s, &type))
		return;
	if (type.n > 0 || s.unset.n == 0)
		return;
	buf_addc(&p->detail, "pod or ");
	podsecurity__tell_kind(&p->detail, "container", &s.unset);
	buf_addc(&p->detail, " must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\"");
}
