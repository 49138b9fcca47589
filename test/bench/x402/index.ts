/**
 * The same service paid by the official x402 packages, in the same run, in processes of their own (`x402.ts` starts this one): 256-byte requests and responses, schemes `exact` (a transfer on chain a call) and
 * `batch-settlement` (a voucher a call, one call at a time in a channel, so many channels side by side). In their favour: connections kept alive, no first
 * round trip for the price, a chain that mines at once, in-memory stores, and no claim of vouchers counted.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { x402Client, x402HTTPClient } from '@x402/core/client';
import type { PaymentRequired } from '@x402/core/types';
import { BatchSettlementEvmScheme } from '@x402/evm/batch-settlement/client';
import { ExactEvmScheme } from '@x402/evm/exact/client';
import { generatePrivateKey, privateKeyToAccount } from 'viem/accounts';
import { type X402Chain, x402Chain } from './chain.ts';
import type { FacilitatorOptions } from './facilitator.ts';
import type { ServiceOptions } from './service.ts';

const PRICE = '1';
/** Calls in flight, each of a payer and a channel of its own: more made neither scheme faster. */
const IN_FLIGHT = 32;
const UNITS = 1_000_000_000n;
const ROUNDS = 3;
/** Calls a round: seconds of either. */
const EXACT_CALLS = 128;
const BATCH_CALLS = 640;

const BODY_BYTES = 256;
const body = new Uint8Array(BODY_BYTES).fill(113);

/** One payer: a client of the packages that signs, pays and keeps its channel. */
class Payer {
  readonly #http: x402HTTPClient;
  readonly #url: string;
  #required: PaymentRequired | null = null;

  constructor(url: string, chain: X402Chain, key: `0x${string}`) {
    const account = privateKeyToAccount(key);
    const network = `eip155:${chain.chainId}` as const;
    const client = new x402Client()
      .setSpendControls(false)
      .register(network, new ExactEvmScheme(account as never))
      .register(network, new BatchSettlementEvmScheme(account as never, { depositStrategy: () => String(UNITS / 2n) }));
    this.#http = new x402HTTPClient(client);
    this.#url = url;
  }

  /** One paid call; what it costs is asked once. Throws unless it was served and paid. */
  async call(): Promise<void> {
    this.#required ??= await this.#ask();
    const payload = await this.#http.createPaymentPayload(this.#required);
    const headers = this.#http.encodePaymentSignatureHeader(payload);
    const response = await fetch(this.#url, { method: 'POST', body, headers });
    const { byteLength } = await response.arrayBuffer();
    await this.#http.processPaymentResult(payload, (name) => response.headers.get(name), response.status);
    if (response.status !== 200 || byteLength !== BODY_BYTES)
      throw new Error(`${this.#url} answered ${response.status}: ${response.headers.get('payment-required') ?? ''}`);
  }

  async #ask(): Promise<PaymentRequired> {
    const response = await fetch(this.#url, { method: 'POST', body });
    const text = await response.text();
    return this.#http.getPaymentRequiredResponse(
      (name) => response.headers.get(name),
      text === '' ? undefined : JSON.parse(text),
    );
  }
}

async function start(file: string, options: object): Promise<{ child: ChildProcess; url: string }> {
  const child = fork(new URL(file, import.meta.url), [JSON.stringify(options)], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  const failed = once(child, 'exit').then(([code]) => {
    throw new Error(`${file} ended with ${String(code)}`);
  });
  failed.catch(() => {});
  const [{ port }] = (await Promise.race([once(child, 'message'), failed])) as [{ port: number }];
  return { child, url: `http://127.0.0.1:${port}` };
}

/** Calls a second of all payers together. */
async function rate(payers: readonly Payer[], calls: number): Promise<number> {
  let left = calls;
  const began = performance.now();
  await Promise.all(
    payers.map(async (payer) => {
      while (left-- > 0) await payer.call();
    }),
  );
  return calls / ((performance.now() - began) / 1000);
}

const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[values.length >> 1];

/** Calls a second by both schemes, on the chain at `rpc`. */
async function rates(rpc: string, progress: (line: string) => void): Promise<{ exact: number; batch: number }> {
  const chain = await x402Chain(rpc, IN_FLIGHT, UNITS);
  const network = `eip155:${chain.chainId}` as const;
  const facilitator = await start('facilitator.ts', { rpc, key: chain.facilitatorKey } satisfies FacilitatorOptions);
  const key = generatePrivateKey();
  const options: ServiceOptions = {
    facilitator: facilitator.url,
    network,
    token: chain.token,
    key,
    amount: PRICE,
    bytes: BODY_BYTES,
  };
  const service = await start('service.ts', options);
  try {
    const measure = async (scheme: 'exact' | 'batch-settlement', warm: number, calls: number): Promise<number> => {
      const payers = chain.payerKeys.map((payerKey) => new Payer(`${service.url}/${scheme}`, chain, payerKey));
      await rate(payers, warm);
      const each: number[] = [];
      for (let round = 0; round < ROUNDS; round++) {
        each.push(await rate(payers, calls));
        progress(`x402 ${scheme}, round ${round + 1}: ${Math.round(each.at(-1)!)} calls/s`);
      }
      return median(each);
    };
    const before = await chain.balanceOf(privateKeyToAccount(key).address);
    const exact = await measure('exact', IN_FLIGHT, EXACT_CALLS);
    const earned = (await chain.balanceOf(privateKeyToAccount(key).address)) - before;
    if (earned !== BigInt(IN_FLIGHT + ROUNDS * EXACT_CALLS))
      throw new Error(`x402 exact paid ${earned} units on chain`);
    const batch = await measure('batch-settlement', 4 * IN_FLIGHT, BATCH_CALLS);
    return { exact, batch };
  } finally {
    service.child.kill();
    facilitator.child.kill();
  }
}

const [rpc] = process.argv.slice(2);
const { exact, batch } = await rates(rpc, (line) => console.error(line));
console.log(JSON.stringify({ exact, batch, inFlight: IN_FLIGHT }));
process.exit(0);
