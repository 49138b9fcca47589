/** What the page knows, and how it hears of more. One poll a second asks only what is new; views ask for the rest. */
import { big, serialOf } from './format.js';
import { commitment, emptyRoot } from './verify.js';

const LIMIT = 50;
const KEEP_CHUNKS = 2000;

export const store = {
  status: null,
  online: null, // null until the first answer
  lastSeenMs: 0,
  cursor: null,
  /** newest last */ events: [],
  agents: new Map(),
  services: new Map(),
  sessions: new Map(),
  batches: new Map(),
  /** by `shard/number` */ chunks: new Map(),
  /** session → recent {t, calls, paid} totals, for rates */ flow: new Map(),
};

export class Missing extends Error {}

/** GETs JSON. Throws Missing for 404 and 410, Error for whatever means that the gateway can't answer. */
export async function get(path) {
  const answer = await fetch(path, { headers: { accept: 'application/json' }, signal: AbortSignal.timeout(10_000) });
  const body = await answer.json().catch(() => null);
  if (answer.ok && body !== null) return body;
  const detail = body?.detail ?? body?.title ?? `HTTP ${answer.status}`;
  throw answer.status >= 400 && answer.status < 500 && answer.status !== 429 ? new Missing(detail) : new Error(detail);
}

export const shards = () => store.status?.shards ?? [];
export const shardOf = (shard) => shards().find((s) => String(s.shard) === String(shard));
export const total = (field) => shards().reduce((sum, s) => sum + big(s[field]), 0n);
export const domain = () => ({ chainId: store.status.chainId, root: store.status.root });

/** The window of the newest `limit` before `to`, over all shards. `field` counts them in /status. */
async function newest(kind, field, into, to) {
  const found = await Promise.all(
    shards().map(async (s) => {
      const last = Math.min(Number(s[field]), to ?? Infinity);
      return last > 0
        ? (await get(`/${kind}?after=${s.shard}:${Math.max(0, last - LIMIT)}&limit=${Math.min(LIMIT, last)}`))[kind]
        : [];
    }),
  );
  const list = found.flat();
  for (const one of list) into.set(one.id, one);
  return list.map((one) => one.id);
}

let agentsAt = 0;
/** Agents change with every chunk, so their list is asked for at most every three seconds. */
export async function agentsWindow(change, to) {
  const fresh = store.agents.size && change && Date.now() - agentsAt < 3000;
  if (!fresh) {
    agentsAt = Date.now();
    await newest('agents', 'agents', store.agents, to);
  }
  const last = to ?? Infinity;
  return [...store.agents.values()].filter(
    (a) =>
      serialOf(a.id) <= last &&
      serialOf(a.id) > Math.min(last, Number(shardOf(a.id.split(':')[0])?.agents ?? 0)) - LIMIT,
  );
}

export async function servicesWindow(change) {
  if (!change || total('services') !== BigInt(store.services.size))
    await newest('services', 'services', store.services);
  return [...store.services.values()];
}

function heard(one) {
  store.sessions.set(one.id, one);
  const sums = sessionSums(one);
  const past = store.flow.get(one.id) ?? [];
  const t = Date.now();
  past.push({ t, calls: Number(sums.calls), paid: Number(sums.paid) });
  while (past.length > 2 && t - past[1].t > 15_000) past.shift();
  store.flow.set(one.id, past);
}

export async function sessionsWindow(change, to) {
  const known = change && store.sessions.size >= Number(total('sessions') > BigInt(LIMIT) ? LIMIT : total('sessions'));
  if (known && change.sessions.size <= 8) {
    await Promise.all([...change.sessions].map(async (id) => heard(await get(`/sessions/${id}`))));
  } else {
    const window = new Map();
    await newest('sessions', 'sessions', window, to);
    for (const one of window.values()) heard(one);
  }
  const last = to ?? Infinity;
  return [...store.sessions.values()]
    .filter((s) => serialOf(s.id) <= last)
    .toSorted((x, y) => serialOf(y.id) - serialOf(x.id));
}

export async function session(id) {
  heard(await get(`/sessions/${id}`));
  return store.sessions.get(id);
}

const larger = (a, b) => (big(a) > big(b) ? big(a) : big(b));

