/** `agnt2 deploy`: an edge agent onto Cloudflare, by wrangler; `agnt2 deploy contracts`: the contracts onto any EVM chain. */
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { loadSecretText, readConfig } from '../config.ts';
import { type Command, EXIT, Failure, type Invocation, UsageError, parse } from './command.ts';
import { commandHelp } from './help.ts';
import { Output } from './output.ts';
import { runScript } from './scripts.ts';

const SUMMARY = 'Puts an edge agent on Cloudflare, or the contracts on any EVM chain';

const edge: Command = {
  usage: '[DIR] | contracts …',
  about: [
    "DIR (default: .) holds a Worker that is an agent (examples/edge): its wrangler config, and an agnt2.json as agnt2 init writes it. The machine key goes up as the secret AGNT2_MACHINE_KEY, from the config's keyFile, by a file that only you can read and that is gone afterwards.",
    "With --dry-run everything is checked and bundled, and nothing is sent: no login, no network. 'agnt2 deploy contracts --help' is about the contracts.",
  ],
  words: ['contracts'],
  options: {
    'dry-run': { type: 'boolean', help: 'checks and bundles, sends nothing' },
    env: { type: 'string', short: 'e', value: 'NAME', help: "an environment of wrangler's config" },
  },
  examples: ['agnt2 deploy examples/edge --dry-run'],
  run: deployEdge,
};

export const deploy: Command = {
  raw: true,
  words: ['contracts'],
  run: async (invocation) => {
    const { args, env } = invocation;
    const [what, ...more] = args;
    if (what === 'contracts') return runScript('deploy.ts', more);
    if (args.includes('--help') || args.includes('-h')) {
      const out = new Output(false, env);
      out.result({}, commandHelp({ name: 'deploy', summary: SUMMARY, load: async () => edge }, edge, out));
      return EXIT.done;
    }
    return edge.run(parse(edge, args, env, (isJson) => new Output(isJson, env)));
  },
};

/** As much of wrangler's own reading of its config as is looked at. */
interface WorkerConfig {
  readonly name?: string;
  readonly compatibility_flags: readonly string[];
  readonly durable_objects: { readonly bindings: readonly { readonly class_name: string }[] };
  readonly vars: Readonly<Record<string, unknown>>;
}

const CONFIGS = ['wrangler.jsonc', 'wrangler.json', 'wrangler.toml'];

/** What would make a deployed agent useless, or its key public. */
function check(file: string, config: WorkerConfig): void {
  const fault = (code: string, detail: string, mend: string): never => {
    throw new Failure(code, `${file}: ${detail}`, mend);
  };
  if (!config.compatibility_flags.includes('nodejs_compat'))
    fault('no_nodejs_compat', 'the runtime needs nodejs_compat', 'compatibility_flags = ["nodejs_compat"]');
  if (config.durable_objects.bindings.length === 0)
    fault(
      'no_runtime',
      'no Durable Object is bound: an agent lives in one',
      'bind your AgentRuntime as examples/edge/wrangler.toml does',
    );
  if ('AGNT2_MACHINE_KEY' in config.vars)
    fault(
      'key_exposed',
      'AGNT2_MACHINE_KEY is a var, which everybody with the dashboard reads',
      'take it out of vars, and have the owner rotate the key',
    );
}

async function deployEdge({ args, flag, text, out, env }: Invocation): Promise<number> {
  if (args.length > 1) throw new UsageError(`deploy takes no ${args[1]}`);
  const dir = resolve(args[0] ?? '.');
  const found = CONFIGS.map((name) => join(dir, name)).find((path) => existsSync(path));
  if (found === undefined)
    throw new Failure('no_worker', `there is no wrangler config in ${dir}`, 'start from examples/edge');
  const settings = join(dir, 'agnt2.json');
  if (!existsSync(settings)) throw new Failure('no_config', `there is no ${settings}`, `cd ${dir} && agnt2 init`);
  const require = createRequire(import.meta.url);
  let wrangler: string;
  try {
    wrangler = join(dirname(require.resolve('wrangler/package.json')), 'bin', 'wrangler.js');
  } catch {
    throw new Failure('no_wrangler', 'wrangler is not installed', 'npm install -D wrangler');
  }

  let agent: ReturnType<typeof readConfig>;
  try {
    const raw = JSON.parse(readFileSync(settings, 'utf8')) as { services?: unknown[] };
    agent = readConfig({ ...raw, ...((raw.services ?? []).length > 0 && { app: 'http://app.agnt2' }) });
  } catch (error) {
    throw new Failure('bad_config', `${settings}: ${(error as Error).message}`);
  }
  const name = text('env');
  const { unstable_readConfig: read } = (await import('wrangler')) as unknown as {
    unstable_readConfig: (args: { config: string; env?: string }, options: { hideWarnings: boolean }) => WorkerConfig;
  };
  const worker = read({ config: found, ...(name !== undefined && { env: name }) }, { hideWarnings: true });
  check(found, worker);
  const isDry = flag('dry-run');
  const scratch = mkdtempSync(join(tmpdir(), 'agnt2-deploy-'));
  try {
    const more = name === undefined ? [] : ['--env', name];
    if (isDry) more.push('--dry-run', `--outdir=${join(scratch, 'out')}`);
    else {
      if (agent.keyFile === undefined)
        throw new Failure(
          'no_key',
          "the config has no 'keyFile'",
          `wrangler secret put AGNT2_MACHINE_KEY, in ${dir}, then wrangler deploy`,
        );

      const secret = loadSecretText({ keyFile: resolve(dir, agent.keyFile) }, env).trim();
      const secrets = join(scratch, 'secrets.json');
      writeFileSync(secrets, JSON.stringify({ AGNT2_MACHINE_KEY: secret }), { mode: 0o600 });
      more.push('--secrets-file', secrets);
    }
    const child = spawn(process.execPath, [wrangler, 'deploy', '--config', found, ...more], {
      cwd: dir,
      env: isDry ? { ...env, CLOUDFLARE_CF_FETCH_ENABLED: 'false', WRANGLER_SEND_METRICS: 'false' } : env,
      stdio: ['inherit', out.isJson ? 2 : 'inherit', 'inherit'],
    });
    const code = await new Promise<number>((done) => child.on('exit', (status) => done(status ?? 1)));
    if (code !== 0) throw new Failure('wrangler_failed', `wrangler ended with ${code}`, 'mend what it says above');
    out.result({ ok: true, worker: worker.name ?? null, dryRun: isDry }, [
      isDry ? 'It would go as it is.' : 'Deployed. Its first request, or its cron, wakes the agent.',
    ]);
    return EXIT.done;
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}
