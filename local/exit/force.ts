/** What an owner forces at L1 while the deployment lives: the sequencer must take it in, or post no batch any more (docs/protocol.md §6). */
import { readFileSync } from 'node:fs';
import type { Abi } from 'viem';
import { rootAbi } from '../../contracts/abi.ts';
import { type Hex, Writer, hex, unhex } from '../../protocol/bytes.ts';
import { parseId } from '../../protocol/ids.ts';
import { type Interaction, encodeInteraction } from '../../protocol/ops/index.ts';
import { readHalves } from './halves.ts';
import type { Call } from './places.ts';
import { ExitError } from './state.ts';

/** What may be forced, and how it is written. */
export const FORCED: Readonly<Record<string, string>> = {
  withdraw: 'AMOUNT',
  settle: 'FILE             a half, as for `leave`',
  exit: 'SESSION',
  finalize: 'SESSION',
  close: 'FILE             {session, paidAB, paidBA, callsAB, callsBA, rootAB, rootBA, signature}',
  transfer: 'AGENT AMOUNT',
  respond: 'ESCROW PRICE [fulfilled | failed | declined]',
  expire: 'ESCROW',
  contest: 'ESCROW',
  abort: 'WORKFLOW',
  tell: 'WORKFLOW LEG',
  revoke: 'CAPABILITY',
  unstake: '',
};

function amountOf(text: string | undefined): number {
  const amount = Number(text);
  if (!text || !Number.isSafeInteger(amount) || amount < 0) throw new ExitError(`${text ?? 'nothing'} is no amount`);
  return amount;
}

function idOf(text: string | undefined): number {
  try {
    return parseId(text ?? '');
  } catch {
    throw new ExitError(`${text ?? 'nothing'} is no id: they look like 0:7`);
  }
}

function closeIn(file: string | undefined): Extract<Interaction, { op: 'close' }> {
  try {
    const json = JSON.parse(readFileSync(file ?? '', 'utf8')) as Readonly<Record<string, string>>;
    const [paidAB, paidBA, callsAB, callsBA] = ['paidAB', 'paidBA', 'callsAB', 'callsBA'].map((name) =>
      amountOf(String(json[name])),
    );
    const [rootAB, rootBA] = ['rootAB', 'rootBA'].map((name) => unhex(json[name] as Hex, 32));
    const close = { session: idOf(json.session), paidAB, paidBA, callsAB, callsBA, rootAB, rootBA };
    return { op: 'close', close, signature: unhex(json.signature as Hex, 64) };
  } catch (error) {
    throw new ExitError(`${file ?? 'nothing'} is no signed close: ${(error as Error).message}`);
  }
}

function interactionOf(what: string, words: readonly (string | undefined)[]): Interaction {
  const [first, second, third] = words;
  switch (what) {
    case 'settle': {
      const halves = readHalves(first ?? '');
      if (halves.length !== 1)
        throw new ExitError(`${first} holds ${halves.length} halves: one can be settled at a time`);
      return { op: 'settle', ...halves[0] };
    }
    case 'exit':
    case 'finalize':
      return { op: what, session: idOf(first) };
    case 'close':
      return closeIn(first);
    case 'transfer':
      return { op: what, to: idOf(first), amount: amountOf(second) };
    case 'respond': {
      const result = third ?? 'fulfilled';
      if (result !== 'fulfilled' && result !== 'failed' && result !== 'declined')
        throw new ExitError(`${result} is no result: fulfilled, failed or declined`);
      return { op: what, escrow: idOf(first), price: amountOf(second), result };
    }
    case 'expire':
    case 'contest':
      return { op: what, escrow: idOf(first) };
    case 'abort':
      return { op: what, workflow: idOf(first) };
    case 'tell':
      return { op: what, workflow: idOf(first), leg: amountOf(second) };
    case 'revoke':
      return { op: what, capability: idOf(first) };
    case 'unstake':
      return { op: what };
    default:
      throw new ExitError(`${what} can't be forced; these can: ${Object.keys(FORCED).join(', ')}`);
  }
}

/** The call of Root that forces it. Throws {@link ExitError} for what is no such thing. */
export function forcing(root: Hex, agent: string, what: string, words: readonly (string | undefined)[]): Call {
  const at = { address: root, abi: rootAbi as Abi } as const;
  const id = idOf(agent);
  if (what === 'withdraw') return { ...at, functionName: 'forceWithdraw', args: [id, BigInt(amountOf(words[0]))] };
  const writer = new Writer();
  encodeInteraction(writer, interactionOf(what, words));
  return { ...at, functionName: 'force', args: [id, hex(writer.finish())] };
}
