#!/bin/bash
# Every kubectl verb that a user needs from the first day, with every kubectl that is on this machine: the one in the PATH and
# Debian's (which tools/deps unpacks into /usr/local/lib/kontiki when another one is installed). KUBECTL=... picks one.
# shellcheck source=tests/system/lib.sh
. "$(dirname "$0")/lib.sh"

# Commands that go on until they are stopped: run for a while, and look at what they printed.
# streams NAME SECONDS REGEX COMMAND...
streams() {
	local name=$1 limit=$2 regex=$3 pid
	shift 3
	"$@" >"$tmp/stream.out" 2>&1 &
	pid=$!
	if until_ok "$limit" grep -Eq -- "$regex" "$tmp/stream.out" >/dev/null; then
		ok "$name"
	else
		not_ok "$name"
		echo "  command: $*"
		head -c 2000 "$tmp/stream.out" | sed 's/^/  | /'
	fi
	kill $pid 2>/dev/null
	wait $pid 2>/dev/null
}

# Unlike a shell function, an exec'd kubectl can be stopped by its process id.
kx() { exec "$KUBECTL" --kubeconfig "$tmp/kubeconfig" --cache-dir "$tmp/kube-cache" "$@"; }
# With a terminal, as -it needs: script(1) makes one.
tty() { timeout 240 script -qec "$*" /dev/null </dev/null; }

