#!/bin/bash
# Custom resources on three servers: a definition is applied, its objects live the life of any other, the leader is
# killed on the way, and with the definition everything of it goes.
# shellcheck source=tests/system/lib.sh
. "$(dirname "$0")/lib.sh"

cat >"$tmp/crd.yaml" <<'EOF'
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: crontabs.stable.example.com}
spec:
  group: stable.example.com
  scope: Namespaced
  names: {plural: crontabs, singular: crontab, kind: CronTab, shortNames: [ct]}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            required: [cronSpec]
            properties:
              cronSpec: {type: string, description: When to run., pattern: '^[0-9*/ ]+$'}
              image: {type: string, default: busybox}
              replicas: {type: integer, minimum: 0, maximum: 10}
          status:
            type: object
            properties:
              replicas: {type: integer}
              phase: {type: string}
    subresources:
      status: {}
      scale: {specReplicasPath: .spec.replicas, statusReplicasPath: .status.replicas}
    additionalPrinterColumns:
    - {name: Spec, type: string, jsonPath: .spec.cronSpec}
    - {name: Replicas, type: integer, jsonPath: .spec.replicas}
    - {name: Age, type: date, jsonPath: .metadata.creationTimestamp}
EOF
tab() { # NAME REPLICAS [MORE]
	printf 'apiVersion: stable.example.com/v1\nkind: CronTab\nmetadata: {name: %s}\nspec: {cronSpec: "* * *", replicas: %s%s}\n' "$@"
}
path() { k get crontab "$1" -o "jsonpath={$2}"; }
forgotten() { fails_with NotFound direct "$1" get --raw /apis/stable.example.com; }
namespace_gone() { ! k get namespace tabs >/dev/null 2>&1; }

cluster_up --servers 3
t "there is a leader" until_ok 30 has_leader
t_out "the definition is applied" created k apply -f "$tmp/crd.yaml"
t "it is established" k wait --for=condition=Established --timeout=300s crd/crontabs.stable.example.com
for s in $(servers); do
	t "$s serves it at once" direct "$s" get --raw /apis/stable.example.com/v1/namespaces/default/crontabs
done
tab a 2 >"$tmp/a.yaml"
t_out "apply an object" 'crontab.stable.example.com/a created' k apply -f "$tmp/a.yaml"
t_out "apply it again" unchanged k apply -f "$tmp/a.yaml"
t_out "its columns" 'a  *\* \* \*  *2 ' k get ct
t "the default is filled in" is busybox path a .spec.image
t_out "explain" 'When to run' k explain crontab.spec.cronSpec
tab b 11 >"$tmp/b.yaml"
t_err "a wrong value is refused" 'should be less than or equal to 10' k apply -f "$tmp/b.yaml"
tab b 1 ', colour: red' >"$tmp/b.yaml"
t_err "an unknown field is refused" 'unknown field "spec.colour"' k apply -f "$tmp/b.yaml"
tab b 1 >"$tmp/b.yaml"
t_out "apply on the server" 'serverside-applied' k apply --server-side -f "$tmp/b.yaml"
t "patch" k patch crontab a --type=merge -p '{"spec":{"image":"nginx"}}'
t "patch the status" k patch crontab a --subresource=status --type=merge -p '{"status":{"phase":"Fine","replicas":2}}'
t "the status has it" is Fine path a .status.phase
t "scale" k scale crontab a --replicas=5
t "it is scaled" is 5 path a .spec.replicas

# Not through a function: the process that is killed must be the one that ends it.
"$KUBECTL" --kubeconfig "$tmp/kubeconfig" --cache-dir "$tmp/kube-cache" get crontabs --watch -o name >"$tmp/watch.out" 2>&1 &
background+=($!)
saw() { grep -q "crontab.stable.example.com/$1" "$tmp/watch.out"; }
t "a watch shows what is there" until_ok 30 saw a

