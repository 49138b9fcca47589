/** `Step` on a real EVM: anvil, on which nothing is ever mined but the contracts' deployment, and calls of many steps at once. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { concat, equal, hex, unhex, utf8, word } from '../../protocol/bytes.ts';
import { domainSeparator } from '../../protocol/eip712.ts';
import { keccak } from '../../protocol/hash.ts';
import { inRepository, newRun, packageFile } from '../../local/paths.ts';
import { freePort } from '../../local/ports.ts';
import { type Child, start, until } from '../../local/process.ts';
import { DOMAIN } from '../reference/signatures.ts';
import type { FuzzStep } from './stepper.ts';

/** Osaka has the P-256 precompile; what was before it takes the long way round. */
export type Hardfork = 'osaka' | 'prague';

export interface Bytecodes {
  readonly step: string;
  readonly manySteps: string;
}

/**
 * Compiles what the fuzz needs: into a folder that nobody else compiles into, or, in CI, where the contracts' own tests just have, so that it
 * is there already.
 */
export function compile(): Bytecodes {
  const [out, cache] = process.env.CI
    ? [inRepository('contracts', 'out'), inRepository('contracts', 'cache')]
    : [inRepository('.agnt2', 'fuzz', 'out'), inRepository('.agnt2', 'fuzz', 'cache')];
  const env = { ...process.env, FOUNDRY_OUT: out, FOUNDRY_CACHE_PATH: cache };
  execFileSync(
    process.execPath,
    [inRepository('node_modules', '.bin', 'forge'), 'build', 'src/Step.sol', 'test/ManySteps.sol', '--quiet'],
    { cwd: inRepository('contracts'), env, stdio: ['ignore', 'inherit', 'inherit'] },
  );
  const bytecode = (name: string): string => {
    const artifact = JSON.parse(readFileSync(join(out, `${name}.sol`, `${name}.json`), 'utf8')) as {
      bytecode: { object: string; linkReferences: object };
    };
    if (Object.keys(artifact.bytecode.linkReferences).length > 0) throw new Error(`${name} has libraries to link`);
    return artifact.bytecode.object;
  };
  return { step: bytecode('Step'), manySteps: bytecode('ManySteps') };
}

/** What L1 answered a step. */
export type Answer =
  | { readonly post: Uint8Array; readonly status: number; readonly value: bigint; readonly error?: undefined }
  | { readonly error: string };

const selector = (signature: string): Uint8Array => keccak(utf8(signature)).subarray(0, 4);
const STEP = selector('step(bytes32,bytes32,uint8,uint64,bytes,uint256,bytes)');
const ASK = selector('ask(address,bytes[])');
const ERRORS = new Map(
  [
    'BadWitness()',
    'WrongPre(bytes32)',
    'MissingCell(uint32)',
    'NoStep(uint256)',
    'Panic(uint256)',
    'Error(string)',
  ].map((signature) => [hex(selector(signature)), signature]),
);
/** The errors by which a call says that the challenger's witness is no good. */
export const WITNESS_ERRORS: readonly string[] = ['BadWitness()', 'WrongPre(bytes32)', 'MissingCell(uint32)'];

const domain = domainSeparator(DOMAIN);

const padded = (bytes: Uint8Array): Uint8Array =>
  concat(word(bytes.length), bytes, new Uint8Array((32 - (bytes.length % 32)) % 32));

type Asked = Pick<FuzzStep, 'pre' | 'shard' | 'seq' | 'frame' | 'index' | 'witness'>;

/** Calldata of `IStep.step`. */
export function stepCall({ pre, shard, seq, frame, index, witness }: Asked): Uint8Array {
  const frameAt = 7 * 32;
  const bytes = padded(frame);
  const head = [domain, pre, word(shard), word(seq), word(frameAt), word(index), word(frameAt + bytes.length)];
  return concat(STEP, ...head, bytes, padded(witness));
}

function askCall(callee: Uint8Array, calls: readonly Uint8Array[]): Uint8Array {
  const items = calls.map(padded);
  let at = 32 * items.length;
  const offsets = items.map((item) => {
    at += item.length;
    return word(at - item.length);
  });
  return concat(ASK, new Uint8Array(12), callee, word(64), word(items.length), ...offsets, ...items);
}

const number = (bytes: Uint8Array, at: number): number => Number(BigInt(hex(bytes.subarray(at, at + 32))));

