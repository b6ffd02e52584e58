// The JavaScript client against a live cluster: KUBECONFIG=... node suite.mjs IMAGE
//
// Prints "ok - NAME" or "not ok - NAME" with the reason. IMAGE has sh, echo, cat, sleep and httpd (busybox).
import * as k8s from '@kubernetes/client-node';
import { PassThrough } from 'node:stream';
import net from 'node:net';
import { equal, fails, tap, test, until } from './tap.mjs';

const image = process.argv[2] ?? 'busybox';
const kc = new k8s.KubeConfig();
kc.loadFromDefault();
const core = kc.makeApiClient(k8s.CoreV1Api);
const apps = kc.makeApiClient(k8s.AppsV1Api);
const coordination = kc.makeApiClient(k8s.CoordinationV1Api);
const namespace = 'clients';
tap.prefix = 'client-node: ';

const configMap = (name, data) => ({ metadata: { name, labels: { suite: 'clients' } }, data });
const patchType = (type) => k8s.setHeaderOptions('Content-Type', type);

await test('a namespace', async () => {
  await core.createNamespace({ body: { metadata: { name: namespace } } });
  await until(async () => (await core.listNamespacedServiceAccount({ namespace })).items.length > 0);
});

await test('create, get, replace, delete; conflicts and misses', async () => {
  const made = await core.createNamespacedConfigMap({ namespace, body: configMap('a', { k: 'v' }) });
  await fails(409, core.createNamespacedConfigMap({ namespace, body: configMap('a', {}) }));
  made.data = { k: 'w' };
  const next = await core.replaceNamespacedConfigMap({ namespace, name: 'a', body: made });
  equal(next.data, { k: 'w' });
  await fails(409, core.replaceNamespacedConfigMap({ namespace, name: 'a', body: { ...made, data: { k: 'x' } } }));
  await core.deleteNamespacedConfigMap({ namespace, name: 'a' });
  await fails(404, core.readNamespacedConfigMap({ namespace, name: 'a' }));
  await fails(422, core.createNamespacedConfigMap({ namespace, body: configMap('Not_a_name', {}) }));
});

await test('every kind of patch', async () => {
  await core.createNamespacedConfigMap({ namespace, body: configMap('p', { a: '1' }) });
  let o = await core.patchNamespacedConfigMap({ namespace, name: 'p', body: { data: { b: '2' } } }, patchType(k8s.PatchStrategy.MergePatch));
  equal(o.data, { a: '1', b: '2' });
  o = await core.patchNamespacedConfigMap({ namespace, name: 'p', body: [{ op: 'remove', path: '/data/a' }] },
    patchType(k8s.PatchStrategy.JsonPatch));
  equal(o.data, { b: '2' });
  o = await core.patchNamespacedConfigMap({ namespace, name: 'p', body: { data: { b: null, c: '3' } } },
    patchType(k8s.PatchStrategy.StrategicMergePatch));
  equal(o.data, { c: '3' });
  const apply = (body, fieldManager, force) => core.patchNamespacedConfigMap({ namespace, name: 'p', body, fieldManager, force },
    patchType(k8s.PatchStrategy.ServerSideApply));
  const config = (data) => ({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'p' }, data });
  o = await apply(config({ d: '4' }), 'one');
  equal(o.data, { c: '3', d: '4' });
  const e = await fails(409, apply(config({ d: '5' }), 'two'));
  if (!String(e.body).includes('conflict with \\"one\\": .data.d')) throw new Error(String(e.body));
  equal((await apply(config({ d: '5' }), 'two', true)).data.d, '5');
  equal((await apply(config({}), 'two')).data, { c: '3' });
  await core.deleteNamespacedConfigMap({ namespace, name: 'p' });
});

