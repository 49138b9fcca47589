/** Routes, the beat, and what every view shares: the live mark, the banner, copying, jumping. */
import { h, morph } from './dom.js';
import { amountText, ago, count, plural } from './format.js';
import { relight } from './graph.js';
import { beat, get, Missing, store, total } from './store.js';
import { empty } from './parts.js';
import { overview } from './views/overview.js';
import { agent, agents } from './views/agents.js';
import { service, services } from './views/services.js';
import { session, sessions } from './views/sessions.js';
import { chunk, frame, trace } from './views/trace.js';
import { batch, batches } from './views/batches.js';
import { call } from './views/call.js';
import { dispute, disputes } from './views/disputes.js';
import { escrow } from './views/escrow.js';
import { graph } from './views/graph.js';
import { capability, message } from './views/records.js';
import { workflow, workflows } from './views/workflows.js';

/** A view is {title, load(args, change, data), draw(args, data)}; load gets null as change when it is entered; act answers with what it adds to the data. */
const ROUTES = [
  [/^\/$/, overview],
  [/^\/agents$/, agents],
  [/^\/agents\/(\d+:\d+)$/, agent],
  [/^\/services$/, services],
  [/^\/services\/(\d+:\d+)$/, service],
  [/^\/sessions$/, sessions],
  [/^\/sessions\/(\d+:\d+)$/, session],
  [/^\/trace$/, trace],
  [/^\/trace\/(\d+)\/(\d+)$/, chunk],
  [/^\/frames\/(\d+)\/(\d+)$/, frame],
  [/^\/batches$/, batches],
  [/^\/batches\/(\d+)$/, batch],
  [/^\/disputes$/, disputes],
  [/^\/disputes\/(\d+)$/, dispute],
  [/^\/calls\/(\d+)\/(\d+)\/(\d+)$/, call],
  [/^\/escrows\/(\d+:\d+)$/, escrow],
  [/^\/graph$/, graph],
  [/^\/workflows$/, workflows],
  [/^\/workflows\/(\d+:\d+)$/, workflow],
  [/^\/capabilities\/(\d+:\d+)$/, capability],
  [/^\/messages\/(\d+)\/(\d+)\/(\d+)$/, message],
];
const BEAT_MS = 1000;
const $ = (id) => document.getElementById(id);
const main = $('main');
let shown = null; // {view, args, data, error, acted: what act found}

function parse() {
  const [path, query] = (location.hash.slice(1) || '/').split('?');
  for (const [pattern, view] of ROUTES) {
    const match = pattern.exec(path);
    if (match) return { view, args: { path, parts: match.slice(1), query: new URLSearchParams(query) } };
  }
  return { view: null, args: { path, parts: [], query: new URLSearchParams() } };
}

function paint() {
  const page = h('main', {});
  if (!shown.view) page.append(empty('Nothing lives at this address', 'Choose a view above, or jump to an id.'));
  else if (shown.error instanceof Missing)
    page.append(empty('Not found', `The gateway answers: ${shown.error.message}`));
  else if (shown.data === undefined)
    page.append(h('div.loading', { role: 'status' }, store.online === false ? '' : 'Loading…'));
  else
    page.append(
      h('div.view', { 'data-key': location.hash || '#/', 'data-still': true }, shown.view.draw(shown.args, shown.data)),
    );
  page.id = 'main';
  page.setAttribute('tabindex', '-1');
  morph(main, page);
  relight();
  const title = shown.view ? shown.view.title(shown.args, shown.data) : 'Not found';
  document.title = title === 'Overview' ? 'AGNT2 explorer' : `${title} · AGNT2`;
}

async function load(change) {
  const mine = shown;
  if (!mine.view || mine.busy) return;
  mine.busy = true;
  try {
    const data = await mine.view.load(mine.args, change, mine.data);
    if (shown !== mine) return;
    mine.data = mine.acted ? { ...data, ...mine.acted } : data;
    mine.error = null;
  } catch (error) {
    if (!(error instanceof Missing)) throw error;
    mine.error = error;
  } finally {
    mine.busy = false;
    if (shown === mine) paint();
  }
}

function reach(ok, error) {
  const was = store.online;
  store.online = ok;
  const banner = $('banner');
  banner.hidden = ok;
  if (!ok) {
    const what =
      error instanceof TypeError || /^(Timeout|Abort)Error$/.test(error?.name)
        ? 'Can’t reach the gateway'
        : `The gateway could not answer: ${error?.message}`;
    banner.textContent = `${what}. Trying again every few seconds; ${store.lastSeenMs ? `what you see is from ${ago(store.lastSeenMs)}` : 'is it running?'}.`;
  }
  const pulse = $('pulse');
  pulse.className = `pulse ${ok ? 'on' : 'off'}`;
  pulse.lastElementChild.textContent = ok ? count(total('seq')) : 'offline';
  pulse.title = ok ? `Live: ${plural(total('seq'), 'frame')} sequenced` : 'The gateway does not answer';
  if (ok)
    $('foot').textContent =
      `chain ${store.status.chainId} · ${store.status.version ? `AGNT2 ${store.status.version} · ` : ''}amounts in token units, ${amountText(1)} the least`;
  return ok && was === false;
}

