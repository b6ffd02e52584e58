#include "orchestrator/kubelet/pod-config.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/util.h"
#include "orchestrator/kubelet/fsutil.h"
#include "orchestrator/kubelet/pbutil.h"
#include "orchestrator/kubelet/pod-status.h"
#include "orchestrator/kubelet/resources.h"

#define HOSTNAME_MAX 63

char *pod_dir(struct arena *a, const struct pod_host *h, const char *uid)
{
	return arena_printf(a, "%s/%s", h->pods_dir, uid);
}

char *pod_log_dir(struct arena *a, const struct pod_host *h, const char *ns, const char *name, const char *uid)
{
	return arena_printf(a, "%s/%s_%s_%s", h->logs_dir, ns, name, uid);
}

char *pod_fqdn(struct arena *a, const struct pod_host *h, const Core__Pod *pod)
{
	const char *host = is_set(pod->spec->hostname) ? pod->spec->hostname : nz(pod->metadata->name);

	if (!is_set(pod->spec->subdomain) || !is_set(h->domain))
		return arena_strdup(a, "");
	return arena_printf(a, "%s.%s.%s.svc.%s", host, pod->spec->subdomain, nz(pod->metadata->namespace_), h->domain);
}

char *pod_hostname(struct arena *a, const Core__Pod *pod)
{
	const char *name = is_set(pod->spec->hostname) ? pod->spec->hostname : nz(pod->metadata->name);
	char *out = arena_printf(a, "%.*s", HOSTNAME_MAX, name);

	/* A cut name must not end in what a name may not end in. */
	for (size_t n = strlen(out); n > 0 && (out[n - 1] == '-' || out[n - 1] == '.'); n--)
		out[n - 1] = '\0';
	return out;
}

static bool host_network(const Core__Pod *pod)
{
	return PB_OR(pod->spec, host_network, 0);
}

/* nameserver, search and options of the node's resolv.conf. */
static void read_resolv(struct arena *a, const char *path, Runtime__DNSConfig *d)
{
	_cleanup_(buf_fini) struct buf b = BUF_INIT;
	struct str rest, line, key, value, word;

	if (!is_set(path) || file_get(path, 1 << 20, &b, NULL) < 0)
		return;
	for (rest = buf_str(&b); rest.n > 0;) {
		str_cut(rest, '\n', &line, &rest);
		if (!str_cut(str_trim(line), ' ', &key, &value))
			continue;
		if (str_eqc(key, "search"))
			d->n_searches = 0; /* the last one counts */
		for (value = str_trim(value); value.n > 0; value = str_trim(value)) {
			const char *s;

			str_cut(value, ' ', &word, &value);
			s = arena_cstr(a, word);
			if (str_eqc(key, "nameserver"))
				PB_ADD(a, d, servers, s);
			else if (str_eqc(key, "search") && strcmp(s, ".") != 0)
				PB_ADD(a, d, searches, s);
			else if (str_eqc(key, "options"))
				PB_ADD(a, d, options, s);
		}
	}
}

static bool has_search(const Runtime__DNSConfig *d, const char *s)
{
	return pb_has_str((const char *const *)d->searches, d->n_searches, s);
}

static void dns_extra(struct arena *a, const Core__PodDNSConfig *c, Runtime__DNSConfig *d)
{
	for (size_t i = 0; i < c->n_nameservers; i++)
		PB_ADD(a, d, servers, c->nameservers[i]);
	for (size_t i = 0; i < c->n_searches; i++)
		if (!has_search(d, c->searches[i]))
			PB_ADD(a, d, searches, c->searches[i]);
	for (size_t i = 0; i < c->n_options; i++) {
		const char *name = nz(c->options[i]->name);
		const char *text = c->options[i]->value ? arena_printf(a, "%s:%s", name, c->options[i]->value) : name;
		size_t n = strlen(name);
		bool found = false;

		for (size_t k = 0; k < d->n_options; k++) {
			const char *o = d->options[k];

			if (strncmp(o, name, n) == 0 && (o[n] == '\0' || o[n] == ':'))
				d->options[k] = text, found = true;
		}
		if (!found)
			PB_ADD(a, d, options, text);
	}
}

