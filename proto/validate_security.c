/* As whom a pod and its containers run, and what they are kept from. */
#include <string.h>

#include "base/util.h"
#include "proto/validate-priv.h"

static const char *const profiles[] = {"Localhost", "RuntimeDefault", "Unconfined", NULL};

static void id(struct field_errs *e, const struct field_path *path, const struct json *v)
{
	int64_t id = json_i64_or(v, 0);

	if (id < 0 || id > INT32_MAX)
		field_invalid(e, path, v, "must be between 0 and 2147483647, inclusive");
}

static void ids(struct field_errs *e, const struct field_path *path, const struct json *sc)
{
	struct field_path user = field_child(path, "runAsUser"), group = field_child(path, "runAsGroup");

	id(e, &user, json_getc(sc, "runAsUser"));
	id(e, &group, json_getc(sc, "runAsGroup"));
}

/* `what` says whose type it is; false: there is none to go by. */
static bool profile_type(struct field_errs *e, const struct field_path *path, const struct json *p, const char *missing)
{
	struct field_path type = field_child(path, "type");

	if (json_str(json_getc(p, "type")).n > 0) {
		validate__one_of(e, path, p, "type", profiles);
		return true;
	}
	field_required(e, &type, missing);
	return false;
}

static void seccomp(struct field_errs *e, const struct field_path *up, const struct json *sc)
{
	struct field_path path = field_child(up, "seccompProfile"), local = field_child(&path, "localhostProfile");
	const struct json *p = json_getc(sc, "seccompProfile"), *file = json_getc(p, "localhostProfile");

	if (json_is_null(p))
		return;
	profile_type(e, &path, p, "type is required when seccompProfile is set");
	if (!json_eqc(json_getc(p, "type"), "Localhost")) {
		if (!json_is_null(file))
			field_invalid(e, &local, file, "can only be set when seccomp type is Localhost");
	} else if (json_is_null(file)) {
		field_required(e, &local, "must be set when seccomp type is Localhost");
	} else {
		validate__below(e, &path, p, "localhostProfile");
	}
}

static void app_armor(struct field_errs *e, const struct field_path *up, const struct json *sc)
{
	static const char needed[] = "must be set when AppArmor type is Localhost";
	struct field_path path = field_child(up, "appArmorProfile"), local = field_child(&path, "localhostProfile");
	const struct json *p = json_getc(sc, "appArmorProfile"), *name = json_getc(p, "localhostProfile");
	struct str s = json_str(name);

	if (json_is_null(p) || !profile_type(e, &path, p, "type is required when appArmorProfile is set"))
		return;
	if (!json_eqc(json_getc(p, "type"), "Localhost")) {
		if (!json_is_null(name))
			field_invalid(e, &local, name, "can only be set when AppArmor type is Localhost");
	} else if (str_trim(s).n != s.n) {
		field_invalid(e, &local, name, "must not be padded with whitespace");
	} else if (s.n == 0) {
		field_required(e, &local, needed);
	} else if (s.n > 4095) {
		field_too_long(e, &local, 4095);
	}
}

static bool adds(const struct json *sc, const char *capability)
{
	JSON_ITEMS (c, json_getp(sc, "capabilities.add"))
		if (json_eqc(c, capability))
			return true;
	return false;
}

void validate__container_security(struct field_errs *e, const struct field_path *up, const struct json *sc)
{
	static const char *const mounts[] = {"Default", "Unmasked", NULL};
	struct field_path path = field_child(up, "securityContext"), escalate = field_child(&path, "allowPrivilegeEscalation");
	struct json *allow = json_getc(sc, "allowPrivilegeEscalation");
	bool not_allowed = json_is(allow, JSON_BOOL) && !json_true(allow);

	ids(e, &path, sc);
	validate__one_of_opt(e, &path, sc, "procMount", mounts);
	seccomp(e, &path, sc);
	if (not_allowed && json_true(json_getc(sc, "privileged")))
		field_invalid(e, &escalate, allow, "cannot set `allowPrivilegeEscalation` to false and `privileged` to true");
	if (not_allowed && adds(sc, "CAP_SYS_ADMIN"))
		field_invalid(e, &escalate, allow, "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN");
	app_armor(e, &path, sc);
}

/* Segments of lower case letters, digits and inner '-' and '_', between '.' or '/'. */
static bool is_sysctl(struct str s)
{
	bool inside = false;

	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];
		bool plain = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');

		if (!plain && (!inside || (c != '-' && c != '_' && c != '.' && c != '/')))
			return false;
		if ((c == '.' || c == '/') && (s.p[i - 1] == '-' || s.p[i - 1] == '_'))
			return false;
		inside = plain || c == '-' || c == '_';
	}
	return s.n > 0 && s.n <= 253 && inside && s.p[s.n - 1] != '-' && s.p[s.n - 1] != '_';
}

static void sysctls(struct field_errs *e, const struct field_path *up, const struct json *list)
{
	struct field_path all = field_child(up, "sysctls");
	struct json *names = json_new_object(e->arena);
	size_t i = 0;

	JSON_ITEMS (it, list) {
		struct field_path at = field_index(&all, i++), path = field_child(&at, "name");
		struct str name = json_str(json_getc(it, "name"));

		if (name.n == 0)
			field_required(e, &path, "");
		else if (!is_sysctl(name))
			field_invalid_str(e, &path, name,
				"must have at most 253 characters and match regex "
				"^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$");
		else if (json_get(names, name))
			field_duplicate(e, &path, name);
		json_set(e->arena, names, name, it);
	}
}

void validate__pod_security(struct field_errs *e, const struct field_path *up, const struct json *spec)
{
	static const char *const changes[] = {"Always", "OnRootMismatch", NULL}, *const groups[] = {"Merge", "Strict", NULL};
	struct field_path path = field_child(up, "securityContext"), fs = field_child(&path, "fsGroup"),
			  all = field_child(&path, "supplementalGroups"), share = field_child(&path, "shareProcessNamespace");
	const struct json *sc = json_getc(spec, "securityContext"), *shares = json_getc(spec, "shareProcessNamespace");
	size_t i = 0;

	id(e, &fs, json_getc(sc, "fsGroup"));
	ids(e, &path, sc);
	JSON_ITEMS (g, json_getc(sc, "supplementalGroups")) {
		struct field_path at = field_index(&all, i++);

		id(e, &at, g);
	}
	if (json_true(shares) && json_true(json_getc(spec, "hostPID")))
		field_invalid(e, &share, shares, "ShareProcessNamespace and HostPID cannot both be enabled");
	sysctls(e, &path, json_getc(sc, "sysctls"));
	validate__one_of_opt(e, &path, sc, "fsGroupChangePolicy", changes);
	seccomp(e, &path, sc);
	app_armor(e, &path, sc);
	validate__one_of_opt(e, &path, sc, "supplementalGroupsPolicy", groups);
}
