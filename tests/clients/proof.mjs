// An operator and an aggregated API server on a live cluster of several servers, while its leader is killed:
//
//   KUBECONFIG=... node proof.mjs ADDRESS DIR SERVER,SERVER,... KONTIKI
//
// ADDRESS is one of ours that the servers reach; DIR has tls.crt, tls.key (for ADDRESS, proof-tide.default.svc) and tls-ca.crt; the servers are
// IP addresses; `KONTIKI node ...` kills and starts them (its environment says of which cluster). KUBECONFIG leads to any living one.
import * as k8s from '@kubernetes/client-node';
import { execFile, spawn } from 'node:child_process';
import fs from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { equal, fails, send, sleep, tap, test, until } from './tap.mjs';

const [address, dir, serverList, kontiki] = process.argv.slice(2);
const servers = serverList.split(',');
const here = dirname(fileURLToPath(import.meta.url));
const run = promisify(execFile);
const kc = new k8s.KubeConfig();
kc.loadFromDefault();
const core = kc.makeApiClient(k8s.CoreV1Api);
const coordination = kc.makeApiClient(k8s.CoordinationV1Api);
const extensions = kc.makeApiClient(k8s.ApiextensionsV1Api);
const admission = kc.makeApiClient(k8s.AdmissionregistrationV1Api);
const registration = kc.makeApiClient(k8s.ApiregistrationV1Api);
const discovery = kc.makeApiClient(k8s.DiscoveryV1Api);
const custom = kc.makeApiClient(k8s.CustomObjectsApi);
const namespace = 'proof';
const stacks = { group: 'proof.kontiki.io', version: 'v1', namespace, plural: 'stacks' };
const waves = { group: 'tide.kontiki.io', version: 'v1', namespace, plural: 'waves' };
const ca = fs.readFileSync(join(dir, 'tls-ca.crt'));
const caBundle = ca.toString('base64');
const HOOK_PORT = 9443, TIDE_PORT = 9444;
tap.prefix = 'proof: ';

/* --- Children --- */

const children = new Map();
function start(name, file, ...args) {
  const log = fs.openSync(join(dir, `${name}.log`), 'a');
  children.set(name, spawn(process.execPath, [join(here, file), ...args], { stdio: ['ignore', log, log] }));
}
function kill(name) {
  children.get(name)?.kill('SIGKILL');
  children.delete(name);
}
process.on('exit', () => { for (const c of children.values()) c.kill('SIGKILL'); });
const startTide = () => start('tide', 'aggregated.mjs', address, String(TIDE_PORT), join(dir, 'tls.crt'), join(dir, 'tls.key'));

/* --- Requests to one server --- */

const cluster = kc.getCurrentCluster(), user = kc.getCurrentUser();
const identity = { ca: Buffer.from(cluster.caData, 'base64'), cert: Buffer.from(user.certData, 'base64'), key: Buffer.from(user.keyData, 'base64') };
const ask = (server, path, headers = {}) => send({ ...identity, host: server, port: 6443, path, headers, servername: '' });
const leader = async () => (await run(kontiki, ['node', 'list'])).stdout.split('\n').map((l) => l.split(/\s+/)).find((c) => c[4] === 'leader');

/* --- The objects --- */

const stack = (name, parts) => ({ apiVersion: 'proof.kontiki.io/v1', kind: 'Stack', metadata: { name }, spec: { parts, text: name } });
const wave = (name) => ({ apiVersion: 'tide.kontiki.io/v1', kind: 'Wave', metadata: { name }, spec: { height: 2 } });
const definition = {
  metadata: { name: 'stacks.proof.kontiki.io' },
  spec: { group: 'proof.kontiki.io', scope: 'Namespaced', names: { plural: 'stacks', singular: 'stack', kind: 'Stack' },
    versions: [{ name: 'v1', served: true, storage: true, subresources: { status: {} },
      schema: { openAPIV3Schema: { type: 'object', properties: {
        spec: { type: 'object', required: ['parts'], properties: { parts: { type: 'integer', minimum: 0 }, text: { type: 'string' } } },
        status: { type: 'object', properties: { ready: { type: 'integer' } } } } } } }] },
};
const hook = {
  metadata: { name: 'stacks.proof.kontiki.io' },
  webhooks: [{ name: 'stacks.proof.kontiki.io', admissionReviewVersions: ['v1'], sideEffects: 'None', failurePolicy: 'Fail',
    clientConfig: { url: `https://${address}:${HOOK_PORT}/validate`, caBundle },
    rules: [{ operations: ['CREATE', 'UPDATE'], apiGroups: ['proof.kontiki.io'], apiVersions: ['v1'], resources: ['stacks'] }] }],
};
const service = { metadata: { name: 'proof-tide' }, spec: { ports: [{ port: 443, targetPort: TIDE_PORT }] } };
const slice = { metadata: { name: 'proof-tide-1', labels: { 'kubernetes.io/service-name': 'proof-tide' } }, addressType: 'IPv4',
  endpoints: [{ addresses: [address], conditions: { ready: true } }], ports: [{ name: '', port: TIDE_PORT }] };
