/** The settlement worker: what the cron calls. */
import type { SettlementEnv } from './env.ts';
import { runPass } from './pass.ts';

export type { SettlementEnv } from './env.ts';

export async function scheduled(
  _controller: ScheduledController,
  env: SettlementEnv,
  _ctx: ExecutionContext,
): Promise<void> {
  await runPass(env);
}
