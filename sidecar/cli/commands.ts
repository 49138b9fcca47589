/** Every command there is, in the order in which help lists them; each is loaded when it is asked for. */
import type { Entry } from './command.ts';

export const COMMANDS: readonly Entry[] = [
  {
    name: 'up',
    summary: 'Brings up the whole system on this machine, trading',
    load: async () => (await import('./scripts.ts')).up,
  },
  {
    name: 'init',
    summary: 'Makes a machine key and a config, and registers the agent or says how',
    load: async () => (await import('./init.ts')).init,
  },
  {
    name: 'run',
    summary: 'Runs a command as an agent: its sidecar beside it, its calls through it',
    load: async () => (await import('./run.ts')).run,
  },
  {
    name: 'compose',
    summary: 'Makes an image an agent: its folder, its registration, its containers',
    load: async () => (await import('./compose.ts')).compose,
  },
  {
    name: 'sidecar',
    summary: 'Runs the sidecar of an agent, in the foreground',
    load: async () => (await import('./sidecar.ts')).sidecar,
  },
  {
    name: 'pay',
    summary: 'Makes one paid call; the body goes to stdout, what it cost to stderr',
    load: async () => (await import('./pay.ts')).pay,
  },
  {
    name: 'status',
    summary: 'Says how the agent and its sidecar are',
    load: async () => (await import('./status.ts')).status,
  },
  {
    name: 'doctor',
    summary: 'Says what is wrong with the set-up, and what mends it',
    load: async () => (await import('./doctor.ts')).doctor,
  },
  {
    name: 'logs',
    summary: "Shows the events of the agent's sidecar, as agnt2 run wrote them",
    load: async () => (await import('./logs.ts')).logs,
  },
  {
    name: 'session',
    summary: 'Lists, opens and closes sessions of the running sidecar',
    load: async () => (await import('./session.ts')).session,
  },
  {
    name: 'approve',
    summary: 'Lists and decides what waits for a person: dear calls, and prices that rose',
    load: async () => (await import('./approve.ts')).approve,
  },
  {
    name: 'deposit',
    summary: "Deposits base units from the owner's account at L1 to the agent",
    load: async () => (await import('./withdraw.ts')).deposit,
  },
  {
    name: 'withdraw',
    summary: "Takes base units of the agent's balance to its owner at L1",
    load: async () => (await import('./withdraw.ts')).withdraw,
  },
  {
    name: 'deploy',
    summary: 'Puts an edge agent on Cloudflare, or the contracts on any EVM chain',
    load: async () => (await import('./deploy.ts')).deploy,
  },
  {
    name: 'docker',
    summary: 'Makes these commands a plugin of the Docker CLI: docker agnt2 …',
    load: async () => (await import('./docker.ts')).docker,
  },
  {
    name: 'verify',
    summary: 'A full node: executes every batch again, and challenges what is wrong',
    load: async () => (await import('./scripts.ts')).verify,
  },
  {
    name: 'bisect',
    summary: 'Finds the first step in which two traces part',
    load: async () => (await import('./scripts.ts')).bisect,
  },
  {
    name: 'exit',
    summary: 'Takes money out of a frozen deployment, or forces it at L1',
    load: async () => (await import('./scripts.ts')).exit,
  },
  {
    name: 'member',
    summary: "Runs a member of a deployment's data committee, in the foreground",
    load: async () => (await import('./scripts.ts')).member,
  },
  {
    name: 'committee',
    summary: 'Stakes, rotates, samples and guards a data committee',
    load: async () => (await import('./scripts.ts')).committee,
  },
  {
    name: 'cost',
    summary: 'Dollars and bytes for a million interactions, by where their data goes',
    load: async () => (await import('./scripts.ts')).cost,
  },
  {
    name: 'completion',
    summary: 'Prints the completion script of a shell',
    load: async () => (await import('./completion.ts')).completion,
  },
];

export const find = (name: string): Entry | undefined => COMMANDS.find((entry) => entry.name === name);