const apiService = {
  metadata: { name: 'v1.tide.kontiki.io' },
  spec: { group: 'tide.kontiki.io', version: 'v1', groupPriorityMinimum: 1000, versionPriority: 15, caBundle,
    service: { namespace: 'default', name: 'proof-tide' } },
};
const available = async () => {
  const s = await registration.readAPIService({ name: 'v1.tide.kontiki.io' });
  return s.status?.conditions?.find((c) => c.type === 'Available') ?? {};
};
const listed = async (what) => (await custom.listNamespacedCustomObject(what)).items;
// Whichever server it comes to knows the kind, in a moment; whose answer was lost has made it.
const make = (what, body) => until(() => custom.createNamespacedCustomObject({ ...what, body }).then(() => true, (e) => {
  if (e.code === 409) return true;
  throw e;
}));
// Each server hears of a webhook by its own watch, and until then it would let this pass.
const tooTallIsRefused = () => until(async () => {
  const e = await fails(403, custom.createNamespacedCustomObject({ ...stacks, body: stack('tall', 9), dryRun: 'All' }));
  return String(e.body).includes('at most five parts');
});

/* --- Before --- */

await test('definition, webhook and registration are made', async () => {
  await core.createNamespace({ body: { metadata: { name: namespace } } });
  await extensions.createCustomResourceDefinition({ body: definition });
  start('webhook', 'operator.mjs', 'webhook', address, String(HOOK_PORT), join(dir, 'tls.crt'), join(dir, 'tls.key'));
  start('a', 'operator.mjs', 'controller', 'a');
  start('b', 'operator.mjs', 'controller', 'b');
  startTide();
  await admission.createValidatingWebhookConfiguration({ body: hook });
  await core.createNamespacedService({ namespace: 'default', body: service });
  await discovery.createNamespacedEndpointSlice({ namespace: 'default', body: slice });
  await registration.createAPIService({ body: apiService });
});
await test('the aggregated server becomes available', () => until(async () => (await available()).reason === 'Passed', 60));
await test('it answers through every server, which all discover it', () => until(async () => {
  for (const s of servers) {
    const r = await ask(s, '/apis/tide.kontiki.io/v1/waves');
    const d = await ask(s, '/apis', { Accept: 'application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList' });
    const version = d.body.items.find((g) => g.metadata.name === 'tide.kontiki.io')?.versions[0];
    const index = await ask(s, '/openapi/v3');
    if (r.status !== 200 || version?.freshness !== 'Current' || version.resources[0].resource !== 'waves' ||
      !index.body.paths['apis/tide.kontiki.io/v1']) return false;
  }
  return true;
}));
await test('only the front proxy is believed, and says who asks', async () => {
  const direct = { host: address, port: TIDE_PORT, path: '/apis/tide.kontiki.io/v1/waves', ca, headers: { 'X-Remote-User': 'root' } };
  equal((await send(direct)).status, 401);
  equal((await send({ ...direct, cert: identity.cert, key: identity.key })).status, 401);
  const made = await custom.createNamespacedCustomObject({ ...waves, body: wave('first') });
  equal(made.metadata.annotations.by, 'kubernetes-admin');
  equal((await ask(servers[0], '/apis/tide.kontiki.io/v1/waves', { 'Impersonate-User': 'nobody' })).status, 403);
  equal((await ask(servers[0], '/apis/tide.kontiki.io/v1/waves', { 'X-Remote-User': 'nobody' })).status, 200);
});
await test('the webhook refuses what is too much', tooTallIsRefused);
const converged = async (wanted) => {
  const have = await listed(stacks);
  const parts = (await core.listNamespacedConfigMap({ namespace, labelSelector: 'stack' })).items;
  return [...wanted].every(([name, n]) => have.find((s) => s.metadata.name === name)?.status?.ready === n &&
    parts.filter((p) => p.metadata.labels.stack === name && p.data.text === name).length === n) &&
    parts.length === have.reduce((sum, s) => sum + s.spec.parts, 0);
};
await test('the controller makes what a stack asks for', async () => {
  await make(stacks, stack('early', 3));
  await until(() => converged(new Map([['early', 3]])));
});

