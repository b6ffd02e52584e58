#include "orchestrator/apiserver/podsecurity.h"

#include <stdlib.h>

#include "base/buf.h"
#include "base/util.h"
#include "orchestrator/apiserver/podsecurity-priv.h"
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

/* In the order in which findings are told. `until`: at restricted another row takes its place. */
static const struct {
	enum podsecurity_level from;
	bool until_restricted;
	const char *reason;
	void (*check)(struct ps_pod *);
} checks[] = {
		{PODSECURITY_BASELINE, false, "forbidden AppArmor profile", podsecurity__apparmor},
		{PODSECURITY_BASELINE, true, "non-default capabilities", podsecurity__caps_baseline},
		{PODSECURITY_BASELINE, false, "host namespaces", podsecurity__host_namespaces},
		{PODSECURITY_BASELINE, true, "hostPath volumes", podsecurity__host_path},
		{PODSECURITY_BASELINE, false, "hostPort", podsecurity__host_ports},
		{PODSECURITY_BASELINE, false, "probe or lifecycle host", podsecurity__host_probes},
		{PODSECURITY_BASELINE, false, "privileged", podsecurity__privileged},
		{PODSECURITY_BASELINE, false, "procMount", podsecurity__proc_mount},
		{PODSECURITY_BASELINE, false, "seLinuxOptions", podsecurity__selinux},
		{PODSECURITY_BASELINE, true, "seccompProfile", podsecurity__seccomp_baseline},
		{PODSECURITY_BASELINE, false, "forbidden sysctls", podsecurity__sysctls},
		{PODSECURITY_BASELINE, false, "hostProcess", podsecurity__host_process},
		{PODSECURITY_RESTRICTED, false, "allowPrivilegeEscalation != false", podsecurity__escalation},
		{PODSECURITY_RESTRICTED, false, "unrestricted capabilities", podsecurity__caps_restricted},
		{PODSECURITY_RESTRICTED, false, "restricted volume types", podsecurity__volumes},
		{PODSECURITY_RESTRICTED, false, "runAsNonRoot != true", podsecurity__non_root},
		{PODSECURITY_RESTRICTED, false, "runAsUser=0", podsecurity__user},
		{PODSECURITY_RESTRICTED, false, "seccompProfile", podsecurity__seccomp_restricted},
};

static struct str findings(struct arena *a, enum podsecurity_level level, const struct json *meta, const struct json *spec, bool details)
{
	_cleanup_(buf_fini) struct buf out = BUF_INIT;
	struct ps_pod p = {.arena = a, .meta = meta, .spec = spec, .detail = BUF_INIT,
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
