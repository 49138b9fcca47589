/** Calls of an app, one after the other and each with a number of its own, through whatever happens to the containers. */
import { type ChildProcess, spawn } from 'node:child_process';
import { until } from '../../../local/process.ts';

/** Says `ok N` for a whole answer, `no N` for anything else; calls until its standard input ends; never calls twice with one number. */
const LOOP = `
import select, sys, time, urllib.request
url, n = sys.argv[1], int(sys.argv[2])
while not select.select([sys.stdin], [], [], 0)[0]:
    n += 1
    try:
        with urllib.request.urlopen(f'{url}?n={n}', timeout=30) as answer:
            answer.read()
            print('ok', n, flush=True)
    except Exception as error:
        print('no', n, error, flush=True)
        time.sleep(0.1)
`;

export class Traffic {
  /** Numbers of the calls that were answered. */
  readonly answered = new Set<number>();
  /** Numbers of the calls nobody knows the end of. */
  readonly failed = new Map<number, string>();
  readonly #child: ChildProcess;
  readonly #ended: Promise<void>;

  /** Calls `url` from a container that has Python, with numbers above `from`. */
  constructor(container: string, url: string, from: number) {
    this.#child = spawn('docker', ['exec', '--interactive', container, 'python3', '-c', LOOP, url, String(from)], {
      stdio: ['pipe', 'pipe', 'ignore'],
    });
    let rest = '';
    this.#child.stdout!.on('data', (data: Buffer) => {
      const lines = (rest + data.toString()).split('\n');
      rest = lines.pop()!;
      for (const line of lines) {
        const [what, n, ...why] = line.split(' ');
        if (what === 'ok') this.answered.add(Number(n));
        else this.failed.set(Number(n), why.join(' '));
      }
    });
    this.#child.stdin!.on('error', () => {});
    this.#ended = new Promise((resolve) => this.#child.once('close', () => resolve()));
  }

  /** Waits until so many more calls were answered. */
  async more(calls: number): Promise<void> {
    const goal = this.answered.size + calls;
    await until(
      `${calls} answers more`,
      () => {
        if (this.#child.exitCode !== null) throw new Error('the caller ended');
        return this.answered.size >= goal;
      },
      { timeoutMs: 60_000 },
    ).catch((error: unknown) => {
      const last = [...this.failed].slice(-3).join('; ');
      throw new Error(`${String(error)}; ${this.answered.size} answered, ${this.failed.size} not: ${last}`, {
        cause: error,
      });
    });
  }

  /** Ends after the call in flight. */
  async end(): Promise<void> {
    this.#child.stdin!.end();
    await this.#ended;
  }
}
