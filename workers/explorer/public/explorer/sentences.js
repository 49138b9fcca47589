/** What interactions, items of L1 and messages between shards say, in words. */
import { h } from './dom.js';
import { count, idText, opName, words } from './format.js';
import {
  agentLink,
  amount,
  capabilityLink,
  escrowLink,
  escrowStatus,
  hash,
  seconds,
  serviceLink,
  sessionLink,
  workflowLink,
} from './parts.js';

/** What an interaction says, in words. */
export function sentence(actor, op, f, step, serviceName) {
  const who = agentLink(actor);
  const value = step?.value;
  switch (op) {
    case 'register':
      return [
        who,
        ' registers an agent for ',
        hash(f.owner),
        ' with ',
        amount(f.amount),
        idText(value) ? [' → ', agentLink(value)] : null,
      ];
    case 'rotate':
      return [who, ' replaces the key of ', agentLink(f.agent)];
    case 'transfer':
      return [who, ' sends ', amount(f.amount), ' to ', agentLink(f.to)];
    case 'withdraw':
      return [who, ' withdraws ', amount(f.amount), ' to its owner at L1'];
    case 'publish':
      return [
        who,
        idText(f.service) ? [' changes service ', serviceLink(f.service)] : ' publishes a service',
        idText(value) && !idText(f.service) ? [' ', serviceLink(value)] : null,
        ', ',
        amount(f.ceiling),
        ' at most',
      ];
    case 'invoke':
      return [
        who,
        ' calls ',
        serviceLink(f.service, serviceName?.(f.service)),
        ' for up to ',
        amount(f.amount),
        idText(f.after) ? [' after ', escrowLink(f.after)] : null,
        f.back ? ` after the call ${count(f.back)} before it` : null,
        f.workflow === undefined
          ? null
          : [
              `, leg ${Number(f.leg) + 1} of `,
              idText(f.workflow) ? ['workflow ', workflowLink(f.workflow)] : 'the workflow planned last',
            ],
        idText(f.capability) ? [' by capability ', capabilityLink(f.capability)] : null,
        idText(value) ? [' → escrow ', escrowLink(value)] : null,
      ];
    case 'respond':
      return Number(f.result) || ['failed', 'declined'].includes(f.result)
        ? [
            who,
            f.result === 'declined' ? ' declines' : ' reports failure of',
            ' escrow ',
            escrowLink(f.escrow),
            ', refunded',
          ]
        : [who, ' fulfils escrow ', escrowLink(f.escrow), ' for ', amount(f.price)];
    case 'contest':
      return [who, ' contests escrow ', escrowLink(f.escrow)];
    case 'rule':
      return [who, ' rules on escrow ', escrowLink(f.escrow), ': ', amount(f.amount), ' to the payee'];
    case 'grant':
      return [
        who,
        ' lets ',
        agentLink(f.grantee),
        ' spend up to ',
        amount(f.limit),
        idText(f.service) ? [' on ', serviceLink(f.service, serviceName?.(f.service))] : ' on any service',
        idText(value) ? [' → capability ', capabilityLink(value)] : null,
      ];
    case 'revoke':
      return [who, ' revokes capability ', capabilityLink(f.capability)];
    case 'plan':
      return [
        who,
        ` plans a workflow of ${count(f.legs?.length)} legs within `,
        seconds(f.deadlineSeconds),
        idText(value) ? [' → workflow ', workflowLink(value)] : null,
      ];
    case 'abort':
      return [who, ' aborts workflow ', workflowLink(f.workflow)];
    case 'tell':
      return [who, ' tells a leg of workflow ', workflowLink(f.workflow), ' how it was decided'];
    case 'attest':
      return [
        who,
        f.kind === 'session' ? ' rates session ' : ' rates escrow ',
        f.kind === 'session' ? sessionLink(f.id) : escrowLink(f.id),
        ` with ${count(f.score)} of 5`,
      ];
    case 'slash':
      return [who, ' shows two halves of session ', sessionLink(f.session), ' that contradict each other'];
    case 'stake':
      return [who, ' puts ', amount(f.amount), ' at stake'];
    case 'unstake':
      return [who, ' takes its stake back'];
    case 'expire':
      return [who, ' ends overdue escrow ', escrowLink(f.escrow)];
    case 'open':
      return [
        who,
        ' opens a session with ',
        agentLink(f.peer),
        ', deposit ',
        amount(f.deposit),
        idText(value) ? [' → ', sessionLink(value)] : null,
      ];
    case 'fund':
      return [who, ' adds ', amount(f.amount), ' to session ', sessionLink(f.session)];
    case 'settle':
      return [
        who,
        ' settles session ',
        sessionLink(f.session),
        `: ${count(f.calls)} calls, `,
        amount(f.paid),
        Number(f.dir) ? ' from b to a' : ' from a to b',
      ];
    case 'exit':
      return [who, ' starts leaving session ', sessionLink(f.session)];
    case 'finalize':
      return [who, ' pays out session ', sessionLink(f.session)];
    case 'close':
      return [
        who,
        ' closes session ',
        sessionLink(f.session),
        ' with its peer: ',
        amount(f.paidAB),
        ' and ',
        amount(f.paidBA),
      ];
    default:
      return [who, ` ${words(op)}`];
  }
}

