// An API server of its own, to be joined by an APIService: node aggregated.mjs ADDRESS PORT CERT KEY
//
// It serves tide.kontiki.io/v1 waves, kept in memory: discovery, OpenAPI, get, list, watch, create, delete, deletecollection. It believes
// only requests with a certificate of the front proxies' CAs, which it reads as such servers do: from the ConfigMap
// kube-system/extension-apiserver-authentication of the cluster in KUBECONFIG.
import * as k8s from '@kubernetes/client-node';
import crypto from 'node:crypto';
import fs from 'node:fs';
import https from 'node:https';
import { sleep } from './tap.mjs';

const [address, port, cert, key] = process.argv.slice(2);
const kc = new k8s.KubeConfig();
kc.loadFromDefault();
const core = kc.makeApiClient(k8s.CoreV1Api);
const group = 'tide.kontiki.io', gv = `${group}/v1`, root = `/apis/${gv}`;
const tls = { cert: fs.readFileSync(cert), key: fs.readFileSync(key), requestCert: true, rejectUnauthorized: false };

/* --- Who may speak to us --- */

let trust = { ca: '', names: [], user: 'x-remote-user' };
async function learn() {
  const map = await core.readNamespacedConfigMap({ namespace: 'kube-system', name: 'extension-apiserver-authentication' });
  const ca = map.data['requestheader-client-ca-file'];
  const changed = ca !== trust.ca;
  trust = { ca, names: JSON.parse(map.data['requestheader-allowed-names']),
    user: JSON.parse(map.data['requestheader-username-headers'])[0].toLowerCase() };
  if (changed) server.setSecureContext({ ...tls, ca });
}
function userOf(req) {
  const peer = req.socket.getPeerCertificate();
  if (!req.socket.authorized || !trust.names.includes(peer.subject?.CN)) return null;
  return req.headers[trust.user] ?? null;
}

/* --- What we keep --- */

// What was before we began we do not know.
const born = Date.now();
let revision = born;
const waves = new Map();
const history = []; // {rv, type, object}
const watchers = new Set();
function record(type, object) {
  const event = { rv: revision, type, object };
  history.push(event);
  for (const w of watchers) w(event);
}
function store(object) {
  object.metadata.resourceVersion = String(++revision);
  waves.set(`${object.metadata.namespace}/${object.metadata.name}`, object);
  record('ADDED', object);
}
function remove(key) {
  const object = { ...waves.get(key) };
  object.metadata = { ...object.metadata, resourceVersion: String(++revision) };
  waves.delete(key);
  record('DELETED', object);
  return object;
}

/* --- Answers --- */

