/**
 * What a container's labels say, as settings of the sidecar beside it. Opt-in (`agnt2.enable=true`), total, and strict: a
 * label nobody knows is refused, not passed over, as a misspelt budget is no budget.
 */
import { readPattern } from '../egress/hosts.ts';
import { refusal } from '../errors.ts';
import { readAmount } from '../prices.ts';
import { NAME, normaliseTarget } from '../target.ts';

/** What Docker says of a container, as far as it matters here. */
export interface ContainerFacts {
  readonly id: string;
  /** Its own name, unique on the engine. */
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  /** Labels of its image: whoever built that decides nothing here. */
  readonly imageLabels: Readonly<Record<string, string>>;
  /** TCP ports it exposes. */
  readonly ports: readonly number[];
}

/** Settings in the words of the sidecar's config (`config.ts`), amounts as decimal strings. */
export interface Labelled {
  readonly name: string;
  /** Where the container is reached from its sidecar; none if it only calls. */
  readonly app?: string;
  readonly services?: readonly LabelledService[];
  /** Caps in base units. They lower what the operator's file allows, and never raise it. */
  readonly policy?: Readonly<Partial<Record<'perCall' | 'perHour' | 'perDay' | 'perPeer', string>>>;
  readonly egress?: { readonly allow: readonly string[] };
}

export interface LabelledService {
  readonly name: string;
  readonly description: string;
  readonly routes: readonly { readonly method: string; readonly path: string; readonly price: string }[];
  readonly defaultPrice?: string;
  readonly free: readonly string[];
  readonly deadlineSeconds?: number;
}

const PREFIX = 'agnt2.';
const BUDGETS = {
  'budget.call': 'perCall',
  'budget.hour': 'perHour',
  'budget.day': 'perDay',
  'budget.peer': 'perPeer',
};
const KNOWN = [
  'enable',
  'name',
  'description',
  'port',
  'protocol',
  'price',
  'free',
  'deadline',
  'egress.allow',
  ...Object.keys(BUDGETS),
];
/** Of compose, on everything it starts. */
const COMPOSE_SERVICE = 'com.docker.compose.service';
const CONTAINER = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,254}$/;
const MAX_DEADLINE = 2 ** 25;
/** What an app speaks at its port: HTTP/1.1, or HTTP/2 without TLS, as gRPC does. */
const PROTOCOLS = ['http', 'h2c'];

/** Edits from one word to another, insertions, deletions and replacements each one (Levenshtein). */
function distance(from: string, to: string): number {
  let row = Array.from({ length: to.length + 1 }, (_, i) => i);
  for (let i = 1; i <= from.length; i++) {
    const next = [i];
    for (let j = 1; j <= to.length; j++)
      next.push(Math.min(row[j] + 1, next[j - 1] + 1, row[j - 1] + (from[i - 1] === to[j - 1] ? 0 : 1)));
    row = next;
  }
  return row[to.length];
}

function suggestion(word: string): string {
  const [best] = KNOWN.map((known) => ({ known, edits: distance(word, known) })).toSorted((a, b) => a.edits - b.edits);
  return best.edits <= Math.max(2, word.length / 3) ? `; did you mean ${PREFIX}${best.known}?` : '';
}

/** A label's text shown to people and written to logs: one line, of a bounded length, nothing a terminal would act on. */
export const shown = (text: string): string =>
  JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}…` : text).replace(/[^\x20-\x7e]/g, '?');

const items = (text: string, separator: RegExp): string[] =>
  text
    .split(separator)
    .map((item) => item.trim())
    .filter((item) => item !== '');

/** A path in the one form targets are matched in, or a prefix `…*` of such; null for anything else. */
function pattern(text: string): string | null {
  const path = text.replace(/\*$/, '');
  try {
    return path.includes('*') || path.includes('?') || normaliseTarget(path) !== path ? null : text;
  } catch {
    return null;
  }
}

type Prices = Pick<LabelledService, 'routes' | 'defaultPrice'>;

/** Reads `POST /run=200; /v1/*=20; *=500`. */
function readPrices(text: string, fault: (why: string) => void): Prices {
  const routes: { method: string; path: string; price: string }[] = [];
  let defaultPrice: string | undefined;
  for (const item of items(text, /;/)) {
    const match = /^(?:([A-Z][A-Z-]*|\*)\s+)?(\S+?)\s*=\s*(\S+)$/.exec(item);
    if (!match || readAmount(match[3]) === null) {
      fault(`has ${shown(item)}, which is not METHOD /path=amount or *=amount`);
      continue;
    }
    const [, method = '*', path, price] = match;
    if (path === '*' && method === '*') {
      if (defaultPrice !== undefined) fault('names * twice');
      defaultPrice = price;
    } else if (pattern(path) === null) {
      fault(`has the path ${shown(path)}, which is neither plain like /v1/run nor a prefix like /v1/*`);
    } else if (routes.some((route) => route.method === method && route.path === path)) {
      fault(`names ${method} ${path} twice`);
    } else routes.push({ method, path, price });
  }
  return { routes, ...(defaultPrice !== undefined && { defaultPrice }) };
}

/**
 * Reads an enabled container's labels. Throws `unknown_label`, `image_label`, `ambiguous_port`, `no_port` or `bad_label`, naming every
 * fault of that kind; null when `agnt2.enable` is not `true`.
 */