static Runtime__DNSConfig *dns_config(struct arena *a, const struct pod_host *h, const Core__Pod *pod)
{
	Runtime__DNSConfig *d = PB_NEW(a, Runtime__DNSConfig, runtime__dnsconfig);
	const char *policy = is_set(pod->spec->dns_policy) ? pod->spec->dns_policy : "ClusterFirst";
	bool cluster = strcmp(policy, "ClusterFirstWithHostNet") == 0 ||
		       (strcmp(policy, "ClusterFirst") == 0 && !host_network(pod));

	if (cluster && is_set(h->cluster_dns)) {
		const char *ns = nz(pod->metadata->namespace_);
		Runtime__DNSConfig *node = PB_NEW(a, Runtime__DNSConfig, runtime__dnsconfig);

		read_resolv(a, h->resolv_conf, node);
		PB_ADD(a, d, servers, h->cluster_dns);
		PB_ADD(a, d, searches, arena_printf(a, "%s.svc.%s", ns, h->domain));
		PB_ADD(a, d, searches, arena_printf(a, "svc.%s", h->domain));
		PB_ADD(a, d, searches, h->domain);
		for (size_t i = 0; i < node->n_searches; i++)
			if (!has_search(d, node->searches[i]))
				PB_ADD(a, d, searches, node->searches[i]);
		PB_ADD(a, d, options, "ndots:5");
	} else if (strcmp(policy, "None") != 0) {
		read_resolv(a, h->resolv_conf, d);
	}
	if (pod->spec->dns_config)
		dns_extra(a, pod->spec->dns_config, d);
	return d;
}

static Runtime__NamespaceOption *namespaces(struct arena *a, const Core__Pod *pod)
{
	Runtime__NamespaceOption *n = PB_NEW(a, Runtime__NamespaceOption, runtime__namespace_option);
	const Core__PodSpec *s = pod->spec;

	n->network = host_network(pod) ? RUNTIME__NAMESPACE_MODE__NODE : RUNTIME__NAMESPACE_MODE__POD;
	n->ipc = PB_OR(s, host_ipc, 0) ? RUNTIME__NAMESPACE_MODE__NODE : RUNTIME__NAMESPACE_MODE__POD;
	n->pid = PB_OR(s, host_pid, 0)			? RUNTIME__NAMESPACE_MODE__NODE
		 : PB_OR(s, share_process_namespace, 0) ? RUNTIME__NAMESPACE_MODE__POD
							: RUNTIME__NAMESPACE_MODE__CONTAINER;
	return n;
}

static Runtime__Int64Value *int64_value(struct arena *a, int64_t v)
{
	Runtime__Int64Value *m = PB_NEW(a, Runtime__Int64Value, runtime__int64_value);

	m->value = v;
	return m;
}

static Runtime__SecurityProfile *profile(struct arena *a, const Core__SeccompProfile *p)
{
	Runtime__SecurityProfile *m = PB_NEW(a, Runtime__SecurityProfile, runtime__security_profile);

	m->profile_type = RUNTIME__SECURITY_PROFILE__PROFILE_TYPE__Unconfined;
	if (p && strcmp(nz(p->type), "RuntimeDefault") == 0) {
		m->profile_type = RUNTIME__SECURITY_PROFILE__PROFILE_TYPE__RuntimeDefault;
	} else if (p && strcmp(nz(p->type), "Localhost") == 0) {
		m->profile_type = RUNTIME__SECURITY_PROFILE__PROFILE_TYPE__Localhost;
		m->localhost_ref = arena_printf(a, "/var/lib/kubelet/seccomp/%s", nz(p->localhost_profile));
	}
	return m;
}

static bool is_privileged(const Core__Container *c)
{
	return PB_OR(c->security_context, privileged, 0);
}

