#!/bin/bash
# Bad input gets a clear answer, nothing is lost and nothing crashes.
# shellcheck source=tests/system/lib.sh
. "$(dirname "$0")/lib.sh"

json=(-H 'Content-Type: application/json')
cms=/api/v1/namespaces/default/configmaps

# refused NAME STATUS REGEX PATH [CURL-ARGUMENTS...]: the API answers with that status, and a Status object that says REGEX.
refused() {
	local name=$1 status=$2 regex=$3
	shift 3
	t "$name: $status" refusal "$status" "$regex" "$@"
}
refusal() {
	local status=$1 regex=$2 out
	shift 2
	out=$(api "$@" 2>&1)
	printf '%s\n' "$out" | head -c 3000
	grep -qx "status $status" <<<"$out" || { echo "(status $status was expected)"; return 1; }
	grep -Eq '"kind": ?"Status"' <<<"$out" || { echo "(no Status object)"; return 1; }
	grep -Eq -- "$regex" <<<"$out" || { echo "(nothing matches $regex)"; return 1; }
}
manifest() { # NAME REGEX YAML
	printf '%s\n' "$3" >"$tmp/bad.yaml"
	t_err "$1" "$2" k apply -f "$tmp/bad.yaml"
}
pids() { for p in "/proc/"[0-9]*; do
	[ "$(readlink "$p/exe")" = "$(readlink -f "$KONTIKI")" ] && tr '\0' ' ' <"$p/cmdline" 2>/dev/null | grep -E "^[^ ]+ server .*$tmp" >/dev/null && basename "$p"
done; }

cluster_up --servers 1
t "the node becomes ready" until_ok 60 nodes_ready 1
api_files
t "something to lose" k create configmap precious --from-literal=a=b
before=$(pids)

# --- bodies
refused "JSON that ends too early" 400 'BadRequest' "$cms" "${json[@]}" -d '{"apiVersion":"v1","kind":"ConfigMap","metadata":{'
refused "JSON that is none" 400 'BadRequest' "$cms" "${json[@]}" -d 'nonsense'
refused "an empty body" 400 'BadRequest' "$cms" "${json[@]}" -X POST
refused "nesting without an end" 400 'BadRequest' "$cms" "${json[@]}" --data-binary @<(head -c 200000 /dev/zero | tr '\0' '[')
refused "YAML with a bad indent" 400 'BadRequest' "$cms" -H 'Content-Type: application/yaml' --data-binary $'kind: ConfigMap\n  x: [1\n'
refused "YAML aliases that multiply" 400 'BadRequest|limit|alias' "$cms" -H 'Content-Type: application/yaml' --data-binary \
	$'a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e]\ng: &g [*f,*f,*f,*f,*f,*f,*f,*f,*f]\n'
refused "protobuf without its magic" 400 'BadRequest' "$cms" -H 'Content-Type: application/vnd.kubernetes.protobuf' --data-binary 'abc'
refused "protobuf that is cut off" 400 'BadRequest' "$cms" -H 'Content-Type: application/vnd.kubernetes.protobuf' --data-binary @<(printf 'k8s\0\n\xff\xff\xff\xff\x0fxx')
refused "a media type that is not known" 415 'UnsupportedMediaType' "$cms" -H 'Content-Type: text/html' -d '<p>'
refused "an Accept that cannot be met" 406 'NotAcceptable' "$cms" -H 'Accept: text/html'
refused "more than 3 MiB" 413 'RequestEntityTooLarge' "$cms" "${json[@]}" --data-binary @<(
	printf '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"big"},"data":{"a":"'
	head -c 3200000 /dev/zero | tr '\0' a
	printf '"}}'
)
refused "a ConfigMap over 1 MiB" 422 'Too long|must have at most 1048576' "$cms" "${json[@]}" --data-binary @<(
	printf '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"big"},"data":{"a":"'
	head -c 1100000 /dev/zero | tr '\0' a
	printf '"}}'
)
refused "another kind than the path's" 400 'BadRequest' "$cms" "${json[@]}" -d '{"apiVersion":"v1","kind":"Secret","metadata":{"name":"x"}}'
refused "another namespace than the path's" 400 'does not match' "$cms" "${json[@]}" -d '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x","namespace":"y"}}'
refused "a wrong type" 400 'json: cannot unmarshal|expected|data' "$cms" "${json[@]}" -d '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x"},"data":"text"}'
refused "an unknown field, asked to be strict" 400 'unknown field .*spelled' "$cms?fieldValidation=Strict" "${json[@]}" \
	-d '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x"},"spelled":"wrong"}'
