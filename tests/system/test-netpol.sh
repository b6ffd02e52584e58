#!/bin/bash
# NetworkPolicies between pods of three nodes, of one node, through Services: who reaches whom, and that changes are followed.
# shellcheck source=tests/system/lib.sh
. "$(dirname "$0")/lib.sh"

command -v nft >/dev/null || [ -x /usr/sbin/nft ] || { skip "everything: no nft here"; exit 0; }

# pod NAMESPACE NAME NODE LABELS WEB-PORT: answers on 8080 to 8083; "web" is the one that is given.
pod() {
	cat <<-EOP
		---
		apiVersion: v1
		kind: Pod
		metadata: {namespace: $1, name: $2, labels: {$4}}
		spec:
		  nodeName: $3
		  terminationGracePeriodSeconds: 1
		  containers:
		  - name: c
		    image: busybox
		    command: [sh, -c, "mkdir /w; hostname >/w/index.html; for p in 8080 8081 8082; do httpd -p \$p -h /w; done; exec httpd -f -p 8083 -h /w"]
		    ports: [{name: web, containerPort: $5}]
		    resources: {requests: {cpu: 50m}}
		    readinessProbe: {tcpSocket: {port: 8083}, periodSeconds: 1}
		    livenessProbe: {httpGet: {port: 8082, path: /}, periodSeconds: 1, failureThreshold: 3, timeoutSeconds: 5, initialDelaySeconds: 2}
	EOP
}
policy() { # NAME SPEC
	printf 'apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: %s}\nspec: {%s}\n' "$1" "$2" | k apply -f -
}
ip_of() { k get pod -n "${2:-default}" "$1" -o 'jsonpath={.status.podIP}'; }
# reach NAMESPACE POD TARGET...: a y or n for each target, all tried at once.
reach() {
	local ns=$1 from=$2
	shift 2
	# shellcheck disable=SC2016 # the pod's shell expands
	timeout 60 "$KUBECTL" --kubeconfig "$tmp/kubeconfig" exec -n "$ns" "$from" -- sh -c '
		i=0
		for t; do
			i=$((i + 1))
			{ timeout 2 wget -q -O - "http://$t/" >/dev/null 2>&1 && echo "$i y" || echo "$i n"; } &
		done
		wait' sh "$@" | sort -n | cut -d' ' -f2 | tr -d '\n'
}
# sees NAME WANTED NAMESPACE POD TARGET...
sees() {
	local name=$1 want=$2
	shift 2
	t "$name" until_ok 40 is "$want" reach "$@"
}

# A connection that stands: what near sends, one writes to a file.
received() { k exec one -- sh -c 'wc -c </w/got'; }
counted() { before=$(received) && sleep 1 && now=$(received); }
grows() { counted && [ "$now" -gt "$before" ]; }
stands_still() { counted && [ "$now" = "$before" ]; }

cluster_up --servers 3
t "three nodes become ready" until_ok 60 nodes_ready 3
t "another namespace" k create namespace other
k label namespace other team=guests >/dev/null
{
	pod default one server-1 'app: srv, n: one' 8080
	pod default two server-2 'app: srv' 8081
	pod default near server-1 'role: friend' 8080
	pod default far server-3 'role: friend' 8080
	pod default foe server-3 'role: foe' 8080
	pod other guest server-2 'role: friend' 8080
	printf -- '---\napiVersion: v1\nkind: Service\nmetadata: {name: one}\nspec: {selector: {n: one}, ports: [{port: 80, targetPort: 8080}]}\n'
} >"$tmp/pods.yaml"
# A namespace gets the account of its pods in a moment.
t "pods and a Service" until_ok 60 k apply -f "$tmp/pods.yaml"
t "they run" k wait --for=condition=Ready pod -A --all --timeout=300s
one=$(ip_of one) two=$(ip_of two) far=$(ip_of far) foe=$(ip_of foe)
vip=$(k get service one -o 'jsonpath={.spec.clusterIP}')
sees "without a policy, from the same node" yyy default near "$one:8080" "$vip" "$two:8080"
sees "without a policy, from another namespace and node" yyy other guest "$one:8080" "$vip" "$two:8080"

k exec one -- sh -c '(sleep 1000 | nc -l -p 9000 >/w/got) >/dev/null 2>&1 </dev/null &' >/dev/null
k exec near -- sh -c "(while sleep 0.1; do echo x; done | nc $one 9000) >/dev/null 2>&1 </dev/null &" >/dev/null
t "a connection stands" until_ok 30 grows