function readAnswers(returned: Uint8Array): Uint8Array[] {
  const list = number(returned, 0);
  return Array.from({ length: number(returned, list) }, (_, i) => {
    const at = list + 32 + number(returned, list + 32 + 32 * i);
    return returned.subarray(at + 32, at + 32 + number(returned, at));
  });
}

function readAnswer(bytes: Uint8Array): Answer {
  const data = bytes.subarray(1);
  if (bytes[0] === 1 && data.length === 96)
    return { post: data.subarray(0, 32), status: number(data, 32), value: BigInt(hex(data.subarray(64))) };
  if (bytes[0] === 1) return { error: `returned ${data.length} bytes` };
  const name = ERRORS.get(hex(data.subarray(0, 4)));
  return { error: name ?? `reverted with ${hex(data.subarray(0, 68))}` };
}

export class Evm {
  readonly #rpc: string;
  readonly #anvil: Child;
  #id = 0;
  #from = '';
  #many = '';
  /** By number of shards. */
  readonly #steps = new Map<number, Promise<Uint8Array>>();
  readonly #bytecodes: Bytecodes;

  private constructor(port: number, bytecodes: Bytecodes, hardfork: Hardfork) {
    this.#rpc = `http://127.0.0.1:${port}`;
    this.#bytecodes = bytecodes;
    const platform = `${process.platform}-${process.arch === 'x64' ? 'amd64' : process.arch}`;
    this.#anvil = start({
      name: 'fuzz',
      command: packageFile(`@foundry-rs/anvil-${platform}`, 'bin', 'anvil'),
      args: [
        '--host=127.0.0.1',
        `--port=${port}`,
        `--hardfork=${hardfork}`,
        '--accounts=1',
        `--gas-limit=${10 ** 12}`,
        '--no-request-size-limit',
        '--silent',
      ],
      log: join(newRun(), 'anvil.log'),
    });
  }

  static async start(bytecodes: Bytecodes, hardfork: Hardfork = 'osaka'): Promise<Evm> {
    const evm = new Evm(await freePort(), bytecodes, hardfork);
    await until('anvil', () => evm.#request('eth_blockNumber', []), { child: evm.#anvil });
    [evm.#from] = (await evm.#request('eth_accounts', [])) as string[];
    evm.#many = hex(await evm.#deploy(bytecodes.manySteps));
    return evm;
  }
  stop(): Promise<void> {
    return this.#anvil.stop();
  }

  async #request(method: string, params: unknown[]): Promise<unknown> {
    const body = JSON.stringify({ jsonrpc: '2.0', id: ++this.#id, method, params });
    const response = await fetch(this.#rpc, { method: 'POST', headers: { 'content-type': 'application/json' }, body });
    const { result, error } = (await response.json()) as { result?: unknown; error?: { message: string } };
    if (error) throw new Error(`${method}: ${error.message}`);
    return result;
  }

  async #deploy(data: string): Promise<Uint8Array> {
    const hash = await this.#request('eth_sendTransaction', [{ from: this.#from, data, gas: '0x1000000' }]);
    const receipt = await until('a deployment', () => this.#request('eth_getTransactionReceipt', [hash]));
    const { status, contractAddress } = receipt as { status: string; contractAddress: string };
    if (status !== '0x1') throw new Error('a contract could not be deployed');
    return unhex(contractAddress);
  }

  #stepper(shards: number): Promise<Uint8Array> {
    const known = this.#steps.get(shards);
    if (known) return known;
    const made = this.#deploy(this.#bytecodes.step + hex(word(shards)).slice(2));
    this.#steps.set(shards, made);
    return made;
  }

  /** Asks for steps of a deployment of so many shards; the answers in their order. */
  async ask(shards: number, steps: readonly Asked[]): Promise<Answer[]> {
    const data = hex(askCall(await this.#stepper(shards), steps.map(stepCall)));
    const returned = await this.#request('eth_call', [
      { from: this.#from, to: this.#many, data, gas: `0x${(10 ** 12).toString(16)}` },
      'latest',
    ]);
    return readAnswers(unhex(returned as string)).map(readAnswer);
  }
}

/** How an answer differs from what the step came to here; undefined where it does not. */
export function difference(step: FuzzStep, answer: Answer): string | undefined {
  if (answer.error !== undefined) return answer.error;
  if (answer.status !== step.status) return `status ${answer.status}, should be ${step.status}`;
  if (answer.value !== BigInt(step.value)) return `value ${answer.value}, should be ${step.value}`;
  return equal(answer.post, step.post) ? undefined : 'another commitment';
}
