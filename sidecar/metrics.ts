/** Prometheus text, by hand: counters, gauges read when asked, one histogram shape. @see https://prometheus.io/docs/instrumenting/exposition_formats/ */

import type { Notes } from './telemetry/call.ts';

/** As Prometheus writes it. */
const number = (value: number): string => (value === Infinity ? '+Inf' : String(value));

const BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

class Counter {
  readonly #values = new Map<string, number>();
  readonly #name: string;
  readonly #help: string;
  constructor(name: string, help: string) {
    this.#name = name;
    this.#help = help;
  }
  /** `labels` as they stand in the text, e.g. `route="core"`. */
  add(labels = '', by = 1): void {
    this.#values.set(labels, (this.#values.get(labels) ?? 0) + by);
  }
  text(): string {
    const lines = [...this.#values].map(([labels, value]) => `${this.#name}${labels && `{${labels}}`} ${value}`);
    return [
      `# HELP ${this.#name} ${this.#help}`,
      `# TYPE ${this.#name} counter`,
      ...(lines.length ? lines : [`${this.#name} 0`]),
    ].join('\n');
  }
}

class Histogram {
  readonly #counts = BUCKETS.map(() => 0);
  #sum = 0;
  #count = 0;
  readonly #name: string;
  readonly #help: string;
  constructor(name: string, help: string) {
    this.#name = name;
    this.#help = help;
  }
  observe(value: number): void {
    this.#sum += value;
    this.#count += 1;
    for (let i = BUCKETS.length - 1; i >= 0 && value <= BUCKETS[i]; i--) this.#counts[i] += 1;
  }
  text(): string {
    return [
      `# HELP ${this.#name} ${this.#help}`,
      `# TYPE ${this.#name} histogram`,
      ...BUCKETS.map((le, i) => `${this.#name}_bucket{le="${le}"} ${this.#counts[i]}`),
      `${this.#name}_bucket{le="+Inf"} ${this.#count}`,
      `${this.#name}_sum ${this.#sum}`,
      `${this.#name}_count ${this.#count}`,
    ].join('\n');
  }
}

export class Metrics {
  /** Who takes note of single calls; null for nobody. */
  notes: Notes | null = null;
  readonly callsOut = new Counter('agnt2_calls_out_total', 'Calls of the local app by route');
  readonly callsIn = new Counter('agnt2_calls_in_total', 'Calls to the local app by route');
  readonly refusals = new Counter('agnt2_refusals_total', 'Calls the sidecar refused, by code');
  readonly spent = new Counter('agnt2_spent_units_total', 'Base units paid for calls');
  readonly earned = new Counter('agnt2_earned_units_total', 'Base units charged for calls');
  readonly responds = new Counter('agnt2_responds_total', 'Responds on Core by outcome');
  readonly appSeconds = new Histogram('agnt2_app_seconds', 'Seconds from a call reaching the app to its response head');
  readonly sessionSeconds = new Histogram(
    'agnt2_session_call_seconds',
    'Seconds from a session call of the local app to its response head',
  );
  readonly #read: { name: string; help: string; type: 'gauge' | 'counter'; read: () => number }[] = [];

  /** A value read whenever the text is asked for. */
  gauge(name: string, help: string, read: () => number): void {
    this.#read.push({ name, help, type: 'gauge', read });
  }
  /** One that somebody else counts. */
  counter(name: string, help: string, read: () => number): void {
    this.#read.push({ name, help, type: 'counter', read });
  }

  text(): string {
    const parts = [
      this.callsOut,
      this.callsIn,
      this.refusals,
      this.spent,
      this.earned,
      this.responds,
      this.appSeconds,
      this.sessionSeconds,
    ].map((m) => m.text());
    for (const { name, help, type, read } of this.#read)
      parts.push(`# HELP ${name} ${help}\n# TYPE ${name} ${type}\n${name} ${number(read())}`);
    return `${parts.join('\n')}\n`;
  }
}