static Runtime__LinuxPodSandboxConfig *sandbox_linux(struct arena *a, const struct pod_host *h, const Core__Pod *pod)
{
	Runtime__LinuxPodSandboxConfig *l = PB_NEW(a, Runtime__LinuxPodSandboxConfig, runtime__linux_pod_sandbox_config);
	Runtime__LinuxSandboxSecurityContext *s =
			PB_NEW(a, Runtime__LinuxSandboxSecurityContext, runtime__linux_sandbox_security_context);
	const Core__PodSecurityContext *sc = pod->spec->security_context;

	l->cgroup_parent = res_cgroup_path(a, h->cgroup_root, pod);
	l->security_context = s;
	s->namespace_options = namespaces(a, pod);
	/* The pause program needs nothing; containerd's default profile fits it. */
	s->seccomp = PB_NEW(a, Runtime__SecurityProfile, runtime__security_profile);
	for (size_t i = 0; i < pod->spec->n_containers; i++)
		s->privileged = s->privileged || is_privileged(pod->spec->containers[i]);
	for (size_t i = 0; i < pod->spec->n_init_containers; i++)
		s->privileged = s->privileged || is_privileged(pod->spec->init_containers[i]);
	if (!sc)
		return l;
	if (sc->has_run_as_user)
		s->run_as_user = int64_value(a, sc->run_as_user);
	if (sc->has_run_as_group && sc->has_run_as_user)
		s->run_as_group = int64_value(a, sc->run_as_group);
	for (size_t i = 0; i < sc->n_sysctls; i++)
		pb_map_set(a, l, "sysctls", sc->sysctls[i]->name, nz(sc->sysctls[i]->value));
	return l;
}

static void port_mappings(struct arena *a, const Core__Pod *pod, Runtime__PodSandboxConfig *c)
{
	for (size_t i = 0; i < pod->spec->n_containers; i++) {
		const Core__Container *k = pod->spec->containers[i];

		for (size_t p = 0; p < k->n_ports; p++) {
			Runtime__PortMapping *m;

			if (!PB_OR(k->ports[p], host_port, 0))
				continue;
			m = pb_add(a, c, "port_mappings");
			m->container_port = PB_OR(k->ports[p], container_port, 0);
			m->host_port = k->ports[p]->host_port;
			m->host_ip = nz(k->ports[p]->host_ip);
			if (strcmp(nz(k->ports[p]->protocol), "UDP") == 0)
				m->protocol = RUNTIME__PROTOCOL__UDP;
		}
	}
}

Runtime__PodSandboxConfig *pod_sandbox_config(struct arena *a, const struct pod_host *h, const Core__Pod *pod, uint32_t attempt)
{
	Runtime__PodSandboxConfig *c = PB_NEW(a, Runtime__PodSandboxConfig, runtime__pod_sandbox_config);
	const Meta__ObjectMeta *m = pod->metadata;

	c->metadata = PB_NEW(a, Runtime__PodSandboxMetadata, runtime__pod_sandbox_metadata);
	c->metadata->name = nz(m->name);
	c->metadata->namespace_ = nz(m->namespace_);
	c->metadata->uid = nz(m->uid);
	c->metadata->attempt = attempt;
	if (!host_network(pod)) {
		const char *fqdn = pod_fqdn(a, h, pod);

		c->hostname = PB_OR(pod->spec, set_hostname_as_fqdn, 0) && *fqdn ? fqdn : pod_hostname(a, pod);
		port_mappings(a, pod, c);
	}
	c->log_directory = pod_log_dir(a, h, nz(m->namespace_), nz(m->name), nz(m->uid));
	c->dns_config = dns_config(a, h, pod);
	for (size_t i = 0; i < m->n_labels; i++)
		pb_map_set(a, c, "labels", m->labels[i]->key, nz(m->labels[i]->value));
	pb_map_set(a, c, "labels", LABEL_POD_NAME, nz(m->name));
	pb_map_set(a, c, "labels", LABEL_POD_NAMESPACE, nz(m->namespace_));
	pb_map_set(a, c, "labels", LABEL_POD_UID, nz(m->uid));
	for (size_t i = 0; i < m->n_annotations; i++)
		pb_map_set(a, c, "annotations", m->annotations[i]->key, nz(m->annotations[i]->value));
	c->linux = sandbox_linux(a, h, pod);
	return c;
}

