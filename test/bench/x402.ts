/** Runs the comparison with the official x402 packages (`x402/`) in processes of its own; installs them on the first run. */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const FOLDER = fileURLToPath(new URL('x402/', import.meta.url));

export interface X402Rates {
  /** Calls a second. */
  readonly exact: number;
  readonly batch: number;
  /** Payers side by side. */
  readonly inFlight: number;
}

/** What stands beside the figure. */
export const x402Note = ({ inFlight }: X402Rates): string =>
  'calls a second of one pair against the faster of the two schemes of @x402 2.27 in the same run: client, service and facilitator in a process each, ' +
  `${inFlight} payers side by side, prices known beforehand, a chain that mines at once, claims of vouchers left out`;

/** Both schemes on the chain at `rpc`; in words why not, where the packages can't be had. */
export async function x402Rates(rpc: string, progress: (line: string) => void): Promise<X402Rates | string> {
  if (!existsSync(`${FOLDER}node_modules`)) {
    progress('installing the x402 packages');
    const { status, stderr } = spawnSync('npm', ['ci', '--no-audit', '--no-fund'], { cwd: FOLDER, encoding: 'utf8' });
    if (status !== 0) return `the x402 packages could not be installed: ${stderr.trim().split('\n').at(-1) ?? ''}`;
  }
  const child = spawn(process.execPath, ['index.ts', rpc], { cwd: FOLDER, stdio: ['ignore', 'pipe', 'inherit'] });
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text));
  const code = await new Promise((resolve) => child.on('close', resolve));
  return code === 0 ? (JSON.parse(output) as X402Rates) : `the x402 bench ended with ${String(code)}`;
}
