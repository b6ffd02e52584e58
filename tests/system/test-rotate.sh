#!/bin/bash
# The CA and the token key are replaced while clients write: no request fails, a server that dies in between catches up, the old
# ones are given up only when nobody needs them, and then they are worth nothing.
# shellcheck source=tests/system/lib.sh
. "$(dirname "$0")/lib.sh"

cluster_up --servers 3 --agents 1
t "the nodes become ready" until_ok 60 nodes_ready 4
cp "$tmp/kubeconfig" "$tmp/old"
old_token=$(cat "$cluster_dir/server-2/pki/join.token")
k run looker --image=busybox --restart=Never --command -- sleep 1000 >/dev/null
# Its server may be the one that dies; what is not started by then is a pod that failed.
t "a pod runs" k wait --for=condition=Ready pod/looker --timeout=300s

# Each call is a connection of its own; what fails is noted, as the writer does it.
prober() { # KUBECONFIG LOG
	local at
	while :; do
		at=$(now)
		"$KUBECTL" --kubeconfig "$1" --cache-dir "$tmp/kube-cache" get configmaps -n default -o name >/dev/null 2>"$2.err" ||
			echo "0 $at $(now) $(tr '\n' ' ' <"$2.err")" >>"$2"
		echo >>"$2.count"
	done
}
start_load() { # KUBECONFIG NAME
	cp "$1" "$tmp/kubeconfig"
	start_writer "$2" --pause 5
	: >"$tmp/$2.probe"
	prober "$1" "$tmp/$2.probe" &
	background+=($!)
}
enough() { [ "$(acks "$tmp/$1.log")" -ge 50 ] && [ "$(wc -l <"$tmp/$1.probe.count")" -ge 10 ]; }
# On a busy machine a server may stand still for so long that the balancer gives it up, whatever is replaced meanwhile: was it so?
was_given_up() { # FROM TO
	awk -v from="$(date -u -d "@$((${1%.*} - 1))" +%FT%T)" -v to="$(date -u -d "@$((${2%.*} + 2))" +%FT%T)" \
		'/does not answer/ && $1 >= from && $1 <= to { found = 1 } END { exit !found }' "$cluster_dir/lb.log"
}
no_failures() { # NAME
	local from to what bad=0
	while read -r _ from to what; do
		if was_given_up "$from" "$to" && grep -Eqi 'disconnect|reset|closed|eof|time' <<<"$what"; then continue; fi
		echo "$from $to $what"
		bad=1
	done < <(awk '$4 != "ack"' "$tmp/$1.log" "$tmp/$1.probe")
	[ $bad = 0 ] || return 1
	# On a busy machine it may take a while until there were enough to say so.
	until_ok 60 enough "$1"
}
cas() { "$KUBECTL" --kubeconfig "$cluster_dir/admin.kubeconfig" -n "$1" get configmap kube-root-ca.crt -o 'jsonpath={.data.ca\.crt}' | grep -c BEGIN; }
certs_in() { grep -c BEGIN "$1"; }
verifies() { # SERVER PORT CA-FILE
	in_switch openssl s_client -connect "$(addr_of "$1"):$2" -CAfile "$3" -verify_return_error </dev/null 2>&1 | grep 'Verify return code: 0'
}
cp "$cluster_dir/server-1/pki/ca.crt" "$tmp/old-ca.crt"
name_taken() { # somebody else with a token asks for a certificate in the name of a node that is there
	in_switch curl -sSk --http1.1 -m 60 -X POST -H "Authorization: Bearer ${old_token##*.}" "https://$(addr_of server-2):6443/kontiki/v1/join/agent" \
		-d "{\"name\":\"agent-1\",\"addr\":\"$(addr_of agent-1)\",\"csr\":\"\",\"password\":\"guessed\"}"
}
soon_out "a token is not enough to become a node that is there" 'the node agent-1 is another machine' name_taken

# --- the first step
t_out "it says what it will do" 'The second step, --retire, ends the trust in the old CA' kk cert rotate-ca
t_out "and does nothing" '^Nothing has been changed' kk cert rotate-ca
t_err "there is nothing to retire" 'none has been begun' kk cert rotate-ca --retire --yes
mapfile -t followers < <(servers | grep -vx "$(leader)")
follower=${followers[0]}
t "a server dies" node kill "$follower"
start_load "$tmp/old" first
until_ok 40 has_acks "$tmp/first.log" 20 >/dev/null
t_err "the first step waits for it" 'not all have followed within 6 seconds' kk cert rotate-ca --yes --wait 6
soon_out "status tells of the rotation" "server $follower has not taken up the last step" kk cert status
soon_out "and shows both CAs" '^ca.crt .*CN=kontiki-ca-' kk cert status --data-dir "$cluster_dir/$(leader)"
t "the server comes back" node start "$follower"
t_out "the same command goes on where it stood" 'it signs now' kk cert rotate-ca --yes --wait 300
"$KONTIKI" kubeconfig >"$tmp/new"
new_ca_verifies() { awk '/BEGIN/{n++} n==1' "$cluster_dir/pki/ca.crt" >"$tmp/new-ca.crt" && verifies "$follower" 6443 "$tmp/new-ca.crt"; }
soon "the API shows a certificate of the new CA" new_ca_verifies
soon "who knows only the old one is served" verifies "$follower" 6443 "$tmp/old-ca.crt"
t "a pod trusts both" until_ok 100 is 2 "$KUBECTL" --kubeconfig "$tmp/new" exec looker -- grep -c BEGIN /var/run/secrets/kubernetes.io/serviceaccount/ca.crt
t "no request has failed" no_failures first
soon "the old token still joins" is 400 join_status server-2 "$old_token"
names_new_ca() { local now; now=$(cat "$cluster_dir/server-2/pki/join.token") && [ -n "$now" ] && [ "${now%.*}" != "${old_token%.*}" ]; }
soon "the new one names the new CA" names_new_ca

