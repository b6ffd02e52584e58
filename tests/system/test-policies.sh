#!/bin/bash
# What admission is told in CEL and by webhooks, on three servers: rules of custom resources, versions that a webhook converts, policies
# that refuse, warn and change; through the loss of the leader.
# shellcheck source=tests/system/lib.sh
. "$(dirname "$0")/lib.sh"

refused_by() {
	fails_with '3 entries are too many' direct "$1" create configmap "big-$RANDOM" --from-literal=a=1 --from-literal=b=2 --from-literal=c=3
}
passed_by() { direct "$1" create configmap "big-$RANDOM" --from-literal=a=1 --from-literal=b=2 --from-literal=c=3; }
label_of() { direct "$1" create configmap "m-$RANDOM" --dry-run=server -o 'jsonpath={.metadata.labels.team}'; }
power() { direct "$1" get lamps.v1.example.com "$2" -o 'jsonpath={.spec.power}'; }

cluster_up --servers 3
t "there is a leader" until_ok 30 has_leader

# --- a webhook in the cluster's own network
at=$(switch_address)
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=hook -addext "subjectAltName=IP:$at" \
	-keyout "$tmp/hook.key" -out "$tmp/hook.crt" 2>/dev/null
nsenter --net="/run/netns/kontiki-$cluster-switch" /usr/bin/python3 "$root/tests/system/hook.py" "$at" 9443 "$tmp/hook.crt" "$tmp/hook.key" >"$tmp/hook.log" 2>&1 &
background+=($!)
t "the webhook listens" until_ok 30 grep -q ready "$tmp/hook.log"
ca=$(base64 -w0 "$tmp/hook.crt")

# --- versions, and rules
cat >"$tmp/crd.yaml" <<EOT
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: lamps.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: lamps, singular: lamp, kind: Lamp}
  conversion:
    strategy: Webhook
    webhook:
      conversionReviewVersions: [v1]
      clientConfig: {url: "https://$at:9443/convert", caBundle: $ca}
  versions:
  - name: v1
    served: true
    storage: false
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            properties:
              power: {type: string, maxLength: 9}
              place: {type: string, maxLength: 20}
            x-kubernetes-validations:
            - {rule: "!has(oldSelf.place) || self.place == oldSelf.place", message: a lamp stays where it is}
  - name: v1beta1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            properties: {watts: {type: integer}, place: {type: string, maxLength: 20}}
            x-kubernetes-validations:
            - {rule: "self.watts > 0 && self.watts <= 100", messageExpression: "'no lamp is so bright or so dark'", fieldPath: .watts}
EOT
t_out "a definition with a webhook and rules" created k apply -f "$tmp/crd.yaml"
t "it is established" k wait --for=condition=Established --timeout=300s crd/lamps.example.com
lamp() { printf 'apiVersion: example.com/%s\nkind: Lamp\nmetadata: {name: %s}\nspec: {%s}\n' "$@"; }
lamp v1beta1 a 'watts: 60, place: hall' >"$tmp/a.yaml"
t_out "an object in the stored version" created k apply -f "$tmp/a.yaml"
for s in $(servers); do
	t "$s serves it in the other version" is 60W power "$s" a
done
lamp v1 b 'power: 40W, place: attic' >"$tmp/b.yaml"
t_out "one in the other version" created k apply -f "$tmp/b.yaml"
t "it is the same in the stored one" is 40 k get lamps.v1beta1.example.com b -o 'jsonpath={.spec.watts}'
t_out "both in a list" '^60W 40W$' k get lamps.v1.example.com -o 'jsonpath={.items[*].spec.power}'
lamp v1beta1 c 'watts: 1000' >"$tmp/c.yaml"
t_err "a rule holds" 'spec.watts: Invalid value: "object": no lamp is so bright or so dark' k apply -f "$tmp/c.yaml"
t_err "a rule about what was holds" 'a lamp stays where it is' k patch lamps.v1.example.com a --type=merge -p '{"spec":{"place":"attic"}}'
t "what may change changes" k patch lamps.v1.example.com a --type=merge -p '{"spec":{"power":"75W"}}'
t_err "a definition whose rule does not compile" 'undefined field' \
	k patch crd lamps.example.com --type=json -p '[{"op":"add","path":"/spec/versions/1/schema/openAPIV3Schema/x-kubernetes-validations","value":[{"rule":"self.none"}]}]'