/** Newest known counters of a session, both ways: what is signed, whether or not it is settled. */
export function sessionSums(s) {
  const half = (dir) => s.live?.halves?.find((one) => one && Number(one.dir) === dir);
  const [ab, ba] = [half(0), half(1)];
  const sums = {
    paidAB: larger(s.paidAB, ab?.paid),
    paidBA: larger(s.paidBA, ba?.paid),
    callsAB: larger(s.callsAB, ab?.calls),
    callsBA: larger(s.callsBA, ba?.calls),
    ab,
    ba,
  };
  return { ...sums, paid: sums.paidAB + sums.paidBA, calls: sums.callsAB + sums.callsBA };
}

/** What flowed per second over the last 15 seconds: {calls, paid}, of one session or all. */
export function rate(id) {
  const sum = { calls: 0, paid: 0 };
  for (const past of id ? [store.flow.get(id) ?? []] : store.flow.values()) {
    if (past.length < 2 || Date.now() - past.at(-1).t > 15_000) continue;
    const seconds = Math.max(1, (Date.now() - past[0].t) / 1000);
    sum.calls += Math.max(0, past.at(-1).calls - past[0].calls) / seconds;
    sum.paid += Math.max(0, past.at(-1).paid - past[0].paid) / seconds;
  }
  return sum;
}

function hearBatch(b) {
  const flat = {
    ...b,
    ...b.header,
    number: Number(b.number ?? b.header.number),
    l1: b.l1 ?? { state: 'pending' },
    ranges: b.ranges ?? [],
  };
  store.batches.set(flat.number, flat);
  return flat;
}

/** The newest known batch's number. */
export const newestBatch = () => Math.max(0, ...store.batches.keys(), Number(store.status?.batches?.posted ?? 0));

export async function batchesWindow(change, to) {
  const size = 30;
  if (!change || !store.batches.size) {
    const last = to ?? newestBatch();
    const after = last - size;
    for (const b of (await get(`/batches?limit=${size + 5}${after >= 0 ? `&after=${after}` : ''}`)).batches)
      hearBatch(b);
  } else {
    const known = newestBatch();
    const moved = [...change.batches].filter((n) => n <= known && n > known - size);
    await Promise.all(moved.map(async (n) => hearBatch(await get(`/batches/${n}`))));
    if (change.batches.size > moved.length || change.status)
      for (const b of (await get(`/batches?after=${Math.max(0, ...store.batches.keys())}&limit=${size}`)).batches)
        hearBatch(b);
  }
  if (!store.batches.has(0)) await batch(0);
  const top = to ?? newestBatch();
  return [...store.batches.values()]
    .filter((b) => b.number <= top && b.number > top - size)
    .toSorted((x, y) => y.number - x.number);
}

/** Genesis is the same everywhere, so it is made here and not asked for. */
function genesis() {
  const zero = `0x${'00'.repeat(32)}`;
  const stateRoot = emptyRoot();
  return {
    number: 0,
    header: {
      number: 0,
      prev: zero,
      pre: zero,
      post: commitment(stateRoot),
      steps: 0,
      timeFrom: 0,
      timeTo: 0,
      inboxCursor: 0,
      dataRoot: zero,
      da: 0,
    },
    stateRoot,
    l1: { state: 'final' },
  };
}

export async function batch(number) {
  return hearBatch(Number(number) === 0 ? genesis() : await get(`/batches/${number}`));
}

/** The batch that holds a place, as far as known here. */
export function batchOf(shard, seq, hint) {
  if (hint !== undefined && hint !== null) return Number(hint);
  const at = Number(seq);
  for (const b of store.batches.values()) {
    if (
      b.ranges.some(
        (r) =>
          String(r.shard) === String(shard) && at >= Number(r.firstSeq) && at < Number(r.firstSeq) + Number(r.frames),
      )
    )
      return b.number;
  }
  return null;
}

function hearChunk(shard, told) {
  const one = { ...told, shard: Number(told.shard ?? shard), number: Number(told.number) };
  for (const frame of one.frames) {
    frame.shard ??= one.shard;
    frame.chunk ??= one.number;
  }
  store.chunks.set(`${one.shard}/${one.number}`, one);
  return one;
}

