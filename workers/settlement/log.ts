/** One line of JSON an event, so that any log store can search it. */
export type LogFields = Readonly<Record<string, string | number | boolean | null | undefined>>;
export type Log = (event: string, fields?: LogFields) => void;

export const log: Log = (event, fields = {}) => {
  console.log(JSON.stringify({ at: new Date().toISOString(), room: 'settlement', event, ...fields }));
};

/** First line of anything thrown, short enough for a log. */
export function reason(error: unknown): string {
  const short = (error as { shortMessage?: unknown } | null)?.shortMessage;
  const text = typeof short === 'string' ? short : error instanceof Error ? error.message : String(error);
  return text.split('\n')[0].slice(0, 300);
}