char *pod_hosts_file(struct arena *a, const struct pod_host *h, const Core__Pod *pod, const char *pod_ip)
{
	_cleanup_(buf_fini) struct buf b = BUF_INIT;
	const char *fqdn = pod_fqdn(a, h, pod), *name = pod_hostname(a, pod);

	buf_addc(&b, "# Kubernetes-managed hosts file.\n"
		     "127.0.0.1\tlocalhost\n"
		     "::1\tlocalhost ip6-localhost ip6-loopback\n"
		     "fe00::0\tip6-localnet\n"
		     "fe00::0\tip6-mcastprefix\n"
		     "fe00::1\tip6-allnodes\n"
		     "fe00::2\tip6-allrouters\n");
	if (is_set(pod_ip))
		buf_printf(&b, "%s\t%s%s%s\n", pod_ip, fqdn, *fqdn ? "\t" : "", name);
	if (pod->spec->n_host_aliases)
		buf_addc(&b, "\n# Entries added by HostAliases.\n");
	for (size_t i = 0; i < pod->spec->n_host_aliases; i++) {
		const Core__HostAlias *alias = pod->spec->host_aliases[i];

		buf_addc(&b, nz(alias->ip));
		for (size_t k = 0; k < alias->n_hostnames; k++)
			buf_printf(&b, "\t%s", alias->hostnames[k]);
		buf_add1(&b, '\n');
	}
	return arena_cstr(a, buf_str(&b));
}

static const Core__Volume *volume_named(const Core__Pod *pod, const char *name)
{
	for (size_t i = 0; i < pod->spec->n_volumes; i++)
		if (strcmp(nz(pod->spec->volumes[i]->name), name) == 0)
			return pod->spec->volumes[i];
	return NULL;
}

static Runtime__Mount *add_mount(struct arena *a, Runtime__ContainerConfig *c, const char *inside, const char *outside,
		bool readonly)
{
	Runtime__Mount *m = pb_add(a, c, "mounts");

	m->container_path = inside;
	m->host_path = outside;
	m->readonly = readonly;
	return m;
}

static bool claim_is_read_only(const Core__Volume *v)
{
	const Core__PersistentVolumeClaimVolumeSource *s = v->volume_source ? v->volume_source->persistent_volume_claim : NULL;

	return s && PB_OR(s, read_only, 0);
}

static int volume_mount(struct arena *a, const struct container_in *in, Runtime__ContainerConfig *c, size_t i, struct err *e)
{
	const Core__VolumeMount *vm = in->spec->volume_mounts[i];
	const Core__Volume *v = volume_named(in->pod, nz(vm->name));
	char *dir = pod_dir(a, in->host, nz(in->pod->metadata->uid));
	char *outside = v ? volume_path(a, dir, v) : NULL;
	const char *sub = nz(vm->sub_path), *inside = nz(vm->mount_path);
	Runtime__Mount *m;
	int rc;

	if (!outside)
		return err_set(e, ERR_INVALID, "volume \"%s\" of a mount of container \"%s\" is not there", nz(vm->name),
				nz(in->spec->name));
	if (is_set(vm->sub_path_expr))
		sub = env_expand(a, vm->sub_path_expr, in->env);
	if (*sub) {
		rc = volume_subpath(a, dir, outside, sub, nz(in->spec->name), i, &outside, e);
		if (rc < 0)
			return rc;
	}
	if (inside[0] != '/')
		inside = arena_printf(a, "/%s", inside);
	m = add_mount(a, c, inside, outside, PB_OR(vm, read_only, 0) || claim_is_read_only(v));
	if (strcmp(nz(vm->mount_propagation), "HostToContainer") == 0)
		m->propagation = RUNTIME__MOUNT_PROPAGATION__PROPAGATION_HOST_TO_CONTAINER;
	else if (strcmp(nz(vm->mount_propagation), "Bidirectional") == 0)
		m->propagation = RUNTIME__MOUNT_PROPAGATION__PROPAGATION_BIDIRECTIONAL;
	return 0;
}

static bool mounts_at(const Core__Container *c, const char *path)
{
	for (size_t i = 0; i < c->n_volume_mounts; i++)
		if (strcmp(nz(c->volume_mounts[i]->mount_path), path) == 0)
			return true;
	return false;
}

static int mounts(struct arena *a, const struct container_in *in, Runtime__ContainerConfig *c, struct err *e)
{
	const char *dir = pod_dir(a, in->host, nz(in->pod->metadata->uid));
	const char *message = is_set(in->spec->termination_message_path) ? in->spec->termination_message_path
									 : "/dev/termination-log";
	char *folder, *file;
	int rc;

	for (size_t i = 0; i < in->spec->n_volume_mounts; i++) {
		rc = volume_mount(a, in, c, i, e);
		if (rc < 0)
			return rc;
	}
	if (!host_network(in->pod) && !mounts_at(in->spec, "/etc/hosts"))
		add_mount(a, c, "/etc/hosts", arena_printf(a, "%s/etc-hosts", dir), false);
	folder = arena_printf(a, "%s/containers/%s", dir, nz(in->spec->name));
	file = arena_printf(a, "%s/%08x", folder, in->attempt);
	rc = fs_mkdir_all(folder, 0750, e);
	if (rc == 0)
		rc = file_put(file, STR_NULL, 0666, false, e);
	if (rc == 0 && !mounts_at(in->spec, message))
		add_mount(a, c, message, file, false);
	return rc;
}

