#!/bin/bash
# Horizontal autoscaling with real pods: a Deployment that burns CPU gets more of them, and fewer when it rests; a StatefulSet follows
# custom and external metrics of an aggregated server; kubectl's view of it all.
# shellcheck source=tests/system/lib.sh
. "$(dirname "$0")/lib.sh"

mkdir "$tmp/signal"
# What a group of processes gets of a busy machine goes by what it requests: a twenty-fifth of that is burnt on any machine, and is not when
# it rests.
cat >"$tmp/burner.yaml" <<-EOP
	apiVersion: apps/v1
	kind: Deployment
	metadata: {name: burner}
	spec:
	  selector: {matchLabels: {app: burner}}
	  template:
	    metadata: {labels: {app: burner}}
	    spec:
	      terminationGracePeriodSeconds: 1
	      containers:
	      - name: c
	        image: busybox
	        command: [sh, -c, "while :; do [ ! -e /signal/rest ] || sleep 5; done"]
	        resources: {requests: {cpu: 100m, memory: 8Mi}, limits: {cpu: 100m}}
	        volumeMounts: [{name: signal, mountPath: /signal}]
	      volumes: [{name: signal, hostPath: {path: $tmp/signal}}]
	---
	apiVersion: apps/v1
	kind: StatefulSet
	metadata: {name: queue}
	spec:
	  serviceName: queue
	  podManagementPolicy: Parallel
	  selector: {matchLabels: {app: queue}}
	  template:
	    metadata: {labels: {app: queue}}
	    spec:
	      terminationGracePeriodSeconds: 1
	      containers: [{name: c, image: busybox, command: [sleep, "98765"]}]
EOP
# The v2 form of what kubectl autoscale makes, impatient.
impatient='{"spec":{"behavior":{"scaleDown":{"stabilizationWindowSeconds":0},"scaleUp":{"policies":[{"type":"Pods","value":100,"periodSeconds":15}]}}}}'
start_metrics() {
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=metrics -keyout "$tmp/m.key" \
		-out "$tmp/m.crt" || return 1
	nsenter --net="/run/netns/kontiki-$cluster-switch" python3 "$root/tests/system/metrics.py" "$own" 7443 "$tmp/m.crt" "$tmp/m.key" \
		"$tmp/facts" >"$tmp/metrics.log" 2>&1 &
	background+=($!)
}
registration() {
	outside_service metrics 443 7443
	for v in v1beta2.custom.metrics.k8s.io v1beta1.external.metrics.k8s.io; do
		cat <<-EOR
			apiVersion: apiregistration.k8s.io/v1
			kind: APIService
			metadata: {name: $v}
			spec:
			  group: ${v#*.}
			  version: ${v%%.*}
			  groupPriorityMinimum: 100
			  versionPriority: 100
			  insecureSkipTLSVerify: true
			  service: {namespace: default, name: metrics}
			---
		EOR
	done
}
queue_hpa() {
	cat <<-'EOR'
		apiVersion: autoscaling/v2
		kind: HorizontalPodAutoscaler
		metadata: {name: queue}
		spec:
		  scaleTargetRef: {apiVersion: apps/v1, kind: StatefulSet, name: queue}
		  maxReplicas: 4
		  metrics:
		  - type: External
		    external: {metric: {name: jobs, selector: {matchLabels: {of: shop}}}, target: {type: AverageValue, averageValue: "10"}}
		  - type: Pods
		    pods: {metric: {name: hits}, target: {type: AverageValue, averageValue: "5"}}
		  - type: Object
		    object: {describedObject: {apiVersion: v1, kind: Service, name: metrics}, metric: {name: load}, target: {type: Value, value: "100"}}
	EOR
}
replicas() { k get "$1" -o 'jsonpath={.spec.replicas}'; }
reason() { k get hpa "$1" -o "jsonpath={.status.conditions[?(@.type=='$2')].reason}"; }
available() { k get apiservice "$1" -o 'jsonpath={.status.conditions[0].status}'; }

cluster_up --servers 1
own=$(switch_address)
printf 'jobs 5\nhits 5 queue-0\nload 100\n' >"$tmp/facts"
t "pods" k apply -f "$tmp/burner.yaml"
t "kubectl autoscale" k autoscale deployment burner --min=1 --max=3 --cpu-percent=4
t "impatiently" k patch hpa burner --type merge -p "$impatient"
t "they run" k rollout status deployment/burner --timeout=300s

t "a server of metrics" start_metrics
t "is registered" k apply -f <(registration)
t "for custom ones" until_ok 60 is True available v1beta2.custom.metrics.k8s.io
t "and external ones" until_ok 60 is True available v1beta1.external.metrics.k8s.io
t "an autoscaler that uses it" k apply -f <(queue_hpa)
t "an autoscaler of three kinds of metrics" k patch hpa queue --type merge -p "$impatient"
t "finds all as it should be" until_ok 60 is DesiredWithinRange reason queue ScalingLimited
printf 'jobs 5\nhits 5 queue-0\nload 290\n' >"$tmp/facts"
t "the one that asks for most counts" until_ok 120 is 3 replicas statefulset/queue
soon_out "and is named" 'New size: 3; reason: Service metric load above target' k describe hpa queue
soon_out "external metrics are asked with their selector" \
	'/apis/external.metrics.k8s.io/v1beta1/namespaces/default/jobs\?labelSelector=of%3Dshop' cat "$tmp/metrics.log"
soon_out "those of pods with the pods'" '/namespaces/default/pods/\*/hits\?labelSelector=app%3Dqueue' cat "$tmp/metrics.log"

t "work makes it grow" until_ok 120 is 3 replicas deployment/burner
t "with pods" k rollout status deployment/burner --timeout=300s
soon_out "an event says why" 'SuccessfulRescale .*New size: .; reason: cpu resource utilization \(percentage of request\) above target' \
	k describe hpa burner
soon_out "and a condition" 'ScalingActive +True +ValidMetricFound' k describe hpa burner
row() { k get hpa burner | grep -E '^burner +Deployment/burner +cpu: [0-9]+%/4% +1 +3 +3 '; }
t "kubectl get hpa" until_ok 60 row
touch "$tmp/signal/rest"
t "rest makes it shrink" until_ok 120 is 1 replicas deployment/burner
soon_out "an event says so" 'New size: 1; reason: All metrics below target' k describe hpa burner

printf 'jobs 500\nhits 5 queue-0 queue-1 queue-2\nload 290\n' >"$tmp/facts"
t "not more than is allowed" until_ok 120 is 4 replicas statefulset/queue
t "which is said" until_ok 120 is TooManyReplicas reason queue ScalingLimited
t "the metrics go" k delete apiservice v1beta1.external.metrics.k8s.io
printf 'hits 1 queue-0 queue-1 queue-2 queue-3\nload 10\n' >"$tmp/facts"
t "with one unknown it does not shrink" until_ok 60 is FailedGetExternalMetric reason queue ScalingActive
t "it stays" is 4 replicas statefulset/queue