async function go() {
  const { view, args } = parse();
  shown = { view, args, data: undefined, error: null };
  for (const link of document.querySelectorAll('#nav a')) {
    const to = link.getAttribute('href').slice(1);
    const here =
      to === '/'
        ? args.path === '/'
        : args.path.startsWith(to) ||
          (to === '/trace' && /^\/(frames|calls|escrows)/.test(args.path)) ||
          (to === '/graph' && args.path.startsWith('/messages'));
    if (here) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
  document.querySelector('#nav [aria-current]')?.scrollIntoView({ block: 'nearest', inline: 'center' });
  $('tip')?.remove();
  if (!store.status) return paint();
  const slow = setTimeout(paint, 200);
  try {
    await load(null);
  } catch (error) {
    reach(false, error);
    paint();
  }
  clearTimeout(slow);
  scrollTo(0, 0);
}

let timer;
let fails = 0;
async function tick() {
  clearTimeout(timer);
  if (document.hidden) return;
  try {
    const first = store.status === null;
    const change = await beat();
    const back = reach(true);
    if (first || back || shown.data === undefined) await load(null);
    else if (change) await load(change);
    else paint();
    fails = 0;
  } catch (error) {
    reach(false, error);
    if (error instanceof TypeError && !/fetch|network/i.test(error.message)) console.error(error);
    fails = Math.min(fails + 1, 4);
    paint();
  }
  timer = setTimeout(tick, BEAT_MS + fails * 700);
}

addEventListener('hashchange', () => {
  main.focus({ preventScroll: true });
  void go();
});
document.addEventListener('visibilitychange', () => void tick());

let toastTimer;
function toast(message) {
  $('toast').textContent = message;
  $('toast').classList.add('on');
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => $('toast').classList.remove('on'), 1600);
}

function tip(target) {
  $('tip')?.remove();
  const full = target?.closest?.('[data-copy]');
  if (!full || full.getAttribute('data-copy') === full.textContent) return;
  const box = h('div', { id: 'tip' }, full.getAttribute('data-copy'));
  document.body.append(box);
  const at = full.getBoundingClientRect();
  const size = box.getBoundingClientRect();
  box.style.left = `${Math.max(8, Math.min(at.left, innerWidth - size.width - 8))}px`;
  box.style.top = `${at.top - size.height - 6 > 60 ? at.top - size.height - 6 : at.bottom + 6}px`;
}
for (const kind of ['pointerover', 'focusin']) document.addEventListener(kind, (event) => tip(event.target));
for (const kind of ['pointerout', 'focusout']) document.addEventListener(kind, () => tip(null));
addEventListener('scroll', () => tip(null), { passive: true });
addEventListener('keydown', (event) => {
  if (event.key === 'Escape') tip(null);
  if (event.key === '/' && !event.ctrlKey && !event.metaKey && document.activeElement?.localName !== 'input') {
    event.preventDefault();
    $('jump-to').focus();
  }
});

document.querySelector('.skip').addEventListener('click', (event) => {
  event.preventDefault(); // the fragment is the route
  main.focus();
});

document.addEventListener('click', async (event) => {
  const copy = event.target.closest('[data-copy]');
  if (copy) {
    try {
      await navigator.clipboard.writeText(copy.getAttribute('data-copy'));
      toast('Copied');
    } catch {
      toast('This browser did not let the page copy');
    }
  }
  const act = event.target.closest('[data-act]');
  const what = act?.getAttribute('data-act');
  if (act && (shown.view?.act || what.startsWith('zoom:'))) {
    const mine = shown;
    try {
      const found = what.startsWith('zoom:')
        ? { zoom: Number(what.slice(5)) }
        : await mine.view.act(what, mine.args, mine.data);
      // Kept apart as well: a load that began before the click would come back without it.
      mine.acted = { ...mine.acted, ...found };
      Object.assign(mine.data, found);
    } catch (error) {
      toast(error.message);
    }
    if (shown === mine) paint();
  }
});

$('jump').addEventListener('submit', async (event) => {
  event.preventDefault();
  const wanted = $('jump-to').value.trim();
  if (!wanted) return;
  const places = [
    [/^(\d+)[/\s](\d+)$/, (m) => `/frames/${m[1]}/${m[2]}`],
    [/^(\d+)\/(\d+)\/(\d+)$/, (m) => `/calls/${m[1]}/${m[2]}/${m[3]}`],
    [/^(?:batch|#)\s*(\d+)$/i, (m) => `/batches/${m[1]}`],
    [/^(service|session|escrow|agent|workflow)s?[\s/]*(\d+:\d+)$/i, (m) => `/${m[1].toLowerCase()}s/${m[2]}`],
    [/^(\d+:\d+)$/, (m) => `/agents/${m[1]}`],
  ];
  let to = places.map(([pattern, place]) => pattern.exec(wanted) && place(pattern.exec(wanted))).find(Boolean);
  if (!to) {
    const known = [...store.agents.values()].find((a) => a.name === wanted);
    const record = known
      ? { agent: known.id }
      : await get(`/directory/${encodeURIComponent(wanted)}`).catch(() => null);
    if (record?.agent) to = `/agents/${record.agent}`;
  }
  if (!to) return toast(`Nothing known as “${wanted}”`);
  $('jump-to').value = '';
  location.hash = to;
});

void go();
void tick();