# --- the second step
soon_err "the old CA stays while somebody comes with its certificate" 'not yet: kubernetes-admin came to server .* with a certificate of the old CA' \
	kk cert rotate-ca --retire --yes
stop_writers
start_load "$tmp/new" second
# Half a minute without anybody.
t "then it is given up" until_ok 60 kk cert rotate-ca --retire --yes
t "no request has failed" no_failures second
stop_writers
soon "one CA is left on a server" is 1 certs_in "$cluster_dir/$follower/pki/ca.crt"
t "and for pods" until_ok 30 is 1 cas kube-system
t "and on the node without a control plane" until_ok 40 is 1 certs_in "$cluster_dir/agent-1/pki/ca.crt"
soon_err "the old kubeconfig is worth nothing" 'unknown authority' "$KUBECTL" --kubeconfig "$tmp/old" get nodes
t_err "the old token joins nobody" 'belongs to another cluster' in_node agent-1 timeout 240 "$KONTIKI" agent --server "https://$(addr_of server-2):6443" \
	--token "$old_token" --name nobody --data-dir "$tmp/nobody"
cp "$tmp/new" "$tmp/kubeconfig"
t "the nodes are ready" until_ok 60 nodes_ready 4
t "the leader may die, with the new certificates between the members" node kill "$(leader)"
t "and another leads" until_ok 40 has_leader
written() { k get configmap "$1" || k create configmap "$1"; }
soon "members talk" written after
for s in $(servers); do node start "$s" >/dev/null 2>&1; done
t "all come back" until_ok 60 nodes_ready 4

# --- the token key
k create serviceaccount bot >/dev/null
k apply -f - >/dev/null <<'YAML'
apiVersion: v1
kind: Secret
type: kubernetes.io/service-account-token
metadata: {name: bot, annotations: {kubernetes.io/service-account.name: bot}}
YAML
kept() { k get secret bot -o 'jsonpath={.data.token}' | base64 -d; }
has_kept() { [ -n "$(kept)" ]; }
t "a token in a Secret is filled in" until_ok 30 has_kept
kept_before=$(kept)
before=$(until_ok 60 k create token bot)
whoami() { "$KUBECTL" --kubeconfig /dev/null --server "$(k config view --minify -o 'jsonpath={.clusters[0].cluster.server}')" \
	--insecure-skip-tls-verify --token "$1" auth whoami; }
kid() { cut -d. -f1 <<<"$1" | base64 -d 2>/dev/null | jq -r .kid; }
t_out "a new token key" 'it signs now' kk cert rotate-sa --yes --wait 300
after=$(until_ok 60 k create token bot)
t "signs" [ "$(kid "$before")" != "$(kid "$after")" ]
soon_out "the old token is good" 'system:serviceaccount:default:bot' whoami "$before"
soon_out "and the new one" 'system:serviceaccount:default:bot' whoami "$after"
soon "both keys are published" is 2 sh -c "\"$KUBECTL\" --kubeconfig \"$tmp/kubeconfig\" get --raw /openid/v1/jwks | jq '.keys | length'"
other_kept() { [ "$(kid "$(kept)")" = "$(kid "$after")" ]; }
t "the one in the Secret is made anew" until_ok 30 other_kept
t "and the one that it held is worth nothing" until_ok 30 fails_with 'Unauthorized|logged in' whoami "$kept_before"
soon_out "the one that it holds is good" 'system:serviceaccount:default:bot' whoami "$(kept)"
soon_err "the old key stays while its tokens live" 'system:serviceaccount:default:bot came|are renewed within' kk cert rotate-sa --retire --yes
t_out "unless one insists" 'no longer trusted' kk cert rotate-sa --retire --yes --force
t "then they are worth nothing" until_ok 30 fails_with 'Unauthorized|logged in' whoami "$before"
soon_out "the new one stays" 'system:serviceaccount:default:bot' whoami "$after"
