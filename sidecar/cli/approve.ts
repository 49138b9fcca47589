/** `agnt2 approve`: what waits for a person at the running sidecar, and the person's word. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { CONFIG, type Command, EXIT, Failure, type Invocation, UsageError } from './command.ts';
import { columns } from './output.ts';
import { Admin, readSetup } from './setup.ts';

export const approve: Command = {
  usage: 'list | grant ID | deny ID | prices | accept SERVICE',
  about: [
    "A call dearer than 'policy.approveAbove' waits for grant; a service dearer by more than 'policy.priceRise' percent is not called until its prices are accepted. Only who can read the state directory may decide.",
  ],
  words: ['list', 'grant', 'deny', 'prices', 'accept'],
  options: { config: CONFIG },
  run,
};

const PATHS: Readonly<Record<string, (which: string) => string>> = {
  grant: (id) => `/admin/approvals/${id}/grant`,
  deny: (id) => `/admin/approvals/${id}/deny`,
  accept: (service) => `/admin/prices/${service}/accept`,
};

type Waiting = Readonly<Record<string, unknown>>;

const lineOf = (waiting: Waiting): string =>
  Object.entries(waiting)
    .map(([key, value]) => `${key}=${String(value)}`)
    .join(' ');

async function run(invocation: Invocation): Promise<number> {
  const { out, args } = invocation;
  const [what = 'list', which, ...more] = args;
  const path = PATHS[what];
  const isList = what === 'list' || what === 'prices';
  const isWhole = isList ? which === undefined : path !== undefined && which !== undefined && more.length === 0;
  if (!isWhole) throw new UsageError('approve list | grant ID | deny ID | prices | accept SERVICE');
  const { config } = readSetup(invocation);
  const admin = new Admin(config);
  if (isList) {
    const page = what === 'list' ? 'approvals' : 'prices';
    const answer = await admin.ask<Record<string, Waiting[]>>(`/admin/${page}`);
    const [waiting = []] = Object.values(answer);
    const lines = columns(
      waiting.map((one) => [String(Object.values(one)[0]), lineOf(one)]),
      '',
    );
    out.result({ ok: true, ...answer }, lines.length === 0 ? ['nothing waits'] : lines);
    return EXIT.done;
  }
  if (!/^[\da-f:]+$/.test(which)) throw new UsageError(`${JSON.stringify(which)} is no id`);
  let token: string;
  try {
    token = readFileSync(join(config.stateDir, 'admin-token'), 'utf8').trim();
  } catch {
    throw new Failure(
      'not_operator',
      `the admin-token in ${config.stateDir} can't be read`,
      'run this as the user the sidecar runs as',
    );
  }
  await admin.ask(path(which), 'POST', { authorization: `Bearer ${token}` });
  out.result({ ok: true }, [`${what === 'deny' ? 'denied' : what === 'grant' ? 'granted' : 'accepted'}: ${which}`]);
  return EXIT.done;
}
