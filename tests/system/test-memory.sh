#!/bin/bash
# Servers that start, serve, run pods and stop have neither leaked nor touched memory that is not theirs: one without an agent under
# valgrind, and a whole cluster (servers, agent, balancer, CNI plugin, command line) of the program built with ASan, LSan and UBSan, which
# KONTIKI_ASAN names. (Valgrind 3.19 does not know pidfd_open, without which a node starts no process.)
# shellcheck source=tests/system/lib.sh
. "$(dirname "$0")/lib.sh"

ns=
end_memory() { [ -z "$ns" ] || { ip netns del "$ns"; ns=; }; }

under_valgrind() {
	local dir=$tmp/v pid rc
	command -v valgrind >/dev/null || { skip "valgrind is not installed (tools/deps --test)"; return; }
	ns=kontiki-memory-$$
	ip netns add "$ns" && ip -n "$ns" link set lo up
	(exec nsenter --net="/run/netns/$ns" valgrind --leak-check=full --show-leak-kinds=definite,possible --error-exitcode=9 --num-callers=20 \
		--log-file="$tmp/valgrind.log" "$KONTIKI" server --no-agent --name solo --data-dir "$dir" --advertise-address 127.0.0.1) \
		>"$tmp/valgrind.out" 2>&1 &
	pid=$!
	background=("$pid")
	kv() { nsenter --net="/run/netns/$ns" timeout 240 "$KUBECTL" --kubeconfig "$dir/admin.kubeconfig" --cache-dir "$tmp/kube-cache-v" "$@"; }
	t "valgrind: the server answers" until_ok 180 kv get --raw /readyz
	t "valgrind: apply" kv apply -f "$root/examples/config-consumer.yaml" -f "$root/examples/nginx-deployment.yaml" -f "$root/examples/nginx-service.yaml"
	t "valgrind: a watch that ends" kv get --raw '/api/v1/pods?watch=1&timeoutSeconds=1'
	(exec nsenter --net="/run/netns/$ns" "$KUBECTL" --kubeconfig "$dir/admin.kubeconfig" get configmaps -w) >/dev/null 2>&1 &
	background+=($!)
	t "valgrind: scale" kv scale deployment nginx-deployment --replicas=5
	t "valgrind: label, annotate, set image" kv set image deployment/nginx-deployment nginx=nginx:1.16.1
	t_out "valgrind: get -o wide" 'nginx-deployment' kv get deployments,replicasets,pods -o wide
	t_out "valgrind: describe" 'nginx:1.16.1' kv describe deployment nginx-deployment
	t_out "valgrind: explain" 'KIND' kv explain pod.spec
	t_err "valgrind: bad input" 'invalid|Invalid' kv create configmap Bad_Name
	t "valgrind: a namespace comes" kv create namespace passing
	t "valgrind: and goes" kv delete namespace passing
	t "valgrind: delete" kv delete deployment nginx-deployment
	kill -TERM "$pid"
	wait "$pid"
	rc=$?
	kill "${background[1]}" 2>/dev/null
	wait "${background[1]}" 2>/dev/null
	background=()
	t "valgrind: it ends in good order, without an error" [ $rc -eq 0 ]
	[ $rc -eq 0 ] || sed 's/^==[0-9]*== //' "$tmp/valgrind.log" | head -n 100
	t_out "valgrind: nothing is lost" 'definitely lost: 0 bytes|All heap blocks were freed' cat "$tmp/valgrind.log"
	t_out "valgrind: no error" 'ERROR SUMMARY: 0 errors' cat "$tmp/valgrind.log"
	end_memory
}

clean() { # WHAT: no process has reported anything
	local f
	for f in "$tmp"/asan.*; do
		[ -e "$f" ] || continue
		echo "$1: $f"
		head -n 60 "$f"
		return 1
	done
}
stopped_well() { ! grep -q 'ERROR: \|runtime error' "$cluster_dir/$1/kontiki.log"; }

under_asan() {
	local n
	ldd "${KONTIKI_ASAN:-$KONTIKI}" | grep -q libasan || { skip "KONTIKI_ASAN names no program built with --enable-sanitize"; return; }
	KONTIKI=${KONTIKI_ASAN:-$KONTIKI}
	export ASAN_OPTIONS=log_path=$tmp/asan:detect_leaks=1:handle_segv=2 UBSAN_OPTIONS=log_path=$tmp/asan:print_stacktrace=1
	cluster_up --servers 1 --agents 1
	local K_TIMEOUT=600
	t "asan: two nodes become ready" until_ok 120 nodes_ready 2
	t "asan: examples are applied" k apply -f "$root/examples/myapp-pod.yaml" -f "$root/examples/config-consumer.yaml" \
		-f "$root/examples/nginx-deployment.yaml" -f "$root/examples/nginx-service.yaml" -f "$root/examples/probes.yaml"
	t "asan: a pod runs" k wait --for=condition=Ready pod/myapp-pod --timeout=300s
	t "asan: a Deployment is there" k rollout status deployment nginx-deployment --timeout=300s
	soon_out "asan: logs" 'Hello Kubernetes' k logs myapp-pod
	t_out "asan: exec" '^inside$' k exec myapp-pod -- echo inside
	soon_out "asan: describe" 'Hello Kubernetes' k describe pod myapp-pod
	(exec timeout 10 "$KUBECTL" --kubeconfig "$tmp/kubeconfig" get pods -w) >/dev/null 2>&1 &
	background+=($!)
	t "asan: scale" k scale deployment nginx-deployment --replicas=4
	t "asan: a rollout" k set image deployment/nginx-deployment nginx=nginx:1.16.1
	t "asan: which ends" k rollout status deployment nginx-deployment --timeout=300s
	t_out "asan: kontiki's own get" 'myapp-pod' kk --kubeconfig "$tmp/kubeconfig" get pods
	t_err "asan: bad input" 'Invalid value|invalid' k run Bad_Name --image=busybox
	t "asan: a pod is deleted" k delete pod myapp-pod --grace-period=1
	t "asan: a Deployment is deleted" k delete deployment nginx-deployment
	for n in agent-1 server-1; do
		t "asan: $n stops" node stop "$n"
		t "asan: its log has no report" stopped_well "$n"
	done
	t "asan: nobody has reported a leak or a bad access" clean asan
	cluster_down
	t "asan: nor until the end" clean asan
}

[ "$(id -u)" = 0 ] || { skip "everything: needs root"; exit 0; }
trap 'end_memory; on_exit' EXIT
under_valgrind
under_asan
