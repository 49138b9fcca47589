/** An agent without a container: it sells one call, and buys what it needs for the answer. */
import { Hono } from 'hono';
import { AgentRuntime, type AgentVariables, type EdgeEnv, agnt2, runtimeOf } from 'agnt2/edge';
import config from './agnt2.json';

interface Env extends EdgeEnv {
  readonly RUNTIME: DurableObjectNamespace<Runtime>;
}

const app = new Hono<{ Bindings: Env; Variables: AgentVariables }>();
app.use(agnt2({ config, runtime: (env: Env) => env.RUNTIME }));

// Free: whoever asks sees how the agent is.
app.get('/', async (c) => c.json(await c.get('agnt2').status()));

// Sold: nobody comes here who has not paid.
app.get('/of/:agent/:path{.+}', async (c) => {
  const { call, pay } = c.get('agnt2');
  const { agent, path } = c.req.param();
  const bought = await pay(`/agents/${agent}/${path}`, { maxPrice: 10 });
  const text = await bought.text();
  return c.json({ for: call?.caller, by: call?.route, status: bought.status, characters: text.length });
});

/** Holds the agent's socket, sessions and books. */
export class Runtime extends AgentRuntime<Env> {
  readonly config = config;
  readonly app = app;
}

export default {
  fetch: app.fetch,
  scheduled: async (_event, env) => void (await runtimeOf(env.RUNTIME).status()),
} satisfies ExportedHandler<Env>;
