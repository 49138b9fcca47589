import { ACTIVE, EXISTS, MAX_DURATION, Service, get, set, setBytes } from '../cells.ts';
import { malformed } from '../errors.ts';
import { fail, ok } from '../machine.ts';
import { defineOp } from '../op.ts';

/** Creates (`service` 0) or changes a service of the actor. Value: the service's id. */
export interface Publish {
  readonly service: number;
  readonly active: boolean;
  /** Most the provider may charge for one invoke, base units. */
  readonly ceiling: number;
  /** Seconds the provider has to respond. */
  readonly deadlineSeconds: number;
  /** Agent who rules on contested responses, 0 for none. */
  readonly arbiter: number;
  readonly contestSeconds: number;
  /** SHA-256 of the metadata document. */
  readonly metadataHash: Uint8Array;
}

export const publish = defineOp<'publish', Publish>({
  code: 0x05,
  name: 'publish',
  encode: (w, f) =>
    w
      .varint(f.service)
      .u8(f.active ? 1 : 0)
      .varint(f.ceiling)
      .varint(f.deadlineSeconds)
      .varint(f.arbiter)
      .varint(f.contestSeconds)
      .bytes(f.metadataHash),
  decode: (r) => {
    const service = r.varint();
    const active = r.u8();
    if (active > 1) throw malformed('active is 0 or 1');
    const [ceiling, deadlineSeconds, arbiter, contestSeconds] = [r.varint(), r.varint(), r.varint(), r.varint()];
    if (arbiter >= 2 ** 28) throw malformed('arbiter is not an agent id');
    return {
      op: 'publish',
      service,
      active: active === 1,
      ceiling,
      deadlineSeconds,
      arbiter,
      contestSeconds,
      metadataHash: r.bytes(32),
    };
  },
  run(machine, actor, f) {
    if (f.deadlineSeconds === 0 || f.deadlineSeconds > MAX_DURATION || f.contestSeconds > MAX_DURATION)
      return fail('bad_duration');
    if (f.service !== 0) {
      if (!machine.isLocal(f.service)) return fail('wrong_shard');
      if (!machine.serviceExists(f.service)) return fail('unknown_service');
      if (get(machine.readService(f.service), Service.provider) !== actor) return fail('not_provider');
    } else if (!machine.hasServiceRoom()) return fail('region_full');
    const id = f.service === 0 ? machine.nextService() : f.service;
    const cell = machine.editService(id);
    set(cell, Service.provider, actor);
    set(cell, Service.flags, EXISTS | (f.active ? ACTIVE : 0));
    set(cell, Service.ceiling, f.ceiling);
    set(cell, Service.deadlineSeconds, f.deadlineSeconds);
    set(cell, Service.arbiter, f.arbiter);
    set(cell, Service.contestSeconds, f.contestSeconds);
    setBytes(cell, Service.metadataHash, f.metadataHash);
    set(cell, Service.version, Math.min(get(cell, Service.version) + 1, 0xffffffff));
    return ok(id);
  },
});
