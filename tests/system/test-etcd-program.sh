#!/bin/bash
# `kontiki etcd` in place of the etcd program: its flags, environment and file, its members and TLS, users, alarms and
# snapshots, with Debian's etcdctl.
# shellcheck disable=SC2016,SC2046 # words are split, and evaluated later, on purpose
# shellcheck source=tests/system/lib.sh
. "$(dirname "$0")/lib.sh"

command -v etcdctl >/dev/null || { skip "everything: no etcdctl (Debian: etcd-client)"; exit 0; }
# Only this test's own settings.
while read -r name; do unset "$name"; done < <(compgen -v ETCD)
# etcdctl gives up after five seconds by itself, which a busy machine may need for a sync.
export ETCDCTL_API=3 ETCDCTL_COMMAND_TIMEOUT=60s ETCDCTL_DIAL_TIMEOUT=30s
# Below the ports that the kernel gives to outgoing connections.
base=$((21000 + $$ % 290 * 40))
client() { echo "127.0.0.1:$((base + $1))"; }
peer() { echo "127.0.0.1:$((base + 20 + $1))"; }

declare -A pid
# start NUMBER COMMAND...: the program as member NUMBER, in the background.
start() {
	local n=$1
	shift
	"$@" >>"$tmp/m$n.log" 2>&1 &
	pid[$n]=$!
	background+=($!)
}
stop() { # NUMBER [SIGNAL]
	kill "-${2:-TERM}" "${pid[$1]}" 2>/dev/null
	wait "${pid[$1]}" 2>/dev/null
	unset "pid[$1]"
}
stop_all() { for n in "${!pid[@]}"; do stop "$n"; done; }
# The flags that member N of etcd's documentation has.
flags() { # NUMBER [SCHEME]
	local s=${2:-http}
	echo --name "m$1" --data-dir "$tmp/d$1" --listen-peer-urls "$s://$(peer "$1")" --initial-advertise-peer-urls "$s://$(peer "$1")" \
		--listen-client-urls "$s://$(client "$1")" --advertise-client-urls "$s://$(client "$1")" --bcrypt-cost 4
}
initial() { # SCHEME NUMBER...
	local s=$1 out=
	shift
	for n in "$@"; do out+=${out:+,}m$n=$s://$(peer "$n"); done
	echo "$out"
}
ctl() { timeout 240 etcdctl --endpoints "${endpoints:-$(client 1)}" "$@"; }
at() { # NUMBER ARGUMENTS...
	local n=$1
	shift
	endpoints=$(client "$n") ctl "$@"
}
healthy() { at "$1" endpoint health; }
id_of() { ctl member list | awk -F', ' -v n="$1" '$3 == n { print $1 }'; }
logged() { grep -Eq -- "$2" "$tmp/m$1.log" || { tail -n 5 "$tmp/m$1.log"; return 1; }; }
leader_number() {
	local n
	for n in "${!pid[@]}"; do
		at "$n" endpoint status -w json | jq -e '.[0].Status | .leader == .header.member_id' >/dev/null 2>&1 && echo "$n" && return
	done
	return 1
}
# the_leader: the number of the leader, which there is in the end.
the_leader() { until_ok 60 leader_number; }
# moves_leader COMMAND...: leadership goes from the leader to the next of three, whose number is $to then. COMMAND gets both numbers.
moves_leader() {
	local l
	l=$(leader_number) || return 1
	to=$((l % 3 + 1))
	"$@" "$l" "$to"
}

# --- flags, environment, file

t_out "--version" '^etcd Version: 3\.5\.' "$KONTIKI" etcd --version
t_out "--help has etcd's flags" '--initial-cluster-state' "$KONTIKI" etcd --help
t_err "an unknown flag is an error" 'flag provided but not defined: --nmae' "$KONTIKI" etcd --nmae x
t_err "what cannot be had says why" 'discovery cannot be had: there is no discovery service' "$KONTIKI" etcd --discovery http://x
t_err "etcd's rules hold" 'at least as 5 times' "$KONTIKI" etcd --heartbeat-interval 500 --election-timeout 2000
mkdir -p "$tmp/old/member/snap"
t_err "a cipher that is none" 'unexpected TLS cipher suite "X"' timeout 240 "$KONTIKI" etcd --data-dir "$tmp/none" --cipher-suites X
t_err "an etcd's own data directory is left alone" "is an etcd program's" timeout 240 "$KONTIKI" etcd --data-dir "$tmp/old" \
	--listen-peer-urls "http://$(peer 9)" --listen-client-urls "http://$(client 9)" --advertise-client-urls "http://$(client 9)"

