/** The x402 packages' own facilitator classes over HTTP, in a process of its own. Told what to do by JSON in `argv[2]`; says its port. */
import { serve } from '@hono/node-server';
import { x402Facilitator } from '@x402/core/facilitator';
import type { PaymentPayload, PaymentRequirements } from '@x402/core/types';
import { toFacilitatorEvmSigner } from '@x402/evm';
import { BatchSettlementEvmScheme } from '@x402/evm/batch-settlement/facilitator';
import { ExactEvmScheme } from '@x402/evm/exact/facilitator';
import { Hono } from 'hono';
import { type Hex, createWalletClient, http, nonceManager, publicActions } from 'viem';
import { privateKeyToAccount } from 'viem/accounts';
import { foundry } from 'viem/chains';

export interface FacilitatorOptions {
  readonly rpc: string;
  readonly key: Hex;
}

const { rpc, key } = JSON.parse(process.argv[2]) as FacilitatorOptions;
// Nonces counted here, reads batched, receipts looked for at once: the chain mines every transaction as it comes.
const account = privateKeyToAccount(key, { nonceManager });
const client = createWalletClient({
  account,
  chain: foundry,
  transport: http(rpc, { batch: true }),
  pollingInterval: 25,
}).extend(publicActions);
const signer = toFacilitatorEvmSigner({ ...client, address: account.address } as never);
const facilitator = new x402Facilitator();
facilitator.register(`eip155:${foundry.id}`, new ExactEvmScheme(signer));
facilitator.register(`eip155:${foundry.id}`, new BatchSettlementEvmScheme(signer, account as never));

interface Body {
  readonly paymentPayload: PaymentPayload;
  readonly paymentRequirements: PaymentRequirements;
}
const app = new Hono();
app.get('/supported', (c) => c.json(facilitator.getSupported()));
app.post('/verify', async (c) => {
  const { paymentPayload, paymentRequirements } = await c.req.json<Body>();
  return c.json(await facilitator.verify(paymentPayload, paymentRequirements));
});
app.post('/settle', async (c) => {
  const { paymentPayload, paymentRequirements } = await c.req.json<Body>();
  return c.json(await facilitator.settle(paymentPayload, paymentRequirements));
});
serve({ fetch: app.fetch, port: 0, hostname: '127.0.0.1' }, ({ port }) => process.send!({ port }));