# --- policies
cat >"$tmp/policies.yaml" <<'EOT'
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: small}
spec:
  paramKind: {apiVersion: v1, kind: ConfigMap}
  matchConstraints:
    resourceRules: [{operations: [CREATE, UPDATE], apiGroups: [""], apiVersions: [v1], resources: [configmaps]}]
  variables: [{name: entries, expression: "has(object.data) ? object.data.size() : 0"}]
  validations:
  - expression: variables.entries <= int(params.data.max)
    messageExpression: string(variables.entries) + ' entries are too many'
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: small}
spec:
  policyName: small
  paramRef: {name: max, namespace: kube-public, parameterNotFoundAction: Allow}
  validationActions: [Deny]
  matchResources: {namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: default}}}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: noexec}
spec:
  matchConstraints:
    resourceRules: [{operations: [CONNECT], apiGroups: [""], apiVersions: [v1], resources: [pods/exec]}]
  validations: [{expression: "!('sh' in object.command)", message: no shells}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: noexec}
spec: {policyName: noexec, validationActions: [Deny]}
---
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicy
metadata: {name: team}
spec:
  failurePolicy: Fail
  reinvocationPolicy: IfNeeded
  matchConstraints:
    resourceRules: [{operations: [CREATE], apiGroups: [""], apiVersions: [v1], resources: [configmaps]}]
  mutations:
  - patchType: ApplyConfiguration
    applyConfiguration: {expression: "Object{metadata: Object.metadata{labels: {'team': request.namespace}}}"}
---
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicyBinding
metadata: {name: team}
spec: {policyName: team}
EOT
t "parameters" k -n kube-public create configmap max --from-literal=max=2
t "policies and bindings" k apply -f "$tmp/policies.yaml"
for s in $(servers); do
	t "$s holds to the policy" until_ok 30 refused_by "$s"
	t "$s changes what comes" until_ok 30 is default label_of "$s"
done
t "connections are refused by a policy" until_ok 30 fails_with 'no shells' k get --raw '/api/v1/namespaces/default/pods/nopod/exec?command=sh'
t "the parameters change" k -n kube-public patch configmap max -p '{"data":{"max":"5"}}'
for s in $(servers); do
	t "$s goes by them" until_ok 30 passed_by "$s"
done
t "and change back" k -n kube-public patch configmap max -p '{"data":{"max":"2"}}'

# --- a webhook with conditions
cat >"$tmp/hook.yaml" <<EOT
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: names}
webhooks:
- name: names.example.com
  admissionReviewVersions: [v1]
  sideEffects: None
  clientConfig: {url: "https://$at:9443/admit", caBundle: $ca}
  matchConditions: [{name: default, expression: request.namespace == 'default'}]
  rules: [{operations: [CREATE], apiGroups: [""], apiVersions: [v1], resources: [configmaps]}]
EOT
t "a webhook with conditions" k apply -f "$tmp/hook.yaml"
t "it is asked" until_ok 30 fails_with 'not by this name' k create configmap refused --dry-run=server
soon "but not about what its conditions leave out" k -n kube-public create configmap refused --dry-run=server

# --- the leader goes
old=$(leader)
t "kill the leader $old" node kill "$old"
for s in $(servers); do
	[ "$s" = "$old" ] && continue
	t "$s holds to the policy without it" until_ok 40 refused_by "$s"
	t "$s converts without it" until_ok 40 is 75W power "$s" a
done
t "it comes back" node start "$old"
t "$old holds to the policy again" until_ok 40 refused_by "$old"
t "policies are taken back" k delete -f "$tmp/policies.yaml"
for s in $(servers); do
	t "$s lets it pass" until_ok 30 passed_by "$s"
done
# --- what cannot be converted any more still goes
t "the other version becomes the stored one" k patch crd lamps.example.com --type=json -p \
	'[{"op":"replace","path":"/spec/versions/0/storage","value":true},{"op":"replace","path":"/spec/versions/1/storage","value":false}]'
kill "${background[0]}"
wait "${background[0]}" 2>/dev/null
soon_err "without its webhook an object cannot be read" 'conversion webhook for example.com/v1beta1, Kind=Lamp failed' k get lamps.v1.example.com a
soon_err "nor can its version leave the definition" 'must appear in spec.versions' \
	k patch crd lamps.example.com --type=json -p '[{"op":"remove","path":"/spec/versions/1"}]'
t "the definition goes, and its objects" k delete crd lamps.example.com --timeout=300s
