#!/bin/bash
# A node that runs out of disk or memory, or is told so by its thresholds: unused images are removed and told of, pods that take more
# than they may are evicted.
# tmp, cluster and the like come from lib.sh.
# shellcheck disable=SC2154
. "$(dirname "$0")/lib.sh"

# Unused images go at once, however empty the disk is.
export KONTIKI_IMAGE_GC_HIGH_THRESHOLD=1 KONTIKI_IMAGE_GC_LOW_THRESHOLD=0 KONTIKI_MINIMUM_IMAGE_TTL_DURATION=10s
cluster_up --servers 1

containerd() { ctr -a "$cluster_dir/server-1/agent/containerd/containerd.sock" -n k8s.io "$@"; }

# --- images

told_images() { k get node server-1 -o jsonpath='{range .status.images[*]}{.sizeBytes} {.names}{"\n"}{end}'; }
# The command succeeds, and no line of it matches.
has_no_line() {
	local out
	out=$("${@:2}" 2>&1) || { echo "$out"; return 1; }
	! grep -Eq -- "$1" <<<"$out" || { echo "$out"; return 1; }
}
events_of() { # KIND NAME
	k get events -n default --field-selector "involvedObject.kind=$1,involvedObject.name=$2" -o jsonpath='{range .items[*]}{.type} {.reason} {.message}{"\n"}{end}'
}

# An image that nothing uses and that came from no archive of the node's: one file of 3 MB.
python3 - "$tmp/unused.tar" <<'PY'
import hashlib, io, json, sys, tarfile
def add(tar, name, data):
    info = tarfile.TarInfo(name)
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))
layer = io.BytesIO()
with tarfile.open(fileobj=layer, mode="w") as t:
    add(t, "blob", b"x" * 3000000)
