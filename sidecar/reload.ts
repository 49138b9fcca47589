/** Follows a config file: when it changes and is good, the sidecar goes on by it; when it is bad, by the one before. */
import { codeOf } from '../protocol/errors.ts';
import type { Config } from './config.ts';
import type { Sidecar } from './sidecar.ts';

/** Files come over volumes too, where not every system tells of changes: so they are looked at. */
const LOOK_MS = 1000;

export interface Follower {
  /** Looks now. */
  look(): Promise<void>;
  stop(): void;
}

/** `read` answers the config as it is now and throws a coded error for a bad one; `onBad` hears of each bad one once. */
export function follow(
  sidecar: Pick<Sidecar, 'reload'>,
  read: () => Config,
  onBad: (code: string, detail: string) => void,
  everyMs = LOOK_MS,
): Follower {
  let last = '';
  let looking: Promise<void> = Promise.resolve();
  const once = async (): Promise<void> => {
    let said = '';
    try {
      await sidecar.reload(read());
    } catch (error) {
      said = error instanceof Error ? error.message : String(error);
      if (said !== last) onBad(codeOf(error), (error as { detail?: string }).detail ?? said);
    }
    last = said;
  };
  const look = (): Promise<void> => (looking = looking.then(once));
  const timer = setInterval(() => void look(), everyMs);
  timer.unref();
  return { look, stop: () => clearInterval(timer) };
}
