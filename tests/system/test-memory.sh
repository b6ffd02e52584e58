#!/bin/bash
# A whole server with its agent under valgrind: it starts, runs pods, serves kubectl, is told to stop, and has neither leaked nor touched
# memory that is not its own.
# shellcheck source=tests/system/lib.sh
. "$(dirname "$0")/lib.sh"
command -v valgrind >/dev/null || { skip "valgrind is not installed (tools/deps --test)"; exit 0; }

cluster_up --servers 1
t "the node becomes ready" until_ok 60 nodes_ready 1
mapfile -d '' argv <"/proc/$(cut -d' ' -f1 "$cluster_dir/server-1/kontiki.pid")/cmdline"
t "it stops" node stop server-1

# Again, in the node's own namespaces and control group, which containerd is still in.
home=$(cut -d' ' -f1 "$cluster_dir/server-1/agent/containerd/containerd.pid")
group=$(find /sys/fs/cgroup -maxdepth 5 -type d -path "*/kontiki/$cluster/server-1" 2>/dev/null | head -n 1)
(
	for g in $(find /sys/fs/cgroup -maxdepth 5 -type d -path "*/kontiki/$cluster/server-1" 2>/dev/null); do echo "$BASHPID" >"$g/cgroup.procs"; done
	exec nsenter -t "$home" -m -n valgrind --leak-check=full --show-leak-kinds=definite,possible --error-exitcode=9 --num-callers=20 \
		--log-file="$tmp/valgrind.log" "${argv[@]}"
) >"$tmp/valgrind.out" 2>&1 &
pid=$!
background=("$pid")
t "the node is in a control group" [ -n "$group" ]
t "the server answers" until_ok 90 k get --raw /readyz
t "the node is ready" until_ok 60 nodes_ready 1
t "examples are applied" k apply -f "$root/examples/myapp-pod.yaml" -f "$root/examples/config-consumer.yaml" -f "$root/examples/nginx-deployment.yaml" \
	-f "$root/examples/nginx-service.yaml" -f "$root/examples/probes.yaml"
pod_runs() { k wait --for=condition=Ready pod/myapp-pod --timeout=1s; }
t "a pod runs" until_ok 90 pod_runs
t "a Deployment is there" k rollout status deployment nginx-deployment --timeout=90s
t_out "logs" 'Hello Kubernetes' until_ok 10 k logs myapp-pod
t_out "exec" '^inside$' k exec myapp-pod -- echo inside
t_out "get -o wide" 'myapp-pod' k get pods -o wide
t_out "describe" 'Hello Kubernetes' k describe pod myapp-pod
t "scale" k scale deployment nginx-deployment --replicas=3
(exec timeout 5 "$KUBECTL" --kubeconfig "$tmp/kubeconfig" get pods -w) >/dev/null 2>&1 &
background+=($!)
t "patch" k label pod myapp-pod tested=yes
t_err "a bad request" 'Invalid value|invalid' k run Bad_Name --image=busybox
t_out "explain" 'KIND' k explain pod.spec
t "a pod is deleted" k delete pod myapp-pod --grace-period=1
t "a Deployment is deleted" k delete deployment nginx-deployment
kill -TERM "$pid"
wait "$pid"
rc=$?
background=("${background[@]:1}")
t "it ends in good order, and valgrind has nothing to say" [ $rc -eq 0 ]
[ $rc -eq 0 ] || sed 's/^==[0-9]*== //' "$tmp/valgrind.log" | head -n 100
t_out "nothing is lost" 'definitely lost: 0 bytes|All heap blocks were freed' cat "$tmp/valgrind.log"
t_out "no error" 'ERROR SUMMARY: 0 errors' cat "$tmp/valgrind.log"
t "it starts again as always" node start server-1
t "and is ready" until_ok 60 nodes_ready 1
cluster_down