# As a Type=notify unit has it: a socket, the environment, a link of the old name.
ln -s "$(readlink -f "$KONTIKI")" "$tmp/etcd"
python3 - "$tmp/notify" >"$tmp/notified" <<'EOF' &
import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
s.settimeout(300)
print(s.recv(100).decode())
EOF
notifier=$!
until_ok 30 test -S "$tmp/notify"
start 1 env NOTIFY_SOCKET="$tmp/notify" ETCD_NAME=m1 ETCD_DATA_DIR="$tmp/env" ETCD_LISTEN_CLIENT_URLS="http://$(client 1),unix://$tmp/etcd.sock" \
	ETCD_ADVERTISE_CLIENT_URLS="http://$(client 1)" ETCD_LISTEN_PEER_URLS="http://$(peer 1)" ETCD_SNAPSHOT_COUNT=5 ETCD_ENABLE_V2=true \
	ETCD_LISTEN_METRICS_URLS="http://$(client 8)" "$tmp/etcd" --initial-advertise-peer-urls "http://$(peer 1)"
wait "$notifier"
t "READY=1 is told to the service manager" grep -qx READY=1 "$tmp/notified"
soon "the line that scripts wait for" logged 1 'ready to serve client requests'
soon "what means nothing here is warned of" logged 1 'snapshot-count=5 changes nothing'
soon "put" ctl put key value
t_out "get" '^value$' ctl get key --print-value-only
soon_out "a unix socket" '"etcdserver":"3\.5\.' curl -s --unix-socket "$tmp/etcd.sock" http://x/version
soon_out "the metrics address has /health" '"health":"true"' curl -s "http://$(client 8)/health"
stop 1
cat >"$tmp/etcd.yml" <<EOF
name: 'm1'
data-dir: $tmp/env
listen-client-urls: http://$(client 1)
advertise-client-urls: http://$(client 1)
listen-peer-urls: http://$(peer 1)
initial-advertise-peer-urls: http://$(peer 1)
# A directory that is a member does not look at these any more.
initial-cluster: m1=http://$(peer 1),other=http://$(peer 7)
initial-cluster-state: 'new'
client-transport-security:
  auto-tls: false
EOF
start 1 "$KONTIKI" etcd --config-file "$tmp/etcd.yml" --name not-looked-at
t "a configuration file" until_ok 30 healthy 1
t_out "with the data of before" '^value$' ctl get key --print-value-only
stop 1
# What is said of the first start only may be left out later, or be wrong by then.
later() {
	start 1 "$KONTIKI" etcd --name m1 --data-dir "$tmp/env" --listen-peer-urls "http://$(peer 1)" --listen-client-urls "http://$(client 1)" \
		--advertise-client-urls "http://$(client 1),http://localhost:$((base + 9))" "$@"
}
later
t "without the flags of the first start" until_ok 30 healthy 1
soon_out "clients are told of another URL" "http://localhost:$((base + 9))" ctl member list
t_out "members where it was" ", m1, http://$(peer 1), " ctl member list
stop 1
later --initial-cluster "other=http://$(peer 7)"
t "with a list of others" until_ok 30 healthy 1
t "which is not looked at" logged 1 "is a member's already, so this is not looked at"
stop 1

# --- three members

for n in 1 2 3; do
	# shellcheck disable=SC2046
	start "$n" "$KONTIKI" etcd $(flags "$n") --initial-cluster "$(initial http 1 2 3)" --initial-cluster-state new --initial-cluster-token t-$$
done
for n in 1 2 3; do t "member $n is healthy" until_ok 40 healthy "$n"; done
all=$(client 1),$(client 2),$(client 3)
soon "write through one" at 1 put a 1
t_out "read through another" '^1$' at 3 get a --print-value-only
same_hashes() { [ "$(endpoints=$all ctl endpoint hashkv | awk '{ print $2 }' | sort -u | wc -l)" = 1 ]; }
t "all have the same hash" until_ok 30 same_hashes
soon_out "status has a version and a size" '3\.5\.[0-9]+, [1-9][0-9.]* [kM]?B' ctl endpoint status
soon "defragment" eval 'endpoints=$all ctl defrag'
to_stranger() { at "$(leader_number)" move-leader 123; }
soon_err "leadership does not go to a stranger" 'bad leader transferee' to_stranger
to_next() { at "$1" move-leader "$(id_of "m$2")" | grep 'Leadership transferred'; }
t "move-leader" until_ok 60 moves_leader to_next
leads() { is "$1" leader_number; }
t "there is a new leader" until_ok 60 leads "$to"
# Damage to files, while it is down: the others have what is lost, and nobody has to do anything.
flip() { # FILE OFFSET
	printf "\\x$(printf %02x $((0x$(od -An -tx1 -j "$2" -N 1 "$1" | tr -d ' ') ^ 0x10)))" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}
