/** What the parts of the test with containers share. */
import type { Town } from '../../support/docker/town.ts';

export const PRICE = { page: 2, dear: 11, paper: 4, tool: 5, commit: 6, stream: 3 };

export interface Scene {
  /** There when tests run, not before. */
  readonly town: Town;
  /** Calls of each kind that somebody got an answer to. */
  readonly acknowledged: Record<keyof typeof PRICE, number>;
}