suite() {
	local v=$1 ns=$2
	kn() { k -n "$ns" "$@"; }

	# --- finding one's way
	t_out "$v version" 'Server Version' k version
	t_out "$v cluster-info" 'is running at' k cluster-info
	t_out "$v api-versions" '^apps/v1$' k api-versions
	t_out "$v api-resources" '^deployments +deploy +apps/v1' k api-resources
	t_out "$v api-resources of one group" 'endpointslices' k api-resources --api-group=discovery.k8s.io -o name
	t_out "$v explain" 'KIND: +Pod' k explain pods
	t_out "$v explain a field" 'readinessProbe' k explain deployment.spec.template.spec.containers
	t_out "$v get --raw /healthz" '^ok' k get --raw /healthz
	soon_out "$v get nodes -o wide" 'INTERNAL-IP' k get nodes -o wide
	t_out "$v describe node" 'Allocatable' k describe node server-1
	t_out "$v auth can-i" '^yes$' k auth can-i create pods

	# --- making things
	t "$v create namespace" k create namespace "$ns"
	t "$v which gets an account for its pods" until_ok 60 kn get serviceaccount default
	t_err "$v create it again" 'AlreadyExists|already exists' k create namespace "$ns"
	t_out "$v apply a file" 'deployment.apps/nginx-deployment created' kn apply -f "$root/examples/nginx-deployment.yaml"
	t_out "$v apply it again" 'unchanged' kn apply -f "$root/examples/nginx-deployment.yaml"
	t_out "$v apply --record" 'configured|unchanged' kn apply --record -f "$root/examples/nginx-deployment.yaml"
	t_out "$v apply from stdin" 'pod/myapp-pod created' apply_stdin
	t_out "$v apply several documents" 'secret/app-secret created' kn apply -f "$root/examples/config-consumer.yaml"
	mkdir -p "$tmp/folder-$ns"
	sed 's/30080/'"$3"'/' "$root/examples/nginx-nodeport.yaml" >"$tmp/folder-$ns/nodeport.yaml"
	cp "$root/examples/nginx-service.yaml" "$tmp/folder-$ns/"
	t_out "$v apply a folder" 'service/nginx-service created' kn apply -f "$tmp/folder-$ns"
	t_out "$v diff shows nothing when nothing changed" '^$' kn diff -f "$root/examples/nginx-service.yaml"
	t_out "$v create -f --dry-run=server" 'server dry run' kn create -f "$root/examples/shared-volume.yaml" --dry-run=server
	t_err "$v and it was dry" 'not found' kn get pod shared-volume
	t "$v create configmap" kn create configmap made --from-literal=a=b
	t "$v create secret" kn create secret generic made --from-literal=a=b
	t "$v create serviceaccount" kn create serviceaccount made
	t "$v create deployment" kn create deployment made --image=nginx:1.14.2
	t "$v run" kn run runner --image=busybox:1.35 --restart=Never -- sh -c 'echo ran; sleep 3600'
	t "$v expose" kn expose deployment made --port=80
	t "$v pods run" until_ok 60 pods_ready 2 app=nginx "$ns"
	t "$v wait" kn wait --for=condition=Ready pod/myapp-pod pod/runner --timeout=300s
	t "$v rollout status" kn rollout status deployment/nginx-deployment --timeout=300s

	# --- looking at them
	soon_out "$v get pods" '^myapp-pod +1/1 +Running' kn get pods
	soon_out "$v get pods -o wide" 'server-[123]' kn get pods -o wide
	soon_out "$v get -A" "^$ns +myapp-pod" k get pods -A
	t_out "$v get all" 'deployment.apps/nginx-deployment' kn get all
	t_out "$v get several kinds" 'service/nginx-service' kn get deploy,rs,svc,ep,cm,secret,sa,events
	t_out "$v get -o yaml" '^  name: myapp-pod' kn get pod myapp-pod -o yaml
	t_out "$v get -o json" '"kind": "Pod"' kn get pod myapp-pod -o json
	t_out "$v get -o name" '^pod/myapp-pod$' kn get pod myapp-pod -o name
	t "$v get -o jsonpath" is busybox kn get pod myapp-pod -o 'jsonpath={.spec.containers[0].image}'
	soon_out "$v get -o custom-columns" '^myapp-pod +Running' kn get pods -o custom-columns=N:.metadata.name,P:.status.phase
	t_out "$v get -o go-template" 'myapp-pod' kn get pods -o go-template='{{range .items}}{{.metadata.name}} {{end}}'
	t "$v get -l" is pod/myapp-pod kn get pods -l app=myapp -o name
	t "$v get -l with a set" is pod/myapp-pod kn get pods -l 'app in (myapp,other),app notin (nginx)' -o name
	t "$v get --field-selector" is pod/myapp-pod kn get pods --field-selector metadata.name=myapp-pod,status.phase=Running -o name
	t_out "$v get --sort-by" 'myapp-pod' kn get pods --sort-by=.metadata.creationTimestamp
	t_out "$v get --show-labels" 'app=myapp' kn get pods --show-labels
	t_out "$v get --chunk-size" 'myapp-pod' kn get pods --chunk-size=1
	streams "$v get -w" 60 'myapp-pod' kx -n "$ns" get pods -w
	soon_out "$v describe pod" 'Scheduled' kn describe pod myapp-pod
	soon_out "$v describe deployment" 'NewReplicaSet:' kn describe deployment nginx-deployment
	soon_out "$v describe service" 'Endpoints: +10\.' kn describe service nginx-service
	t_out "$v describe secret hides the value" 'password: +[0-9]+ bytes' kn describe secret app-secret
	soon_out "$v logs" '^Hello Kubernetes!$' kn logs myapp-pod
	soon_out "$v logs by deployment" 'nginx' kn logs deploy/nginx-deployment
	soon_out "$v logs --tail --timestamps" '^20..-' kn logs --tail=1 --timestamps runner
	soon_out "$v logs of what took config" '^GREETING=Hello from a ConfigMap$' kn logs config-consumer
	streams "$v logs -f" 60 'ran' kx -n "$ns" logs -f runner
	t "$v exec" is hello kn exec myapp-pod -- echo hello
	t "$v exec with stdin" is from-stdin exec_stdin
	t_err "$v exec gives the exit status" 'exit code 7|status 7' kn exec myapp-pod -- sh -c 'exit 7'
	t_out "$v exec -it" '/dev/pts|not a tty|0 +0|[0-9]+ [0-9]+' tty "$KUBECTL" --kubeconfig "$tmp/kubeconfig" -n "$ns" exec -it myapp-pod -- tty
	t_out "$v attach" 'tick' attach_once
	t_out "$v cp to a pod needs tar, and busybox has it" 'copied' cp_round
	port_forward

	# --- changing them
	t "$v scale" kn scale deployment/nginx-deployment --replicas=3
	t "$v three run" until_ok 60 pods_ready 3 app=nginx "$ns"
	t_err "$v scale with a wrong precondition" 'Expected replicas to be 9' kn scale deployment/nginx-deployment --current-replicas=9 --replicas=1
	t "$v set image" kn set image deployment/nginx-deployment nginx=nginx:1.16.1 --record
	t "$v rollout status after it" kn rollout status deployment/nginx-deployment --timeout=300s
	soon_out "$v rollout history" '^2 +' kn rollout history deployment/nginx-deployment
	soon_out "$v rollout history of one revision" 'nginx:1.16.1' kn rollout history deployment/nginx-deployment --revision=2
	t "$v rollout undo" kn rollout undo deployment/nginx-deployment
	t "$v and it is back" until_ok 30 is nginx:1.14.2 kn get deployment nginx-deployment -o 'jsonpath={.spec.template.spec.containers[0].image}'
	t "$v rollout restart" kn rollout restart deployment/nginx-deployment
	t "$v rollout status after restart" kn rollout status deployment/nginx-deployment --timeout=300s
	t "$v rollout pause" kn rollout pause deployment/nginx-deployment
	t "$v rollout resume" kn rollout resume deployment/nginx-deployment
	t "$v set env" kn set env deployment/nginx-deployment COLOR=blue
	t "$v label" kn label pod myapp-pod tier=front
	t_err "$v label needs --overwrite" 'overwrite' kn label pod myapp-pod tier=back
	t "$v label --overwrite" kn label pod myapp-pod tier=back --overwrite
	t "$v label removed" kn label pod myapp-pod tier-
	t "$v annotate" kn annotate pod myapp-pod note='by hand'
	t "$v edit" env EDITOR="sed -i s/a:.b/a:\ edited/" "$KUBECTL" --kubeconfig "$tmp/kubeconfig" -n "$ns" edit configmap made
	t "$v edit took" is edited kn get configmap made -o 'jsonpath={.data.a}'
	t "$v patch (strategic)" kn patch deployment made -p '{"spec":{"template":{"spec":{"containers":[{"name":"nginx","env":[{"name":"A","value":"1"}]}]}}}}'
	t "$v patch kept the image" is nginx:1.14.2 kn get deployment made -o 'jsonpath={.spec.template.spec.containers[0].image}'
	t "$v patch (merge)" kn patch configmap made --type merge -p '{"data":{"c":"d"}}'
	t "$v patch (json)" kn patch configmap made --type json -p '[{"op":"remove","path":"/data/a"}]'
	t "$v patches took" is '{"c":"d"}' kn get configmap made -o 'jsonpath={.data}'
	t_err "$v patch that fails its test" 'rejected|testing|[Ii]nvalid|failed' kn patch configmap made --type json -p '[{"op":"test","path":"/data/c","value":"z"}]'
	t "$v replace" replace_configmap
	t_out "$v apply --server-side" 'serverside-applied' kn apply --server-side --force-conflicts -f "$root/examples/nginx-service.yaml"
	t "$v apply --prune leaves others alone" kn get deployment made
	t "$v taint and untaint" taint_round
	t "$v cordon" k cordon server-3
	soon_out "$v cordoned" 'server-3 +Ready,SchedulingDisabled' k get nodes
	t "$v uncordon" k uncordon server-3

	# --- removing them
	t "$v delete a pod" kn delete pod runner --grace-period=1
	t_err "$v delete what is not there" 'NotFound|not found' kn delete pod runner
	t "$v delete --ignore-not-found" kn delete pod runner --ignore-not-found
	t "$v delete -f" kn delete -f "$root/examples/config-consumer.yaml" --grace-period=1
	t "$v delete -l" kn delete deployment,service -l app=made
	t "$v delete deployment" kn delete deployment nginx-deployment
	t "$v its pods and replica sets go" until_ok 60 nothing_left app=nginx
	t "$v delete --force" kn delete pod myapp-pod --force --grace-period=0
	t "$v delete namespace" k delete namespace "$ns" --timeout=300s
	t_err "$v namespace is gone" 'not found' k get namespace "$ns"
}

