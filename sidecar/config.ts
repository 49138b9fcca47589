/** The config file, read once and wholly checked: every mistake is named at once, nothing starts on a guess. */
import { readFileSync } from 'node:fs';
import { parseId } from '../protocol/ids.ts';
import { type Rate, UNITS } from '../protocol/meter.ts';
import { type Pattern, readPattern } from './egress/hosts.ts';
import { refusal } from './errors.ts';
import { type Endpoint, Fields } from './fields.ts';
import { type PolicyConfig, readPolicy } from './policy/config.ts';
import { type PriceTable, ceilingOf } from './prices.ts';
import { parseSecret, readKeyFile } from './signer/keys.ts';
import { NAME, normaliseTarget } from './target.ts';

export interface ServiceConfig extends PriceTable {
  readonly name: string;
  readonly description: string;
  /** Seconds within which a paid first-contact call must be answered, else the payer is refunded. */
  readonly deadlineSeconds: number;
  /** Whether it may be a leg of workflows: then an answer is paid only if all the other legs are answered too. */
  readonly workflows: boolean;
}

export interface SessionConfig {
  /** Whether the sidecar opens sessions by itself. */
  readonly auto: boolean;
  /** Calls that go through Core before a session is opened. */
  readonly afterCalls: number;
  /** Base units locked when opening one. */
  readonly deposit: number;
  /** Base units a peer may owe us unsigned. */
  readonly credit: number;
  /** Seconds a peer has to settle newer halves after an exit; of sessions we open. */
  readonly exitDelay: number;
  /** Least exit delay and deposit of a session somebody opens with us. */
  readonly minExitDelay: number;
  readonly minDeposit: number;
  readonly direct: DirectConfig;
}

/** Links between sidecars that can reach each other; without any of it, sessions stay with the relay. */
export interface DirectConfig {
  /** Where this side listens; null: it only dials. */
  readonly listen: Endpoint | null;
  /** What peers are told to dial, `ws://…` or `wss://…`; null: the listener's own address. */
  readonly advertise: string | null;
  /** What may be dialled: `private` (RFC 1918, fc00::/7), ranges like `198.51.100.0/24`, or `host:port`. None: nobody. */
  readonly dial: readonly string[];
}

/** The process that holds the machine key. */
export interface SignerConfig {
  /** Unix socket of one that runs already; null: the sidecar starts its own, with the settings below. */
  readonly socket: string | null;
  /** Unix seconds after which it signs no more. */
  readonly expires: number | null;
  /** Base units its bundles may put at risk, whatever the policy says. */
  readonly perHour: number | null;
  readonly perDay: number | null;
}

/** What the app may reach that is not AGNT2. */
export interface EgressConfig {
  readonly allow: readonly Pattern[];
  /** Stands above `allow`. */
  readonly deny: readonly Pattern[];
  /** Bytes of a body in plain HTTP, each way; of a tunnel, both ways together. */
  readonly maxBytes: number;
  /** Seconds an exchange or a tunnel may last. */
  readonly maxSeconds: number;
}

/** Where an app that knows of no proxy is led: to names that are all the sidecar's, and ports at which it goes by what is asked for. */
export interface TransparentConfig {
  /** Of the address that the names lead to. */
  readonly host: string;
  /** Ports of TCP, of HTTP and TLS alike. */
  readonly ports: readonly number[];
  /** Port of the name server, UDP. */
  readonly dns: number;
}

export interface Config {
  /** Base URL of the gateway, without a trailing slash. */
  readonly gateway: string;
  readonly agent: number;
  readonly keyFile?: string;
  /** Directory name to hold. */
  readonly name?: string;
  readonly description: string;
  /** Origin of the app, `h2c://…` of one that speaks HTTP/2 without TLS; none for an agent that only calls others. */
  readonly app?: string;
  readonly listen: Endpoint;
  readonly admin: Endpoint;
  readonly services: readonly ServiceConfig[];
  readonly policy: PolicyConfig;
  readonly egress: EgressConfig;
  /** None: the app has to ask its proxy. */
  readonly transparent: TransparentConfig | null;
  /** Whether each call is a line of the log. */
  readonly accessLog: boolean;
  readonly signer: SignerConfig;
  readonly session: SessionConfig;
  readonly stateDir: string;
  /** Seconds a graceful stop may take. */
  readonly drainSeconds: number;
}

const HTTP = 80;
const HTTPS = 443;
const DNS = 53;

/** A path pattern must be in the form that targets are matched in, else it would never match. */
function checkPattern(fields: Fields, key: string, pattern: unknown): string {
  try {
    if (typeof pattern !== 'string') throw new Error('not text');
    const path = pattern.replace(/\*$/, '');
    if (path.includes('*') || path.includes('?') || normaliseTarget(path) !== path) throw new Error('not normal');
    return pattern;
  } catch {
    fields.fault(key, 'must be a plain path like /v1/run, or a prefix like /v1/*');
    return '';
  }
}

