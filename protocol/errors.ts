/**
 * The one error hierarchy. A class does not survive a Worker boundary, so every error carries a stable `code`;
 * callers switch on `code`, never on `instanceof`, once a boundary lies between.
 */
export class Agnt2Error extends Error {
  /** Stable, machine-readable: a status of docs/protocol.md §9 or a code of the room that threw. */
  readonly code: string;
  /** What happened and what to do about it, for people. */
  readonly detail: string;

  constructor(code: string, detail: string, options?: ErrorOptions) {
    super(`${code}: ${detail}`, options);
    this.name = 'Agnt2Error';
    this.code = code;
    this.detail = detail;
  }
}

/** Bytes that are no value of their type. Parsers throw this and nothing else. */
export const malformed = (detail: string): Agnt2Error => new Agnt2Error('malformed', detail);

/** The `code` of anything thrown, here or across a boundary. */
export function codeOf(error: unknown): string {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === 'string' ? code : 'internal';
}
