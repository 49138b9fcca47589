/** Sells the SHA-256 of whatever it is sent, to whoever opens a session with it. Ctrl-C ends it: what it earned is paid out. */
import { createHash } from 'node:crypto';
import { setTimeout } from 'node:timers/promises';
import { type Conduct, Party, answer, formatId, readKey, refusal } from 'agnt2/session';

const [keyFile = 'payee.key', gateway = 'http://127.0.0.1:8787'] = process.argv.slice(2);
const PRICE = 2;

const shop: Conduct = {
  quote: ({ target }) => {
    if (target !== '/sha256') throw refusal('unknown_service', 'this agent sells /sha256');
    return PRICE;
  },
  // The body is read as it comes; nobody holds all of it.
  handler: async ({ body }) => {
    const hash = createHash('sha256');
    for await (const chunk of body) hash.update(chunk);
    return answer(200, hash.digest());
  },
};

const key = await readKey(keyFile);
// What a payer may owe without having signed for it is all that this program risks; calls in flight count.
const credit = 5000;
const party = await Party.start({ gateway, key, stateDir: `${keyFile}.state`, credit, onError: console.error });
const ending = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => ending.abort());
console.log(`agent ${formatId(party.agent)} sells a hash for ${PRICE} base units`);

while (!ending.signal.aborted) {
  try {
    for (const { id, a, exitDelay } of await party.unattended()) {
      // In less, a payer could be gone before we brought on chain what it signed.
      if (exitDelay < 600) continue;
      await party.join(id, shop);
      console.log(`joined session ${formatId(id)} of agent ${formatId(a)}`);
    }
  } catch (error) {
    // The gateway may be away, or the payer has closed again: nobody stops this shop but its owner.
    console.error(error);
  }
  await setTimeout(250, null, { signal: ending.signal }).catch(() => {});
}
await party.stop();
