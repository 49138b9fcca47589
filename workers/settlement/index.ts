/** The settlement worker: what the cron calls. */
import type { SettlementEnv } from './env.ts';
import { runPass, runWatch } from './pass.ts';

export type { SettlementEnv } from './env.ts';

export async function scheduled(
  _controller: ScheduledController,
  env: SettlementEnv,
  _ctx: ExecutionContext,
): Promise<void> {
  await Promise.all([runPass(env), runWatch(env)]);
}