await test('pages of a list', async () => {
  for (let i = 0; i < 7; i++) await core.createNamespacedConfigMap({ namespace, body: configMap(`page-${i}`, {}) });
  const names = [];
  let _continue;
  do {
    const page = await core.listNamespacedConfigMap({ namespace, labelSelector: 'suite=clients', limit: 3, _continue });
    names.push(...page.items.map((i) => i.metadata.name));
    _continue = page.metadata._continue;
  } while (_continue);
  equal(names, [0, 1, 2, 3, 4, 5, 6].map((i) => `page-${i}`));
  await core.deleteCollectionNamespacedConfigMap({ namespace, labelSelector: 'suite=clients' });
  equal((await core.listNamespacedConfigMap({ namespace, labelSelector: 'suite=clients' })).items, []);
});

await test('a watch', async () => {
  const events = [];
  const begun = await core.listNamespacedConfigMap({ namespace });
  const watch = await new k8s.Watch(kc).watch(`/api/v1/namespaces/${namespace}/configmaps`,
    { resourceVersion: begun.metadata.resourceVersion, labelSelector: 'suite=clients' },
    (type, obj) => events.push(`${type} ${obj.metadata.name}`), () => {});
  await core.createNamespacedConfigMap({ namespace, body: configMap('w', {}) });
  await core.patchNamespacedConfigMap({ namespace, name: 'w', body: { data: { x: 'y' } } }, patchType(k8s.PatchStrategy.MergePatch));
  await core.deleteNamespacedConfigMap({ namespace, name: 'w' });
  await until(() => events.length >= 3);
  watch.abort();
  equal(events, ['ADDED w', 'MODIFIED w', 'DELETED w']);
});

await test('an informer', async () => {
  const events = [];
  await core.createNamespacedConfigMap({ namespace, body: configMap('before', {}) });
  const informer = k8s.makeInformer(kc, `/api/v1/namespaces/${namespace}/configmaps`,
    () => core.listNamespacedConfigMap({ namespace, labelSelector: 'suite=clients' }), 'suite=clients');
  for (const type of ['add', 'update', 'delete']) informer.on(type, (o) => events.push(`${type} ${o.metadata.name}`));
  await informer.start();
  await core.createNamespacedConfigMap({ namespace, body: configMap('after', {}) });
  await until(() => events.includes('add after'));
  await core.deleteNamespacedConfigMap({ namespace, name: 'before' });
  await until(() => events.includes('delete before'));
  equal(informer.list(namespace).map((o) => o.metadata.name), ['after']);
  await informer.stop();
});

const pod = {
  metadata: { name: 'box', labels: { app: 'box' } },
  spec: {
    terminationGracePeriodSeconds: 0,
    containers: [{ name: 'c', image, imagePullPolicy: 'IfNotPresent',
      command: ['sh', '-c', 'echo started; mkdir /www; echo page >/www/index.html; httpd -f -p 8080 -h /www'] }],
  },
};
await test('a pod runs', async () => {
  await core.createNamespacedPod({ namespace, body: pod });
  await until(async () => (await core.readNamespacedPod({ namespace, name: 'box' })).status.phase === 'Running', 60);
});

await test('its log', async () => {
  await until(async () => (await core.readNamespacedPodLog({ namespace, name: 'box' })) === 'started\n');
  const out = new PassThrough();
  let text = '';
  out.on('data', (b) => { text += b; });
  const log = await new k8s.Log(kc).log(namespace, 'box', 'c', out, { follow: true });
  await until(() => text === 'started\n');
  log.abort();
});

function run(command, stdin) {
  const out = new PassThrough();
  const err = new PassThrough();
  const got = { out: '', err: '' };
  out.on('data', (b) => { got.out += b; });
  err.on('data', (b) => { got.err += b; });
  return new Promise((resolve, reject) => {
    new k8s.Exec(kc).exec(namespace, 'box', 'c', command, out, err, stdin ?? null, false, (status) => resolve(Object.assign(got, { status })))
      .then((ws) => { ws.onerror = reject; }, reject);
  });
}
await test('exec: output, errors, exit code', async () => {
  const r = await run(['sh', '-c', 'echo out; echo err >&2; exit 3']);
  equal(r.status.status, 'Failure');
  equal(r.status.details.causes[0].message, '3');
  // What was written comes through streams of its own, and need not have come when the status has.
  await until(() => r.out === 'out\n' && r.err === 'err\n');
});

