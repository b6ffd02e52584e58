/* Admission's decisions without a server: pod security, limit ranges, amounts and quotas' scopes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/util.h"
#include "orchestrator/apiserver/amounts.h"
#include "orchestrator/apiserver/limits.h"
#include "orchestrator/apiserver/podsecurity.h"
#include "proto/json.h"
#include "proto/resource.h"
#include "tests/lib/json_words.h"
#include "tests/lib/test_arena.h"

/* Single quotes stand for double ones. */
static struct json *parse(const char *text)
{
	return json_must(&a, str_from(json_quoted(&a, text)));
}

#define C "{'containers':[{'name':'c'"
#define GOOD "'securityContext':{'allowPrivilegeEscalation':false,'capabilities':{'drop':['ALL']}}"
#define POD "'securityContext':{'runAsNonRoot':true,'seccompProfile':{'type':'RuntimeDefault'}}"

static void test_pod_security(void **state)
{
	static const struct {
		enum podsecurity_level level;
		const char *spec, *want;
	} rows[] = {
			{PODSECURITY_PRIVILEGED, C ",'securityContext':{'privileged':true}}]}", ""},
			{PODSECURITY_BASELINE, C "}]}", ""},
			{PODSECURITY_RESTRICTED, C "," GOOD "}]," POD "}", ""},
			{PODSECURITY_RESTRICTED, C "}]}",
					"allowPrivilegeEscalation != false (container \"c\" must set "
					"securityContext.allowPrivilegeEscalation=false), unrestricted capabilities (container \"c\" must "
					"set securityContext.capabilities.drop=[\"ALL\"]), runAsNonRoot != true (pod or container \"c\" "
					"must set securityContext.runAsNonRoot=true), seccompProfile (pod or container \"c\" must set "
					"securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\")"},
			{PODSECURITY_BASELINE, C ",'securityContext':{'privileged':true}}]}",
					"privileged (container \"c\" must not set securityContext.privileged=true)"},
			{PODSECURITY_BASELINE, C "}],'hostNetwork':true,'hostPID':true}",
					"host namespaces (hostNetwork=true, hostPID=true)"},
			{PODSECURITY_BASELINE, C "}],'volumes':[{'name':'a','hostPath':{'path':'/'}},{'name':'b','hostPath':{}}]}",
					"hostPath volumes (volumes \"a\", \"b\")"},
			{PODSECURITY_RESTRICTED, C "," GOOD "}]," POD ",'volumes':[{'name':'a','hostPath':{'path':'/'}},{'name':'s',"
						   "'secret':{}}]}",
					"restricted volume types (volume \"a\" uses restricted volume type \"hostPath\")"},
			{PODSECURITY_BASELINE, C ",'ports':[{'containerPort':1,'hostPort':80}]}]}",
					"hostPort (container \"c\" uses hostPort 80)"},
			{PODSECURITY_BASELINE, C ",'securityContext':{'capabilities':{'add':['NET_ADMIN','CHOWN']}}}]}",
					"non-default capabilities (container \"c\" must not include \"NET_ADMIN\" in "
					"securityContext.capabilities.add)"},
			{PODSECURITY_RESTRICTED, C ",'securityContext':{'allowPrivilegeEscalation':false,'capabilities':{'add':['CHOWN'],"
						   "'drop':['ALL']}}}]," POD "}",
					"unrestricted capabilities (container \"c\" must not include \"CHOWN\" in "
					"securityContext.capabilities.add)"},
			{PODSECURITY_BASELINE, C ",'securityContext':{'procMount':'Unmasked'}}]}",
					"procMount (container \"c\" must not set securityContext.procMount to \"Unmasked\")"},
			{PODSECURITY_BASELINE, C ",'securityContext':{'seccompProfile':{'type':'Unconfined'}}}]}",
					"seccompProfile (container \"c\" must not set securityContext.seccompProfile.type to "
					"\"Unconfined\")"},
			{PODSECURITY_BASELINE, C "}],'securityContext':{'seLinuxOptions':{'type':'x','user':'u'}}}",
					"seLinuxOptions (pod set forbidden securityContext.seLinuxOptions: type \"x\"; user may not be "
					"set)"},
			{PODSECURITY_BASELINE, C "}],'securityContext':{'sysctls':[{'name':'kernel.msgmax','value':'1'},{'name':"
					       "'net.ipv4.tcp_syncookies','value':'1'}]}}",
					"forbidden sysctls (kernel.msgmax)"},
			{PODSECURITY_BASELINE, C "}],'initContainers':[{'name':'i','securityContext':{'privileged':true}}]}",
					"privileged (container \"i\" must not set securityContext.privileged=true)"},
			{PODSECURITY_BASELINE, C "}],'ephemeralContainers':[{'name':'e','securityContext':{'privileged':true}}]}",
					"privileged (container \"e\" must not set securityContext.privileged=true)"},
			{PODSECURITY_RESTRICTED, C "," GOOD "}],'securityContext':{'runAsUser':0,'runAsNonRoot':true,'seccompProfile':{"
						   "'type':'Localhost'}}}",
					"runAsUser=0 (pod must not set runAsUser=0)"},
			{PODSECURITY_RESTRICTED, C "," GOOD "}],'securityContext':{'runAsNonRoot':false,'seccompProfile':{'type':"
						   "'RuntimeDefault'}}}",
					"runAsNonRoot != true (pod must not set securityContext.runAsNonRoot=false)"},
			{PODSECURITY_BASELINE, C ",'livenessProbe':{'httpGet':{'host':'h','port':1}}}]}",
					"probe or lifecycle host (container \"c\" uses probe or lifecycle host \"h\")"},
	};
	enum podsecurity_level l;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		assert_string_equal(arena_cstr(&a, podsecurity_check(&a, rows[i].level, NULL, parse(rows[i].spec))), rows[i].want);
	assert_true(podsecurity_level(STR("restricted"), &l));
	assert_false(podsecurity_level(STR("strict"), &l));
	assert_true(podsecurity_version_valid(STR("v1.30")));
	assert_false(podsecurity_version_valid(STR("1.30")));
	assert_false(podsecurity_version_valid(STR("v1.x")));
}

