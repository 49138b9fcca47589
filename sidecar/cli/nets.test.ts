import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { freeNet, overlap } from './nets.ts';

test('a network is free that shares no address with any in use', () => {
  const net = freeNet('shop', []);
  expect(net).toMatch(/^10\.84\.\d{1,3}$/);
  expect(freeNet('shop', ['172.17.0.0/16', 'fd00::/8'])).toBe(net);
  const [, , third] = net.split('.').map(Number);
  expect(freeNet('shop', [`${net}.0/24`])).toBe(`10.84.${(third + 1) % 256}`);
  expect(freeNet('shop', [`${net}.200/32`])).not.toBe(net);
  for (const used of ['10.0.0.0/8', '10.84.0.0/16', '0.0.0.0/0'])
    expect(() => freeNet('shop', [used])).toThrow(/in use/);
  expect(overlap('10.84.2.0/24', '10.84.3.0/24')).toBe(false);
  expect(overlap('10.84.2.0/24', '10.84.2.128/25')).toBe(true);
});

/** The lines of one service of a compose file, or of all its networks. */
function part(file: string, name: string): string[] {
  const text = readFileSync(new URL(`../../examples/compose/${file}`, import.meta.url), 'utf8');
  const found = new RegExp(`^(?:  )?${name}:\\n(?:(?: .*)?\\n)*?(?=^ {0,2}\\w)`, 'm').exec(text);
  return found![0].split('\n').filter((line) => line !== '' && !/^\s*#/.test(line));
}

test('the two compose files differ in what makes one transparent, and in nothing else', () => {
  const differences = (name: string): { gone: string[]; new: string[] } => {
    const [one, other] = [part('compose.yaml', name), part('transparent.yaml', name)];
    const without = (all: string[], of: string[]): string[] =>
      all.filter((line) => !of.includes(line)).map((line) => line.trim());
    return { gone: without(one, other), new: without(other, one) };
  };
  expect(differences('discover')).toEqual({ gone: [], new: [] });
  expect(differences('sidecar')).toEqual({
    gone: ['inside: { aliases: [agnt2] }', "sysctls: { net.ipv4.ip_forward: '0' }"],
    new: [
      "inside: { aliases: [agnt2], ipv4_address: '${AGNT2_NET:-10.84.2}.2' }",
      "sysctls: { net.ipv4.ip_forward: '0', net.ipv4.ip_unprivileged_port_start: '0' }",
    ],
  });
  const app = differences('app');
  expect(app.new).toEqual(["dns: ['${AGNT2_NET:-10.84.2}.2']"]);
  expect(
    app.gone.filter((line) => !/^(?:environment:|(?:http|no)_proxy: .*|NODE_USE_ENV_PROXY: '1')$/i.test(line)),
  ).toEqual(["dns: ['127.0.0.1']"]);
  expect(differences('networks').gone).toEqual([]);
});
