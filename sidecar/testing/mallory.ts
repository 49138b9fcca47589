/** Test help: a party of sessions without a sidecar that minds its manners, for what only such a one does. */
import { signBundle } from '../../protocol/bundle.ts';
import { codeOf } from '../../protocol/errors.ts';
import type { Half, SignedHalf } from '../../protocol/half.ts';
import { formatId, makeId, shardOf } from '../../protocol/ids.ts';
import type { Interaction } from '../../protocol/ops/index.ts';
import { agentRoom, sessionRoom } from '../../protocol/packet.ts';
import { dial } from '../dial.ts';
import { EMPTY } from '../http/body.ts';
import { type PacketSocket, SessionEndpoint, memoryStore } from '../session/index.ts';
import type { TestAgent, TestGateway } from './gateway.ts';
import { eventually } from './pair.ts';

/** Base units in her sessions, and seconds until one may be left. */
const [DEPOSIT, EXIT_DELAY] = [1000, 60];

export interface End {
  readonly session: number;
  readonly endpoint: SessionEndpoint;
  readonly socket: PacketSocket;
}

export class Mallory {
  readonly agent: TestAgent;
  readonly #gateway: TestGateway;
  #nonce = 0;

  constructor(gateway: TestGateway, agent: TestAgent) {
    this.#gateway = gateway;
    this.agent = agent;
  }

  /** Throws where the shard takes no bundle of it; what the interactions come to is not looked at. */
  async submit(...interactions: Interaction[]): Promise<void> {
    const header = { actor: this.agent.id, nonce: this.#nonce++, expiry: 4e9 };
    const frame = await signBundle(this.agent.key, this.#gateway.signing, header, interactions);
    const result = await this.#gateway.submit(frame);
    if (!('receipt' in result)) throw new Error(`refused: ${String(result.error.code)}`);
  }

  async sign(half: Half): Promise<SignedHalf> {
    return { half, payer: await this.agent.key.sign(this.#gateway.signing.half(half)) };
  }

  dial(session: number): Promise<PacketSocket> {
    const { id: agent, key } = this.agent;
    return dial(this.#gateway.url, sessionRoom(formatId(session)), { agent, key, signing: this.#gateway.signing });
  }

  /** Opens the first session there is on the shard of a peer, whose sidecar runs, and waits until it is there. */
  async open(peer: TestAgent): Promise<End> {
    await this.submit({ op: 'open', peer: peer.id, deposit: DEPOSIT, exitDelay: EXIT_DELAY });
    const { id: a, key } = this.agent;
    const session = makeId(shardOf(peer.id), 1);
    const [keyA, keyB] = [key.publicKey, peer.key.publicKey];
    const facts = { session, a, b: peer.id, keyA, keyB, depositA: DEPOSIT, depositB: 0, exitDelay: EXIT_DELAY };
    const { signing, url } = this.#gateway;
    const endpoint = new SessionEndpoint({ facts, role: 'a', key, signing, store: memoryStore(), credit: 500 });
    const socket = await this.dial(session);
    void endpoint.attach(socket);
    const announced = await fetch(`${url}${agentRoom(formatId(peer.id)).replace('/socket', '/calls')}`, {
      method: 'POST',
      headers: { 'agnt2-method': 'POST', 'agnt2-target': '/', 'agnt2-session': formatId(session) },
    });
    if (announced.status !== 200) throw new Error(`not announced: ${await announced.text()}`);
    await announced.arrayBuffer();
    await eventually(() => endpoint.state === 'ready', 'session ready');
    return { session, endpoint, socket };
  }
}

/** Makes a call in a session: its status, or the code of what it fails with. Its record is there when it resolves with a status. */
export async function call(endpoint: SessionEndpoint, target: string, maxPrice = 10): Promise<string> {
  const request = { method: 'POST', target, headers: [], body: EMPTY, signal: AbortSignal.timeout(20_000) };
  try {
    const { response, record } = await endpoint.call(request, { maxPrice });
    for await (const _ of response.body);
    await record;
    return String(response.status);
  } catch (error) {
    return codeOf(error);
  }
}
