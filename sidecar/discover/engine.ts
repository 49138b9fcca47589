/**
 * The few questions asked of a Docker engine, over its UNIX socket: what there is, and what changes. Nothing here can send it
 * anything but a GET. @see https://docs.docker.com/reference/api/engine/version/v1.41/
 */
import type { IncomingMessage } from 'node:http';
import { refusal } from '../errors.ts';
import { http } from '../http/node.ts';
import type { ContainerFacts } from './labels.ts';

/** Of engines from 20.10 on. */
const VERSION = '/v1.41';
const TIMEOUT_MS = 10_000;
/** An engine's answer about one container. */
const MAX_BYTES = 16 * 2 ** 20;
const PROJECT = 'com.docker.compose.project';

/** Changes of a container after which its labels are looked at again. Its start and death change only whether it is up. */
const ACTIONS = ['create', 'start', 'die', 'destroy', 'rename', 'health_status'];

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
const object = (value: unknown): Record<string, unknown> => (isObject(value) ? value : {});
const texts = (value: unknown): Record<string, string> =>
  Object.fromEntries(
    Object.entries(object(value)).filter((entry): entry is [string, string] => typeof entry[1] === 'string'),
  );

/** A container as it stands. */
export interface Container extends ContainerFacts {
  /** `running`, `exited`, … */
  readonly state: string;
  /** What its health check says; undefined without one. */
  readonly health?: string;
}

export class Engine {
  readonly #socketPath: string;

  constructor(socketPath: string) {
    this.#socketPath = socketPath;
  }

  #get(path: string, signal: AbortSignal): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      const request = http.get(
        { socketPath: this.#socketPath, path: VERSION + path, headers: { host: 'docker' }, signal },
        (response) => {
          if (response.statusCode === 200) return resolve(response);
          response.resume();
          reject(
            refusal(
              response.statusCode === 404 ? 'not_found' : 'engine_failed',
              `the Docker engine answered ${response.statusCode}`,
            ),
          );
        },
      );
      request.on('error', (cause) =>
        reject(refusal('engine_unavailable', `the Docker engine at ${this.#socketPath} can't be reached`, cause)),
      );
    });
  }

  async #json(path: string): Promise<unknown> {
    const response = await this.#get(path, AbortSignal.timeout(TIMEOUT_MS));
    const chunks: Buffer[] = [];
    let bytes = 0;
    try {
      for await (const chunk of response) {
        bytes += (chunk as Buffer).length;
        if (bytes > MAX_BYTES) throw new Error('too long');
        chunks.push(chunk as Buffer);
      }
      return JSON.parse(Buffer.concat(chunks).toString()) as unknown;
    } catch (cause) {
      throw refusal('engine_failed', "the Docker engine's answer can't be read", cause);
    }
  }

  /** One container; null when there is none of that id or name. */
  async container(id: string): Promise<Container | null> {
    let json: Record<string, unknown>;
    try {
      json = object(await this.#json(`/containers/${encodeURIComponent(id)}/json`));
    } catch (error) {
      if ((error as { code?: string }).code === 'not_found') return null;
      throw error;
    }
    const [config, state] = [object(json.Config), object(json.State)];
    const health = object(state.Health).Status;
    return {
      id: String(json.Id),
      name: String(json.Name).replace(/^\//, ''),
      labels: texts(config.Labels),
      imageLabels: await this.#imageLabels(String(json.Image)),
      ports: Object.keys(object(config.ExposedPorts))
        .map((port) => /^(\d{1,5})\/tcp$/.exec(port)?.[1])
        .filter((port) => port !== undefined)
        .map(Number)
        .toSorted((a, b) => a - b),
      state: String(state.Status),
      ...(typeof health === 'string' && { health }),
    };
  }

  async #imageLabels(image: string): Promise<Record<string, string>> {
    try {
      return texts(object(object(await this.#json(`/images/${encodeURIComponent(image)}/json`)).Config).Labels);
    } catch (error) {
      // The image of a container may have been removed by force: then nobody knows any more whose its labels are.
      if ((error as { code?: string }).code === 'not_found') return {};
      throw error;
    }
  }

  /** Every container with a label of that name, stopped ones too; of one compose project if one is named. */
  async labelled(label: string, project: string | null): Promise<Container[]> {
    const filters = { label: [label, ...(project === null ? [] : [`${PROJECT}=${project}`])] };
    const list = await this.#json(`/containers/json?all=true&filters=${encodeURIComponent(JSON.stringify(filters))}`);
    const ids = Array.isArray(list) ? list.map((entry) => String(object(entry).Id)) : [];
    const found = await Promise.all(ids.map((id) => this.container(id)));
    return found.filter((container) => container !== null).toSorted((a, b) => (a.id < b.id ? -1 : 1));
  }

  /** The compose project that a container is of; null if none, or no such container. */
  async projectOf(id: string): Promise<string | null> {
    return (await this.container(id))?.labels[PROJECT] ?? null;
  }

  /** Something happened to some container: once at the start, and whenever. Ends, or throws, when the engine goes away. */
  async *changes(signal: AbortSignal): AsyncGenerator<void> {
    const filters = encodeURIComponent(JSON.stringify({ type: ['container'], event: ACTIONS }));
    const response = await this.#get(`/events?filters=${filters}`, signal);
    yield;
    for await (const _ of response) yield;
  }
}
