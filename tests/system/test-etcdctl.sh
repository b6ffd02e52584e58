#!/bin/bash
# etcd's own client on a cluster of three members of ours: every subcommand of etcdctl that reads, writes, watches, locks or
# elects; a mirror from a Debian etcd into ours and back; the JSON gateway and the pages; the npm client etcd3.
# shellcheck source=tests/system/lib.sh
. "$(dirname "$0")/lib.sh"

# etcdctl gives up after five seconds by itself, which a busy machine may need for a sync.
export ETCDCTL_API=3 ETCDCTL_COMMAND_TIMEOUT=30s ETCDCTL_DIAL_TIMEOUT=10s
command -v etcdctl >/dev/null || { skip "everything: needs etcdctl (etcd-client)"; exit 0; }

# Some of these do not end when they are asked to, because the members they would tell have ended before them.
trap 'rc=$?; disown -a; kill -9 ${background[@]+"${background[@]}"} 2>/dev/null; background=(); (exit $rc); on_exit' EXIT

# --- three members on loopback
# Below the ports that the kernel gives to outgoing connections, and below those of test-etcd-program.sh: a port that is free now and used
# in a minute must not be somebody's by then.
base=$((12000 + $$ % 400 * 20))
for ((i = 0; i < 14; i++)); do port[i]=$((base + i)); done
initial=
for i in 0 1 2; do initial+="${initial:+,}m$i=http://127.0.0.1:${port[i + 3]}"; done
for i in 0 1 2; do
	"$KONTIKI" etcd --name "m$i" --data-dir "$tmp/m$i" --initial-cluster "$initial" --initial-cluster-state new \
		--listen-client-urls "http://127.0.0.1:${port[i]}" --advertise-client-urls "http://127.0.0.1:${port[i]}" \
		--listen-peer-urls "http://127.0.0.1:${port[i + 3]}" \
		--initial-advertise-peer-urls "http://127.0.0.1:${port[i + 3]}" >"$tmp/m$i.log" 2>&1 &
	background+=($!)
	member[i]=$!
done
all=127.0.0.1:${port[0]},127.0.0.1:${port[1]},127.0.0.1:${port[2]}
url=http://127.0.0.1:${port[1]}
e() { timeout 60 etcdctl --endpoints "$all" "$@"; }
# On one member: e1 INDEX ...
e1() {
	local i=$1
	shift
	timeout 60 etcdctl --endpoints "127.0.0.1:${port[i]}" "$@"
}
t "three members become one cluster" until_ok 40 e endpoint health

# It runs a minute; all else goes on beside it. How fast it is on this machine is not the question.
# So many writes, for a minute at the least.
e_perf() { timeout 300 etcdctl --endpoints "$all" check perf --prefix /perf/ >"$tmp/perf.out" 2>&1; }
e_perf &
perf=$!
background+=("$perf")

# --- put, get, del, from every member
for i in 0 1 2; do
	t_out "put on member $i" '^OK$' e1 "$i" put "key$i" "value$i"
	t "all members read it" is "value$i" e1 $(((i + 1) % 3)) get --print-value-only "key$i"
done
t "a prefix" is "$(printf 'key0\nkey1\nkey2')" bash -c "etcdctl --endpoints $all get --prefix --keys-only key | grep ."
t "descending, by modification, two of them" is "$(printf 'value2\nvalue1')" e get --prefix key --sort-by MODIFY --order DESCEND \
	--limit 2 --print-value-only
impatient() { ETCDCTL_COMMAND_TIMEOUT=1s "$@"; }
count() { e "$@" -w json | sed 's/.*"count":\([0-9]*\).*/\1/'; }
t "counted, beyond the limit" is 3 count get --prefix key --limit 1
t_out "JSON" '"kvs":\[\{"key":"a2V5MA=="' e get key0 -w json
t_out "protobuf" 'value0' e get key0 -w protobuf
t "a range, serializable" is 2 bash -c "etcdctl --endpoints $all get key0 key2 --consistency s --print-value-only | wc -l"
t "from a key on" is 1 bash -c "etcdctl --endpoints $all get --from-key key2 --print-value-only | grep -c value2"
t_out "the value before" 'value0' e put --prev-kv key0 new
t_err "a lease that there is not" 'requested lease not found' e put --lease 123456 key0 x
t_out "the value may be kept" '^OK$' e put --ignore-value key0
t "and is" is new e get --print-value-only key0
t_err "of a key that is there" 'key not found' e put --ignore-value nokey
rev=$(e get key0 -w fields | sed -n 's/.*Revision" : //p' | head -n 1)
e put key0 newer >/dev/null
t "at a revision" is new e get key0 --rev "$rev" --print-value-only
t_out "deleted with what there was" 'newer' e del --prev-kv key0
t "how many" is 2 e del --prefix key
t_err "nothing without a key" 'key is not provided' e get ''
head -c 1600000 /dev/zero | tr '\0' x >"$tmp/big"
t_err "a request that is too large" 'request is too large' bash -c "etcdctl --endpoints $all put big <'$tmp/big'"
head -c 1500000 /dev/zero | tr '\0' x >"$tmp/big"
t_out "a large one" '^OK$' bash -c "etcdctl --endpoints $all put big <'$tmp/big'"
t "comes back" is 1500001 bash -c "etcdctl --endpoints $all get big --print-value-only | wc -c"
long=$(head -c 100000 /dev/zero | tr '\0' k)
t_out "a key of a hundred thousand bytes" '^OK$' e put "$long" long
t "is found" is long e get "$long" --print-value-only