export function readLabels(container: ContainerFacts): Labelled | null {
  const own = new Map<string, string>();
  for (const [label, value] of Object.entries(container.labels))
    if (label.startsWith(PREFIX)) own.set(label.slice(PREFIX.length), value);
    // Labels are told apart by case; whoever wrote this meant one of ours.
    else if (label.toLowerCase().startsWith(PREFIX)) own.set(label, value);
  const enable = own.get('enable');
  if (enable === 'false') return null;

  const unknown = [...own.keys()].filter((label) => !KNOWN.includes(label));
  if (unknown.length > 0)
    throw refusal(
      'unknown_label',
      unknown
        .map(
          (label) =>
            `${shown(label.toLowerCase().startsWith(PREFIX) ? label : PREFIX + label)} is no label of AGNT2${suggestion(label.toLowerCase().replace(PREFIX, ''))}`,
        )
        .join('; '),
    );
  const foreign = [...own.keys()].filter((label) => container.imageLabels[PREFIX + label] !== undefined);
  if (foreign.length > 0)
    throw refusal(
      'image_label',
      `${foreign.map((label) => PREFIX + label).join(', ')} came with the image: what a service costs and may spend is its operator's to say. Build the image without, or set up this container's sidecar by its config file alone`,
    );

  const faults: string[] = [];
  const fault = (label: string, why: string): void => void faults.push(`${PREFIX}${label} ${why}`);
  if (enable !== 'true') fault('enable', 'must be true or false');
  const amount = (label: string): string | undefined => {
    const text = own.get(label)?.trim();
    if (text !== undefined && readAmount(text) === null) fault(label, 'must be a whole number of base units');
    return text;
  };
  const service = container.labels[COMPOSE_SERVICE];
  const name = own.get('name')?.trim() ?? service ?? container.name;
  if (!NAME.test(name))
    fault('name', `must be lower-case letters, digits and inner hyphens, at most 63: ${shown(name)} is not`);
  const policy = Object.fromEntries(
    Object.entries(BUDGETS)
      .map(([label, cap]) => [cap, amount(label)] as const)
      .filter(([, value]) => value !== undefined),
  );
  const allow = own.has('egress.allow')
    ? items(own.get('egress.allow')!.toLowerCase(), /[\s,]+/).filter((host) => {
        if (readPattern(host) === null)
          fault('egress.allow', `has ${shown(host)}, which is no host like api.x.com, *.x.com or api.x.com:8443`);
        return true;
      })
    : undefined;
  const result = {
    name,
    ...serving(container, own, service ?? container.name, fault),
    ...(Object.keys(policy).length > 0 && { policy }),
    ...(allow !== undefined && { egress: { allow } }),
  };
  if (faults.length > 0) throw refusal('bad_label', faults.join('; '));
  return { ...result, ...(result.services && { services: result.services.map((each) => ({ ...each, name })) }) };
}

/** The part about what the container serves; nothing if it says no price. */
function serving(
  { ports, name }: ContainerFacts,
  own: ReadonlyMap<string, string>,
  host: string,
  fault: (label: string, why: string) => void,
): Pick<Labelled, 'app' | 'services'> {
  const text = own.get('price');
  if (text === undefined || text === '') {
    for (const label of ['port', 'protocol', 'free', 'deadline'])
      if (own.has(label)) fault(label, `is of no use without ${PREFIX}price: unknown routes are paid, not free`);
    return {};
  }
  const prices = readPrices(text, (why) => fault('price', why));
  if (prices.routes.length === 0 && prices.defaultPrice === undefined) fault('price', 'names no price');
  const free = items(own.get('free') ?? '', /[\s,]+/);
  for (const path of free)
    if (pattern(path) === null) fault('free', `has ${shown(path)}, which is neither a plain path nor a prefix`);
  const seconds = own.get('deadline')?.trim();
  const deadlineSeconds = Number(seconds);
  if (seconds !== undefined && !(/^\d{1,8}$/.test(seconds) && deadlineSeconds >= 1 && deadlineSeconds <= MAX_DEADLINE))
    fault('deadline', `must be seconds, 1 to ${MAX_DEADLINE}`);
  const protocol = own.get('protocol')?.trim() ?? PROTOCOLS[0];
  if (!PROTOCOLS.includes(protocol)) fault('protocol', `must be one of ${PROTOCOLS.join(', ')}`);
  if (!CONTAINER.test(host)) fault('name', `can't be reached: ${shown(host)} is no host name`);
  return {
    app: `${protocol}://${host}:${portOf(name, own.get('port')?.trim(), ports, fault)}`,
    services: [
      {
        name,
        description: own.get('description') ?? '',
        ...prices,
        free,
        ...(seconds !== undefined && { deadlineSeconds }),
      },
    ],
  };
}

function portOf(
  name: string,
  label: string | undefined,
  ports: readonly number[],
  fault: (label: string, why: string) => void,
): number {
  if (label !== undefined) {
    const port = Number(label);
    if (!/^\d{1,5}$/.test(label) || port < 1 || port > 65535) fault('port', 'must be a port, 1 to 65535');
    return port;
  }
  if (ports.length === 0)
    throw refusal('no_port', `${name} exposes no port: say with ${PREFIX}port where its service listens`);
  if (ports.length > 1)
    throw refusal(
      'ambiguous_port',
      `${name} exposes ${ports.join(', ')}: say with ${PREFIX}port which of them is the service`,
    );
  return ports[0];
}
