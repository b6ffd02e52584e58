#!/bin/bash
# The kubelet alone, with a containerd of its own in namespaces of its own: pods from files, no API server.
# Needs root, containerd, and the image archives of tools/images (IMAGES, default /var/lib/kontiki/images).
# tmp, n_failed and the like come from lib.sh; the names that are listed are our own.
# shellcheck disable=SC2154,SC2010
. "$(dirname "$0")/lib.sh"

rig=${KUBELET_RIG:-$root/build/tests/system/kubelet_rig}
images=${IMAGES:-/var/lib/kontiki/images}
[ "$(id -u)" = 0 ] || { skip "kubelet: needs root"; exit 0; }
command -v containerd >/dev/null || { skip "kubelet: needs containerd"; exit 0; }
[ -x "$rig" ] || { skip "kubelet: $rig is not built (make check)"; exit 0; }
[ -f "$images/pause.tar" ] || { skip "kubelet: no image archives in $images (tools/images makes them)"; exit 0; }
images=$(readlink -f "$images")

dir=$tmp/n
group=/kontiki-test-$$/pods
mkdir -p "$dir/run" "$dir/images"
cp "$images"/{pause,busybox,nginx}.tar "$dir/images/" 2>/dev/null

# A process that holds the namespaces; everything else enters them.
unshare --net --mount --propagation private bash -c "ip link set lo up; mkdir -p /run/containerd
	mount --bind '$dir/run' /run/containerd; echo ready; exec sleep 3600" >"$tmp/holder" 2>&1 &
holder=$!
inside() { nsenter -t "$holder" -n -m "$@"; }

