/** Sessions that somebody is leaving alone: what the watchtower goes through. All it knows is in the cells: a restart looks through them once. */
import { Head, QUADS, Session, SessionStatus, get } from '../../protocol/cells.ts';
import { makeId } from '../../protocol/ids.ts';
import type { Machine } from '../../protocol/machine.ts';
import type { LookedPage, PageQuery, SessionFacts } from './api.ts';
import { MAX_PAGE } from './lists.ts';
import { sessionFacts } from './views.ts';

/** Records looked through before memory is tidied. */
const LOOKED_AT = 2 ** 14;

export class Exiting {
  readonly #machine: Machine;
  readonly #ids = new Set<number>();

  constructor(machine: Machine) {
    this.#machine = machine;
  }

  /** Finds them in the cells. `rest` is called now and then: no cell is in use. */
  restore(rest: () => void): void {
    const { shard } = this.#machine;
    const last = get(this.#machine.head(), Head.sessions);
    for (let serial = Math.max(1, last - QUADS + 1); serial <= last; serial++) {
      this.note(makeId(shard, serial));
      if (serial % LOOKED_AT === 0) rest();
    }
  }

  /** A session that may be exiting now. */
  note(id: number): void {
    if (this.#isExiting(id)) this.#ids.add(id);
  }

  #isExiting(id: number): boolean {
    const machine = this.#machine;
    return (
      machine.isLocal(id) &&
      machine.sessionExists(id) &&
      get(machine.readSession(id), Session.status) === SessionStatus.exiting
    );
  }

  /** With ids above `after`, ascending. Those that have ended meanwhile are forgotten here. */
  list({ after = 0, limit = MAX_PAGE }: PageQuery): LookedPage<SessionFacts> {
    const most = Math.min(limit, MAX_PAGE);
    const items: SessionFacts[] = [];
    let upTo = after;
    for (const id of [...this.#ids].filter((each) => each > after).toSorted((a, b) => a - b)) {
      if (items.length === most) return { items, upTo, next: upTo };
      upTo = id;
      if (this.#isExiting(id)) items.push(sessionFacts(this.#machine, id)!);
      else this.#ids.delete(id);
    }
    return { items, upTo };
  }
}
