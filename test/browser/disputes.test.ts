/** A lie told to L1 on a whole stack, caught by the cron alone, and read move by move in a real browser. */
import { existsSync } from 'node:fs';
import { type Browser, chromium } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { rootAbi } from '../../contracts/abi.ts';
import { Agent } from '../../local/agents.ts';
import { until } from '../../local/process.ts';
import { Lies } from '../support/lies.ts';
import { type TestNetwork, network } from '../support/stack.ts';

const EXECUTABLE = process.env.CHROMIUM ?? '/usr/bin/chromium';
const SIZES = { phone: { width: 360, height: 740 }, desktop: { width: 1280, height: 860 } };
/** The cron has to come by and see it. */
const LIVE_MS = 60_000;
/** The liar tells the truth up to this step. What the first round leaves of what follows is two steps: so there is a second. */
const PARTING = 7;
const TURN_MS = 300;

describe.skipIf(!existsSync(EXECUTABLE))('a dispute', () => {
  let browser: Browser;
  let net: TestNetwork;
  let number: number;

  beforeAll(async () => {
    net = await network({ worker: { shards: 2 } });
    const lies = new Lies(net.l1, 2);
    const agent = await Agent.create('one', net.dir);
    await agent.registerAtL1(net.l1, 1_000_000n, 1_000_000);
    await until('an honest batch', async () => (await lies.head()) > 0);
    const told = await lies.tell(PARTING);
    ({ number } = told);
    // The cron plays against it by itself.
    while ((await lies.head()) >= number) {
      await told.answer();
      await new Promise((resolve) => setTimeout(resolve, TURN_MS));
    }
    const args = ['--no-sandbox', '--disable-gpu', '--disable-background-networking'];
    browser = await chromium.launch({ executablePath: EXECUTABLE, headless: true, args });
  });
  afterAll(async () => {
    await browser?.close();
    await net?.stop();
  });

  it('has cost the sequencer its bond', async () => {
    const slashed = await net.l1.client.getContractEvents({
      address: net.root,
      abi: rootAbi,
      eventName: 'Slashed',
      fromBlock: 0n,
      strict: true,
    });
    expect(slashed).toHaveLength(1);
    expect(slashed[0].args.bondLeft).toBe(0n);
  });

  it.each(Object.entries(SIZES))('shows every move on a %s', async (_size, viewport) => {
    const page = await (await browser.newContext({ viewport })).newPage();
    const errors: string[] = [];
    page.on('console', (message) => message.type() === 'error' && errors.push(message.text()));
    page.on('pageerror', (error) => errors.push(String(error)));
    await page.goto(new URL('/#/disputes', net.url).href);
    const row = page.getByTestId('games').locator('tbody tr');
    await row.filter({ hasText: 'slashed' }).waitFor({ timeout: LIVE_MS });
    expect(await row.count()).toBe(1);
    expect(await row.innerText()).toContain(`#${number}`);
    await row.getByRole('link', { name: 'game 1' }).click();
    await page.getByTestId('moves').waitFor({ timeout: LIVE_MS });
    const kinds = await page.getByTestId('move').evaluateAll((all) => all.map((one) => one.getAttribute('class')));
    expect(kinds).toEqual(['opened', 'revealed', 'picked', 'revealed', 'picked', 'closed']);
    expect(await page.getByTestId('game-length').innerText()).toBe('1');
    expect(await page.getByTestId('game-state').innerText()).toContain('slashed');
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    expect(wide).toBeLessThanOrEqual(0);
    expect(errors).toEqual([]);
  });
});
