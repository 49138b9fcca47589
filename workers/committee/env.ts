/** What a member is told of its deployment, in a Worker's vars and secrets or a process's environment. */
import { type Hex, unhex } from '../../protocol/bytes.ts';

export interface MemberVars {
  readonly L1_RPC: string;
  readonly ROOT_ADDRESS: string;
  /** The secp256k1 secret of the member's account at L1: it signs for columns, and pays for answers to demands. */
  readonly MEMBER_KEY?: string;
}

/** The same, checked. Throws with the name of what is wrong. */
export function readMember({ L1_RPC, ROOT_ADDRESS, MEMBER_KEY = '' }: MemberVars): {
  readonly rpc: string;
  readonly root: Hex;
  readonly secret: Uint8Array;
} {
  if (!/^0x[0-9a-fA-F]{40}$/.test(ROOT_ADDRESS ?? '')) throw new Error('ROOT_ADDRESS must be an address');
  if (!/^https?:\/\//.test(L1_RPC ?? '')) throw new Error('L1_RPC must be an http(s) URL');
  if (!/^0x[0-9a-fA-F]{64}$/.test(MEMBER_KEY)) throw new Error('MEMBER_KEY must be 0x and 64 hex digits');
  return { rpc: L1_RPC, root: ROOT_ADDRESS as Hex, secret: unhex(MEMBER_KEY as Hex) };
}