# --- txn
t_out "txn, from its standard input" '^SUCCESS$' bash -c "printf 'version(\"t\") = \"0\"\n\nput t 1\n\n\n' | etcdctl --endpoints $all txn"
t_out "when the comparison fails" '^FAILURE$' bash -c "printf 'mod(\"t\") = \"0\"\n\nput t 1\n\nput t 2\n\n' | etcdctl --endpoints $all txn"
e put t 2 >/dev/null
t_out "txn -i" '^SUCCESS$' bash -c \
	"printf 'value(\"t\") = \"2\"\nversion(\"t\") > \"0\"\n\nput t 3\nget t\n\ndel t\n\n' | etcdctl --endpoints $all txn -i"
t "did its branch" is 3 e get t --print-value-only
t_err "one key twice" 'duplicate key' bash -c "printf '\nput d 1\nput d 2\n\n\n' | etcdctl --endpoints $all txn"

# --- watch
watching() { # FILE ARGUMENTS...
	local out=$1
	shift
	etcdctl --endpoints "127.0.0.1:${port[1]}" watch "$@" >"$out" 2>&1 &
	background+=($!)
}
holds() { grep -qF -- "$2" "$1" || { cat "$1"; return 1; }; }
watching "$tmp/w1" --prefix w/ --prev-kv
watching "$tmp/w2" w/a --rev 2
# What -i watches it reads from a pipe that stays open.
mkfifo "$tmp/commands"
etcdctl --endpoints "127.0.0.1:${port[2]}" watch -i <"$tmp/commands" >"$tmp/w3" 2>&1 &
background+=($!)
exec 9>"$tmp/commands"
printf 'watch w/b\nprogress\n' >&9
w_put() { e put w/b probe >/dev/null && holds "$tmp/w1" probe; }
t "a watch of a prefix sees changes" until_ok 30 w_put
e put w/a one >/dev/null
e put w/a two >/dev/null
e del w/a >/dev/null
t "with the value before, to the deletion" until_ok 40 holds "$tmp/w1" DELETE
i_put() { e put w/b again >/dev/null && holds "$tmp/w3" again; }
t "watch -i" until_ok 30 i_put
t "and its progress" until_ok 40 holds "$tmp/w3" 'progress notify: '
printf 'watch w/c -- echo ran\n' >&9
w_exec() { e put w/c x >/dev/null && holds "$tmp/w3" ran; }
t "a command for each event" until_ok 30 w_exec
soon "a watch from the past has it all, in order" is "$(printf 'PUT one\nPUT two\nDELETE')" bash -c \
	"awk '/^PUT|^DELETE/ { what = \$0; n = 0; if (what == \"DELETE\") print what; next } n++ == 1 && what == \"PUT\" { print what, \$0 }' '$tmp/w2'"
exec 9>&-

# --- compaction
rev=$(e put c 1 -w json | sed 's/.*"revision":\([0-9]*\).*/\1/')
t_out "compaction" "compacted revision $rev" e compaction "$rev"
t_err "is not done twice" 'required revision has been compacted' e compaction "$rev"
t_err "what was before cannot be read" 'required revision has been compacted' e get c --rev $((rev - 1))
# A member that has not compacted yet, which is so in a moment, serves the watch.
soon_err "nor watched" 'required revision has been compacted' timeout 10 etcdctl --endpoints "$all" watch c --rev $((rev - 1))
t_err "the future neither" 'future revision' e get c --rev $((rev + 100000))
t_out "physically" "compacted revision" bash -c "etcdctl --endpoints $all compaction --physical \
	\$(etcdctl --endpoints $all put c 2 -w json | sed 's/.*\"revision\":\([0-9]*\).*/\1/')"

