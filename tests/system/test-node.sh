#!/bin/bash
# What a node does beside running pods: host ports, and knowing the servers (one that joins later, one that is removed).
# shellcheck source=tests/system/lib.sh
. "$(dirname "$0")/lib.sh"

cluster_up --servers 3 --agents 1
t "four nodes become ready" until_ok 60 nodes_ready 4

# --- host ports
cat >"$tmp/hostport.yaml" <<-'EOP'
	apiVersion: v1
	kind: Pod
	metadata: {name: hosted, labels: {app: hosted}}
	spec:
	  nodeName: agent-1
	  containers:
	  - name: web
	    image: nginx:1.14.2
	    ports:
	    - {containerPort: 80, hostPort: 8080}
	---
	apiVersion: v1
	kind: Pod
	metadata: {name: client}
	spec:
	  containers:
	  - {name: sh, image: busybox, command: [sleep, "3600"]}
EOP
welcome() { "$@" | grep 'Welcome to nginx'; }
at=$(addr_of agent-1)
t "a pod with a hostPort" k apply -f "$tmp/hostport.yaml"
t "runs" k wait --for=condition=Ready pod/hosted pod/client --timeout=300s
t "its port answers at the node's address, from outside" until_ok 30 welcome in_switch curl -sS -m 3 "http://$at:8080/"
t "from another node" until_ok 30 welcome in_node server-1 curl -sS -m 3 "http://$at:8080/"
t "from the node itself" until_ok 30 welcome in_node agent-1 curl -sS -m 3 "http://$at:8080/"
t "and by its loopback address" until_ok 30 welcome in_node agent-1 curl -sS -m 3 http://127.0.0.1:8080/
t "from a pod" until_ok 30 welcome k exec client -- wget -q -O - "http://$at:8080/"
t "from the pod itself" until_ok 30 welcome k exec hosted -- wget -q -O - "http://$at:8080/"
t "no other node has the port" not in_node server-1 curl -sS -m 3 "http://$(addr_of server-1):8080/"

# --- a node that is lost for a while
ready_of() { k get pod "$1" -o "jsonpath={.status.conditions[?(@.type=='Ready')].status}"; }
t "the agent freezes" node pause agent-1
t "its pod is called not ready" until_ok 60 is False ready_of hosted
t "it goes on" node resume agent-1
t "the node is ready again" until_ok 60 nodes_ready 4
t "and so is its pod" until_ok 60 is True ready_of hosted

# --- more than fit
cat >"$tmp/second.yaml" <<-'EOP'
	apiVersion: apps/v1
	kind: Deployment
	metadata: {name: more}
	spec:
	  replicas: 5
	  selector: {matchLabels: {app: more}}
	  template:
	    metadata: {labels: {app: more}}
	    spec:
	      containers:
	      - {name: web, image: nginx:1.14.2, ports: [{containerPort: 80, hostPort: 8080}]}
EOP
t "five more that want the same port" k apply -f "$tmp/second.yaml"
t "find the three nodes where it is free" until_ok 60 pods_ready 3 app=more
no_room() { [ "$(k get pods -l app=more --field-selector=status.phase=Pending --no-headers | wc -l)" = 2 ]; }
t "and two have to wait" until_ok 30 no_room
soon_out "the reason is told" "didn't have free ports for the requested pod ports" k get events --field-selector=reason=FailedScheduling
k delete deployment more --wait=false >/dev/null
t "the pod goes" k delete pod hosted --grace-period=1
t "and so does its port" until_ok 60 not in_node agent-1 curl -sS -m 3 "http://$at:8080/"

# --- servers that come and go
known() { cut -d: -f1 "$cluster_dir/agent-1/agent/servers" | sort | tr '\n' ' '; }
addresses() { for s in "$@"; do addr_of "$s"; done | sort | tr '\n' ' '; }
knows() { [ "$(known)" = "$(addresses "$@")" ] || { known; return 1; }; }
t "the agent knows the three servers" until_ok 40 knows server-1 server-2 server-3
mapfile -t followers < <(servers | grep -vx "$(leader)")
gone=${followers[0]}
mapfile -t left < <(servers | grep -vx "$gone")
t "a server stops for good" node stop "$gone"
soon "is removed" "$KONTIKI" member remove "$gone"
t "the agent forgets it" until_ok 60 knows "${left[@]}"
# In its place, in the namespaces and the control group that its containerd is still in, a new one joins.
rm -rf "$cluster_dir/$gone"/{raft,store}
(
	while read -r g; do echo "$BASHPID" >"$g/cgroup.procs"; done < <(find /sys/fs/cgroup -maxdepth 5 -type d -path "*/kontiki/$cluster/$gone" 2>/dev/null)
	exec nsenter -t "$(cut -d' ' -f1 "$cluster_dir/$gone/agent/containerd/containerd.pid")" -m -n "$KONTIKI" server --name "$gone" \
		--data-dir "$cluster_dir/$gone" --advertise-address "$(addr_of "$gone")" --cgroup-root "/kontiki/$cluster/$gone" \
		--join "https://$(addr_of "${left[0]}"):6443" --token "@$cluster_dir/${left[0]}/pki/join.token"
) >"$tmp/joined.log" 2>&1 &
background=($!)
joined() { api_on "$gone" /readyz; }
api_on() { in_switch "$KUBECTL" --kubeconfig "$tmp/kubeconfig" --server "https://$(addr_of "$1"):6443" --insecure-skip-tls-verify --request-timeout=10s get --raw "$2"; }
t "a new server joins" until_ok 60 joined || cat "$tmp/joined.log"
t "is known soon" until_ok 60 knows server-1 server-2 server-3
cluster_down
