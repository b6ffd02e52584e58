// What the suites share: results as lines, waiting, requests without a client library in between.
import https from 'node:https';

export const tap = { prefix: '', failed: 0 };

// Times are given as for a machine that has little else to do; on a busy one it is waited for longer.
const PATIENCE = 4;

// "ok - NAME" or "not ok - NAME" with the reason.
export async function test(name, fn, seconds = 90) {
  const ms = seconds * 1000 * PATIENCE;
  let timer;
  const late = new Promise((_, reject) => { timer = setTimeout(() => reject(new Error(`not within ${ms} ms`)), ms); });
  try {
    await Promise.race([fn(), late]);
    console.log(`ok - ${tap.prefix}${name}`);
  } catch (e) {
    tap.failed++;
    console.log(`not ok - ${tap.prefix}${name}`);
    console.log(`  ${String(e.stack ?? e).split('\n').slice(0, 6).join('\n  ')}`);
  } finally {
    clearTimeout(timer);
  }
}
export function equal(got, want) {
  if (JSON.stringify(got) !== JSON.stringify(want)) throw new Error(`got ${JSON.stringify(got)}, want ${JSON.stringify(want)}`);
}
export async function fails(code, promise) {
  try {
    await promise;
  } catch (e) {
    equal(e.code, code);
    return e;
  }
  throw new Error(`it succeeded; ${code} was due`);
}
export const sleep = (ms) => new Promise((r) => setTimeout(r, ms));
// Until WHAT says true; who has no answer yet, or another one, asks again.
export async function until(what, seconds = 30) {
  let last;
  for (const end = Date.now() + seconds * 1000 * PATIENCE; Date.now() < end;) {
    try {
      if (await what()) return;
      last = undefined;
    } catch (e) {
      last = e;
    }
    await sleep(50);
  }
  throw last ?? new Error(`it did not come about in time: ${String(what).replace(/\s+/g, ' ').slice(0, 300)}`);
}

// {status, body} of one HTTPS request; options as https.request takes them. JSON bodies are parsed.
export function send(options, body) {
  return new Promise((resolve, reject) => {
    const req = https.request({ timeout: 60000, ...options }, (res) => {
      let text = '';
      res.setEncoding('utf8');
      res.on('data', (b) => { text += b; });
      res.on('error', reject);
      res.on('end', () => {
        let parsed = text;
        try { parsed = JSON.parse(text); } catch { /* as it is */ }
        resolve({ status: res.statusCode, body: parsed, headers: res.headers });
      });
    });
    req.on('error', reject);
    req.on('timeout', () => req.destroy(new Error('no answer')));
    req.end(body === undefined ? undefined : JSON.stringify(body));
  });
}
