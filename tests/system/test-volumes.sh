#!/bin/bash
# Claims and volumes: a stateful set whose data outlive pods and servers, reclaiming, and volumes made by hand.
# shellcheck source=tests/system/lib.sh
. "$(dirname "$0")/lib.sh"

cluster_up --servers 3
until_ok 90 nodes_ready 3 >/dev/null || not_ok "three nodes are ready"

make_set() {
	k apply -f - <<'YAML'
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  serviceName: db
  replicas: 2
  podManagementPolicy: Parallel
  persistentVolumeClaimRetentionPolicy: {whenDeleted: Delete, whenScaled: Retain}
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: c
        image: busybox:1.35
        command: [sh, -c, "hostname >>/data/names; trap 'exit 0' TERM; while :; do sleep 1; done"]
        volumeMounts: [{name: data, mountPath: /data}, {name: data, mountPath: /ro, subPath: sub, readOnly: true}]
  volumeClaimTemplates:
  - metadata: {name: data}
    spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 10Mi}}}
YAML
}
# make_pod NAME CLAIM COMMAND
make_pod() {
	k apply -f - <<YAML
apiVersion: v1
kind: Pod
metadata: {name: $1}
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 1
  containers:
  - {name: c, image: "busybox:1.35", command: [sh, -c, "$3"], volumeMounts: [{name: v, mountPath: /v}]}
  volumes: [{name: v, persistentVolumeClaim: {claimName: $2}}]
YAML
}
# by_hand NAME CLASS PATH: a volume and a claim of the same name for it.
by_hand() {
	k apply -f - <<YAML
apiVersion: v1
kind: PersistentVolume
metadata: {name: $1}
spec:
  capacity: {storage: 1Gi}
  accessModes: [ReadWriteOnce]
  storageClassName: $2
  hostPath: {path: $3, type: DirectoryOrCreate}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: $1}
spec: {accessModes: [ReadWriteOnce], storageClassName: $2, resources: {requests: {storage: 1Mi}}}
YAML
}
names_in() { k exec db-0 -- cat /data/names | wc -l; }
volume_of() { k get pvc "data-db-$1" -o jsonpath='{.spec.volumeName}'; }
folder_of() { k get pv "$1" -o jsonpath='{.spec.local.path}'; }
not_there() { [ ! -e "$1" ]; }
no_volumes() { [ -z "$(k get pv -o name)" ]; }

t_out "there is a default class" 'local-path.*kontiki.dev/local-path.*Delete.*WaitForFirstConsumer' k get storageclass
t "make a stateful set" make_set
t "its pods run" k rollout status sts/db --timeout=300s
soon_out "its claims are bound" '^Bound Bound' k get pvc -o jsonpath='{.items[*].status.phase}{"\n"}'
pv=$(volume_of 0)
path=$(folder_of "$pv")
soon "the volume is a directory of the node" test -f "$path/names"
t_err "a read-only mount is one" 'Read-only' k exec db-0 -- touch /ro/x
t "the subPath is in the volume" test -d "$path/sub"

t "delete the pod" k delete pod db-0
# kubectl wait waits for no pod that is not there yet.
t "it is back" until_ok 90 k wait --for=condition=ready pod/db-0 --timeout=300s
soon "with its data" is 2 names_in
t "and its volume" is "$pv" volume_of 0

t_err "a volume in use does not go by itself" 'timed out' k delete pv "$pv" --timeout=2s
t "the data are there" test -f "$path/names"

server=$(k get pod db-0 -o jsonpath='{.spec.nodeName}')
t "kill the pod's server, containers too" node kill "$server" --machine
t "start it" node start "$server"
t "the pod is ready again" until_ok 90 k wait --for=condition=ready pod/db-0 --timeout=300s
t "its data are there" until_ok 40 has_line '^db-0' k exec db-0 -- cat /data/names

t "a pod whose claim is missing" make_pod lost nothing true
t "says so" until_ok 40 has_line 'persistentvolumeclaim "nothing" not found' k get pod lost -o jsonpath='{.status.conditions[*].message}{"\n"}'
t "a claim that nothing provides" k apply -f - <<'YAML'
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: none}
spec: {accessModes: [ReadWriteOnce], storageClassName: "", resources: {requests: {storage: 1Gi}}}
YAML
t "a pod that wants it" make_pod waits none true
t "says so" until_ok 40 has_line 'pod has unbound immediate PersistentVolumeClaims' k get pod waits -o jsonpath='{.status.conditions[*].message}{"\n"}'

mkdir -p "$tmp/hand"
t "a volume by hand and its claim" by_hand hand manual "$tmp/hand/v"
t "are bound" k wait --for=jsonpath='{.status.phase}'=Bound pvc/hand pv/hand --timeout=300s
t "a pod writes to it" make_pod writer hand "echo hi >/v/hi"
t "and completes" k wait --for=jsonpath='{.status.phase}'=Succeeded pod/writer --timeout=300s
t "the data are there" is hi cat "$tmp/hand/v/hi"
t "delete pod and claim" k delete pod/writer pvc/hand --timeout=300s
t "the volume is released" k wait --for=jsonpath='{.status.phase}'=Released pv/hand --timeout=300s
t "delete it" k delete pv hand --timeout=300s
t "the data stay" is hi cat "$tmp/hand/v/hi"

t "delete the stateful set" k delete sts db
t "its volumes go" until_ok 90 no_volumes
t "and their directories" until_ok 90 not_there "$path"
