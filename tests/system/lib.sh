# shellcheck shell=bash
# What the system tests share; sourced by tests/system/test-*.sh.
#
# A test makes a cluster of its own (`cluster_up`), shows things with `t NAME COMMAND...` and leaves nothing behind: the
# exit trap takes the cluster down and checks that no process, mount, namespace, link or control group of it is left.
# Output: "ok - NAME", "not ok - NAME" and "skip - NAME" are results, "# ..." is worth the reader's attention, the
# rest is narration. Nothing sleeps and hopes: `until_ok SECONDS COMMAND...` polls.
#
# From the environment: KONTIKI (the program; default build/kontiki), KONTIKI_KEEP=1 (leave a failed cluster up),
# KONTIKI_TEST_LOGS (a folder for what is left of a failed cluster: logs, objects, metrics), KUBECTL (default: the first
# kubectl in the PATH).
set -uo pipefail
export LC_ALL=C

# A nearly full disk of the machine, or what memory others take, is no reason for pods of a test to be evicted; test-pressure.sh has thresholds of its own.
export KONTIKI_EVICTION_HARD=${KONTIKI_EVICTION_HARD-memory.available<1Mi} KONTIKI_IMAGE_GC_HIGH_THRESHOLD=100

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
KONTIKI=${KONTIKI:-$root/build/kontiki}
KUBECTL=${KUBECTL:-kubectl}
tmp=$(mktemp -d /tmp/kontiki-test.XXXXXX)
patience=3
n_failed=0
cluster=

# Whose this folder is: a process by its id and when it began. Who is killed cannot tidy up; the next test does that for it.
born() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20; }
echo "$$ $(born $$)" >"$tmp/owner"
sweep() {
	local owner dir pid when what
	for owner in /tmp/kontiki-test.*/owner; do
		read -r pid when 2>/dev/null <"$owner" && [ "$when" != "$(born "$pid")" ] || continue
		dir=${owner%/owner}
		echo "what process $pid has left in $dir goes"
		for what in t:c x:chaos; do
			[ ! -e "$dir/${what#*:}" ] || "$KONTIKI" down --name "${what%:*}$pid" --dir "$dir/${what#*:}"
		done
		pgrep -f -- "$dir/" | xargs -r kill -9 2>/dev/null
		for what in limits memory start; do ip netns del "kontiki-$what-$pid" 2>/dev/null; done
		awk -v dir="$dir/" 'index($5, dir) == 1 { print $5 }' /proc/self/mountinfo | sort -r | xargs -r umount -l
		rm -rf "$dir"
	done
}
[ "$(id -u)" != 0 ] || sweep

note() { echo "# $*"; }
ok() { echo "ok - $*"; }
not_ok() {
	echo "not ok - $*"
	n_failed=$((n_failed + 1))
}
# At most 40 lines of a text.
excerpt() { # FILE PREFIX
	{
		if [ "$(wc -l <"$1")" -gt 40 ]; then
			head -n 10 "$1"
			echo "..."
			tail -n 29 "$1"
		else
			cat "$1"
		fi
	} | cut -c 1-400 | sed "s/^/$2/"
}
# Every log that is there, the one that was written to last first.
all_logs() {
	find "$tmp" -maxdepth 3 -type f \( -name '*.log' -o -name log \) ! -name images.log ! -name npm.log -size +0 -printf '%T@ %p\n' 2>/dev/null |
		sort -rn | cut -d' ' -f2-
}
# What every program of the test logged last, and how busy the machine is: whoever reads of a failure has often nothing else. For the
# first failures only; what comes after them mostly comes of them.
moment() {
	local log
	echo "  at $(date -u +%H:%M:%S), load $(cut -d' ' -f1-3 /proc/loadavg)"
	[ $n_failed -le 3 ] || return 0
	all_logs | head -n 8 | while IFS= read -r log; do
		echo "  -- ${log#"$tmp/"}"
		tail -n 25 "$log" | tr -d '\r\0' | cut -c 1-300 | sed 's/^/  : /'
	done
}
skip() { echo "skip - $*"; }

# t NAME COMMAND...: ok when the command succeeds. Its output is shown when it does not, and what the servers logged last.
t() {
	local name=$1 rc
	shift
	"$@" >"$tmp/t.out" 2>&1
	rc=$?
	if [ $rc -eq 0 ]; then
		ok "$name"
	else
		not_ok "$name"
		echo "  command: $* (status $rc)"
		excerpt "$tmp/t.out" '  | '
		moment
	fi
	return $rc
}

