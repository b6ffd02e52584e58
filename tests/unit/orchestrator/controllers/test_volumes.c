/* Claims, volumes and the pods that want them against a whole API server, with kubelets that the test plays (world.h). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/util.h"
#include "tests/unit/orchestrator/controllers/world.h"

#define PV "/api/v1/persistentvolumes"
#define PVC NS "/persistentvolumeclaims"
#define CLASSES "/apis/storage.k8s.io/v1/storageclasses"

static const char *subject, *wanted;

static void volume(const char *name, const char *size, const char *modes, const char *more)
{
	post(PV, fmt("{\"metadata\":{\"name\":\"%s\",\"labels\":{\"name\":\"%s\"}},\"spec\":{\"capacity\":{\"storage\":\"%s\"},\"accessModes\":[%s],"
		     "\"hostPath\":{\"path\":\"/x/%s\"}%s}}", name, name, size, modes, name, more));
}

static void claim(const char *name, const char *size, const char *class, const char *more)
{
	post(PVC, fmt("{\"metadata\":{\"name\":\"%s\"},\"spec\":{\"accessModes\":[\"ReadWriteOnce\"],\"storageClassName\":\"%s\","
		      "\"resources\":{\"requests\":{\"storage\":\"%s\"}}%s}}", name, class, size, more));
	subject = name;
}

static void pod(const char *name, const char *claim_name, const char *more)
{
	post(NS "/pods", fmt("{\"metadata\":{\"name\":\"%s\"},\"spec\":{%s\"containers\":[{\"name\":\"c\",\"image\":\"x\"}],\"volumes\":[{\"name\":\"v\","
			     "\"persistentVolumeClaim\":{\"claimName\":\"%s\"}}]}}", name, more, claim_name));
}

static struct json *claim_of(const char *name)
{
	return get(fmt(PVC "/%s", name));
}

static struct json *volume_of(const char *name)
{
	return get(fmt(PV "/%s", name));
}

static const char *annotation(const struct json *o, const char *key)
{
	return arena_cstr(&rig_arena, json_str(json_getc(json_getp(o, "metadata.annotations"), key)));
}

static bool is_bound(void)
{
	const struct json *c = claim_of(subject);
	const char *name = str(c, "spec.volumeName");

	return strcmp(str(c, "status.phase"), "Bound") == 0 && strcmp(str(volume_of(name), "status.phase"), "Bound") == 0;
}

static bool volume_has_phase(void)
{
	return strcmp(str(volume_of(subject), "status.phase"), wanted) == 0;
}

static void wait_phase(const char *name, const char *phase)
{
	subject = name;
	wanted = phase;
	WAIT(volume_has_phase);
}

static bool claim_has_phase(void)
{
	return strcmp(str(claim_of(subject), "status.phase"), wanted) == 0;
}

static bool event_is_there(void)
{
	JSON_ITEMS (e, json_getc(get(NS "/events"), "items"))
		if (strcmp(str(e, "involvedObject.name"), subject) == 0 && strcmp(str(e, "reason"), wanted) == 0)
			return true;
	return false;
}

static bool pod_says(void)
{
	JSON_ITEMS (c, json_getp(get(fmt(NS "/pods/%s", subject)), "status.conditions"))
		if (strcmp(str(c, "type"), "PodScheduled") == 0 && strstr(str(c, "message"), wanted))
			return true;
	return false;
}

static bool pod_runs(void)
{
	return is_ready(get(fmt(NS "/pods/%s", subject)));
}

#define RWO "\"ReadWriteOnce\""

/* The smallest that is large enough, of the right class and modes, and not one that is somebody else's. */
static void test_binds(void **state)
{
	const struct json *c, *v;

	(void)state;
	add_node("n1", "4");
	add_node("n2", "4");
	volume("small", "1Gi", RWO, "");
	volume("other-class", "2Gi", RWO, ",\"storageClassName\":\"x\"");
	volume("other-mode", "2Gi", "\"ReadOnlyMany\"", "");
	volume("reserved", "2Gi", RWO, ",\"claimRef\":{\"namespace\":\"default\",\"name\":\"somebody\"}");
	volume("block", "2Gi", RWO, ",\"volumeMode\":\"Block\"");
	volume("large", "9Gi", RWO, "");
	volume("fits", "3Gi", "\"ReadWriteOnce\",\"ReadOnlyMany\"", "");
	wait_phase("large", "Available");
	wait_phase("fits", "Available");
	claim("one", "2Gi", "", "");
	WAIT(is_bound);
	c = claim_of("one");
	v = volume_of("fits");
	assert_string_equal(str(c, "spec.volumeName"), "fits");
	assert_string_equal(str(v, "spec.claimRef.name"), "one");
	assert_string_equal(str(v, "spec.claimRef.uid"), str(c, "metadata.uid"));
	assert_string_equal(annotation(c, "pv.kubernetes.io/bind-completed"), "yes");
	assert_string_equal(annotation(c, "pv.kubernetes.io/bound-by-controller"), "yes");
	assert_string_equal(annotation(v, "pv.kubernetes.io/bound-by-controller"), "yes");
	assert_string_equal(str(c, "status.capacity.storage"), "3Gi");
	assert_int_equal(json_len(json_getp(c, "status.accessModes")), 2);
	/* Reserved before, by either side; selected by labels. */
	claim("somebody", "1Gi", "", "");
	WAIT(is_bound);
	assert_string_equal(str(claim_of("somebody"), "spec.volumeName"), "reserved");
	assert_string_equal(annotation(volume_of("reserved"), "pv.kubernetes.io/bound-by-controller"), "");
	claim("labels", "1Gi", "", ",\"selector\":{\"matchLabels\":{\"name\":\"large\"}}");
	WAIT(is_bound);
	assert_string_equal(str(claim_of("labels"), "spec.volumeName"), "large");
	claim("names", "1Gi", "", ",\"volumeName\":\"small\"");
	WAIT(is_bound);
	assert_string_equal(annotation(claim_of("names"), "pv.kubernetes.io/bound-by-controller"), "");
	assert_string_equal(annotation(claim_of("names"), "pv.kubernetes.io/bind-completed"), "yes");
}