again() { start 3 "$KONTIKI" etcd $(flags 3) --initial-cluster "$(initial http 1 2 3)" --initial-cluster-state new --initial-cluster-token t-$$; }
# Who is not let in within half a minute, because the others do not agree on a leader for long enough, ends and is started again.
comes_back() { kill -0 "${pid[3]}" 2>/dev/null || again; healthy 3; }
three_vote() { [ "$(ctl member list | grep -c 'started, m[123],.*false$')" = 3 ] && [ ! -e "$tmp/d3/raft/forgetful" ]; }
# shellcheck disable=SC2034 # eval reads it
id3=$(id_of m3)
stop 3
flip "$tmp/d3/store/checkpoint" 50
at 1 put a 1 >/dev/null
again
t "a member whose store is damaged comes back by itself" until_ok 60 comes_back
t "the damage is named" logged 3 'store/checkpoint does not match its checksum'
t "it has what the others have" until_ok 60 same_hashes
t "and votes again, under its id" until_ok 60 eval 'three_vote && [ "$(id_of m3)" = "$id3" ]'
stop 3
flip "$tmp/d3/raft/vote" 20
flip "$tmp/d3/raft/vote" 4116
again
t "so does one whose vote is lost" until_ok 60 comes_back
t "the damage is named" logged 3 'raft/vote is damaged'
t "it votes again, under a new id" until_ok 60 eval 'three_vote && [ "$(id_of m3)" != "$id3" ]'
t "it has what the others have" until_ok 60 same_hashes
t_err "a member with the name of another cannot start anew" 'data directory' "$KONTIKI" etcd --name other --data-dir "$tmp/d1" \
	--listen-peer-urls "http://$(peer 9)" --initial-advertise-peer-urls "http://$(peer 9)" --initial-cluster "other=http://$(peer 9)" \
	--listen-client-urls "http://$(client 9)" --advertise-client-urls "http://$(client 9)"

# --- kontiki's own commands, through the etcd API

k() { timeout 240 "$KONTIKI" "$@" --endpoints "http://$(client 1),http://$(client 2)"; }
soon_out "kontiki status" '^m3 +(leader|voter) +up +[0-9]+ +[0-9]+ [KM]iB' k status
soon_out "is healthy" '^healthy$' k status
soon_out "and JSON" '"health":"healthy"' k status -o json
t_out "kontiki member list" "^m2 +[0-9a-f]{16} +$(peer 2) +voter" k member list
t_out "kontiki member add" 'is made, id [0-9a-f]{16}' k member add --address "$(peer 7)" --learner
soon_out "status tells of the place" 'nobody has come for it' k status
t "kontiki member remove" k member remove "$(k member list | awk '/not started/ { print $3 }')"
transfer() { k member transfer "m$2"; }
t "kontiki member transfer" until_ok 60 moves_leader transfer
t "there is a new leader" until_ok 60 leads "$to"
t_err "nobody of that name" 'no such member: x' k member remove x
t_err "what an etcd API has not" 'has no such thing' k member add --address "$(peer 7)" --witness
t_err "a snapshot is etcdctl's" 'etcdctl snapshot save' k snapshot save "$tmp/x"
t_err "a data directory alone says too little" 'say where that listens, --endpoints' "$KONTIKI" status --data-dir "$tmp/d1"
t_err "nobody listens there" 'connection refused' "$KONTIKI" status --endpoints "http://$(client 9)"
t_err "no URL" 'is not of the form' "$KONTIKI" status --endpoints nonsense
stop 3
soon_out "a member that is down" 'PROBLEM: member m3 does not answer' eval 'k status || true'
again
t "it comes back" until_ok 60 healthy 3

# --- members come and go

