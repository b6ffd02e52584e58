#!/bin/bash
# Clients other than ours on a live cluster: the JavaScript client (tests/clients, from npm), and kubectl's streams over
# WebSocket and SPDY.
# shellcheck source=tests/system/lib.sh
. "$(dirname "$0")/lib.sh"

# kubectl's choice of transport: on for WebSocket, off for SPDY.
with_websockets() { # true|false COMMAND...
	local on=$1
	shift
	KUBECTL_REMOTE_COMMAND_WEBSOCKETS=$on KUBECTL_PORT_FORWARD_WEBSOCKETS=$on "$@"
}
# The answer to an upgrade as kubectl -v=8 shows it, so that a silent fallback does not pass.
upgraded() { # true|false PROTOCOL
	local url
	url=$(with_websockets "$1" k -v=8 exec box -- true 2>&1)
	grep -q '101 Switching Protocols' <<<"$url" && ! grep -qi 'fallback' <<<"$url" || { echo "$url" | tail -n 40; return 1; }
}
echo_through() { # true|false: stdin goes in and ends, the answer comes back
	local out
	out=$(printf 'hello\n' | with_websockets "$1" k exec -i box -- cat) && [ "$out" = hello ] || { echo "got: $out"; return 1; }
}
exit_code() { # true|false
	with_websockets "$1" k exec box -- sh -c 'exit 7'
	[ $? = 7 ]
}
much() { # true|false: 4 MiB out, all of it
	local n
	n=$(with_websockets "$1" k exec box -- sh -c 'head -c 4194304 /dev/zero' | wc -c)
	[ "$n" = 4194304 ] || { echo "got $n bytes"; return 1; }
}
forwarded_page() {
	local port
	port=$(sed -n 's/^Forwarding from 127.0.0.1:\([0-9]*\) .*/\1/p' "$tmp/forward.log" | head -n 1)
	[ -n "$port" ] || { cat "$tmp/forward.log"; return 1; }
	[ "$(curl -sS -m 60 "http://127.0.0.1:$port/")" = page ] || { cat "$tmp/forward.log"; return 1; }
}
forwards() { # true|false: several requests over one port-forward
	local rc=0
	rm -f "$tmp/forward.log"
	# Not through a function: the process that is killed must be the one that ends it.
	KUBECTL_PORT_FORWARD_WEBSOCKETS=$1 timeout 900 "$KUBECTL" --kubeconfig "$tmp/kubeconfig" --cache-dir "$tmp/kube-cache" -v=4 \
		port-forward pod/box :8080 >"$tmp/forward.log" 2>&1 &
	background=($!)
	until_ok 40 forwarded_page || rc=1
	for _ in 1 2 3 4 5; do [ $rc = 0 ] && { forwarded_page || rc=1; }; done
	kill "${background[0]}" 2>/dev/null
	wait "${background[0]}" 2>/dev/null
	background=()
	! grep -i 'fallback' "$tmp/forward.log" || rc=1
	return $rc
}

cluster_up --servers 1
t "the node becomes ready" until_ok 60 nodes_ready 1
cat >"$tmp/box.yaml" <<'YAML'
apiVersion: v1
kind: Pod
metadata: {name: box, labels: {app: box}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: c
    image: kontiki.local/busybox:1
    imagePullPolicy: IfNotPresent
    command: [sh, -c, "mkdir /www; echo page >/www/index.html; echo '<a href=\"/up\">u</a>' >/www/link.html; httpd -f -p 8080 -h /www"]
YAML
image=$(awk '$1 == "image:" && /busybox/ { print $2; exit }' "$root"/examples/*.yaml)
sed -i "s|kontiki.local/busybox:1|$image|" "$tmp/box.yaml"
t "server-side apply of a pod" k apply --server-side -f "$tmp/box.yaml"
t "it runs" k wait pod/box --for=condition=Ready --timeout=300s
for on in true false; do
	what=$([ $on = true ] && echo WebSocket || echo SPDY)
	t "exec over $what is upgraded, without a fallback" upgraded $on
	t "exec over $what: stdin to its end" echo_through $on
	t "exec over $what: the exit code" exit_code $on
	t "exec over $what: megabytes" much $on
	t "port-forward over $what" forwards $on
done

t "a service for the pod" k expose pod box --port 80 --target-port 8080
page() { [ "$(k get --raw "$1")" = page ]; }
t "proxy to the pod" until_ok 40 page /api/v1/namespaces/default/pods/box:8080/proxy/
t "proxy to the service" until_ok 40 page /api/v1/namespaces/default/services/box:80/proxy/
soon_out "a page's links lead through the proxy" '<a href="/api/v1/namespaces/default/services/box:80/proxy/up">' \
	k get --raw /api/v1/namespaces/default/services/box:80/proxy/link.html
soon_out "proxy to the node's kubelet" 'ok' k get --raw "/api/v1/nodes/$(k get nodes -o 'jsonpath={.items[0].metadata.name}')/proxy/healthz"

# suite OUTPUT NAME COMMAND...: a suite that says itself what was well.
suite() {
	local out=$1 name=$2 rc
	shift 2
	KUBECONFIG=$tmp/kubeconfig timeout 900 "$@" >"$out" 2>&1
	rc=$?
	cat "$out"
	n_failed=$((n_failed + $(grep -c '^not ok' "$out")))
	! grep -q '^not ok' "$out" || moment
	[ $rc -lt 2 ] && grep -q '^ok' "$out" || not_ok "$name ends"
}
if /usr/bin/python3 -c 'import kubernetes' 2>/dev/null; then
	suite "$tmp/python.out" "the Python client's suite" /usr/bin/python3 "$root/tests/clients/suite.py" "$image" \
		"$root"/examples/{config-consumer,ingress,nginx-deployment,nginx-service,probes}.yaml
else
	skip "the Python client: no python3-kubernetes here"
fi

if ! command -v npm >/dev/null || ! command -v node >/dev/null; then
	skip "the JavaScript client: no npm here"
elif ! { cp "$root/tests/clients/package.json" "$root"/tests/clients/*.mjs "$tmp/" &&
	(cd "$tmp" && timeout 240 npm install --no-audit --no-fund) >"$tmp/npm.log" 2>&1; }; then
	skip "the JavaScript client: npm cannot install it: $(grep -v '^$' "$tmp/npm.log" | tail -n 1)"
else
	suite "$tmp/suite.out" "the JavaScript client's suite" node "$tmp/suite.mjs" "$image"
fi
