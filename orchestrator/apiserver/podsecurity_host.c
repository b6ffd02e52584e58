/* Checks of what reaches the node (podsecurity.h): its namespaces, ports, folders and settings, and what may be mounted. */
#include "orchestrator/apiserver/podsecurity-priv.h"

#include "base/buf.h"
#include "base/util.h"
#include "proto/json.h"

void podsecurity__host_namespaces(struct ps_pod *p)
{
	static const char *const flags[] = {"hostNetwork", "hostPID", "hostIPC"};

	for (size_t i = 0; i < ARRAY_LEN(flags); i++)
		if (json_true(json_getc(p->spec, flags[i])))
			buf_printf(&p->detail, "%s%s=true", p->detail.n ? ", " : "", flags[i]);
}

void podsecurity__host_path(struct ps_pod *p)
{
	struct ps_names bad = {.n = 0};

	JSON_ITEMS (v, json_getc(p->spec, "volumes"))
		if (!json_is_null(json_getc(v, "hostPath")))
			podsecurity__add(&bad, podsecurity__name_of(v));
	if (bad.n)
		podsecurity__tell_kind(&p->detail, "volume", &bad);
}

static void ports_container(struct ps_pod *p, const struct json *c, void *arg)
{
	struct ps_setters *s = arg;

	JSON_ITEMS (port, json_getc(c, "ports")) {
		int64_t n = json_i64_or(json_getc(port, "hostPort"), 0);

		if (n == 0)
			continue;
		podsecurity__add(&s->containers, podsecurity__name_of(c));
		podsecurity__add(&s->values, arena_sprintf(p->arena, "%lld", (long long)n));
	}
}

void podsecurity__host_ports(struct ps_pod *p)
{
	struct ps_setters s = {.pod = false};

	podsecurity__each(p, ports_container, &s);
	if (s.containers.n == 0)
		return;
	podsecurity__sort(&s.values);
	podsecurity__tell_kind(&p->detail, "container", &s.containers);
	buf_printf(&p->detail, " %s hostPort%s ", s.containers.n == 1 ? "uses" : "use", s.values.n == 1 ? "" : "s");
	podsecurity__tell(&p->detail, &s.values, false);
}

static void probe_host(struct ps_setters *s, const struct json *c, const struct json *handler)
{
	static const char *const actions[] = {"httpGet", "tcpSocket"};

	for (size_t i = 0; i < ARRAY_LEN(actions); i++) {
		struct str host = json_str(json_getc(json_getc(handler, actions[i]), "host"));

		if (host.n == 0)
			continue;
		podsecurity__add(&s->containers, podsecurity__name_of(c));
		podsecurity__add(&s->values, host);
	}
}

static void probes_container(struct ps_pod *p, const struct json *c, void *arg)
{
	static const char *const handlers[] = {"livenessProbe", "readinessProbe", "startupProbe", "lifecycle.postStart",
			"lifecycle.preStop"};

	(void)p;
	for (size_t i = 0; i < ARRAY_LEN(handlers); i++)
		probe_host(arg, c, json_getp(c, handlers[i]));
}

void podsecurity__host_probes(struct ps_pod *p)
{
	struct ps_setters s = {.pod = false};

	podsecurity__each(p, probes_container, &s);
	if (s.containers.n == 0)
		return;
	podsecurity__tell_kind(&p->detail, "container", &s.containers);
	buf_printf(&p->detail, " %s probe or lifecycle host%s ", s.containers.n == 1 ? "uses" : "use",
			s.values.n == 1 ? "" : "s");
	podsecurity__tell(&p->detail, &s.values, true);
}

void podsecurity__sysctls(struct ps_pod *p)
{
	static const char *const allowed[] = {"kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range",
			"net.ipv4.ip_unprivileged_port_start", "net.ipv4.tcp_syncookies", "net.ipv4.ping_group_range",
			"net.ipv4.ip_local_reserved_ports", "net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_fin_timeout",
			"net.ipv4.tcp_keepalive_intvl", "net.ipv4.tcp_keepalive_probes", "net.ipv4.tcp_rmem",
			"net.ipv4.tcp_wmem", NULL};
	struct ps_names bad = {.n = 0};

	JSON_ITEMS (s, json_getp(p->spec, "securityContext.sysctls"))
		if (!podsecurity__in_list(allowed, podsecurity__name_of(s)))
			podsecurity__add(&bad, podsecurity__name_of(s));
	podsecurity__tell(&p->detail, &bad, false);
}

static void host_process_container(struct ps_pod *p, const struct json *c, void *arg)
{
	struct ps_setters *s = arg;

	(void)p;
	if (json_true(json_getp(c, "securityContext.windowsOptions.hostProcess")))
		podsecurity__add(&s->containers, podsecurity__name_of(c));
}

void podsecurity__host_process(struct ps_pod *p)
{
	struct ps_setters s = {.pod = json_true(json_getp(p->spec, "securityContext.windowsOptions.hostProcess"))};

	podsecurity__each(p, host_process_container, &s);
	if (!s.pod && s.containers.n == 0)
		return;
	podsecurity__tell_setters(&p->detail, &s);
	buf_addc(&p->detail, " must not set securityContext.windowsOptions.hostProcess=true");
}

void podsecurity__volumes(struct ps_pod *p)
{
	static const char *const allowed[] = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image",
			"persistentVolumeClaim", "projected", "secret", "name", NULL};
	struct ps_names bad = {.n = 0}, types = {.n = 0};

	JSON_ITEMS (v, json_getc(p->spec, "volumes"))
		JSON_MEMBERS (m, v)
			if (!podsecurity__in_list(allowed, m->key) && !json_is_null(m->value)) {
				podsecurity__add(&bad, podsecurity__name_of(v));
				podsecurity__add(&types, m->key);
			}
	if (bad.n == 0)
		return;
	podsecurity__sort(&types);
	podsecurity__tell_kind(&p->detail, "volume", &bad);
	buf_printf(&p->detail, " %s restricted volume type%s ", bad.n == 1 ? "uses" : "use", types.n == 1 ? "" : "s");
	podsecurity__tell(&p->detail, &types, true);
}
