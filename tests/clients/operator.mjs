// An operator as people write them with @kubernetes/client-node, for the cluster in KUBECONFIG:
//
//   node operator.mjs controller IDENTITY               keeps what proof.kontiki.io/v1 Stacks ask for, while it holds a lease
//   node operator.mjs webhook ADDRESS PORT CERT KEY     refuses Stacks of more than five parts, over TLS
//
// A Stack {spec: {parts: 3, text: "x"}} is to have ConfigMaps NAME-0 ... NAME-2 of that text, owned by it, and status.ready: 3.
import * as k8s from '@kubernetes/client-node';
import fs from 'node:fs';
import https from 'node:https';
import { sleep } from './tap.mjs';

const kc = new k8s.KubeConfig();
kc.loadFromDefault();
const core = kc.makeApiClient(k8s.CoreV1Api);
const coordination = kc.makeApiClient(k8s.CoordinationV1Api);
const custom = kc.makeApiClient(k8s.CustomObjectsApi);
const namespace = 'proof', group = 'proof.kontiki.io', version = 'v1', plural = 'stacks';

/* --- The lease --- */

const LEASE_MS = 3000;
let heldUntil = 0; // by our own clock, from before the last renewal was asked for
let seen = { renewal: '', at: 0 }; // another holder's last renewal and when we saw it: clocks of other machines are not ours to compare
async function elect(identity) {
  const at = Date.now();
  let lease;
  try {
    lease = await coordination.readNamespacedLease({ namespace, name: 'stack-operator' });
  } catch (e) {
    if (e.code !== 404) throw e;
    lease = await coordination.createNamespacedLease({ namespace, body: { metadata: { name: 'stack-operator' }, spec: {} } });
  }
  const spec = lease.spec ?? {};
  const renewal = `${spec.holderIdentity}@${spec.renewTime?.toISOString?.() ?? spec.renewTime}`;
  if (renewal !== seen.renewal) seen = { renewal, at };
  if (spec.holderIdentity && spec.holderIdentity !== identity && at - seen.at < LEASE_MS) return;
  lease.spec = { ...spec, holderIdentity: identity, leaseDurationSeconds: LEASE_MS / 1000, renewTime: new k8s.V1MicroTime() };
  // Only who saw the newest version can write it.
  await coordination.replaceNamespacedLease({ namespace, name: 'stack-operator', body: lease });
  heldUntil = at + LEASE_MS;
}
const isHolder = () => Date.now() < heldUntil;

/* --- The controller --- */

async function reconcile(stack) {
  const { name, uid } = stack.metadata;
  const have = (await core.listNamespacedConfigMap({ namespace, labelSelector: `stack=${name}` })).items;
  const want = Array.from({ length: stack.spec.parts }, (_, i) => `${name}-${i}`);
  for (const part of want) {
    const body = { metadata: { name: part, labels: { stack: name }, ownerReferences: [
      { apiVersion: `${group}/${version}`, kind: 'Stack', name, uid, controller: true, blockOwnerDeletion: true }] }, data: { text: stack.spec.text ?? '' } };
    if (!have.some((m) => m.metadata.name === part)) await core.createNamespacedConfigMap({ namespace, body });
  }
  for (const m of have) if (!want.includes(m.metadata.name)) await core.deleteNamespacedConfigMap({ namespace, name: m.metadata.name });
  if (stack.status?.ready === want.length) return;
  await custom.replaceNamespacedCustomObjectStatus({ group, version, namespace, plural, name,
    body: { ...stack, status: { ready: want.length } } });
}

async function controller(identity) {
  const queue = new Map(); // name -> when
  const informer = k8s.makeInformer(kc, `/apis/${group}/${version}/namespaces/${namespace}/${plural}`,
    () => custom.listNamespacedCustomObject({ group, version, namespace, plural }));
  for (const event of ['add', 'update']) informer.on(event, (o) => queue.set(o.metadata.name, 0));
  informer.on('delete', (o) => queue.delete(o.metadata.name));
  informer.on('error', () => setTimeout(() => informer.start().catch(() => {}), 200));
  for (;;) { // the definition may not be there yet
    try {
      await informer.start();
      break;
    } catch { await sleep(200); }
  }
  (async () => {
    for (;; await sleep(400)) await elect(identity).catch(() => {});
  })();
  console.log('running');
  let held = false;
  for (;; await sleep(20)) {
    // A new holder looks at everything: the old one may have left something half done.
    if (isHolder() && !held) informer.list(namespace)?.forEach((o) => queue.set(o.metadata.name, 0));
    if (isHolder() !== held) console.log((held = isHolder()) ? 'holding' : 'lost');
    for (const [name, when] of queue) {
      const stack = informer.get(name, namespace);
      if (!isHolder() || when > Date.now()) continue;
      queue.delete(name);
      if (!stack || stack.metadata.deletionTimestamp) continue;
      await reconcile(stack).catch((e) => {
        // An old view, or a server that is not there: again with what the informer has then.
        if (e.code !== 404) queue.set(name, Date.now() + 200);
      });
    }
  }
}

/* --- The webhook --- */

function webhook(address, port, cert, key) {
  https.createServer({ cert: fs.readFileSync(cert), key: fs.readFileSync(key) }, async (req, res) => {
    let text = '';
    for await (const b of req) text += b;
    const { request } = JSON.parse(text);
    const allowed = (request.object?.spec?.parts ?? 0) <= 5;
    res.writeHead(200, { 'Content-Type': 'application/json' });
    res.end(JSON.stringify({ apiVersion: 'admission.k8s.io/v1', kind: 'AdmissionReview', response: { uid: request.uid, allowed,
      ...(allowed ? {} : { status: { code: 403, message: 'a stack has at most five parts' } }) } }));
  }).listen(Number(port), address, () => console.log('serving'));
}

const [role, ...rest] = process.argv.slice(2);
if (role === 'webhook') webhook(...rest);
else await controller(...rest);
