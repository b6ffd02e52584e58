// What the suites share: results as lines, waiting, requests without a client library in between.
import https from 'node:https';

export const tap = { prefix: '', failed: 0 };

// "ok - NAME" or "not ok - NAME" with the reason.
export async function test(name, fn, ms = 90000) {
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
export async function until(what, ms = 30000) {
  for (const end = Date.now() + ms; Date.now() < end;) {
    if (await what()) return;
    await sleep(50);
  }
  throw new Error(`it did not come about within ${ms} ms: ${String(what).replace(/\s+/g, ' ').slice(0, 300)}`);
}

// {status, body} of one HTTPS request; options as https.request takes them. JSON bodies are parsed.
export function send(options, body) {
  return new Promise((resolve, reject) => {
    const req = https.request({ timeout: 10000, ...options }, (res) => {
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
