/** `npm run check`: the one gate. Types, lint, format, generated files, contracts' format, and a dry-run deploy. */
import { spawnSync } from 'node:child_process';

const GATES: readonly [name: string, command: string, args: readonly string[]][] = [
  ['types: workers', 'tsc', ['-p', 'tsconfig.json']],
  ['types: node', 'tsc', ['-p', 'tsconfig.node.json']],
  ['types: edge agents', 'tsc', ['-p', 'tsconfig.edge.json']],
  ['types: workers tests', 'tsc', ['-p', 'tsconfig.test.json']],
  ['lint', 'oxlint', ['--deny-warnings']],
  ['format', 'oxfmt', ['--check']],
  ['keccak module', 'node', ['protocol/keccak/build.ts', '--check']],
  ['columns module', 'node', ['protocol/da/build.ts', '--check']],
  ['vectors', 'node', ['test/vectors/generate.ts', '--check']],
  ['contract ABI', 'node', ['contracts/build.ts', '--check']],
  ['contract format', 'forge', ['fmt', '--check', '--root', 'contracts']],
  ['imports', 'node', ['test/imports.ts']],
  ['deploy', 'wrangler', ['deploy', '--dry-run', '--outdir', '.agnt2/dist']],
  [
    'deploy a member',
    'wrangler',
    ['deploy', '--dry-run', '--config', 'workers/committee/wrangler.toml', '--outdir', '.agnt2/dist-member'],
  ],
];

const env = { ...process.env, CI: '1', WRANGLER_SEND_METRICS: 'false', CLOUDFLARE_CF_FETCH_ENABLED: 'false' };
let failed = 0;
for (const [name, command, args] of GATES) {
  const start = performance.now();
  const { status, stdout, stderr } = spawnSync(command, args, { encoding: 'utf8', env });
  const seconds = ((performance.now() - start) / 1000).toFixed(1);
  console.log(`${status === 0 ? 'ok  ' : 'FAIL'} ${name} (${seconds} s)`);
  if (status !== 0) {
    failed += 1;
    console.log(`${stdout}${stderr}\n     run it alone: npx ${[command, ...args].join(' ')}`);
  }
}
process.exitCode = failed > 0 ? 1 : 0;
