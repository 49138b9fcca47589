/** Bundles: up to 256 interactions of one agent under one signature; each decodes alone (docs/protocol.md §4). */
import { Reader, Writer } from './bytes.ts';
import type { Signing } from './eip712.ts';
import { malformed } from './errors.ts';
import { SIGNATURE_BYTES } from './half.ts';
import type { MachineKey } from './keys.ts';
import { payloadRoot } from './log.ts';
import { type Interaction, decodeInteraction, encodeInteraction } from './ops/index.ts';

export const BUNDLE = 0x10;
export const MAX_INTERACTIONS = 256;
/** Largest frame of the trace, so that a step's witness stays small. */
export const MAX_FRAME_BYTES = 4096;

export interface BundleHeader {
  readonly actor: number;
  readonly nonce: number;
  /** Unix seconds after which the bundle is refused. */
  readonly expiry: number;
  /** RFC 6962 root over one payload leaf per interaction, when there are payloads. */
  readonly payloadRoot?: Uint8Array;
}

export interface Bundle extends BundleHeader {
  readonly interactions: readonly Interaction[];
  /** What was signed: the frame without its signature. */
  readonly body: Uint8Array;
  readonly signature: Uint8Array;
}

const HAS_PAYLOADS = 1;

/** The bytes to sign. Throws `malformed` when there are none or too many interactions, or the frame would be too long. */
export function encodeBundleBody(header: BundleHeader, interactions: readonly Interaction[]): Uint8Array {
  if (interactions.length === 0 || interactions.length > MAX_INTERACTIONS)
    throw malformed('a bundle has 1 to 256 interactions');
  const writer = new Writer()
    .u8(BUNDLE)
    .u8(interactions.length - 1)
    .u8(header.payloadRoot ? HAS_PAYLOADS : 0)
    .varint(header.actor)
    .varint(header.nonce)
    .varint(header.expiry);
  if (header.payloadRoot) writer.bytes(header.payloadRoot);
  for (const interaction of interactions) encodeInteraction(writer, interaction);
  if (writer.length + SIGNATURE_BYTES > MAX_FRAME_BYTES)
    throw malformed(`a bundle is at most ${MAX_FRAME_BYTES} bytes`);
  return writer.finish();
}

/** Throws `malformed` for anything that is not one whole canonical bundle. */
export function decodeBundle(frame: Uint8Array): Bundle {
  if (frame.length > MAX_FRAME_BYTES) throw malformed(`a bundle is at most ${MAX_FRAME_BYTES} bytes`);
  const end = frame.length - SIGNATURE_BYTES;
  const reader = new Reader(frame, 0, Math.max(end, 0));
  if (reader.u8() !== BUNDLE) throw malformed('not a bundle');
  const count = reader.u8() + 1;
  const flags = reader.u8();
  if (flags > HAS_PAYLOADS) throw malformed('unknown bundle flag');
  const header = { actor: reader.varint(), nonce: reader.varint(), expiry: reader.varint() };
  const root = flags & HAS_PAYLOADS ? { payloadRoot: reader.bytes(32) } : {};
  const interactions: Interaction[] = [];
  for (let i = 0; i < count; i++) interactions.push(decodeInteraction(reader));
  reader.end();
  return { ...header, ...root, interactions, body: frame.subarray(0, end), signature: frame.subarray(end) };
}

const NO_PAYLOAD = new Uint8Array(32);

/**
 * Encodes and signs. `payloads[i]` is the 32-byte payload leaf of interaction i, undefined for none; without any, the
 * bundle has no payload root.
 */
export async function signBundle(
  key: MachineKey,
  signing: Signing,
  header: Omit<BundleHeader, 'payloadRoot'>,
  interactions: readonly Interaction[],
  payloads: readonly (Uint8Array | undefined)[] = [],
): Promise<Uint8Array> {
  const root = payloads.some((p) => p)
    ? { payloadRoot: payloadRoot(interactions.map((_, i) => payloads[i] ?? NO_PAYLOAD)) }
    : {};
  const body = encodeBundleBody({ ...header, ...root }, interactions);
  const signature = await key.sign(signing.bundle(body));
  return new Writer().bytes(body).bytes(signature).finish();
}
