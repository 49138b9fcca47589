/** Records by id, read as copies of their cells: what can be proved, and how the API shows those kinds that views.ts does not. */
import {
  CELL_BYTES,
  Capability,
  REVOKED,
  WORKFLOW_STATUS,
  type CellJson,
  addressOf,
  cellToJson,
  get,
  layoutAt,
} from '../../protocol/cells.ts';
import { formatId } from '../../protocol/ids.ts';
import type { Machine } from '../../protocol/machine.ts';
import { type RecordKind, cellsOf, isRecord, recordPlace } from '../../protocol/proof.ts';
import type { RecordJson, WorkflowJson } from './json.ts';

/** Copies of a record's cells; null when there is no such record (any more) on this shard. */
export function recordCells({ trie }: Machine, kind: RecordKind, id: number): Uint8Array[] | null {
  const { region, slot } = recordPlace(kind, id);
  const cells = Array.from({ length: cellsOf(kind) }, (_, i) => trie.read(region, slot + i).slice(0, CELL_BYTES));
  return isRecord(kind, id, cells) ? cells : null;
}

export function capabilityJson(machine: Machine, id: number): RecordJson | null {
  const cell = recordCells(machine, 'capability', id)?.[0];
  if (!cell) return null;
  const { flags: _, ...fields } = cellToJson(Capability, cell);
  return { id: formatId(id), ...fields, revoked: (get(cell, Capability.flags) & REVOKED) !== 0 };
}

/** Fields named `<name><i>` of a cell that holds several of something, as one object each. */
function numbered(fields: CellJson): CellJson[] {
  const out: CellJson[] = [];
  for (const [name, value] of Object.entries(fields)) {
    const match = /^(\D+)(\d+)$/.exec(name);
    if (match) (out[Number(match[2])] ??= {})[match[1]] = value;
  }
  return out;
}

/** A workflow with its legs in order: who pays, for which service, the escrow once the leg is done. */
export function workflowJson(machine: Machine, id: number): WorkflowJson | null {
  const cells = recordCells(machine, 'workflow', id);
  if (!cells) return null;
  const { region, slot } = recordPlace('workflow', id);
  const [{ serial: _, legs: count, status, done, told, ...fields }, ...rest] = cells.map((cell, i) =>
    cellToJson(layoutAt(region, slot + i)!.fields, cell),
  );
  const bit = (bits: unknown, i: number): boolean => ((Number(bits) >> i) & 1) === 1;
  const legs = rest
    .flatMap(numbered)
    .slice(0, Number(count))
    .map((leg, i) => ({ ...leg, done: bit(done, i), told: bit(told, i) }));
  return {
    id: formatId(id),
    ...fields,
    status: WORKFLOW_STATUS[Number(status)],
    legs,
    address: addressOf(machine.shard, region, slot),
  };
}