# One name, wanted of three servers at one time: it is given out once.
rival() { # SERVER NAME
	sed "s/crontabs/$2/; s/stable.example.com/rivals.example.com/; s/shortNames: .ct./shortNames: []/; s/singular: crontab/singular: $2x/" "$tmp/crd.yaml" |
		sed "s/plural: crontabs/plural: $2/" | direct "$1" apply -f -
}
rivals() {
	local i s pids=()
	for i in 1 2 3 4 5; do
		for s in $(servers); do
			until_ok 30 rival "$s" "r$i${s#server-}" >/dev/null &
			pids+=($!)
		done
	done
	wait "${pids[@]}"
	until_ok 30 one_is_served
}
one_is_served() {
	k get crd -o json | jq -e '[.items[] | select(.spec.group == "rivals.example.com")] | length == 15
		and ([.[] | select(any(.status.conditions[]; .type == "Established" and .status == "True"))] | length) == 1' >/dev/null ||
		{ k get crd -o json | jq -c '.items[] | [.metadata.name, .status.conditions]'; return 1; }
}
t "a kind that fifteen definitions want is given to one of them" rivals

old=$(leader)
t "the leader $old is killed" node kill "$old"
t "there is a new leader" until_ok 30 new_leader "$old"
tab c 3 >"$tmp/c.yaml"
t "an object is made without it" until_ok 40 k apply -f "$tmp/c.yaml"
t "the objects are there" is 5 path a .spec.replicas
t "$old comes back" node start "$old"
t "and serves what was written without it" until_ok 30 direct "$old" get crontab c

k create namespace tabs >/dev/null
t "an object in a namespace" k -n tabs apply -f "$tmp/a.yaml"
t "which is deleted" k delete namespace tabs --wait=false
t "the namespace goes with its custom objects" until_ok 60 namespace_gone

t "the definition is deleted" k delete crd crontabs.stable.example.com --timeout=300s
for s in $(servers); do t "$s forgets its group" until_ok 30 forgotten "$s"; done
t_err "so is its kind" "doesn't have a resource type|could not find the requested resource" k get crontabs
t "it can be made again" k apply -f "$tmp/crd.yaml"
t "it is established again" k wait --for=condition=Established --timeout=300s crd/crontabs.stable.example.com
t_out "and has no objects" 'No resources found' k get crontabs

# A definition whose webhook does not exist, and objects that lie in a version that it would have to convert.
lamps() { # STORED OTHER: the definition
	cat <<YAML
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: lamps.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: lamps, singular: lamp, kind: Lamp}
  conversion:
    strategy: Webhook
    webhook: {conversionReviewVersions: [v1], clientConfig: {url: "https://127.0.0.1:1/convert"}}
  versions:
  - {name: $1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}
  - {name: $2, served: true, storage: false, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}
YAML
}
lamp() { # NAME [OWNER]
	local owner=${2:+", ownerReferences: [{apiVersion: v1, kind: ConfigMap, name: owner, uid: $2}]"}
	printf 'apiVersion: example.com/v1beta1\nkind: Lamp\nmetadata: {name: %s%s}\nspec: {watts: 3}\n' "$1" "$owner"
}
lamp_gone() { ! k get lamps.v1beta1.example.com "$@" -o name >/dev/null 2>&1; }
lamps v1beta1 v1 >"$tmp/lamps.yaml"
t "a definition whose webhook is not there" k apply -f "$tmp/lamps.yaml"
t "it is established, too" k wait --for=condition=Established --timeout=300s crd/lamps.example.com
k create namespace lit >/dev/null
k create configmap owner >/dev/null
for n in plain "owned $(k get configmap owner -o 'jsonpath={.metadata.uid}')"; do
	# shellcheck disable=SC2086
	lamp $n >"$tmp/lamp.yaml"
	t "an object in its stored version: ${n%% *}" k apply -f "$tmp/lamp.yaml"
done
lamp plain >"$tmp/lamp.yaml"
t "and one in a namespace" k -n lit apply -f "$tmp/lamp.yaml"
lamps v1 v1beta1 >"$tmp/lamps.yaml"
t "another version is stored from now on" k apply -f "$tmp/lamps.yaml"
t_err "what lies in the old one cannot be read in the new one" 'conversion webhook for .* failed' k get lamps.v1.example.com plain
k delete configmap owner >/dev/null
t "an owner is deleted, and what it owned goes with it" until_ok 60 lamp_gone owned
t "the namespace is deleted" k delete namespace lit --timeout=300s
t "the definition is deleted, with what is left" k delete crd lamps.example.com --timeout=300s
