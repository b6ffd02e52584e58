#!/bin/bash
# Ephemeral containers: what kubectl debug adds to a running pod, as kubectl and as the pod see it.
# shellcheck source=tests/system/lib.sh
. "$(dirname "$0")/lib.sh"

cluster_up --servers 1
cat >"$tmp/pod.yaml" <<-'EOP'
	apiVersion: v1
	kind: Pod
	metadata: {name: looked-at}
	spec:
	  containers:
	  - {name: main, image: busybox, command: [sleep, "98765"]}
EOP
# one_of PATH: a field of the pod, by jsonpath.
one_of() { k get pod looked-at -o "jsonpath=$1"; }
of_dbg() { one_of "{.status.ephemeralContainerStatuses[?(@.name=='$1')]$2}"; }

t "a pod" k apply -f "$tmp/pod.yaml"
t "runs" k wait --for=condition=Ready pod/looked-at --timeout=300s
t_err "a pod cannot be made with an ephemeral container" 'spec.ephemeralContainers: Forbidden: cannot be set on create' \
	k run made --image=busybox --overrides='{"spec":{"ephemeralContainers":[{"name":"e","image":"busybox"}]}}'

# With a terminal on the client's side, too; how it ended is read from the status.
debug_it() { timeout 240 script -qec "$KUBECTL --kubeconfig $tmp/kubeconfig debug -it looked-at -c seen --image=busybox --target=main -- sh -c 'echo asked; read x; ps; exit 3'" /dev/null < <(echo go; sleep 200); true; }
t_out "kubectl debug -it --target sees the processes of the container" 'sleep 98765' debug_it
t "it ended, with its code" until_ok 40 is 3 of_dbg seen .state.terminated.exitCode
soon_out "its log is kept" 'sleep 98765' k logs looked-at -c seen

t "one without a target" k debug looked-at -c alone --image=busybox -- sh -c 'echo alone-log; exec sleep 4321'
t "runs" until_ok 60 has_line . of_dbg alone .state.running.startedAt
t_out "exec" '^inside$' k exec looked-at -c alone -- echo inside
soon_out "logs" '^alone-log$' k logs looked-at -c alone
sees_main() { k exec looked-at -c alone -- ps | grep 98765; }
t "it does not see the container's processes" not sees_main

t_err "it cannot be removed" 'existing ephemeral containers "alone" may not be removed' \
	k patch pod looked-at --subresource ephemeralcontainers --type json -p '[{"op":"remove","path":"/spec/ephemeralContainers/1"}]'
t_err "a target that is not there" 'targetContainerName: Not found: "nobody"' \
	k debug looked-at --image=busybox --target=nobody -- true
soon "the pod is ready all the same" is True one_of "{.status.conditions[?(@.type=='Ready')].status}"
t "and its container was not restarted" is 0 one_of '{.status.containerStatuses[0].restartCount}'

# --- a new agent finds what the old one started
id=$(of_dbg alone .containerID)
ended=$(of_dbg seen .containerID)
t "the node's program is killed" node kill server-1
t "and started" node start server-1
t "exec works again" until_ok 60 k exec looked-at -c alone -- true
soon "the same container runs on" is "$id" of_dbg alone .containerID
t "one more, so that the agent has surely looked at the pod" k debug looked-at -c later --image=busybox -- sleep 4322
t "runs" until_ok 60 has_line . of_dbg later .state.running.startedAt
soon "what had ended was not run again" is "$ended" of_dbg seen .containerID
t "the pod goes with what was added" k delete pod looked-at --grace-period=1 --timeout=300s
cluster_down
