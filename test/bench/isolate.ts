/**
 * How much memory an isolate of workerd holds, asked of its own inspector (Chrome's DevTools protocol): the JavaScript heap, what embedders hold for
 * it, and all that lies outside, buffers and WebAssembly memories. It is what a platform that bounds isolates would count, without what the
 * process holds besides: code, SQLite's caches, other isolates.
 */
import { readFileSync, readdirSync, readlinkSync } from 'node:fs';
import { sleep } from '../../local/process.ts';

const LOOK_EVERY_MS = 20;
/** Looks before garbage is collected. */
const COLLECT_EVERY = 50;

/** Bytes of an isolate. */
export interface IsolateMemory {
  /** What lives in the JavaScript heap, and what the heap takes for it. */
  readonly used: number;
  readonly heap: number;
  /** Objects of the runtime that those hold. */
  readonly embedder: number;
  /** ArrayBuffers that are no WebAssembly memory's. */
  readonly buffers: number;
  readonly wasm: number;
}

/** All that the isolate takes: the heap with the room in its pages, not only what lives in it. */
export const totalOf = ({ heap, embedder, buffers, wasm }: IsolateMemory): number => heap + embedder + buffers + wasm;

interface Usage {
  readonly usedSize: number;
  readonly totalSize: number;
  readonly embedderHeapUsedSize: number;
  /** Without WebAssembly memories, which the engine counts nowhere. */
  readonly backingStorageSize: number;
}

interface Message {
  readonly id?: number;
  readonly method?: string;
  readonly params?: { readonly context?: { readonly id: number } };
  readonly result?: unknown;
  readonly error?: { readonly message: string };
}
interface Remote {
  readonly objectId: string;
}

/** Ports on which a process listens, by Linux' /proc. */
function portsOf(pid: number): number[] {
  const sockets = new Set<string>();
  for (const fd of readdirSync(`/proc/${pid}/fd`)) {
    try {
      const inode = /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${fd}`));
      if (inode) sockets.add(inode[1]);
    } catch {
      // It has just been closed.
    }
  }
  const rows = readFileSync(`/proc/${pid}/net/tcp`, 'utf8').trim().split('\n').slice(1);
  const LISTENING = '0A';
  return rows
    .map((row) => row.trim().split(/\s+/))
    .filter(([, , , state, , , , , , inode]) => state === LISTENING && sockets.has(inode))
    .map(([, local]) => parseInt(local.split(':')[1], 16));
}

/** Where the isolate of our Worker, which is that of its Durable Objects too, can be asked: of all workerds that this process has started. */
async function inspectorUrl(): Promise<string> {
  const parents = new Map<number, number>();
  const names = new Map<number, string>();
  for (const pid of readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)) {
    try {
      const [, name, rest] = /^\d+ \((.*)\) (.*)$/s.exec(readFileSync(`/proc/${pid}/stat`, 'utf8'))!;
      parents.set(pid, Number(rest.split(' ')[1]));
      names.set(pid, name);
    } catch {
      // It has just ended.
    }
  }
  const isOurs = (pid: number | undefined): boolean => pid === process.pid || (!!pid && isOurs(parents.get(pid)));
  for (const pid of parents.keys()) {
    if (names.get(pid) !== 'workerd' || !isOurs(pid)) continue;
    for (const port of portsOf(pid)) {
      const targets = await fetch(`http://127.0.0.1:${port}/json/list`, { signal: AbortSignal.timeout(2000) })
        .then((answer) => answer.json() as Promise<{ id: string; webSocketDebuggerUrl: string }[]>)
        .catch(() => []);
      const user = Array.isArray(targets) ? targets.find(({ id }) => id.startsWith('core:user:')) : undefined;
      if (user) return user.webSocketDebuggerUrl;
    }
  }
  throw new Error('no workerd of ours has an inspector');
}

/** A connection to an isolate's inspector. */
export class Isolate {
  readonly #socket: WebSocket;
  readonly #waiting = new Map<number, (message: Message) => void>();
  #last = 0;
  #context: number | undefined;

