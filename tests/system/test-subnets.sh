#!/bin/bash
# Nodes on two networks with a router between them: pods, Services, names and node ports work across, small and large packets
# alike; nodes of one network use plain routes.
# shellcheck source=tests/system/lib.sh
. "$(dirname "$0")/lib.sh"

# A pod on each of three nodes (server-1 and agent-2 on the first network, agent-1 on the second) that serves 3 MB.
pods() {
	local n
	for n in server-1 agent-1 agent-2; do
		cat <<-EOP
			---
			apiVersion: v1
			kind: Pod
			metadata: {name: on-$n, labels: {app: across, node: $n}}
			spec:
			  nodeName: $n
			  containers:
			  - name: web
			    image: busybox
			    command: [sh, -c, "mkdir /www && head -c 3000000 /dev/zero >/www/large && hostname >/www/index.html && exec httpd -f -p 8080 -h /www"]
			    readinessProbe: {tcpSocket: {port: 8080}, periodSeconds: 1}
			---
			apiVersion: v1
			kind: Service
			metadata: {name: svc-$n}
			spec: {type: NodePort, selector: {node: $n}, ports: [{port: 80, targetPort: 8080}]}
		EOP
	done
}
ip_of() { k get pod "$1" -o 'jsonpath={.status.podIP}'; }
# No -T: it makes the wget of Debian's busybox-static crash.
wget_in() { timeout 240 "$KUBECTL" --kubeconfig "$tmp/kubeconfig" exec "$1" -- wget -q -O - "$2"; }
# The answer is there as a whole.
gets_all() { [ "$(wget_in "$1" "http://$2/large" | wc -c)" = 3000000 ]; }
gets_name() { [ "$(wget_in "$1" "http://$2/")" = "$3" ]; }
node_gets() { in_node "$1" curl -sSf -m 10 "http://$2/" | grep -x "$3"; }

second=10.$((150 + $$ % 50)).$(($$ / 50 % 250)).0/24
cluster_up --servers 1 --agents 2 --subnet "$second"
t "three nodes become ready" until_ok 60 nodes_ready 3
t "the nodes are on two networks" is "2" bash -c "'$KONTIKI' node list | awk 'NR > 1 { split(\$3, a, \".\"); print a[2] \".\" a[3] }' | sort -u | wc -l"
pods >"$tmp/pods.yaml"
t "a pod and a Service on each node" k apply -f "$tmp/pods.yaml"
t "they run" until_ok 60 pods_ready 3 app=across
for from in server-1 agent-1 agent-2; do
	for to in server-1 agent-1 agent-2; do
		ip=$(ip_of "on-$to")
		t "pod on $from to pod on $to" until_ok 60 gets_name "on-$from" "$ip:8080" "on-$to"
		t "pod on $from to Service of $to, by name" until_ok 60 gets_name "on-$from" "svc-$to" "on-$to"
		t "node $from to pod on $to" until_ok 60 node_gets "$from" "$ip:8080" "on-$to"
	done
done
t "large answers come across whole" until_ok 40 gets_all on-server-1 "$(ip_of on-agent-1):8080"
t "and the other way" until_ok 40 gets_all on-agent-1 svc-agent-2
port=$(k get service svc-agent-1 -o 'jsonpath={.spec.ports[0].nodePort}')
t "a node port of server-1 leads to the pod on the other network" until_ok 40 in_switch curl -sSf -m 5 "http://$(addr_of server-1):$port/"
soon_out "server-1 reaches agent-1's pods over the overlay" 'dev kontiki-vx' in_node server-1 ip route get "$(ip_of on-agent-1)"
soon_out "and agent-2's by a plain route" "via $(addr_of agent-2) dev eth0" in_node server-1 ip route get "$(ip_of on-agent-2)"
t "delete a node" k delete node agent-1
no_way() { ! in_node server-1 ip route show dev kontiki-vx | grep .; }
t "its way goes" until_ok 30 no_way
t_err "subnets that overlap are refused" 'overlap' "$KONTIKI" up --name x --dir "$tmp/x" --subnet 10.5.0.0/16 --subnet 10.5.7.0/24
cluster_down