layer = layer.getvalue()
config = json.dumps({"architecture": "amd64", "os": "linux", "config": {},
    "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(layer).hexdigest()]}}).encode()
with tarfile.open(sys.argv[1], "w") as t:
    add(t, "layer.tar", layer)
    add(t, "config.json", config)
    add(t, "manifest.json", json.dumps([{"Config": "config.json", "RepoTags": ["example.com/unused:1"], "Layers": ["layer.tar"]}]).encode())
PY
snapshotter=$(containerd images ls >/dev/null 2>&1 && sed -n 's/^ *snapshotter = "\(.*\)"/\1/p' "$cluster_dir/server-1/agent/containerd/config.toml")
soon "the runtime answers" containerd version
t "an image is imported" containerd images import --snapshotter "$snapshotter" "$tmp/unused.tar"
# It may be removed before somebody has looked: then it comes again.
told_of() { has_line '^3[0-9]* .*example.com/unused' told_images || { containerd images import --snapshotter "$snapshotter" "$tmp/unused.tar" >/dev/null && false; }; }
soon "it is told of" told_of
soon "an image that nothing uses is removed when its disk is fuller than the threshold" has_no_line example.com/unused containerd images ls -q
soon "and told of no more" has_no_line example.com/unused told_images
soon_out "images of the node's own archives stay, used or not" '^[0-9]+ .*docker.io/library/busybox' told_images
soon_out "that there is not enough to remove is an event of the Node" '^Warning FreeDiskSpaceFailed Insufficient free disk space on the node.s image filesystem' events_of Node server-1

# --- limits of a pod's own

pod() { # NAME COMMAND [LINES OF THE CONTAINER AND THE SPEC]
	cat <<-EOP
		apiVersion: v1
		kind: Pod
		metadata: {name: $1}
		spec:
		  terminationGracePeriodSeconds: 1
		  containers:
		  - name: c
		    image: busybox
		    command: [sh, -c, "$2; sleep 98765"]
		${3:-}
		---
	EOP
}
mount='    volumeMounts: [{name: v, mountPath: /v}]
  volumes: [{name: v, emptyDir: {sizeLimit: 2Mi}}]'
{
	pod volume 'dd if=/dev/zero of=/v/f bs=1M count=4' "$mount"
	pod volume-fits 'dd if=/dev/zero of=/v/f bs=1M count=1' "$mount"
	pod layer 'dd if=/dev/zero of=/f bs=1M count=5' '    resources: {limits: {ephemeral-storage: 2Mi}}
  - {name: other, image: busybox, command: [sleep, "98765"], resources: {limits: {ephemeral-storage: 100Mi}}}'
	pod whole 'dd if=/dev/zero of=/v/f bs=1M count=5' '    resources: {limits: {ephemeral-storage: 3Mi}}
    volumeMounts: [{name: v, mountPath: /v}]
  volumes: [{name: v, emptyDir: {}}]'
} >"$tmp/limits.yaml"
state_of() { k get pod "$1" -o jsonpath='{.status.phase} {.status.reason}: {.status.message}'; }
t "pods with limits of their storage" k apply -f "$tmp/limits.yaml"
soon_out "an emptyDir over its sizeLimit" '^Failed Evicted: Usage of EmptyDir volume "v" exceeds the limit "2Mi". $' state_of volume
soon_out "a container over its limit" '^Failed Evicted: Container c exceeded its local ephemeral storage limit "2Mi". $' state_of layer
soon_out "a pod over that of all its containers" '^Failed Evicted: Pod ephemeral local storage usage exceeds the total limit of containers 3Mi. $' state_of whole
soon_out "an event tells it" '^Warning Evicted Usage of EmptyDir volume "v" exceeds the limit "2Mi".' events_of Pod volume
soon_out "one that is within its limit runs on" '^Running : $' state_of volume-fits
uid=$(k get pod volume -o jsonpath='{.metadata.uid}')
soon "what the volume of a pod that is over held is gone" not test -e "$cluster_dir/server-1/agent/pods/$uid/volumes"
t_out "the node has ephemeral storage to give" '^[0-9]+$' k get node server-1 -o 'jsonpath={.status.allocatable.ephemeral-storage}'
pod too-much true '    resources: {requests: {ephemeral-storage: 900Ti}}' | k apply -f - >/dev/null
soon_out "more of it than it has is not scheduled" 'Insufficient ephemeral-storage' k get pod too-much -o 'jsonpath={.status.conditions[*].message}'

# --- pressure

again() { # THRESHOLDS: the node's agent with these
	export KONTIKI_EVICTION_HARD=$1
	t "the node stops" node stop server-1
	t "and starts with $1" node start server-1
	soon "the API is there" k get --raw /readyz
}
condition() { k get node server-1 -o "jsonpath={.status.conditions[?(@.type=='$1')].status} {.status.conditions[?(@.type=='$1')].reason} {.status.conditions[?(@.type=='$1')].message}"; }
taints() { k get node server-1 -o 'jsonpath={.spec.taints[*].key}'; }
direct_pod() { # NAME [LINES]: bound without asking the scheduler
	pod "$1" true "  nodeName: server-1
${2:-}"
}
t "the pods so far go" k delete pod --all --wait
{
	pod plain true
	pod critical true '  priorityClassName: system-node-critical'
} >"$tmp/pods.yaml"
t "a plain pod and a critical one" k apply -f "$tmp/pods.yaml"
t "run" k wait --for=condition=Ready pod/plain pod/critical --timeout=300s
again 'nodefs.available<99.9%'
soon_out "a node whose disk is too full says so, and why" '^True KubeletHasDiskPressure kubelet has disk pressure: nodefs.available is .*less than the threshold of' condition DiskPressure
soon_out "a taint follows" node.kubernetes.io/disk-pressure taints
soon_out "a pod is evicted" '^Failed Evicted: The node was low on resource: ephemeral-storage. Threshold quantity: .*, available: ' state_of plain
soon_out "as a target of disruption" '^True TerminationByKubelet$' k get pod plain -o 'jsonpath={.status.conditions[?(@.type=="DisruptionTarget")].status} {.status.conditions[?(@.type=="DisruptionTarget")].reason}'
soon_out "with an event of the Node" '^Warning EvictionThresholdMet Attempting to reclaim ephemeral-storage' events_of Node server-1
soon_out "and one of the condition" '^Normal NodeHasDiskPressure' events_of Node server-1
direct_pod late | k apply -f - >/dev/null
soon_out "a new pod is refused" '^Failed Evicted: Pod was rejected: The node had condition: \[DiskPressure\]. $' state_of late
soon_out "a critical one stays" '^Running : $' state_of critical
again 'memory.available<99.9%'
soon_out "one whose memory is short" '^True KubeletHasInsufficientMemory' condition MemoryPressure
soon_out "has disk again" '^False KubeletHasNoDiskPressure kubelet has no disk pressure$' condition DiskPressure
direct_pod best-effort | k apply -f - >/dev/null
soon_out "refuses pods that ask for nothing" '^Failed Evicted: Pod was rejected: The node had condition: \[MemoryPressure\]. $' state_of best-effort
direct_pod tolerant '  tolerations: [{key: node.kubernetes.io/memory-pressure, operator: Exists}]' | k apply -f - >/dev/null
soon_out "takes those that tolerate it, and then evicts them" '^Failed Evicted: The node was low on resource: memory. Threshold quantity: ' state_of tolerant
soon_out "but not a critical one" '^Running : $' state_of critical
again 'memory.available<1Mi'
soon_out "the pressure is over" '^False KubeletHasSufficientMemory kubelet has sufficient memory available$' condition MemoryPressure
pod after true | k apply -f - >/dev/null
t "pods run again" k wait --for=condition=Ready pod/after --timeout=300s