static Runtime__LinuxContainerResources *resources(struct arena *a, const struct container_in *in)
{
	Runtime__LinuxContainerResources *r =
			PB_NEW(a, Runtime__LinuxContainerResources, runtime__linux_container_resources);
	struct res res;

	res_of(res_given(a, in->pod, in->spec), &res);
	r->cpu_shares = res_cpu_shares(res.cpu_request);
	r->cpu_period = 100000;
	r->cpu_quota = res_cpu_quota(res.cpu_limit);
	r->memory_limit_in_bytes = res.memory_limit;
	r->oom_score_adj = res_oom_score_adj(in->pod, in->spec, in->host->memory_capacity);
	return r;
}

static void capabilities(struct arena *a, const Core__Capabilities *c, Runtime__LinuxContainerSecurityContext *s)
{
	s->capabilities = PB_NEW(a, Runtime__Capability, runtime__capability);
	for (size_t i = 0; i < c->n_add; i++)
		PB_ADD(a, s->capabilities, add_capabilities, c->add[i]);
	for (size_t i = 0; i < c->n_drop; i++)
		PB_ADD(a, s->capabilities, drop_capabilities, c->drop[i]);
}

/* runAsNonRoot with an image that runs as root, or as a name that we cannot look into. */
static int check_non_root(const struct container_in *in, const Runtime__LinuxContainerSecurityContext *s, struct err *e)
{
	const Core__PodSecurityContext *pc = in->pod->spec->security_context;
	const Core__SecurityContext *c = in->spec->security_context;
	bool non_root = c && c->has_run_as_non_root ? c->run_as_non_root : PB_OR(pc, run_as_non_root, 0);

	if (!non_root)
		return 0;
	if (s->run_as_user)
		return s->run_as_user->value != 0
				       ? 0
				       : err_set(e, ERR_INVALID, "container's runAsUser breaks non-root policy (container: %s)",
							 nz(in->spec->name));
	if (in->image_uid > 0)
		return 0;
	if (in->image_uid == 0)
		return err_set(e, ERR_INVALID, "container has runAsNonRoot and image will run as root (container: %s)",
				nz(in->spec->name));
	return err_set(e, ERR_INVALID,
			"container has runAsNonRoot and image has non-numeric user (%s), cannot verify user is non-root (container: %s)",
			nz(in->image_user), nz(in->spec->name));
}

static int security(struct arena *a, const struct container_in *in, Runtime__LinuxContainerSecurityContext **ret, struct err *e)
{
	const Core__PodSecurityContext *pc = in->pod->spec->security_context;
	const Core__SecurityContext *c = in->spec->security_context;
	Runtime__LinuxContainerSecurityContext *s =
			PB_NEW(a, Runtime__LinuxContainerSecurityContext, runtime__linux_container_security_context);

	s->namespace_options = namespaces(a, in->pod);
	/* In a pod that shares its processes, or the node's, it sees the target's anyway. */
	if (is_set(in->target_id) && s->namespace_options->pid == RUNTIME__NAMESPACE_MODE__CONTAINER) {
		s->namespace_options->pid = RUNTIME__NAMESPACE_MODE__TARGET;
		s->namespace_options->target_id = in->target_id;
	}
	s->privileged = is_privileged(in->spec);
	if (c && c->has_run_as_user)
		s->run_as_user = int64_value(a, c->run_as_user);
	else if (pc && pc->has_run_as_user)
		s->run_as_user = int64_value(a, pc->run_as_user);
	else if (in->image_uid < 0 && is_set(in->image_user))
		s->run_as_username = in->image_user;
	else if (in->image_uid > 0)
		s->run_as_user = int64_value(a, in->image_uid);
	if (c && c->has_run_as_group)
		s->run_as_group = int64_value(a, c->run_as_group);
	else if (pc && pc->has_run_as_group)
		s->run_as_group = int64_value(a, pc->run_as_group);
	if (s->run_as_group && !s->run_as_user && !is_set(s->run_as_username))
		s->run_as_user = int64_value(a, 0); /* CRI wants a user with a group */
	s->readonly_rootfs = PB_OR(c, read_only_root_filesystem, 0);
	s->no_new_privs = c && c->has_allow_privilege_escalation && !c->allow_privilege_escalation;
	s->seccomp = profile(a, c && c->seccomp_profile ? c->seccomp_profile : pc ? pc->seccomp_profile : NULL);
	if (c && c->capabilities)
		capabilities(a, c->capabilities, s);
	for (size_t i = 0; pc && i < pc->n_supplemental_groups; i++)
		PB_ADD(a, s, supplemental_groups, pc->supplemental_groups[i]);
	if (pc && pc->has_fs_group)
		PB_ADD(a, s, supplemental_groups, pc->fs_group);
	*ret = s;
	return check_non_root(in, s, e);
}