const status = (code, reason, message) => ({ kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Failure', code, reason, message });
function answer(res, code, body, headers = {}) {
  res.writeHead(code, { 'Content-Type': 'application/json', ...headers });
  res.end(JSON.stringify(body));
}
function tagged(req, res, body) {
  const etag = `"${crypto.createHash('sha256').update(JSON.stringify(body)).digest('hex')}"`;
  if (req.headers['if-none-match'] === etag) {
    res.writeHead(304);
    res.end();
  } else {
    answer(res, 200, body, { ETag: etag });
  }
}

const verbs = ['create', 'delete', 'deletecollection', 'get', 'list', 'watch'];
const discovery = { kind: 'APIResourceList', apiVersion: 'v1', groupVersion: gv,
  resources: [{ name: 'waves', singularName: 'wave', namespaced: true, kind: 'Wave', verbs, shortNames: ['wv'] }] };
const wave = { description: 'Wave goes up and down.', type: 'object', properties: {
  apiVersion: { type: 'string' }, kind: { type: 'string' }, metadata: { type: 'object' },
  spec: { description: 'What the wave is like.', type: 'object', properties: { height: { description: 'How high it is.', type: 'integer' } } } },
'x-kubernetes-group-version-kind': [{ group, version: 'v1', kind: 'Wave' }] };
const operation = { get: { responses: { 200: { description: 'OK' } }, 'x-kubernetes-action': 'list',
  'x-kubernetes-group-version-kind': { group, version: 'v1', kind: 'Wave' } } };
const v2 = { swagger: '2.0', info: { title: 'tide', version: 'v1' }, paths: { [`${root}/waves`]: operation }, definitions: { 'io.kontiki.tide.v1.Wave': wave } };
const v3 = { openapi: '3.0.0', info: { title: 'tide', version: 'v1' }, paths: { [`${root}/waves`]: operation },
  components: { schemas: { 'io.kontiki.tide.v1.Wave': wave } } };

function watch(res, ns, since) {
  res.writeHead(200, { 'Content-Type': 'application/json' });
  res.flushHeaders();
  if (since > 0 && since < born) {
    return res.end(`${JSON.stringify({ type: 'ERROR', object: status(410, 'Expired', 'too old resource version') })}\n`);
  }
  const tell = (e) => {
    if (e.rv > since && (!ns || e.object.metadata.namespace === ns)) res.write(`${JSON.stringify({ type: e.type, object: e.object })}\n`);
  };
  history.forEach(tell);
  watchers.add(tell);
  return res.on('close', () => watchers.delete(tell));
}
async function bodyOf(req) {
  let text = '';
  for await (const b of req) text += b;
  return text ? JSON.parse(text) : {};
}
function create(res, ns, object, user) {
  const name = object.metadata?.name;
  if (!name) return answer(res, 422, status(422, 'Invalid', 'metadata.name is needed'));
  if (waves.has(`${ns}/${name}`)) return answer(res, 409, status(409, 'AlreadyExists', `waves "${name}" already exists`));
  object.apiVersion = gv;
  object.kind = 'Wave';
  object.metadata = { ...object.metadata, namespace: ns, uid: crypto.randomUUID(), creationTimestamp: new Date().toISOString(),
    annotations: { ...object.metadata.annotations, by: user } };
  store(object);
  return answer(res, 201, object);
}

async function handle(req, res) {
  const user = userOf(req);
  const url = new URL(req.url, 'https://server');
  // Whoever is not known yet comes again on a new connection, when we may know its CA.
  if (user === null) return answer(res, 401, status(401, 'Unauthorized', 'no front proxy that we know'), { Connection: 'close' });
  if (url.pathname === root) return answer(res, 200, discovery);
  if (url.pathname === '/openapi/v3') return tagged(req, res, { paths: { [`apis/${gv}`]: { serverRelativeURL: `/openapi/v3/apis/${gv}?hash=1` } } });
  if (url.pathname === `/openapi/v3/apis/${gv}`) return tagged(req, res, v3);
  if (url.pathname === '/openapi/v2') return tagged(req, res, v2);
  const m = url.pathname.match(new RegExp(`^${root}(?:/namespaces/([^/]+))?/waves(?:/([^/]+))?$`));
  if (!m) return answer(res, 404, status(404, 'NotFound', 'no such path'));
  const [, ns, name] = m;
  const missing = () => answer(res, 404, { ...status(404, 'NotFound', `waves "${name}" not found`), details: { name, group, kind: 'waves' } });
  const selected = () => [...waves.values()].filter((w) => !ns || w.metadata.namespace === ns);
  if (req.method === 'POST' && ns && !name) return create(res, ns, await bodyOf(req), user);
  if (req.method === 'GET' && !name && ['true', '1'].includes(url.searchParams.get('watch'))) {
    return watch(res, ns, Number(url.searchParams.get('resourceVersion') ?? 0));
  }
  if (req.method === 'GET' && !name) {
    return answer(res, 200, { kind: 'WaveList', apiVersion: gv, metadata: { resourceVersion: String(revision) }, items: selected() });
  }
  if (name && !waves.has(`${ns}/${name}`)) return missing();
  if (req.method === 'GET') return answer(res, 200, waves.get(`${ns}/${name}`));
  if (req.method === 'DELETE' && name) return answer(res, 200, remove(`${ns}/${name}`));
  if (req.method === 'DELETE' && ns) {
    const gone = selected().map((w) => remove(`${w.metadata.namespace}/${w.metadata.name}`));
    return answer(res, 200, { kind: 'WaveList', apiVersion: gv, metadata: { resourceVersion: String(revision) }, items: gone });
  }
  return answer(res, 405, status(405, 'MethodNotAllowed', 'no such verb'));
}

const server = https.createServer(tls, (req, res) => {
  handle(req, res).catch((e) => answer(res, 500, status(500, 'InternalError', String(e))));
});
server.listen(Number(port), address);
console.log('serving');
for (;;) {
  await learn().catch(() => {});
  await sleep(500);
}
