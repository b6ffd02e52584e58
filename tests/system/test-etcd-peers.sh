#!/bin/bash
# Members of `kontiki etcd` with several peer URLs: all are listened on, all are told to others, and they are tried in turn.
# shellcheck disable=SC2016 # words are evaluated later, on purpose
# shellcheck source=tests/system/lib.sh
. "$(dirname "$0")/lib.sh"

command -v etcdctl >/dev/null || { skip "everything: no etcdctl (Debian: etcd-client)"; exit 0; }
while read -r name; do unset "$name"; done < <(compgen -v ETCD)
export ETCDCTL_API=3 ETCDCTL_COMMAND_TIMEOUT=60s ETCDCTL_DIAL_TIMEOUT=30s
base=$((20000 + $$ % 90 * 11))
client() { echo "127.0.0.1:$((base + $1))"; }
# at HOST NUMBER: member NUMBER's peer URL there.
url() { echo "http://127.0.0.$1:$((base + 5 + $2))"; }

declare -A pid
start() { # NUMBER LISTEN FLAGS...
	local n=$1 listen=$2
	shift 2
	"$KONTIKI" etcd --name "m$n" --data-dir "$tmp/d$n" --listen-peer-urls "$listen" --initial-advertise-peer-urls "$(urls "$n")" \
		--listen-client-urls "http://$(client "$n")" --advertise-client-urls "http://$(client "$n")" "$@" >>"$tmp/m$n.log" 2>&1 &
	pid[$n]=$!
	background+=($!)
}
stop() {
	kill "${pid[$1]}" 2>/dev/null
	wait "${pid[$1]}" 2>/dev/null
	unset "pid[$1]"
}
ctl() { timeout 240 etcdctl --endpoints "$(client 1)" "$@"; }
at() { timeout 240 etcdctl --endpoints "$(client "$1")" "${@:2}"; }
healthy() { at "$1" endpoint health; }
# Nobody listens at the first; the second and the third work.
urls() { echo "$(url 2 "$1"),$(url 4 "$1"),$(url 3 "$1")"; }
listen() { echo "$(url 3 "$1"),$(url 4 "$1")"; }
cluster() {
	local n u out=
	for n in "$@"; do for u in 2 3 4; do out+=${out:+,}m$n=$(url $u "$n"); done; done
	echo "$out"
}
listens() { timeout 5 bash -c "exec 3<>/dev/tcp/127.0.0.$1/$((base + 5 + $2))"; }

for n in 1 2 3; do start "$n" "$(listen "$n")" --initial-cluster "$(cluster 1 2 3)" --initial-cluster-state new; done
for n in 1 2 3; do t "member $n is healthy, though nobody answers at its first peer URL" until_ok 60 healthy "$n"; done
t "the second one is listened on" listens 3 1
t "and the third" listens 4 1
t "not the first" eval '! listens 2 1 2>/dev/null'
soon_out "all are told, in order" "m2, $(url 2 2),$(url 3 2),$(url 4 2), http://$(client 2)" ctl member list
t "a write" until_ok 30 ctl put key value
soon_out "is there on each" '^value$' at 3 get key --print-value-only

# One of a member's addresses goes: the others find it at the next.
stop 3
until_ok 60 ctl put key later >/dev/null
start 3 "$(url 4 3)" --initial-cluster "$(cluster 1 2 3)" --initial-cluster-state new
t "a member that listens on its last URL alone is found" until_ok 60 healthy 3
soon_out "and has what was written" '^later$' at 3 get key --print-value-only
found() { grep -q "peer=m3 addr=127.0.0.3:.* cannot connect" "$tmp/m1.log" "$tmp/m2.log"; }
t "after the one before was tried" until_ok 30 found

# Places, and changes.
t_err "one URL that is somebody's is enough to be refused" 'Peer URLs already exists' ctl member add m4 --peer-urls "$(url 2 4),$(url 3 2)"
soon_out "a place for several URLs" 'ETCD_INITIAL_CLUSTER_STATE="existing"' ctl member add m4 --peer-urls "$(url 4 4),$(url 3 4),$(url 2 4)"
start 4 "$(listen 4)" --initial-cluster "$(cluster 1 2 3 4)" --initial-cluster-state existing
t "is taken by who has them" until_ok 60 healthy 4
soon_out "the list has them all" "started, m4, $(url 2 4),$(url 3 4),$(url 4 4), " ctl member list
id4=$(ctl member list | awk -F', ' '$3 == "m4" { print $1 }')
t "member update" until_ok 30 ctl member update "$id4" --peer-urls "$(url 4 4),$(url 3 4)"
soon_out "leaves the two" "started, m4, $(url 3 4),$(url 4 4), " ctl member list
k() { timeout 240 "$KONTIKI" "$@" --endpoints "http://$(client 1)"; }
soon_out "kontiki member list shows both" "^m4 .*127.0.0.3:$((base + 9)),127.0.0.4:$((base + 9)) " k member list
soon "and takes several" k member update m4 --address "127.0.0.4:$((base + 9))"
soon_out "or one" "started, m4, $(url 4 4), " ctl member list
t "the member is healthy" until_ok 60 healthy 4
t_err "what a member says of itself is the same everywhere" 'missing from --initial-cluster' "$KONTIKI" etcd --name x --data-dir "$tmp/x" \
	--initial-cluster "x=$(url 2 1)" --initial-advertise-peer-urls "$(url 2 1),$(url 3 1)" --listen-peer-urls "$(url 3 1)"
for n in "${!pid[@]}"; do stop "$n"; done
