import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { type SuiteName, calibrate } from './calibrate.ts';
import { type Calibration, figure, figureOr, readCalibration, sourceOf } from './calibration.ts';
import { NEEDED, inputsOf } from './inputs.ts';

const dir = mkdtempSync(join(tmpdir(), 'agnt2-calibration-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const stored = readCalibration();

test('the stored calibration has what the simulation needs, and says where each figure comes from', () => {
  for (const [suite, names] of Object.entries(NEEDED))
    for (const name of names) expect(figure(stored, suite, name), `${suite}.${name}`).toBeGreaterThanOrEqual(0);
  for (const { date, command, machine } of Object.values(stored.suites)) {
    expect(new Date(date).toISOString()).toBe(date);
    expect(command).not.toBe('');
    expect(machine.cores).toBeGreaterThan(0);
  }
  expect(inputsOf(stored).shard.bundle).toBeGreaterThan(0);
});

test('a suite that fails keeps its figures, and loses nobody else’s', async () => {
  const path = join(dir, 'calibration.json');
  const suites = ['no such suite' as SuiteName, 'signatures'] as const;
  const before: Calibration = { suites: { ...stored.suites, 'no such suite': stored.suites.core } };
  const { calibration, failed } = await calibrate(before, suites, path, () => {});
  expect(failed).toEqual([{ suite: 'no such suite', why: expect.stringContaining('ended with 2') }]);
  const { signatures, ...others } = calibration.suites;
  const { signatures: _, ...same } = before.suites;
  expect(others).toEqual(same);
  expect(signatures.metrics.verifyMicros).toBeGreaterThan(0);
  expect(Date.now() - Date.parse(signatures.date)).toBeLessThan(600_000);
  expect(signatures.load).not.toBeNull();
  expect(readCalibration(path)).toEqual(calibration);
}, 60_000);

test('lines that a bench printed take the place of a whole suite', () => {
  const path = join(dir, 'lines');
  const { machine } = stored.suites.core;
  const line = { suite: 'core', metrics: { interactionsPerSecond: 5 }, machine, date: '2026-01-02T03:04:05.000Z' };
  writeFileSync(path, `some words\n${JSON.stringify({ ...line, notes: {}, command: 'npm run bench -- core' })}\n`);
  const read = readCalibration(path);
  expect(read.suites.core.metrics).toEqual({ interactionsPerSecond: 5 });
  expect(read.suites.da).toEqual(stored.suites.da);
  expect(sourceOf(read)).toContain('2026-01-02');
  expect(figureOr(read, 'core', 'interactionsPerSecondZipf')).toBeNull();
  writeFileSync(path, 'nothing');
  expect(() => readCalibration(path)).toThrow(path);
  const lacking: Calibration = { suites: {} };
  expect(() => figure(lacking, 'da', 'certificateGas')).toThrow('da.certificateGas');
});