static void test_does_not_bind(void **state)
{
	(void)state;
	claim("nothing", "100Gi", "", "");
	wanted = "FailedBinding";
	WAIT(event_is_there);
	assert_string_equal(str(claim_of("nothing"), "status.phase"), "Pending");
	claim("no-class", "1Gi", "no-such", "");
	wanted = "ProvisioningFailed";
	WAIT(event_is_there);
	claim("too-much", "100Gi", "x", ",\"volumeName\":\"other-class\"");
	wanted = "VolumeMismatch";
	WAIT(event_is_there);
	claim("taken", "1Gi", "", ",\"volumeName\":\"small\"");
	wanted = "FailedBinding";
	WAIT(event_is_there);
	/* What it waits for comes. */
	volume("huge", "200Gi", RWO, "");
	subject = "nothing";
	WAIT(is_bound);
}

static bool is_gone(void)
{
	return num(rig_call("GET", subject, NULL, 0), "code") == 404;
}

static void test_reclaims(void **state)
{
	(void)state;
	rig_call("DELETE", PVC "/one", NULL, 200);
	wait_phase("fits", "Released");
	/* Kept for whoever wants to look at the data: another claim does not get it. */
	claim("again", "2Gi", "", "");
	wanted = "FailedBinding";
	WAIT(event_is_there);
	merge(PV "/fits", "{\"spec\":{\"claimRef\":null}}");
	WAIT(is_bound);
	/* Made by hand, to be deleted: by whom? */
	volume("by-hand", "1Gi", RWO, ",\"persistentVolumeReclaimPolicy\":\"Delete\",\"storageClassName\":\"d\"");
	claim("d", "1Gi", "d", "");
	WAIT(is_bound);
	rig_call("DELETE", PVC "/d", NULL, 200);
	wait_phase("by-hand", "Failed");
	/* One in use waits for its claim, which then has lost nothing. */
	rig_call("DELETE", PV "/large", NULL, 200);
	kubelet_turn();
	assert_string_equal(str(volume_of("large"), "status.phase"), "Bound");
	rig_call("DELETE", PVC "/labels", NULL, 200);
	subject = PV "/large";
	WAIT(is_gone);
	/* One that is taken away by force is lost. */
	merge(PV "/small", "{\"metadata\":{\"finalizers\":null}}");
	rig_call("DELETE", PV "/small", NULL, 200);
	subject = "names";
	wanted = "Lost";
	WAIT(claim_has_phase);
}

static void test_pod_waits(void **state)
{
	(void)state;
	pod("p", "later", "");
	subject = "p";
	wanted = "persistentvolumeclaim \"later\" not found";
	WAIT(pod_says);
	claim("later", "1Gi", "l", "");
	subject = "p";
	wanted = "pod has unbound immediate PersistentVolumeClaims";
	WAIT(pod_says);
	volume("later", "1Gi", RWO, ",\"storageClassName\":\"l\",\"nodeAffinity\":{\"required\":{\"nodeSelectorTerms\":[{\"matchExpressions\":["
				    "{\"key\":\"kubernetes.io/hostname\",\"operator\":\"In\",\"values\":[\"n2\"]}]}]}}");
	WAIT(pod_runs);
	assert_string_equal(str(get(NS "/pods/p"), "spec.nodeName"), "n2");
	/* The claim is in use: it goes after the pod only. */
	rig_call("DELETE", PVC "/later", NULL, 200);
	kubelet_turn();
	assert_true(json_getp(claim_of("later"), "metadata.deletionTimestamp") != NULL);
	rig_call("DELETE", NS "/pods/p", NULL, 200);
	subject = PVC "/later";
	WAIT(is_gone);
	/* A volume of a node that the pod may not use. */
	claim("there", "1Gi", "t", "");
	volume("there", "1Gi", RWO, ",\"storageClassName\":\"t\",\"nodeAffinity\":{\"required\":{\"nodeSelectorTerms\":[{\"matchExpressions\":["
				    "{\"key\":\"kubernetes.io/hostname\",\"operator\":\"In\",\"values\":[\"n9\"]}]}]}}");
	pod("q", "there", "");
	subject = "q";
	wanted = "2 node(s) didn't match PersistentVolume's node affinity";
	WAIT(pod_says);
}

