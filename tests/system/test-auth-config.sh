#!/bin/bash
# Who may come and what he may, by configuration files: an issuer of tokens with expressions, no strangers, a webhook in front of the roles; and
# the files change while the server runs. One server without pods, on the loopback of a network namespace of its own.
if [ -z "${KONTIKI_TEST_INSIDE:-}" ] && [ "$(id -u)" = 0 ]; then
	exec env KONTIKI_TEST_INSIDE=1 unshare -nm --propagation private "$0" "$@"
fi
# shellcheck source=tests/system/lib.sh
. "$(dirname "$0")/lib.sh"

[ "$(id -u)" = 0 ] || { skip "everything: needs root"; exit 0; }
ip link set lo up

issuer=https://127.0.0.1:7443
b64() { openssl base64 -A | tr '+/' '-_' | tr -d '='; }

# --- the issuer: its certificate, and the key that it signs with
openssl req -x509 -newkey rsa:2048 -nodes -keyout "$tmp/tls.key" -out "$tmp/tls.crt" -days 2 -subj /CN=issuer \
	-addext subjectAltName=IP:127.0.0.1 2>/dev/null
openssl genrsa -out "$tmp/sign.key" 2048 2>/dev/null
modulus=$(openssl rsa -in "$tmp/sign.key" -noout -modulus | cut -d= -f2 | sed 's/../\\x&/g')
# shellcheck disable=SC2059
printf '{"keys": [{"kty": "RSA", "alg": "RS256", "use": "sig", "kid": "one", "n": "%s", "e": "AQAB"}]}' "$(printf "$modulus" | b64)" >"$tmp/jwks"
/usr/bin/python3 "$root/tests/system/identity.py" 7443 "$tmp/tls.crt" "$tmp/tls.key" "$tmp/jwks" >"$tmp/identity.out" 2>&1 &
background+=("$!")
t "the issuer listens" until_ok 20 grep -q ready "$tmp/identity.out"
token_of() { # SUBJECT TEAM
	local body
	body=$(printf '{"alg":"RS256","kid":"one"}' | b64).$(printf '{"iss":"%s","aud":"kontiki","sub":"%s","team":"%s","exp":%s}' "$issuer" "$1" "$2" \
		"$(($(date +%s) + 600))" | b64)
	printf '%s.%s' "$body" "$(printf %s "$body" | openssl dgst -sha256 -sign "$tmp/sign.key" | b64)"
}

# --- the files
authn() { # PREFIX
	cat <<YAML
apiVersion: apiserver.config.k8s.io/v1
kind: AuthenticationConfiguration
jwt:
- issuer:
    url: $issuer
    audiences: [kontiki]
    certificateAuthority: |
$(sed 's/^/      /' "$tmp/tls.crt")
  claimMappings:
    username: {expression: "'$1' + claims.sub"}
    groups: {expression: "['team-' + claims.team]"}
  userValidationRules:
  - {expression: "!user.username.endsWith('root')", message: no such user}
anonymous:
  enabled: true
  conditions: [{path: /livez}]
YAML
}
cat >"$tmp/access.yaml" <<YAML
clusters: [{name: c, cluster: {server: "$issuer/access", certificate-authority: $tmp/tls.crt}}]
contexts: [{name: x, context: {cluster: c}}]
current-context: x
YAML
cat >"$tmp/authz.yaml" <<YAML
apiVersion: apiserver.config.k8s.io/v1
kind: AuthorizationConfiguration
authorizers:
- type: Webhook
  name: vault
  webhook:
    timeout: 3s
    subjectAccessReviewVersion: v1
    matchConditionSubjectAccessReviewVersion: v1
    failurePolicy: Deny
    connectionInfo: {type: KubeConfigFile, kubeConfigFile: $tmp/access.yaml}
    matchConditions:
    - {expression: "has(request.resourceAttributes) && request.groups.exists(g, g.startsWith('team-'))"}
- {type: Node, name: node}
- {type: RBAC, name: roles}
YAML
authn ext: >"$tmp/authn.yaml"
admin() { "$KUBECTL" --kubeconfig "$tmp/n1/admin.kubeconfig" --cache-dir "$tmp/kube-cache" "$@"; }
as() { # SUBJECT TEAM ARGUMENTS...
	local token
	token=$(token_of "$1" "$2")
	shift 2
	"$KUBECTL" --kubeconfig /dev/null --cache-dir "$tmp/kube-cache" --server https://127.0.0.1:6443 --insecure-skip-tls-verify --token "$token" "$@"
}
stranger() { curl -sk -m 30 -o /dev/null -w '%{http_code}\n' "https://127.0.0.1:6443$1"; }
whoami() { as jane blue auth whoami -o 'jsonpath={.status.userInfo.username}'; }