await test('exec: what goes in comes out', async () => {
  const input = new PassThrough();
  const text = 'x'.repeat(300000);
  const done = run(['head', '-c', String(text.length)], input);
  input.write(text);
  const r = await done;
  equal(r.status.status, 'Success');
  await until(() => r.out.length === text.length);
});

await test('port-forward', async () => {
  const forward = new k8s.PortForward(kc);
  const server = net.createServer((socket) => { forward.portForward(namespace, 'box', [8080], socket, null, socket); });
  await new Promise((r) => server.listen(0, '127.0.0.1', r));
  try {
    // httpd may need a moment after its container has started.
    await until(() => new Promise((resolve) => {
      const socket = net.connect(server.address().port, '127.0.0.1');
      let text = '';
      socket.on('data', (b) => {
        text += b;
        if (text.includes('page\n')) { socket.destroy(); resolve(true); }
      });
      socket.on('error', () => resolve(false));
      socket.on('close', () => resolve(text.includes('page\n')));
      setTimeout(() => socket.destroy(), 10000);
      socket.write('GET / HTTP/1.0\r\n\r\n');
    }));
  } finally {
    server.close();
  }
});

await test('the proxy subresource', async () => {
  await until(async () => (await core.connectGetNamespacedPodProxyWithPath({ namespace, name: 'box:8080', path: 'index.html' })) === 'page\n');
});

await test('scale and status subresources', async () => {
  await apps.createNamespacedDeployment({ namespace, body: {
    metadata: { name: 'd' },
    spec: { replicas: 0, selector: { matchLabels: { app: 'd' } },
      template: { metadata: { labels: { app: 'd' } }, spec: { containers: pod.spec.containers } } },
  } });
  // The controller writes the Deployment's status meanwhile: who comes in between has to read again.
  await until(async () => {
    const scale = await apps.readNamespacedDeploymentScale({ namespace, name: 'd' });
    equal(scale.spec.replicas ?? 0, 0);
    scale.spec.replicas = 1;
    try {
      return (await apps.replaceNamespacedDeploymentScale({ namespace, name: 'd', body: scale })).spec.replicas === 1;
    } catch (e) {
      equal(e.code, 409);
      return false;
    }
  });
  await until(async () => (await apps.readNamespacedDeploymentStatus({ namespace, name: 'd' })).status.readyReplicas === 1, 60);
  await apps.deleteNamespacedDeployment({ namespace, name: 'd', propagationPolicy: 'Foreground' });
  await until(async () => (await core.listNamespacedPod({ namespace, labelSelector: 'app=d' })).items.length === 0, 60);
}, 130);

// One lease, several candidates: whoever reads it free tries to write it, and only one write can win.
await test('leader election by a lease', async () => {
  await coordination.createNamespacedLease({ namespace, body: { metadata: { name: 'leader' }, spec: {} } });
  const leaders = [];
  const candidate = async (id) => {
    const lease = await coordination.readNamespacedLease({ namespace, name: 'leader' });
    if (lease.spec?.holderIdentity) return;
    lease.spec = { holderIdentity: id, leaseDurationSeconds: 15, acquireTime: new k8s.V1MicroTime(), renewTime: new k8s.V1MicroTime() };
    try {
      await coordination.replaceNamespacedLease({ namespace, name: 'leader', body: lease });
      leaders.push(id);
    } catch (e) {
      equal(e.code, 409);
    }
  };
  await Promise.all(Array.from({ length: 10 }, (_, i) => candidate(`c${i}`)));
  equal(leaders.length, 1);
  equal((await coordination.readNamespacedLease({ namespace, name: 'leader' })).spec.holderIdentity, leaders[0]);
});

await test('the namespace goes with all that is in it', async () => {
  await core.deleteNamespace({ name: namespace });
  await until(() => core.readNamespace({ name: namespace }).then(() => false, (e) => e.code === 404), 60);
});

process.exit(tap.failed ? 1 : 0);
