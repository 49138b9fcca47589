/** The service of the session bench behind the x402 packages' own middleware, in a process of its own. Told what to do by JSON in `argv[2]`; says its port. */
import { serve } from '@hono/node-server';
import { HTTPFacilitatorClient } from '@x402/core/server';
import { BatchSettlementEvmScheme } from '@x402/evm/batch-settlement/server';
import { ExactEvmScheme } from '@x402/evm/exact/server';
import { paymentMiddleware, x402ResourceServer } from '@x402/hono';
import { Hono } from 'hono';
import type { Hex } from 'viem';
import { privateKeyToAccount } from 'viem/accounts';

export interface ServiceOptions {
  readonly facilitator: string;
  readonly network: `eip155:${number}`;
  readonly token: Hex;
  /** Of the account that is paid. */
  readonly key: Hex;
  /** Base units a call costs. */
  readonly amount: string;
  /** Of an answer. */
  readonly bytes: number;
}

const { facilitator, network, token, key, amount, bytes } = JSON.parse(process.argv[2]) as ServiceOptions;
const account = privateKeyToAccount(key);
const server = new x402ResourceServer(new HTTPFacilitatorClient({ url: facilitator }))
  .register(network, new ExactEvmScheme())
  // Signing claims itself, it needs the facilitator for none of its vouchers once a channel stands.
  .register(network, new BatchSettlementEvmScheme(account.address, { receiverAuthorizerSigner: account as never }));

const price = { asset: token, amount, extra: { name: 'Bench Dollar', version: '1' } };
const accepts = (scheme: string) => ({ scheme, network, payTo: account.address, price, maxTimeoutSeconds: 600 });
const app = new Hono();
app.use(
  paymentMiddleware(
    {
      'POST /exact': { accepts: accepts('exact') },
      'POST /batch-settlement': { accepts: accepts('batch-settlement') },
    },
    server,
  ),
);
const reply = new Uint8Array(bytes).fill(111);
for (const path of ['/exact', '/batch-settlement'])
  app.post(path, async (c) => {
    await c.req.arrayBuffer();
    return c.body(reply);
  });
serve({ fetch: app.fetch, port: 0, hostname: '127.0.0.1' }, ({ port }) => process.send!({ port }));
