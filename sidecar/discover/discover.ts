/** Follows the labels of containers, and writes what they say to where sidecars read it: a file `<name>.json` for each. Holds no key. */
import { mkdirSync, readFileSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Agnt2Error, codeOf } from '../../protocol/errors.ts';
import { refusal } from '../errors.ts';
import type { Container, Engine } from './engine.ts';
import { type Labelled, readLabels } from './labels.ts';

export type OnEvent = (event: string, fields: Record<string, unknown>) => void;

const FILE = /^[a-z0-9-]{1,63}\.json$/;

export class Discovery {
  readonly #engine: Engine;
  readonly #dir: string;
  readonly #project: string | null;
  readonly #onEvent: OnEvent;
  /** What was last said of each container, so that it is said once. */
  #said = new Map<string, string>();

  /** `project` is the compose project looked at; null for every container of the engine. */
  constructor(engine: Engine, dir: string, project: string | null, onEvent: OnEvent = () => {}) {
    this.#engine = engine;
    this.#dir = dir;
    this.#project = project;
    this.#onEvent = onEvent;
    mkdirSync(dir, { recursive: true });
  }

  /** Looks once at all there is, and makes the folder say it. Throws when the engine can't be asked; then nothing changes. */
  async look(): Promise<void> {
    const containers = await this.#engine.labelled('agnt2.enable', this.#project);
    const said = new Map<string, string>();
    const say = (container: Container, event: string, fields: Record<string, unknown>): void => {
      const text = JSON.stringify([event, fields]);
      said.set(container.id, text);
      if (this.#said.get(container.id) === text) return;
      this.#onEvent(event, { container: container.name, id: container.id.slice(0, 12), ...fields });
    };
    const byName = new Map<string, { container: Container; labelled: Labelled }[]>();
    for (const container of containers) {
      try {
        const labelled = readLabels(container);
        if (labelled === null) continue;
        const same = byName.get(labelled.name) ?? [];
        byName.set(labelled.name, [...same, { container, labelled }]);
      } catch (error) {
        if (!(error instanceof Agnt2Error)) throw error;
        say(container, 'refused', { code: codeOf(error), detail: error.detail });
      }
    }
    const wanted = new Map<string, string>();
    for (const [name, claims] of byName) {
      if (claims.length > 1) {
        const all = claims.map(({ container }) => container.name).join(', ');
        const { code, detail } = refusal('ambiguous_name', `${all} all are agnt2.name=${name}: none of them is taken`);
        for (const { container } of claims) say(container, 'refused', { code, detail });
        continue;
      }
      const [{ container, labelled }] = claims;
      wanted.set(`${name}.json`, `${JSON.stringify(labelled, null, 2)}\n`);
      say(container, 'labelled', { name, state: container.state, health: container.health ?? null });
    }
    this.#write(wanted);
    for (const id of this.#said.keys()) if (!said.has(id)) this.#onEvent('gone', { id: id.slice(0, 12) });
    this.#said = said;
  }

  /** Each file is whole at any time: written beside, then moved over. What nobody claims any more goes. */
  #write(wanted: ReadonlyMap<string, string>): void {
    for (const [file, text] of wanted) {
      const path = join(this.#dir, file);
      if (readOr(path) === text) continue;
      writeFileSync(`${path}.new`, text, { mode: 0o644 });
      renameSync(`${path}.new`, path);
    }
    for (const file of readdirSync(this.#dir))
      if (FILE.test(file) && !wanted.has(file)) rmSync(join(this.#dir, file), { force: true });
  }

  /** Follows until `signal` aborts. An engine that goes away is waited for; what it said last stands until then. */
  async follow(signal: AbortSignal, retryMs = 1000): Promise<void> {
    while (!signal.aborted) {
      try {
        for await (const _ of this.#engine.changes(signal)) await this.look();
        throw refusal('engine_unavailable', 'the Docker engine ended its events');
      } catch (error) {
        if (signal.aborted) return;
        this.#onEvent('error', {
          code: codeOf(error),
          detail: error instanceof Agnt2Error ? error.detail : 'unknown',
        });
        await new Promise((resolve) => setTimeout(resolve, retryMs));
      }
    }
  }
}

function readOr(path: string): string | null {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return null;
  }
}
