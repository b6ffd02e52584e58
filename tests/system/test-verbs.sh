#!/bin/bash
# kontiki's own client commands on a real cluster, and side by side with kubectl: the same words, the same exit status. The
# comparison needs a kubectl of about our age (1.30 or later); older ones word some things otherwise.
# shellcheck source=tests/system/lib.sh
. "$(dirname "$0")/lib.sh"

# The same lines in any order: several pods' logs come as they come.
same_lines() { t "same lines as kubectl: $*" same_lines_output "$@"; }
same_lines_output() {
	local try
	for try in 1 2 3 4 5 6 7 8; do
		k "$@" 2>&1 | sort >"$tmp/out1"
		kk "$@" 2>&1 | sort >"$tmp/out2"
		cmp -s "$tmp/out1" "$tmp/out2" && return 0
	done
	echo "(try $try)"
	diff -u "$tmp/out1" "$tmp/out2"
	return 1
}
# same ARGUMENTS...: kubectl and kontiki say the same. An age may tick between the two, hence some tries; on a machine where one takes longer
# than a second it always does, so in the end the numbers of ages are not looked at.
same() { t "same as kubectl: $*" same_output "$@"; }
same_output() {
	local try rc1 rc2
	for try in 1 2 3 4 5 6 7 8; do
		k "$@" >"$tmp/out1" 2>"$tmp/err1"
		rc1=$?
		kk "$@" >"$tmp/out2" 2>"$tmp/err2"
		rc2=$?
		[ $rc1 = $rc2 ] && cmp -s "$tmp/out1" "$tmp/out2" && cmp -s "$tmp/err1" "$tmp/err2" && return 0
	done
	[ $rc1 = $rc2 ] && cmp -s "$tmp/err1" "$tmp/err2" && cmp -s <(without_ages <"$tmp/out1") <(without_ages <"$tmp/out2") && return 0
	echo "status: kubectl $rc1, kontiki $rc2 (try $try)"
	diff -u "$tmp/out1" "$tmp/out2"
	diff -u "$tmp/err1" "$tmp/err2"
	return 1
}
without_ages() { sed -E 's/\b[0-9]+[smhd]([0-9]+[smh])?\b/AGE/g; s/ +/ /g'; }
recent_kubectl() {
	local minor
	minor=$(k version --client -o json 2>/dev/null | grep -o '"gitVersion": *"v1\.[0-9]*' | grep -o '[0-9]*$' | head -n 1)
	[ "${minor:-0}" -ge 30 ]
}
# With a terminal of 24 x 80.
tty() { timeout 240 script -qec "stty rows 24 cols 80; $*" /dev/null </dev/null; }

cluster_up --servers 1
export KUBECONFIG=$tmp/kubeconfig
t "the node is ready" kk wait node --all --for=condition=Ready --timeout=300s

# --- making and changing
t_out "create namespace" 'namespace/verbs created' kk create namespace verbs
t_err "create it again" 'AlreadyExists' kk create namespace verbs
t_out "apply" 'deployment.apps/nginx-deployment created' kk apply -f "$root/examples/nginx-deployment.yaml"
t_out "apply again" 'deployment.apps/nginx-deployment unchanged' kk apply -f "$root/examples/nginx-deployment.yaml"
t_out "kubectl apply after ours" 'unchanged' k apply -f "$root/examples/nginx-deployment.yaml"
apply_stdin() { kk -n verbs apply -f - <"$root/examples/myapp-pod.yaml"; }
t "apply from stdin" apply_stdin
t_out "apply several documents" 'secret/app-secret created' kk apply -f "$root/examples/config-consumer.yaml"
t_out "create" 'created' kk create -f "$root/examples/nginx-service.yaml"
printf 'apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: c, image: x, colour: red}]}\n' >"$tmp/bad.yaml"
t_err "apply an unknown field" 'unknown field "spec.containers\[0\].colour"' kk apply -f "$tmp/bad.yaml"
t "wait for the pods" kk wait pod --all --for=condition=Ready --timeout=300s
t "wait for the Deployment's" kk wait deploy/nginx-deployment --for=jsonpath='{.status.readyReplicas}'=2 --timeout=300s
t "wait in a namespace" kk wait -n verbs pod/myapp-pod --for=jsonpath='{.status.phase}'=Running --timeout=300s
t_out "label" 'pod/myapp-pod labeled' kk -n verbs label pod myapp-pod tier=test
t_err "label it otherwise" 'already has a value' kk -n verbs label pod myapp-pod tier=other
t_out "annotate" 'annotated' kk -n verbs annotate pod myapp-pod note='hello there'
t_out "unlabel" 'unlabeled' kk -n verbs label pod myapp-pod tier-

