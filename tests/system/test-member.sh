#!/bin/bash
# The life of a cluster's store: joining, stand-by servers, a dead voter, replacing a server, leadership, a full disk, backup,
# restore, and what is left after a majority is lost. Servers without pods, on the loopback of a network namespace of their own.
if [ -z "${KONTIKI_TEST_INSIDE:-}" ] && [ "$(id -u)" = 0 ]; then
	exec env KONTIKI_TEST_INSIDE=1 unshare -nm --propagation private "$0" "$@"
fi
# shellcheck source=tests/system/lib.sh
. "$(dirname "$0")/lib.sh"

[ "$(id -u)" = 0 ] || { skip "everything: needs root"; exit 0; }
ip link set lo up

declare -A pid
# serve NAME NUMBER [OPTIONS...]: server NAME with ports of its own.
serve() {
	local name=$1 n=$2
	shift 2
	"$KONTIKI" server --no-agent --name "$name" --data-dir "$tmp/$name" --advertise-address 127.0.0.1 --secure-port $((6443 + n)) \
		--peer-port $((2380 + n)) --etcd-listen off --voters 3 --dead-after 4 "$@" >>"$tmp/$name.log" 2>&1 &
	pid[$name]=$!
	background+=("$!")
}
stop() { kill "${pid[$1]}" && wait "${pid[$1]}"; }
crash() { kill -9 "${pid[$1]}"; wait "${pid[$1]}" 2>/dev/null; }
ask() { # NAME NUMBER COMMAND...: what kontiki says when that server is asked
	local name=$1 n=$2
	shift 2
	"$KONTIKI" "$@" --data-dir "$tmp/$name" --server "127.0.0.1:$((6443 + n))"
}
role_is() { # ASKED NUMBER NAME ROLE
	ask "$1" "$2" member list | awk -v n="$3" -v r="$4" '$1 == n && $4 == r { f = 1 } END { exit !f }' || { ask "$1" "$2" member list; return 1; }
}
members_are() { # ASKED NUMBER N
	[ "$(ask "$1" "$2" member list | tail -n +2 | wc -l)" = "$3" ] || { ask "$1" "$2" member list; return 1; }
}
namespace() { printf 'apiVersion: v1\nkind: Namespace\nmetadata: {name: %s}\n' "$1"; }
# Also when the answer of an attempt was lost.
make() { namespace "$2" | "$KONTIKI" apply --kubeconfig "$tmp/$1/admin.kubeconfig" -f -; }
has() { "$KONTIKI" get namespace "$2" --kubeconfig "$tmp/$1/admin.kubeconfig"; }
until_make() { until_ok "$1" make "$2" "$3"; }
as_member() { ask n1 1 "$@"; }
id_of() { # ASKED NUMBER NAME-OR-ADDRESS
	ask "$1" "$2" member list | awk -v w="$3" '{ for (i = 1; i <= NF; i++) if ($i == w) for (j = 1; j <= NF; j++) if (length($j) == 16 && $j ~ /^[0-9a-f]+$/) { print $j; exit } }'
}
has_new_id() { # ASKED NUMBER NAME OLD
	local now
	now=$(id_of "$1" "$2" "$3")
	[[ -n $now && $now != "$4" ]] || { ask "$1" "$2" member list; return 1; }
}
# The status says this, healthy or not.
unhealthy_for() {
	local out
	out=$(ask "$1" "$2" status)
	grep -E -- "$3" <<<"$out" || { echo "$out"; return 1; }
}
without_warnings() { ! unhealthy_for "$1" "$2" "warning|PROBLEM" && healthy "$1" "$2"; }
healthy() { ask "$1" "$2" status; }

