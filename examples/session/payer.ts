/** Buys some thousand hashes of a payee, all at once, and one of a body that it streams; then proves what it paid for. */
import { createHash } from 'node:crypto';
import { Party, formatId, parseId, readKey, request, verifyCall, whole } from 'agnt2/session';

const [payee, keyFile = 'payer.key', gateway = 'http://127.0.0.1:8787'] = process.argv.slice(2);
const CALLS = 4000;
const MAX_PRICE = 5;
const CHUNK = Buffer.alloc(64 * 1024, 'agnt2');
const CHUNKS = 128;

const key = await readKey(keyFile);
const party = await Party.start({
  gateway,
  key,
  stateDir: `${keyFile}.state`,
  deposit: 20_000,
  onError: console.error,
});
// What an earlier run that broke off had opened: its deposit comes home.
for (const { id, a } of await party.unattended()) if (a === party.agent) await party.leave(id);
const { endpoint, facts } = await party.open(parseId(payee));
console.log(`agent ${formatId(party.agent)} opened session ${formatId(facts.session)} with ${payee}`);

/** One paid call, and whether the hash is right. */
async function buy(body: Uint8Array | AsyncIterable<Uint8Array>, right: () => Buffer): Promise<void> {
  const { response, record } = await endpoint.call(request('POST', '/sha256', body), { maxPrice: MAX_PRICE });
  const hash = await whole(response.body);
  await record;
  if (response.status !== 200 || !right().equals(hash)) throw new Error(`answered ${response.status}, or a wrong hash`);
}

// The first waits until the payee has joined; then as many are on their way at once as the payee's credit lets through.
const order = (i: number): Promise<void> => {
  const text = Buffer.from(`call ${i}`);
  return buy(text, () => createHash('sha256').update(text).digest());
};
await order(0);
const began = performance.now();
await Promise.all(Array.from({ length: CALLS - 1 }, (_, i) => order(i + 1)));
const seconds = (performance.now() - began) / 1000;

const streamed = createHash('sha256');
async function* stream(): AsyncGenerator<Uint8Array> {
  for (let i = 0; i < CHUNKS; i++) {
    streamed.update(CHUNK);
    yield CHUNK;
  }
}
await buy(stream(), () => streamed.digest());

// From here no call is made any more; what is in flight ends, and both sides sign what all of it came to.
await endpoint.flush();
console.log(`${CALLS} calls, ${Math.round((CALLS - 1) / seconds)} a second; ${CHUNKS * 64} KiB streamed in one more`);
console.log(`paid ${endpoint.accrued.pays} base units with ${endpoint.counters.windowsOut} signatures`);

for (const index of [0, CALLS]) {
  const proof = endpoint.proveCall(index);
  const { receipted } = await verifyCall(proof, facts, party.signing);
  const { status, price } = proof.record;
  console.log(`call ${index}: status ${status}, price ${price}, ${receipted ? 'signed by both' : 'signed by us'}`);
}
// Both sign the end of it, and Core pays out.
await party.stop();
console.log(`session ${formatId(facts.session)} is closed`);
