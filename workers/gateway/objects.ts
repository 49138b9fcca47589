/** The Session and Agent objects, by the ids they are named by. */
import type { AgentRpc } from '../../durable/agent.ts';
import type { SessionRpc } from '../../durable/session.ts';
import type { Env } from './env.ts';

export const sessionStub = (env: Env, id: string): SessionRpc => env.SESSION.getByName(id) as unknown as SessionRpc;
export const agentStub = (env: Env, id: string): AgentRpc => env.AGENT.getByName(id) as unknown as AgentRpc;
