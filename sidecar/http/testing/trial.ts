/** Test help: the exchanges of the corpus, made over one version of HTTP by each way, and what both ends of them saw. */
import { expect, test } from 'vitest';
import { hex } from '../../../protocol/bytes.ts';
import { sha } from '../../../protocol/log.ts';
import { CORPUS, type Exchange, type Fields } from './corpus.ts';
import type { Way } from './ways.ts';

/** What the app saw of an exchange. */
interface Seen {
  readonly method: string;
  readonly target: string;
  readonly headers: Fields;
  readonly body: string;
  readonly trailers: Fields;
}
/** What its caller got. */
export interface Got {
  readonly status: number;
  readonly headers: Fields;
  readonly body: string;
  readonly trailers: Fields;
  readonly interim: readonly { readonly status: number; readonly headers: Fields }[];
  /** What reached the caller before more was sent, of exchanges in lockstep. */
  readonly steps: readonly string[];
}
interface Made<G extends Got> {
  readonly saw: Seen;
  readonly got: G;
}

const keyOf = (way: Way): string => way.replace(' ', '-');

/** A short body as it is, a long one by its length and hash. */
export const shown = (body: Buffer): string =>
  body.length > 500 ? `${body.length} bytes ${hex(sha(body))}` : body.toString('latin1');

export async function gather(
  message: AsyncIterable<unknown>,
  onChunk: (chunk: Buffer) => void = () => {},
): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of message) {
    chunks.push(chunk as Buffer);
    onChunk(chunk as Buffer);
  }
  return Buffer.concat(chunks);
}

const HOP = /^(?:connection|keep-alive|proxy-.*|te|transfer-encoding|upgrade|x-hop|x-secret)$/i;
const OURS = /^agnt2-/;
/** The fields that have to be the same: all that are not of one hop, and not the host, which every hop names anew. */
const endToEnd = (fields: Fields): Fields =>
  fields.filter(([name]) => !HOP.test(name) && !/^(?:host|:.*)$/i.test(name));

/** An exchange as far as it has to be the same by every way. */
const comparable = <G extends Got>({ saw, got }: Made<G>): Made<G> => ({
  saw: { ...saw, headers: endToEnd(saw.headers).filter(([name]) => !OURS.test(name)) },
  got: { ...got, headers: endToEnd(got.headers) },
});

/** What AGNT2 itself told the app, by names. */
const told = ({ saw }: { readonly saw: Seen }): string[] =>
  saw.headers.map(([name]) => name).filter((name) => OURS.test(name));

/** An app's answer that waits, step by step, until its caller has what was sent before. */
export class Lockstep {
  #arrived: () => void = () => {};
  #next: Promise<void> = Promise.resolve();

  begin(): void {
    this.#next = new Promise((resolve) => (this.#arrived = resolve));
  }
  async step(): Promise<void> {
    await this.#next;
    this.begin();
  }
  arrived(): void {
    this.#arrived();
  }
}

export interface Numbered extends Exchange {
  /** Its place in the corpus. */
  readonly index: number;
}
export const NUMBERED: readonly Numbered[] = CORPUS.map((exchange, index) => ({ ...exchange, index }));

export class Trial<G extends Got> {
  readonly lockstep: Lockstep = new Lockstep();
  readonly #exchanges: readonly Numbered[];
  readonly #run: (way: Way, index: number) => Promise<G>;
  readonly #seen = new Map<string, Seen>();
  /** Made with the app itself, once each, however often they are compared with. */
  readonly #direct = new Map<number, Promise<Made<G>>>();

  /** `run` makes an exchange, at {@link pathTo} it: what came back. */
  constructor(exchanges: readonly Numbered[], run: (way: Way, index: number) => Promise<G>) {
    this.#exchanges = exchanges;
    this.#run = run;
  }

  /** Under which the app finds the exchange it is asked for. */
  pathTo(way: Way, index: number): string {
    return `/${keyOf(way)}/${index}${CORPUS[index].target}`;
  }

  /** Notes what the app was asked under a path; the exchange that it is to answer. Throws for a path that is of no exchange. */
  asked(path: string, request: Omit<Seen, 'target'>): Exchange {
    const match = /^\/([a-z-]+)\/(\d+)(.*)$/s.exec(path);
    if (match === null) throw new Error(`${path} is of no exchange`);
    const [, key, index, target] = match;
    this.#seen.set(`${key} ${index}`, { ...request, target });
    return CORPUS[Number(index)];
  }

  async #make(way: Way, index: number): Promise<Made<G>> {
    const got = await this.#run(way, index);
    return { saw: this.#seen.get(`${keyOf(way)} ${index}`)!, got };
  }

  #directly(index: number): Promise<Made<G>> {
    let made = this.#direct.get(index);
    if (made === undefined) this.#direct.set(index, (made = this.#make('direct', index).then(comparable<G>)));
    return made;
  }

  /** A test for each exchange: by this way it is as with the app itself, which is told what it should be. */
  alike(way: 'one hop' | 'a session'): void {
    test.each(this.#exchanges)('$name', async ({ index }) => {
      const through = await this.#make(way, index);
      expect(comparable(through)).toEqual(await this.#directly(index));
      expect(told(through)).toEqual(way === 'one hop' ? ['agnt2-route'] : ['agnt2-route', 'agnt2-caller']);
    });
  }

  /** The same by first contact, but for interim answers, which have no place in the gateway's answer (docs/http.md). */
  alikeButInterim(): void {
    test.each(this.#exchanges)('$name', async ({ index }) => {
      const direct = await this.#directly(index);
      const got = { ...direct.got, interim: [] };
      expect(comparable(await this.#make('first contact', index))).toEqual({ ...direct, got });
    });
  }
}