refused "a name with capitals" 422 'metadata.name.*RFC 1123' "$cms" "${json[@]}" -d '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"Not_A_Name"}}'
refused "no name" 422 'name or generateName is required' "$cms" "${json[@]}" -d '{"apiVersion":"v1","kind":"ConfigMap","metadata":{}}'
refused "a name that is there" 409 'AlreadyExists' "$cms" "${json[@]}" -d '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"precious"}}'
refused "a namespace that is not there" 404 'namespaces.*not found' /api/v1/namespaces/nowhere/configmaps "${json[@]}" \
	-d '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x"}}'
refused "a patch type that is not known" 415 'UnsupportedMediaType' "$cms/precious" -X PATCH "${json[@]}" -d '{}'
refused "a patch that is none" 400 'BadRequest' "$cms/precious" -X PATCH -H 'Content-Type: application/json-patch+json' -d '{"op":1}'

# --- paths, selectors, revisions
refused "a resource that is not there" 404 'NotFound|could not find' /apis/apps/v1/namespaces/default/nonsense
plain_404() { [ "$(api "$1")" = $'404 page not found\n\nstatus 404' ] || { api "$1"; return 1; }; }
t "a group that is not there: a plain 404, as upstream's" plain_404 /apis/nonsense.example/v1/things
refused "a verb that is not allowed" 405 'MethodNotAllowed' "$cms/precious" "${json[@]}" -X POST -d '{}'
refused "a label selector that is none" 400 'BadRequest' "$cms?labelSelector=%3D%3D%3D"
refused "a field that cannot be selected by" 400 'field label not supported|not a known field selector' "$cms?fieldSelector=data.a%3Db"
refused "a continue token that is none" 400 'continue' "$cms?limit=1&continue=nonsense"
refused "a limit that is none" 400 'limit|BadRequest' "$cms?limit=many"
refused "a resourceVersion that is none" 400 'resourceVersion: Invalid value' "$cms?resourceVersion=abc"
refused "nor can a watch begin at one (upstream's code)" 500 'resourceVersion: Invalid value' "$cms?watch=1&resourceVersion=abc"
rv=$(k get configmap precious -o 'jsonpath={.metadata.resourceVersion}')
t "a change, so that the first version is stale" k patch configmap precious -p '{"data":{"a":"c"}}'
refused "a stale resourceVersion" 409 'the object has been modified' "$cms/precious" "${json[@]}" -X PUT \
	-d '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"precious","resourceVersion":"'"$rv"'"},"data":{"a":"lost update"}}'
refused "a uid that is another's" 409 'Precondition failed' "$cms/precious" "${json[@]}" -X DELETE \
	-d '{"apiVersion":"v1","kind":"DeleteOptions","preconditions":{"uid":"00000000-0000-0000-0000-000000000000"}}'
gone() {
	local out
	out=$(api "$cms?watch=1&resourceVersion=1&timeoutSeconds=2" 2>&1)
	printf '%s\n' "$out" | head -c 1000
	# Either revision 1 is still kept, and the watch just works, or it says 410, as a status or as an ERROR event.
	grep -Eq '^status 410|"code": ?410|"type": ?"(ADDED|MODIFIED)"' <<<"$out"
}
t "a watch from the first revision is served or told that it is gone" gone
refused "a revision from the future" 504 'Too large resource version|Timeout' "$cms?resourceVersion=99999999999&resourceVersionMatch=NotOlderThan"

# --- manifests, as kubectl shows it
manifest "kubectl: an unknown kind" 'no matches for kind' $'apiVersion: v1\nkind: Pood\nmetadata: {name: x}'
manifest "kubectl: an unknown field" 'unknown field .*imagine' \
	$'apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nspec:\n  containers:\n  - {name: a, imagine: b}'
