/** `agnt2 status`: the agent and its sidecar at a glance. */
import { formatId } from '../../protocol/ids.ts';
import { Core } from '../core.ts';
import type { EvidenceState } from '../evidence.ts';
import { CONFIG, type Command, EXIT, type Invocation, UsageError } from './command.ts';
import { columns, describe } from './output.ts';
import { Admin, readSetup, urlOf } from './setup.ts';

export const status: Command = {
  options: { config: CONFIG },
  exits: { 3: 'the sidecar does not run, or is not ready' },
  run,
};

/** A session as the sidecar's operator sees it. */
export interface SessionLine {
  readonly session: string;
  readonly peer: string;
  readonly role: string;
  readonly state: string;
  readonly pays: number;
  readonly earns: number;
}

/** A peer that signed two halves that contradict each other, and what became of it. */
interface ContradictionLine {
  readonly session: string;
  readonly peer: string;
  readonly state: EvidenceState;
  readonly code: string | null;
}

async function run(invocation: Invocation): Promise<number> {
  const { out, args } = invocation;
  if (args.length > 0) throw new UsageError(`status takes no ${args[0]}`);
  const { config, file } = readSetup(invocation);
  const admin = new Admin(config);
  const sidecar = await admin.status();
  const sessions = sidecar === null ? [] : (await admin.ask<{ sessions: SessionLine[] }>('/admin/sessions')).sessions;
  const gateway = await new Core(config.gateway).agent(config.agent).catch((error: unknown) => describe(error));
  const isReady = sidecar?.ready === true;
  const spent = sidecar?.spent as { hour: string; day: string } | undefined;
  const contradictions = (sidecar?.contradictions ?? []) as ContradictionLine[];
  const balance = 'balance' in gateway ? String(gateway.balance) : null;
  const state = sidecar === null ? 'not running' : isReady ? 'ready' : 'not ready';
  out.result(
    {
      ok: isReady,
      config: file,
      agent: formatId(config.agent),
      name: config.name ?? null,
      gateway: config.gateway,
      balance,
      ...('balance' in gateway ? { owner: gateway.owner } : { gatewayError: gateway.code }),
      sidecar:
        sidecar === null ? null : { ...sidecar, listen: urlOf(config.listen), admin: urlOf(config.admin), sessions },
    },
    columns(
      [
        ['agent', `${formatId(config.agent)}${config.name === undefined ? '' : ` (${config.name})`}`],
        [
          'sidecar',
          `${out.paint(isReady ? 'green' : 'yellow', state)}${sidecar === null ? '' : `, ${urlOf(config.listen)}`}`,
        ],
        ['gateway', config.gateway],
        ['balance', balance ?? `unknown: ${describe(gateway).detail}`],
        ['budget', `${config.policy.perCall} a call, ${config.policy.perHour} an hour, ${config.policy.perDay} a day`],
        ...(spent === undefined
          ? []
          : [['spent', `${spent.hour} this hour, ${spent.day} this day`] as [string, string]]),
        ...sessions.map(({ session, peer, state: is, pays, earns }): [string, string] => [
          `session ${session}`,
          `with ${peer}, ${is}, paid ${pays}, earned ${earns}`,
        ]),
        ...contradictions.map(({ session, peer, state: is, code }): [string, string] => [
          `cheat ${peer}`,
          `contradicted itself in session ${session}: ${out.paint('red', code ?? (is === 'owed' ? 'to be slashed' : is))}`,
        ]),
      ],
      '',
    ),
  );
  return isReady ? EXIT.done : 3;
}
