/** What a state holds, as lists to choose from. */
import { AGENT, CAPABILITY, ESCROW, type Fields, type Layout, SERVICE, SESSION, WORKFLOW } from './cells.ts';
import { type World, makeId } from './world.ts';

export interface Found<L extends Layout> {
  readonly id: number;
  readonly shard: number;
  readonly record: Fields<L>;
}

export interface Survey {
  readonly agents: Found<typeof AGENT>[];
  readonly services: Found<typeof SERVICE>[];
  readonly capabilities: Found<typeof CAPABILITY>[];
  readonly sessions: Found<typeof SESSION>[];
  readonly escrows: Found<typeof ESCROW>[];
  readonly workflows: Found<typeof WORKFLOW>[];
}

const LISTS = new Map<Layout, keyof Survey>([
  [AGENT, 'agents'],
  [SERVICE, 'services'],
  [CAPABILITY, 'capabilities'],
  [SESSION, 'sessions'],
  [ESCROW, 'escrows'],
  [WORKFLOW, 'workflows'],
]);

export function survey(world: World): Survey {
  const out: Record<keyof Survey, unknown[]> = {
    agents: [],
    services: [],
    capabilities: [],
    sessions: [],
    escrows: [],
    workflows: [],
  };
  for (const [at, { layout, fields }] of world.entries()) {
    const list = LISTS.get(layout);
    if (!list) continue;
    const shard = Math.floor(at / 2 ** 24);
    const serial = fields.serial ?? BigInt(at % 2 ** 20);
    if (serial > 0n) out[list].push({ id: Number(makeId(shard, serial)), shard, record: fields });
  }
  return out as unknown as Survey;
}
