/** `agnt2 doctor`: what is wrong with a set-up, and the command that mends it. */
import { CONFIG, type Command, EXIT, type Invocation, UsageError } from './command.ts';
import { CHECKS, type Facts, type Finding } from './checks.ts';
import { configFile } from './setup.ts';

export const doctor: Command = {
  about: [
    'Looks at Node, the config, the key, the state directory, the gateway, the clock, the agent on Core, its balance and name, the app, the ports and, with --docker, the Docker engine. Changes nothing.',
  ],
  options: {
    config: CONFIG,
    docker: { type: 'boolean', help: 'looks whether a Docker engine can be reached too' },
  },
  exits: { 1: 'something is wrong; a warning alone is not' },
  run,
};

const MARK = { ok: ['green', 'ok  '], warning: ['yellow', 'warn'], fault: ['red', 'FAIL'] } as const;

async function run(invocation: Invocation): Promise<number> {
  const { out, args, flag, env } = invocation;
  if (args.length > 0) throw new UsageError(`doctor takes no ${args[0]}`);
  const facts: Facts = { file: configFile(invocation), env, docker: flag('docker'), node: process.versions.node };
  const findings: Finding[] = [];
  for (const check of CHECKS) {
    const found = await check(facts);
    for (const finding of found) {
      findings.push(finding);
      if (out.isJson) continue;
      const { level, code, what, mend } = finding;
      const [style, mark] = MARK[level];
      out.say(`${out.paint(style, mark)} ${level === 'ok' ? what : `${code}: ${what}`}`);
      if (mend !== undefined) out.say(`     mend: ${out.paint('bold', mend)}`);
    }
  }
  const faults = findings.filter(({ level }) => level === 'fault').length;
  out.result({ ok: faults === 0, findings }, [faults === 0 ? 'all is well' : `${faults} to mend`]);
  return faults === 0 ? EXIT.done : EXIT.failed;
}
