import { ACTIVE, EXISTS, MAX_DURATION, Region, Service } from '../cells.ts';
import { above, add, get, is, isNot, shl } from './code.ts';
import type { PlainOp } from './index.ts';
import { existing } from './moves.ts';

/** Of a service that the actor has. */
export const publish: PlainOp = (plain) => {
  const id = plain.number(0);
  const [active, ceiling, deadlineSeconds] = [plain.number(1), plain.number(2), plain.number(3)];
  const [arbiter, contestSeconds, metadataHash] = [plain.number(4), plain.number(5), plain.number(6)];
  plain.leaveIf(is(deadlineSeconds, 0));
  plain.leaveIf(above(deadlineSeconds, MAX_DURATION));
  plain.leaveIf(above(contestSeconds, MAX_DURATION));
  const old = existing(plain, Region.service, id, Service.flags, EXISTS);
  plain.leaveIf(isNot(get(Service.provider, old), plain.actor));
  const version = plain.keep(add(get(Service.version, old), 1));
  plain.leaveIf(above(version, 256 ** Service.version.width - 1));

  const service = plain.edit(old);
  plain.set(Service.flags, service, add(shl(active, Math.log2(ACTIVE)), EXISTS));
  plain.set(Service.ceiling, service, ceiling);
  plain.set(Service.deadlineSeconds, service, deadlineSeconds);
  plain.set(Service.arbiter, service, arbiter);
  plain.set(Service.contestSeconds, service, contestSeconds);
  plain.copy(Service.metadataHash, service, plain.inFrame(metadataHash));
  plain.set(Service.version, service, version);
  return id;
};