# --- leases
lease=$(e lease grant 100 | awk '{ print $2 }')
t_out "a lease" '^OK$' e put --lease "$lease" leased x
for i in 0 1 2; do soon_out "its time, from member $i" 'granted with TTL\(100s\), remaining\([1-9][0-9]*s\), attached keys\(\[leased\]\)' e1 "$i" lease timetolive --keys "$lease"; done
for i in 0 1 2; do soon_out "kept alive through member $i" 'keepalived with TTL\(100\)' e1 "$i" lease keep-alive --once "$lease"; done
soon_out "listed" "$lease" e lease list
t_out "revoked" revoked e lease revoke "$lease"
t "its key is gone" is '' e get leased
soon_out "and so is the lease" 'already expired' e lease timetolive "$lease"
short=$(e lease grant 1 | awk '{ print $2 }')
e put --lease "$short" shortlived x >/dev/null
gone() { [ -z "$(e get shortlived)" ]; }
t "one that nobody keeps alive ends" until_ok 40 gone
t_err "and cannot be kept alive" 'expired or revoked|not found' e lease keep-alive --once "$short"

# --- lock and elect
etcdctl --endpoints "127.0.0.1:${port[0]}" lock thelock -- sh -c "touch '$tmp/held'; until [ -e '$tmp/enough' ]; do sleep 0.05; done; echo first >>'$tmp/order'" >/dev/null 2>&1 &
background+=($!)
t "a lock is taken" until_ok 30 test -e "$tmp/held"
etcdctl --endpoints "127.0.0.1:${port[2]}" lock thelock -- sh -c "echo second >>'$tmp/order'" >"$tmp/second" 2>&1 &
second=$!
two_wait() { [ "$(e get --prefix thelock --keys-only | grep -c thelock)" = 2 ]; }
t "another waits for it" until_ok 30 two_wait
touch "$tmp/enough"
t "and gets it next" wait $second
t "after the first" is "$(printf 'first\nsecond')" cat "$tmp/order"
etcdctl --endpoints "127.0.0.1:${port[1]}" elect race first >"$tmp/elect" 2>&1 &
elected=$!
t "elected" until_ok 30 holds "$tmp/elect" first
etcdctl --endpoints "127.0.0.1:${port[0]}" elect -l race >"$tmp/listen" 2>&1 &
background+=($!)
t "others hear of it" until_ok 30 holds "$tmp/listen" first
etcdctl --endpoints "127.0.0.1:${port[2]}" elect race second >"$tmp/elect2" 2>&1 &
background+=($!)
kill -TERM $elected
t "the next one follows" until_ok 90 holds "$tmp/elect2" second
t "and is heard of" until_ok 30 holds "$tmp/listen" second

# --- the cluster's own affairs
t "member list" is 3 bash -c "etcdctl --endpoints $all member list | grep -c started"
soon "one leader" is 1 bash -c "etcdctl --endpoints $all endpoint status | grep -c ', true, false, '"
soon "all endpoints of the cluster are healthy" is 3 bash -c "etcdctl --endpoints 127.0.0.1:${port[0]} endpoint health --cluster 2>&1 | grep -c 'is healthy'"
t "alarm list" is '' e alarm list
t_out "defrag" 'Finished defragmenting' e defrag

# --- a mirror, from a Debian etcd into ours and back
if command -v etcd >/dev/null; then
	theirs=127.0.0.1:${port[6]}
	etcd --name theirs --data-dir "$tmp/theirs" --listen-client-urls "http://$theirs" --advertise-client-urls "http://$theirs" \
		--listen-peer-urls "http://127.0.0.1:${port[7]}" --initial-advertise-peer-urls "http://127.0.0.1:${port[7]}" \
		--initial-cluster "theirs=http://127.0.0.1:${port[7]}" >"$tmp/theirs.log" 2>&1 &
	background+=($!)
	t "a Debian etcd" until_ok 40 etcdctl --endpoints "$theirs" endpoint health
	for i in 1 2 3; do etcdctl --endpoints "$theirs" put "mirror/$i" "v$i" >/dev/null; done
	etcdctl --endpoints "$theirs" make-mirror --prefix mirror/ --dest-prefix mirrored/ "127.0.0.1:${port[2]}" >/dev/null 2>"$tmp/mirror1" &
	background+=($!)
	arrived() { is "$2" bash -c "etcdctl --endpoints $1 get --print-value-only $3"; }
	t "what it had is mirrored into ours" until_ok 40 arrived "$all" v3 mirrored/3
	etcdctl --endpoints "$theirs" put mirror/4 live >/dev/null
	etcdctl --endpoints "$theirs" del mirror/1 >/dev/null
	t "what it gets, too" until_ok 40 arrived "$all" live mirrored/4
	t "and what it loses" until_ok 40 arrived "$all" '' mirrored/1
	etcdctl --endpoints "$all" make-mirror --prefix mirrored/ --dest-prefix back/ "$theirs" >/dev/null 2>"$tmp/mirror2" &
	background+=($!)
	t "and back" until_ok 40 arrived "$theirs" live back/4
	e put mirrored/5 ours >/dev/null
	t "live" until_ok 40 arrived "$theirs" ours back/5
