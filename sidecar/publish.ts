/** Brings what the config offers on chain and into the directory; what is there already is left alone. */
import { equal, hex, utf8 } from '../protocol/bytes.ts';
import { codeOf } from '../protocol/errors.ts';
import { formatId, parseId } from '../protocol/ids.ts';
import { sha } from '../protocol/hash.ts';
import type { Config, ServiceConfig } from './config.ts';
import type { Core, ServiceFacts } from './core.ts';
import type { Identity } from './identity.ts';
import { type PricedService, ceilingOf, documentHash, encodeDocument } from './prices.ts';
import type { Store } from './store.ts';
import type { Wallet } from './wallet.ts';

export interface PublishOptions {
  readonly config: Pick<Config, 'services' | 'name' | 'description'>;
  readonly identity: Identity;
  readonly core: Core;
  readonly wallet: Wallet;
  readonly store: Store;
}

const FACT = 'service:';

/** Publishes every service of the config; returns them with their ids, in the config's order. Throws coded errors. */
export async function publish(options: PublishOptions): Promise<PricedService[]> {
  const { config, core, identity, store } = options;
  const existing = await core.servicesOf(identity.agent);
  const published: PricedService[] = [];
  for (const service of config.services) {
    const id = await publishOne(options, service, find(existing, service.name, store));
    store.setFact(FACT + service.name, formatId(id));
    published.push({ id, table: service });
  }
  await withdrawOthers(options, existing, published);
  if (config.name !== undefined) await announce(options, config.name, published);
  return published;
}

/** The service this config entry was published as: as we remember, else as its own document says. */
function find(existing: readonly ServiceFacts[], name: string, store: Store): ServiceFacts | null {
  const remembered = store.fact(FACT + name);
  const named = existing.find(({ metadata }) => (metadata as { name?: unknown } | null)?.name === name);
  return existing.find(({ id }) => remembered !== null && id === parseId(remembered)) ?? named ?? null;
}

async function publishOne(
  { core, wallet }: PublishOptions,
  service: ServiceConfig,
  existing: ServiceFacts | null,
): Promise<number> {
  const document = encodeDocument(service);
  const metadataHash = documentHash(document);
  const ceiling = ceilingOf(service);
  const same =
    existing !== null &&
    existing.active &&
    existing.ceiling === ceiling &&
    existing.deadlineSeconds === service.deadlineSeconds &&
    equal(existing.metadataHash, metadataHash);
  let id = existing?.id ?? 0;
  if (!same) {
    const { value } = await wallet.submitOne({
      op: 'publish',
      service: id,
      active: true,
      ceiling,
      deadlineSeconds: service.deadlineSeconds,
      arbiter: 0,
      contestSeconds: 0,
      metadataHash,
    });
    id = value;
  }
  if (!same || existing.metadata === null) await core.putMetadata(id, document);
  return id;
}

/** Takes services off that we published once and the config names no more: nobody shall pay for what is not served. */
async function withdrawOthers(
  { wallet }: PublishOptions,
  existing: readonly ServiceFacts[],
  published: readonly PricedService[],
): Promise<void> {
  const kept = new Set(published.map(({ id }) => id));
  for (const { id, active, ceiling, deadlineSeconds, metadataHash } of existing) {
    if (!active || kept.has(id)) continue;
    await wallet.submitOne({
      op: 'publish',
      service: id,
      active: false,
      ceiling,
      deadlineSeconds,
      arbiter: 0,
      contestSeconds: 0,
      metadataHash,
    });
  }
}

async function announce(
  { core, identity, config }: PublishOptions,
  name: string,
  published: readonly PricedService[],
): Promise<void> {
  const services = published.map(({ id }) => id);
  try {
    const record = await core.directory(name);
    const same =
      record.agent === identity.agent &&
      record.description === config.description &&
      record.services.join() === services.join();
    if (same) return;
  } catch (error) {
    if (codeOf(error) !== 'unknown_name') throw error;
  }
  const timeMs = Date.now();
  const body = utf8(
    JSON.stringify({
      name,
      agent: formatId(identity.agent),
      services: services.map(formatId),
      description: config.description,
      timeMs,
    }),
  );
  const signature = await identity.key.sign(
    identity.signing.announce({ agent: identity.agent, contentHash: sha(body), timeMs }),
  );
  await core.putDirectory(name, body, hex(signature), timeMs);
}
