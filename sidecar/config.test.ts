import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, expect, test } from 'vitest';
import { codeOf } from '../protocol/errors.ts';
import { loadConfig, loadSecret, readConfig } from './config.ts';

const dir = mkdtempSync(join(tmpdir(), 'agnt2-config-'));
afterAll(() => rmSync(dir, { recursive: true }));

const least = { gateway: 'http://127.0.0.1:8787', agent: '0:7' };
const faultsOf = (value: unknown): string => {
  try {
    readConfig(value);
  } catch (error) {
    expect(codeOf(error)).toBe('bad_config');
    return (error as { detail: string }).detail;
  }
  return '';
};

test('the least config fills in what is safe: no budget, loopback, no sessions by itself', () => {
  const config = readConfig(least);
  expect(config).toMatchObject({
    agent: 7 * 256,
    policy: { perCall: 0, perDay: 0 },
    session: { auto: false },
    listen: { host: '127.0.0.1', port: 8402 },
    admin: { port: 8403 },
  });
});

test('a full config reads, amounts as text or numbers', () => {
  const config = readConfig({
    ...least,
    name: 'alice',
    app: 'http://127.0.0.1:3000',
    listen: '0.0.0.0:1',
    services: [{ name: 's', routes: [{ method: 'POST', path: '/run/*', price: '9' }], free: ['/health'] }],
    policy: { perDay: 1000, perCall: '10' },
    session: { deposit: '500' },
  });
  expect(config.services[0]).toMatchObject({ defaultPrice: 9, deadlineSeconds: 300 });
  expect(config.policy).toEqual({
    perDay: 1000,
    perHour: 1000,
    perCall: 10,
    perPeer: 1000,
    perService: 1000,
    newPeer: null,
    breaker: null,
    approveAbove: null,
    approvalSeconds: 3600,
    priceRise: null,
  });
  expect(config.session).toMatchObject({ auto: true, deposit: 500, credit: 576, afterCalls: 1 });
});

test('an app that knows of no proxy is led to one address, at ports of TCP and one of UDP', () => {
  expect(readConfig(least).transparent).toBeNull();
  const read = (transparent: unknown): unknown => readConfig({ ...least, transparent }).transparent;
  expect(read({ host: 'agnt2' })).toEqual({ host: 'agnt2', ports: [80, 443], dns: 53 });
  expect(read({ host: '::1', ports: [8080], dns: 5353 })).toEqual({ host: '::1', ports: [8080], dns: 5353 });
  for (const host of ['0.0.0.0', '0', '::', '[::]', '0:0:0:0:0:0:0:0', ''])
    expect(faultsOf({ ...least, transparent: { host } })).toContain('transparent.host');
  for (const ports of [[], [80.5], [65536], ['80'], 80])
    expect(faultsOf({ ...least, transparent: { host: 'agnt2', ports } })).toContain('transparent.ports');
  expect(faultsOf({ ...least, transparent: { host: 'agnt2', dns: -1, udp: 1 } })).toMatch(/dns must be .*udp is not a/);
  expect(faultsOf({ ...least, transparent: true })).toContain('transparent must be an object');
});

test('every fault is named by its path, all at once', () => {
  expect(faultsOf({})).toMatch(/gateway is missing; agent is missing|agent is missing; gateway is missing/);
  expect(faultsOf(null)).toContain('the config must be an object');
  const faults = faultsOf({
    ...least,
    gateway: 'ftp://x',
    agent: '7',
    colour: 'red',
    listen: 'nowhere',
    services: [{ name: 's', routes: [{ method: 'get', path: '/a/../b', price: -1, x: 1 }] }],
    policy: { perCall: 1.5 },
    session: { auto: true, exitDelay: 0 },
  });
  for (const fault of [
    'gateway must be an http',
    'agent must be an id',
    'colour is not a setting',
    'listen must be host:port',
    'services[0].routes[0].method',
    'services[0].routes[0].path must be',
    'services[0].routes[0].price must be',
    'services[0].routes[0].x is not a setting',
    'policy.perCall must be',
    'policy.perDay is missing',
    'session.exitDelay',
    'session.deposit must be more',
    'app is missing, but there are services',
  ])
    expect(faults).toContain(fault);
});

test('any JSON is a config or refused by code', () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.jsonValue(),
        fc.record(
          {
            gateway: fc.jsonValue(),
            agent: fc.jsonValue(),
            services: fc.array(fc.jsonValue()),
            policy: fc.jsonValue(),
            session: fc.jsonValue(),
            app: fc.jsonValue(),
            transparent: fc.jsonValue(),
          },
          { requiredKeys: [] },
        ),
      ),
      (value) => {
        faultsOf(value);
      },
    ),
  );
});

test('the machine key comes from a file only its owner reads, or the environment', () => {
  const file = join(dir, 'key');
  const secret = `0x${'11'.repeat(32)}`;
  writeFileSync(file, `${secret}\n`, { mode: 0o600 });
  expect(loadSecret({ keyFile: file }, {})).toHaveLength(32);
  chmodSync(file, 0o644);
  expect(() => loadSecret({ keyFile: file }, {})).toThrow(/chmod 600/);
  expect(loadSecret({}, { AGNT2_MACHINE_KEY: secret })).toHaveLength(32);
  expect(() => loadSecret({}, {})).toThrow(/no machine key/);
  expect(() => loadSecret({}, { AGNT2_MACHINE_KEY: '0x12' })).toThrow(/64 hex/);
  expect(() => loadConfig(join(dir, 'none.json'))).toThrow(/can't read/);
  writeFileSync(join(dir, 'bad.json'), '{');
  expect(() => loadConfig(join(dir, 'bad.json'))).toThrow(/not JSON/);
});
