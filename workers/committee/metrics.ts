/** What a member counts, as Prometheus text. In a Worker since the isolate began. */
import type { MemberStats } from '../../durable/member/api.ts';

export class MemberMetrics {
  #kept = 0;
  #keptBytes = 0;
  #servedBytes = 0;
  #answered = 0;
  readonly #refused = new Map<string, number>();

  /** A column was kept and promised. */
  kept(bytes: number): void {
    this.#kept += 1;
    this.#keptBytes += bytes;
  }
  served(bytes: number): void {
    this.#servedBytes += bytes;
  }
  /** A demand at L1 was answered. */
  answered(): void {
    this.#answered += 1;
  }
  refused(code: string): void {
    this.#refused.set(code, (this.#refused.get(code) ?? 0) + 1);
  }

  text({ columns, bytes, maxBytes, newest }: MemberStats): string {
    const one = (type: string, name: string, help: string, lines: readonly string[]): string =>
      [`# HELP agnt2_member_${name} ${help}`, `# TYPE agnt2_member_${name} ${type}`, ...lines].join('\n');
    const value = (type: string, name: string, help: string, number: number): string =>
      one(type, name, help, [`agnt2_member_${name} ${number}`]);
    const refused = [...this.#refused].map(([code, n]) => `agnt2_member_refused_total{code="${code}"} ${n}`);
    return `${[
      value('gauge', 'columns', 'columns held', columns),
      value('gauge', 'column_bytes', 'bytes of columns held', bytes),
      value('gauge', 'column_bytes_max', 'bytes of columns that are held at most', maxBytes),
      value('gauge', 'newest_batch', 'batch of the newest column', newest),
      value('counter', 'kept_total', 'columns kept and promised', this.#kept),
      value('counter', 'kept_bytes_total', 'bytes of them', this.#keptBytes),
      value('counter', 'served_bytes_total', 'bytes of columns and cells given out', this.#servedBytes),
      value('counter', 'demands_answered_total', 'demands at L1 answered', this.#answered),
      one('counter', 'refused_total', 'requests refused, by code', refused),
    ].join('\n')}\n`;
  }
}