clean() {
	exec 9>&-
	[ -n "${rig_pid:-}" ] && kill -9 "$rig_pid" 2>/dev/null
	# What an aborted run left: the group's processes, containerd, then the holder with all mounts.
	for p in $(find /sys/fs/cgroup/*"${group%/*}" /sys/fs/cgroup"${group%/*}" -name cgroup.procs -exec cat {} + 2>/dev/null) \
		$(cat "$dir/a/containerd/containerd.pid" 2>/dev/null); do
		grep -q . "/proc/$p/cmdline" 2>/dev/null && kill -9 "$p" 2>/dev/null
	done
	pids=$(grep -als "$dir/a/containerd/containerd[.]sock" /proc/[0-9]*/cmdline 2>/dev/null | cut -d/ -f3)
	# shellcheck disable=SC2086
	[ -n "$pids" ] && kill -9 $pids 2>/dev/null
	kill "$holder" 2>/dev/null
	wait "$holder" 2>/dev/null
	sleep 0.2
	find /sys/fs/cgroup/*"${group%/*}" /sys/fs/cgroup"${group%/*}" -depth -type d -exec rmdir {} + 2>/dev/null
	rm -rf "$tmp"
}
trap clean EXIT
until_ok 30 grep -q ready "$tmp/holder" || { not_ok "namespaces"; exit 1; }

openssl_quiet() { openssl "$@" >/dev/null 2>&1; }
openssl_quiet req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=test-ca \
	-keyout "$tmp/ca.key" -out "$tmp/ca.crt"
leaf() { # name subject
	openssl_quiet req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "$2" -keyout "$tmp/$1.key" -out "$tmp/$1.csr"
	openssl_quiet x509 -req -in "$tmp/$1.csr" -CA "$tmp/ca.crt" -CAkey "$tmp/ca.key" -CAcreateserial -days 1 \
		-extfile <(echo subjectAltName=IP:127.0.0.1) -out "$tmp/$1.crt"
}
leaf kubelet /CN=system:node:rig/O=system:nodes
leaf admin /CN=kube-apiserver-kubelet-client
leaf stranger /CN=somebody

start_rig() { # files...
	rm -f "$tmp/in"
	mkfifo "$tmp/in"
	: >"$tmp/log"
	inside "$rig" --dir "$dir/a" --images "$dir/images" --cgroup "$group" --port 0 --cert "$tmp/kubelet.crt" \
		--key "$tmp/kubelet.key" --ca "$tmp/ca.crt" ${RIG_FLAGS:-} "$@" <"$tmp/in" >"$tmp/log" 2>&1 &
	rig_pid=$!
	exec 9>"$tmp/in"
	until_ok 30 grep -q 'started port=' "$tmp/log" && port=$(sed -n 's/.*started port=//p' "$tmp/log")
}
say() { echo "$*" >&9; }
seen() { until_ok "${2:-60}" grep -Eq -- "$1" "$tmp/log"; }
get() { inside curl -sS --cacert "$tmp/ca.crt" --cert "$tmp/admin.crt" --key "$tmp/admin.key" "https://127.0.0.1:$port$1"; }

cat >"$tmp/pods.yaml" <<'YAML'
apiVersion: v1
kind: ConfigMap
metadata: {name: conf}
data: {greeting: hello, file.txt: "from a config map"}
---
apiVersion: v1
kind: Secret
metadata: {name: sec}
stringData: {password: s3cret}
---
apiVersion: v1
kind: Pod
metadata: {name: full, uid: uid-full, labels: {app: full}}
spec:
  terminationGracePeriodSeconds: 2
  initContainers:
  - {name: init, image: "busybox:1.35", command: [sh, -c, "echo prepared > /shared/f"], volumeMounts: [{name: shared, mountPath: /shared}]}
  containers:
  - name: main
    image: busybox:1.35
    command: [sh, -c, 'echo "greeting=$GREETING name=$(POD_NAME) ip=$POD_IP cpu=$CPU"; cat /shared/f /conf/file.txt /sec/password /tok/token; echo; hostname; trap "exit 0" TERM; while :; do sleep 0.1; done']
    env:
    - {name: GREETING, valueFrom: {configMapKeyRef: {name: conf, key: greeting}}}
    - {name: POD_NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
    - {name: POD_IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
    - {name: CPU, valueFrom: {resourceFieldRef: {resource: limits.cpu, divisor: 1m}}}
    resources: {limits: {cpu: 200m, memory: 32Mi}}
    readinessProbe: {exec: {command: [test, -e, /shared/f]}, periodSeconds: 1}
    volumeMounts:
    - {name: shared, mountPath: /shared}
    - {name: conf, mountPath: /conf}
    - {name: sec, mountPath: /sec, readOnly: true}
    - {name: tok, mountPath: /tok}
    - {name: shared, mountPath: /sub, subPath: inner/dir}
  volumes:
  - {name: shared, emptyDir: {medium: Memory}}
  - {name: conf, configMap: {name: conf}}
  - {name: sec, secret: {secretName: sec}}
  - {name: tok, projected: {sources: [{serviceAccountToken: {path: token}}]}}
---
apiVersion: v1
kind: Pod
metadata: {name: crash, uid: uid-crash}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - {name: c, image: "busybox:1.35", command: [sh, -c, "echo about to fail; echo why > /dev/termination-log; exit 3"]}
---
apiVersion: v1
kind: Pod
metadata: {name: once, uid: uid-once}
spec:
  restartPolicy: Never
  containers:
  - {name: c, image: "busybox:1.35", command: [sh, -c, "id -u; echo done"], securityContext: {runAsUser: 1000, runAsNonRoot: true}}
---
apiVersion: v1
kind: Pod
metadata: {name: sick, uid: uid-sick}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - {name: c, image: "busybox:1.35", command: [sleep, "1000"], livenessProbe: {exec: {command: [test, -e, /nothing]}, periodSeconds: 1, failureThreshold: 1}}
---
apiVersion: v1
kind: Pod
metadata: {name: lacking, uid: uid-lacking}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - {name: c, image: "busybox:1.35", command: [sleep, "1000"], envFrom: [{configMapRef: {name: later}}]}
YAML

start_rig "$tmp/pods.yaml" || { not_ok "the kubelet starts"; cat "$tmp/log"; exit 1; }
t "a pod with init container, volumes and probe becomes ready" seen 'status default/full Running .* main=ready/0' 60
t "a failing container is restarted, then backs off" seen 'status default/crash .* c=CrashLoopBackOff/1'
t "a container that ends well ends its pod" seen 'status default/once Succeeded'
t "a failed liveness probe restarts the container" seen 'status default/sick .*/1'
t "a missing config map is told" seen 'status default/lacking Pending .*CreateContainerConfigError'
# --- what the API does not take, or says otherwise
cat >"$tmp/told.yaml" <<'YAML'
apiVersion: v1
kind: Pod
metadata: {name: told, uid: uid-told}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - {name: c, image: "busybox:1.35", command: [sleep, "1000"]}
YAML
told_after() { awk -v after="$1" 'index($0, after) { on = 1 } on && /told default\/told ready=True/ { found = 1 } END { exit !found }' "$tmp/log"; }
say "refuse 2"
say "set $tmp/told.yaml"
t "a status that the API does not take" seen 'refused default/told' 60
t "is told again until it does" until_ok 40 told_after refused
say "unready default/told"
t "a pod that is called not ready by others is told to be ready again" until_ok 40 told_after "command unready"

soon_out "logs" 'greeting=hello name=full ip=10\.244\.77\.[0-9]+ cpu=200' get /containerLogs/default/full/main
soon_out "logs have volumes' contents" '^prepared$' get /containerLogs/default/full/main
soon_out "logs have secrets and tokens" 'from a config maps3cret' get /containerLogs/default/full/main
soon_out "the last lines of a log" '^full$' get '/containerLogs/default/full/main?tailLines=1'
soon_out "the log of the run before" 'about to fail' get '/containerLogs/default/crash/c?previous=true'
soon_out "runAsUser" '^1000$' get /containerLogs/default/once/c
soon_out "a command in a container" 'memory.*:.*pod|^0::/' get '/run/default/full/main?cmd=cat+/proc/self/cgroup'
t_out "a log of no container" 'not valid' get /containerLogs/default/full/nothing
soon_out "statistics" '"name":"full"' get /stats/summary
t_out "no certificate, no answer" 401 inside curl -s -o /dev/null -w '%{http_code}' --cacert "$tmp/ca.crt" "https://127.0.0.1:$port/metrics"
# Who may is asked of the API server, and the rig has none that answers that: nobody is let in unasked.
t_out "a stranger's certificate is refused" '^503$' inside curl -s -o /dev/null -w '%{http_code}' --cacert "$tmp/ca.crt" \
	--cert "$tmp/stranger.crt" --key "$tmp/stranger.key" "https://127.0.0.1:$port/metrics"

cat >"$tmp/more.yaml" <<'YAML'
apiVersion: v1
kind: Pod
metadata: {name: hooks, uid: uid-hooks}
spec:
  terminationGracePeriodSeconds: 10
  containers:
  - name: c
    image: busybox:1.35
    command: [sh, -c, 'trap "exit 0" TERM; while :; do sleep 0.1; done']
    lifecycle:
      postStart: {exec: {command: [sh, -c, "echo started > /dev/termination-log"]}}
      preStop: {exec: {command: [sh, -c, "echo stopping >> /dev/termination-log"]}}
---
apiVersion: v1
kind: Pod
metadata: {name: hostnet, uid: uid-hostnet}
spec:
  hostNetwork: true
  hostPID: true
  terminationGracePeriodSeconds: 1
  containers:
  - {name: c, image: "busybox:1.35", command: [sh, -c, "ls /proc | grep -c '^[0-9]'; cat /etc/hosts | head -3; sleep 1000"]}
---
apiVersion: v1
kind: Pod
metadata: {name: sidecar, uid: uid-sidecar}
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 1
  initContainers:
  - {name: side, image: "busybox:1.35", restartPolicy: Always, command: [sh, -c, "touch /shared/up; sleep 1000"], volumeMounts: [{name: s, mountPath: /shared}], startupProbe: {exec: {command: [test, -e, /shared/up]}, periodSeconds: 1}}
  - {name: plain, image: "busybox:1.35", command: [test, -e, /shared/up], volumeMounts: [{name: s, mountPath: /shared}]}
  containers:
  - {name: main, image: "busybox:1.35", command: [sh, -c, "sleep 1; echo main is done"]}
  volumes: [{name: s, emptyDir: {}}]
---
apiVersion: v1
kind: Pod
metadata: {name: deadline, uid: uid-deadline}
spec:
  activeDeadlineSeconds: 3
  terminationGracePeriodSeconds: 1
  containers:
  - {name: c, image: "busybox:1.35", command: [sleep, "1000"]}
---
apiVersion: v1
kind: Pod
metadata: {name: web, uid: uid-web}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: c
    image: nginx:1.14.2
    ports: [{name: http, containerPort: 80}]
    startupProbe: {tcpSocket: {port: http}, periodSeconds: 1}
    readinessProbe: {httpGet: {path: /, port: http}, periodSeconds: 1}
    livenessProbe: {httpGet: {path: /, port: 80}, periodSeconds: 1}
---
apiVersion: v1
kind: Pod
metadata: {name: oom, uid: uid-oom}
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 1
  containers:
  - {name: c, image: "busybox:1.35", command: [sh, -c, "x=a; while :; do x=$x$x; done"], resources: {limits: {memory: 16Mi}}}
---
apiVersion: v1
kind: Pod
metadata: {name: share, uid: uid-share}
spec:
  shareProcessNamespace: true
  hostname: myhost
  subdomain: sub
  terminationGracePeriodSeconds: 1
  hostAliases: [{ip: 10.1.2.3, hostnames: [alias.example]}]
  securityContext: {fsGroup: 2000, runAsUser: 1000, runAsGroup: 3000}
  containers:
  - {name: a, image: "busybox:1.35", command: [sh, -c, "id; cat /etc/hosts | tail -4; hostname; stat -c '%g %a' /v; sleep 1000"], volumeMounts: [{name: v, mountPath: /v}], securityContext: {readOnlyRootFilesystem: true}}
  - {name: b, image: "busybox:1.35", command: [sh, -c, "sleep 1; ps; touch /x && echo written; sleep 1000"], securityContext: {runAsUser: 0, capabilities: {drop: [ALL]}}}
  volumes: [{name: v, emptyDir: {}}]
YAML
say "set $tmp/more.yaml"
t "a pod on the host's network runs" seen 'status default/hostnet Running 127.0.0.1 c=ready/0'
t "tcp and http probes through the pod network" seen 'status default/web Running .* c=ready/0'
t "a postStart hook is done before the container is ready" seen 'status default/hooks Running .* c=ready/0'
t "a pod over its deadline fails" seen 'status default/deadline Failed'
t "a container over its memory is OOMKilled" seen 'status default/oom Failed .*OOMKilled\(137\)'
t "a sidecar runs before, beside and not after the others" seen 'status default/sidecar Succeeded .*side=[A-Z].*main=Completed'
soon_out "users and groups" 'uid=1000 gid=3000 groups=2000,3000' get /containerLogs/default/share/a
soon_out "host aliases" '^10.1.2.3.alias.example$' get /containerLogs/default/share/a
soon_out "hostname and subdomain" 'myhost.sub.default.svc.cluster.local' get /containerLogs/default/share/a
soon_out "volumes belong to the fsGroup" '^2000 2777$' get /containerLogs/default/share/a
shared_pids() { get /containerLogs/default/share/b | grep /pause; }
t "a shared process namespace" until_ok 90 shared_pids
for p in hostnet hooks deadline oom sidecar share web; do say "delete default/$p"; done
t "hooks and all go" seen 'deleted default/hooks'

cat >"$tmp/later.yaml" <<'YAML'
apiVersion: v1
kind: ConfigMap
metadata: {name: later}
data: {A: b}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: conf}
data: {greeting: hello, file.txt: "changed"}
YAML
say "set $tmp/later.yaml"
t "the config map comes and the pod runs" seen 'status default/lacking Running' 60
config_changed() { get '/run/default/full/main?cmd=cat+/conf/file.txt' | grep '^changed'; }
t "a changed config map reaches the volume" until_ok 90 config_changed