t "nobody may reach them" policy deny 'podSelector: {matchLabels: {app: srv}}'
sees "denied to the same node, also by the Service" nnn default near "$one:8080" "$vip" "$two:8080"
t "the connection ends" until_ok 30 stands_still
sees "denied to another node" nnny default far "$one:8080" "$vip" "$two:8080" "$foe:8080"
sees "a pod reaches itself, also by its Service, and others" yyy default one "$one:8080" "$vip" "$far:8080"
soon "the node reaches its own pod" in_node server-1 curl -sSf -m 5 -o /dev/null "http://$one:8080/"

t "friends may reach the port named web" policy friends 'podSelector: {matchLabels: {app: srv}}, ingress: [{from: [{podSelector:
  {matchExpressions: [{key: role, operator: In, values: [friend]}]}}], ports: [{port: web}]}]'
sees "a friend on the same node: each pod has its own web" ynyny default near "$one:8080" "$one:8081" "$vip" "$two:8080" "$two:8081"
sees "a friend on another node" ynyny default far "$one:8080" "$one:8081" "$vip" "$two:8080" "$two:8081"
sees "not a foe" nnn default foe "$one:8080" "$vip" "$two:8081"
sees "not a friend in another namespace" nnn other guest "$one:8080" "$vip" "$two:8081"
k label pod foe role=friend --overwrite >/dev/null
sees "a foe becomes a friend" yyy default foe "$one:8080" "$vip" "$two:8081"
k label pod foe role=foe --overwrite >/dev/null
sees "and a foe again" nnn default foe "$one:8080" "$vip" "$two:8081"

t "guests may reach a range of ports; all but the foe one more" policy more "podSelector: {matchLabels: {n: one}}, ingress: [
  {from: [{namespaceSelector: {matchLabels: {team: guests}}, podSelector: {matchLabels: {role: friend}}}], ports: [{port: 8081, endPort: 8082}]},
  {from: [{ipBlock: {cidr: 10.244.0.0/16, except: [$foe/32]}}], ports: [{protocol: TCP, port: 8083}]}]"
sees "by namespace and pod, ports from 8081 to 8082; by address 8083" nyyyn other guest "$one:8080" "$one:8081" "$one:8082" "$one:8083" "$two:8081"
sees "policies add up" ynny default far "$one:8080" "$one:8081" "$one:8082" "$one:8083"
sees "but for the address that is excepted" nnnn default foe "$one:8080" "$one:8081" "$one:8082" "$one:8083"
k label namespace other team- >/dev/null
sees "the namespace loses its label" nnny other guest "$one:8080" "$one:8081" "$one:8082" "$one:8083"

t "one pod may go to web of srv alone" policy out 'podSelector: {matchLabels: {role: friend}}, policyTypes: [Egress], egress: [{to:
  [{podSelector: {matchLabels: {app: srv}}}], ports: [{port: web}]}]'
sees "egress, on the same node" ynynyn default near "$one:8080" "$one:8083" "$vip" "$two:8080" "$two:8081" "$foe:8080"
sees "egress, on another node" ynynyn default far "$one:8080" "$one:8083" "$vip" "$two:8080" "$two:8081" "$foe:8080"
sees "it can be reached as before" y default foe "$far:8080"

t "an agent dies" node kill server-1
sees "what it wrote stays" yny default far "$one:8080" "$one:8081" "$vip"
t "it comes back" node start server-1
t "and is ready" until_ok 60 nodes_ready 3
sees "nothing is open, nothing broken" ynyn default near "$one:8080" "$one:8081" "$vip" "$foe:8080"
pod default three server-1 'app: srv' 8080 >"$tmp/three.yaml"
t "another pod that is selected" k apply -f "$tmp/three.yaml"
t "it starts" k wait --for=condition=Ready pod three --timeout=300s
three=$(ip_of three)
sees "and is isolated like the others" yn default near "$three:8080" "$three:8081"

t "no policy any more" k delete networkpolicy --all
sees "all is open, on the same node" yyyyy default near "$one:8080" "$one:8081" "$vip" "$two:8080" "$foe:8080"
sees "all is open, from elsewhere" yyyyy other guest "$one:8080" "$one:8081" "$vip" "$two:8080" "$three:8081"
t "probes have never failed" is "0 0 0 0 0 0" k get pods -A -o 'jsonpath={.items[*].status.containerStatuses[0].restartCount}' \
	--field-selector=metadata.name!=three
gone() { ! in_node "$1" nft list tables | grep -q kontiki-policy; }
t "no rule is left" until_ok 30 gone server-1
cluster_down
