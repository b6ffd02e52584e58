#!/bin/bash
# A server or agent that cannot start says what failed, why and what to do, leaves what is there alone, and ends with status 1 (2 for
# wrong usage). All in a network namespace of its own.
# shellcheck source=tests/system/lib.sh
. "$(dirname "$0")/lib.sh"

[ "$(id -u)" = 0 ] || { skip "everything: needs root"; exit 0; }
ns=kontiki-start-$$
trap 'rc=$?; ip netns del "$ns" 2>/dev/null; (exit $rc); on_exit' EXIT
ip netns add "$ns" && ip -n "$ns" link set lo up
inside() { nsenter --net="/run/netns/$ns" "$@"; }
# server NAME PORT-OFFSET [FLAGS...]: in the foreground; one that starts after all is ended.
server() {
	local name=$1 n=$2
	shift 2
	inside timeout 240 "$KONTIKI" server --no-agent --name "$name" --data-dir "$tmp/$name" --advertise-address 127.0.0.1 --secure-port $((6443 + n)) \
		--peer-port $((2380 + n)) --etcd-listen off "$@"
}
first() {
	(exec nsenter --net="/run/netns/$ns" "$KONTIKI" server --no-agent --name first --data-dir "$tmp/first" --advertise-address 127.0.0.1 \
		--etcd-listen off) >>"$tmp/first.log" 2>&1 &
	background=($!)
	until_ok 60 k get --raw /readyz >/dev/null
}
k() { inside "$KUBECTL" --kubeconfig "$tmp/first/admin.kubeconfig" --cache-dir "$tmp/kube-cache" "$@"; }

t "a first server" first
k create configmap precious --from-literal=a=b >/dev/null

t_err "its API port is in use" 'cannot listen on .*:6443: address already in use; stop the program' server second 1 --secure-port 6443
t_err "its peer port is in use" 'peer address .*:2380.* address already in use' server second 1 --peer-port 2380
t_err "its data directory is in use" 'another kontiki process uses the data directory .*first' server first 2
t_err "its etcd port is in use" 'address already in use' server third 2 --etcd-listen 127.0.0.1:6443

token=$(cat "$tmp/first/pki/join.token")
hash=$(cut -d. -f2 <<<"$token")
secret=$(cut -d. -f3 <<<"$token")
t_err "a join address that nobody listens on" 'cannot reach the cluster at 127.0.0.1:9: .*refused' server join 3 --join https://127.0.0.1:9 --token "$token"
t_err "one that is no URL" 'https://' server join 3 --join 127.0.0.1:6443 --token "$token"
t_err "a join without a token" 'token' server join 3 --join https://127.0.0.1:6443
t_err "a token that is none" 'the join token is malformed' server join 3 --join https://127.0.0.1:6443 --token nonsense
t_err "a token with a wrong secret" 'token|secret' server join 3 --join https://127.0.0.1:6443 --token "kontiki1.$hash.$(tr 0-9a-z 1-9a-z0 <<<"$secret")"
t_err "a token of another cluster's authority" 'token|authority|CA|certificate' server join 3 --join https://127.0.0.1:6443 --token "kontiki1.$(tr 0-9a-f 1-9a-f0 <<<"$hash").$secret"
plain() { exec nsenter --net="/run/netns/$ns" /usr/bin/python3 -m http.server 8099 --bind 127.0.0.1; }
(plain) >/dev/null 2>&1 &
background+=($!)
until_ok 30 inside bash -c 'exec 3<>/dev/tcp/127.0.0.1/8099' >/dev/null
t_err "a join address where something else listens" 'cannot reach the cluster at 127.0.0.1:8099' server join 3 --join https://127.0.0.1:8099 --token "$token"
t_err "an agent without a server" 'give at least one --server' inside "$KONTIKI" agent --name a --data-dir "$tmp/a"
t_err "an agent whose server is no URL" 'give a URL such as' inside "$KONTIKI" agent --name a --data-dir "$tmp/a" --server here
t_err "an agent whose server is not there" 'cannot reach the cluster' inside "$KONTIKI" agent --name a --data-dir "$tmp/a" --server https://127.0.0.1:9 --token "$token"
t_err "an initial cluster that does not name the server" 'does not name this server' server other 4 --initial-cluster a=127.0.0.1:1,b=127.0.0.1:2
t_err "an address that is none" 'address|IPv4' server other 4 --advertise-address here
t_err "a flag that is none" 'unknown flag: --nonsense' server other 4 --nonsense
soon "nothing of all that is left behind" bash -c "! pgrep -f '$tmp/(second|third|join|other|a)( |$)'"

kill "${background[@]}" && wait
background=()
cp -r "$tmp/first" "$tmp/renamed"
t_err "a data directory of another member" 'belongs to member "first", not to "renamed"' server renamed 5
cp -r "$tmp/first" "$tmp/newer"
printf 9 | dd of="$tmp/newer/raft/member" bs=1 seek=3 conv=notrunc status=none
t_err "one that a newer program wrote" 'format|newer|version' server first 5 --data-dir "$tmp/newer"
rm -rf "$tmp/first2" && cp -r "$tmp/first" "$tmp/first2" && head -c 20 /dev/zero >"$tmp/first2/raft/member"
t_err "one that is damaged" 'raft/member' server first 5 --data-dir "$tmp/first2"
touch "$tmp/file"
t_err "one that is a file" 'file' server first 5 --data-dir "$tmp/file/below"
t_err "one that may not be written" 'Permission denied|start it as root' setpriv --reuid=65534 --regid=65534 --clear-groups "$KONTIKI" server --no-agent --name x --data-dir /var/lib/kontiki-test-nobody
t_err "a node without root" 'start it as root, or give --no-agent' setpriv --reuid=65534 --regid=65534 --clear-groups "$KONTIKI" server --name x --data-dir "$tmp/x"
t_err "up without root" 'run it as root' setpriv --reuid=65534 --regid=65534 --clear-groups "$KONTIKI" up
t "the first server starts again" first
t "with what it had" is b k get configmap precious -o 'jsonpath={.data.a}'
kill "${background[@]}" && wait
background=()

# --- A node without containerd: it says so, and what to install; it is not ready and goes on trying.
(PATH=$tmp/empty exec /usr/bin/nsenter --net="/run/netns/$ns" "$KONTIKI" server --name first --data-dir "$tmp/first" --advertise-address 127.0.0.1 --etcd-listen off) \
	>"$tmp/bare.log" 2>&1 &
background=($!)
t "without containerd it says what to install" until_ok 40 grep -q "containerd does not start: .*Debian's package containerd" "$tmp/bare.log"
not_ready() { k get node first --no-headers | grep -q NotReady; }
t "and the node is not ready" until_ok 40 not_ready
soon_out "with the reason" 'KubeletNotReady|runtime|containerd' k get node first -o 'jsonpath={.status.conditions[?(@.type=="Ready")]}'
