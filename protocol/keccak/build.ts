/**
 * Writes `keccak.wasm`, which Workers import: they may not make a module from bytes. Everything else calls `keccakModule`.
 *
 *     node protocol/keccak/build.ts            writes keccak.wasm
 *     node protocol/keccak/build.ts --check    fails if keccak.wasm is not what module.ts gives
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { keccakModule } from './module.ts';

const file = new URL('keccak.wasm', import.meta.url);
if (!process.argv.includes('--check')) {
  writeFileSync(file, keccakModule());
} else if (!readFileSync(file).equals(keccakModule())) {
  console.error('protocol/keccak/keccak.wasm is stale: run `node protocol/keccak/build.ts`');
  process.exitCode = 1;
}