t_err "nobody joins without a place" 'no place was made' timeout 240 "$KONTIKI" etcd $(flags 4) --initial-cluster "$(initial http 1 2 3 4)" \
	--initial-cluster-state existing
rm -rf "$tmp/d4"
t_out "bad URLs" 'given member URLs are invalid' curl -s "http://$(client 1)/v3/cluster/member/add" -d '{"peerURLs":["ftp://x"]}'
t_err "a peer URL that is there" 'Peer URLs already exists' ctl member add m4 --peer-urls "http://$(peer 2)"
t_out "member add as a learner" 'ETCD_INITIAL_CLUSTER_STATE="existing"' ctl member add m4 --learner --peer-urls "http://$(peer 4)"
t_out "it has not started" 'unstarted, .*, true$' ctl member list
t_err "and cannot vote" 'in sync with leader' ctl member promote "$(ctl member list | awk -F', ' '$2 == "unstarted" { print $1 }')"
t_err "one learner at a time" 'too many learner' ctl member add m5 --learner --peer-urls "http://$(peer 5)"
start 4 "$KONTIKI" etcd $(flags 4) --initial-cluster "$(initial http 1 2 3 4)" --initial-cluster-state existing
t "it starts" until_ok 40 eval 'ctl member list | grep -q "started, m4,.*true$"'
t "a learner serves local reads" until_ok 30 has_line '^1$' at 4 get a --print-value-only --consistency=s
t "member promote" until_ok 30 ctl member promote "$(id_of m4)"
soon_out "it votes" 'm4,.*false$' ctl member list
soon "member update" ctl member update "$(id_of m4)" --peer-urls "http://$(peer 6)"
soon_out "has the new address" "m4, http://$(peer 6)" ctl member list
id4=$(id_of m4)
stop 4
t "member remove" ctl member remove "$id4"
t_err "it is gone" 'member not found' ctl member remove "$id4"
rm -rf "$tmp/d4"
soon "member add as a voter" ctl member add m4 --peer-urls "http://$(peer 4)"
start 4 "$KONTIKI" etcd $(flags 4) --initial-cluster "$(initial http 1 2 3 4)" --initial-cluster-state existing
t "it joins" until_ok 40 healthy 4
endpoints=$(client 4)
t_out "and has the data" '^1$' ctl get a --print-value-only
unset endpoints
t "the other three, and their data, outlive a leader" stop "$(the_leader)" KILL
for n in "${!pid[@]}"; do live=$n; done
t_out "" '^1$' until_ok 40 at "$live" get a --print-value-only
stop_all
rm -rf "$tmp"/d?

# --- several addresses for the other members

start 6 "$KONTIKI" etcd $(flags 6 | sed "s#--listen-peer-urls [^ ]*#--listen-peer-urls http://$(peer 6),http://$(peer 16)#") --initial-cluster "$(initial http 6)"
t "one member" until_ok 30 healthy 6
for n in 6 16; do t "it listens for others at $(peer "$n")" bash -c "exec 3<>/dev/tcp/$(peer "$n" | tr : /)"; done
stop 6
rm -rf "$tmp"/d?

# --- a quota, users

start 1 "$KONTIKI" etcd $(flags 1) --initial-cluster "$(initial http 1)" --quota-backend-bytes 3000000
t "one member with a small quota" until_ok 30 healthy 1
head -c 200000 /dev/zero | tr '\0' x >"$tmp/big"
full() {
	for ((i = 0; i < 60; i++)); do ctl put "fill/$i" <"$tmp/big" >/dev/null 2>"$tmp/full" || { cat "$tmp/full"; return 1; }; done
}
t_err "puts are refused over the quota" 'database space exceeded' full
t_out "an alarm is on" 'alarm:NOSPACE' until_ok 40 eval 'ctl alarm list | grep NOSPACE'
t_err "also for small puts" 'database space exceeded' ctl put small x
t_out "reads go on" '^value$|^$' ctl get key --print-value-only
t "deletes go through" ctl del --prefix fill/
rev=$(ctl endpoint status -w json | jq '.[0].Status.header.revision')
t "so does compaction" ctl compact "$rev" --physical
t "defragment" ctl defrag
t_out "disarm" 'NOSPACE' ctl alarm disarm
soon "puts work again" ctl put small x

# --- backups in etcd's format