echo 'kind: AuthenticationConfiguration' >"$tmp/wrong.yaml"
t_err "a wrong file is no start" 'no AuthenticationConfiguration of apiserver.config.k8s.io/v1' timeout 240 "$KONTIKI" server --no-agent --name n1 \
	--data-dir "$tmp/n0" --advertise-address 127.0.0.1 --etcd-listen off --authentication-config "$tmp/wrong.yaml"
"$KONTIKI" server --no-agent --name n1 --data-dir "$tmp/n1" --advertise-address 127.0.0.1 --etcd-listen off \
	--authentication-config "$tmp/authn.yaml" --authorization-config "$tmp/authz.yaml" >>"$tmp/n1.log" 2>&1 &
server=$!
background+=("$server")
t "the server is ready" until_ok 30 is 200 stranger /kontiki/v1/ready
t "where strangers are let in" is 200 stranger /livez
t "and not where they are not" is 401 stranger /readyz
t "a stranger may not even know the version" is 401 stranger /version
with_password() { curl -sk -m 30 -o /dev/null -w '%{http_code}\n' -u admin:secret "https://127.0.0.1:6443$1"; }
t "nor one who shows what is not asked for" is 401 with_password /version
t "who is let in like others where they are" is 200 with_password /livez
t "who has a token is known by it" until_ok 60 is ext:jane whoami
soon_out "and his team" 'team-blue' as jane blue auth whoami
# Forged ones.
claims() { printf '{"iss":"%s","aud":"%s","sub":"jane","team":"blue","exp":%s}' "$issuer" "$1" "$(($(date +%s) + $2))" | b64; } # AUDIENCE SECONDS
signed() { printf '%s.%s' "$2" "$(printf %s "$2" | openssl dgst -sha256 -sign "$1" | b64)"; } # KEY HEAD.CLAIMS
head_of() { printf %s "$1" | b64; }
tried() { curl -sk -m 30 -o /dev/null -w '%{http_code}\n' -H "Authorization: Bearer $1" https://127.0.0.1:6443/version; }
rs256='{"alg":"RS256","kid":"one"}'
soon "a good one is good" is 200 tried "$(signed "$tmp/sign.key" "$(head_of "$rs256").$(claims kontiki 600)")"
t "an expired one is not" is 401 tried "$(signed "$tmp/sign.key" "$(head_of "$rs256").$(claims kontiki -1)")"
t "nor one for somebody else" is 401 tried "$(signed "$tmp/sign.key" "$(head_of "$rs256").$(claims others 600)")"
t "nor one that nobody signed" is 401 tried "$(head_of '{"alg":"none"}').$(claims kontiki 600)."
t "nor one with what we do not understand and must" is 401 tried \
	"$(signed "$tmp/sign.key" "$(head_of '{"alg":"RS256","kid":"one","crit":["b64"],"b64":false}').$(claims kontiki 600)")"
openssl genrsa -out "$tmp/other.key" 2048 2>/dev/null
t "nor one by another key of that name" is 401 tried "$(signed "$tmp/other.key" "$(head_of "$rs256").$(claims kontiki 600)")"
openssl rsa -in "$tmp/sign.key" -pubout -out "$tmp/sign.pub" 2>/dev/null
body=$(head_of '{"alg":"HS256","kid":"one"}').$(claims kontiki 600)
t "nor one for which the public key was a password" is 401 tried \
	"$body.$(printf %s "$body" | openssl dgst -sha256 -mac HMAC -macopt "hexkey:$(od -An -tx1 -v "$tmp/sign.pub" | tr -d ' \n')" -binary | b64)"
soon_err "whom a rule does not like is nobody" 'Unauthorized|logged in' as root blue auth whoami
# The webhook has three seconds for an answer, and a busy machine may take them: who asks again is told what it says.
admin create clusterrolebinding blue --clusterrole=cluster-admin --group=team-blue >/dev/null
admin create namespace vault >/dev/null
soon "a role lets her in" as jane blue get configmaps
soon_err "but not where the webhook says no" 'the vault is closed' as jane blue -n vault get configmaps
t "who is in no team is not shown to it" admin -n vault get configmaps

authn new: >"$tmp/next.yaml"
mv "$tmp/next.yaml" "$tmp/authn.yaml"
t "the file changes, and so does her name" until_ok 60 is new:jane whoami
cp "$tmp/wrong.yaml" "$tmp/authn.yaml"
sed -i 's/name: roles/name: vault/' "$tmp/authz.yaml"
complained() { grep -q 'who comes is still judged as before: .*no AuthenticationConfiguration' "$tmp/n1.log" &&
	grep -q 'what may be done is still judged as before: .*Duplicate value' "$tmp/n1.log"; }
t "what is wrong is said" until_ok 30 complained
soon "and changes nothing" is new:jane whoami
soon "nor does it what she may" as jane blue get configmaps
kill "$server" && wait "$server"