serve n1 1
t "the first server is healthy" until_ok 40 healthy n1 1
token=$(cat "$tmp/n1/pki/join.token")
serve n2 2 --join https://127.0.0.1:6444 --token "$token"
t "a second one votes" until_ok 40 role_is n1 1 n2 voter
t "two voters: it is said what that means" until_ok 40 unhealthy_for n1 1 "quorum is lost when one dies"
serve w 6 --witness --join https://127.0.0.1:6444 --token "$token"
t "a witness is the third voter" until_ok 40 role_is n1 1 w voter,witness
t "with it all is well" until_ok 30 without_warnings n1 1
t_out "the CA is replaced" 'it signs now' as_member cert rotate-ca --yes --wait 300
of_one_ca() { # CAS: each member's own certificate is of the CA that signs, and so many are trusted
	local m
	for m in n1 n2 w; do
		[ "$(grep -c BEGIN "$tmp/$m/pki/ca.crt")" = "$1" ] && [ "$(openssl x509 -in "$tmp/$m/pki/peer.crt" -noout -issuer)" = \
			"$(openssl x509 -in "$tmp/n1/pki/ca.crt" -noout -subject | sed 's/^subject/issuer/')" ] || { echo "$m"; return 1; }
	done
}
t "the witness has followed, as the others" until_ok 30 of_one_ca 2
soon_out "the old one is retired" 'no longer trusted' as_member cert rotate-ca --retire --yes --wait 300
t "by the witness, too" until_ok 30 of_one_ca 1
token=$(cat "$tmp/n1/pki/join.token")
crash n2
t "one of the two servers may die" until_make 60 n1 witnessed
t "the other one leads, not the witness" until_ok 40 role_is n1 1 n1 leader
serve n2 2
t "all is well again" until_ok 40 without_warnings n1 1
# Who was heard of again a moment ago may be found silent once more, and then nobody is let go.
t "the witness goes" until_ok 30 as_member member remove w
is_gone() { ! kill -0 "${pid[w]}"; }
t "and knows it" until_ok 30 is_gone
serve n3 3 --join https://127.0.0.1:6444 --token "$token" --failure-domain attic
t "a third one votes" until_ok 40 role_is n1 1 n3 voter
soon_out "its failure domain is known" "n3 .* attic " as_member member list
serve n4 4 --join https://127.0.0.1:6444 --token "$token"
t "a fourth one stands by" until_ok 40 role_is n1 1 n4 stand-by
t "all is healthy" until_ok 30 healthy n1 1
t "an object is made" until_make 60 n1 before

t "leadership goes where it is sent" until_ok 30 as_member member transfer n2
t "the others know" until_ok 30 role_is n3 3 n2 leader
soon_err "a stand-by cannot lead" "voting member" as_member member transfer n4
soon_err "a voter cannot be promoted" "votes already" as_member member promote n1
soon_err "an unknown member cannot be removed" "no such member" as_member member remove nobody
t_out "a place is made" "id [0-9a-f]{16}" as_member member add --address 127.0.0.1:9999 --learner
t_err "not twice" "is there already" as_member member add --address 127.0.0.1:9999
soon_out "it waits for somebody" "nobody has come for it" as_member status
id=$(id_of n1 1 127.0.0.1:9999)
soon_err "it cannot vote" "not started" as_member member promote "$id"
t "the place is removed by its id" until_ok 30 as_member member remove "$id"

note "n3 dies"
crash n3
t "its vote goes to the stand-by" until_ok 40 role_is n1 1 n4 voter
t "its death is told" until_ok 30 unhealthy_for n1 1 "n3 does not answer"
old=$(id_of n1 1 n3)
rm -rf "$tmp/n3"
serve n3 3 --join https://127.0.0.1:6444 --token "$token"
t "an empty server under its name replaces it" until_ok 30 has_new_id n1 1 n3 "$old"
t "and stands by" until_ok 30 role_is n1 1 n3 stand-by
t "as the only one of its name" until_ok 30 members_are n1 1 4
t "all is healthy again" until_ok 30 healthy n1 1
# Of each server that is there, and of none that was.
front_cas() { "$KONTIKI" get --raw /api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication --kubeconfig "$tmp/$1/admin.kubeconfig" |
	jq -r '.data["requestheader-client-ca-file"]' | grep -c BEGIN; }
t "front proxies are believed by the CAs of these four" until_ok 60 is 4 front_cas n1

note "n4's disk is full"
stop n4
mkdir "$tmp/copy" && cp -a "$tmp/n4/." "$tmp/copy/" && mount -t tmpfs -o size=80m tmpfs "$tmp/n4" && cp -a "$tmp/copy/." "$tmp/n4/"
serve n4 4
t "it is back, on a small disk" until_ok 40 healthy n4 4
dd if=/dev/zero of="$tmp/n4/filler" bs=1M >/dev/null 2>&1
t "an object is made all the same" until_make 60 n1 meanwhile
busy() { for i in $(seq 40); do make n1 "fill-$1-$i" >/dev/null || return 1; done; }
full() { busy "$RANDOM" && unhealthy_for n1 1 "n4 has trouble with its disk"; }
t "the others say so" until_ok 30 full
t "its process lives, and says why" until_ok 30 grep -q "alarm=disk" "$tmp/n4.log"
t "writes go on" until_make 60 n1 full
rm "$tmp/n4/filler"
t "it comes back by itself when there is room" until_ok 40 healthy n1 1
t "with all that it missed" until_ok 40 has n4 full

