#!/bin/bash
# Resizing a pod that runs: the limits of its control groups change, its containers run on, or are restarted if they want
# that; what the node cannot give waits or is refused; a new agent remembers what was given.
# shellcheck source=tests/system/lib.sh
. "$(dirname "$0")/lib.sh"

cluster_up --servers 1
cat >"$tmp/pods.yaml" <<-'EOP'
	apiVersion: v1
	kind: Pod
	metadata: {name: p}
	spec:
	  terminationGracePeriodSeconds: 1
	  containers:
	  - name: c
	    image: busybox
	    command: [sleep, "98765"]
	    resources: {requests: {cpu: 100m, memory: 32Mi}, limits: {cpu: 200m, memory: 64Mi}}
	  - name: again
	    image: busybox
	    command: [sleep, "98765"]
	    resources: {requests: {memory: 16Mi}, limits: {memory: 32Mi}}
	    resizePolicy: [{resourceName: memory, restartPolicy: RestartContainer}]
	---
	apiVersion: v1
	kind: Pod
	metadata: {name: plain}
	spec:
	  terminationGracePeriodSeconds: 1
	  containers:
	  - {name: c, image: busybox, command: [sleep, "98765"]}
	---
	apiVersion: v1
	kind: Pod
	metadata: {name: whole}
	spec:
	  terminationGracePeriodSeconds: 1
	  resources: {limits: {cpu: 200m, memory: 64Mi}}
	  containers:
	  - {name: shares, image: busybox, command: [sleep, "98765"]}
	  - {name: own, image: busybox, command: [sleep, "98765"], resources: {limits: {memory: 16Mi}}}
EOP
field() { k get pod p -o "jsonpath=$1"; }
of() { field "{.status.containerStatuses[?(@.name=='$1')]$2}"; }
condition() { field "{.status.conditions[?(@.type=='$1')]$2}"; }
# The first of these files that is there in the container: cgroup v1, cgroup v2.
group() { k exec p -c "$1" -- sh -c "cat /sys/fs/cgroup/$2 2>/dev/null || cat /sys/fs/cgroup/$3"; }
memory_of() { group "$1" memory/memory.limit_in_bytes memory.max; }
quota_of() { group "$1" cpu/cpu.cfs_quota_us cpu.max | cut -d' ' -f1; }
# resize POD CONTAINER RESOURCES: as kubectl patch --subresource resize does it, which old ones cannot.
resize() {
	k patch pod "$1" --subresource resize -p "{\"spec\":{\"containers\":[{\"name\":\"$2\",\"resources\":$3}]}}"
}
whole() { k get pod whole -o "jsonpath=$1"; }
resize_whole() { k patch pod whole --subresource resize -p "{\"spec\":{\"resources\":$1}}"; }
in_whole() { k exec whole -c "$1" -- sh -c "cat /sys/fs/cgroup/$2 2>/dev/null || cat /sys/fs/cgroup/$3"; }
# Of the control group of the pod itself.
whole_group() {
	find /sys/fs/cgroup -type d -name "pod$(whole '{.metadata.uid}')" 2>/dev/null | while read -r dir; do
		cat "$dir/$1" "$dir/$2" 2>/dev/null
	done | cut -d' ' -f1
}
whole_memory() { whole_group memory.limit_in_bytes memory.max; }
whole_quota() { whole_group cpu.cfs_quota_us cpu.max; }
reasons() { k get events --field-selector involvedObject.name=p -o jsonpath='{.items[*].reason}'; }

t "pods" k apply -f "$tmp/pods.yaml"
t "run" k wait --for=condition=Ready pod/p pod/plain pod/whole --timeout=300s
soon "the status says what it was given" is 100m of c .allocatedResources.cpu
soon "and what it runs with" is 64Mi of c .resources.limits.memory
soon "a limit of memory" is 67108864 memory_of c
soon "a limit of cpu" is 20000 quota_of c
id=$(of c .containerID)
started=$(of c .state.running.startedAt)

t "up" resize p c '{"requests":{"cpu":"200m"},"limits":{"cpu":"500m","memory":"96Mi"}}'
t "memory in the control group" until_ok 40 is 100663296 memory_of c
t "cpu in the control group" until_ok 40 is 50000 quota_of c
t "given" until_ok 30 is 200m of c .allocatedResources.cpu
t "runs with" until_ok 30 is 96Mi of c .resources.limits.memory
t "the same container" is "$id" of c .containerID
t "was not restarted" is "0 $started" field "{.status.containerStatuses[?(@.name=='c')].restartCount} {.status.containerStatuses[?(@.name=='c')].state.running.startedAt}"
t "nothing is under way any more" until_ok 30 is "" condition PodResizeInProgress .status
t "generation" is 2 field '{.metadata.generation}'
t "is seen by the kubelet" until_ok 60 is 2 field '{.status.observedGeneration}'
t "events" until_ok 60 has_line 'ResizeStarted.*ResizeCompleted|ResizeCompleted.*ResizeStarted' reasons

t "down" resize p c '{"requests":{"cpu":"50m"},"limits":{"cpu":"100m","memory":"48Mi"}}'
t "memory in the control group" until_ok 40 is 50331648 memory_of c
t "cpu in the control group" until_ok 40 is 10000 quota_of c
t "the same container" is "$id" of c .containerID

t "a container that wants to be restarted for it" resize p again '{"limits":{"memory":"40Mi"}}'
t "is restarted" until_ok 60 is 1 of again .restartCount
t "and has it" until_ok 40 is 41943040 memory_of again
t "its neighbour runs on" is "$id" of c .containerID

