/** The report of `npm run simulate`, written as a user has it written, and read in a browser: every plot's values are those of the study. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { type Browser, chromium } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { inRepository } from '../../local/paths.ts';
import type { Study } from '../../local/simulate/study.ts';

const EXECUTABLE = process.env.CHROMIUM ?? '/usr/bin/chromium';
const ready = existsSync(EXECUTABLE);
if (!ready)
  console.warn(`The report is not read: no browser at ${EXECUTABLE}. Install chromium, or name one in CHROMIUM.`);

describe.skipIf(!ready)('the report', () => {
  let browser: Browser;
  let study: Study;
  const out = mkdtempSync(join(tmpdir(), 'agnt2-report-'));

  beforeAll(async () => {
    execFileSync(
      process.execPath,
      [inRepository('local', 'simulate', 'main.ts'), '--quick', '--no-rollup', '--agents', '100', '--out', out],
      {
        stdio: 'ignore',
      },
    );
    study = JSON.parse(readFileSync(join(out, 'report.json'), 'utf8')) as Study;
    browser = await chromium.launch({
      executablePath: EXECUTABLE,
      headless: true,
      args: ['--no-sandbox', '--disable-gpu'],
    });
  });
  afterAll(async () => {
    await browser?.close();
    rmSync(out, { recursive: true, force: true });
  });

  it.each(['light', 'dark'] as const)('shows in a %s theme what was found', async (colorScheme) => {
    const page = await browser.newPage({ colorScheme, viewport: { width: 1100, height: 900 } });
    const asked: string[] = [];
    page.on('request', (request) => asked.push(request.url()));
    const errors: string[] = [];
    page.on('pageerror', (error) => errors.push(String(error)));
    const url = pathToFileURL(join(out, 'report.html')).href;
    await page.goto(url);
    /** The points of a series, as drawn. */
    const points = (plot: string, series: string) =>
      page
        .locator(`[data-plot="${plot}"] [data-series="${series}"] circle`)
        .evaluateAll((all) =>
          all.map((mark) => [Number(mark.getAttribute('data-x')), Number(mark.getAttribute('data-y'))]),
        );
    expect(await points('aggregate', 'simulated')).toEqual(
      study.scale.map(({ agents, run }) => [agents, run.callsPerSecond]),
    );
    expect(await points('aggregate', 'model')).toEqual(study.scale.map(({ agents, model }) => [agents, model]));
    const single = study.queues.filter(({ law }) => law === 'exponential');
    expect(await points('queues', 'M/M/1, formula')).toEqual(single.map(({ load, formula }) => [load, formula]));
    expect(await points('queues', 'M/M/1, simulated')).toEqual(
      single.map(({ load, simulated }) => [load, simulated.mean]),
    );
    expect(await points('path-plot', 'calls/s that the binding resource leaves')).toEqual(
      study.path.map(({ rate }, i) => [i + 1, rate]),
    );
    const bars = await page
      .locator('[data-plot="costs"] rect')
      .evaluateAll((all) => all.map((bar) => Number(bar.getAttribute('data-value'))));
    expect(bars).toEqual(Object.values(study.costs).map(({ usd }) => usd));
    for (const row of study.table) {
      const cells = page.locator(`#paper tr[data-row="${row.name}"]`);
      for (const [name, value] of Object.entries({
        model: row.model,
        simulated: row.simulated,
        measured: row.measured,
      }))
        if (value !== null)
          expect(await cells.locator(`[data-${name}]`).getAttribute(`data-${name}`)).toBe(String(value));
    }
    // Who does not agree is said to, with by how much; each suite's figures have a date and a command.
    const differing = study.table.filter(({ agrees }) => agrees === false);
    const said = await page.locator('#differ li').allInnerTexts();
    expect(said.length).toBe(differing.length);
    for (const [i, { name }] of differing.entries()) expect(said[i]).toContain(name);
    for (const [suite, { command, date }] of Object.entries(study.calibration.suites)) {
      const text = await page.locator(`#provenance tr[data-suite="${suite}"]`).innerText();
      expect(text).toContain(command);
      expect(text).toContain(date.slice(0, 10));
    }
    expect(await page.locator('#summary li').count()).toBeGreaterThan(1);
    // Marks are inside their plot, labels have units to be read, and nothing is fetched.
    const isInside = await page.locator('svg').evaluateAll((all) =>
      all.every((svg) => {
        const frame = svg.getBoundingClientRect();
        return [...svg.querySelectorAll('circle, rect')].every((mark) => {
          const box = mark.getBoundingClientRect();
          return (
            box.left >= frame.left - 1 &&
            box.right <= frame.right + 1 &&
            box.top >= frame.top - 1 &&
            box.bottom <= frame.bottom + 1
          );
        });
      }),
    );
    expect(isInside).toBe(true);
    expect(await page.locator('figure .label').count()).toBeGreaterThan(12);
    // On a phone, tables scroll by themselves; the page does not.
    await page.setViewportSize({ width: 390, height: 800 });
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBe(390);
    expect(
      await page.locator('.remark p').evaluateAll((all) => all.every(({ clientWidth }) => clientWidth < 390)),
    ).toBe(true);
    expect(asked).toEqual([url]);
    expect(errors).toEqual([]);
    await page.close();
  });
});
