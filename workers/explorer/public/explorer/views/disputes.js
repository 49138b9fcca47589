/** Disputes: lies told to L1, how they are narrowed down to one step, and who paid for it. */
import { h } from '../dom.js';
import { count, percent, plural, span } from '../format.js';
import { batchLink, chip, empty, facts, figures, hash, head, section, table, time } from '../parts.js';
import { get } from '../store.js';

/** L1 is looked at by a cron, so nothing here changes more often than this. */
const EVERY_MS = 3_000;

const FAULTS = {
  inbox: 'items of L1’s inbox left out or invented',
  time: 'a tick outside of the batch’s times',
  clock: 'a shard’s clock left behind',
  late: 'a message not received in time',
};
const OUTCOMES = {
  challengerWon: ['slashed', 'the batch was wrong: it and all after it are void, and the sequencer has paid'],
  challengerLost: ['refuted', 'the batch was right, or the challenger fell silent: the challenger has paid'],
  batchGone: ['dissolved', 'the batch was voided by another game: the challenger has its bond back'],
};
const gameLink = (id) => h('a.num', { href: `#/disputes/${id}` }, `game ${id}`);
const ether = (wei) => `${(Number(wei) / 1e18).toLocaleString('en-US', { maximumFractionDigits: 4 })} ether`;

function state(game) {
  if (game.outcome) return chip(OUTCOMES[game.outcome][0]);
  const left = Number(game.deadline) - Date.now() / 1000;
  return [chip('open'), h('span.dim', {}, ` ${game.turn} to move, ${left > 0 ? `${span(left)} left` : 'too late'}`)];
}

async function fresh(path, before) {
  if (before && Date.now() - before.at < EVERY_MS) return before;
  return { ...(await get(path)), at: Date.now() };
}

export const disputes = {
  title: () => 'Disputes',
  load: (_args, _change, before) => fresh('/disputes?limit=50', before),
  draw(_args, { games, faults, watch }) {
    return [
      head('Layer Root', 'Disputes', watch ? h('span.dim', {}, `batches verified up to #${watch.verified}`) : null),
      h(
        'p.lede',
        {},
        'Every batch is executed again from what L1 has of it. What is wrong is shown there: at once where a cell or a frame shows it, else in a game that narrows it down to one step.',
      ),
      watch
        ? figures([
            [
              'Verified',
              `${count(watch.verified)} of ${count(watch.head)}`,
              `${count(watch.finalized)} final`,
              'watch-verified',
            ],
            ['Lies standing', count(watch.lying), null, 'watch-lying'],
            ['Games open', count(watch.games.open), `${count(watch.games.hostile)} against good batches`, 'watch-open'],
            ['Sequencer’s bond', ether(watch.bondWei), null, 'watch-bond'],
            watch.runwayHours === undefined ? null : ['Gas lasts', span(watch.runwayHours * 3600), 'at today’s rate'],
          ])
        : empty('Nobody watches yet', 'The settlement worker has not looked at L1 since it started.'),
      section(
        'Games',
        games.length === 0
          ? empty('No game', 'Nobody has denied what a batch comes to.', 'no-games')
          : table(
              [
                ['Game', (g) => gameLink(g.id)],
                ['Batch', (g) => batchLink(g.batch)],
                ['Challenger', (g) => hash(g.challenger)],
                ['In dispute', (g) => h('span.num', {}, plural(g.length, 'step')), 'r'],
                ['Moves', (g) => h('span.num', {}, count(g.moves)), 'r'],
                ['Opened', (g) => time(g.openedAt * 1000), 'r'],
                ['State', state],
              ],
              games,
              { key: (g) => g.id, testid: 'games', caption: 'Games' },
            ),
      ),
      faults.length === 0
        ? null
        : section(
            'Shown without a game',
            table(
              [
                ['Fault', (f) => FAULTS[f.fault] ?? f.fault, 'wide'],
                ['Of', (f) => (f.number === undefined ? `receipt ${f.shard}/${f.seq}` : batchLink(f.number))],
                ['By', (f) => hash(f.reporter)],
                ['L1 transaction', (f) => hash(f.tx)],
              ],
              faults,
              { key: (f) => `${f.tx}${f.number}${f.seq}`, testid: 'faults', caption: 'Faults shown' },
            ),
          ),
    ];
  },
};

/** Where a segment lies in its batch. */
const bar = (from, length, steps) =>
  h(
    'div.segment',
    { role: 'img', 'aria-label': `steps ${from} to ${from + length - 1} of ${steps}` },
    h('i', { css: { '--from': `${percent(from, steps)}%`, '--size': `${percent(length, steps)}%` } }),
  );

const SAID = {
  opened: () => 'The challenger denies where the batch comes to.',
  revealed: (m) => `The sequencer says where ${plural(m.ends.length, 'part')} of it come to.`,
  picked: (m) =>
    `The challenger agrees up to step ${count(m.from)}, and denies the end of part ${count(m.segment + 1)}.`,
  closed: (m) => `${OUTCOMES[m.outcome][1][0].toUpperCase()}${OUTCOMES[m.outcome][1].slice(1)}.`,
};

export const dispute = {
  title: ({ parts: [id] }) => `Game ${id}`,
  load: ({ parts: [id] }, _change, before) => fresh(`/disputes/${id}`, before),
  draw({ parts: [id] }, game) {
    const { moves } = game;
    const whole = moves[0].length;
    return [
      head('Dispute', `Game ${id}`, h('span', { 'data-testid': 'game-state' }, state(game))),
      facts([
        ['About', batchLink(game.batch)],
        ['Batch hash', hash(game.batchHash)],
        ['Challenger', hash(game.challenger)],
        ['Steps in the batch', count(whole)],
        [
          'Steps in dispute',
          [h('span', { 'data-testid': 'game-length' }, count(game.length)), `, from step ${count(game.from)}`],
        ],
      ]),
      section(
        'Move by move',
        h(
          'ol.moves',
          { 'data-testid': 'moves' },
          moves.map((m, i) =>
            h(
              'li',
              { 'data-key': `${m.tx}${m.kind}`, 'data-testid': 'move', class: m.kind },
              h('h3', {}, m.kind, ' ', h('span.dim', {}, time(m.at * 1000))),
              h('p', {}, SAID[m.kind](m)),
              bar(m.from, m.length, whole),
              m.kind === 'revealed' ? revealed(m, moves[i + 1]) : null,
              facts(
                [
                  ['Agreed before', hash(m.pre)],
                  ['Denied after', hash(m.post)],
                  ['L1 transaction', hash(m.tx)],
                  m.kind === 'closed' ? null : ['Next move by', time(m.deadline * 1000)],
                ],
                'tight',
              ),
            ),
          ),
        ),
      ),
    ];
  },
};

/** What was revealed, as marks on the segment; the part that the challenger then picked stands out. */
function revealed(m, next) {
  const picked = next?.kind === 'picked' ? next.segment : next?.kind === 'closed' ? null : undefined;
  return h(
    'div.reveals',
    { role: 'img', 'aria-label': `${m.ends.length} commitments` },
    m.ends.map((end, i) =>
      h('i', { class: i === picked ? 'picked' : '', title: `after step ${end}: ${m.commitments[i] ?? m.post}` }),
    ),
  );
}