/** How the calls of a route are counted, of one whose price is the most a call may cost. */
function readRate(value: unknown, most: number, path: string, faults: string[]): Rate | null {
  if (value === undefined) return null;
  const fields = new Fields(value, path, faults);
  const unit = UNITS.find((name) => name === fields.get('unit'));
  if (unit === undefined) fields.fault('unit', `must be one of ${UNITS.join(', ')}`);
  const rate = {
    unit: unit ?? UNITS[0],
    each: fields.integer('each', 1, 1, 2 ** 31),
    price: fields.amount('price'),
    base: fields.amount('base', 0),
  };
  if (rate.price === 0) fields.fault('price', 'must be more than 0');
  if (rate.base + rate.price > most)
    fields.fault('base', "and price must fit into the route's price, the most a call costs");
  fields.done();
  return rate;
}

function readService(value: unknown, path: string, faults: string[]): ServiceConfig {
  const fields = new Fields(value, path, faults);
  const routes = fields.list('routes').map((entry, i) => {
    const route = new Fields(entry, `${path}.routes[${i}]`, faults);
    const method = route.text('method', '*');
    if (!/^(?:\*|[A-Z][A-Z-]*)$/.test(method)) route.fault('method', 'must be an upper-case HTTP method or *');
    const price = route.amount('price');
    const per = readRate(route.get('per'), price, `${path}.routes[${i}].per`, faults);
    const read = { method, path: checkPattern(route, 'path', route.get('path')), price, ...(per && { per }) };
    route.done();
    return read;
  });
  const dearest = routes.reduce((max, { price }) => Math.max(max, price), 0);
  const service = {
    name: fields.text('name'),
    description: fields.text('description', ''),
    routes,
    // Without a word on it, what no route names costs as much as the dearest route: a way round the table gains nothing.
    defaultPrice: fields.amount('defaultPrice', routes.length > 0 ? dearest : undefined),
    free: fields.list('free').map((pattern, i) => checkPattern(fields, `free[${i}]`, pattern)),
    deadlineSeconds: fields.integer('deadlineSeconds', 300, 1, 2 ** 25),
    workflows: fields.flag('workflows', false),
  };
  fields.done();
  return service;
}

function readEgress(value: unknown, faults: string[]): EgressConfig {
  const fields = new Fields(value ?? {}, 'egress', faults);
  const patterns = (key: string): Pattern[] =>
    fields.list(key).flatMap((entry, i) => {
      const pattern = typeof entry === 'string' ? readPattern(entry.toLowerCase()) : null;
      if (pattern === null) fields.fault(`${key}[${i}]`, 'must be a host like api.x.com, *.x.com or api.x.com:8443');
      return pattern ?? [];
    });
  const egress = {
    allow: patterns('allow'),
    deny: patterns('deny'),
    maxBytes: fields.amount('maxBytes', 2 ** 30),
    maxSeconds: fields.integer('maxSeconds', 3600, 1, 86_400),
  };
  fields.done();
  return egress;
}

function readTransparent(value: unknown, faults: string[]): TransparentConfig | null {
  if (value === undefined) return null;
  const fields = new Fields(value, 'transparent', faults);
  const host = fields.text('host');
  if (/^[0.]*$|^[0:[\]]*$/.test(host) && host !== '')
    fields.fault('host', 'must be one address, or a name that has one');
  const given = fields.get('ports') === undefined ? [HTTP, HTTPS] : fields.list('ports');
  const ports = given.filter(
    (port): port is number => Number.isInteger(port) && Number(port) >= 0 && Number(port) < 65536,
  );
  if (ports.length < given.length || ports.length === 0) fields.fault('ports', 'must be numbers from 0 to 65535');
  const transparent = { host, ports, dns: fields.integer('dns', DNS, 0, 65535) };
  fields.done();
  return transparent;
}

function readSigner(value: unknown, faults: string[]): SignerConfig {
  const fields = new Fields(value ?? {}, 'signer', faults);
  const ceiling = (key: string): number | null => (fields.get(key) === undefined ? null : fields.amount(key));
  const expires = fields.text('expires', '');
  const at = expires === '' ? null : Date.parse(expires) / 1000;
  if (at !== null && !(at > 0)) fields.fault('expires', 'must be a time like 2027-01-31T00:00:00Z');
  const signer = {
    socket: fields.text('socket', '') || null,
    expires: at === null ? null : Math.floor(at),
    perHour: ceiling('perHour'),
    perDay: ceiling('perDay'),
  };
  // What guards against the sidecar is not the sidecar's to say.
  if (signer.socket !== null && (signer.expires ?? signer.perHour ?? signer.perDay) !== null)
    fields.fault('socket', 'is of a signer with its own --expires, --per-hour and --per-day; leave those out here');
  fields.done();
  return signer;
}

/** Unsigned calls a peer may owe by default, at our dearest price. */
const CREDIT_CALLS = 64;