/** The newest `size` chunks of a shard, or those ending at `to`; only unknown ones are asked for. Newest first. */
export async function chunksWindow(shard, { size = 30, to } = {}) {
  if (store.chunks.size > KEEP_CHUNKS) store.chunks.clear();
  const last = to ?? Number(shardOf(shard)?.chunks ?? 0) - 1;
  const first = Math.max(0, last - size + 1);
  const have = (n) => store.chunks.get(`${shard}/${n}`);
  let from = first;
  while (from <= last && have(from)) from++;
  if (from <= last) {
    const asked = `/shards/${shard}/chunks?limit=${last - from + 1}${from > 0 ? `&after=${from - 1}` : ''}`;
    for (const c of (await get(asked)).chunks) hearChunk(shard, c);
  }
  return Array.from({ length: last - first + 1 }, (_, i) => have(last - i)).filter(Boolean);
}

/** Frames with `wanted(frame)`, newest first: of the newest chunks, and of older ones only while too few are found. */
export async function recentFrames(wanted, enough = 12) {
  for (const size of [30, 90, 240]) {
    const chunks = (await Promise.all(shards().map((s) => chunksWindow(s.shard, { size })))).flat();
    const found = chunks.flatMap((c) => c.frames.filter(wanted).map((f) => ({ f, timeMs: Number(c.timeMs) })));
    if (found.length >= enough || size === 240 || chunks.length < size)
      return found.toSorted((x, y) => y.timeMs - x.timeMs || Number(y.f.seq) - Number(x.f.seq)).slice(0, enough);
  }
}

export async function chunk(shard, number) {
  return store.chunks.get(`${shard}/${number}`) ?? hearChunk(shard, await get(`/shards/${shard}/chunks/${number}`));
}

const asking = new Set();
/** The name an agent announced, or null; one not yet known is asked for once, `then` is called when it came. */
export function nameOf(id) {
  const known = store.agents.get(id);
  if (known) return known.name || null;
  if (
    store.online &&
    id &&
    !asking.has(id) &&
    asking.size < 200 &&
    Number(shardOf(id.split(':')[0])?.agents ?? 0) >= serialOf(id)
  ) {
    asking.add(id);
    get(`/agents/${id}`).then(
      (agent) => store.agents.set(id, agent),
      () => {},
    );
  }
  return null;
}

/** One beat: asks for what is new. Resolves to what changed since the last, or null. */
export async function beat() {
  const [feed, status] = await Promise.all([
    get(store.cursor === null ? '/feed' : `/feed?after=${store.cursor}`),
    get('/status'),
  ]);
  const first = store.status === null;
  const change = {
    sessions: new Set(),
    batches: new Set(),
    agents: new Set(),
    chunks: false,
    status: false,
    any: false,
  };
  if (store.cursor !== null && Number(feed.cursor) < Number(store.cursor)) store.events = []; // a new gateway
  store.cursor = feed.cursor;
  for (const event of feed.events) {
    if (event.kind === 'session') change.sessions.add(event.id);
    if (event.kind === 'batch') change.batches.add(Number(event.number));
    if (event.kind === 'agent') change.agents.add(event.id);
    if (event.kind === 'chunk') change.chunks = true;
  }
  store.events = [...store.events, ...feed.events].slice(-300);
  if (!first) {
    const before = store.status;
    change.status = JSON.stringify(before.batches) !== JSON.stringify(status.batches);
    change.chunks ||=
      JSON.stringify(before.shards.map((s) => s.seq)) !== JSON.stringify(status.shards.map((s) => s.seq));
    if (before.root !== status.root || status.shards.some((s, i) => Number(s.seq) < Number(before.shards[i]?.seq ?? 0)))
      location.reload(); // another deployment
  }
  store.status = status;
  store.lastSeenMs = Date.now();
  change.any = change.chunks || change.status || feed.events.length > 0;
  return first || change.any ? change : null;
}

/** by `from/to/number`: messages that have been received; what they came to never changes. */
const messages = new Map();
/** A message between shards; null where the gateway has forgotten it. */
export async function message(from, to, number) {
  const key = `${from}/${to}/${number}`;
  const known = messages.get(key);
  if (known) return known;
  const told = await get(`/messages/${key}`).catch((error) => {
    if (error instanceof Missing) return null;
    throw error;
  });
  if (messages.size > 2000) messages.clear();
  if (told?.state === 'received') messages.set(key, told);
  return told;
}