# t_out NAME REGEX COMMAND...: the command succeeds and its output has a line that matches the extended REGEX.
t_out() {
	local name=$1 regex=$2
	shift 2
	t "$name" has_line "$regex" "$@"
}
has_line() {
	local regex=$1 out rc
	shift
	out=$("$@" 2>&1)
	rc=$?
	printf '%s\n' "$out"
	[ $rc -eq 0 ] || return $rc
	grep -Eq -- "$regex" <<<"$out" || { echo "(no line matches: $regex)"; return 1; }
}

# t_err NAME REGEX COMMAND...: the command fails, and says something that matches.
t_err() {
	local name=$1 regex=$2
	shift 2
	t "$name" fails_with "$regex" "$@"
}
fails_with() {
	local regex=$1 out rc
	shift
	out=$("$@" 2>&1)
	rc=$?
	printf '%s\n' "$out"
	[ $rc -ne 0 ] || { echo "(it succeeded, and should have failed)"; return 1; }
	[ $rc -lt 128 ] || { echo "(ended by a signal: $rc)"; return 1; }
	grep -Eq -- "$regex" <<<"$out" || { echo "(no line matches: $regex)"; return 1; }
}

# until_ok SECONDS COMMAND...: true as soon as the command succeeds; in this shell, so that what a function sets stays. The seconds are what it
# takes at the very most on a machine that has little else to do; on a busy one it is waited for longer, which costs only what fails anyway.
until_ok() {
	local limit=$((SECONDS + $1 * patience)) out
	shift
	out=$(mktemp "$tmp/until.XXXXXX")
	until "$@" >"$out" 2>&1; do
		if [ $SECONDS -ge $limit ]; then
			cat "$out"
			echo "(not within the time)"
			return 1
		fi
		sleep 0.1
	done
	cat "$out"
	rm -f "$out"
}
# What is so in a moment, not yet when the command before has answered: what another server or a controller makes of it. As t, t_out
# and t_err, for as long as it takes.
soon() { t "$1" until_ok 60 "${@:2}"; }
soon_out() { t "$1" until_ok 60 has_line "${@:2}"; }
soon_err() { t "$1" until_ok 60 fails_with "${@:2}"; }
not() { ! "$@"; }
# is VALUE COMMAND...: the command prints exactly VALUE.
is() {
	local want=$1 got
	shift
	got=$("$@" 2>&1)
	[ "$got" = "$want" ] || { echo "got: $got"; echo "want: $want"; return 1; }
}

# No --request-timeout: it would also end the watches of `wait` and `rollout status`.
k() { timeout "${K_TIMEOUT:-320}" "$KUBECTL" --kubeconfig "$tmp/kubeconfig" --cache-dir "$tmp/kube-cache" "$@"; }
kk() { "$KONTIKI" "$@"; }
node() { "$KONTIKI" node "$@" --timeout 120; }

# cluster_up [UP-ARGUMENTS...]: a cluster with a name and network of its own; kubeconfig in $tmp/kubeconfig.
cluster_up() {
	[ "$(id -u)" = 0 ] || { skip "everything: needs root"; exit 0; }
	[ -x "$KONTIKI" ] || { not_ok "no program $KONTIKI"; exit 1; }
	"$root/tools/images" >"$tmp/images.log" 2>&1 || { cat "$tmp/images.log"; not_ok "demo images"; exit 1; }
	cluster=t$$
	cluster_dir=$tmp/c
	subnet=10.$((200 + $$ % 50)).$(($$ / 50 % 250)).0/24
	# What `kontiki node`, `kubeconfig` and `down` take for --name and --dir.
	export KONTIKI_CLUSTER=$cluster KONTIKI_CLUSTER_DIR=$cluster_dir
	leftovers_before=$(leftovers)
	local at=${EPOCHREALTIME/./}
	if ! t "kontiki up $*" "$KONTIKI" up --timeout 400 --subnet "$subnet" "$@"; then
		exit 1
	fi
	note "kontiki up took $(((${EPOCHREALTIME/./} - at) / 1000)) ms"
	"$KONTIKI" kubeconfig >"$tmp/kubeconfig"
}

