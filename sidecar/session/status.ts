/** Where an endpoint stands, and who waits for it to get somewhere. */
import { Agnt2Error } from '../../protocol/errors.ts';
import type { EndpointState } from './types.ts';

export class Status {
  state: EndpointState = 'offline';
  /** What stopped the session, if anything did. */
  stopped: Agnt2Error | null = null;
  /** No new calls: the session is being brought to its end. */
  draining = false;
  readonly #watchers = new Set<() => void>();

  /** Asked after every wait: what was being checked when the endpoint closed must not reach its store. */
  isClosed(): boolean {
    return this.state === 'closed';
  }

  /** Why no call may be made or answered any more. */
  shut(): Agnt2Error | null {
    if (this.state === 'closed') return new Agnt2Error('session_closed', 'this endpoint was closed');
    if (this.stopped !== null) return new Agnt2Error('session_stopped', this.stopped.message);
    if (this.draining) return new Agnt2Error('session_draining', 'this session is being closed');
    return null;
  }

  changed(): void {
    for (const watch of this.#watchers) watch();
  }

  /** The mux forgets a call only after it has said how it ended, and who drains waits for that. */
  changedSoon(): void {
    if (this.#watchers.size > 0) setTimeout(() => this.changed(), 0);
  }

  /** Rejects with `drain_timeout`, what stopped the session, or `session_closed`. */
  until(reached: () => boolean, timeoutMs: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const end = (error?: Agnt2Error): void => {
        clearTimeout(timer);
        this.#watchers.delete(watch);
        if (error) reject(error);
        else resolve();
      };
      const watch = (): void => {
        if (reached()) end();
        else if (this.stopped !== null || this.state === 'closed')
          end(this.stopped ?? new Agnt2Error('session_closed', 'this endpoint was closed'));
      };
      const timer = setTimeout(
        () => end(new Agnt2Error('drain_timeout', `not signed by both within ${timeoutMs} ms`)),
        timeoutMs,
      );
      this.#watchers.add(watch);
      watch();
    });
  }
}
