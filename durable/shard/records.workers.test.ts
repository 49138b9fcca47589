import { describe, expect, test } from 'vitest';
import {
  Capability,
  type CellJson,
  EXISTS,
  Head,
  LAYOUTS,
  META_HEAD,
  Region,
  cellFromJson,
  set,
} from '../../protocol/cells.ts';
import { Engine } from '../../protocol/engine.ts';
import { makeId } from '../../protocol/ids.ts';
import { recordPlace } from '../../protocol/proof.ts';
import { Lists } from './lists.ts';
import { capabilityJson, recordCells, workflowJson } from './records.ts';
import { signing } from './testing.ts';

/** Shard 3 with cells written by hand. */
function shardWith(cells: readonly { region: number; slot: number; kind: string; json: CellJson }[]) {
  const engine = new Engine(3, signing);
  for (const { region, slot, kind, json } of cells)
    engine.trie.edit(region, slot).set(cellFromJson(LAYOUTS[kind], json));
  return engine.machine;
}

const capability = (serial: number, json: CellJson) => ({
  region: Region.capability,
  slot: serial,
  kind: 'capability',
  json: { flags: EXISTS, limit: '100', used: '40', expiry: 1_900_000_000, ...json },
});

describe('capabilities', () => {
  test('say whose money they spend, and whether they still do', () => {
    const machine = shardWith([
      capability(1, { grantor: '3:5', grantee: '0:9', service: '1:4' }),
      capability(2, { grantor: '3:5', grantee: '0:9', service: null, flags: EXISTS | 2 }),
    ]);
    const one = { grantor: '3:5', grantee: '0:9', limit: '100', used: '40', expiry: 1_900_000_000 };
    expect(capabilityJson(machine, makeId(3, 1))).toEqual({ id: '3:1', ...one, service: '1:4', revoked: false });
    expect(capabilityJson(machine, makeId(3, 2))).toEqual({ id: '3:2', ...one, service: null, revoked: true });
    for (const serial of [0, 3, 2 ** 20 + 1]) expect(capabilityJson(machine, makeId(3, serial))).toBeNull();
  });

  test('are listed by grantor and grantee, and no page looks through all of them', () => {
    const COUNT = 150_000;
    const machine = shardWith([]);
    set(machine.trie.edit(Region.meta, META_HEAD), Head.capabilities, COUNT);
    for (let serial = 1; serial <= COUNT; serial++) {
      const cell = machine.trie.edit(Region.capability, serial);
      set(cell, Capability.grantor, makeId(3, serial < 140_000 ? 1 : 2));
      set(cell, Capability.grantee, makeId(0, serial % 3));
      set(cell, Capability.flags, EXISTS);
    }
    const lists = new Lists(machine);
    const first = lists.capabilities({ limit: 2, grantor: makeId(3, 1), grantee: makeId(0, 1) });
    expect([first.items.map(({ id }) => id), first.next]).toEqual([['3:1', '3:4'], 6]);
    const found: unknown[] = [];
    let pages = 0;
    for (let after: number | undefined = 0; after !== undefined; pages++) {
      const page = lists.capabilities({ after, limit: 100, grantor: makeId(3, 2), grantee: makeId(0, 2) });
      found.push(...page.items.map(({ id }) => id));
      after = page.next;
    }
    expect(found.length).toBe(3334);
    expect(new Set(found).size).toBe(3334);
    // 2^16 are looked through for each of the first two, which hold nothing.
    expect(pages).toBe(2 + 34);
    expect(lists.capabilities({ after: COUNT })).toEqual({ items: [] });
  });
});

test('a workflow shows its legs in order, each with what became of it', () => {
  const serial = 2 ** 18 + 6;
  const id = makeId(3, serial);
  const { region, slot } = recordPlace('workflow', id);
  const legs = {
    payer0: '3:1',
    service0: '3:2',
    escrow0: '3:9',
    payer1: '3:1',
    service1: '0:2',
    payer2: '2:1',
    service2: '2:2',
  };
  const machine = shardWith([
    {
      region,
      slot,
      kind: 'workflow',
      json: { serial: String(serial), planner: '3:1', legs: 5, status: 2, deadline: 77, done: 0b10001, told: 1 },
    },
    { region, slot: slot + 1, kind: 'workflowLegs', json: { ...legs, payer3: '3:1', service3: '3:4' } },
    { region, slot: slot + 2, kind: 'workflowLegs', json: { payer0: '3:8', service0: '3:7', escrow0: '3:10' } },
  ]);
  const waiting = { escrow: null, done: false, told: false };
  expect(workflowJson(machine, id)).toEqual({
    id: `3:${serial}`,
    planner: '3:1',
    deadline: 77,
    status: 'committed',
    legs: [
      { payer: '3:1', service: '3:2', escrow: '3:9', done: true, told: true },
      { payer: '3:1', service: '0:2', ...waiting },
      { payer: '2:1', service: '2:2', ...waiting },
      { payer: '3:1', service: '3:4', ...waiting },
      { payer: '3:8', service: '3:7', escrow: '3:10', done: true, told: false },
    ],
    address: 3 * 2 ** 24 + region * 2 ** 20 + 24,
  });
  expect(recordCells(machine, 'workflow', id)).toHaveLength(4);
  // The workflow that had the place before.
  expect(workflowJson(machine, makeId(3, 6))).toBeNull();
});
