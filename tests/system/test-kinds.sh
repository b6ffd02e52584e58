#!/bin/bash
# Every kind on a real cluster: applied, listed, explained and deleted with kubectl, whether anything acts on it or not; and
# what nodes and pods use, for `kubectl top`.
# shellcheck source=tests/system/lib.sh
. "$(dirname "$0")/lib.sh"

cluster_up --servers 1
until_ok 60 nodes_ready 1 >/dev/null || not_ok "the node is ready"

# One object or more of each kind that can be stored, from the replayed creates. Nodes come by themselves.
python3 - "$root/tests/data/api/create.jsonl" >"$tmp/all.json" <<'EOF'
import json, sys
docs = []
for line in open(sys.argv[1]):
    row = json.loads(line)
    # Policies are refused: nothing here evaluates CEL.
    if row["answer"]["kind"] in ("Status", "Node") or "AdmissionPolicy" in row["answer"]["kind"]:
        continue
    doc = row["body"]
    if "/namespaces/golden/" in row["path"]:
        doc["metadata"]["namespace"] = "golden"
    docs.append(doc)
print(json.dumps({"apiVersion": "v1", "kind": "List", "items": docs}))
EOF
n=$(grep -o '"apiVersion"' "$tmp/all.json" | wc -l)

# By version: a bare name that core has, too (events, or the pods of the metrics), means core's.
explain_all() {
	local name version bad=0
	while read -r name version; do
		k explain "$name" --api-version="$version" >"$tmp/explain" 2>&1 ||
			{ echo "$name $version:"; tail -n 3 "$tmp/explain"; bad=1; }
	done < <(k api-resources --no-headers | awk '{print $1, $(NF-2)}')
	return $bad
}
list_all() {
	local name bad=0
	for name in $(k api-resources --verbs=list -o name); do
		k get "$name" -A -o wide >"$tmp/list" 2>&1 || { echo "$name:"; head -n 3 "$tmp/list"; bad=1; }
	done
	return $bad
}
top_shows() { # REGEX ARGUMENTS...
	local regex=$1
	shift
	has_line "$regex" k top "$@"
}

t "explain every kind" explain_all
k create namespace golden >/dev/null
t "apply $n objects of all kinds" k apply -f "$tmp/all.json"
t "list every kind" list_all
t "a job is done" until_ok 60 has_line '^j +Complete +1/1 ' k get jobs -n golden
soon_out "a stateful set" '^ss +0/1 ' k get sts -n golden
soon_out "an autoscaler written as v1, read as v2" '"averageUtilization": ?50' k get hpa.v2.autoscaling h1 -n golden -o json
t_err "what is wrong is said" 'spec.schedule: Invalid value: "60 \* \* \* \*": end of range \(60\) above maximum \(59\): 60' \
	k patch cronjob cj -n golden --type merge -p '{"spec":{"schedule":"60 * * * *"}}'
t_err "what must not change" 'spec.template: Invalid value: .*: field is immutable' \
	k patch job j -n golden --type merge -p '{"spec":{"template":{"spec":{"containers":[{"name":"c","image":"other"}]}}}}'
t "delete them again" k delete -f "$tmp/all.json" --wait=false --ignore-not-found

t "a pod that burns" k run busy --image=busybox:1.35 --restart=Never -- sh -c 'while :; do i=$((i+1)); done'
t "runs" k wait --for=condition=Ready pod/busy --timeout=300s
t "kubectl top node" until_ok 60 top_shows '^server-1 +[0-9]+m +[0-9]+% +[0-9]+Mi ' node
t "kubectl top pod" until_ok 60 top_shows '^busy +[1-9][0-9]*m +[0-9]+Mi' pod
t "kubectl top pod of containers" until_ok 60 top_shows '^busy +busy +[1-9][0-9]*m ' pod busy --containers
soon_out "metrics in a Table" '^server-1 +[0-9]+' k get nodes.metrics.k8s.io
t_err "metrics of a pod that is not there" 'not found' k get pods.metrics.k8s.io none