for ((i = 0; i < 12; i++)); do ctl put "k/$((i % 9))" "value $i" >/dev/null; done
ctl del k/0 >/dev/null
rev=$(ctl endpoint status -w json | jq '.[0].Status.header.revision')
ctl compact $((rev - 2)) --physical >/dev/null
lease=$(ctl lease grant 1000 | awk '{ print $2 }')
ctl put k/leased x --lease "$lease" >/dev/null
head -c 1000000 /dev/zero | tr '\0' y | ctl put k/big >/dev/null
rev=$(ctl endpoint status -w json | jq '.[0].Status.header.revision')
t "snapshot save" ctl snapshot save "$tmp/backup.db"
t_out "etcd's own tool reads it" "\"revision\":$rev," etcdctl snapshot status "$tmp/backup.db" -w json
t "and restores it" etcdctl snapshot restore "$tmp/backup.db" --name r --data-dir "$tmp/restored" \
	--initial-cluster "r=http://$(peer 8)" --initial-advertise-peer-urls "http://$(peer 8)"
if command -v etcd >/dev/null; then
	start 8 etcd --name r --data-dir "$tmp/restored" --listen-peer-urls "http://$(peer 8)" --initial-advertise-peer-urls "http://$(peer 8)" \
		--listen-client-urls "http://$(client 8)" --advertise-client-urls "http://$(client 8)" --initial-cluster "r=http://$(peer 8)"
	t "an etcd runs on it" until_ok 40 healthy 8
	content() { at "$1" get "" --prefix -w json --rev "$2" | jq -S .kvs | md5sum; }
	t "with the same keys" eval '[ "$(content 1 0)" = "$(content 8 0)" ]'
	t "the same history" eval '[ "$(content 1 $((rev - 3)))" = "$(content 8 $((rev - 3)))" ]'
	t_out "and the same lease" 'remaining.*k/leased' at 8 lease timetolive "$lease" --keys
	at 8 put k/there back >/dev/null
	at 8 user add root:rootpw >/dev/null
	at 8 user grant-role root root >/dev/null
	mirror() { # FROM TO: until a key that is put on the one is on the other
		timeout 240 etcdctl --endpoints "$(client "$1")" make-mirror --prefix m/ "$(client "$2")" >/dev/null 2>&1 &
		local p=$! rc
		background+=("$p")
		until_ok 60 eval "at $1 put m/$1 mirrored >/dev/null && at $2 get m/$1 | grep mirrored"
		rc=$?
		kill $p
		wait $p 2>/dev/null
		return $rc
	}
	t "make-mirror from here to etcd" mirror 1 8
	t "and from etcd to here" mirror 8 1
	t "it is saved" at 8 snapshot save "$tmp/etcd.db"
	want=$(content 8 0)
	rev_of() { at "$1" endpoint status -w json | jq '.[0].Status.header.revision'; }
	rev=$(rev_of 8)
	stop 8
	t_out "its backup is read here" 'a backup of etcd: revision [0-9]+, .* 1 leases' "$KONTIKI" snapshot status "$tmp/etcd.db"
	t_out "and restored" 'came over' "$KONTIKI" snapshot restore "$tmp/etcd.db" --data-dir "$tmp/d8" --member m8 --advertise-address 127.0.0.1 \
		--peer-port "$(peer 8 | cut -d: -f2)" --bump-revision 1000 --mark-compacted
	# Of a control plane's backup the revision is raised by itself, as its clients go on from what they have seen; and not when somebody says so.
	restored() { # NAME FLAGS...: with that backup
		rm -rf "$tmp/dk" && "$KONTIKI" snapshot restore "$tmp/$1.db" --data-dir "$tmp/dk" --member k --advertise-address 127.0.0.1 "${@:2}"
	}
	start 8 etcd --name k8s --data-dir "$tmp/dk8s" --listen-peer-urls "http://$(peer 8)" --initial-advertise-peer-urls "http://$(peer 8)" \
		--listen-client-urls "http://$(client 8)" --advertise-client-urls "http://$(client 8)" --initial-cluster "k8s=http://$(peer 8)"
	t "an etcd of a control plane's" until_ok 40 healthy 8
	at 8 put /registryx/other 1 >/dev/null
	at 8 snapshot save "$tmp/nok8s.db" >/dev/null
	at 8 put /registry/namespaces/default object >/dev/null
	at 8 snapshot save "$tmp/k8s.db" >/dev/null
	stop 8
	t_out "its backup is restored with a higher revision" 'goes on at 1000000003, raised by 1000000000' restored k8s
	t_out "and it says why" 'holds the objects of a Kubernetes API server' restored k8s
	t_out "--bump-revision 0: as it was" 'goes on at 3\. ' restored k8s --bump-revision 0
	t_out "what is somebody else's keeps its revision" 'goes on at 2\. ' restored nok8s
	cluster_of() { # DIR NAME: the cluster of a member that is made of that backup, in a list of two
		"$KONTIKI" snapshot restore "$tmp/etcd.db" --data-dir "$1" --member "$2" --advertise-address 127.0.0.1 \
			--initial-cluster a=127.0.0.1:1,b=127.0.0.1:2 >/dev/null && "$KONTIKI" recover --data-dir "$1" | grep -o 'of cluster [0-9a-f]*'
	}
	one=$(cluster_of "$tmp/da" a)
	two=$(cluster_of "$tmp/db" b)
	t "members that are made of it find each other" [ -n "$one" -a "$one" = "$two" ]
	start 8 "$KONTIKI" etcd $(flags 8) --initial-cluster "$(initial http 8)"
	t "we run on it" until_ok 40 healthy 8
	t "with the same keys" eval '[ "$(content 8 0)" = "$want" ]'
	t "at a revision that was raised" [ "$(rev_of 8)" = $((rev + 1000)) ]
	t_err "one that watches from before is told so" 'required revision has been compacted' timeout 240 etcdctl --endpoints "$(client 8)" watch x --rev $((rev + 1))
	t_out "and the same lease" 'remaining.*k/leased' at 8 lease timetolive "$lease" --keys
	t "auth enable with etcd's users" at 8 auth enable
	t_out "and their passwords" '^back$' at 8 --user root:rootpw get k/there --print-value-only
	stop 8