static void test_limits(void **state)
{
	struct json *range = parse("{'spec':{'limits':[{'type':'Container','default':{'cpu':'1','memory':'1Gi'},'defaultRequest':{"
				   "'cpu':'500m'},'min':{'cpu':'100m'},'max':{'cpu':'2'},'maxLimitRequestRatio':{'cpu':'4'}},"
				   "{'type':'Pod','max':{'memory':'2Gi'}},{'type':'PersistentVolumeClaim','min':{'storage':'1Gi'},"
				   "'max':{'storage':'5Gi'}}]}}");
	struct json *pod = parse("{'metadata':{},'spec':{'containers':[{'name':'c'},{'name':'d','resources':{'limits':{'cpu':'2'}}}]}}");

	(void)state;
	limits_default_pod(&a, range, pod);
	assert_string_equal(json_cstr(json_getp(json_at(json_getp(pod, "spec.containers"), 0), "resources.requests.cpu")), "500m");
	assert_string_equal(json_cstr(json_getp(json_at(json_getp(pod, "spec.containers"), 1), "resources.limits.cpu")), "2");
	assert_string_equal(json_cstr(json_getc(json_getp(pod, "metadata.annotations"), "kubernetes.io/limit-ranger")),
			"LimitRanger plugin set: cpu request for container c; cpu, memory limit for container c; cpu request for "
			"container d; memory limit for container d");
	assert_string_equal(arena_cstr(&a, limits_check_pod(&a, range, pod)), "");
	pod = parse("{'spec':{'containers':[{'name':'c','resources':{'limits':{'cpu':'3','memory':'3Gi'},'requests':{'cpu':'50m'}}}]}}");
	assert_string_equal(arena_cstr(&a, limits_check_pod(&a, range, pod)),
			"[minimum cpu usage per Container is 100m, but request is 50m, maximum cpu usage per Container is 2, but limit "
			"is 3, cpu max limit to request ratio per Container is 4, but provided ratio is 60.000000, maximum memory usage "
			"per Pod is 2Gi, but limit is 3Gi]");
	pod = parse("{'spec':{'resources':{'limits':{'memory':'3Gi'}},'containers':[{'name':'c','resources':{'limits':{'cpu':'1','memory':'1Gi'},"
		    "'requests':{'cpu':'500m'}}}]}}");
	assert_string_equal(arena_cstr(&a, limits_check_pod(&a, range, pod)), "maximum memory usage per Pod is 2Gi, but limit is 3Gi");
	pod = parse("{'spec':{'containers':[{'name':'c'}]}}");
	assert_true(str_search(limits_check_pod(&a, range, pod),
				    STR("minimum cpu usage per Container is 100m.  No request is specified")) >= 0);
	assert_string_equal(arena_cstr(&a, limits_check_claim(&a, range, parse("{'spec':{'resources':{'requests':{'storage':"
									       "'6Gi'}}}}"))),
			"maximum storage usage per PersistentVolumeClaim is 5Gi, but request is 6Gi");
	assert_string_equal(arena_cstr(&a, limits_check_claim(&a, range, parse("{'spec':{'resources':{'requests':{'storage':"
									       "'2Gi'}}}}"))),
			"");
}

