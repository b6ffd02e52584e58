#!/bin/bash
# Jobs, daemon sets, stateful sets and cron jobs on three servers, with kubectl.
# shellcheck source=tests/system/lib.sh
. "$(dirname "$0")/lib.sh"

cluster_up --servers 3
until_ok 90 nodes_ready 3 >/dev/null || not_ok "three nodes are ready"

# make_job NAME COMPLETIONS COMMAND
make_job() {
	k apply -f - <<YAML
apiVersion: batch/v1
kind: Job
metadata: {name: $1}
spec:
  completions: $2
  parallelism: 2
  backoffLimit: 0
  template:
    spec:
      restartPolicy: Never
      containers: [{name: c, image: "busybox:1.35", command: [sh, -c, "$3"]}]
YAML
}
# make_set KIND NAME MORE
make_set() {
	k apply -f - <<YAML
apiVersion: apps/v1
kind: $1
metadata: {name: $2}
spec:
  selector: {matchLabels: {app: $2}}
  template:
    metadata: {labels: {app: $2}}
    spec:
      terminationGracePeriodSeconds: 1
      containers: [{name: c, image: "busybox:1.35", command: [sh, -c, "trap 'exit 0' TERM; while :; do sleep 1; done"]}]
$3
YAML
}
nodes_of() { k get pods -l "app=$1" --field-selector=status.phase=Running -o jsonpath='{range .items[*]}{.spec.nodeName}{"\n"}{end}' | sort -u | wc -l; }
evict() {
	printf '{"apiVersion":"policy/v1","kind":"Eviction","metadata":{"name":"%s","namespace":"default"}}' "$1" |
		k create --raw "/api/v1/namespaces/default/pods/$1/eviction" -f -
}
# replaced JOB POD: the job has a pod that runs, and another one
replaced() { k get pods -l "job-name=$1" --field-selector=status.phase=Running -o name | grep -v "/$2\$" | grep .; }
budget() { k get pdb db -o jsonpath='{.status.disruptionsAllowed}/{.status.expectedPods}/{.status.disruptedPods}{"\n"}'; }
# taker NAME MORE: a pod that asks for all the cpu of a node
taker() {
	k apply -f - <<YAML
apiVersion: v1
kind: Pod
metadata: {name: $1}
spec:
  $2
  terminationGracePeriodSeconds: 1
  nodeSelector: {kubernetes.io/hostname: server-2}
  containers: [{name: c, image: "busybox:1.35", command: [sleep, "3600"], resources: {requests: {cpu: "$cpu"}}}]
YAML
}
created_in_order() {
	[ "$(k get pods -l app=db --sort-by=.metadata.creationTimestamp -o jsonpath='{.items[*].metadata.name}')" = "db-0 db-1 db-2" ]
}

t "make a job" make_job three 3 "exit 0"
t "a job of three completions completes" k wait --for=condition=complete job/three --timeout=300s
soon_out "and says so" '^3 ' k get job three -o jsonpath='{.status.succeeded} {.status.conditions[*].type}{"\n"}'
t "make a job that fails" make_job fails 1 "exit 3"
t "it reaches its backoff limit" k wait --for=condition=failed job/fails --timeout=300s
soon_out "and says why" 'BackoffLimitExceeded' k get job fails -o jsonpath='{.status.conditions[*].reason}{"\n"}'

t "make an indexed job with a limit for each index" k apply -f - <<YAML
apiVersion: batch/v1
kind: Job
metadata: {name: each}
spec:
  completionMode: Indexed
  completions: 3
  parallelism: 3
  backoffLimitPerIndex: 0
  podFailurePolicy:
    rules: [{action: FailIndex, onExitCodes: {operator: In, values: [42]}}]
  template:
    spec:
      restartPolicy: Never
      containers: [{name: c, image: "busybox:1.35", command: [sh, -c, '[ "\$JOB_COMPLETION_INDEX" = 1 ] && exit 42; exit 0']}]
YAML
t "it fails" k wait --for=condition=failed job/each --timeout=300s
soon_out "because of one index, the others are done" '^0,2 1 .*FailedIndexes' k get job each -o jsonpath='{.status.completedIndexes} {.status.failedIndexes} {.status.conditions[*].reason}{"\n"}'