  private constructor(socket: WebSocket) {
    this.#socket = socket;
    socket.addEventListener('message', ({ data }) => {
      const message = JSON.parse(String(data)) as Message;
      if (message.method === 'Runtime.executionContextCreated') this.#context = message.params?.context?.id;
      if (message.id === undefined) return;
      this.#waiting.get(message.id)?.(message);
      this.#waiting.delete(message.id);
    });
    socket.addEventListener('close', () => {
      for (const tell of this.#waiting.values()) tell({ error: { message: 'the inspector has gone' } });
      this.#waiting.clear();
    });
  }

  /** Takes the place of wrangler's own connection: workerd ends the first that comes while there is another, together with that. */
  static async connect(): Promise<Isolate> {
    const url = await inspectorUrl();
    for (let tries = 0; ; tries++) {
      const socket = new WebSocket(url);
      const isolate = new Isolate(socket);
      try {
        await new Promise((resolve, reject) => {
          socket.addEventListener('open', resolve, { once: true });
          socket.addEventListener('error', () => reject(new Error('the inspector takes no connection')), {
            once: true,
          });
        });
        await sleep(500);
        await isolate.#send('Runtime.enable');
        return isolate;
      } catch (error) {
        socket.close();
        if (tries === 5) throw error;
      }
    }
  }

  async #send<T>(method: string, params: object = {}): Promise<T> {
    if (this.#socket.readyState !== WebSocket.OPEN) throw new Error('the inspector has gone');
    const id = ++this.#last;
    const answer = new Promise<Message>((resolve) => this.#waiting.set(id, resolve));
    this.#socket.send(JSON.stringify({ id, method, params }));
    const { result, error } = await answer;
    if (error) throw new Error(`${method}: ${error.message}`);
    return result as T;
  }

  /** As it is, garbage and all; `wasm` where that is known. */
  async memory(wasm?: number): Promise<IsolateMemory> {
    const usage = await this.#send<Usage>('Runtime.getHeapUsage');
    return {
      used: usage.usedSize,
      heap: usage.totalSize,
      embedder: usage.embedderHeapUsedSize,
      buffers: usage.backingStorageSize,
      wasm: wasm ?? (await this.#wasm()),
    };
  }

  /** Without garbage: the engine collects it by itself before a bound is passed. */
  async collected(): Promise<IsolateMemory> {
    await this.#send('HeapProfiler.collectGarbage');
    return this.memory();
  }

  /** Bytes of all WebAssembly memories that are alive. */
  async #wasm(): Promise<number> {
    const objectGroup = 'memories';
    const prototype = await this.#send<{ result: Remote }>('Runtime.evaluate', {
      expression: 'WebAssembly.Memory.prototype',
      contextId: this.#context,
      objectGroup,
    });
    const { objects } = await this.#send<{ objects: Remote }>('Runtime.queryObjects', {
      prototypeObjectId: prototype.result.objectId,
      objectGroup,
    });
    const sum = await this.#send<{ result: { value: number } }>('Runtime.callFunctionOn', {
      objectId: objects.objectId,
      functionDeclaration: 'function () { return this.reduce((sum, { buffer }) => sum + buffer.byteLength, 0); }',
      returnByValue: true,
      objectGroup,
    });
    await this.#send('Runtime.releaseObjectGroup', { objectGroup });
    return sum.result.value;
  }

  close(): void {
    this.#socket.close();
  }
}

/**
 * The most of many looks at an isolate while `work` goes on: as it was met, with garbage that the engine has not thought worth collecting yet, and
 * now and then without.
 */
export async function watch(
  isolate: Isolate,
  work: Promise<unknown>,
): Promise<{ readonly live: IsolateMemory; readonly met: IsolateMemory }> {
  let isDone = false;
  void work.catch(() => {}).then(() => (isDone = true));
  let met = await isolate.memory();
  let live = await isolate.collected();
  for (let looks = 1; !isDone; looks++) {
    await sleep(LOOK_EVERY_MS);
    // WebAssembly memories only grow, and asking for them collects garbage.
    met = most(met, await isolate.memory(live.wasm));
    if (looks % COLLECT_EVERY === 0) live = most(live, await isolate.collected());
  }
  live = most(live, await isolate.collected());
  await work;
  return { live, met: { ...met, wasm: live.wasm } };
}

export const most = (a: IsolateMemory, b: IsolateMemory): IsolateMemory => (totalOf(a) >= totalOf(b) ? a : b);