else
	skip "the mirror: needs etcd (etcd-server)"
fi

# --- pages and the JSON gateway
page() { curl -sS -m 60 "$url$1"; }
post() { curl -sS -m 60 -X POST "$url/v3/$1" -d "$2"; }
t_out "/health" '^\{"health":"true","reason":""\}$' page /health
t_out "/version" '"etcdserver":"3\.[0-9.]+"' page /version
t_out "/readyz" '^ok' page /readyz
t_out "/metrics: a leader" '^etcd_server_has_leader 1$' page /metrics
t_out "/metrics: calls" '^grpc_server_handled_total\{grpc_code="OK",grpc_method="Put",grpc_service="etcdserverpb.KV",grpc_type="unary"\} [1-9]' page /metrics
# What the dashboard and the alerts of etcd's mixin ask for.
page /metrics >"$tmp/metrics"
for name in etcd_server_has_leader etcd_server_leader_changes_seen_total etcd_server_proposals_{committed,applied,failed}_total \
	etcd_server_proposals_pending etcd_server_quota_backend_bytes etcd_mvcc_db_total_size_in_bytes etcd_mvcc_db_total_size_in_use_in_bytes \
	etcd_disk_{wal_fsync,backend_commit}_duration_seconds_bucket etcd_network_peer_round_trip_time_seconds_bucket \
	etcd_network_peer_{sent,received}_bytes_total etcd_network_peer_sent_failures_total etcd_network_client_grpc_{sent,received}_bytes_total \
	grpc_server_{started,handled}_total grpc_server_handling_seconds_bucket process_resident_memory_bytes process_open_fds process_max_fds; do
	t "/metrics: $name" grep -q "^${name}[{ ]" "$tmp/metrics"
done
t "/metrics: syncs are counted" grep -Eq '^etcd_disk_wal_fsync_duration_seconds_count [1-9]' "$tmp/metrics"
two_peers() { is 2 eval 'page /metrics | grep -c "^etcd_network_active_peers{.*} 1$"'; }
soon "/metrics: two peers, connected" two_peers
t_out "gateway: put" '"revision":"[0-9]+"' post kv/put '{"key":"Zw==","value":"MQ=="}'
t_out "gateway: range" '"kvs":\[\{"key":"Zw==".*"value":"MQ=="\}\],"count":"1"\}' post kv/range '{"key":"Zw=="}'
t_out "gateway: txn" '"succeeded":true' post kv/txn '{"compare":[{"target":"VALUE","key":"Zw==","value":"MQ=="}],"success":[{"requestPut":{"key":"Zw==","value":"Mg=="}}]}'
t_out "gateway: an error" '"error":"etcdserver: key is not provided","code":3' post kv/range '{}'
t_out "gateway: an unknown field is not looked at" '"count":"1"' post kv/range '{"key":"Zw==","kex":"Zw=="}'
t_out "gateway: not JSON" '"code":3' post kv/range 'nonsense'
t_out "gateway: a watch that ends within its JSON" '"error":"unexpected EOF","code":3' post watch '{"create_request":{"key":"Zw=="'
t_out "gateway: a nested transaction's header is empty" '"response_txn":\{"header":\{\}' post kv/txn '{"success":[{"request_txn":{"success":[{"request_range":{"key":"Zw=="}}]}}]}'
answer() { curl -sS -m 60 -o /dev/null -w '%{http_code} %{content_type}' "$@"; }
t_out "gateway: another method" '^405 text/plain' answer "$url/v3/kv/range"
t_out "gateway: another path" '^404 text/plain' answer -X POST "$url/v3/none"
t_out "the pages say what they are" '^200 text/plain' answer "$url/health"
t_out "also the version" '^200 application/json' answer "$url/version"
curl -sSN -m 120 -X POST "$url/v3/watch" -d '{"create_request":{"key":"Zw=="}}' >"$tmp/gw" 2>/dev/null &
background+=($!)
t "gateway: a watch begins" until_ok 30 holds "$tmp/gw" '"created":true'
post kv/deleterange '{"key":"Zw=="}' >/dev/null
t "and tells" until_ok 30 holds "$tmp/gw" '"type":"DELETE"'
t_out "gateway: keep-alive" '^\{"result":\{.*"TTL":"50"\}\}$' bash -c "curl -sS -m 60 -X POST $url/v3/lease/keepalive -d \"{\\\"ID\\\":\$(curl -sS -X POST $url/v3/lease/grant -d '{\"TTL\":50}' | sed 's/.*\"ID\":\(\"[0-9]*\"\).*/\1/' | sed 's/\"/\\\\\"/g' | tr -d '\\\\')}\""
t_out "gateway: a lock" '"key":"' post lock/lock '{"name":"Z2F0ZQ=="}'
t_out "gateway: an election" '"leader":\{' post election/campaign '{"name":"ZWw=","value":"eA=="}'
t_out "gateway: its leader" '"value":"eA=="' post election/leader '{"name":"ZWw="}'

