/** Sessions for any program of Node (`agnt2/session`; examples/session shows both sides). */
// As a sidecar does: short messages are hashed in WebAssembly.
import '../../protocol/keccak/install.ts';
import { MachineKey } from '../../protocol/keys.ts';
import { loadSecret } from '../config.ts';

export { codeOf } from '../../protocol/errors.ts';
export { type Agnt2Error } from '../../protocol/errors.ts';
export type { CallRecord } from '../../protocol/call.ts';
export type { ExchangeRequest, ExchangeResponse } from '../../protocol/exchange.ts';
export { formatId, parseId } from '../../protocol/ids.ts';
export { MachineKey } from '../../protocol/keys.ts';
export { refusal } from '../errors.ts';
export * from '../session/index.ts';
export { type Body, answer, request, whole } from './exchange.ts';
export { type Conduct, Party, type PartyOptions, type Seat } from './party.ts';

/** The machine key in a file as `agnt2 init` makes it, which only its owner may read. Throws `bad_config`. */
export const readKey = (keyFile: string): Promise<MachineKey> => MachineKey.import(loadSecret({ keyFile }));
