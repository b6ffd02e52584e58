#!/bin/bash
# What people build on a cluster, on one of three servers whose leader is killed: an operator (definition, controller with informer and
# leader election, validating webhook over TLS) and an aggregated API server, both from npm's client (tests/clients/proof.mjs); and kubectl's
# view of them.
# shellcheck source=tests/system/lib.sh
. "$(dirname "$0")/lib.sh"

command -v npm >/dev/null && command -v node >/dev/null || { skip "everything: no npm here"; exit 0; }
mkdir "$tmp/suite"
cp "$root"/tests/clients/*.mjs "$root/tests/clients/package.json" "$tmp/suite/"
(cd "$tmp/suite" && timeout 240 npm install --no-audit --no-fund) >"$tmp/npm.log" 2>&1 ||
	{ skip "everything: npm cannot install the client: $(grep -v '^$' "$tmp/npm.log" | tail -n 1)"; exit 0; }

# `node` is lib.sh's; this is the program.
nodejs=$(type -P node)
certificates() {
	cd "$tmp/suite" && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=proof-ca \
		-keyout ca.key -out tls-ca.crt &&
		openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=proof -keyout tls.key -out tls.csr &&
		printf 'subjectAltName=IP:%s,DNS:proof-tide.default.svc\n' "$own" >ext &&
		openssl x509 -req -in tls.csr -CA tls-ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile ext -out tls.crt
}
# A balancer of its own where the programs run: any server that lives will do.
start_balancer() {
	k config view --minify --raw -o 'jsonpath={.clusters[0].cluster.certificate-authority-data}' | base64 -d >"$tmp/suite/cluster-ca.crt"
	local args=() s
	for s in $(servers); do args+=(--backend "$(addr_of "$s"):6443"); done
	# Not through a function: the process that is killed must be the one that ends it.
	nsenter --net="/run/netns/kontiki-$cluster-switch" "$KONTIKI" lb --ca "$tmp/suite/cluster-ca.crt" --listen 127.0.0.1:6443 \
		"${args[@]}" >"$tmp/lb.log" 2>&1 &
	background+=($!)
	sed 's|server: .*|server: https://127.0.0.1:6443|' "$tmp/kubeconfig" >"$tmp/suite/kubeconfig"
	until_ok 30 in_switch "$KUBECTL" --kubeconfig "$tmp/suite/kubeconfig" get --raw /readyz
}
is_available() { [ "$(k get apiservice v1.tide.kontiki.io -o 'jsonpath={.status.conditions[0].status}')" = True ]; }
# What kubectl shows while the suite runs: its first part has made everything, its last does not take it away before this is done.
# Each server asks for the other's discovery by itself.
waves_are_served() { k api-resources --api-group tide.kontiki.io | grep -E '^waves +wv +tide.kontiki.io/v1 +true +Wave'; }
waves_are_explained() { k explain wave.spec | grep 'How high it is'; }
look() {
	until_ok 60 is_available || return 1
	until_ok 30 has_line '^v1.tide.kontiki.io +default/proof-tide +True' k get apiservices &&
		until_ok 30 waves_are_served && until_ok 30 waves_are_explained && until_ok 30 k get waves -A
}

cluster_up --servers 3
own=$(switch_address)
t "certificates" certificates
t "a balancer beside the programs" start_balancer
soon_out "what is served here is registered" '^v1.apps +Local +True' k get apiservices
t_out "custom resources have no registration of their own yet" '^No resources' k get apiservices -l kube-aggregator.kubernetes.io/automanaged=true
addresses=$(for s in $(servers); do addr_of "$s"; done | paste -sd,)
KUBECONFIG=$tmp/suite/kubeconfig nsenter --net="/run/netns/kontiki-$cluster-switch" timeout 900 "$nodejs" "$tmp/suite/proof.mjs" \
	"$own" "$tmp/suite" "$addresses" "$KONTIKI" >"$tmp/proof.out" 2>&1 &
suite=$!
background+=("$suite")
t "kubectl sees the aggregated server's kinds" look
# The suite waits for this before it takes away what is looked at.
touch "$tmp/suite/looked"
wait $suite
rc=$?
cat "$tmp/proof.out"
n_failed=$((n_failed + $(grep -c '^not ok' "$tmp/proof.out")))
[ $rc -lt 2 ] && grep -q '^ok' "$tmp/proof.out" || not_ok "the suite ends"
[ $n_failed = 0 ] || moment