ip_before=$(sed -n 's/.*status default\/full Running \([0-9.]*\) .*main=ready.*/\1/p' "$tmp/log" | tail -1)
kill -9 "$rig_pid"
wait "$rig_pid" 2>/dev/null
exec 9>&-
start_rig "$tmp/pods.yaml" "$tmp/later.yaml" || not_ok "the kubelet starts again"
t "pods run on over a kill of the kubelet" seen "status default/full Running $ip_before .*main=ready/0"
containerd_before=$(cat "$dir/a/containerd/containerd.pid")
kill -9 "$containerd_before"
new_containerd() { local now; now=$(cat "$dir/a/containerd/containerd.pid") && [ -n "$now" ] && [ "$now" != "$containerd_before" ]; }
t "a killed containerd is started again" until_ok 90 new_containerd
logs_again() { get /containerLogs/default/full/main | grep greeting; }
t "and its pods are as before" until_ok 90 logs_again

say "delete default/full"
t "a deleted pod goes" seen 'deleted default/full'
for p in crash once sick lacking; do say "delete default/$p"; done
t "all pods go" seen 'deleted default/sick'
all_gone() { [ -z "$(ls "$dir/a/pods")" ] && [ -z "$(ls "$dir/a/ipam" | grep -v 'last\|lock')" ]; }
t "nothing of them is left" until_ok 90 all_gone
say teardown
t "teardown" seen 'teardown done' 60
wait "$rig_pid"
rig_pid=
no_shim() { ! grep -als "$dir/a/containerd/containerd[.]sock" /proc/[0-9]*/cmdline | grep .; }
soon "no process is left" no_shim
[ "$n_failed" = 0 ] || tail -${RIG_TAIL:-60} "$tmp/log"
exit $((n_failed > 0))
