import { fromUtf8 } from '../../protocol/bytes.ts';
import { PacketType } from '../../protocol/packet.ts';

/** What a packet says of the peer's presence, which only the relay may; null for any other. */
export function presenceIn(packet: Uint8Array): 'peer_online' | 'peer_offline' | null {
  if (packet[0] !== PacketType.error) return null;
  try {
    const { code } = JSON.parse(fromUtf8(packet.subarray(1))) as { code?: unknown };
    return code === 'peer_online' || code === 'peer_offline' ? code : null;
  } catch {
    return null;
  }
}