/* --- The leader dies while all of this goes on --- */

// Writes one after the other; what was acknowledged is kept. A write whose answer was lost may have been taken: its name is not used again.
async function writer(what, make, kept, gaps) {
  let last = Date.now();
  for (let i = 0; writing; i++) {
    const body = make(i);
    try {
      const made = await custom.createNamespacedCustomObject({ ...what, body });
      kept.set(made.metadata.name, body.spec.parts ?? made.metadata.uid);
      gaps.push(Date.now() - last);
      last = Date.now();
    } catch {
      await sleep(20);
    }
    await sleep(20);
  }
}
// A watch as an informer keeps it: it goes on from what it has seen.
async function watcher(seen) {
  let rv = '0';
  while (watching) {
    await new Promise((resolve) => {
      new k8s.Watch(kc).watch(`/apis/tide.kontiki.io/v1/namespaces/${namespace}/waves`, { resourceVersion: rv }, (type, o) => {
        rv = o.metadata.resourceVersion;
        seen.push(`${type} ${o.metadata.name}`);
      }, resolve).then((c) => { stopWatch = () => c.abort(); }, resolve);
    });
    await sleep(20);
  }
}
let writing = true, watching = true, stopWatch = () => {};
const stacksKept = new Map([['early', 3]]), wavesKept = new Map(), seen = [];
const stackGaps = [], waveGaps = [];
let killed;

await test('the leader is killed, and both writers go on', async () => {
  const jobs = [writer(stacks, (i) => stack(`s-${i}`, i % 4), stacksKept, stackGaps), writer(waves, (i) => wave(`w-${i}`), wavesKept, waveGaps)];
  watcher(seen);
  await until(() => stacksKept.size > 20 && wavesKept.size > 20);
  await until(async () => (killed = await leader()) !== undefined);
  await run(kontiki, ['node', 'kill', killed[0]]);
  const at = [stacksKept.size, wavesKept.size];
  await until(async () => {
    const now = await leader();
    return now !== undefined && now[0] !== killed[0] && stacksKept.size > at[0] + 20 && wavesKept.size > at[1] + 20;
  });
  writing = false;
  await Promise.all(jobs);
  console.log(`# longest wait between acknowledged writes: stacks ${Math.max(...stackGaps)} ms, waves ${Math.max(...waveGaps)} ms`);
});
await test('every acknowledged write is there', async () => {
  const have = new Set((await listed(stacks)).map((s) => s.metadata.name));
  for (const name of stacksKept.keys()) if (!have.has(name)) throw new Error(`stack ${name} is lost`);
  const uids = new Map((await listed(waves)).map((w) => [w.metadata.name, w.metadata.uid]));
  for (const [name, uid] of wavesKept) if (uids.get(name) !== uid) throw new Error(`wave ${name} is lost`);
});
await test('the watch of the aggregated server missed nothing and told nothing twice', async () => {
  await until(() => [...wavesKept.keys()].every((name) => seen.includes(`ADDED ${name}`)));
  watching = false;
  stopWatch();
  for (const name of wavesKept.keys()) equal([name, seen.filter((e) => e === `ADDED ${name}`).length], [name, 1]);
});
await test('the controller converges', () => until(() => converged(stacksKept), 40));
await test('the aggregated server answers through those that are left', () => until(async () => {
  for (const s of servers.filter((x) => x !== killed[2])) equal((await ask(s, '/apis/tide.kontiki.io/v1/waves')).status, 200);
  return (await available()).status === 'True';
}));
await test('the webhook is asked by the new leader, too', tooTallIsRefused);
await test('the server that was killed comes back and answers for both', async () => {
  await run(kontiki, ['node', 'start', killed[0]]);
  await until(async () => {
    const all = await Promise.all(['/apis/tide.kontiki.io/v1/waves', `/apis/proof.kontiki.io/v1/namespaces/${namespace}/stacks`]
      .map((p) => ask(killed[2], p).catch(() => ({ status: 0 }))));
    return all.every((r) => r.status === 200) && all[0].body.items.length >= wavesKept.size && all[1].body.items.length >= stacksKept.size;
  });
});