static void test_amounts(void **state)
{
	static const struct {
		const char *group, *plural, *name, *obj, *want;
	} rows[] = {
			{"", "pods", "pods", "{'spec':{}}", "1"},
			{"", "pods", "pods", "{'status':{'phase':'Failed'}}", "0"},
			{"", "pods", "count/pods", "{'status':{'phase':'Failed'}}", "1"},
			{"", "pods", "requests.cpu", "{'spec':{'containers':[{'resources':{'requests':{'cpu':'1'}}},{'resources':{"
						     "'requests':{'cpu':'250m'}}}]}}",
					"1250m"},
			/* An init container runs beside the sidecars before it only. */
			{"", "pods", "cpu", "{'spec':{'containers':[{'resources':{'requests':{'cpu':'1'}}}],'initContainers':[{'resources':"
					    "{'requests':{'cpu':'1'}},'restartPolicy':'Always'},{'resources':{'requests':{'cpu':'3'}}}]}}",
					"4"},
			{"", "pods", "limits.memory", "{'spec':{'overhead':{'memory':'1Mi'},'containers':[{'resources':{'limits':{"
						      "'memory':'1Gi'}}}]}}",
					"1025Mi"},
			/* On its way to other amounts it holds the largest of what it wants, was given and runs with. */
			{"", "pods", "cpu", "{'spec':{'containers':[{'name':'a','resources':{'requests':{'cpu':'1'}}},{'name':'b',"
					    "'resources':{'requests':{'cpu':'1'}}}]},'status':{'containerStatuses':[{'name':'a',"
					    "'allocatedResources':{'cpu':'2'},'resources':{'requests':{'cpu':'3'}}},{'name':'b',"
					    "'allocatedResources':{'cpu':'500m'}}]}}",
					"4"},
			/* What the pod says as a whole counts instead of its containers. */
			{"", "pods", "requests.cpu", "{'spec':{'resources':{'requests':{'cpu':'2'}},'containers':[{'name':'a','resources':{"
						     "'requests':{'cpu':'1'}}}]}}",
					"2"},
			{"", "pods", "requests.cpu", "{'spec':{'resources':{'requests':{'cpu':'2'}},'containers':[{'name':'a'}]},'status':{"
						     "'allocatedResources':{'cpu':'3'},'resources':{'requests':{'cpu':'1'}}}}",
					"3"},
			{"", "pods", "limits.cpu", "{'spec':{'containers':[{'name':'a','resources':{'limits':{'cpu':'1'}}}]},'status':{"
						   "'containerStatuses':[{'name':'a','allocatedResources':{'cpu':'9'},'resources':{'limits':{"
						   "'cpu':'3'}}}]}}",
					"3"},
			{"", "pods", "services", "{}", "0"},
			{"", "services", "services", "{'spec':{'type':'ClusterIP'}}", "1"},
			{"", "services", "services.nodeports", "{'spec':{'type':'NodePort','ports':[{},{}]}}", "2"},
			{"", "services", "services.nodeports", "{'spec':{'type':'ClusterIP','ports':[{},{}]}}", "0"},
			{"", "services", "services.loadbalancers", "{'spec':{'type':'LoadBalancer'}}", "1"},
			{"", "persistentvolumeclaims", "requests.storage", "{'spec':{'resources':{'requests':{'storage':'3Gi'}}}}", "3Gi"},
			{"", "persistentvolumeclaims", "fast.storageclass.storage.k8s.io/requests.storage",
					"{'spec':{'storageClassName':'fast','resources':{'requests':{'storage':'3Gi'}}}}", "3Gi"},
			{"", "persistentvolumeclaims", "fast.storageclass.storage.k8s.io/persistentvolumeclaims",
					"{'spec':{'storageClassName':'slow'}}", "0"},
			{"apps", "deployments", "count/deployments.apps", "{}", "1"},
			{"apps", "deployments", "count/deployments", "{}", "0"},
			{"", "secrets", "secrets", "{}", "1"},
	};
	char text[QUANTITY_SIZE];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		quantity_print(quota_use(&a, resource_find(rows[i].group, "v1", rows[i].plural), parse(rows[i].obj),
					       str_from(rows[i].name)),
				text);
		if (strcmp(text, rows[i].want) != 0)
			fail_msg("%s of %s: %s instead of %s", rows[i].name, rows[i].obj, text, rows[i].want);
	}
	assert_string_equal(arena_cstr(&a, quota_unsaid(&a, parse("{'containers':[{'name':'x'},{'name':'y','resources':{'limits':{"
								 "'cpu':'1'}}},{'name':'z'}]}"),
						      STR("limits.cpu"))),
			"x,z");
	assert_string_equal(arena_cstr(&a, quota_unsaid(&a, parse("{'containers':[{'name':'x'}]}"), STR("pods"))), "");
}