apply_stdin() { kn apply -f - <"$root/examples/myapp-pod.yaml"; }
exec_stdin() { echo from-stdin | kn exec -i myapp-pod -- cat; }
attach_once() {
	kn run ticker --image=busybox:1.35 --restart=Never -- sh -c 'while true; do echo tick; sleep 0.2; done' || return 1
	kn wait --for=condition=Ready pod/ticker --timeout=300s || return 1
	"$KUBECTL" --kubeconfig "$tmp/kubeconfig" -n "$ns" attach ticker >"$tmp/attached" 2>&1 &
	local pid=$!
	until_ok 60 grep -m 1 tick "$tmp/attached"
	kill $pid 2>/dev/null
	wait $pid 2>/dev/null
	kn delete pod ticker --force --grace-period=0 2>/dev/null
	true
}
cp_round() {
	echo "copied" >"$tmp/to-copy"
	kn cp "$tmp/to-copy" myapp-pod:/tmp/there && kn cp myapp-pod:/tmp/there "$tmp/back" && cat "$tmp/back"
}
replace_configmap() { kn get configmap made -o yaml | sed 's/c: d/c: e/' | kn replace -f - && is e kn get configmap made -o 'jsonpath={.data.c}'; }
taint_round() { k taint nodes server-3 a=b:NoSchedule && k get node server-3 -o 'jsonpath={.spec.taints}' | grep NoSchedule && k taint nodes server-3 a-; }
nothing_left() { [ -z "$(kn get pods,rs -l "$1" -o name)" ] || { kn get pods,rs -l "$1"; return 1; }; }
port_forward() {
	local port pid
	"$KUBECTL" --kubeconfig "$tmp/kubeconfig" --cache-dir "$tmp/kube-cache" -n "$ns" port-forward deploy/nginx-deployment :80 >"$tmp/pf.out" 2>&1 &
	pid=$!
	until_ok 30 grep -q 'Forwarding from 127.* -> ' "$tmp/pf.out" >/dev/null || cat "$tmp/pf.out"
	port=$(sed -n 's/.*127.0.0.1:\([0-9]*\).*/\1/p' "$tmp/pf.out")
	soon_out "$v port-forward" 'Welcome to nginx' curl -sS -m 30 "http://127.0.0.1:${port:-1}/"
	t_out "$v port-forward again" 'Welcome to nginx' curl -sS -m 30 "http://127.0.0.1:${port:-1}/"
	kill $pid 2>/dev/null
	wait $pid 2>/dev/null
}

cluster_up --servers 3
t "three nodes become ready" until_ok 60 nodes_ready 3
port=31080
kubectls=("$KUBECTL")
if [ "$KUBECTL" = kubectl ]; then
	for other in /usr/local/lib/kontiki/kubectl-*/kubectl; do
		[ ! -x "$other" ] || kubectls+=("$other")
	done
fi
for KUBECTL in "${kubectls[@]}"; do
	version=$("$KUBECTL" version --client 2>/dev/null | sed -n 's/.*v\(1\.[0-9]*\).*/\1/p' | head -n 1)
	note "kubectl $version ($KUBECTL)"
	suite "[$version]" "kubectl-${version/./-}" $port
	port=$((port + 1))
done
cluster_down
