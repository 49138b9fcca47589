/** The settlement worker: what the cron calls. */
import type { SettlementEnv } from './env.ts';
import { runPass, runWatch } from './pass.ts';
import { type TowerEnv, runTower } from './tower.ts';

export type { SettlementEnv } from './env.ts';
export type { TowerEnv } from './tower.ts';

export async function scheduled(
  _controller: ScheduledController,
  env: SettlementEnv & TowerEnv,
  _ctx: ExecutionContext,
): Promise<void> {
  await Promise.all([runPass(env), runWatch(env), runTower(env)]);
}