# What a cluster leaves on the machine when `kontiki down` forgets it.
leftovers() {
	{
		pgrep -af "$tmp/" | grep -v "^$$ " | grep -vE 'pgrep|bash .*/test-'
		grep -o " $tmp/c[^ ]*" /proc/self/mountinfo
		find /run/netns -name "*-${cluster:-no-cluster}-*" 2>/dev/null
		find /sys/fs/cgroup -maxdepth 4 -type d -path "*/kontiki/${cluster:-no-cluster}*" 2>/dev/null
		ip -br link | grep -E "${cluster:-no-cluster}"
		iptables-save 2>/dev/null | grep -i kontiki
	} 2>/dev/null
}

cluster_down() {
	[ -n "$cluster" ] || return 0
	if [ -n "${KONTIKI_KEEP:-}" ] && [ $n_failed -gt 0 ]; then
		rm -f "$tmp/owner"
		note "the cluster stays: $KONTIKI down --name $cluster --dir $cluster_dir; kubeconfig $tmp/kubeconfig"
		return 0
	fi
	t "kontiki down" "$KONTIKI" down
	t "kontiki down leaves no trace" until_ok 30 no_trace
	cluster=
}
# A client of this test that has just lost its server, or was told to end, may need a moment more; what was forgotten stays.
no_trace() {
	local left
	left=$(leftovers)
	[ "$left" = "$leftovers_before" ] && [ ! -e "$cluster_dir" ] || { echo "$left"; ls -d "$cluster_dir" 2>/dev/null; return 1; }
}

