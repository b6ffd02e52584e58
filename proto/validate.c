#include "proto/validate.h"

#include <pthread.h>
#include <string.h>

#include "base/util.h"
#include "proto/custom.h"
#include "proto/resource.h"
#include "proto/structural.h"
#include "proto/structural_rules.h"
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
	{"resource.k8s.io/v1", "ResourceClaim", validate__resource_claim},
	{"resource.k8s.io/v1", "ResourceClaimTemplate", validate__resource_claim_template},
	{"resource.k8s.io/v1", "DeviceClass", validate__device_class},
	{"resource.k8s.io/v1", "ResourceSlice", validate__resource_slice},
	{"v1", "PersistentVolume", validate__pv},
	{"v1", "PersistentVolumeClaim", validate__pvc},
	{"storage.k8s.io/v1", "StorageClass", validate__storage_class},
	{"storage.k8s.io/v1", "VolumeAttributesClass", validate__attributes_class},
	{"storage.k8s.io/v1", "CSIDriver", validate__csi_driver},
	{"storage.k8s.io/v1", "CSINode", validate__csi_node},
	{"storage.k8s.io/v1", "VolumeAttachment", validate__volume_attachment},
	{"storage.k8s.io/v1", "CSIStorageCapacity", validate__storage_capacity},
	{"networking.k8s.io/v1", "Ingress", validate__ingress},
	{"networking.k8s.io/v1", "IngressClass", validate__ingress_class},
	{"networking.k8s.io/v1", "NetworkPolicy", validate__network_policy},
	{"networking.k8s.io/v1", "IPAddress", validate__ip_address},
	{"networking.k8s.io/v1", "ServiceCIDR", validate__service_cidr},
	{"batch/v1", "Job", validate__job},
	{"batch/v1", "CronJob", validate__cron_job},
	{"autoscaling/v2", "HorizontalPodAutoscaler", validate__hpa},
	{"autoscaling/v1", "HorizontalPodAutoscaler", validate__hpa},
	{"v1", "ResourceQuota", validate__quota},
	{"v1", "LimitRange", validate__limit_range},
	{"apps/v1", "DaemonSet", validate__daemon_set},
	{"apps/v1", "StatefulSet", validate__stateful_set},
	{"apps/v1", "ControllerRevision", validate__controller_revision},
	{"v1", "ReplicationController", validate__replication_controller},
	{"v1", "PodTemplate", validate__pod_template},
	{"apiextensions.k8s.io/v1", "CustomResourceDefinition", validate__crd},
	{"rbac.authorization.k8s.io/v1", "Role", validate__role},
	{"rbac.authorization.k8s.io/v1", "ClusterRole", validate__cluster_role},
	{"rbac.authorization.k8s.io/v1", "RoleBinding", validate__role_binding},
	{"rbac.authorization.k8s.io/v1", "ClusterRoleBinding", validate__cluster_role_binding},
	{"scheduling.k8s.io/v1", "PriorityClass", validate__priority_class},
	{"node.k8s.io/v1", "RuntimeClass", validate__runtime_class},
	{"policy/v1", "PodDisruptionBudget", validate__pdb},
	{"admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration", validate__webhooks},
	{"admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration", validate__webhooks},
	{"admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicy", validate__admission_policy},
	{"admissionregistration.k8s.io/v1", "MutatingAdmissionPolicy", validate__admission_policy},
	{"admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicyBinding", validate__admission_binding},
	{"admissionregistration.k8s.io/v1", "MutatingAdmissionPolicyBinding", validate__admission_binding},
	{"apiregistration.k8s.io/v1", "APIService", validate__api_service},
	{"flowcontrol.apiserver.k8s.io/v1", "FlowSchema", validate__flow_schema},
	{"flowcontrol.apiserver.k8s.io/v1", "PriorityLevelConfiguration", validate__priority_level},
};

/* The row of each resource by its place among them. Made once. */
static validate__fn **by_resource;
static pthread_once_t by_resource_once = PTHREAD_ONCE_INIT;

static void find_rows(void)
{
	by_resource = xcalloc(n_resources, sizeof(*by_resource));
	RESOURCE_FOR_EACH (r)
		for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
			if (strcmp(kinds[i].api_version, r->api_version) == 0 && strcmp(kinds[i].kind, r->kind) == 0)
				by_resource[r - resources] = kinds[i].fn;
}

void validate_object(const struct resource *res, const char *sub, const struct json *obj,
	const struct json *old, struct field_errs *errs)
{
	struct validate__ctx c = {res, sub ? sub : "", obj, old, errs};
	struct field_path meta = field_child(NULL, "metadata");

	validate__meta(&c, &meta);
	if (res->custom) {
		structural_validate(res->custom->schema, obj, old, NULL, errs);
		structural_rules_run(res->custom->schema, obj, old, errs);
		return;
	}
	pthread_once(&by_resource_once, find_rows);
	if (by_resource[res - resources])
		by_resource[res - resources](&c);
	validate__warnings(&c);
}