t_out "a snapshot is saved" "every checksum matches" ask n1 1 snapshot save "$tmp/a.snapshot"
t_out "and looked at" "revision [0-9]+" "$KONTIKI" snapshot status "$tmp/a.snapshot"
printf 'x' | dd of="$tmp/a.snapshot" bs=1 seek=3000 conv=notrunc 2>/dev/null
t_err "damage is seen" "damaged at offset" "$KONTIKI" snapshot status "$tmp/a.snapshot"
t_out "another one" "every checksum matches" ask n1 1 snapshot save "$tmp/b.snapshot"
t_err "nothing is restored over a member" "has a member already" \
	"$KONTIKI" snapshot restore "$tmp/b.snapshot" --data-dir "$tmp/n1" --advertise-address 127.0.0.1 --member n1
mkdir "$tmp/n5" && cp -a "$tmp/n1/pki" "$tmp/n5/"
t_err "a revision is not raised without a word on watchers" "wants --mark-compacted" \
	"$KONTIKI" snapshot restore "$tmp/b.snapshot" --data-dir "$tmp/n5" --advertise-address 127.0.0.1 --bump-revision 10
version_of() { "$KONTIKI" get --raw /api/v1/namespaces --kubeconfig "$tmp/$1/admin.kubeconfig" | jq -r .metadata.resourceVersion; }
t "what the backup does not have" until_make 60 n1 beyond
seen=$(version_of n1)
t_out "it becomes a server of a new cluster" "member \"n5\" of a new cluster" \
	"$KONTIKI" snapshot restore "$tmp/b.snapshot" --data-dir "$tmp/n5" --advertise-address 127.0.0.1 --member n5 --secure-port 6448 --peer-port 2385
serve n5 5 --snapshot-interval 1 --snapshot-keep 2
t "which holds what was saved" until_ok 40 has n5 full
t "alone" until_ok 60 members_are n5 5 1
t "at a revision that no client has seen" [ "$(version_of n5)" -gt 1000000000 ]
t_out "a client that saw more than the backup has is told to list again" '"reason":"Expired"' timeout 120 "$KONTIKI" get \
	--raw "/api/v1/namespaces?watch=1&timeoutSeconds=100&resourceVersion=$seen" --kubeconfig "$tmp/n5/admin.kubeconfig"
two_snapshots() { [ "$(find "$tmp/n5/snapshots" -name 'store-*.snapshot' | wc -l)" = 2 ] && make n5 "s-$RANDOM"; }
t "it takes snapshots of its own" until_ok 30 two_snapshots
stop n5

note "all but n1 are lost"
t "the last write" until_make 60 n1 last
# A majority has it, which n1 need not be part of; after a read through n1 it is.
soon "is on n1 as well" has n1 last
for n in n2 n3 n4; do crash $n; done
t "nothing can be written, and it is said" until_ok 30 unhealthy_for n1 1 "only 1 of 3 voting members answer: nothing can be written"
t_err "recovery wants the server stopped" "uses" "$KONTIKI" recover --data-dir "$tmp/n1"
stop n1
t_out "recovery says what it will do" "Nothing has been changed" "$KONTIKI" recover --data-dir "$tmp/n1"
t_out "and does it" "^Done: cluster" "$KONTIKI" recover --data-dir "$tmp/n1" --yes
serve n1 1
t "it serves again" until_ok 40 healthy n1 1
soon "with the last write" has n1 last
t "beyond what clients have seen of it" [ "$(version_of n1)" -gt 1000000000 ]
t "alone" until_ok 60 members_are n1 1 1
t "the CAs of the others have gone" until_ok 60 is 1 front_cas n1
serve n2 2
refused() { grep -q "belongs to another cluster" "$tmp/n1.log" "$tmp/n2.log"; }
t "one of the old cluster is not let in" until_ok 30 refused
crash n2
umount "$tmp/n4" 2>/dev/null
