/** `agnt2 session`: the sessions of a running sidecar. */
import { CONFIG, type Command, EXIT, type Invocation, UsageError } from './command.ts';
import { columns } from './output.ts';
import { Admin, readSetup } from './setup.ts';
import type { SessionLine } from './status.ts';

export const session: Command = {
  usage: 'list | open PEER | close ID',
  about: [
    'A session locks a deposit (session.deposit in the config) and carries any number of calls; closing it pays out what both sides signed. PEER is a name or an id like 0:7.',
  ],
  words: ['list', 'open', 'close'],
  options: { config: CONFIG },
  examples: ['agnt2 session open archive', 'agnt2 session close 0:3'],
  run,
};

async function run(invocation: Invocation): Promise<number> {
  const { out, args } = invocation;
  const [what = 'list', which, ...more] = args;
  const isWhole = what === 'list' ? which === undefined : which !== undefined && more.length === 0;
  if (!['list', 'open', 'close'].includes(what) || !isWhole)
    throw new UsageError('session list | open PEER | close ID');
  const admin = new Admin(readSetup(invocation).config);
  if (what === 'list') {
    const { sessions } = await admin.ask<{ sessions: SessionLine[] }>('/admin/sessions');
    const lines = sessions.map(({ session: id, peer, role, state, pays, earns }): [string, string] => [
      id,
      `with ${peer}, as ${role}, ${state}, paid ${pays}, earned ${earns}`,
    ]);
    out.result({ ok: true, sessions }, lines.length === 0 ? ['no sessions'] : columns(lines, ''));
    return EXIT.done;
  }
  if (!/^[a-z\d:-]+$/.test(which)) throw new UsageError(`${JSON.stringify(which)} is neither a name nor an id`);
  await admin.ask(`/admin/sessions/${which}/${what}`, 'POST');
  out.result({ ok: true }, [what === 'open' ? `a session with ${which} is open` : `session ${which} is closed`]);
  return EXIT.done;
}