/* --- Others die, when who looks on from outside has seen enough --- */

await test('what is there has been looked at', () => until(() => fs.existsSync(join(dir, 'looked')), 90), 100);

await test('the holder of the lease dies, the other takes over', async () => {
  const holder = (await coordination.readNamespacedLease({ namespace, name: 'stack-operator' })).spec.holderIdentity;
  kill(holder);
  await make(stacks, stack('late', 2));
  stacksKept.set('late', 2);
  await until(() => converged(stacksKept));
  equal((await coordination.readNamespacedLease({ namespace, name: 'stack-operator' })).spec.holderIdentity, holder === 'a' ? 'b' : 'a');
});
await test('what a stack owned goes with it', async () => {
  await custom.deleteNamespacedCustomObject({ ...stacks, name: 'late' });
  stacksKept.delete('late');
  await until(async () => (await core.listNamespacedConfigMap({ namespace, labelSelector: 'stack=late' })).items.length === 0);
});
await test('a dead aggregated server is told as such and holds up nobody', async () => {
  kill('tide');
  await until(async () => (await available()).reason === 'FailedDiscoveryCheck');
  await until(async () => {
    for (const s of servers) {
      const r = await ask(s, '/apis/tide.kontiki.io/v1/waves');
      const d = await ask(s, '/apis', { Accept: 'application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList' });
      if (r.status !== 503 || d.body.items.find((g) => g.metadata.name === 'tide.kontiki.io').versions[0].freshness !== 'Stale') return false;
    }
    return true;
  });
  // Many who ask for it at once, and one who asks for something else.
  const stuck = Array.from({ length: 50 }, () => ask(servers[0], '/apis/tide.kontiki.io/v1/waves'));
  equal((await ask(servers[0], `/api/v1/namespaces/${namespace}/configmaps?limit=1`)).status, 200);
  for (const r of await Promise.all(stuck)) equal([r.status, r.body], [503, 'service unavailable\n']);
});
// As long as one server does not say what it has, nobody knows whether a namespace is empty.
await test('a namespace waits for it', async () => {
  await core.createNamespace({ body: { metadata: { name: 'proof-waits' } } });
  await core.deleteNamespace({ name: 'proof-waits' });
  await until(async () => (await core.readNamespace({ name: 'proof-waits' })).status.conditions
    ?.some((c) => c.type === 'NamespaceDeletionDiscoveryFailure' && c.status === 'True' && c.message.includes('tide.kontiki.io/v1')));
});
await test('it comes back', async () => {
  startTide();
  await until(async () => (await available()).reason === 'Passed');
  await until(() => core.readNamespace({ name: 'proof-waits' }).then(() => false, (e) => e.code === 404));
  await make(waves, wave('again'));
});
await test('what an object of ours owned at the aggregated server goes with it', async () => {
  const owner = await core.createNamespacedConfigMap({ namespace, body: { metadata: { name: 'owner' } } });
  const body = { ...wave('owned'), metadata: { name: 'owned', ownerReferences: [{ apiVersion: 'v1', kind: 'ConfigMap', name: 'owner', uid: owner.metadata.uid }] } };
  await make(waves, body);
  await core.deleteNamespacedConfigMap({ namespace, name: 'owner' });
  await until(async () => !(await listed(waves)).some((w) => w.metadata.name === 'owned'));
  equal((await listed(waves)).map((w) => w.metadata.name), ['again']);
});
await test('everything goes', async () => {
  await core.deleteNamespace({ name: namespace });
  await until(() => core.readNamespace({ name: namespace }).then(() => false, (e) => e.code === 404), 40);
  equal((await ask(servers[0], '/apis/tide.kontiki.io/v1/waves')).body.items, []);
  await registration.deleteAPIService({ name: 'v1.tide.kontiki.io' });
  await admission.deleteValidatingWebhookConfiguration({ name: hook.metadata.name });
  await extensions.deleteCustomResourceDefinition({ name: definition.metadata.name });
  await until(async () => (await registration.listAPIService()).items.every((s) => !s.metadata.name.endsWith('.kontiki.io')));
});

process.exit(tap.failed ? 1 : 0);
