/** The one Worker script: the gateway's fetch, the settlement's scheduled, and every Durable Object class. */
import keccakModule from '../protocol/keccak/keccak.wasm';
import { installKeccak } from '../protocol/hash.ts';
import { createGateway } from './gateway/app.ts';
import type { Env } from './gateway/env.ts';
import { type SettlementEnv, type TowerEnv, scheduled } from './settlement/index.ts';

export { Agent } from '../durable/agent.ts';
export { Directory } from '../durable/directory.ts';
export { Session } from '../durable/session.ts';
export { Shard } from '../durable/shard.ts';
export { Verifier } from '../durable/verifier.ts';
export { Watchtower } from '../durable/watchtower.ts';

installKeccak(keccakModule);

const gateway = createGateway();

export default {
  fetch: (request, env, ctx) => gateway.fetch(request, env, ctx),
  scheduled,
} satisfies ExportedHandler<Env & SettlementEnv & TowerEnv>;
