#!/bin/bash
# Roles, service accounts' tokens and admission, on three servers.
# shellcheck source=tests/system/lib.sh
. "$(dirname "$0")/lib.sh"

cluster_up --servers 3
t "the nodes become ready" until_ok 60 nodes_ready 3

# --- roles
no_rules() { [ "$(k auth can-i list pods --as "$1" -n default 2>/dev/null)" = no ]; }
t "a stranger may nothing" no_rules jane
t "aggregated roles are filled" until_ok 40 has_line 'deployments.apps' k describe clusterrole view
k create rolebinding viewers --clusterrole=view --user=jane -n default >/dev/null
soon_out "a view binding allows reading" '^yes$' k auth can-i list pods --as jane -n default
t_err "but not secrets" '^no' k auth can-i get secrets --as jane -n default
t_err "nor another namespace" '^no' k auth can-i list pods --as jane -n kube-system
soon_out "auth can-i --list" 'pods/log' k auth can-i --list --as jane -n default
t_out "auth whoami" 'jane' k auth whoami --as jane
t_err "a 403 says who may not what" 'User "jane" cannot create resource "configmaps" in API group "" in the namespace "default"' \
	k create configmap no --as jane
k create serviceaccount bot >/dev/null
t "a service account's token" k create token bot
until_ok 60 k create token bot >"$tmp/token"
as_bot() { "$KUBECTL" --kubeconfig /dev/null --server "$(k config view --minify -o 'jsonpath={.clusters[0].cluster.server}')" \
	--insecure-skip-tls-verify --token "$(cat "$tmp/token")" "$@"; }
t_err "it may nothing by itself" 'system:serviceaccount:default:bot' as_bot get pods
k create rolebinding bot --clusterrole=edit --serviceaccount=default:bot >/dev/null
soon "with a role it works" as_bot get pods
t_err "and cannot give itself more" 'attempting to grant RBAC permissions not currently held|cannot create resource' \
	as_bot create rolebinding more --clusterrole=cluster-admin --serviceaccount=default:bot

# --- admission
k create namespace strict >/dev/null
k label namespace strict pod-security.kubernetes.io/enforce=restricted >/dev/null
# Each server knows a namespace's labels from its own watch.
soon_err "pod security" 'violates PodSecurity "restricted:latest": allowPrivilegeEscalation' k -n strict run x --image=busybox --dry-run=server
t_err "the namespace default stays" 'this namespace may not be deleted' k delete namespace default

# --- a quota under many writers on three servers
k create namespace quota >/dev/null
t "the namespace has all that it is given by itself" until_ok 60 k -n quota get configmap kube-root-ca.crt
k -n quota create quota q --hard=count/configmaps=40 >/dev/null
counted() { [ -n "$(k -n quota get quota q -o 'jsonpath={.status.used.count/configmaps}')" ]; }
t "the quota is counted" until_ok 40 counted
there=$(k -n quota get configmaps --no-headers | wc -l)
servers=()
for s in $(servers); do servers+=(--server "https://$(addr_of "$s"):6443"); done
t_out "exactly what the quota has left is created" "^created $((40 - there)) refused $((120 - 40 + there)) other 0\$" \
	in_switch /usr/bin/python3 "$root/tests/system/storm.py" --kubeconfig "$tmp/kubeconfig" "${servers[@]}" --namespace quota --each 10
t "nothing is over it" is 40 sh -c "\"$KUBECTL\" --kubeconfig \"$tmp/kubeconfig\" -n quota get configmaps --no-headers | wc -l"
# Whose writers were quickest is another matter each time.
mapfile -t two < <(k -n quota get configmaps -o name | grep /storm- | head -n 2)
t "two are deleted" k -n quota delete "${two[@]}"
t "what was deleted is given back" until_ok 30 k -n quota create configmap again

# --- tokens
token=$(kk token create --ttl 1h --agent-only --description "for a test")
t "a new token is good for a node" until_ok 30 is 400 join_status server-2 "$token"
soon "but not for a server" is 401 join_status server-2 "$token" server
soon "a wrong one is refused" is 401 join_status server-2 "kontiki1.x.0123456789012345678901234567890123456789"
soon_out "it is listed" 'agent .*for a test' kk token list
t "what is kept is not the token" sh -c "! \"$KUBECTL\" --kubeconfig \"$tmp/kubeconfig\" -n kube-system get secrets -o yaml | grep -q ${token##*.}"
id=$(kk token list | awk '/for a test/ { print $1 }')
t "token delete" kk token delete "$id"
t "a deleted token is refused" until_ok 30 is 401 join_status server-2 "$token"
first=$(cat "$cluster_dir"/server-2/pki/join.token)
soon "the first token is good" is 400 join_status server-2 "$first"
second=$(kk token rotate)
t "rotated, it is refused everywhere" until_ok 30 is 401 join_status server-2 "$first"
t "and the new one is good" until_ok 30 is 400 join_status server-2 "$second"

