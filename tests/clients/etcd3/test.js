// The npm client etcd3: keys, ranges, transactions, leases, watches, locks, elections. Usage: node test.js HOST,HOST,...
'use strict';
const assert = require('assert');
const { Etcd3 } = require('etcd3');

const hosts = process.argv[2].split(',').map((h) => `http://${h}`);
const client = new Etcd3({ hosts });

async function keys() {
  await client.put('js/a').value('1');
  await client.put('js/b').value('2');
  assert.strictEqual(await client.get('js/a').string(), '1');
  assert.strictEqual(await client.get('js/none').string(), null);
  assert.deepStrictEqual(await client.getAll().prefix('js/').strings(), { 'js/a': '1', 'js/b': '2' });
  assert.deepStrictEqual(await client.getAll().prefix('js/').sort('Key', 'Descend').limit(1).keys(), ['js/b']);
  assert.strictEqual(await client.getAll().prefix('js/').count(), 2);
  const previous = await client.put('js/a').value('3').getPrevious();
  assert.strictEqual(previous.value.toString(), '1');
  assert.strictEqual((await client.delete().key('js/b')).deleted, '1');
}

async function transactions() {
  const attempt = (want) =>
    client.if('js/a', 'Value', '==', want).then(client.put('js/a').value('4')).else(client.get('js/a')).commit();
  assert.strictEqual((await attempt('nothing')).succeeded, false);
  assert.strictEqual((await attempt('3')).succeeded, true);
  assert.strictEqual(await client.get('js/a').string(), '4');
}

async function leases() {
  const lease = client.lease(30);
  await lease.put('js/leased').value('x');
  await lease.keepaliveOnce();
  assert.strictEqual(await client.get('js/leased').string(), 'x');
  await lease.revoke();
  assert.strictEqual(await client.get('js/leased').string(), null);
}

async function watches() {
  const watcher = await client.watch().prefix('js/w/').withPreviousKV().create();
  const seen = new Promise((done) => {
    const events = [];
    watcher.on('put', (kv) => events.push(`put ${kv.key} ${kv.value}`));
    watcher.on('delete', (kv) => {
      events.push(`delete ${kv.key}`);
      done(events);
    });
  });
  await client.put('js/w/1').value('a');
  await client.put('js/w/1').value('b');
  await client.delete().key('js/w/1');
  assert.deepStrictEqual(await seen, ['put js/w/1 a', 'put js/w/1 b', 'delete js/w/1']);
  await watcher.cancel();
}

async function locks() {
  let inside = 0;
  let most = 0;
  const one = () =>
    client.lock('js/lock').ttl(10).do(async () => {
      inside += 1;
      most = Math.max(most, inside);
      await new Promise((r) => setTimeout(r, 10));
      inside -= 1;
    });
  // The client tries once; who finds it taken tries again.
  const stubborn = async () => {
    for (let i = 0; i < 200; i += 1) {
      try {
        return await one();
      } catch (e) {
        await new Promise((r) => setTimeout(r, 10));
      }
    }
    throw new Error('the lock is never free');
  };
  await Promise.all([stubborn(), stubborn(), stubborn()]);
  assert.strictEqual(most, 1);
}

async function elections() {
  const election = client.election('js/election', 10);
  const campaign = election.campaign('me');
  await new Promise((done, failed) => campaign.on('elected', done).on('error', failed));
  assert.strictEqual(await election.leader(), 'me');
  await campaign.proclaim('still me');
  assert.strictEqual(await election.leader(), 'still me');
  await campaign.resign();
}

async function errors() {
  await assert.rejects(async () => client.get('').string(), /key is not provided/);
  await assert.rejects(async () => client.put('js/x').lease('4711').value('x').exec(), /lease not found/);
}

async function main() {
  for (const part of [keys, transactions, leases, watches, locks, elections, errors]) {
    await part();
    console.log(`ok ${part.name}`);
  }
  await client.delete().prefix('js/');
  client.close();
}

main().then(
  () => process.exit(0),
  (e) => {
    console.error(e);
    process.exit(1);
  },
);
