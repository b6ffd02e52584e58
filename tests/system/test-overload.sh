#!/bin/bash
# One client that asks as hard as it can over many connections: another one of the same priority level is served, nodes stay
# ready, and the server's memory stays small. A server with a node, and a further node.
# shellcheck source=tests/system/lib.sh
. "$(dirname "$0")/lib.sh"

cluster_up --servers 1 --agents 1
t "the nodes become ready" until_ok 60 nodes_ready 2

k create namespace big >/dev/null
k create namespace small >/dev/null
for who in loud:big calm:small; do
	k -n "${who#*:}" create serviceaccount "${who%:*}" >/dev/null
	k -n "${who#*:}" create rolebinding "${who%:*}" --clusterrole=edit --serviceaccount="${who#*:}:${who%:*}" >/dev/null
	k -n "${who#*:}" create token "${who%:*}" >"$tmp/${who%:*}"
done
url=https://$(addr_of server-1):6443
flood() { # WHO ARGUMENTS...
	local ns=big
	[ "$1" = loud ] || ns=small
	in_switch /usr/bin/python3 "$root/tests/system/flood.py" --server "$url" --token "$tmp/$1" --namespace $ns "${@:2}"
}
t_out "a namespace with lists of some five megabytes" '^ok 500 busy 0 other 0$' flood loud --connections 8 --fill 500 --size 10000

server_pid() { pgrep -f "$KONTIKI server .*--data-dir $cluster_dir/server-1( |\$)|kontiki server.*$cluster_dir/server-1" | head -n 1; }
memory_kb() { awk "/^$1:/ { print \$2 }" "/proc/$(server_pid)/status"; }
since() { k get nodes -o 'jsonpath={range .items[*]}{.metadata.name} {.status.conditions[?(@.type=="Ready")].lastTransitionTime}{"\n"}{end}'; }
renewed() { k -n kube-node-lease get leases -o 'jsonpath={range .items[*]}{.metadata.name} {.spec.renewTime}{"\n"}{end}' | sort; }
since_before=$(since)
renewed_before=$(renewed)
note "anonymous memory before: $(memory_kb RssAnon) kB"

flood loud --connections 160 --seconds 40 >"$tmp/loud.out" 2>&1 &
background+=($!)
# Until it is loud: something waits.
waits() { k get --raw /metrics | awk -F'[ ]' '/^apiserver_flowcontrol_current_inqueue_requests.*workload-low/ { n += $2 } END { exit n < 20 }'; }
t "requests of the loud one have to wait" until_ok 35 waits
t_out "another one's requests are all served" '^ok [0-9]+ busy 0 other 0$' flood calm --calm --seconds 12 --pause 20
t "the administrator is served" k get pods -A
t "and a new pod starts" k run started --image=busybox --restart=Never -- true
under_load=$(memory_kb RssAnon)
note "anonymous memory under load: $under_load kB"
wait "${background[0]}"
background=()
note "the loud one: $(tail -n 1 "$tmp/loud.out")"
t_out "the loud one was served, too" '^ok [1-9][0-9]* busy [0-9]+ other 0$' tail -n 1 "$tmp/loud.out"
all_renewed() { [ "$(comm -12 <(echo "$renewed_before") <(renewed) | wc -l)" = 0 ]; }
t "every node has renewed its lease" until_ok 60 all_renewed
t "no node was ever lost" is "$since_before" since
t "nodes are ready" until_ok 60 nodes_ready 2
# 160 connections that each ask for 5 MB, and little of that in hand at a time.
small() { [ "$under_load" -lt 100000 ]; }
t "the server's memory stays small" small