else
	skip "an etcd runs on it: no etcd (Debian: etcd-server)"
fi

ctl_as() { # USER:PASSWORD ARGUMENTS...
	local u=$1
	shift
	ctl --user "$u" "$@"
}
t_err "no root, no authentication" 'root user does not exist' ctl auth enable
t "user add root" ctl user add root:secret
t_out "root needs its role" 'does not have root role' curl -s "http://$(client 1)/v3/auth/enable" -d '{}'
t "user grant-role" ctl user grant-role root root
t "user add" ctl user add alice:pw
t "role add" ctl role add reader
t "role grant-permission" ctl role grant-permission reader readwrite pub/ --prefix
t "to alice" ctl user grant-role alice reader
t "auth enable" ctl auth enable
t_err "nobody in particular may nothing" 'user name is empty' ctl get x
t_err "a wrong password" 'authentication failed' ctl_as alice:wrong get pub/a
t "alice writes" ctl_as alice:pw put pub/a 1
t_out "and reads" '^1$' ctl_as alice:pw get pub/a --print-value-only
t_err "but not everything" 'permission denied' ctl_as alice:pw get small
t_err "nor administers" 'permission denied' ctl_as alice:pw user add eve:x
t_out "alice may look at herself" 'Roles: reader' ctl_as alice:pw user get alice
hers() {
	local rev
	rev=$(ctl_as alice:pw get pub/a -w json | jq '.kvs[0].mod_revision')
	timeout 240 etcdctl --endpoints "$(client 1)" --user alice:pw watch pub/a --rev "$rev" >"$tmp/hers" 2>&1 &
	local p=$!
	background+=("$p")
	until_ok 60 grep -x pub/a "$tmp/hers" || cat "$tmp/hers"
	kill -0 $p && kill $p
}
t_out "a watch of hers" '^pub/a$' hers
t_err "is not one of others' keys" 'permission denied' timeout 240 etcdctl --endpoints "$(client 1)" --user alice:pw watch small --rev 1
t_err "a snapshot is root's" 'permission denied' ctl_as alice:pw snapshot save "$tmp/no.db"
t "change password" bash -c "echo new | timeout 240 etcdctl --endpoints $(client 1) --user root:secret user passwd alice --interactive=false"
t_err "the old one is over" 'authentication failed' ctl_as alice:pw get pub/a
t_out "the new one is not" '^1$' ctl_as alice:new get pub/a --print-value-only
t_err "root keeps its role" 'invalid auth management' ctl_as root:secret user revoke-role root root
stop 1 KILL
start 1 "$KONTIKI" etcd $(flags 1) --initial-cluster "$(initial http 1)"
t "users outlive a kill" until_ok 30 ctl_as alice:new get pub/a
t "auth disable" ctl_as root:secret auth disable
t "then nobody asks" ctl get small
stop_all
rm -rf "$tmp"/d?