# What tells later why it failed: every log in full, the objects and the metrics as they are now.
keep_logs() {
	local to=${KONTIKI_TEST_LOGS:-} log s
	[ -n "$to" ] && mkdir -p "$to" || return 0
	all_logs | while IFS= read -r log; do
		s=${log#"$tmp/"}
		cp "$log" "$to/${s//\//-}"
	done
	uptime >"$to/uptime"
	[ -n "$cluster" ] || { note "logs are in $to"; return 0; }
	k get nodes,pods,svc,rs,deploy,ds,sts,job,quota -A -o yaml >"$to/objects.yaml" 2>&1
	k get events -A --sort-by=.lastTimestamp >"$to/events" 2>&1
	for s in $(servers); do
		in_switch "$KUBECTL" --kubeconfig "$tmp/kubeconfig" --server "https://$(addr_of "$s"):6443" --insecure-skip-tls-verify \
			--request-timeout=5s get --raw /metrics >"$to/$s-metrics" 2>&1
	done
	note "logs, objects and metrics are in $to"
}

background=()
on_exit() {
	local rc=$?
	trap - EXIT
	local pid
	for pid in ${background[@]+"${background[@]}"}; do kill "$pid" 2>/dev/null && wait "$pid" 2>/dev/null; done
	if [ $n_failed -gt 0 ]; then
		echo "--- state at the end"
		[ -z "$cluster" ] || k get nodes,pods,svc -A -o wide 2>&1 | head -n 60
		local log
		all_logs | while IFS= read -r log; do
			echo "--- $log"
			tail -n 15 "$log"
		done
		keep_logs
	fi
	cluster_down
	if [ $n_failed -eq 0 ] || [ -z "${KONTIKI_KEEP:-}" ]; then rm -rf "$tmp"; fi
	[ $rc -eq 0 ] || exit $rc
	# With a number: a bare exit in a trap keeps the status from before it.
	exit $((n_failed > 0))
}
trap on_exit EXIT
trap 'exit 130' INT TERM

# --- questions about the cluster

nodes_ready() { # N
	[ "$(k get nodes --no-headers | awk '$2 == "Ready"' | wc -l)" = "$1" ] || { k get nodes; return 1; }
}
pods_ready() { # N SELECTOR [NAMESPACE]
	local n
	n=$(k -n "${3:-default}" get pods -l "$2" --no-headers 2>/dev/null |
		awk '{ split($2, r, "/") } $3 == "Running" && r[1] == r[2]' | wc -l)
	[ "$n" = "$1" ] || { k -n "${3:-default}" get pods -l "$2" -o wide; return 1; }
}
leader_now() { node list | awk '$5 == "leader" && !n++ { print $1 }'; }
has_leader() { leader_now | grep .; }
# Who leads; while they elect, who does in the end.
leader() { until_ok 60 has_leader; }
new_leader() { # OLD
	local l
	l=$(leader_now)
	[ -n "$l" ] && [ "$l" != "$1" ]
}
servers() { node list | awk '/^server-/ { print $1 }'; }
addr_of() { node list | awk -v n="$1" '$1 == n { print $3 }'; }
in_node() { # NODE COMMAND...
	local n=$1
	shift
	nsenter --net="/run/netns/kontiki-$cluster-$n" "$@"
}
# In the nodes' network: where programs of a test listen.
switch_address() { in_switch ip -4 -o addr show | awk '$2 != "lo" && !n++ { sub("/.*", "", $4); print $4 }'; }
# What runs there, as a Service: outside_service NAME PORT TARGET-PORT.
outside_service() {
	cat <<-EOP
		apiVersion: v1
		kind: Service
		metadata: {name: $1}
		spec: {ports: [{port: $2, targetPort: $3}]}
		---
		apiVersion: discovery.k8s.io/v1
		kind: EndpointSlice
		metadata: {name: $1, labels: {kubernetes.io/service-name: $1}}
		addressType: IPv4
		ports: [{port: $3}]
		endpoints: [{addresses: ["$(switch_address)"], conditions: {ready: true}}]
		---
	EOP
}
in_switch() { nsenter --net="/run/netns/kontiki-$cluster-switch" "$@"; }
# kubectl to this server, past the balancer: each answers from indexes of its own.
direct() { # SERVER ARGUMENTS...
	local server
	server=$(addr_of "$1")
	shift
	in_switch "$KUBECTL" --kubeconfig "$tmp/kubeconfig" --server "https://$server:6443" --insecure-skip-tls-verify --request-timeout=60s "$@"
}
# join_status SERVER TOKEN [agent|server]: what a joining node is answered: 400 when its token is good, since it says nothing else.
join_status() {
	in_switch curl -sSk --http1.1 -m 60 -o /dev/null -w '%{http_code}\n' -X POST -H "Authorization: Bearer ${2##*.}" -d '{}' \
		"https://$(addr_of "$1"):6443/kontiki/v1/join/${3:-agent}"
}

# curl to the API with the administrator's certificate: api PATH [CURL-ARGUMENTS...]; the body, then a line with the status.
api_files() {
	server=$(k config view --minify --raw -o 'jsonpath={.clusters[0].cluster.server}')
	k config view --minify --raw -o 'jsonpath={.clusters[0].cluster.certificate-authority-data}' | base64 -d >"$tmp/ca.crt"
	k config view --minify --raw -o 'jsonpath={.users[0].user.client-certificate-data}' | base64 -d >"$tmp/admin.crt"
	k config view --minify --raw -o 'jsonpath={.users[0].user.client-key-data}' | base64 -d >"$tmp/admin.key"
}
api() {
	local path=$1
	shift
	curl -sS -m 60 --cacert "$tmp/ca.crt" --cert "$tmp/admin.crt" --key "$tmp/admin.key" -w '\nstatus %{http_code}\n' "$@" "$server$path"
}
api_anonymous() {
	local path=$1
	shift
	curl -sS -m 60 --cacert "$tmp/ca.crt" -w '\nstatus %{http_code}\n' "$@" "$server$path"
}

# --- the write loop (writer.py)

writer() { /usr/bin/python3 "$root/tests/system/writer.py" "$@"; }
now() { echo "$EPOCHREALTIME"; }
acks() { awk '$4 == "ack"' "$1" 2>/dev/null | wc -l; }
has_acks() { [ "$(acks "$1")" -ge "$2" ] || { tail -n 3 "$1"; return 1; }; }
acked_after() { awk -v t="$2" -v n="${3:-20}" '$4 == "ack" && $2 > t { c++ } END { exit c < n }' "$1" || { tail -n 3 "$1"; return 1; }; }

# start_writer PREFIX [WRITER-ARGUMENTS...]: its log is $tmp/PREFIX.log. With --in-switch first it runs in the cluster's own network.
start_writer() {
	local prefix=$1 enter=
	shift
	if [ "${1:-}" = --in-switch ]; then
		enter="nsenter --net=/run/netns/kontiki-$cluster-switch"
		shift
	fi
	: >"$tmp/$prefix.log"
	$enter /usr/bin/python3 "$root/tests/system/writer.py" write --kubeconfig "$tmp/kubeconfig" --out "$tmp/$prefix.log" \
		--prefix "$prefix" "$@" >"$tmp/$prefix.err" 2>&1 &
	background+=($!)
}
stop_writers() {
	local pid
	for pid in ${background[@]+"${background[@]}"}; do
		kill "$pid" 2>/dev/null
		wait "$pid" 2>/dev/null
	done
	background=()
}
