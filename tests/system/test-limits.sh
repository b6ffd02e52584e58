#!/bin/bash
# What runs out: history (410 after a real compaction), Events (their time), requests at one time (429). One server without an agent, in
# a network namespace of its own, with short limits. It ends when it is told to.
# shellcheck source=tests/system/lib.sh
. "$(dirname "$0")/lib.sh"

[ "$(id -u)" = 0 ] || { skip "everything: needs root"; exit 0; }
ns=kontiki-limits-$$
dir=$tmp/s
inside() { nsenter --net="/run/netns/$ns" "$@"; }
k() { inside "$KUBECTL" --kubeconfig "$dir/admin.kubeconfig" --cache-dir "$tmp/kube-cache" "$@"; }
raw() { k get --raw "$1"; }
start() { # FLAGS...
	(exec nsenter --net="/run/netns/$ns" "$KONTIKI" server --no-agent --name solo --data-dir "$dir" --advertise-address 127.0.0.1 "$@") \
		>>"$tmp/server.log" 2>&1 &
	pid=$!
	background=("$pid")
	t "the server starts with $*" until_ok 40 raw /readyz
}
stop() {
	local rc
	kill -TERM "$pid"
	wait "$pid"
	rc=$?
	background=()
	t "and stops in good order" [ $rc -eq 0 ]
}
refuses() { # FLAG VALUE
	t_err "--$1 $2 is refused" "--$1 $2: must be from" timeout 240 "$KONTIKI" server --no-agent --data-dir "$tmp/none" --name x --advertise-address 127.0.0.1 "--$1" "$2"
}

trap 'rc=$?; ip netns del "$ns" 2>/dev/null; (exit $rc); on_exit' EXIT
ip netns add "$ns" && ip -n "$ns" link set lo up

refuses event-ttl -1
refuses history 9999999
refuses max-requests-inflight 100000000
refuses secure-port 70000

# --- Events and history
start --event-ttl 5 --history 1
event() { # NAME
	cat <<-EOE
		apiVersion: v1
		kind: Event
		metadata: {name: $1, namespace: default}
		involvedObject: {kind: Pod, namespace: default, name: x}
		reason: Tested
		message: this will pass
		type: Normal
	EOE
}
no_event() { [ -z "$(k get events --field-selector reason=Tested -o name)" ]; }
watch_events() { exec nsenter --net="/run/netns/$ns" "$KUBECTL" --kubeconfig "$dir/admin.kubeconfig" get events -w --output-watch-events; }
told() { grep -q "^$1.*this will pass" "$tmp/watch.out"; }
# Its time may be over before another command has begun to look: the watch tells that it was there, and until it does there is a new one. And what
# a watch would begin with may be over before it has begun: then there is a new watch.
watcher=
n_events=0
made_and_told() { # WHAT
	if ! kill -0 $watcher 2>/dev/null; then
		(watch_events) >>"$tmp/watch.out" 2>&1 &
		watcher=$!
		background=("$pid" "$watcher")
	fi
	n_events=$((n_events + 1))
	event "passing-$n_events" >"$tmp/event.yaml"
	k create -f "$tmp/event.yaml" && until_ok "$2" told "$1"
}
t "an Event is made, and a watch told so" until_ok 60 made_and_told ADDED 3
t "its time ends" until_ok 60 no_event
t "and a watch is told so" until_ok 60 made_and_told DELETED 20
kill "$watcher" 2>/dev/null
background=("$pid")

k create configmap turns --from-literal=n=0 >/dev/null
old=$(k get configmap turns -o 'jsonpath={.metadata.resourceVersion}')
turn() { k patch configmap turns -p "{\"data\":{\"n\":\"$EPOCHREALTIME\"}}" >/dev/null; }
cms=/api/v1/namespaces/default/configmaps
expired() { # PATH: 410 as a Status, or as the error event of a watch
	turn
	local out
	out=$(raw "$1" 2>&1)
	grep -Eq 'too old resource version|The provided continue|[Ee]xpired|Gone' <<<"$out" || { echo "$out" | head -c 500; return 1; }
}
page=$(raw "$cms?limit=1" | jq -r .metadata.continue)
[ "$page" != null ] && [ -n "$page" ] || { k create configmap second >/dev/null; page=$(raw "$cms?limit=1" | jq -r .metadata.continue); }
t "a watch from a revision that was compacted has expired" until_ok 40 expired "$cms?watch=1&timeoutSeconds=5&resourceVersion=$old"
t "a list of exactly that revision, too" until_ok 40 expired "$cms?resourceVersion=$old&resourceVersionMatch=Exact"
t "and the next page of an old list" until_ok 40 expired "$cms?limit=1&continue=$page"
code() { # PATH
	inside curl -sk -m 60 --cert "$tmp/admin.crt" --key "$tmp/admin.key" -o "$tmp/code.out" -w '%{http_code}' "https://127.0.0.1:6443$1"
}
for f in client-certificate-data:admin.crt client-key-data:admin.key; do
	k config view --raw -o "jsonpath={.users[0].user.${f%:*}}" | base64 -d >"$tmp/${f#*:}"