t "more than the node has" resize p c '{"requests":{"cpu":"1000"},"limits":{"cpu":"1000"}}'
t "is infeasible" until_ok 40 is Infeasible condition PodResizePending .reason
soon_out "and says why" 'enough capacity: cpu, requested: 1000000' condition PodResizePending .message
soon "of which generation" is 5 condition PodResizePending .observedGeneration
t "what it has stays" is 50m of c .allocatedResources.cpu

# --- a pod with resources as a whole
t "what it leaves out comes from its limits, or its containers" is "200m 16Mi Burstable" \
	whole '{.spec.resources.requests.cpu} {.spec.resources.requests.memory} {.status.qosClass}'
soon "what it was given" is "200m 64Mi" whole '{.status.allocatedResources.cpu} {.status.resources.limits.memory}'
soon "its control group has its memory" is 67108864 whole_memory
soon "and its cpu" is 20000 whole_quota
soon "a container without a limit shares it" is 67108864 in_whole shares memory/memory.limit_in_bytes memory.max
soon "one with a limit keeps that" is 16777216 in_whole own memory/memory.limit_in_bytes memory.max
soon "which is all that its status says" is 16Mi whole '{.status.containerStatuses[*].resources.limits.memory}'
ids=$(whole '{.status.containerStatuses[*].containerID}')
t "more for the pod" resize_whole '{"limits":{"cpu":"400m","memory":"96Mi"}}'
t "comes to its control group" until_ok 40 is 100663296 whole_memory
t "with its cpu" until_ok 40 is 40000 whole_quota
t "and to the container that shares it" until_ok 40 is 100663296 in_whole shares memory/memory.limit_in_bytes memory.max
soon "not to the other" is 16777216 in_whole own memory/memory.limit_in_bytes memory.max
soon "what it runs with" is "96Mi 400m" whole '{.status.resources.limits.memory} {.status.resources.limits.cpu}'
soon "nothing is under way any more" is "" whole '{.status.conditions[?(@.type=="PodResizeInProgress")].status}'
t "no container was restarted" is "$ids 0 0" whole '{.status.containerStatuses[*].containerID} {.status.containerStatuses[*].restartCount}'
t "more than the node has, for the pod" resize_whole '{"requests":{"cpu":"1000"},"limits":{"cpu":"1001"}}'
t "is infeasible" until_ok 40 is Infeasible whole '{.status.conditions[?(@.type=="PodResizePending")].reason}'
soon "what it has stays" is "200m 40000" eval 'echo "$(whole "{.status.allocatedResources.cpu}") $(whole_quota)"'
t_err "its containers must fit" 'must be greater than or equal to aggregate container requests of 16Mi' resize_whole '{"requests":{"memory":"8Mi"}}'

# --- a new agent remembers what was given, and does not give what was refused
t "the node's program is killed" node kill server-1
t "and started" node start server-1
t "exec works again" until_ok 60 k exec p -c c -- true
soon "the pod has what it had" is 10000 quota_of c
t "still infeasible" until_ok 40 is Infeasible condition PodResizePending .reason
soon "given is what was given" is 50m of c .allocatedResources.cpu
soon "so is what the pod as a whole was" is "200m 96Mi" whole '{.status.allocatedResources.cpu} {.status.resources.limits.memory}'
t "less for the pod" resize_whole '{"requests":{"cpu":"100m"},"limits":{"cpu":"300m","memory":"48Mi"}}'
t "comes to it" until_ok 60 is 50331648 whole_memory
t "and its containers" until_ok 60 is 50331648 in_whole shares memory/memory.limit_in_bytes memory.max
t "taken back" resize p c '{"requests":{"cpu":"60m"},"limits":{"cpu":"120m"}}'
t "no longer pending" until_ok 40 is "" condition PodResizePending .reason
t "comes to the container" until_ok 40 is 12000 quota_of c
soon "the same container runs on" is "$id" of c .containerID

# --- what is in use is not taken away
cat >"$tmp/full.yaml" <<-'EOP'
	apiVersion: v1
	kind: Pod
	metadata: {name: full}
	spec:
	  terminationGracePeriodSeconds: 1
	  containers:
	  - name: c
	    image: busybox
	    command: [sh, -c, "x=$(head -c 30000000 /dev/zero | tr '\\0' x); echo held; sleep 98765 & wait"]
	    resources: {requests: {memory: 8Mi}, limits: {memory: 256Mi}}
EOP
full() { k get pod full -o "jsonpath=$1"; }
t "a pod that holds memory" k apply -f "$tmp/full.yaml"
t "holds it" until_ok 60 has_line '^held$' k logs full
t "less than it holds" resize full c '{"limits":{"memory":"12Mi"}}'
t "is an error" until_ok 40 is Error full '{.status.conditions[?(@.type=="PodResizeInProgress")].reason}'
soon_out "that says why" 'memory limit \(12582912\) below current usage' full '{.status.conditions[?(@.type=="PodResizeInProgress")].message}'
t "it runs on with what it had" is "0 256Mi" full '{.status.containerStatuses[0].restartCount} {.status.containerStatuses[0].resources.limits.memory}'
t "enough" resize full c '{"limits":{"memory":"200Mi"}}'
t "comes to it" until_ok 70 is 200Mi full '{.status.containerStatuses[0].resources.limits.memory}'
t "and the error goes" until_ok 40 is "" full '{.status.conditions[?(@.type=="PodResizeInProgress")].reason}'

t_err "the class of a pod does not change" 'Pod QOS Class may not change as a result of resizing' resize plain c '{"requests":{"cpu":"10m"}}'
t_err "nothing is taken away" 'resource limits cannot be removed' resize p c '{"limits":{"cpu":null}}'
t_err "the pod itself is not resized" 'pod updates may not change fields' \
	k patch pod p -p '{"spec":{"containers":[{"name":"c","resources":{"limits":{"cpu":"1"}}}]}}'
cluster_down
