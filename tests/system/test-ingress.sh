#!/bin/bash
# Ingresses on two nodes, one of them without a control plane: hosts and paths, TLS by name, headers, streams and WebSockets; the status; and
# that changes of pods, rules and certificates cost nobody a request or a connection.
# shellcheck source=tests/system/lib.sh
. "$(dirname "$0")/lib.sh"

[ -x /usr/sbin/haproxy ] || command -v haproxy >/dev/null || { skip "everything: no haproxy here"; exit 0; }

# web NAME: pods that say their NAME, and a Service.
web() {
	cat <<-EOP
		apiVersion: apps/v1
		kind: Deployment
		metadata: {name: $1}
		spec:
		  replicas: 2
		  selector: {matchLabels: {app: $1}}
		  template:
		    metadata: {labels: {app: $1}}
		    spec:
		      terminationGracePeriodSeconds: 1
		      containers:
		      - name: c
		        image: busybox
		        command: [sh, -c, "mkdir -p /w/x; echo $1 | tee /w/index.html >/w/x/index.html; exec httpd -f -p 8080 -h /w"]
		        readinessProbe: {tcpSocket: {port: 8080}, periodSeconds: 1}
		---
		apiVersion: v1
		kind: Service
		metadata: {name: $1}
		spec:
		  selector: {app: $1}
		  ports: [{name: http, port: 80, targetPort: 8080}]
		---
	EOP
}
rules() {
	cat <<-'EOP'
		apiVersion: networking.k8s.io/v1
		kind: Ingress
		metadata: {name: shop}
		spec:
		  tls: [{hosts: [shop.test], secretName: shop-tls}]
		  rules:
		  - host: shop.test
		    http:
		      paths:
		      - {path: /, pathType: Prefix, backend: {service: {name: one, port: {name: http}}}}
		      - {path: /x, pathType: Prefix, backend: {service: {name: two, port: {number: 80}}}}
		      - {path: /gone, pathType: Exact, backend: {service: {name: gone, port: {number: 80}}}}
		  - host: "*.wild.test"
		    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: outside, port: {number: 80}}}}]}
	EOP
}
certificate() { # NAME CN
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj "/CN=$2" -addext "subjectAltName=DNS:shop.test" \
		-keyout "$tmp/$1.key" -out "$tmp/$1.crt" && k create secret tls shop-tls --cert "$tmp/$1.crt" --key "$tmp/$1.key" --dry-run=client \
		-o yaml | k apply -f -
}
# ask NODE HOST PATH [CURL-ARGUMENTS...]: the answer's status and body.
ask() {
	local at
	at=$(addr_of "$1")
	in_switch curl -s -m 20 -w ' %{http_code}' -H "Host: $2" "http://$at$3" "${@:4}" | tr -d '\n'
}
safely() { # NODE PATH CERT: over TLS by name
	in_switch curl -s -m 20 -w ' %{http_code} %{http_version}' --cacert "$3" --resolve "shop.test:443:$(addr_of "$1")" "https://shop.test$2" |
		tr -d '\n'
}
subject() { # NODE NAME
	in_switch openssl s_client -connect "$(addr_of "$1"):443" -servername "$2" </dev/null 2>/dev/null | grep '^subject'
}
is_served() { # all nodes agree
	local n
	for n in server-1 agent-1; do is "$1" ask "$n" "$2" "$3" || return 1; done
}
# drive DIR ADDRESS: ask until DIR/stop is there, ten times at least, and say in DIR/driven how many requests failed.
drive() {
	local n=0 bad=0
	while [ ! -e "$1/stop" ] || [ $n -lt 10 ]; do
		[ "$(curl -s -m 60 -H 'Host: shop.test' "http://$2/x/")" = two ] || bad=$((bad + 1))
		n=$((n + 1))
	done
	echo "$bad of $n failed" >"$1/driven"
}
export -f drive
changes() {
	k rollout restart deployment/two && k rollout status deployment/two --timeout=300s &&
		k patch ingress shop --type json -p '[{"op":"add","path":"/spec/rules/-","value":{"host":"late.test","http":{"paths":[{"path":"/","pathType":"Prefix","backend":{"service":{"name":"two","port":{"number":80}}}}]}}}]' &&
		until_ok 60 is_served "two 200" late.test /
}
none_failed() { grep -E '^0 of [0-9]{2,} failed' "$tmp/driven"; }

cluster_up --servers 1 --agents 1
own=$(switch_address)
nodes=$(for n in server-1 agent-1; do addr_of "$n"; done | sort | paste -sd,)
nsenter --net="/run/netns/kontiki-$cluster-switch" python3 "$root/tests/system/upgrade.py" serve "$own" 9090 "$tmp/go" &
background+=($!)
soon_out "a class of our own" '^kontiki +kontiki.dev/ingress ' k get ingressclass
t "a certificate" certificate first first
t "pods and rules" k apply -f <(web one; web two; outside_service outside 80 9090; rules)
soon "the class is the default" is kontiki k get ingress shop -o 'jsonpath={.spec.ingressClassName}'
t "the pods run" k rollout status deployment/one --timeout=300s
t "and the others" k rollout status deployment/two --timeout=300s

t "a host on each node" until_ok 30 is_served "one 200" shop.test /
t "a longer path leads elsewhere" until_ok 60 is_served "two 200" shop.test /x/
soon_out "but only in whole elements" ' 404$' ask agent-1 shop.test /xy
soon "the name of the host is not minded in its case" is_served "one 200" SHOP.test:80 /
soon "another host" is_served "no Ingress leads there 404" other.test /
soon "a Service that is not there" is_served "no pod is ready for this 503" shop.test /gone
soon_out "any name below a wildcard" '^host: a.wild.test' ask agent-1 a.wild.test /
soon_out "the pods are told who asks" "^x-forwarded-for: $own" in_switch curl -s -H 'Host: a.wild.test' -H 'X-Forwarded-For: 6.6.6.6' "http://$(addr_of agent-1)/"
soon_out "and how" '^x-forwarded-proto: http' in_switch curl -s -H 'Host: a.wild.test' "http://$(addr_of agent-1)/"
t "status" until_ok 60 is "$nodes" eval "k get ingress shop -o 'jsonpath={.status.loadBalancer.ingress[*].ip}' | tr ' ' ','"
soon_out "kubectl describe" 'shop.test' k describe ingress shop

soon "TLS with HTTP/2" is "one 200 2" safely agent-1 / "$tmp/first.crt"
soon "on the other node, too" is "two 200 2" safely server-1 /x/ "$tmp/first.crt"
soon_out "a name without a certificate" 'CN = Kontiki Ingress default certificate' subject agent-1 other.test

nsenter --net="/run/netns/kontiki-$cluster-switch" curl -sN -m 900 -H 'Host: a.wild.test' "http://$(addr_of agent-1)/slow" >"$tmp/slow" &
t "the first part of a stream comes while the last is not there yet" until_ok 60 grep -q '^first' "$tmp/slow"
touch "$tmp/go"
t "then the last" until_ok 60 grep -q '^last' "$tmp/slow"
mkfifo "$tmp/say"
nsenter --net="/run/netns/kontiki-$cluster-switch" python3 "$root/tests/system/upgrade.py" talk "$(addr_of agent-1)" 80 b.wild.test <"$tmp/say" >"$tmp/heard" 2>&1 &
background+=($!)
exec 8>"$tmp/say"
t "a WebSocket" until_ok 60 grep -q '^echo hello' "$tmp/heard"

nsenter --net="/run/netns/kontiki-$cluster-switch" bash -c "drive $tmp $(addr_of agent-1)" &
driver=$!
background+=("$driver")
t "new pods and rules under load" changes
t "another certificate" certificate second second
t "is served" until_ok 60 eval "subject agent-1 shop.test | grep second"
touch "$tmp/stop"
wait "$driver"
t "no request failed" none_failed
note "$(cat "$tmp/driven")"
echo "still there" >&8
t "the WebSocket lives" until_ok 60 grep -q '^echo still there' "$tmp/heard"
exec 8>&-

t "the rules go" k delete ingress shop
t "nobody listens any more" until_ok 60 eval '! in_switch curl -s -m 2 "http://$(addr_of agent-1)/"'
t "and the nodes do not say that they do" until_ok 60 is "" k get nodes -o 'jsonpath={.items[*].metadata.annotations.kontiki\.dev/ingress}'