t "make a job that bears no failure but disruptions" k apply -f - <<YAML
apiVersion: batch/v1
kind: Job
metadata: {name: spared}
spec:
  backoffLimit: 0
  podFailurePolicy:
    rules: [{action: Ignore, onPodConditions: [{type: DisruptionTarget}]}]
  template:
    spec:
      restartPolicy: Never
      terminationGracePeriodSeconds: 1
      containers: [{name: c, image: "busybox:1.35", command: [sleep, "3600"]}]
YAML
t "it runs" k wait --for=jsonpath='{.status.ready}'=1 job/spared --timeout=300s
first=$(k get pods -l job-name=spared -o jsonpath='{.items[0].metadata.name}')
t "its pod is evicted" evict "$first"
t "another one takes its place" until_ok 90 replaced spared "$first"
soon_out "and the job has not failed" '^1//$' k get job spared -o jsonpath='{.status.active}/{.status.failed}/{.status.conditions[*].type}{"\n"}'

t "make a replication controller" k apply -f - <<YAML
apiVersion: v1
kind: ReplicationController
metadata: {name: old}
spec:
  replicas: 2
  template:
    metadata: {labels: {app: old}}
    spec:
      terminationGracePeriodSeconds: 1
      containers: [{name: c, image: "busybox:1.35", command: [sleep, "3600"]}]
YAML
t "its pods run" k wait --for=jsonpath='{.status.availableReplicas}'=2 rc/old --timeout=300s
t "scale it" k scale rc/old --replicas=1
t "one goes" k wait --for=jsonpath='{.status.replicas}'=1 rc/old --timeout=300s
t "delete it, not its pods" k delete rc/old --cascade=orphan
t "its pod has no owner and runs" until_ok 60 has_line '^Running\[\]$' k get pods -l app=old -o jsonpath='{.items[0].status.phase}[{.items[0].metadata.ownerReferences}]{"\n"}'

t "make a daemon set" make_set DaemonSet agent ""
t "rollout status of the daemon set" k rollout status ds/agent --timeout=300s
soon "a daemon on each node" is 3 nodes_of agent
t "a new template" k set env ds/agent A=b
t "it rolls" k rollout status ds/agent --timeout=300s
soon_out "its history" '^2 ' k rollout history ds/agent
t "undo" k rollout undo ds/agent
t "rolls back" k rollout status ds/agent --timeout=300s
soon "to the first template" is "" k get ds agent -o jsonpath='{.spec.template.spec.containers[0].env}'

t "make a stateful set" make_set StatefulSet db "  serviceName: db
  replicas: 3"
t "rollout status of the stateful set" k rollout status sts/db --timeout=300s
soon "it came up in order" created_in_order
t "restart" k rollout restart sts/db
t "it rolls" k rollout status sts/db --timeout=300s
t "undo" k rollout undo sts/db
t "rolls back" k rollout status sts/db --timeout=300s

t "make a budget for it" k apply -f - <<YAML
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: db}
spec: {minAvailable: 100%, selector: {matchLabels: {app: db}}}
YAML
soon_out "that allows nothing" '^0/3/$' budget
t "an eviction is refused" fails_with "violate the pod's disruption budget" evict db-1
t "a larger budget" k patch pdb db --type=merge -p '{"spec":{"minAvailable":2}}'
soon_out "allows one" '^1/3/$' budget
soon "evict one" evict db-1
t "it comes back, and the budget with it" until_ok 90 has_line '^1/3/$' budget

t "make a cron job" k create cronjob hourly --image=busybox:1.35 --schedule="0 * * * *" -- true
t "a job from it" k create job now --from=cronjob/hourly
t "completes" k wait --for=condition=complete job/now --timeout=300s
t "the cron job saw it" until_ok 90 has_line '^20' k get cronjob hourly -o jsonpath='{.status.lastSuccessfulTime}{"\n"}'

cpu=$(k get node server-2 -o jsonpath='{.status.allocatable.cpu}')
t "a pod that takes all of a node" taker lazy ""
t "runs" k wait --for=condition=Ready pod/lazy --timeout=300s
t "a class of higher priority" k create priorityclass high --value=1000
t "a pod of that class" taker urgent "priorityClassName: high"
t "takes its place" k wait --for=condition=Ready pod/urgent --timeout=300s
soon_err "the other one is gone" 'not found' k get pod lazy
soon_out "an event says why" 'Preempted by pod' k get events --field-selector reason=Preempted -o jsonpath='{.items[*].message}{"\n"}'
