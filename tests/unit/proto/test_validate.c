/* proto/validate.h: what is wrong with an object, in upstream's words. Objects are defaulted first,
 * as in the server. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/util.h"
#include "proto/defaults.h"
#include "proto/field_errs.h"
#include "proto/json.h"
#include "proto/resource.h"
#include "proto/table.h"
#include "proto/validate.h"
#include "tests/lib/json_words.h"

#define META "\"metadata\":{\"name\":\"x\",\"namespace\":\"d\"}"
#define C "{\"name\":\"c\",\"image\":\"i\"}"
#define POD(spec) "{" META ",\"spec\":{" spec "}}"
#define CONTAINER(more) POD("\"containers\":[{\"name\":\"c\",\"image\":\"i\"," more "}]")
#define DEPLOY(more)                                                                               \
	"{" META ",\"spec\":{\"selector\":{\"matchLabels\":{\"a\":\"b\"}},\"template\":{"          \
	"\"metadata\":{\"labels\":{\"a\":\"b\"}},\"spec\":{\"containers\":[" C "]}}" more "}}"

static struct arena arena;

static struct json *parse(const char *text)
{
	return json_must(&arena, str_from(text));
}

/* All errors of one object: "" when it is fine. */
static void check(const char *api_version, const char *kind, const char *sub, const char *obj,
	const char *old, const char *want)
{
	const struct resource *res = resource_find_kind(api_version, kind);
	struct json *now = parse(obj), *was = old ? parse(old) : NULL;
	struct field_errs errs;
	struct buf b = BUF_INIT;

	assert_non_null(res);
	defaults_apply(&arena, resource_type(res), now);
	if (was)
		defaults_apply(&arena, resource_type(res), was);
	field_errs_init(&errs, &arena);
	validate_object(res, sub, now, was, &errs);
	field_errs_print(&b, &errs);
	assert_string_equal(b.p ? b.p : "", want);
	buf_fini(&b);
}

