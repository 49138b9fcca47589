/** A committee member as a Worker of its own: whoever is one deploys it by the config beside it, with its own key. */
import keccakModule from '../../protocol/keccak/keccak.wasm';
import type { MemberObjectEnv } from '../../durable/member.ts';
import { memberStore } from '../../durable/member/api.ts';
import type { Namespace } from '../../durable/shard/api.ts';
import type { Hex } from '../../protocol/bytes.ts';
import { installKeccak } from '../../protocol/hash.ts';
import { log } from '../settlement/log.ts';
import { CommitteeChain } from './chain.ts';
import { answerDemands } from './answers.ts';
import { type MemberVars, readMember } from './env.ts';
import { MemberApp } from './member.ts';

export { Member } from '../../durable/member.ts';

installKeccak(keccakModule);

type Env = MemberVars & MemberObjectEnv & { readonly MEMBER: Namespace };

interface Running {
  readonly app: MemberApp;
  readonly chain: CommitteeChain;
}

/** Made once an isolate. */
let running: (Running & { readonly of: string }) | undefined;

function memberOf(env: Env): Running {
  const { secret, rpc, root } = readMember(env);
  const of = [env.MEMBER_KEY, rpc, root].join();
  if (running?.of === of) return running;
  // Requests that ask at the same time do not share an answer: one may end before the other.
  const chain = new CommitteeChain(rpc, root, { batch: false });
  running = { of, chain, app: new MemberApp({ secret, chain, store: memberStore(env.MEMBER) }) };
  return running;
}

export default {
  fetch: (request, env) => memberOf(env).app.fetch(request),
  async scheduled(_controller, env) {
    const { app, chain } = memberOf(env);
    const answered = await answerDemands(chain, env.MEMBER_KEY as Hex, memberStore(env.MEMBER), log);
    for (let i = 0; i < answered; i++) app.metrics.answered();
  },
} satisfies ExportedHandler<Env>;