# --- looking
t_out "get" '^nginx-deployment +2/2' kk get deploy
t_out "get -o jsonpath" '^nginx:1.14.2$' kk get deploy nginx-deployment -o jsonpath='{.spec.template.spec.containers[0].image}'
t_out "version" '^Server Version: v1\.' kk version
t_out "api-resources" '^deployments +deploy +apps/v1 +true +Deployment' kk api-resources
soon_out "logs" 'Hello Kubernetes!' kk -n verbs logs myapp-pod
t_err "logs of no pod" 'NotFound' kk logs nobody
(exec "$KONTIKI" get pods -w) >"$tmp/watch.out" 2>&1 &
background+=($!)
t "get -w shows what is there" until_ok 30 grep nginx-deployment "$tmp/watch.out"
t_out "scale" 'scaled' kk scale deploy/nginx-deployment --replicas=3
t "wait for the scale" kk wait deploy/nginx-deployment --for=jsonpath='{.status.readyReplicas}'=3 --timeout=300s
t "get -w saw the new pod begin" until_ok 30 grep ContainerCreating "$tmp/watch.out"

# --- inside of a pod
t_out "exec" '^hi$' kk -n verbs exec myapp-pod -- echo hi
exits_with() {
	local want=$1
	shift
	"$@"
	[ $? = "$want" ]
}
t "exec's exit status is the command's" exits_with 7 kk -n verbs exec myapp-pod -- sh -c "exit 7"
head -c 3000000 /dev/urandom >"$tmp/data"
# shellcheck disable=SC2094
through_cat() { kk -n verbs exec -i myapp-pod -- cat <"$tmp/data" | cmp - "$tmp/data"; }
t "exec -i: what goes in comes out, and ends" through_cat
# The size comes just after the command has begun; before that stty knows none and fails.
# shellcheck disable=SC2016
t_out "exec -it has a terminal of our size" '24 80' \
	tty "$KONTIKI"' -n verbs exec -it myapp-pod -- sh -c "until stty size | grep 80; do sleep 0.2; done"'
t_err "exec of no command" 'executable file not found' kk -n verbs exec myapp-pod -- nosuchcommand

# --- side by side
if ! recent_kubectl; then
	skip "comparing with kubectl: none of 1.30 or later"
else
	for what in pods deploy rs svc ns cm secret sa ep endpointslices nodes leases; do
		same describe $what
		same get $what
		same get $what -o wide -A
		same get $what -o yaml
	done
	same get all
	same get deploy,svc,po -o name
	same get pods -o json
	same get pods --show-labels -L app
	same get pods -l app=nginx --no-headers
	same get pods --field-selector status.phase=Running
	same get pods --sort-by=.metadata.name -o custom-columns=NAME:.metadata.name,IP:.status.podIP
	same get pod nosuch
	same get nosuch
	same get pods -n nosuch
	same get pods --field-selector nosuch=1
	same get -f "$root/examples/nginx-deployment.yaml"
	same_lines logs -l app=nginx --tail=1
	same logs deploy/nginx-deployment --tail=1
	same logs nosuch
	same logs config-consumer -c nosuch
	same exec config-consumer -- ls /etc/app
	same exec config-consumer -- sh -c 'echo out; echo err >&2; exit 3'
	same exec config-consumer -c nosuch -- ls
	same apply -f "$tmp/bad.yaml"
	same apply -f /nosuch
	same apply -f "$root/examples/nginx-service.yaml" --dry-run=server
	same create -f "$root/examples/nginx-service.yaml"
	same delete pod nosuch
	same delete pods
	same scale deploy/nginx-deployment --replicas=1 --current-replicas=7
	same wait pod/nosuch --for=condition=Ready --timeout=1s
	same label pod config-consumer app=other
	same api-resources -o wide
fi

# --- taking away
t_out "delete waits until it is gone" 'pod "myapp-pod" deleted' kk -n verbs delete pod myapp-pod --now
t_err "it is gone" 'NotFound' kk -n verbs get pod myapp-pod
t_out "delete -f" 'deployment.apps "nginx-deployment" deleted' kk delete -f "$root/examples/nginx-deployment.yaml"
t_out "delete a namespace" 'namespace "verbs" deleted' kk delete namespace verbs --timeout=300s
t_err "delete nothing" 'NotFound' kk delete svc nosuch
t "delete nothing, ignored" kk delete svc nosuch --ignore-not-found
t_err "no server" 'was refused' kk --server https://127.0.0.1:1 get pods
t_err "an unknown context" 'context "nosuch" does not exist' kk --context nosuch get pods
