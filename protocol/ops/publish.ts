import { ACTIVE, EXISTS, MAX_DURATION, Service } from '../cells.ts';
import { amount, bytes, choice, duration, shortId } from '../wire.ts';
import { NONE } from '../memory.ts';
import { defineOp } from '../op.ts';
import { Status } from '../status.ts';

/** Creates (`service` 0) or changes a service of the actor. Value: the service's id. */
export const publish = defineOp({
  code: 0x05,
  name: 'publish',
  fields: [
    shortId('service', 'own service'),
    choice('active', false, true),
    // Most the provider may charge for one invoke.
    amount('ceiling'),
    // Time the provider has to respond.
    duration('deadlineSeconds'),
    // Who rules on contested responses, 0 for none.
    shortId('arbiter'),
    duration('contestSeconds'),
    // SHA-256 of the metadata document.
    bytes('metadataHash', 32),
  ],
  run(machine, actor, service, active, ceiling, deadlineSeconds, arbiter, contestSeconds, metadataHash) {
    const { cells } = machine;
    if (deadlineSeconds === 0 || deadlineSeconds > MAX_DURATION || contestSeconds > MAX_DURATION)
      return Status.bad_duration;
    if (service !== 0) {
      if (!machine.isLocal(service)) return Status.wrong_shard;
      const old = machine.service(service);
      if (old === NONE) return Status.unknown_service;
      if (Service.provider.get(cells, old) !== actor) return Status.not_provider;
    } else if (!machine.hasServiceRoom()) return Status.region_full;
    const which = service === 0 ? machine.createService() : service;
    const cell = machine.edit(machine.service(which));
    Service.provider.set(cells, cell, actor);
    Service.flags.set(cells, cell, EXISTS | (active ? ACTIVE : 0));
    Service.ceiling.set(cells, cell, ceiling);
    Service.deadlineSeconds.set(cells, cell, deadlineSeconds);
    Service.arbiter.set(cells, cell, arbiter);
    Service.contestSeconds.set(cells, cell, contestSeconds);
    Service.metadataHash.set(cells, cell, machine.frame, metadataHash);
    Service.version.set(cells, cell, Math.min(Service.version.get(cells, cell) + 1, 0xffffffff));
    return machine.ok(which);
  },
});