# --- certificates
shown() { in_switch openssl s_client -connect "$(addr_of server-2):$1" </dev/null 2>/dev/null | openssl x509 -noout -serial; }
has_certificate() { shown "$1" | grep .; }
before=$(until_ok 60 has_certificate 6443)
before_kubelet=$(until_ok 60 has_certificate 10250)
changed() { # PORT BEFORE: there is one, and it is another
	local now
	now=$(shown "$1")
	[ -n "$now" ] && [ "$now" != "$2" ]
}
t_out "cert status" 'apiserver.crt .* CN=kube-apiserver' kk cert status --data-dir "$cluster_dir/server-2"
t "cert rotate" kk cert rotate --data-dir "$cluster_dir/server-2"
t "the API serves the new certificate, without a restart" until_ok 30 changed 6443 "$before"
t "so does the kubelet, by a signing request" until_ok 40 changed 10250 "$before_kubelet"
t "requests were approved and signed" until_ok 30 has_line 'kubernetes.io/kubelet-serving +system:node:server-2 .*Approved,Issued' k get csr
t "and everything goes on" until_ok 30 nodes_ready 3

# Whose name is no node's gets nothing of the nodes' signers, and no server falls over it.
openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$tmp/bob.key" -subj /O=system:nodes/CN=bob -out "$tmp/bob.csr" 2>/dev/null
csr_of() { # NAME SIGNER USAGE
	printf '{"apiVersion":"certificates.k8s.io/v1","kind":"CertificateSigningRequest","metadata":{"name":"%s"},"spec":{"request":"%s","signerName":"kubernetes.io/%s","usages":["%s"]}}' \
		"$1" "$(base64 -w0 "$tmp/bob.csr")" "$2" "$3" >"$tmp/$1.json"
}
csr_of bob-client kube-apiserver-client-kubelet 'client auth'
csr_of bob-serving kubelet-serving 'server auth'
t "a request for no node" k create -f "$tmp/bob-client.json"
t "and to serve as none" k create -f "$tmp/bob-serving.json"
pending() { k get csr bob-client bob-serving --no-headers | awk '$NF == "Pending"' | wc -l; }
soon "wait for somebody" is 2 pending

# --- the kubelet's port
kubelet() { in_switch curl -sk --http1.1 -m 60 -o /dev/null -w '%{http_code}\n' "$@" "https://$(addr_of server-2):10250/metrics"; }
k create serviceaccount scraper >/dev/null
scraper=$(k create token scraper)
soon "it lets no stranger in" is 401 kubelet
soon "nor a wrong token" is 401 kubelet -H "Authorization: Bearer wrong"
soon "nor a service account that was granted nothing" is 403 kubelet -H "Authorization: Bearer $scraper"
k create clusterrole scrape --verb=get --resource=nodes/metrics >/dev/null
k create clusterrolebinding scrape --clusterrole=scrape --serviceaccount=default:scraper >/dev/null
t "with nodes/metrics it may read them" until_ok 40 is 200 kubelet -H "Authorization: Bearer $scraper"
# What runs programs in containers is another matter, also when a WebSocket begins it with a GET; and not every certificate is somebody there.
exec_status() { in_switch curl -sk --http1.1 -m 20 -o /dev/null -w '%{http_code}\n' "$@" "https://$(addr_of server-2):10250/exec/default/nobody/c?command=id"; }
k create clusterrole node-reader --verb=get --resource=nodes/proxy >/dev/null
k create clusterrolebinding node-reader --clusterrole=node-reader --serviceaccount=default:scraper >/dev/null
reader() { in_switch curl -sk --http1.1 -m 20 -o /dev/null -w '%{http_code}\n' -H "Authorization: Bearer $scraper" "https://$(addr_of server-2):10250/containerLogs/default/nobody/c"; }
t "with get on nodes/proxy it may read" until_ok 40 is 404 reader
soon "and run nothing" is 403 exec_status -H "Authorization: Bearer $scraper"
pki=$cluster_dir/server-1/pki
soon "the administrator may" is 404 exec_status --cert "$pki/admin.crt" --key "$pki/admin.key"
soon "another node may not" is 403 exec_status --cert "$pki/kubelet.crt" --key "$pki/kubelet.key"
soon "nor a member of the store" is 403 exec_status --cert "$pki/peer.crt" --key "$pki/peer.key"
soon "nor a front proxy, whatever it says" is 401 exec_status --cert "$pki/front-proxy-client.crt" --key "$pki/front-proxy-client.key" \
	-H "X-Remote-User: kubernetes-admin" -H "X-Remote-Group: system:masters"