/** An inbox item in words. */
export function itemSentence(item, step) {
  const kind =
    typeof item?.kind === 'number' ? ['', 'register', 'deposit', 'withdraw', 'rotate', 'act'][item.kind] : item?.kind;
  if (kind === 'register') return ['L1: ', hash(item.owner), ' registers an agent with ', amount(item.amount)];
  if (kind === 'deposit')
    return ['L1: ', hash(item.from), ' deposits ', amount(item.amount), ' to ', agentLink(item.agent)];
  if (kind === 'withdraw')
    return ['L1: owner ', hash(item.owner), ' withdraws ', amount(item.amount), ' of ', agentLink(item.agent)];
  if (kind === 'rotate') return ['L1: owner ', hash(item.owner), ' replaces the key of ', agentLink(item.agent)];
  if (kind === 'act')
    return [
      'L1: owner ',
      hash(item.owner),
      ' has its agent act: ',
      ...(item.op ? sentence(item.agent, opName(item.op), item.fields ?? {}, step) : [agentLink(item.agent)]),
    ];
  return ['An item of L1’s inbox'];
}

/** A message between shards in words: `message` is {kind, …fields} (docs/protocol.md §4a). */
export function messageSentence(message, step, serviceName) {
  const f = message ?? {};
  switch (f.kind) {
    case 'call':
      return sentence(f.actor, opName(f.op), f.fields ?? {}, step, serviceName);
    case 'invoke':
      return [
        agentLink(f.payer),
        ' calls ',
        serviceLink(f.service, serviceName?.(f.service)),
        ' for up to ',
        amount(f.amount),
        ' by order ',
        escrowLink(f.order),
        idText(f.workflow) ? [', leg ', String(Number(f.leg) + 1), ' of workflow ', workflowLink(f.workflow)] : null,
        idText(step?.value) ? [' → escrow ', escrowLink(step.value)] : null,
      ];
    case 'report':
      return [
        'Escrow ',
        idText(f.escrow) ? escrowLink(f.escrow) : 'could not be opened; it',
        ` is ${words(escrowStatus(f.status))}: order `,
        escrowLink(f.order),
        ' learns it, ',
        amount(f.paid),
        ' paid',
      ];
    case 'credit':
      return [agentLink(f.agent), ' is credited ', amount(f.amount)];
    case 'leg':
      return [
        `Leg ${Number(f.leg) + 1} of workflow `,
        workflowLink(f.workflow),
        ' is done: escrow ',
        escrowLink(f.escrow),
      ];
    case 'verdict':
      return ['Escrow ', escrowLink(f.escrow), Number(f.release) ? ' is to be paid' : ' is to be refunded'];
    case 'rating':
      return [agentLink(f.agent), ` is rated ${count(f.score)} of 5`];
    case 'slash':
      return [agentLink(f.agent), ' loses its stake, reported by ', agentLink(f.reporter)];
    case 'item':
      return itemSentence(f.item);
    default:
      return ['A message that no shard can have written'];
  }
}

/** What a frame that is no bundle says. */
export function frameSentence(f, serviceName) {
  const shard = (n) => h('a', { href: `#/trace?shard=${n}` }, `shard ${n}`);
  switch (f.kind) {
    case 'tick':
      return [
        'Tick ',
        h('span.dim', {}, 'the shard’s clock reads '),
        h('span.num', {}, new Date(Number(f.time) * 1000).toLocaleTimeString()),
      ];
    case 'inbox':
      return itemSentence(f.item);
    case 'receive':
      return f.message
        ? [
            h('span.dim', {}, 'from '),
            shard(f.from),
            h('span.dim', {}, ': '),
            messageSentence(f.message, f.steps?.[0], serviceName),
          ]
        : ['A message that is none'];
    case 'ack':
      return [shard(f.to), ` has received message ${f.number} and all before it`];
    case 'advance':
      return ['Escrow ', escrowLink(f.escrow), ' is advanced: time or another record has decided it'];
    case 'tell':
      return [`Leg ${Number(f.leg) + 1} of workflow `, workflowLink(f.workflow), ' is told how that was decided'];
    default:
      return [words(f.kind)];
  }
}