static void test_meta(void **state)
{
	static const char *const rows[][2] = {
		{"{" META ",\"data\":{\"a.b\":\"1\"}}", ""},
		{"{\"metadata\":{\"namespace\":\"d\"}}",
			"metadata.name: Required value: name or generateName is required"},
		{"{\"metadata\":{\"name\":\"a_b\",\"namespace\":\"d\"}}",
			"metadata.name: Invalid value: \"a_b\": a lowercase RFC 1123 subdomain "
			"must consist of lower case alphanumeric characters, '-' or '.', and "
			"must start and end with an alphanumeric character (e.g. 'example.com', "
			"regex used for validation is "
			"'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"},
		{"{\"metadata\":{\"name\":\"a\",\"generateName\":\"a-\",\"namespace\":\"d\"}}", ""},
		{"{\"metadata\":{\"name\":\"x\"}}", "metadata.namespace: Required value"},
		{"{\"metadata\":{\"name\":\"x\",\"namespace\":\"d\",\"finalizers\":[\"x\",\"a.b/"
		 "c\"]}}",
			"metadata.finalizers: Invalid value: \"x\": name is neither a standard "
			"finalizer name nor is it fully qualified"},
		{"{\"metadata\":{\"name\":\"x\",\"namespace\":\"d\",\"ownerReferences\":[{"
		 "\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"name\":\"p\"}]}}",
			"metadata.ownerReferences.uid: Invalid value: \"\": must not be empty"},
		{"{\"metadata\":{\"name\":\"x\",\"namespace\":\"d\",\"annotations\":{\"A.b/"
		 "C\":\"\"}}}",
			""},
		{"{" META ",\"data\":{\"a b\":\"1\"}}",
			"data[a b]: Invalid value: \"a b\": a valid config key must consist of "
			"alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or "
			"'KEY_NAME',  or 'key-name', regex used for validation is "
			"'[-._a-zA-Z0-9]+')"},
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		check("v1", "ConfigMap", "", rows[i][0], NULL, rows[i][1]);
	check("v1", "Namespace", "", "{\"metadata\":{\"name\":\"x\",\"namespace\":\"d\"}}", NULL,
		"metadata.namespace: Forbidden: not allowed on this type");
	check("v1", "ConfigMap", "", "{\"metadata\":{\"name\":\"y\",\"namespace\":\"d\"}}",
		"{" META "}", "metadata.name: Invalid value: \"y\": field is immutable");
	check("v1", "ConfigMap", "", "{" META ",\"immutable\":true,\"data\":{\"a\":\"2\"}}",
		"{" META ",\"immutable\":true,\"data\":{\"a\":\"1\"}}",
		"data: Forbidden: field is immutable when `immutable` is set");
	check("v1", "ConfigMap", "",
		"{\"metadata\":{\"name\":\"x\",\"namespace\":\"d\",\"finalizers\":[\"a.b/c\"]}}",
		"{\"metadata\":{\"name\":\"x\",\"namespace\":\"d\",\"deletionTimestamp\":\"2024-01-"
		"01T00:00:00Z\"}}",
		"metadata.finalizers: Forbidden: no new finalizers can be added if the object is "
		"being deleted, found new finalizers []string{\"a.b/c\"}");
}

static void test_pods(void **state)
{
	static const char *const rows[][2] = {
		{POD("\"containers\":[" C "]"), ""},
		{POD("\"containers\":[]"), "spec.containers: Required value"},
		{POD("\"containers\":[" C "," C "]"),
			"spec.containers[1].name: Duplicate value: \"c\""},
		{POD("\"containers\":[{\"name\":\"c\",\"image\":\" i\"}]"),
			"spec.containers[0].image: Invalid value: \" i\": must not have leading or "
			"trailing whitespace"},
		{CONTAINER("\"ports\":[{\"containerPort\":70000},{\"containerPort\":1,\"name\":"
			   "\"A\"},{\"containerPort\":1,\"protocol\":\"X\"}]"),
			"[spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be "
			"between 1 and 65535, inclusive, "
			"spec.containers[0].ports[1].name: Invalid value: \"A\": must contain only "
			"alpha-numeric characters (a-z, 0-9), and hyphens (-), "
			"spec.containers[0].ports[2].protocol: Unsupported value: \"X\": supported "
			"values: \"SCTP\", \"TCP\", \"UDP\"]"},
		{CONTAINER("\"env\":[{\"name\":\"\"},{\"name\":\"a=b\"},{\"name\":\"X\",\"value\":"
			   "\"1\",\"valueFrom\":{\"fieldRef\":{\"fieldPath\":\"status.phase\"}}}]"),
			"[spec.containers[0].env[0].name: Required value, "
			"spec.containers[0].env[1].name: Invalid value: \"a=b\": a valid "
			"environment variable "
			"name must consist only of printable ASCII characters other than '=', "
			"spec.containers[0].env[2].valueFrom.fieldRef.fieldPath: Invalid "
			"value: \"status.phase\": error converting fieldPath: field label not "
			"supported: status.phase, "
			"spec.containers[0].env[2].valueFrom: Invalid value: \"\": may not be "
			"specified when `value` is not empty]"},
		{CONTAINER("\"livenessProbe\":{\"successThreshold\":2},\"readinessProbe\":{"
			   "\"exec\":{\"command\":[\"x\"]},\"httpGet\":{\"port\":80}}"),
			"[spec.containers[0].livenessProbe: Required value: must specify a handler "
			"type, spec.containers[0].livenessProbe.successThreshold: "
			"Invalid value: 2: must be 1, spec.containers[0].readinessProbe.httpGet: "
			"Forbidden: may not specify more than 1 handler type]"},
		{CONTAINER("\"resources\":{\"limits\":{\"cpu\":\"1\",\"memory\":\"-1\"},"
			   "\"requests\":{\"cpu\":\"2\"}}"),
			"[spec.containers[0].resources.limits[memory]: Invalid value: \"-1\": must "
			"be greater than or equal to 0, "
			"spec.containers[0].resources.requests[memory]: Invalid value: \"-1\": "
			"must be greater than or equal to 0, "
			"spec.containers[0].resources.requests: Invalid value: \"2\": must be less "
			"than or equal to cpu limit of 1]"},
		{POD("\"containers\":[" C
		     "],\"volumes\":[{\"name\":\"v\"},{\"name\":\"v\",\"emptyDir\":{},\"hostPath\":"
		     "{\"path\":\"/\"}},{\"name\":\"s\",\"secret\":{}}]"),
			"["
			"spec.volumes[1].name: Duplicate value: \"v\", "
			"spec.volumes[1].hostPath: Forbidden: may not specify more than 1 volume "
			"type, spec.volumes[2].secret.secretName: Required value]"},
		{POD("\"containers\":[" C "],\"tolerations\":[{\"effect\":\"NoSchedule\","
		     "\"tolerationSeconds\":1,\"operator\":\"Exists\"}]"),
			"spec.tolerations[0].effect: Invalid value: \"NoSchedule\": effect must be "
			"'NoExecute' when `tolerationSeconds` is set"},
		{POD("\"containers\":[" C "],\"initContainers\":[{\"name\":\"i\",\"image\":\"i\","
		     "\"readinessProbe\":{\"exec\":{\"command\":[\"x\"]}}}]"),
			"spec.initContainers[0].readinessProbe: Forbidden: may not be set for init "
			"containers without restartPolicy=Always"},
		{POD("\"containers\":[" C
		     "],\"affinity\":{\"nodeAffinity\":{\"requiredDuringSchedulingIgnoredDuringExecution\":{"
		     "\"nodeSelectorTerms\":[{\"matchExpressions\":[{\"key\":\"a\",\"operator\":\"In\"}]}]}},"
		     "\"podAntiAffinity\":{\"preferredDuringSchedulingIgnoredDuringExecution\":[{\"weight\":0}]}}"),
			"[spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution."
			"nodeSelectorTerms[0].matchExpressions[0].values: Required value: must be specified when "
			"`operator` is 'In' or 'NotIn', "
			"spec.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].weight: "
			"Invalid value: 0: must be in the range 1-100, "
			"spec.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution[0]."
			"podAffinityTerm.topologyKey: Required value: can not be empty]"},
		{POD("\"containers\":[" C "],\"dnsPolicy\":\"None\""),
			"spec.dnsConfig.nameservers: Required value: must provide at least one DNS "
			"nameserver when `dnsPolicy` is None"},
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		check("v1", "Pod", "", rows[i][0], NULL, rows[i][1]);
}

/* What a container may ask for, and what these things are called. */
static void test_resource_names(void **state)
{
#define ASKS(res) POD("\"containers\":[{\"name\":\"c\",\"image\":\"i\",\"resources\":{" res "}}]")
#define LIMITS "spec.containers[0].resources.limits"
#define REQUESTS "spec.containers[0].resources.requests"
	static const char *const rows[][2] = {
		{ASKS("\"limits\":{\"example.com/gpu\":\"2\",\"cpu\":\"1\"}"), ""},
		{ASKS("\"requests\":{\"kubernetes.io/batteries\":\"2\"}"), ""},
		{ASKS("\"requests\":{\"foo\":\"1\"}"),
			"[" REQUESTS "[foo]: Invalid value: \"foo\": must be a standard resource type or fully qualified, "
			REQUESTS "[foo]: Invalid value: \"foo\": must be a standard resource for containers]"},
		{ASKS("\"requests\":{\"pods\":\"1\"}"), REQUESTS "[pods]: Invalid value: \"pods\": must be a standard resource for containers"},
		{ASKS("\"requests\":{\"example.com/gpu\":\"1\"}"), LIMITS ": Required value: Limit must be set for non overcommitable resources"},
		{ASKS("\"limits\":{\"example.com/gpu\":\"2\"},\"requests\":{\"example.com/gpu\":\"1\"}"),
			REQUESTS ": Invalid value: \"1\": must be equal to example.com/gpu limit of 2"},
		{ASKS("\"limits\":{\"hugepages-2Mi\":\"4Mi\"}"), "spec.containers[0].resources: Forbidden: HugePages require cpu or memory"},
		{POD("\"containers\":[{\"name\":\"c\",\"image\":\"i\",\"env\":[{\"name\":\"A\",\"valueFrom\":{\"resourceFieldRef\":{"
		     "\"resource\":\"limits.cpu\",\"divisor\":\"2\"}}},{\"name\":\"B\",\"valueFrom\":{\"resourceFieldRef\":{\"resource\":\"x\"}}}]}]"),
			"[spec.containers[0].env[0].valueFrom.resourceFieldRef.divisor: Invalid value: \"limits.cpu\": only divisor's values "
			"1m and 1 are supported with the cpu resource, spec.containers[0].env[1].valueFrom.resourceFieldRef.resource: "
			"Unsupported value: \"x\": supported values: \"limits.cpu\", \"limits.ephemeral-storage\", \"limits.memory\", "
			"\"requests.cpu\", \"requests.ephemeral-storage\", \"requests.memory\"]"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		check("v1", "Pod", "", rows[i][0], NULL, rows[i][1]);
}

static void test_security(void **state)
{
#define RUNS(pod, container) \
	POD("\"securityContext\":{" pod "},\"containers\":[{\"name\":\"c\",\"image\":\"i\",\"securityContext\":{" container "}}]")
#define OF_POD "spec.securityContext."
#define OF_CONTAINER "spec.containers[0].securityContext."
	static const char *const rows[][2] = {
		{RUNS("\"fsGroup\":1,\"sysctls\":[{\"name\":\"net.ipv4/a_b-c\"}],\"seccompProfile\":{\"type\":\"RuntimeDefault\"}",
			 "\"appArmorProfile\":{\"type\":\"Localhost\",\"localhostProfile\":\"p\"},\"procMount\":\"Default\""), ""},
		{RUNS("\"fsGroup\":-1,\"supplementalGroups\":[1,-2],\"fsGroupChangePolicy\":\"No\"", ""),
			"[" OF_POD "fsGroup: Invalid value: -1: must be between 0 and 2147483647, inclusive, " OF_POD
			"supplementalGroups[1]: Invalid value: -2: must be between 0 and 2147483647, inclusive, " OF_POD
			"fsGroupChangePolicy: Unsupported value: \"No\": supported values: \"Always\", \"OnRootMismatch\"]"},
		{RUNS("\"sysctls\":[{\"name\":\"a\"},{\"name\":\"a\"},{\"name\":\"\"}]", ""),
			"[" OF_POD "sysctls[1].name: Duplicate value: \"a\", " OF_POD "sysctls[2].name: Required value]"},
		{RUNS("\"sysctls\":[{\"name\":\"a-.b\"}]", ""),
			OF_POD "sysctls[0].name: Invalid value: \"a-.b\": must have at most 253 characters and match regex "
			"^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$"},
		{RUNS("\"seccompProfile\":{\"type\":\"Localhost\"}", "\"seccompProfile\":{\"type\":\"Unconfined\",\"localhostProfile\":\"p\"}"),
			"[" OF_CONTAINER "seccompProfile.localhostProfile: Invalid value: \"p\": can only be set when seccomp type is Localhost, "
			OF_POD "seccompProfile.localhostProfile: Required value: must be set when seccomp type is Localhost]"},
		{RUNS("\"seccompProfile\":{\"type\":\"Localhost\",\"localhostProfile\":\"/a/../b\"}", "\"appArmorProfile\":{}"),
			"[" OF_CONTAINER "appArmorProfile.type: Required value: type is required when appArmorProfile is set, "
			OF_POD "seccompProfile.localhostProfile: Invalid value: \"/a/../b\": must be a relative path, "
			OF_POD "seccompProfile.localhostProfile: Invalid value: \"/a/../b\": must not contain '..']"},
		{RUNS("", "\"allowPrivilegeEscalation\":false,\"capabilities\":{\"add\":[\"CAP_SYS_ADMIN\"]},\"procMount\":\"x\""),
			"[" OF_CONTAINER "procMount: Unsupported value: \"x\": supported values: \"Default\", \"Unmasked\", " OF_CONTAINER
			"allowPrivilegeEscalation: Invalid value: false: cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN]"},
		{POD("\"hostPID\":true,\"shareProcessNamespace\":true,\"containers\":[" C "]"),
			OF_POD "shareProcessNamespace: Invalid value: true: ShareProcessNamespace and HostPID cannot both be enabled"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		check("v1", "Pod", "", rows[i][0], NULL, rows[i][1]);
}

static void test_pod_placing(void **state)
{
	static const char *const rows[][2] = {
		{POD("\"containers\":[" C "],\"topologySpreadConstraints\":[{\"maxSkew\":1,\"topologyKey\":\"z\",\"whenUnsatisfiable\":\"DoNotSchedule\"},"
		     "{\"maxSkew\":2,\"topologyKey\":\"z\",\"whenUnsatisfiable\":\"DoNotSchedule\"},"
		     "{\"maxSkew\":1,\"topologyKey\":\"z\",\"whenUnsatisfiable\":\"ScheduleAnyway\",\"minDomains\":1,\"nodeTaintsPolicy\":\"x\"}]"),
			"[spec.topologySpreadConstraints[2].minDomains: Invalid value: 1: can only use minDomains if "
			"whenUnsatisfiable=DoNotSchedule, not ScheduleAnyway, spec.topologySpreadConstraints[2].nodeTaintsPolicy: Unsupported "
			"value: \"x\": supported values: \"Honor\", \"Ignore\", spec.topologySpreadConstraints[0].{topologyKey, "
			"whenUnsatisfiable}: Duplicate value: \"{z, DoNotSchedule}\"]"},
		{POD("\"containers\":[" C "],\"schedulingGates\":[{\"name\":\"a\"},{\"name\":\"a\"}],\"os\":{\"name\":\"x\"}"),
			"[spec.schedulingGates[1]: Duplicate value: \"a\", spec.os.name: Unsupported value: \"x\": supported values: "
			"\"linux\", \"windows\"]"},
		{POD("\"containers\":[" C "],\"dnsConfig\":{\"searches\":[\"a_b.c.\",\".\"],\"options\":[{}]}"),
			"spec.dnsConfig.options[0]: Required value: must not be empty"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		check("v1", "Pod", "", rows[i][0], NULL, rows[i][1]);
}

static void test_odds(void **state)
{
	(void)state;
	check("v1", "Secret", "", "{" META ",\"type\":\"kubernetes.io/dockerconfigjson\",\"data\":{\".dockerconfigjson\":\"e30=\"}}", NULL, "");
	check("v1", "Secret", "", "{" META ",\"type\":\"kubernetes.io/dockerconfigjson\",\"data\":{\".dockerconfigjson\":\"YQ==\"}}", NULL,
		"data[.dockerconfigjson]: Invalid value: \"<secret contents redacted>\": invalid character 'a' looking for beginning of value");
	check("v1", "Endpoints", "", "{" META ",\"subsets\":[{\"addresses\":[{\"ip\":\"127.0.0.1\"},{\"ip\":\"::\"},{\"ip\":\"fe80::1\"},"
		"{\"ip\":\"10.0.0.1\"}]}]}", NULL,
		"[subsets[0].addresses[0].ip: Invalid value: \"127.0.0.1\": may not be in the loopback range (127.0.0.0/8, ::1/128), "
		"subsets[0].addresses[1].ip: Invalid value: \"::\": may not be unspecified (0.0.0.0 or ::), "
		"subsets[0].addresses[2].ip: Invalid value: \"fe80::1\": may not be in the link-local range (169.254.0.0/16, fe80::/10)]");
}

/* What belongs to a load balancer, and what one family of addresses allows. */
static void test_service_fields(void **state)
{
#define LOCAL "\"type\":\"LoadBalancer\",\"externalTrafficPolicy\":\"Local\""
#define SERVICE(more) "{" META ",\"spec\":{\"ports\":[{\"port\":80}]," more "}}"
	static const char *const rows[][2] = {
		{SERVICE("\"type\":\"LoadBalancer\",\"loadBalancerClass\":\"a/b\",\"allocateLoadBalancerNodePorts\":false"), ""},
		{SERVICE("\"loadBalancerClass\":\"a/b\",\"allocateLoadBalancerNodePorts\":true,\"healthCheckNodePort\":30000"),
			"[spec.allocateLoadBalancerNodePorts: Forbidden: may only be used when `type` is 'LoadBalancer', "
			"spec.loadBalancerClass: Forbidden: may only be used when `type` is 'LoadBalancer', "
			"spec.healthCheckNodePort: Invalid value: 30000: may only be set when `type` is 'LoadBalancer' and "
			"`externalTrafficPolicy` is 'Local']"},
		{SERVICE("\"clusterIP\":\"None\",\"clusterIPs\":[\"None\"],\"ipFamilies\":[\"IPv4\",\"IPv6\"],"
			 "\"ipFamilyPolicy\":\"RequireDualStack\""), ""},
		{SERVICE("\"ipFamilyPolicy\":\"Both\",\"ipFamilies\":[\"IPv4\",\"IPv4\"]"),
			"[spec.ipFamilies[1]: Duplicate value: \"IPv4\", spec.ipFamilyPolicy: Unsupported value: \"Both\": supported values: "
			"\"PreferDualStack\", \"RequireDualStack\", \"SingleStack\"]"},
		{SERVICE("\"clusterIP\":\"10.0.0.1\""), "spec.clusterIPs: Required value"},
		{SERVICE("\"clusterIPs\":[\"10.0.0.1\"]"),
			"spec.clusterIPs: Invalid value: []string{\"10.0.0.1\"}: must be empty when `clusterIP` is not specified"},
		{SERVICE("\"clusterIP\":\"10.0.0.1\",\"clusterIPs\":[\"10.0.0.2\"]"),
			"spec.clusterIPs: Invalid value: []string{\"10.0.0.2\"}: first value must match `clusterIP`"},
		{SERVICE("\"clusterIP\":\"None\",\"clusterIPs\":[\"None\",\"x\"]"),
			"[spec.clusterIPs: Invalid value: []string{\"None\", \"x\"}: 'None' must be the first and only value, "
			"spec.clusterIPs[1]: Invalid value: \"x\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)]"},
		{SERVICE("\"clusterIP\":\"10.0.0.1\",\"clusterIPs\":[\"10.0.0.1\",\"10.0.0.2\"]"),
			"spec.clusterIPs: Invalid value: []string{\"10.0.0.1\", \"10.0.0.2\"}: may specify no more than one IP for each IP family"},
		{SERVICE("\"clusterIP\":\"10.0.0.1\",\"clusterIPs\":[\"10.0.0.1\"],\"ipFamilies\":[\"IPv6\"]"),
			"spec.clusterIPs[0]: Invalid value: \"10.0.0.1\": expected an IPv6 value as indicated by `ipFamilies[0]`"},
		{SERVICE("\"type\":\"NodePort\",\"clusterIP\":\"None\",\"clusterIPs\":[\"None\"]"),
			"spec.clusterIPs[0]: Invalid value: \"None\": may not be set to 'None' for NodePort services"},
		{SERVICE("\"type\":\"ExternalName\",\"externalName\":\"a\",\"clusterIPs\":[\"None\"],\"ipFamilies\":[\"IPv4\"],"
			 "\"ipFamilyPolicy\":\"SingleStack\""),
			"[spec.clusterIPs: Forbidden: may not be set for ExternalName services, spec.ipFamilies: Forbidden: may not be set for "
			"ExternalName services, spec.ipFamilyPolicy: Forbidden: may not be set for ExternalName services]"},
		{SERVICE("\"externalIPs\":[\"1.2.3\",\"127.0.0.1\"]"),
			"[spec.externalIPs[0]: Invalid value: \"1.2.3\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff), "
			"spec.externalIPs[1]: Invalid value: \"127.0.0.1\": may not be in the loopback range (127.0.0.0/8, ::1/128)]"},
		{SERVICE("\"loadBalancerSourceRanges\":[\"10.0.0.0/8\"]"),
			"spec.LoadBalancerSourceRanges: Forbidden: may only be used when `type` is 'LoadBalancer'"},
		{SERVICE("\"type\":\"LoadBalancer\",\"loadBalancerSourceRanges\":[\" 10.0.0.0/8 \",\"x\"]"),
			"spec.LoadBalancerSourceRanges[1]: Invalid value: \"x\": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"},
		{SERVICE("\"trafficDistribution\":\"Near\""),
			"spec.trafficDistribution: Unsupported value: \"Near\": supported values: \"PreferClose\", \"PreferSameNode\", "
			"\"PreferSameZone\""},
		{SERVICE("\"trafficDistribution\":\"PreferSameZone\",\"externalIPs\":[\"1.2.3.4\"],\"externalTrafficPolicy\":\"Local\""), ""},
		{"{" META ",\"spec\":{\"type\":\"LoadBalancer\",\"ports\":[{\"port\":10250,\"appProtocol\":\"kubernetes.io/h2c\"}]}}",
			"spec.ports[0]: Invalid value: 10250: may not expose port 10250 externally since it is used by kubelet"},
		{"{" META ",\"spec\":{\"ports\":[{\"port\":1,\"appProtocol\":\"-\"}]}}",
			"spec.ports[0].appProtocol: Invalid value: \"-\": name part must consist of alphanumeric characters, '-', '_' or '.', and "
			"must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation "
			"is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"},
		{SERVICE("\"type\":\"ExternalName\",\"externalName\":\"a.example.com.\""), ""},
		{SERVICE("\"type\":\"ExternalName\",\"externalName\":\"a..\""),
			"spec.externalName: Invalid value: \"a..\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric "
			"characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for "
			"validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"},
		{SERVICE("\"ipFamilies\":[\"x\"]"),
			"spec.ipFamilies[0]: Unsupported value: \"x\": supported values: \"IPv4\", \"IPv6\""},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		check("v1", "Service", "", rows[i][0], NULL, rows[i][1]);
	check("v1", "Service", "", SERVICE("\"type\":\"LoadBalancer\",\"loadBalancerClass\":\"a/b\""),
		SERVICE("\"type\":\"LoadBalancer\""), "spec.loadBalancerClass: Invalid value: \"a/b\": may not change once set");
	check("v1", "Service", "", SERVICE(LOCAL ",\"healthCheckNodePort\":30001"), SERVICE(LOCAL ",\"healthCheckNodePort\":30000"),
		"spec.healthCheckNodePort: Forbidden: field is immutable");
	check("v1", "Service", "", SERVICE(LOCAL ",\"healthCheckNodePort\":30001"), SERVICE(LOCAL), "");
}

/* Two forms of one kind, of which the newer one says more and changes less. */
static void test_events(void **state)
{
#define TIMED "\"eventTime\":\"2026-01-01T00:00:00.000001Z\",\"action\":\"a\",\"reason\":\"r\",\"reportingInstance\":\"i\""
#define NEW(more) "{" META ",\"regarding\":{\"namespace\":\"d\"},\"type\":\"Normal\",\"reportingController\":\"x.y/c\"," TIMED more "}"
	static const char *const rows[][3] = {
		{"v1", "{" META ",\"involvedObject\":{\"namespace\":\"e\"}}",
			"involvedObject.namespace: Invalid value: \"e\": does not match event.namespace"},
		{"v1", "{" META ",\"involvedObject\":{\"namespace\":\"d\"}}", ""},
		/* With an exact time it may be told of elsewhere. */
		{"v1", "{" META ",\"involvedObject\":{\"namespace\":\"e\"},\"reportingComponent\":\"c\"," TIMED "}", ""},
		{"v1", "{" META ",\"involvedObject\":{\"namespace\":\"e\"},\"eventTime\":\"2026-01-01T00:00:00.000001Z\"}",
			"[reportingComponent: Required value, reportingComponent: Invalid value: \"\": name part must be non-empty, "
			"reportingInstance: Required value, action: Required value, reason: Required value]"},
		{"events.k8s.io/v1", NEW(""), ""},
		{"events.k8s.io/v1", NEW(",\"deprecatedCount\":3,\"deprecatedSource\":{\"host\":\"h\"},"
				     "\"deprecatedFirstTimestamp\":\"2026-01-01T00:00:00Z\",\"series\":{\"count\":1}"),
			"[series.count: Invalid value: \"\": should be at least 2, series.lastObservedTime: Required value, "
			"firstTimestamp: Invalid value: \"\": needs to be unset, count: Invalid value: \"\": needs to be unset, "
			"source: Invalid value: \"\": needs to be unset]"},
		{"events.k8s.io/v1", "{" META ",\"regarding\":{\"namespace\":\"d\"},\"type\":\"Odd\"}",
			"[eventTime: Required value, type: Invalid value: \"\": has invalid value: Odd]"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		check(rows[i][0], "Event", "", rows[i][1], NULL, rows[i][2]);
	check("events.k8s.io/v1", "Event", "", NEW(",\"note\":\"n\",\"series\":{\"count\":1}"), NEW(""),
		"[series.count: Invalid value: \"\": should be at least 2, series.lastObservedTime: Required value, "
		"message: Invalid value: \"n\": field is immutable]");
	check("events.k8s.io/v1", "Event", "",
		NEW(",\"series\":{\"count\":2,\"lastObservedTime\":\"2026-01-01T00:00:00.000002Z\"}"), NEW(""), "");
}

static void test_gates(void **state)
{
	(void)state;
	check("v1", "Pod", "", POD("\"containers\":[" C "],\"schedulingGates\":[{\"name\":\"b\"}]"),
		POD("\"containers\":[" C "],\"schedulingGates\":[{\"name\":\"a\"},{\"name\":\"b\"}]"), "");
	check("v1", "Pod", "", POD("\"containers\":[" C "],\"schedulingGates\":[{\"name\":\"b\"}]"), POD("\"containers\":[" C "]"),
		"spec.schedulingGates[0]: Forbidden: only deletion is allowed, but found new scheduling gate 'b'");
}

static void test_pod_updates(void **state)
{
	static const char base[] = POD(
		"\"containers\":[" C "],\"tolerations\":[{\"key\":\"a\",\"operator\":\"Exists\"}]");

	check("v1", "Pod", "",
		POD("\"containers\":[{\"name\":\"c\",\"image\":\"j:1\",\"imagePullPolicy\":"
		    "\"Always\"}],\"activeDeadlineSeconds\":5,"
		    "\"tolerations\":[{\"key\":\"a\",\"operator\":\"Exists\"},{\"key\":\"b\","
		    "\"operator\":\"Exists\"}]"),
		base, "");
	check("v1", "Pod", "",
		POD("\"containers\":[{\"name\":\"c\",\"image\":\"i\",\"command\":[\"x\"]}],"
		    "\"tolerations\":[{\"key\":\"a\",\"operator\":\"Exists\"}]"),
		base,
		"spec: Forbidden: pod updates may not change fields other than "
		"`spec.containers[*].image`,`spec.initContainers[*].image`,"
		"`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing "
		"tolerations),`spec.terminationGracePeriodSeconds` (allow it to "
		"be set to 1 if it was previously negative): `spec.containers[0].command` differs");
	check("v1", "Pod", "", POD("\"containers\":[" C ",{\"name\":\"d\",\"image\":\"i\"}]"), base,
		"spec.containers: Forbidden: pod updates may not add or remove containers");
	check("v1", "Pod", "", POD("\"containers\":[" C "]"), base,
		"spec.tolerations: Forbidden: existing toleration can not be modified except its "
		"tolerationSeconds");
	check("v1", "Pod", "status", POD("\"containers\":[]"), base, "");
}

/* What an annotation says of how a pod is confined, or of whose it is, is not for later. */
static void test_pod_annotations(void **state)
{
#define ANNOTATED(list) "{\"metadata\":{\"name\":\"p\",\"namespace\":\"d\",\"annotations\":{" list "}},\"spec\":{\"containers\":[" C "]}}"
#define ARMOR(v) "\"container.apparmor.security.beta.kubernetes.io/c\":\"" v "\""
#define MIRROR "\"kubernetes.io/config.mirror\":\"x\""
	static const char armor[] = "metadata.annotations[container.apparmor.security.beta.kubernetes.io/c]: Forbidden: may not ",
			  mirror[] = "metadata.annotations[kubernetes.io/config.mirror]: Forbidden: may not ";
	static const struct {
		const char *now, *was, *error, *what;
	} rows[] = {
		{ANNOTATED("\"a\":\"b\""), ANNOTATED("\"c\":\"d\""), "", ""},
		{ANNOTATED(ARMOR("runtime/default") ",\"a\":\"b\""), ANNOTATED(ARMOR("runtime/default")), "", ""},
		{ANNOTATED(ARMOR("unconfined")), ANNOTATED(""), armor, "add AppArmor annotations"},
		{ANNOTATED(ARMOR("unconfined")), ANNOTATED(ARMOR("runtime/default")), armor, "remove or update AppArmor annotations"},
		{ANNOTATED(""), ANNOTATED(ARMOR("runtime/default")), armor, "remove or update AppArmor annotations"},
		{ANNOTATED(MIRROR), ANNOTATED(""), mirror, "add mirror pod annotation"},
		{ANNOTATED(""), ANNOTATED(MIRROR), mirror, "remove or update mirror pod annotation"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		for (int status = 0; status < 2; status++) {
			char want[200];

			snprintf(want, sizeof(want), "%s%s", rows[i].error, rows[i].what);
			check("v1", "Pod", status ? "status" : "", rows[i].now, rows[i].was, want);
		}
}

#define EPHEMERAL(list) POD("\"containers\":[" C "],\"ephemeralContainers\":[" list "]")
#define E(name, more) "{\"name\":\"" name "\",\"image\":\"i\"" more "}"

#define R(name, req, lim) "{\"name\":\"" name "\",\"image\":\"i\",\"resources\":{\"requests\":{" req "},\"limits\":{" lim "}}}"
#define SIDE(req) "{\"name\":\"s\",\"image\":\"i\",\"restartPolicy\":\"Always\",\"resources\":{\"requests\":{" req "}}}"
#define RESIZE(list) POD("\"containers\":[" list "]")
#define RESIZE_INIT(inits) POD("\"containers\":[" R("c", CPU("1"), "") "],\"initContainers\":[" inits "]")
#define CPU(v) "\"cpu\":\"" v "\""
#define MEMORY(v) "\"memory\":\"" v "\""

static void test_resize(void **state)
{
	static const char sub[] = "resize", mutable[] = "spec: Forbidden: only cpu and memory resources are mutable";
	const char *one = RESIZE(R("c", CPU("1") "," MEMORY("1Gi"), CPU("2"))), *two = RESIZE(R("c", CPU("1"), "") "," R("d", CPU("1"), ""));
	const char *side = RESIZE_INIT(SIDE(CPU("1"))), *init = RESIZE_INIT(R("i", CPU("1"), ""));

	(void)state;
	check("v1", "Pod", sub, RESIZE(R("c", CPU("2") "," MEMORY("2Gi"), CPU("4") "," MEMORY("3Gi"))), one, "");
	check("v1", "Pod", sub, RESIZE(R("c", CPU("3") "," MEMORY("1Gi"), CPU("2"))), one,
		"spec.containers[0].resources.requests: Invalid value: \"3\": must be less than or equal to cpu limit of 2");
	check("v1", "Pod", sub, RESIZE(R("c", CPU("1"), "")), one,
		"[spec.containers[0].resources.requests: Forbidden: resource requests cannot be removed, "
		"spec.containers[0].resources.limits: Forbidden: resource limits cannot be removed]");
	check("v1", "Pod", sub, RESIZE(R("c", CPU("1") "," MEMORY("1Gi"), CPU("1") "," MEMORY("1Gi"))), one,
		"spec: Invalid value: \"Burstable\": Pod QOS Class may not change as a result of resizing");
	check("v1", "Pod", sub, RESIZE(R("c", "", CPU("1"))), RESIZE(R("c", "", "")),
		"spec: Invalid value: \"BestEffort\": Pod QOS Class may not change as a result of resizing");
	check("v1", "Pod", sub, RESIZE(R("c", CPU("1") "," MEMORY("1Gi") ",\"ephemeral-storage\":\"1Gi\"", CPU("2"))), one, mutable);
	check("v1", "Pod", sub, POD("\"containers\":[{\"name\":\"c\",\"image\":\"i\",\"resources\":{\"requests\":{" CPU("1") "}},"
				"\"resizePolicy\":[{\"resourceName\":\"cpu\",\"restartPolicy\":\"NotRequired\"}]}]"),
		RESIZE(R("c", CPU("1"), "")), mutable);
	check("v1", "Pod", sub, RESIZE(R("c", CPU("1"), "")), two, "spec.containers: Forbidden: containers may not be added or removed on resize");
	check("v1", "Pod", sub, RESIZE(R("d", CPU("1"), "") "," R("c", CPU("1"), "")), two,
		"[spec.containers[0].name: Forbidden: containers may not be renamed or reordered on resize, "
		"spec.containers[1].name: Forbidden: containers may not be renamed or reordered on resize]");
	check("v1", "Pod", sub, RESIZE_INIT(SIDE(CPU("2"))), side, "");
	check("v1", "Pod", sub, RESIZE_INIT(SIDE(CPU("1") ",\"ephemeral-storage\":\"1Gi\"")), side,
		"spec.initContainers[0]: Forbidden: only cpu and memory resources for sidecar containers are mutable");
	check("v1", "Pod", sub, RESIZE_INIT(R("i", CPU("2"), "")), init,
		"spec.initContainers[0]: Forbidden: resources for non-sidecar init containers are immutable");
	check("v1", "Pod", sub, two,
		"{\"metadata\":{\"name\":\"x\",\"namespace\":\"d\",\"annotations\":{\"kubernetes.io/config.mirror\":\"h\"}},"
		"\"spec\":{\"containers\":[" R("c", CPU("1"), "") "," R("d", CPU("1"), "") "]}}",
		": Forbidden: static pods cannot be resized");
	/* What says nothing of its resources cannot be resized. */
	check("v1", "Pod", sub, RESIZE(R("c", CPU("2"), "")),
		"{" META ",\"spec\":{\"containers\":[" R("c", CPU("1"), "") "]},\"status\":{\"containerStatuses\":[{\"name\":\"c\","
		"\"state\":{\"running\":{}}}]}}",
		"spec: Forbidden: Pod running on node without support for resize");
	/* The class that a pod was given counts, not what it would be given today. */
	check("v1", "Pod", sub, RESIZE(R("c", CPU("2"), "")),
		"{" META ",\"spec\":{\"containers\":[" R("c", CPU("1"), "") "]},\"status\":{\"qosClass\":\"Guaranteed\"}}",
		"spec: Invalid value: \"Guaranteed\": Pod QOS Class may not change as a result of resizing");
}

static void test_resize_policy(void **state)
{
#define POLICY(never, text) POD("\"restartPolicy\":\"" never "\",\"containers\":[{\"name\":\"c\",\"image\":\"i\",\"resizePolicy\":[" text "]}]")
#define P(r, p) "{\"resourceName\":\"" r "\",\"restartPolicy\":\"" p "\"}"
	(void)state;
	check("v1", "Pod", "", POLICY("Always", P("cpu", "NotRequired") "," P("memory", "RestartContainer")), NULL, "");
	check("v1", "Pod", "", POLICY("Always", P("cpu", "NotRequired") "," P("cpu", "NotRequired")), NULL,
		"spec.containers[0].resizePolicy[1]: Duplicate value: \"cpu\"");
	check("v1", "Pod", "", POLICY("Always", P("disk", "Never")), NULL,
		"[spec.containers[0].resizePolicy: Unsupported value: \"disk\": supported values: \"cpu\", \"memory\", "
		"spec.containers[0].resizePolicy: Unsupported value: \"Never\": supported values: \"NotRequired\", \"RestartContainer\"]");
	check("v1", "Pod", "", POLICY("Never", P("cpu", "RestartContainer")), NULL,
		"spec.containers[0].resizePolicy: Invalid value: \"RestartContainer\": must be 'NotRequired' when `restartPolicy` is 'Never'");
}

static void test_ephemeral(void **state)
{
	static const char sub[] = "ephemeralcontainers";
	const char *none = POD("\"containers\":[" C "]"), *one = EPHEMERAL(E("a", ""));

	(void)state;
	check("v1", "Pod", sub, EPHEMERAL(E("a", ",\"targetContainerName\":\"c\"")), none, "");
	check("v1", "Pod", sub, EPHEMERAL(E("b", "") "," E("a", "")), one, "");
	check("v1", "Pod", sub, none, one,
		"spec.ephemeralContainers: Forbidden: existing ephemeral containers \"a\" may not "
		"be removed\n");
	check("v1", "Pod", sub, EPHEMERAL(E("a", ",\"tty\":true")), one,
		"spec.ephemeralContainers: Forbidden: existing ephemeral containers \"a\" may not "
		"be changed\n`tty` differs");
	check("v1", "Pod", sub, EPHEMERAL(E("c", ",\"targetContainerName\":\"none\"")), none,
		"[spec.ephemeralContainers[0].name: Duplicate value: \"c\", "
		"spec.ephemeralContainers[0].targetContainerName: Not found: \"none\"]");
	check("v1", "Pod", sub,
		EPHEMERAL(E("a", ",\"ports\":[{\"containerPort\":80}],\"restartPolicy\":\"Always\","
				 "\"lifecycle\":{},\"resources\":{}")),
		none,
		"[spec.ephemeralContainers[0].restartPolicy: Forbidden: not supported for ephemeral "
		"containers, "
		"spec.ephemeralContainers[0].ports: Forbidden: cannot be set for an Ephemeral "
		"Container, "
		"spec.ephemeralContainers[0].restartPolicy: Forbidden: cannot be set for an "
		"Ephemeral Container, "
		"spec.ephemeralContainers[0].lifecycle: Forbidden: cannot be set for an Ephemeral "
		"Container]");
	/* Only by way of the subresource. */
	check("v1", "Pod", "", one, NULL,
		"spec.ephemeralContainers: Forbidden: cannot be set on create");
	check("apps/v1", "Deployment", "",
		"{" META ",\"spec\":{\"selector\":{\"matchLabels\":{\"a\":\"b\"}},\"template\":{"
		"\"metadata\":{\"labels\":{\"a\":\"b\"}},\"spec\":{\"containers\":[" C
		"],\"ephemeralContainers\":[" E("a", "") "]}}}}",
		NULL,
		"spec.template.spec.ephemeralContainers: Forbidden: ephemeral containers not allowed "
		"in pod template");
}

static void test_workloads(void **state)
{
	check("apps/v1", "Deployment", "", DEPLOY(""), NULL, "");
	check("apps/v1", "Deployment", "", DEPLOY(",\"replicas\":-1"), NULL,
		"spec.replicas: Invalid value: -1: must be greater than or equal to 0");
	check("apps/v1", "Deployment", "",
		DEPLOY(",\"strategy\":{\"type\":\"X\"},\"progressDeadlineSeconds\":0"), NULL,
		"[spec.strategy.type: Unsupported value: \"X\": supported values: \"Recreate\", "
		"\"RollingUpdate\", "
		"spec.progressDeadlineSeconds: Invalid value: 0: must be greater than "
		"minReadySeconds]");
	check("apps/v1", "Deployment", "",
		DEPLOY(",\"strategy\":{\"rollingUpdate\":{\"maxUnavailable\":\"x%\"}}"), NULL,
		"spec.strategy.rollingUpdate.maxUnavailable: Invalid value: "
		"intstr.IntOrString{Type:1, IntVal:0, StrVal:\"x%\"}: a valid percent string must "
		"be a "
		"numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for "
		"validation is '[0-9]+%')");
	check("apps/v1", "ReplicaSet", "",
		"{" META ",\"spec\":{\"selector\":{},\"template\":{\"spec\":{\"containers\":[" C
		"]}}}}",
		NULL,
		"spec.selector: Invalid value: "
		"v1.LabelSelector{MatchLabels:map[string]string(nil), "
		"MatchExpressions:[]v1.LabelSelectorRequirement(nil)}: "
		"empty selector is invalid for deployment");
	check("apps/v1", "ReplicaSet", "",
		"{" META ",\"spec\":{\"template\":{\"spec\":{\"containers\":[" C "]}}}}", NULL,
		"[spec.selector: Required value, spec.template.metadata.labels: Invalid value: map[string]string(nil): "
		"`selector` does not match template `labels`]");
	check("apps/v1", "Deployment", "",
		"{" META ",\"spec\":{\"selector\":{\"matchLabels\":{\"a\":\"c\"}},\"template\":{"
		"\"metadata\":{\"labels\":{\"a\":\"c\"}},\"spec\":{\"containers\":[" C "]}}}}",
		DEPLOY(""),
		"spec.selector: Invalid value: "
		"v1.LabelSelector{MatchLabels:map[string]string{\"a\":\"c\"}, "
		"MatchExpressions:[]v1.LabelSelectorRequirement(nil)}: field is immutable");
}

static void test_services(void **state)
{
	check("v1", "Service", "", "{" META ",\"spec\":{\"ports\":[{\"port\":80}]}}", NULL, "");
	check("v1", "Service", "", "{" META ",\"spec\":{}}", NULL, "spec.ports: Required value");
	check("v1", "Service", "", "{" META ",\"spec\":{\"clusterIP\":\"None\",\"clusterIPs\":[\"None\"]}}", NULL, "");
	check("v1", "Service", "",
		"{" META ",\"spec\":{\"ports\":[{\"port\":80,\"name\":\"a\"},{\"port\":80,\"name\":"
		"\"a\",\"nodePort\":30000}]}}",
		NULL,
		"[spec.ports[1].name: Duplicate value: \"a\", spec.ports[1].nodePort: Forbidden: "
		"may not be used when `type` is 'ClusterIP', "
		"spec.ports[1]: Duplicate value: core.ServicePort{Name:\"\", Protocol:\"TCP\", "
		"AppProtocol:(*string)(nil), Port:80, "
		"TargetPort:intstr.IntOrString{Type:0, IntVal:0, StrVal:\"\"}, NodePort:0}]");
	check("v1", "Service", "", "{" META ",\"spec\":{\"type\":\"ExternalName\"}}", NULL,
		"spec.externalName: Required value");
	check("v1", "Service", "",
		"{" META ",\"spec\":{\"clusterIP\":\"10.0.0.2\",\"clusterIPs\":[\"10.0.0.2\"],\"ports\":[{\"port\":80}]}}",
		"{" META ",\"spec\":{\"clusterIP\":\"10.0.0.1\",\"ports\":[{\"port\":80}]}}",
		"spec.clusterIPs[0]: Invalid value: []string{\"10.0.0.2\"}: may not change once "
		"set");
	check("v1", "Endpoints", "", "{" META ",\"subsets\":[{\"ports\":[{\"port\":0}]}]}", NULL,
		"[subsets[0]: Required value: must specify `addresses` or `notReadyAddresses`, "
		"subsets[0].ports[0].port: Invalid value: 0: must be between 1 and "
		"65535, inclusive]");
	check("discovery.k8s.io/v1", "EndpointSlice", "",
		"{" META ",\"addressType\":\"IPv4\",\"endpoints\":[{\"addresses\":[\"::1\"]},{}]}",
		NULL,
		"[endpoints[0].addresses[0]: Invalid value: \"::1\": must be a valid IPv4 address, "
		"endpoints[1].addresses: Required value: must contain at least 1 "
		"address]");
}

static void test_small(void **state)
{
	check("v1", "Secret", "",
		"{" META ",\"type\":\"kubernetes.io/tls\",\"data\":{\"tls.crt\":\"\"}}", NULL,
		"data[tls.key]: Required value");
	check("v1", "Secret", "", "{" META ",\"type\":\"a\"}", "{" META ",\"type\":\"b\"}",
		"type: Invalid value: \"a\": field is immutable");
	check("v1", "Node", "",
		"{\"metadata\":{\"name\":\"n\"},\"spec\":{\"taints\":[{\"key\":\"a\",\"effect\":"
		"\"No\"}],\"podCIDRs\":[\"x\"]}}",
		NULL,
		"[spec.taints[0].effect: Unsupported value: \"No\": supported values: "
		"\"NoSchedule\", \"PreferNoSchedule\", \"NoExecute\", "
		"spec.podCIDRs[0]: Invalid value: \"x\": must be a valid CIDR value, (e.g. "
		"10.9.8.0/24 or 2001:db8::/64)]");
	check("coordination.k8s.io/v1", "Lease", "",
		"{" META ",\"spec\":{\"leaseDurationSeconds\":0}}", NULL,
		"spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0");
	check("v1", "Event", "", "{" META ",\"involvedObject\":{\"namespace\":\"e\"}}", NULL,
		"involvedObject.namespace: Invalid value: \"e\": does not match event.namespace");
}

static void test_status(void **state)
{
	struct field_errs errs;
	struct field_path spec = field_child(NULL, "spec"), ports = field_child(&spec, "ports"),
			  at = field_index(&ports, 3);
	struct json *s;

	field_errs_init(&errs, &arena);
	field_required(&errs, &at, "");
	s = field_errs_status(&errs, "apps", "Deployment", STR("web"));
	assert_string_equal(json_text(&arena, s).p,
		"{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},\"status\":\"Failure\","
		"\"message\":\"Deployment.apps \\\"web\\\" is invalid: "
		"spec.ports[3]: Required "
		"value\",\"reason\":\"Invalid\",\"details\":{\"name\":\"web\",\"group\":\"apps\","
		"\"kind\":\"Deployment\",\"causes\":["
		"{\"reason\":\"FieldValueRequired\",\"message\":\"Required "
		"value\",\"field\":\"spec.ports[3]\"}]},\"code\":422}");
}

/*
 * Objects as an upstream API server stored them: they are defaulted already, valid as new and as
 * update of themselves, and have a row as wide as its table.
 */
static void test_stored(void **state)
{
	const char *dir = getenv("srcdir");
	FILE *f = fopen(
		arena_printf(&arena, "%s/tests/data/proto/objects.jsonl", dir ? dir : "."), "r");
	static char line[1 << 17];
	size_t seen = 0;

	assert_non_null(f);
	while (fgets(line, sizeof(line), f)) {
		struct json *obj = parse(line), *before = json_copy(&arena, obj);
		const struct resource *res = resource_find_kind(
			json_cstr(json_getc(obj, "apiVersion")), json_cstr(json_getc(obj, "kind")));
		struct field_errs errs;
		struct buf b = BUF_INIT;

		if (res == NULL || !res->served)
			continue;
		seen++;
		defaults_apply(&arena, resource_type(res), obj);
		if (!json_equal(obj, before))
			fail_msg("%s\n%s", json_text(&arena, obj).p, line);
		field_errs_init(&errs, &arena);
		validate_object(res, "", obj, NULL, &errs);
		validate_object(res, "", obj, before, &errs);
		field_errs_print(&b, &errs);
		assert_string_equal(b.p ? b.p : "", "");
		assert_int_equal(json_len(table_cells(&arena, res, obj, 0)),
			json_len(json_getc(table_new(&arena, res, NULL), "columnDefinitions")));
		buf_fini(&b);
	}
	fclose(f);
	assert_true(seen > 20);
}

static int setup(void **state)
{
	arena_init(&arena);
	return 0;
}

static int teardown(void **state)
{
	arena_fini(&arena);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_meta, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pods, setup, teardown),
		cmocka_unit_test_setup_teardown(test_resource_names, setup, teardown),
		cmocka_unit_test_setup_teardown(test_security, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pod_placing, setup, teardown),
		cmocka_unit_test_setup_teardown(test_odds, setup, teardown),
		cmocka_unit_test_setup_teardown(test_service_fields, setup, teardown),
		cmocka_unit_test_setup_teardown(test_events, setup, teardown),
		cmocka_unit_test_setup_teardown(test_gates, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pod_updates, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pod_annotations, setup, teardown),
		cmocka_unit_test_setup_teardown(test_ephemeral, setup, teardown),
		cmocka_unit_test_setup_teardown(test_resize, setup, teardown),
		cmocka_unit_test_setup_teardown(test_resize_policy, setup, teardown),
		cmocka_unit_test_setup_teardown(test_workloads, setup, teardown),
		cmocka_unit_test_setup_teardown(test_services, setup, teardown),
		cmocka_unit_test_setup_teardown(test_small, setup, teardown),
		cmocka_unit_test_setup_teardown(test_status, setup, teardown),
		cmocka_unit_test_setup_teardown(test_stored, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
