/** A name server to which every name is one address: asked by real clients, and by bytes that are no question. */
import { promises as dns } from 'node:dns';
import type { AddressInfo } from 'node:net';
import type { Socket } from 'node:dgram';
import fc from 'fast-check';
import { afterAll, expect, test } from 'vitest';
import { answerTo, serveNames } from './names.ts';

const sockets: Socket[] = [];
async function clientOf(address: string): Promise<dns.Resolver> {
  const socket = await serveNames(address, 0, () => {});
  sockets.push(socket);
  const resolver = new dns.Resolver({ timeout: 2000, tries: 2 });
  const { port } = socket.address() as AddressInfo;
  resolver.setServers([address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`]);
  return resolver;
}
afterAll(() => sockets.forEach((socket) => socket.close()));

const refused = (asked: Promise<unknown>): Promise<string> =>
  asked.then(
    (answer) => `answered ${JSON.stringify(answer)}`,
    (error: NodeJS.ErrnoException) => error.code!,
  );

test('every name has the one address, and nothing else', async () => {
  const client = await clientOf('127.0.0.1');
  for (const name of ['bob.agnt2', 'a', 'api.example.com', 'BOB.agnt2', `${'a'.repeat(63)}.${'b'.repeat(63)}.example`])
    expect(await client.resolve4(name)).toEqual(['127.0.0.1']);
  expect(await client.resolve4('bob.agnt2', { ttl: true })).toEqual([{ address: '127.0.0.1', ttl: 60 }]);
  expect(await refused(client.resolve6('bob.agnt2'))).toBe('ENODATA');
  expect(await refused(client.resolveTxt('c2VjcmV0.example.com'))).toBe('ENODATA');
  expect(await refused(client.resolveMx('example.com'))).toBe('ENODATA');
  expect(await refused(client.reverse('10.1.2.3'))).toBe('ENOTFOUND');
});

test('of an address of IPv6, it is that', async () => {
  const client = await clientOf('::1');
  expect(await client.resolve6('bob.agnt2')).toEqual(['::1']);
  expect(await refused(client.resolve4('bob.agnt2'))).toBe('ENODATA');
  const query = Buffer.from('00010100000100000000000001620000ff0001', 'hex');
  expect(answerTo(query, '2001:db8::1:0:5')!.subarray(-16).toString('hex')).toBe('20010db8000000000000000100000005');
});

/** A query for `b.`, of a type, class and flags. */
const query = (type = 1, klass = 1, flags = 0x0100, questions = 1): Buffer => {
  const bytes = Buffer.from('abcd00000000000000000000016200', 'hex');
  bytes.writeUInt16BE(flags, 2);
  bytes.writeUInt16BE(questions, 4);
  const [asked, of] = [Buffer.alloc(2), Buffer.alloc(2)];
  asked.writeUInt16BE(type);
  of.writeUInt16BE(klass);
  return Buffer.concat([bytes, asked, of]);
};
const codeOf = (answer: Buffer | null): number | null => answer && answer[3] & 0x0f;

test('what is no question is told so, and an answer is never answered', () => {
  const own = '10.84.2.2';
  expect(answerTo(query(), own)!.toString('hex')).toBe(
    'abcd8580000100010000000001620000010001c00c000100010000003c00040a540202',
  );
  expect(codeOf(answerTo(query(1, 1, 0x2000), own))).toBe(4);
  expect(codeOf(answerTo(query(1, 3), own))).toBe(5);
  for (const questions of [0, 2, 65535]) expect(codeOf(answerTo(query(1, 1, 0x0100, questions), own))).toBe(1);
  expect(answerTo(query(1, 1, 0x8180), own)).toBeNull();
  expect(answerTo(query().subarray(0, 11), own)).toBeNull();
  // A pointer to itself, a name that goes past the end, one that is too long.
  for (const name of ['c00c', '3f62', '3f' + '61'.repeat(63) + '00', ('3f' + '61'.repeat(63)).repeat(4) + '00'])
    expect(codeOf(answerTo(Buffer.concat([query().subarray(0, 12), Buffer.from(name, 'hex')]), own))).toBe(1);
});

test('any bytes get one short answer or none', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 600 }), fc.boolean(), (bytes, isQuery) => {
      const message = Buffer.from(isQuery ? [...query().subarray(0, 12), ...bytes] : bytes);
      const answer = answerTo(message, '127.0.0.1');
      if (answer === null) return;
      expect(answer.length).toBeLessThanOrEqual(message.length + 16);
      expect(answer.subarray(0, 2)).toEqual(message.subarray(0, 2));
      expect(answer[2] & 0x80).toBe(0x80);
    }),
  );
});