manifest "kubectl: a wrong type has its path" 'replicas|expected.*int' \
	$'apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\nspec: {replicas: many, selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {containers: [{name: a, image: b}]}}}'
manifest "kubectl: a negative number" 'spec.replicas.*greater than or equal to 0' \
	$'apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\nspec: {replicas: -1, selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {containers: [{name: a, image: b}]}}}'
manifest "kubectl: a selector that does not fit" 'selector. does not match template' \
	$'apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\nspec: {selector: {matchLabels: {a: c}}, template: {metadata: {labels: {a: b}}, spec: {containers: [{name: a, image: b}]}}}'
manifest "kubectl: no containers" 'spec.containers: Required value' $'apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nspec: {containers: []}'
manifest "kubectl: all errors at once" 'spec.containers\[0\].name.*' \
	$'apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nspec: {containers: [{name: A_B, image: b, ports: [{containerPort: 70000}]}]}'
manifest "kubectl: a port out of range" 'between 1 and 65535' \
	$'apiVersion: v1\nkind: Service\nmetadata: {name: x}\nspec: {ports: [{port: 70000}]}'
manifest "kubectl: a node port out of range" 'valid ports is 30000-32767' \
	$'apiVersion: v1\nkind: Service\nmetadata: {name: x}\nspec: {type: NodePort, ports: [{port: 80, nodePort: 80}]}'
manifest "kubectl: a quantity that is none" 'quantit' \
	$'apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nspec: {containers: [{name: a, image: b, resources: {limits: {cpu: lots}}}]}'
t "a pod with an image that is nowhere is accepted" k run lost --image=nowhere.example/none:1
t_out "and says what it lacks" 'ErrImagePull|ImagePullBackOff' until_ok 60 has_line 'ErrImagePull|ImagePullBackOff' k get pod lost
immutable() {
	k create secret generic fixed --from-literal=a=b >/dev/null && k patch secret fixed -p '{"immutable":true}' &&
		fails_with 'immutable' k patch secret fixed -p '{"data":{"a":"Yw=="}}'
}
t "kubectl: an immutable field" immutable

# --- who is it?
anonymous() { # STATUS PATH [CURL-ARGUMENTS...]
	local status=$1 out
	shift
	out=$(api_anonymous "$@" 2>&1)
	printf '%s\n' "$out" | head -c 600
	grep -qx "status $status" <<<"$out" && ! grep -q '"items"' <<<"$out"
}
t "anonymous may ask for health" anonymous 200 /healthz
t "anonymous may ask for the version" anonymous 200 /version
t "anonymous gets nothing else" anonymous 40[13] /api/v1/pods
t "a bad token" anonymous 401 /api/v1/pods -H 'Authorization: Bearer nonsense'
t "a token signed by another" anonymous 401 /api/v1/pods -H 'Authorization: Bearer eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJzeXN0ZW06c2VydmljZWFjY291bnQ6ZGVmYXVsdDpkZWZhdWx0In0.AAAA'
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -subj '/O=system:masters/CN=kubernetes-admin' \
	-keyout "$tmp/foreign.key" -out "$tmp/foreign.crt" >/dev/null 2>&1
foreign() {
	local out
	out=$(curl -sS -m 60 --cacert "$tmp/ca.crt" --cert "$tmp/foreign.crt" --key "$tmp/foreign.key" -w '\nstatus %{http_code}\n' "$server/api/v1/pods" 2>&1)
	printf '%s\n' "$out" | head -c 600
	grep -Eq 'status (401|000)' <<<"$out"
}
t "a certificate of another authority" foreign
plain() { ! curl -sS -m 60 "http://${server#https://}/api/v1/pods" | grep '"items"'; }
t "plain HTTP" plain
t "a handshake that is none" has_line sent timeout 240 bash -c "exec 5<>/dev/tcp/127.0.0.1/${server##*:} && head -c 3000 /dev/urandom >&5; echo sent"

# --- nothing happened to the server
t "the server is the same process as before" is "$before" pids
t "nothing is lost" is c k get configmap precious -o 'jsonpath={.data.a}'
cluster_down