function readDirect(value: unknown, faults: string[]): DirectConfig {
  const fields = new Fields(value ?? {}, 'session.direct', faults);
  const listens = fields.get('listen') !== undefined;
  const direct = {
    listen: listens ? fields.endpoint('listen', '127.0.0.1:8404') : null,
    advertise: fields.get('advertise') === undefined ? null : fields.text('advertise'),
    dial: fields.list('dial').map(String),
  };
  if (direct.advertise !== null && !/^wss?:\/\/[^/?#@]+$/.test(direct.advertise))
    fields.fault('advertise', 'must be ws://host:port or wss://host:port');
  if (direct.advertise !== null && !listens) fields.fault('advertise', 'needs listen');
  fields.done();
  return direct;
}

function readSession(value: unknown, dearest: number, faults: string[]): SessionConfig {
  const fields = new Fields(value ?? {}, 'session', faults);
  const deposit = fields.amount('deposit', 0);
  const session = {
    auto: fields.flag('auto', deposit > 0),
    afterCalls: fields.integer('afterCalls', 1, 0, 1_000_000),
    deposit,
    credit: fields.amount('credit', Math.max(1, CREDIT_CALLS * dearest)),
    exitDelay: fields.integer('exitDelay', 3600, 1, 2 ** 25),
    minExitDelay: fields.integer('minExitDelay', 600, 1, 2 ** 25),
    minDeposit: fields.amount('minDeposit', 1),
    direct: readDirect(fields.get('direct'), faults),
  };
  if (session.auto && deposit === 0) fields.fault('deposit', 'must be more than 0 when auto is true');
  fields.done();
  return session;
}

/** Checks a parsed config file. Throws `bad_config` naming every fault. */
export function readConfig(value: unknown): Config {
  const faults: string[] = [];
  const fields = new Fields(value, '', faults);
  let agent = 0;
  const id = fields.text('agent');
  try {
    if (id !== '') agent = parseId(id);
  } catch {
    fields.fault('agent', 'must be an id like 0:7');
  }
  const optional = (key: string): string | undefined => (fields.get(key) === undefined ? undefined : fields.text(key));
  const services = fields.list('services').map((service, i) => readService(service, `services[${i}]`, faults));
  const config: Config = {
    gateway: fields.origin('gateway'),
    agent,
    keyFile: optional('keyFile'),
    name: optional('name'),
    description: fields.text('description', ''),
    app: fields.get('app') === undefined ? undefined : fields.origin('app', true),
    listen: fields.endpoint('listen', '127.0.0.1:8402'),
    admin: fields.endpoint('admin', '127.0.0.1:8403'),
    services,
    policy: readPolicy(fields.get('policy'), faults),
    egress: readEgress(fields.get('egress'), faults),
    transparent: readTransparent(fields.get('transparent'), faults),
    accessLog: fields.flag('accessLog', false),
    signer: readSigner(fields.get('signer'), faults),
    session: readSession(fields.get('session'), Math.max(0, ...services.map(ceilingOf)), faults),
    stateDir: fields.text('stateDir', '.agnt2'),
    drainSeconds: fields.integer('drainSeconds', 30, 1, 3600),
  };
  if (config.name !== undefined && config.name !== '' && !NAME.test(config.name))
    fields.fault('name', 'must be lower-case letters, digits and inner hyphens, at most 63');
  if (config.services.length > 0 && config.app === undefined)
    fields.fault('app', 'is missing, but there are services to serve');
  const names = config.services.map(({ name }) => name);
  if (new Set(names).size !== names.length) fields.fault('services', 'must have different names');
  fields.done();
  if (faults.length > 0) throw refusal('bad_config', faults.join('; '));
  return config;
}

/** Reads a config file's JSON, unchecked. Throws `bad_config`. */
export function parseConfig(path: string): unknown {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (cause) {
    throw refusal('bad_config', `can't read ${path}`, cause);
  }
  try {
    return JSON.parse(text) as unknown;
  } catch (cause) {
    throw refusal('bad_config', `${path} is not JSON: ${(cause as Error).message}`, cause);
  }
}

/** Reads and checks a config file. Throws `bad_config`. */
export const loadConfig = (path: string): Config => readConfig(parseConfig(path));

/** The machine key's secret as text: from `keyFile` (readable by its owner alone), else from AGNT2_MACHINE_KEY. Throws `bad_config`. */
export function loadSecretText({ keyFile }: Pick<Config, 'keyFile'>, env: NodeJS.ProcessEnv = process.env): string {
  const text = keyFile === undefined ? env.AGNT2_MACHINE_KEY : readKeyFile(keyFile);
  if (text === undefined) throw refusal('bad_config', 'no machine key: set keyFile or AGNT2_MACHINE_KEY');
  return text;
}

/** As {@link loadSecretText}, as the 32 bytes it stands for. Throws `bad_config`. */
export function loadSecret(config: Pick<Config, 'keyFile'>, env: NodeJS.ProcessEnv = process.env): Uint8Array {
  return parseSecret(loadSecretText(config, env));
}