static void labels(struct arena *a, const struct container_in *in, Runtime__ContainerConfig *c)
{
	const Meta__ObjectMeta *m = in->pod->metadata;

	pb_map_set(a, c, "labels", LABEL_POD_NAME, nz(m->name));
	pb_map_set(a, c, "labels", LABEL_POD_NAMESPACE, nz(m->namespace_));
	pb_map_set(a, c, "labels", LABEL_POD_UID, nz(m->uid));
	pb_map_set(a, c, "labels", LABEL_CONTAINER_NAME, nz(in->spec->name));
	pb_map_set(a, c, "annotations", ANNOT_HASH, in->hash);
	pb_map_set(a, c, "annotations", ANNOT_RESTARTS, arena_printf(a, "%u", in->attempt));
	pb_map_set(a, c, "annotations", ANNOT_MESSAGE_PATH,
			is_set(in->spec->termination_message_path) ? in->spec->termination_message_path
								   : "/dev/termination-log");
	pb_map_set(a, c, "annotations", ANNOT_MESSAGE_POLICY,
			is_set(in->spec->termination_message_policy) ? in->spec->termination_message_policy : "File");
	pb_map_set(a, c, "annotations", ANNOT_GRACE,
			arena_printf(a, "%" PRId64, (int64_t)PB_OR(in->pod->spec, termination_grace_period_seconds, 30)));
}

int pod_container_config(struct arena *a, const struct container_in *in, Runtime__ContainerConfig **ret, struct err *e)
{
	Runtime__ContainerConfig *c = PB_NEW(a, Runtime__ContainerConfig, runtime__container_config);
	const Core__Container *k = in->spec;
	int rc;

	c->metadata = PB_NEW(a, Runtime__ContainerMetadata, runtime__container_metadata);
	c->metadata->name = nz(k->name);
	c->metadata->attempt = in->attempt;
	c->image = PB_NEW(a, Runtime__ImageSpec, runtime__image_spec);
	c->image->image = in->image_ref;
	c->image->user_specified_image = nz(k->image);
	for (size_t i = 0; i < k->n_command; i++)
		PB_ADD(a, c, command, env_expand(a, k->command[i], in->env));
	for (size_t i = 0; i < k->n_args; i++)
		PB_ADD(a, c, args, env_expand(a, k->args[i], in->env));
	c->working_dir = nz(k->working_dir);
	for (size_t i = 0; i < in->env->n; i++) {
		Runtime__KeyValue *kv = pb_add(a, c, "envs");
		struct str value = str_from(in->env->v[i].value);

		kv->key = in->env->v[i].name;
		kv->value = (ProtobufCBinaryData){.len = value.n, .data = (uint8_t *)(void *)(uintptr_t)value.p};
	}
	labels(a, in, c);
	c->log_path = arena_printf(a, "%s/%u.log", nz(k->name), in->attempt);
	c->stdin = PB_OR(k, stdin, 0);
	c->stdin_once = PB_OR(k, stdin_once, 0);
	c->tty = PB_OR(k, tty, 0);
	c->linux = PB_NEW(a, Runtime__LinuxContainerConfig, runtime__linux_container_config);
	c->linux->resources = resources(a, in);
	rc = security(a, in, &c->linux->security_context, e);
	if (rc == 0)
		rc = mounts(a, in, c, e);
	if (rc == 0)
		*ret = c;
	return rc;
}