soon "nor a server's certificate" is 401 exec_status --cert "$pki/apiserver.crt" --key "$pki/apiserver.key"
soon_out "kontiki check finds nothing to fail" ' passed, 0 failed' in_node server-2 "$KONTIKI" check --data-dir "$cluster_dir/server-2"
chmod 644 "$cluster_dir/server-2/pki/ca.key"
t_err "and sees a key that others can read, and says so by its status" 'FAIL. keys and tokens are private.*ca.key' in_node server-2 \
	"$KONTIKI" check --data-dir "$cluster_dir/server-2"
chmod 600 "$cluster_dir/server-2/pki/ca.key"

# --- a server with an audit log and encryption at rest
alone=$tmp/alone
mkdir "$alone"
cat >"$alone/policy.yaml" <<'EOF'
apiVersion: audit.k8s.io/v1
kind: Policy
rules:
- level: Metadata
EOF
printf 'apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n- resources: [secrets]\n  providers:\n  - aesgcm: {keys: [{name: k1, secret: %s}]}\n' \
	"$(head -c 32 /dev/urandom | base64)" >"$alone/encryption.yaml"
nsenter --net="/run/netns/kontiki-$cluster-server-1" "$KONTIKI" server --no-agent --name alone --data-dir "$alone/data" --advertise-address 127.0.0.1 --secure-port 17443 \
	--peer-port 17380 --etcd-listen 127.0.0.1:17379 --audit-policy-file "$alone/policy.yaml" --audit-log-path "$alone/audit.log" \
	--encryption-provider-config "$alone/encryption.yaml" >"$alone/log" 2>&1 &
background+=($!)
ka() { in_node server-1 "$KUBECTL" --kubeconfig "$alone/data/admin.kubeconfig" --cache-dir "$tmp/kube-cache2" "$@"; }
t "it starts" until_ok 40 ka get namespaces
t "a secret is made" ka create secret generic s --from-literal=word=open-sesame
t_out "and read" 'b3Blbi1zZXNhbWU=' ka get secret s -o yaml
t "the audit log has it" until_ok 40 grep -q '"verb":"create".*"resource":"secrets".*"name":"s"' "$alone/audit.log"
t "but not its contents" sh -c "! grep -q b3Blbi1zZXNhbWU= '$alone/audit.log'"
t "neither has the store" sh -c "! grep -rqa open-sesame '$alone/data/store' '$alone/data/raft'"

# --- a KMS plugin
plugin=${KMS_PLUGIN:-$root/build/tests/system/kms_plugin}
if [ ! -x "$plugin" ]; then
	skip "KMS: no program $plugin (make tests/system/kms_plugin)"
else
	echo key-1 >"$alone/key"
	"$plugin" "$alone/kms.sock" "$alone/key" >"$alone/kms.log" 2>&1 &
	kms=$!
	background+=("$kms")
	sed "s|  providers:|&\n  - kms: {apiVersion: v2, name: vault, endpoint: 'unix://$alone/kms.sock'}|" "$alone/encryption.yaml" >"$alone/both.yaml"
	mv "$alone/both.yaml" "$alone/encryption.yaml"
	t "its configuration is taken up" until_ok 40 has_line 'kms plugin vault, key key-1' in_node server-1 "$KONTIKI" status --data-dir "$alone/data" \
		--server 127.0.0.1:17443
	raw() { in_node server-1 etcdctl --endpoints 127.0.0.1:17379 get /registry/secrets/default/s --print-value-only | head -c 40 | tr -d '\0'; }
	t "a secret of the old key is read" ka get secret s
	# A loop that has not looked at the file again yet still writes under the old one.
	written_anew() { ka get secret s -o json | ka replace -f - && has_line '^k8s:enc:kms:v2:vault:' raw; }
	t "and written under the plugin's" until_ok 60 written_anew
	t_out "and read" 'b3Blbi1zZXNhbWU=' ka get secret s -o yaml
	soon_out "the server is ready, as far as the plugin is concerned" '^ok$' ka get --raw /readyz/kms-providers
	kill "$kms"
	wait "$kms" 2>/dev/null
	not_ready() { ! ka get --raw /readyz/kms-providers; }
	t "it is not when the plugin has gone" until_ok 40 not_ready
	verbose() { ka get --raw "/readyz?verbose$1" 2>&1 || true; }
	soon_out "which is seen with all that is well" 'kms-providers failed' verbose ""
	soon_out "and may be left out" 'readyz check passed' verbose "&exclude=kms-providers"
	unwell() { in_node server-1 "$KONTIKI" status --data-dir "$alone/data" --server 127.0.0.1:17443 || true; }
	soon_out "the status says which, why and what to do" 'KMS plugin vault: .*Start the plugin' unwell
	t_out "balancers of ours do not leave for it" '^ok$' ka get --raw /kontiki/v1/ready
	t "what is not sealed is written" ka create configmap plain --from-literal=a=b
	t_out "what is known is still read" 'b3Blbi1zZXNhbWU=' ka get secret s -o yaml
fi
