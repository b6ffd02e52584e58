#!/bin/bash
# A leader dies, freezes or is cut off while a client writes, and the cluster goes on: nothing that was acknowledged is
# lost, writes resume (the gap is printed), controllers work under the new leader, the Service answers on the nodes
# that are left, and the server comes back and catches up. Then all servers die at once.
#
# FAILOVER_ROUNDS (default 3): how often each fault is made, for the median of the gap. FAILOVER_BENCH=1: only what the
# gaps need. FAILOVER_FAULTS (default "kill pause partition all"): which faults. FAILOVER_GAPS: a folder for the gaps in
# milliseconds, a file for each fault and way.
# shellcheck source=tests/system/lib.sh
. "$(dirname "$0")/lib.sh"
rounds=${FAILOVER_ROUNDS:-3}
wanted=" ${FAILOVER_FAULTS:-kill pause partition all} "

service_ip() { k get service nginx-service -o 'jsonpath={.spec.clusterIP}'; }
service_answers_on() { in_node "$1" curl -sSf -m 5 "http://$ip/" | grep 'Welcome to nginx'; }
node_port_answers_on() { in_switch curl -sSf -m 5 "http://$(addr_of "$1"):30080/" | grep 'Welcome to nginx'; }
# A read that this server answers from its own state.
local_read() { # SERVER CONFIGMAP
	direct "$1" get --raw "/api/v1/namespaces/default/configmaps/$2?resourceVersion=0"
}
other_servers() { servers | grep -vx "$1"; }
# Also when an answer is lost.
written() { k get configmap "$1" || k create configmap "$1" --from-literal=x=y; }
other_pod() { # NODE: one that is on another
	k get pods -l app=nginx -o json | jq -er --arg old "$1" '[.items[] | select(.metadata.deletionTimestamp == null and .spec.nodeName != null
		and .spec.nodeName != $old)][0].metadata.name'
}

# check_after FAULT OLD-LEADER: what must hold while the old leader is out.
check_after() {
	local fault=$1 old=$2 s pod
	soon "$fault: scale is accepted" k scale deployment nginx-deployment --replicas=4
	t "$fault: a pod is on a node that is left" until_ok 60 other_pod "$old"
	pod=$(until_ok 60 other_pod "$old")
	soon "$fault: a pod can be deleted" k delete pod "$pod" --wait=false --ignore-not-found
	t "$fault: the deleted pod is replaced, there are four, and those on the nodes that are left run" until_ok 60 four_others_than "$pod" "$old"
	for s in $(other_servers "$old"); do
		t "$fault: the Service answers on $s" until_ok 40 service_answers_on "$s"
		t "$fault: the node port answers on $s" until_ok 40 node_port_answers_on "$s"
	done
	soon "$fault: scale back" k scale deployment nginx-deployment --replicas=2
}
# For some time nobody can know that the node which is out will not start the pods that it was given.
four_others_than() { # POD NODE
	k get pods -l app=nginx -o json | jq -e --arg gone "$1" --arg out "$2" '
		[.items[] | select(.metadata.name != $gone and .metadata.deletionTimestamp == null)] as $all
		| [$all[] | select(.spec.nodeName != $out)] as $left
		| ($all | length) == 4 and ($left | length) >= 2
		  and all($left[]; any(.status.conditions[]?; .type == "Ready" and .status == "True"))' >/dev/null ||
		{ k get pods -l app=nginx -o wide; return 1; }
}

# By the condition: Services go by it, and a node that was given up has cost its pods theirs.
pods_called_ready() {
	k get pods -l app=nginx -o json | jq -e 'all(.items[] | select(.metadata.deletionTimestamp == null);
		any(.status.conditions[]?; .type == "Ready" and .status == "True"))' >/dev/null || { k get pods -l app=nginx -o wide; return 1; }
}
check_rejoined() { # FAULT SERVER
	t "$1: something is written" until_ok 40 written "after-$1-$round"
	t "$1: $2 is back and has what was written without it" until_ok 60 local_read "$2" "after-$1-$round"
	t "$1: all nodes are ready again" until_ok 60 nodes_ready 3
	t "$1: and all pods" until_ok 60 pods_called_ready
}