/* With a class that waits: the node first, then a volume there. */
static void test_first_consumer(void **state)
{
	const struct json *c, *v;

	(void)state;
	assert_string_equal(str(get(CLASSES "/local-path"), "provisioner"), "kontiki.dev/local-path");
	claim("w", "1Gi", "local-path", "");
	wanted = "WaitForFirstConsumer";
	WAIT(event_is_there);
	pod("w", "w", "\"nodeSelector\":{\"kubernetes.io/hostname\":\"n1\"},");
	subject = "w";
	WAIT(pod_runs);
	assert_true(is_bound());
	c = claim_of("w");
	v = volume_of(str(c, "spec.volumeName"));
	assert_string_equal(annotation(c, "volume.kubernetes.io/selected-node"), "n1");
	assert_string_equal(annotation(v, "pv.kubernetes.io/provisioned-by"), "kontiki.dev/local-path");
	assert_string_equal(str(v, "spec.persistentVolumeReclaimPolicy"), "Delete");
	assert_string_equal(str(v, "metadata.name"), fmt("pvc-%s", str(c, "metadata.uid")));
	/* A second pod of it goes where the volume is. */
	pod("w2", "w", "");
	subject = "w2";
	WAIT(pod_runs);
	assert_string_equal(str(get(NS "/pods/w2"), "spec.nodeName"), "n1");
	/* Without a provisioner only nodes with a volume are possible. */
	post(CLASSES, "{\"metadata\":{\"name\":\"none\"},\"provisioner\":\"kubernetes.io/no-provisioner\",\"volumeBindingMode\":\"WaitForFirstConsumer\"}");
	claim("n", "1Gi", "none", "");
	pod("n", "n", "");
	subject = "n";
	wanted = "2 node(s) didn't find available persistent volumes to bind";
	WAIT(pod_says);
	volume("on-n2", "1Gi", RWO, ",\"storageClassName\":\"none\",\"nodeAffinity\":{\"required\":{\"nodeSelectorTerms\":[{\"matchExpressions\":["
				    "{\"key\":\"kubernetes.io/hostname\",\"operator\":\"In\",\"values\":[\"n2\"]}]}]}}");
	WAIT(pod_runs);
	assert_string_equal(str(get(NS "/pods/n"), "spec.nodeName"), "n2");
}

static void test_one_pod(void **state)
{
	(void)state;
	post(PVC, "{\"metadata\":{\"name\":\"single\"},\"spec\":{\"accessModes\":[\"ReadWriteOncePod\"],\"storageClassName\":\"local-path\","
		  "\"resources\":{\"requests\":{\"storage\":\"1Gi\"}}}}");
	pod("s1", "single", "");
	subject = "s1";
	WAIT(pod_runs);
	pod("s2", "single", "");
	subject = "s2";
	wanted = "1 node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode";
	WAIT(pod_says);
	rig_call("DELETE", NS "/pods/s1", NULL, 200);
	WAIT(pod_runs);
}

static void test_ephemeral(void **state)
{
	(void)state;
	post(NS "/pods", "{\"metadata\":{\"name\":\"e\"},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"x\"}],\"volumes\":[{\"name\":\"v\",\"ephemeral\":{"
			 "\"volumeClaimTemplate\":{\"spec\":{\"accessModes\":[\"ReadWriteOnce\"],\"resources\":{\"requests\":{\"storage\":\"1Gi\"}}}}}}]}}");
	subject = "e";
	WAIT(pod_runs);
	assert_string_equal(str(json_at(json_getp(claim_of("e-v"), "metadata.ownerReferences"), 0), "name"), "e");
	rig_call("DELETE", NS "/pods/e", NULL, 200);
	subject = PVC "/e-v";
	WAIT(is_gone);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_binds), cmocka_unit_test(test_does_not_bind), cmocka_unit_test(test_reclaims),
		cmocka_unit_test(test_pod_waits), cmocka_unit_test(test_first_consumer), cmocka_unit_test(test_one_pod),
		cmocka_unit_test(test_ephemeral),
	};
	return cmocka_run_group_tests_name("volumes", tests, world_start, world_stop);
}
