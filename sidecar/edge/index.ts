/** Edge agents: a Worker that is an agent without a container (examples/edge). */
export { type PaidCall, type Pay, type PayOptions } from './calls.ts';
export { type AgentContext, type AgentVariables, type MiddlewareOptions, agnt2, runtimeOf } from './middleware.ts';
export { AgentRuntime, type EdgeEnv, type RuntimeStatus, edgeConfig } from './runtime.ts';