# --- JSON Web Tokens: nothing is kept of them, so another member with the same key knows them

openssl ecparam -name prime256v1 -genkey -noout -out "$tmp/jwt.key" 2>/dev/null
openssl ec -in "$tmp/jwt.key" -pubout -out "$tmp/jwt.pub" 2>/dev/null
t_err "a method that does not fit the key" 'is not one for RS256' timeout 240 "$KONTIKI" etcd $(flags 1) --initial-cluster "$(initial http 1)" \
	--auth-token "jwt,sign-method=RS256,priv-key=$tmp/jwt.key"
rm -rf "$tmp"/d?
for n in 1 2; do
	start "$n" "$KONTIKI" etcd $(flags "$n") --initial-cluster "$(initial http 1 2)" \
		--auth-token "jwt,sign-method=ES256,$([ "$n" = 1 ] && echo "priv-key=$tmp/jwt.key,")pub-key=$tmp/jwt.pub,ttl=3600s"
done
login() { curl -s "http://$(client "$1")/v3/auth/authenticate" -d '{"name":"root","password":"secret"}'; }
with_token() { curl -s "http://$(client "$1")/v3/kv/range" -H "Authorization: $2" -d '{"key":"YQ=="}'; }
t "two members" until_ok 30 healthy 2
t "users" eval 'ctl put a 1 && ctl user add root:secret && ctl user grant-role root root && ctl auth enable'
token=$(login 1 | jq -r .token)
t_out "a token says whose it is" '"username":"root"' eval 'cut -d. -f2 <<<"$token" | tr _- /+ | base64 -d 2>/dev/null || true'
t_out "its member knows it" '"value":"MQ=="' with_token 1 "$token"
soon_out "so does another one" '"value":"MQ=="' with_token 2 "$token"
t_out "one that was changed is refused" 'invalid auth token' with_token 1 "${token%?????}AAAAA"
soon_out "a member without the private key gives none" 'verify-only key' login 2
t_out "etcdctl" '^1$' ctl_as root:secret get a --print-value-only
t "users change" ctl_as root:secret user add bob:pw
t_out "then it is too old" 'revision of auth store is old' with_token 1 "$token"
stop_all
rm -rf "$tmp"/d?

# --- TLS

pki() { # NAME CN EXTENSIONS
	openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$tmp/$1.key" -out "$tmp/$1.csr" -subj "/CN=$2" 2>/dev/null &&
		openssl x509 -req -in "$tmp/$1.csr" -CA "$tmp/ca.pem" -CAkey "$tmp/ca.key" -CAcreateserial -days 2 -out "$tmp/$1.pem" \
			-extfile <(echo "$3") 2>/dev/null
}
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$tmp/ca.key" -out "$tmp/ca.pem" -subj /CN=ca -days 2 2>/dev/null
both=extendedKeyUsage=serverAuth,clientAuth
pki member member $'subjectAltName=IP:127.0.0.1,DNS:localhost\n'$both
pki root root extendedKeyUsage=clientAuth
pki odd odd-one $'subjectAltName=IP:127.0.0.1\n'$both
tls=(--cert-file "$tmp/member.pem" --key-file "$tmp/member.key" --client-cert-auth --trusted-ca-file "$tmp/ca.pem"
	--peer-cert-file "$tmp/member.pem" --peer-key-file "$tmp/member.key" --peer-client-cert-auth --peer-trusted-ca-file "$tmp/ca.pem"
	--peer-cert-allowed-cn member)
for n in 1 2 3; do
	# shellcheck disable=SC2046
	start "$n" "$KONTIKI" etcd $(flags "$n" https) --initial-cluster "$(initial https 1 2 3)" "${tls[@]}"