# --- the npm client
client=$root/tests/clients/etcd3
if ! command -v npm >/dev/null; then
	skip "etcd3: needs npm"
else
	cp -r "$client" "$tmp/etcd3"
	if (cd "$tmp/etcd3" && timeout 120 npm ci --no-audit --no-fund --loglevel=error) >"$tmp/npm.log" 2>&1; then
		t "the npm client etcd3" timeout 120 node "$tmp/etcd3/test.js" "$all"
	else
		skip "etcd3: npm cannot install it here ($(tail -n 1 "$tmp/npm.log"))"
	fi
fi

# --- a member goes and comes back; nothing is lost
n=$(count get --prefix mirrored)
# Before a member goes: its calls would fail.
wait $perf
kill -9 "${member[0]}"
t "two of three go on" until_ok 40 e1 1 put survivor yes
soon "with all that was there" is "$n" count get --prefix mirrored
# A follower learns with the leader's next message what is committed; from then on it shows it without anybody.
soon "the other one knows it" is yes e1 1 get survivor --consistency s --print-value-only

# How fast it was is not what is asked here.
t "check perf runs to its end" grep -Eq 'Throughput (is|too low)' "$tmp/perf.out"

# --- one alone: who wants a leader is told that there is none, what needs none is served
kill -9 "${member[2]}"
t "a watch ends when there is no leader" until_ok 40 holds "$tmp/w1" 'etcdserver: no leader'
soon_out "/health says why" '"health":"false","reason":"RAFT NO LEADER"' page /health
soon_err "no linearizable read" 'timed out|deadline exceeded' impatient e1 1 get survivor
soon "a serializable one" is yes e1 1 get survivor --consistency s --print-value-only

# --- kontiki server, on loopback: root's processes only
"$KONTIKI" server --no-agent --name r --data-dir "$tmp/r" --advertise-address 127.0.0.1 --secure-port "${port[11]}" \
	--peer-port "${port[12]}" --etcd-listen "127.0.0.1:${port[13]}" >"$tmp/r.log" 2>&1 &
background+=($!)
t "root reads what Kubernetes keeps" until_ok 40 etcdctl --endpoints "127.0.0.1:${port[13]}" get /registry/namespaces/default
t_err "another user does not" . setpriv --reuid=65534 --clear-groups curl -sS -m 5 "http://127.0.0.1:${port[13]}/health"
soon "the log says why" grep -q 'belongs to user 65534' "$tmp/r.log"

# --- kontiki server, off the host: TLS, and certificates of administrators and servers only
"$KONTIKI" server --no-agent --name s --data-dir "$tmp/s" --advertise-address 127.0.0.1 --secure-port "${port[8]}" \
	--peer-port "${port[9]}" --etcd-listen "0.0.0.0:${port[10]}" >"$tmp/s.log" 2>&1 &
background+=($!)
as() { # CERTIFICATE ARGUMENTS...
	local who=$1
	shift
	timeout 60 etcdctl --endpoints "https://127.0.0.1:${port[10]}" --cacert "$tmp/s/pki/ca.crt" --cert "$tmp/s/pki/$who.crt" \
		--key "$tmp/s/pki/$who.key" "$@"
}
t "the administrator" until_ok 40 as admin endpoint health
soon_out "sees what Kubernetes keeps" '^/registry/namespaces/default$' as admin get --prefix /registry/namespaces/ --keys-only
soon_err "a node does not" 'permission denied' as kubelet get --prefix /registry/ --keys-only
t_err "nor one without a certificate" . curl -sS -m 5 --cacert "$tmp/s/pki/ca.crt" "https://127.0.0.1:${port[10]}/health"
t_err "nor without TLS" . curl -sS -m 5 "http://127.0.0.1:${port[10]}/health"
