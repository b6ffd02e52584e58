#include "proto/validate.h"

#include <string.h>

#include "base/util.h"
#include "proto/resource.h"
#include "proto/validate-priv.h"

static const struct {
	const char *api_version, *kind;
	validate__fn *fn;
} kinds[] = {
	{"v1", "Pod", validate__pod},
	{"v1", "Service", validate__service},
	{"v1", "Node", validate__node},
	{"v1", "Namespace", validate__namespace},
	{"v1", "ConfigMap", validate__config_map},
	{"v1", "Secret", validate__secret},
	{"v1", "Endpoints", validate__endpoints},
	{"v1", "Event", validate__event},
	{"events.k8s.io/v1", "Event", validate__event},
	{"apps/v1", "Deployment", validate__deployment},
	{"apps/v1", "ReplicaSet", validate__replica_set},
	{"coordination.k8s.io/v1", "Lease", validate__lease},
	{"discovery.k8s.io/v1", "EndpointSlice", validate__endpoint_slice},
	{"certificates.k8s.io/v1", "CertificateSigningRequest", validate__csr},
};

void validate_object(const struct resource *res, const char *sub, const struct json *obj,
	const struct json *old, struct field_errs *errs)
{
	struct validate__ctx c = {res, sub ? sub : "", obj, old, errs};
	struct field_path meta = field_child(NULL, "metadata");

	validate__meta(&c, &meta);
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		if (strcmp(kinds[i].api_version, res->api_version) == 0 &&
			strcmp(kinds[i].kind, res->kind) == 0)
			kinds[i].fn(&c);
}