done
t "the list's status is 410" until_ok 40 is 410 code "$cms?resourceVersion=$old&resourceVersionMatch=Exact"
t "with the reason Expired" is Expired jq -r .reason "$tmp/code.out"
watch_error() { code "$cms?watch=1&timeoutSeconds=20&resourceVersion=$old" >/dev/null && jq -r '"\(.object.code) \(.object.reason)"' "$tmp/code.out"; }
t "the watch's error has the code 410" until_ok 40 is '410 Expired' watch_error
stop

# --- requests at one time: a level of its own for one account, with a seat for each loop
start --max-requests-inflight 2
loud_account() {
	k get serviceaccount loud >/dev/null || k create serviceaccount loud
	k get rolebinding loud >/dev/null || k create rolebinding loud --clusterrole=edit --serviceaccount=default:loud
	k create token loud >"$tmp/token"
}
t "an account" until_ok 40 loud_account
t "a level and a schema are made" k apply -f - <<-'EOF'
	apiVersion: flowcontrol.apiserver.k8s.io/v1
	kind: PriorityLevelConfiguration
	metadata: {name: narrow}
	spec: {type: Limited, limited: {nominalConcurrencyShares: 1, borrowingLimitPercent: 0, limitResponse: {type: Reject}}}
	---
	apiVersion: flowcontrol.apiserver.k8s.io/v1
	kind: FlowSchema
	metadata: {name: loud}
	spec:
	  priorityLevelConfiguration: {name: narrow}
	  matchingPrecedence: 500
	  rules:
	  - subjects: [{kind: ServiceAccount, serviceAccount: {namespace: default, name: loud}}]
	    resourceRules: [{verbs: ['*'], apiGroups: ['*'], resources: ['*'], namespaces: ['*'], clusterScope: true}]
	---
	apiVersion: flowcontrol.apiserver.k8s.io/v1
	kind: FlowSchema
	metadata: {name: nowhere}
	spec: {priorityLevelConfiguration: {name: missing}, matchingPrecedence: 400, rules: []}
EOF
loud() { inside curl -sk -m 60 -H "Authorization: Bearer $(cat "$tmp/token")" -o "$tmp/code.out" -D "$tmp/code.head" -w '%{http_code}' "https://127.0.0.1:6443$1"; }
dangling() { k get flowschema "$1" -o 'jsonpath={.status.conditions[?(@.type=="Dangling")].status}'; }
t "the schema's level was found" until_ok 30 is False dangling loud
t "that of another was not" until_ok 30 is True dangling nowhere
uid_of() { k get "$1" "$2" -o 'jsonpath={.metadata.uid}'; }
classified() { [ "$(loud "$cms")" = 200 ] && grep -qi "^x-kubernetes-pf-flowschema-uid: $(uid_of flowschema loud)" "$tmp/code.head"; }
t "answers say how a request was classified" until_ok 30 classified
t "and in which level" grep -qi "^x-kubernetes-pf-prioritylevel-uid: $(uid_of prioritylevelconfiguration narrow)" "$tmp/code.head"
# Bodies that do not come: each is a request under way, and another one when it has been given up.
nsenter --net="/run/netns/$ns" /usr/bin/python3 - "$cms" "$tmp" <<-'EOP' &
	import socket, ssl, sys, threading, time
	tls = ssl._create_unverified_context()
	token = open(sys.argv[2] + "/token").read().strip()
	def hold():
	    while True:
	        try:
	            s = tls.wrap_socket(socket.create_connection(("127.0.0.1", 6443)))
	            s.sendall(("POST %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{" % (sys.argv[1], token)).encode())
	            while s.recv(4096):
	                pass
	        except OSError:
	            pass
	        time.sleep(0.5)
	for _ in range(12):
	    threading.Thread(target=hold, daemon=True).start()
	time.sleep(600)
EOP
background+=($!)
too_many() { [ "$(loud "$cms")" = 429 ]; }
t "more requests than it has seats are told to come back" until_ok 30 too_many
t "with a reason" is TooManyRequests jq -r .reason "$tmp/code.out"
t "in upstream's words" is 'Too many requests, please try again later.' jq -r .message "$tmp/code.out"
# The more are told so within a second, the longer they are to wait.
t "and when" grep -qiE "^retry-after: [1-9]" "$tmp/code.head"
t "others are served all the same" is 200 code "$cms"
t "health is answered all the same" is 200 loud /livez
t_out "the metrics tell" 'apiserver_flowcontrol_rejected_requests_total.flow_schema="loud",priority_level="narrow",reason="concurrency-limit". [1-9]' raw /metrics
soon_out "so does the dump" '^narrow, 0, false, false, 0, [1-9],' raw /debug/api_priority_and_fairness/dump_priority_levels
kill "${background[1]}" 2>/dev/null
background=("$pid")
served() { [ "$(loud "$cms")" = 200 ]; }
t "when they are gone it is served again" until_ok 40 served
t "a mandatory schema comes back" k delete flowschema catch-all
t "by itself" until_ok 40 k get flowschema catch-all
stop
