/** What a person sees while it runs: lines that stay and, on a terminal, a table below them that moves. */
import type { Gateway } from './gateway.ts';
import type { Progress } from './scenario.ts';

const FRAME_MS = 400;

export class Display implements Progress {
  readonly #out: NodeJS.WriteStream;
  readonly #live: boolean;
  readonly #started = Date.now();
  readonly #calls = new Map<string, number>();
  #stage = 'starting';
  #drawn = 0;
  #rows: [string, string][] = [];
  #timer: NodeJS.Timeout | null = null;

  /** Lines go to `out`; the table only where `out` is a terminal. */
  constructor(out: NodeJS.WriteStream) {
    this.#out = out;
    this.#live = out.isTTY === true;
  }

  get seconds(): number {
    return (Date.now() - this.#started) / 1000;
  }

  say(line: string): void {
    this.#erase();
    this.#out.write(`[${this.seconds.toFixed(1).padStart(5)} s] ${line}\n`);
    this.#draw();
  }
  called(caller: string): void {
    this.#calls.set(caller, (this.#calls.get(caller) ?? 0) + 1);
  }
  stage(what: string): void {
    this.#stage = what;
  }

  /** Watches a gateway and keeps the table up to date. */
  watch(gateway: Gateway): void {
    if (!this.#live) return;
    const look = async (): Promise<void> => {
      const { shards, l1 } = await gateway.status();
      const sum = (field: 'agents' | 'escrows' | 'sessions' | 'interactions'): string =>
        shards.reduce((total, shard) => total + shard[field], 0).toLocaleString('en-US');
      const calls = [...this.#calls].map(([caller, count]) => `${caller} ${count.toLocaleString('en-US')}`).join(', ');
      this.#rows = [
        ['now', this.#stage],
        ['calls answered', calls || '–'],
        [
          'Core',
          `${sum('interactions')} interactions, ${sum('escrows')} escrows, ${sum('agents')} agents, ${sum('sessions')} sessions`,
        ],
        ['L1', l1 ? `batch ${l1.head} posted, ${l1.finalized} final, ${l1.inbox} inbox items` : '–'],
      ];
      this.#erase();
      this.#draw();
    };
    this.#timer = setInterval(() => void look().catch(() => {}), FRAME_MS);
  }

  end(): void {
    if (this.#timer) clearInterval(this.#timer);
    this.#erase();
    this.#rows = [];
  }

  #erase(): void {
    if (this.#drawn > 0) this.#out.write(`\x1b[${this.#drawn}A\x1b[J`);
    this.#drawn = 0;
  }
  #draw(): void {
    if (!this.#live || this.#rows.length === 0) return;
    const width = (this.#out.columns || 80) - 1;
    for (const [name, value] of this.#rows) this.#out.write(`${`  ${name.padEnd(16)}${value}`.slice(0, width)}\n`);
    this.#drawn = this.#rows.length;
  }
}
