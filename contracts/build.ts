/**
 * Compiles the contracts and writes `abi.ts`, which Workers, sidecar and local stack import: nobody but the contracts'
 * own tests needs forge. The output depends on the sources alone.
 *
 *     node contracts/build.ts            writes abi.ts
 *     node contracts/build.ts --check    fails if abi.ts is not what the sources give
 */
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** What of forge's artifact is used. */
interface Artifact {
  abi: { type: string; name?: string }[];
  bytecode: { object: `0x${string}`; linkReferences: Record<string, unknown> };
}

const CONTRACTS = {
  root: 'Root',
  game: 'Game',
  step: 'Step',
  faults: 'Faults',
  exits: 'Exits',
  testToken: 'TestToken',
  calls: 'Calls',
  availability: 'Availability',
  committee: 'Committee',
};

const file = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const run = (tool: string, args: string[], input?: string) =>
  execFileSync(process.execPath, [file(`../node_modules/.bin/${tool}`), ...args], {
    cwd: file('.'),
    input,
    encoding: 'utf8',
    maxBuffer: 2 ** 26,
  });

const check = process.argv.includes('--check');
const output = generate();
if (!check) {
  writeFileSync(file('abi.ts'), output);
} else if (readFileSync(file('abi.ts'), 'utf8') !== output) {
  console.error('contracts/abi.ts is stale: run `node contracts/build.ts`');
  process.exitCode = 1;
}

/** Solidity's names of types say nothing to viem. */
function withoutInternalTypes(key: string, value: unknown): unknown {
  return key === 'internalType' ? undefined : value;
}

function generate(): string {
  run('forge', ['build', '--skip', 'test', '--quiet']);
  const parts = ['// Written by build.ts: do not edit.\n'];
  for (const [name, contract] of Object.entries(CONTRACTS)) {
    const { abi, bytecode } = JSON.parse(
      readFileSync(file(`out/${contract}.sol/${contract}.json`), 'utf8'),
    ) as Artifact;
    if (Object.keys(bytecode.linkReferences).length > 0) throw new Error(`${contract} has libraries to link`);
    parts.push(`export const ${name}Abi = ${JSON.stringify(abi, withoutInternalTypes)} as const;\n`);
    parts.push(`export const ${name}Bytecode = '${bytecode.object}';\n`);
  }
  return run('oxfmt', ['--stdin-filepath', 'contracts/abi.ts'], parts.join('\n'));
}
