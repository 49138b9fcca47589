/** The stack on this machine, and agents in containers that reach its gateway over a bridge. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { build } from 'esbuild';
import { Agent } from '../../../local/agents.ts';
import { Doorway } from '../../../local/doorway.ts';
import { OWN_BASE, buildImage } from '../../../local/image.ts';
import { inRepository, newRun, packageFile } from '../../../local/paths.ts';
import { type TestNetwork, network } from '../stack.ts';
import { ComposedAgent, makeBridge } from './agents.ts';
import type { Attempt, Result } from './attempts.ts';
import { Docker } from './engine.ts';
import type { Kept } from './firestore.ts';
import { IMAGES, makeImages } from './images.ts';

/** Base units. */
const DEPOSIT = 100_000;
const MINTED = 1_000_000n;

export interface Inhabitant {
  readonly name: string;
  readonly image: keyof typeof IMAGES;
  readonly price: string;
  readonly policy: Readonly<Record<string, string | number>>;
  /** Labels of the app beyond its name and price. */
  readonly labels?: Readonly<Record<string, string>>;
  /** Whether the app knows of no proxy. */
  readonly transparent?: boolean;
}

/** Sessions open early, so that both ways of paying are in use. */
const SESSION = { auto: true, afterCalls: 3, deposit: '2000', credit: '200', exitDelay: 10, minExitDelay: 1 };

export class Town {
  readonly docker: Docker;
  readonly net: TestNetwork;
  /** The network that the gateway and L1 can be reached on. */
  readonly bridge: string;
  readonly gateway: Doorway;
  readonly l1: Doorway;
  readonly agents: ReadonlyMap<string, ComposedAgent>;

  private constructor(
    docker: Docker,
    net: TestNetwork,
    bridge: string,
    [gateway, l1]: readonly Doorway[],
    agents: ReadonlyMap<string, ComposedAgent>,
  ) {
    this.docker = docker;
    this.net = net;
    this.bridge = bridge;
    this.gateway = gateway;
    this.l1 = l1;
    this.agents = agents;
  }

  /** Builds the images, and brings everybody up. What fails halfway leaves nothing running. */
  static async build(inhabitants: readonly Inhabitant[]): Promise<Town> {
    // First of all: on some machines none can be started, which is no fault of theirs.
    const docker = await Docker.start(join(newRun(), 'dockerd.log'));
    const net = await network().catch(async (error: unknown) => {
      await docker.stop();
      throw error;
    });
    try {
      const dir = inRepository('.agnt2', 'image');
      await buildImage({ dir, tag: 'agnt2/sidecar' });
      makeImages(`${net.dir}/images`, `${dir}/archives`, OWN_BASE);
      const bridge = `agnt2test${process.pid}`;
      const host = await makeBridge(docker, bridge);
      const doors = [await Doorway.open(host, net.worker.port), await Doorway.open(host, net.l1.port)];
      const agents = new Map<string, ComposedAgent>();
      const town = new Town(docker, net, bridge, doors, agents);
      await Promise.all(inhabitants.map((one) => town.#settle(one, agents)));
      return town;
    } catch (error) {
      await docker.stop();
      await net.stop();
      throw error;
    }
  }

  async #settle(inhabitant: Inhabitant, agents: Map<string, ComposedAgent>): Promise<void> {
    const { name, image, price, policy, labels, transparent } = inhabitant;
    const { docker, net, gateway } = this;
    const agent = await Agent.create(name, net.dir);
    await agent.registerAtL1(net.l1, MINTED, DEPOSIT);
    await agent.known(net.gateway);
    const composed = await ComposedAgent.up({
      docker,
      dir: net.dir,
      run: String(process.pid),
      gateway: gateway.url,
      agent,
      image: IMAGES[image],
      price,
      labels,
      transparent,
      config: { policy, session: SESSION },
    });
    agents.set(name, composed);
    await composed.ready();
  }

  get(name: string): ComposedAgent {
    return this.agents.get(name)!;
  }

  /** Has an app with Python in its image try things, one after the other or all at once. */
  async attempt(name: string, attempts: readonly Attempt[], atOnce = false): Promise<Result[]> {
    const args = [JSON.stringify(attempts), ...(atOnce ? ['at once'] : [])];
    return JSON.parse(await this.get(name).exec('app', CLIENT, 'python3', '-', ...args)) as Result[];
  }

  /** The same from a container on the bridge, where nothing holds it back. */
  async attemptOutside(attempts: readonly Attempt[]): Promise<Result[]> {
    const args = ['run', '--rm', '--interactive', '--network', this.bridge, IMAGES.python, 'python3', '-'];
    return JSON.parse(await this.docker.feed(CLIENT, ...args, JSON.stringify(attempts), 'at once')) as Result[];
  }

  /** Has an app with Node in its image keep notes in the Firestore of a peer, in a collection of its own. */
  async keepNotes(name: string, peer: string, collection: string, ...listening: ['listening'?]): Promise<Kept> {
    const args = ['node', '--input-type=module', '-', `${peer}.agnt2:80`, collection, ...listening.map(String)];
    return JSON.parse(await this.get(name).exec('app', await program('firestore.ts'), ...args)) as Kept;
  }

  async end(): Promise<void> {
    this.gateway.close();
    this.l1.close();
    if (!(await this.docker.clear().catch(console.error))) {
      await Promise.all([...this.agents.values()].map((agent) => agent.down().catch(console.error)));
      await this.docker.run('network', 'rm', this.bridge).catch(console.error);
    }
    await this.docker.stop();
    await this.net.stop();
  }
}

/** A program of this folder with all it needs, as one file. */
async function program(file: string): Promise<string> {
  const { outputFiles } = await build({
    entryPoints: [inRepository('test', 'support', 'docker', file)],
    bundle: true,
    write: false,
    platform: 'node',
    target: 'node24',
    format: 'esm',
    banner: { js: "import { createRequire } from 'node:module'; const require = createRequire('/app/');" },
    // Its messages' package brings another copy.
    alias: { '@grpc/grpc-js': packageFile('@grpc/grpc-js') },
  });
  return outputFiles[0].text;
}

const CLIENT = readFileSync(new URL('client.py', import.meta.url), 'utf8');