done
tctl() { timeout 240 etcdctl --endpoints "https://$(client 1)" --cacert "$tmp/ca.pem" "$@"; }
as_root=(--cert "$tmp/root.pem" --key "$tmp/root.key")
t "three members over TLS with others' certificates" until_ok 40 tctl "${as_root[@]}" put a 1
t_out "members are shown as https" "https://$(peer 2)" tctl "${as_root[@]}" member list
t "a client without a certificate is not served" eval '! ETCDCTL_COMMAND_TIMEOUT=10s ETCDCTL_DIAL_TIMEOUT=5s tctl get a 2>/dev/null'
# --- revocation, host names, ciphers, while it runs
mkdir "$tmp/ca"
: >"$tmp/ca/index"
printf '[ca]\ndefault_ca=d\n[d]\ndatabase=%s/ca/index\ndefault_md=sha256\ndefault_crl_days=1\n' "$tmp" >"$tmp/ca/cnf"
crl() { openssl ca -config "$tmp/ca/cnf" -keyfile "$tmp/ca.key" -cert "$tmp/ca.pem" "$@" 2>/dev/null; }
crl -gencrl -out "$tmp/crl.pem"
start 5 "$KONTIKI" etcd $(flags 5 https) --initial-cluster "$(initial https 5)" "${tls[@]:0:11}" --client-crl-file "$tmp/crl.pem" \
	--client-cert-allowed-hostname localhost --tls-min-version TLS1.2 --tls-max-version TLS1.2 \
	--cipher-suites TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384
# Most of these are refused, which etcdctl takes for a network that is down, and waits.
fctl() { ETCDCTL_COMMAND_TIMEOUT=10s ETCDCTL_DIAL_TIMEOUT=5s timeout 20 etcdctl --endpoints "https://$(client 5)" --cacert "$tmp/ca.pem" "$@"; }
as() { echo --cert "$tmp/$1.pem" --key "$tmp/$1.key"; }
t "a certificate for the host name" until_ok 40 fctl $(as member) put a 1
t "not one for another" eval '! fctl $(as root) get a 2>/dev/null'
talk() { openssl s_client -connect "$(client 5)" -CAfile "$tmp/ca.pem" -cert "$tmp/member.pem" -key "$tmp/member.key" "$@" </dev/null 2>&1; }
t_out "the cipher that was asked for" 'Cipher is ECDHE-ECDSA-AES256-GCM-SHA384' talk
t "no other" eval '! talk -cipher ECDHE-ECDSA-AES128-GCM-SHA256 | grep "Cipher is ECDHE"'
t "nor another version" eval '! talk -tls1_3 | grep "Cipher is TLS"'
crl -revoke "$tmp/member.pem"
sleep 1 # a file's time has to change
crl -gencrl -out "$tmp/crl.pem"
t "a certificate that is revoked is refused from then on" until_ok 40 eval '! fctl $(as member) get a 2>/dev/null'
soon_out "kontiki status over TLS" '^healthy$' "$KONTIKI" status --endpoints "https://$(client 1)" --cacert "$tmp/ca.pem" --cert "$tmp/root.pem" --key "$tmp/root.key"
stop 5
t_err "a list that is none" 'no revocation list' timeout 240 "$KONTIKI" etcd $(flags 5 https) --initial-cluster "$(initial https 5)" "${tls[@]:0:11}" \
	--client-crl-file "$tmp/jwt.pub"
t "the certificate's name is the user" eval 'tctl "${as_root[@]}" user add root:x && tctl "${as_root[@]}" user grant-role root root &&
	tctl "${as_root[@]}" auth enable && tctl "${as_root[@]}" put b 2'
t "and others' are not root" eval '! tctl --cert $tmp/odd.pem --key $tmp/odd.key put b 3 2>/dev/null'
t "auth disable" tctl "${as_root[@]}" auth disable
soon "place for a member" tctl "${as_root[@]}" member add m4 --peer-urls "https://$(peer 4)"
odd=("${tls[@]}")
odd[8]=$tmp/odd.pem
odd[10]=$tmp/odd.key
start 4 "$KONTIKI" etcd $(flags 4 https) --initial-cluster "$(initial https 1 2 3 4)" --initial-cluster-state existing "${odd[@]}"
refused() { cat "$tmp"/m[123].log | grep -q 'common name "odd-one" is not one'; }
t "a peer with another common name is not let in" until_ok 30 refused
stop 4 KILL
stop_all
rm -rf "$tmp"/d?
start 1 "$KONTIKI" etcd $(flags 1 https) --initial-cluster "$(initial https 1)" --auto-tls --peer-auto-tls
t "self-signed certificates" until_ok 60 timeout 20 etcdctl --endpoints "https://$(client 1)" --cacert "$tmp/d1/fixtures/client/cert.pem" put a 1
stop_all
