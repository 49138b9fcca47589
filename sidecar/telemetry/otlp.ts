/**
 * Spans to an OpenTelemetry collector: OTLP over HTTP in JSON, in batches, dropped rather than waited for.
 * @see https://opentelemetry.io/docs/specs/otlp/#otlphttp https://opentelemetry.io/docs/specs/otel/protocol/exporter/
 */
import type { CallSink, NotedCall } from './call.ts';

export interface OtlpOptions {
  /** Where traces are posted to. */
  readonly url: string;
  /** Sent along, e.g. a collector's token. */
  readonly headers: Readonly<Record<string, string>>;
  readonly serviceName: string;
  /** Part of the traces begun here that is sampled; those that come with a decision keep it. */
  readonly ratio: number;
}

const MAX_WAITING = 2048;
const BATCH = 512;
const EVERY_MS = 5000;
const TIMEOUT_MS = 10_000;
/** enum SpanKind, enum StatusCode. */
const [SERVER, CLIENT, ERROR] = [2, 3, 2];

/**
 * What the environment asks for; null for no traces. `OTEL_EXPORTER_OTLP_ENDPOINT` (or `…_TRACES_ENDPOINT`),
 * `OTEL_EXPORTER_OTLP_HEADERS`, `OTEL_SERVICE_NAME`, `OTEL_TRACES_SAMPLER_ARG`; `OTEL_SDK_DISABLED=true` turns it off.
 */
export function otlpFrom(env: NodeJS.ProcessEnv, name: string): OtlpOptions | null {
  const base = env.OTEL_EXPORTER_OTLP_ENDPOINT;
  const url = env.OTEL_EXPORTER_OTLP_TRACES_ENDPOINT ?? (base && `${base.replace(/\/$/, '')}/v1/traces`);
  if (!url || env.OTEL_SDK_DISABLED === 'true' || !URL.canParse(url)) return null;
  const headers: Record<string, string> = {};
  for (const pair of (env.OTEL_EXPORTER_OTLP_HEADERS ?? '').split(',')) {
    const at = pair.indexOf('=');
    if (at > 0) headers[pair.slice(0, at).trim()] = decodeURIComponent(pair.slice(at + 1).trim());
  }
  const ratio = Number(env.OTEL_TRACES_SAMPLER_ARG ?? 1);
  return { url, headers, serviceName: env.OTEL_SERVICE_NAME ?? name, ratio: ratio >= 0 && ratio <= 1 ? ratio : 1 };
}

export class SpanExporter implements CallSink {
  readonly #options: OtlpOptions;
  #waiting: NotedCall[] = [];
  #timer: NodeJS.Timeout | null = null;
  #sending: Promise<void> | null = null;
  /** Spans that were not sent: too many waited, or the collector did not take them. */
  dropped = 0;
  sent = 0;

  constructor(options: OtlpOptions) {
    this.#options = options;
  }

  call(call: NotedCall): void {
    if (call.span?.isSampled !== true) return;
    if (this.#waiting.length >= MAX_WAITING) {
      this.dropped += 1;
      return;
    }
    if (this.#waiting.push(call) >= BATCH) void this.flush();
    else this.#timer ??= setTimeout(() => void this.flush(), EVERY_MS).unref();
  }

  /** Sends what waits, one batch at a time. */
  flush(): Promise<void> {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    return (this.#sending ??= this.#send().finally(() => (this.#sending = null)));
  }

  async #send(): Promise<void> {
    while (this.#waiting.length > 0) {
      const calls = this.#waiting.splice(0, BATCH);
      try {
        const { url, headers, serviceName } = this.#options;
        const response = await fetch(url, {
          method: 'POST',
          headers: { ...headers, 'content-type': 'application/json' },
          body: JSON.stringify(requestOf(calls, serviceName)),
          redirect: 'error',
          signal: AbortSignal.timeout(TIMEOUT_MS),
        });
        await response.body?.cancel();
        if (!response.ok) throw new Error(`status ${response.status}`);
        this.sent += calls.length;
      } catch {
        this.dropped += calls.length;
      }
    }
  }
}

const text = (key: string, value: string) => ({ key, value: { stringValue: value } });
/** 64-bit integers are strings in OTLP's JSON. */
const int = (key: string, value: number) => ({ key, value: { intValue: String(value) } });
const nanos = (ms: number): string => String(BigInt(Math.round(ms * 1000)) * 1000n);

const requestOf = (calls: readonly NotedCall[], serviceName: string): unknown => ({
  resourceSpans: [
    {
      resource: { attributes: [text('service.name', serviceName)] },
      scopeSpans: [{ scope: { name: 'agnt2.sidecar' }, spans: calls.map(spanOf) }],
    },
  ],
});

function spanOf(call: NotedCall): unknown {
  const { span, direction, startMs, ms, method, path, peer, route, status, code, price, bytes } = call;
  const { traceId, spanId, parent } = span!;
  return {
    traceId,
    spanId,
    ...(parent !== null && { parentSpanId: parent.spanId }),
    name: `${method} ${direction === 'out' ? 'to' : 'from'} ${peer || 'unknown'}`,
    kind: direction === 'out' ? CLIENT : SERVER,
    startTimeUnixNano: nanos(startMs),
    endTimeUnixNano: nanos(startMs + ms),
    attributes: [
      text('http.request.method', method),
      text('url.path', path),
      int('http.response.status_code', status),
      int('http.response.body.size', bytes),
      text('agnt2.peer', peer),
      text('agnt2.route', route),
      int('agnt2.price', price),
      ...(code === '' ? [] : [text('error.type', code)]),
    ],
    status: code !== '' || status >= 500 ? { code: ERROR } : {},
  };
}
