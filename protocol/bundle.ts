/** Bundles: up to 256 interactions of one agent under one signature; each decodes alone (docs/protocol.md §4). */
import { Reader, Writer } from './bytes.ts';
import type { Signing } from './eip712.ts';
import { malformed } from './errors.ts';
import { SIGNATURE_BYTES } from './half.ts';
import type { SigningKey } from './keys.ts';
import { MAX_FRAME_BYTES, MAX_INTERACTIONS } from './limits.ts';
import { payloadRoot } from './log.ts';
import { type Interaction, MAX_NUMBERS, decodeOp, encodeInteraction, interactionAt } from './ops/index.ts';

export { MAX_FRAME_BYTES, MAX_INTERACTIONS };

export const BUNDLE = 0x10;

const HAS_PAYLOADS = 1;

export interface BundleHeader {
  readonly actor: number;
  readonly nonce: number;
  /** Unix seconds after which the bundle is refused. */
  readonly expiry: number;
  /** RFC 6962 root over one payload leaf per interaction, when there are payloads. */
  readonly payloadRoot?: Uint8Array;
}

/**
 * A whole canonical bundle, decoded once: its header, and for each interaction its operation and the numbers its fields
 * decode to. The object form is made only where somebody asks for it.
 */
export class Bundle implements BundleHeader {
  #frame: Uint8Array = new Uint8Array(0);
  #payloadRoot = 0;
  #count = 0;
  #actor = 0;
  #nonce = 0;
  #expiry = 0;
  #codes: Uint8Array;
  #numbers: Float64Array;
  #starts: Uint16Array;
  #interactions: readonly Interaction[] | null = null;

  /** Room for bundles of up to `interactions`. */
  constructor(interactions = MAX_INTERACTIONS) {
    this.#codes = new Uint8Array(interactions);
    this.#numbers = new Float64Array(interactions * MAX_NUMBERS);
    this.#starts = new Uint16Array(interactions + 1);
  }

  /** Takes the place of what was decoded before. Throws `malformed` for anything that is not one whole canonical bundle. */
  decode(frame: Uint8Array): void {
    const reader = this.#open(frame);
    for (let i = 0; i < this.#count; i++) this.#decodeOne(i, reader);
    reader.end();
  }

  /**
   * As {@link decode}, but the header only: for who knows that what comes after it is canonical, and has those
   * interactions decoded that it asks for ({@link decodeAt}). Returns where the first starts.
   */
  open(frame: Uint8Array): number {
    return this.#open(frame).at;
  }
  /** Decodes interaction i of a bundle that was opened; it starts at `start`. */
  decodeAt(i: number, start: number): void {
    this.#decodeOne(i, new Reader(this.#frame, start));
  }

  #open(frame: Uint8Array): Reader {
    if (frame.length > MAX_FRAME_BYTES) throw malformed(`a bundle is at most ${MAX_FRAME_BYTES} bytes`);
    const reader = new Reader(frame, 0, Math.max(frame.length - SIGNATURE_BYTES, 0));
    const { count, actor, nonce, expiry, payloadRoot } = decodeHeader(reader);
    this.#frame = frame;
    this.#interactions = null;
    this.#count = count;
    this.#actor = actor;
    this.#nonce = nonce;
    this.#expiry = expiry;
    this.#payloadRoot = payloadRoot;
    return reader;
  }
  #decodeOne(i: number, reader: Reader): void {
    this.#starts[i] = reader.at;
    this.#codes[i] = decodeOp(reader, this.#numbers, i * MAX_NUMBERS);
    this.#starts[i + 1] = reader.at;
  }

  /** The bytes it was decoded from. */
  get frame(): Uint8Array {
    return this.#frame;
  }
  get count(): number {
    return this.#count;
  }
  get actor(): number {
    return this.#actor;
  }
  get nonce(): number {
    return this.#nonce;
  }
  get expiry(): number {
    return this.#expiry;
  }
  get payloadRoot(): Uint8Array | undefined {
    const at = this.#payloadRoot;
    return at === 0 ? undefined : this.#frame.slice(at, at + 32);
  }
  /** Operation code of each interaction. */
  get codes(): Uint8Array {
    return this.#codes;
  }
  /** What the fields of interaction i decoded to, from `i × MAX_NUMBERS` on. */
  get numbers(): Float64Array {
    return this.#numbers;
  }
  /** Where in the frame interaction i starts; one more for where the last ends. */
  get starts(): Uint16Array {
    return this.#starts;
  }
  /** What was signed: the frame without its signature. */
  get body(): Uint8Array {
    return this.#frame.subarray(0, this.#frame.length - SIGNATURE_BYTES);
  }
  get signature(): Uint8Array {
    return this.#frame.subarray(this.#frame.length - SIGNATURE_BYTES);
  }
  get interactions(): readonly Interaction[] {
    this.#interactions ??= Array.from({ length: this.#count }, (_, i) =>
      interactionAt(this.#codes[i], this.#frame, this.#numbers, i * MAX_NUMBERS),
    );
    return this.#interactions;
  }
}

/** What stands before the interactions; `payloadRoot` is where that is, 0 without. Throws `malformed`. */
export function decodeHeader(reader: Reader): {
  readonly count: number;
  readonly actor: number;
  readonly nonce: number;
  readonly expiry: number;
  readonly payloadRoot: number;
} {
  if (reader.u8() !== BUNDLE) throw malformed('not a bundle');
  const count = reader.u8() + 1;
  const flags = reader.u8();
  if (flags > HAS_PAYLOADS) throw malformed('unknown bundle flag');
  const [actor, nonce, expiry] = [reader.varint(), reader.varint(), reader.varint()];
  return { count, actor, nonce, expiry, payloadRoot: flags & HAS_PAYLOADS ? reader.skip(32) : 0 };
}

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

/** A bundle to keep. Throws `malformed` for anything that is not one whole canonical bundle. */
export function decodeBundle(frame: Uint8Array): Bundle {
  const bundle = new Bundle(1 + (frame[1] ?? 0));
  bundle.decode(frame);
  return bundle;
}

const NO_PAYLOAD = new Uint8Array(32);

/**
 * Encodes and signs. `payloads[i]` is the 32-byte payload leaf of interaction i, undefined for none; without any, the
 * bundle has no payload root.
 */
export async function signBundle(
  key: SigningKey,
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
