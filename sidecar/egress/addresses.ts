/**
 * Which addresses are the public Internet's: an app that may call a host may not be led by its name to the sidecar's own
 * network, its host, or a cloud's metadata service.
 * @see https://www.iana.org/assignments/iana-ipv4-special-registry https://www.iana.org/assignments/iana-ipv6-special-registry
 */
import { BlockList, isIP } from 'node:net';
import { networkInterfaces } from 'node:os';

const special = new BlockList();
for (const [prefix, bits] of [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.0.2.0', 24],
  ['192.88.99.0', 24],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
  ['198.51.100.0', 24],
  ['203.0.113.0', 24],
  ['224.0.0.0', 4],
  ['240.0.0.0', 4],
] as const)
  special.addSubnet(prefix, bits, 'ipv4');
// Of IPv6 only what is handed out is public, and of that not what holds an IPv4 address or nobody's (Teredo, ORCHID, 6to4, documentation).
const global = new BlockList();
global.addSubnet('2000::', 3, 'ipv6');
for (const [prefix, bits] of [
  ['2001::', 23],
  ['2001:db8::', 32],
  ['2002::', 16],
  ['3fff::', 20],
] as const)
  special.addSubnet(prefix, bits, 'ipv6');

/** Whether an address, in its canonical form, is a public one and none of this host's own. */
export function isPublic(address: string): boolean {
  const family = isIP(address);
  if (family === 0) return false;
  if (family === 4 ? special.check(address, 'ipv4') : special.check(address, 'ipv6') || !global.check(address, 'ipv6'))
    return false;
  for (const own of Object.values(networkInterfaces()))
    for (const entry of own ?? []) if (entry.address === address) return false;
  return true;
}
