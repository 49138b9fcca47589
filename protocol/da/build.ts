/**
 * Writes `kernel.wasm`, which Workers import: they may not make a module from bytes. Everything else calls `kernelModule`.
 *
 *     node protocol/da/build.ts            writes kernel.wasm
 *     node protocol/da/build.ts --check    fails if kernel.wasm is not what module.ts gives
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { kernelModule } from './module.ts';

const file = new URL('kernel.wasm', import.meta.url);
if (!process.argv.includes('--check')) {
  writeFileSync(file, kernelModule());
} else if (!readFileSync(file).equals(kernelModule())) {
  console.error('protocol/da/kernel.wasm is stale: run `node protocol/da/build.ts`');
  process.exitCode = 1;
}