# fault NAME BREAK MEND: one round. BREAK and MEND are verbs of `kontiki node`.
fault() {
	local name=$1 break=$2 mend=$3 old at survivor gap
	old=$(leader)
	survivor=$(other_servers "$old" | head -n 1)
	start_writer "$name-$round-lb"
	start_writer "$name-$round-direct" --in-switch --server "https://$(addr_of "$survivor"):6443"
	t "$name: writes are acknowledged before the fault" until_ok 40 has_acks "$tmp/$name-$round-lb.log" 50
	t "$name: also directly" until_ok 40 has_acks "$tmp/$name-$round-direct.log" 50
	at=$(now)
	t "$name: kontiki node $break $old (round $round)" node "$break" "$old"
	t "$name: writes through the balancer resume" until_ok 60 acked_after "$tmp/$name-$round-lb.log" "$at"
	t "$name: writes to a server that is left resume" until_ok 60 acked_after "$tmp/$name-$round-direct.log" "$at"
	t "$name: there is a new leader" until_ok 60 new_leader "$old"
	if [ "$round" = 1 ] && [ -z "${FAILOVER_BENCH:-}" ]; then check_after "$name" "$old"; fi
	t "$name: kontiki node $mend $old" node "$mend" "$old"
	check_rejoined "$name" "$old"
	stop_writers
	for way in lb direct; do
		gap=$(writer gap --log "$tmp/$name-$round-$way.log" --at "$at") && echo "$gap" >>"$tmp/gaps-$name-$way"
		t "$name: no acknowledged write is lost ($way, round $round)" writer check --kubeconfig "$tmp/kubeconfig" \
			--log "$tmp/$name-$round-$way.log" --prefix "$name-$round-$way"
	done
}

faults() { # NAME BREAK MEND AIM-MS
	local way
	for round in $(seq "$rounds"); do fault "$1" "$2" "$3"; done
	for way in direct lb; do
		[ -s "$tmp/gaps-$1-$way" ] || continue
		[ -z "${FAILOVER_GAPS:-}" ] || { mkdir -p "$FAILOVER_GAPS" && cp "$tmp/gaps-$1-$way" "$FAILOVER_GAPS/"; }
		note "$1: writes paused for $(tr '\n' ' ' <"$tmp/gaps-$1-$way")ms ($([ $way = lb ] && echo "through the balancer" || echo "client of a server that is left"); median $(writer median "$tmp/gaps-$1-$way"), aim $4)"
	done
}

cluster_up --servers 3
t "three nodes become ready" until_ok 60 nodes_ready 3
t "examples are applied" k apply -f "$root/examples/nginx-deployment.yaml" -f "$root/examples/nginx-service.yaml" \
	-f "$root/examples/nginx-nodeport.yaml" -f "$root/examples/myapp-pod.yaml"
t "two nginx pods run" until_ok 60 pods_ready 2 app=nginx
t "there is a leader" until_ok 30 has_leader
ip=$(service_ip)
for s in $(servers); do t "the Service answers on $s" until_ok 40 service_answers_on "$s"; done

[[ $wanted != *" kill "* ]] || faults kill kill start 100
[[ $wanted != *" pause "* ]] || faults pause pause resume 500

# --- A leader that is cut off must not answer its own clients as if nothing had happened.
as_client_of_old() {
	in_node "$old" "$KUBECTL" --kubeconfig "$tmp/kubeconfig" --server https://127.0.0.1:6443 --insecure-skip-tls-verify \
		--request-timeout=4s "$@"
}
cut_off_leader() {
	round=0
	old=$(leader)
	k create configmap fence --from-literal=side=before >/dev/null
	t "partition: $old is cut off" node partition "$old"
	at=$(now)
	# The old leader may answer reads only until it knows that it is none; what matters is after the others went on.
	t "partition: the others elect a leader" until_ok 60 new_leader "$old"
	t "partition: and write" until_ok 60 written fence2
	soon "partition: and change" k patch configmap fence -p '{"data":{"side":"after"}}'
	t_err "partition: a client of $old gets no write acknowledged" . as_client_of_old create configmap stale --from-literal=x=y
	stale_read() {
		local out
		out=$(as_client_of_old get configmap fence -o 'jsonpath={.data.side}' 2>&1) || return 0
		[ "$out" != before ] || { echo "it read: $out"; return 1; }
	}
	t "partition: and no stale read" stale_read
	t "partition: heal" node heal "$old"
	t "partition: $old has what was written without it" until_ok 60 local_read "$old" fence2
	t "partition: all nodes are ready again" until_ok 60 nodes_ready 3
}
if [[ $wanted == *" partition "* ]]; then
	[ -n "${FAILOVER_BENCH:-}" ] || cut_off_leader
	faults partition partition heal 500
fi

# --- All servers die at once.
all_die() {
	start_writer all
	t "all: writes are acknowledged" until_ok 40 has_acks "$tmp/all.log" 50
	local killers=()
	for s in $(servers); do
		node kill "$s" &
		killers+=($!)
	done
	wait "${killers[@]}"
	at=$(now)
	for s in $(servers); do t "all: start $s" node start "$s"; done
	t "all: writes are acknowledged again" until_ok 60 acked_after "$tmp/all.log" "$at"
	stop_writers
	t "all: no acknowledged write is lost" writer check --kubeconfig "$tmp/kubeconfig" --log "$tmp/all.log" --prefix all
	t "all: nodes are ready again" until_ok 60 nodes_ready 3
	t "all: the pods run" until_ok 60 pods_ready 2 app=nginx
	for s in $(servers); do t "all: the Service answers on $s" until_ok 40 service_answers_on "$s"; done
}
[[ $wanted != *" all "* ]] || all_die
cluster_down