static void test_scopes(void **state)
{
	const struct resource *pods = resource_find("", "v1", "pods");
	static const struct {
		const char *spec, *pod;
		bool selects;
	} rows[] = {
			{"{}", "{}", true},
			{"{'scopes':['BestEffort']}", "{'spec':{'containers':[{}]}}", true},
			{"{'scopes':['BestEffort']}", "{'spec':{'containers':[{'resources':{'requests':{'cpu':'1'}}}]}}", false},
			{"{'scopes':['NotBestEffort']}", "{'spec':{'containers':[{'resources':{'limits':{'memory':'1'}}}]}}", true},
			{"{'scopes':['Terminating']}", "{'spec':{'activeDeadlineSeconds':5}}", true},
			{"{'scopes':['NotTerminating']}", "{'spec':{'activeDeadlineSeconds':5}}", false},
			{"{'scopeSelector':{'matchExpressions':[{'scopeName':'PriorityClass','operator':'In','values':['high']}]}}",
					"{'spec':{'priorityClassName':'high'}}", true},
			{"{'scopeSelector':{'matchExpressions':[{'scopeName':'PriorityClass','operator':'In','values':['high']}]}}",
					"{'spec':{}}", false},
			{"{'scopes':['CrossNamespacePodAffinity']}",
					"{'spec':{'affinity':{'podAffinity':{'requiredDuringSchedulingIgnoredDuringExecution':[{"
					"'namespaces':['x']}]}}}}",
					true},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct json *q = json_new_object(&a);

		json_setc(&a, q, "spec", parse(rows[i].spec));
		if (quota_selects(q, pods, parse(rows[i].pod)) != rows[i].selects)
			fail_msg("row %zu", i);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
			with_arena(test_pod_security),
			with_arena(test_limits),
			with_arena(test_amounts),
			with_arena(test_scopes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
